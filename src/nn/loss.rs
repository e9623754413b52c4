//! Cross-entropy from logits, and log-softmax for decoding.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Shape, Tensor, bail};
use rayon::prelude::*;

use super::exp::{exp, probability, softmax};
use super::host::{CHUNK, add_scaled, fused, slice, with};
use super::matmul::{Matrix, matmul};
use crate::error::{Error, Result};

/// The mean over rows of the negative log-probability of the targets. A scalar.
///
/// `logits`: rows × codes. Every target is a code.
pub(crate) fn cross_entropy(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    let (rows, codes) = logits.dims2()?;
    if targets.len() != rows || rows == 0 || targets.iter().any(|&code| code as usize >= codes) {
        return Err(Error::internal(format!("targets do not fit logits of {rows} × {codes}")));
    }
    if fused(logits) {
        return Ok(logits.contiguous()?.apply_op1(Fused { targets: targets.into() })?);
    }
    composed(logits, targets)
}

fn composed(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    Ok(log_prob(logits, targets)?.mean_all()?.neg()?)
}

/// The cross-entropy of the logits `x · tableᵀ − less`, which are made and used up some rows at a time: all of them are
/// far more numbers than either side (Hsu et al. 2024, arXiv 2410.10989). Gradient to `x` and the table. A scalar.
///
/// `x`: rows × width, `table`: codes × width, `less`: a number for each code, or none at all. Every target is a code.
pub(crate) fn cross_entropy_over(
    x: &Tensor,
    table: &Tensor,
    less: Vec<f32>,
    targets: Vec<u32>,
) -> Result<Tensor> {
    let ((rows, width), (codes, inner)) = (x.dims2()?, table.dims2()?);
    let fits = targets.len() == rows
        && rows > 0
        && inner == width
        && (less.is_empty() || less.len() == codes)
        && targets.iter().all(|&code| (code as usize) < codes);
    if !fits {
        let message = format!("targets do not fit {rows} rows of {width} over {codes} of {inner}");
        return Err(Error::internal(message));
    }
    if fused(x) && fused(table) {
        let op = Over { targets, less, logs: OnceLock::new() };
        return Ok(x.contiguous()?.apply_op2(&table.contiguous()?, op)?);
    }
    let mut logits = matmul(x, &table.t()?)?;
    if !less.is_empty() {
        let less = Tensor::from_vec(less, (1, codes), x.device())?.to_dtype(logits.dtype())?;
        logits = logits.broadcast_sub(&less)?;
    }
    cross_entropy(&logits, targets)
}

/// The log-probability of the target of each row. Rows.
///
/// `logits`: rows × codes. Every target is a code.
pub(crate) fn log_prob(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    let (rows, codes) = logits.dims2()?;
    if targets.len() != rows || targets.iter().any(|&code| code as usize >= codes) {
        return Err(Error::internal(format!("targets do not fit logits of {rows} × {codes}")));
    }
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?; // rows × 1
    let targets = Tensor::from_vec(targets, (rows, 1), logits.device())?;
    Ok((shifted.gather(&targets, D::Minus1)? - log_sum)?.squeeze(D::Minus1)?)
}

/// Log-probabilities of each row as plain numbers, row-major. Without gradient.
pub(crate) fn log_softmax(logits: &Tensor) -> Result<Vec<f32>> {
    let codes = logits.dim(D::Minus1)?;
    let mut values = logits.flatten_all()?.to_vec1::<f32>()?;
    values.par_chunks_mut(codes * CHUNK).for_each(|rows| {
        for row in rows.chunks_exact_mut(codes) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|value| exp(value - max)).sum();
            let log_sum = max + sum.ln();
            for value in row.iter_mut() {
                *value -= log_sum;
            }
        }
    });
    Ok(values)
}

/// The fused form.
struct Fused {
    targets: Arc<[u32]>,
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let logits = slice(logits, layout)?;
        let codes = layout.dims()[1];
        let parts: Vec<f64> = logits
            .par_chunks(codes * CHUNK)
            .zip(self.targets.par_chunks(CHUNK))
            .map(|(logits, targets)| {
                let mut row = vec![0f32; codes];
                let mut sum = 0f64;
                for (logits, &target) in logits.chunks_exact(codes).zip(targets) {
                    row.copy_from_slice(logits);
                    sum += f64::from(softmax(&mut row) - logits[target as usize]);
                }
                sum
            })
            .collect();
        let mean = parts.iter().sum::<f64>() / self.targets.len() as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let codes = logits.dim(1)?;
        let scale = grad.to_scalar::<f32>()? / self.targets.len() as f32;
        let d = with(logits, |logits| {
            let mut d = logits.to_vec();
            d.par_chunks_mut(codes * CHUNK).zip(self.targets.par_chunks(CHUNK)).for_each(
                |(d, targets)| {
                    for (d, &target) in d.chunks_exact_mut(codes).zip(targets) {
                        softmax(d);
                        d[target as usize] -= 1.0;
                        for d in d.iter_mut() {
                            *d *= scale;
                        }
                    }
                },
            );
            d
        })?;
        Tensor::from_vec(d, logits.shape(), logits.device()).map(Some)
    }
}

/// The fused form of `cross_entropy_over`.
struct Over {
    targets: Vec<u32>,
    less: Vec<f32>,
    /// Of each row the logarithm of the sum of what its logits are the logarithms of.
    logs: OnceLock<Vec<f32>>,
}

/// Runs of rows at most: each has a gradient of the table of its own.
const RUNS: usize = 16;

/// Rows of `width` numbers, one after the other.
fn rows_of(numbers: &[f32], width: usize) -> Matrix<'_> {
    Matrix::new(numbers, numbers.len() / width, width, width)
}

impl Over {
    fn logits(&self, x: Matrix<'_>, table: Matrix<'_>, codes: usize, logits: &mut [f32]) {
        x.times_into(table.t(), logits, codes);
        if !self.less.is_empty() {
            logits.chunks_exact_mut(codes).for_each(|row| add_scaled(row, -1.0, &self.less));
        }
    }

    /// The gradients of `x` and of the table, times `scale`.
    fn backward(
        &self,
        (x, table): (&[f32], &[f32]),
        (width, scale): (usize, f32),
        logs: &[f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let codes = table.len() / width;
        let table = rows_of(table, width);
        let mut dx = vec![0f32; x.len()];
        let run = CHUNK * self.targets.len().div_ceil(RUNS * CHUNK);
        let rows = dx.par_chunks_mut(run * width).zip(x.par_chunks(run * width));
        let known = self.targets.par_chunks(run).zip(logs.par_chunks(run));
        let parts = rows.zip(known).map(|((dx, x), (targets, logs))| {
            let mut dtable = vec![0f32; codes * width];
            let mut d = vec![0f32; CHUNK * codes];
            let rows = dx.chunks_mut(CHUNK * width).zip(x.chunks(CHUNK * width));
            for ((dx, x), known) in rows.zip(targets.chunks(CHUNK).zip(logs.chunks(CHUNK))) {
                let d = &mut d[..known.0.len() * codes];
                let x = rows_of(x, width);
                self.logits(x, table, codes, d);
                for (row, (&target, log)) in
                    d.chunks_exact_mut(codes).zip(known.0.iter().zip(known.1))
                {
                    for d in row.iter_mut() {
                        *d = probability(*d - log) * scale;
                    }
                    row[target as usize] -= scale;
                }
                let d = rows_of(d, codes);
                d.times_into(table, dx, width);
                d.t().plus_into(x, &mut dtable);
            }
            dtable
        });
        let parts: Vec<Vec<f32>> = parts.collect();
        let mut dtable = vec![0f32; codes * width];
        for part in &parts {
            add_scaled(&mut dtable, 1.0, part);
        }
        (dx, dtable)
    }
}

impl CustomOp2 for Over {
    fn name(&self) -> &'static str {
        "cross-entropy-over"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, table) = (slice(x, x_layout)?, slice(table, table_layout)?);
        let (codes, width) = table_layout.shape().dims2()?;
        let table = rows_of(table, width);
        let mut logs = vec![0f32; self.targets.len()];
        let rows = x.par_chunks(CHUNK * width).zip(self.targets.par_chunks(CHUNK));
        let parts = logs.par_chunks_mut(CHUNK).zip(rows).map(|(logs, (x, targets))| {
            let mut logits = vec![0f32; targets.len() * codes];
            self.logits(rows_of(x, width), table, codes, &mut logits);
            let mut sum = 0f64;
            for (row, (log, &target)) in
                logits.chunks_exact_mut(codes).zip(logs.iter_mut().zip(targets))
            {
                let of_target = row[target as usize];
                *log = softmax(row);
                sum += f64::from(*log - of_target);
            }
            sum
        });
        let parts: Vec<f64> = parts.collect();
        // An operation runs forward once; if ever twice, it gives the same.
        drop(self.logs.set(logs));
        let mean = parts.iter().sum::<f64>() / self.targets.len() as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        table: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(logs) = self.logs.get() else {
            bail!("a backward pass comes after a forward pass");
        };
        let scale = grad.to_scalar::<f32>()? / self.targets.len() as f32;
        let sizes = (x.dim(1)?, scale);
        let (dx, dtable) =
            with(x, |x| with(table, |table| self.backward((x, table), sizes, logs)))??;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), Some(Tensor::from_vec(dtable, table.shape(), table.device())?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::composed as composed_on_this_thread;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        let x = random_var(&[130, 9], 1);
        let logits = (x.as_tensor() * 5.0).unwrap();
        let targets: Vec<u32> = (0..130).map(|row| row % 9).collect();
        let theirs = gradients(&[&x], &composed(&logits, targets.clone()).unwrap());
        let ours = gradients(&[&x], &cross_entropy(&logits, targets).unwrap());
        assert_close(&ours, &theirs, 1e-5);
        assert!(cross_entropy(&logits, vec![9; 130]).is_err());
    }

    #[test]
    fn over_a_table_equals_over_its_products() {
        let (x, table) = (random_var(&[1100, 6], 1), random_var(&[40, 6], 2));
        let targets: Vec<u32> = (0..1100).map(|row| row * 7 % 40).collect();
        let less: Vec<f32> = (0..40).map(|code| code as f32 / 20.0).collect();
        for less in [less, Vec::new()] {
            let run = || {
                let x = (x.as_tensor() * 4.0).unwrap();
                cross_entropy_over(&x, &table, less.clone(), targets.clone()).unwrap()
            };
            let theirs = composed_on_this_thread(|| gradients(&[&x, &table], &run()));
            assert_close(&gradients(&[&x, &table], &run()), &theirs, 1e-5);
        }
        assert!(cross_entropy_over(&x, &table, vec![0.0], targets).is_err());
    }

    #[test]
    fn log_softmax_is_normalized() {
        let values = log_softmax(&random_var(&[3, 11], 4)).unwrap();
        for row in values.chunks(11) {
            assert!((row.iter().map(|v| v.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
