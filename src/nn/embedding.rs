//! Embeddings: sums of rows of a table.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::host::{CHUNK, fused, slice, with};
use crate::error::{Error, Result};

/// The row that counts as zeros.
pub(crate) const NONE: u32 = u32::MAX;

/// For each group of `terms` ids the sum of these rows of the table; [`NONE`] adds nothing.
///
/// `table`: any × width. Gives (ids / terms) × width.
pub(crate) fn sum_rows(table: &Tensor, ids: Vec<u32>, terms: usize) -> Result<Tensor> {
    debug_assert_eq!(ids.len() % terms, 0);
    let known = table.dim(0)? as u32;
    if let Some(id) = ids.iter().find(|&&id| id != NONE && id >= known) {
        return Err(Error::internal(format!("row {id} of a table of {known}")));
    }
    if fused(table) {
        return Ok(table.contiguous()?.apply_op1(Fused { ids: ids.into(), terms })?);
    }
    composed(table, &ids, terms)
}

fn composed(table: &Tensor, ids: &[u32], terms: usize) -> Result<Tensor> {
    let rows = ids.len() / terms;
    let weights: Vec<f32> = ids.iter().map(|&id| f32::from(id != NONE)).collect();
    let weights = Tensor::from_vec(weights, (ids.len(), 1), table.device())?;
    let ids: Vec<u32> = ids.iter().map(|&id| if id == NONE { 0 } else { id }).collect();
    let ids = Tensor::from_vec(ids, (rows * terms,), table.device())?;
    let found = table.index_select(&ids, 0)?; // rows·terms × width
    let found = found.broadcast_mul(&weights.to_dtype(table.dtype())?)?;
    Ok(found.reshape((rows, terms, ()))?.sum(1)?)
}

/// The fused form.
struct Fused {
    ids: Arc<[u32]>,
    terms: usize,
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "sum-rows"
    }

    fn cpu_fwd(
        &self,
        table: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let table = slice(table, layout)?;
        let width = layout.dims()[1];
        let rows = self.ids.len() / self.terms;
        let mut out = vec![0f32; rows * width];
        out.par_chunks_mut(width * CHUNK).zip(self.ids.par_chunks(self.terms * CHUNK)).for_each(
            |(out, ids)| {
                for (out, ids) in out.chunks_exact_mut(width).zip(ids.chunks_exact(self.terms)) {
                    for &id in ids.iter().filter(|&&id| id != NONE) {
                        let from = &table[id as usize * width..][..width];
                        out.iter_mut().zip(from).for_each(|(out, from)| *out += from);
                    }
                }
            },
        );
        Ok((CpuStorage::F32(out), Shape::from((rows, width))))
    }

    fn bwd(
        &self,
        table: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let (rows, width) = table.dims2()?;
        let dtable = with(grad, |grad| {
            let mut dtable = vec![0f32; rows * width];
            for (grad, ids) in grad.chunks_exact(width).zip(self.ids.chunks_exact(self.terms)) {
                for &id in ids.iter().filter(|&&id| id != NONE) {
                    let to = &mut dtable[id as usize * width..][..width];
                    to.iter_mut().zip(grad).for_each(|(to, grad)| *to += grad);
                }
            }
            dtable
        })?;
        Tensor::from_vec(dtable, (rows, width), table.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        let (table, weights) = (random_var(&[7, 5], 1), random_var(&[3, 5], 2));
        let ids = vec![0, 6, 6, NONE, NONE, NONE];
        let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
        let theirs = gradients(&[&table], &loss(composed(&table, &ids, 2).unwrap()));
        let ours = gradients(&[&table], &loss(sum_rows(&table, ids, 2).unwrap()));
        assert_close(&ours, &theirs, 1e-6);
        assert!(sum_rows(&table, vec![7], 1).is_err());
    }
}
