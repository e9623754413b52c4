//! The vectors of items, which history and answer share: what is learned of the item itself, its codes, its content.
//!
//! `e(i) = id(i) + Σ over levels of code embeddings + W · content(i)`
//!
//! An item that nobody has touched has no `id`, so that it is met with its codes and its content, as one that comes
//! after training is.

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use sidql_storage::ItemNo;

use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{Init, Linear, Params, sum_rows};
use crate::policy::sid_head::{Codes, Row};

/// The name of the variable that has a row for each item.
pub(super) const IDS: &str = "items.ids";

/// What makes the vector of an item, beside its codes.
pub(super) struct Items {
    /// Items × width.
    ids: Var,
    content: Option<Content>,
}

/// Content: the vectors of a space.
struct Content {
    /// As they are: items × components.
    raw: Tensor,
    /// Less the mean, and of unit variance: items × components.
    standard: Tensor,
    /// The mean, and behind it what the rest is multiplied with. Never moved by a gradient.
    moments: Var,
    map: Linear,
}

impl Items {
    /// Over as many items; `content`: items × components, or empty.
    pub(super) fn new(
        params: &mut Params,
        (count, width): (usize, usize),
        content: &[f32],
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        // Smaller than the codes: items begin alike, and are told apart as far as it pays.
        let deviation = 0.5 / (width as f32).sqrt();
        let ids = params.create(IDS, &[count, width], Init::Embedding(deviation), random)?;
        let content = match content.len().checked_div(count) {
            None | Some(0) => None,
            Some(components) => {
                let shape = (count, components);
                let raw = Tensor::from_vec(content.to_vec(), shape, ids.device())?;
                let name = "items.moments".to_owned();
                let moments = params.create(name, &[components + 1], Init::Zeros, random)?;
                let name = "items.content".to_owned();
                let map = Linear::new(params, name, (components, width), deviation, random)?;
                Some(Content { standard: raw.clone(), raw, moments, map })
            }
        };
        Ok(Items { ids, content })
    }

    /// Where they live.
    pub(super) fn device(&self) -> &Device {
        self.ids.device()
    }

    /// How many there are.
    pub(super) fn count(&self) -> Result<usize> {
        Ok(self.ids.dim(0)?)
    }

    /// The content as it was given.
    pub(super) fn content(&self) -> Result<Vec<f32>> {
        let raw = self.content.as_ref().map(|content| content.raw.flatten_all()?.to_vec1());
        Ok(raw.transpose()?.unwrap_or_default())
    }

    /// Forgets the items that nobody has touched, and measures the content of all.
    pub(super) fn measure(&mut self, touched: &[u32]) -> Result<()> {
        let (count, width) = self.ids.dims2()?;
        let mut ids = self.ids.flatten_all()?.to_vec1::<f32>()?;
        for (ids, touched) in ids.chunks_exact_mut(width).zip(touched) {
            if *touched == 0 {
                ids.fill(0.0);
            }
        }
        self.ids.set(&Tensor::from_vec(ids, (count, width), self.ids.device())?)?;
        if let Some(content) = &self.content {
            let moments = moments(&content.raw.to_vec2::<f32>()?);
            content.moments.set(&Tensor::new(moments, self.ids.device())?)?;
        }
        self.standardise()
    }

    /// Brings the content to the mean and the variance that were measured.
    pub(super) fn standardise(&mut self) -> Result<()> {
        if let Some(content) = &mut self.content {
            let moments = content.moments.as_detached_tensor();
            let components = moments.dim(0)? - 1;
            let (mean, scale) =
                (moments.narrow(0, 0, components)?, moments.narrow(0, components, 1)?);
            content.standard = content.raw.broadcast_sub(&mean)?.broadcast_mul(&scale)?;
        }
        Ok(())
    }

    /// Content alone, of unit length; none where there is none. Items × components.
    pub(super) fn directions(&self) -> Result<Option<Tensor>> {
        let Some(content) = &self.content else { return Ok(None) };
        let length = (content.standard.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?;
        Ok(Some(content.standard.broadcast_div(&length)?))
    }

    /// The vectors of the items at these positions, with gradient. Positions × width.
    pub(super) fn embed(
        &self,
        codes: &Codes,
        catalogue: &Catalogue,
        positions: &[u32],
    ) -> Result<Tensor> {
        let prefixes = positions.iter().map(|&at| Row::Prefix(catalogue.codes_of(at)));
        let x = (sum_rows(&self.ids, positions.to_vec(), 1)? + codes.embed(prefixes)?)?;
        let Some(content) = &self.content else { return Ok(x) };
        let positions = Tensor::new(positions, self.ids.device())?;
        Ok((x + content.map.forward(&content.standard.index_select(&positions, 0)?)?)?)
    }

    /// The rows of `ids` as saved over other items, in the order of this catalogue; zeros for items that came since.
    pub(super) fn moved(
        &self,
        saved: &Tensor,
        items: &[ItemNo],
        catalogue: &Catalogue,
    ) -> Result<Tensor> {
        let (count, width) = self.ids.dims2()?;
        if saved.dims() != [items.len(), width] {
            return Err(Error::internal("the saved vectors of items do not fit their numbers"));
        }
        let rows = saved.to_vec2::<f32>()?;
        let known: HashMap<ItemNo, &Vec<f32>> = items.iter().copied().zip(&rows).collect();
        let mut moved = vec![0.0; count * width];
        for (row, item) in moved.chunks_exact_mut(width).zip(&catalogue.items) {
            if let Some(known) = known.get(item) {
                row.copy_from_slice(known);
            }
        }
        Ok(Tensor::from_vec(moved, (count, width), self.ids.device())?)
    }
}

/// The mean of the rows that are not zeros, and one over the root of the mean square of what is left.
fn moments(rows: &[Vec<f32>]) -> Vec<f32> {
    let known = || rows.iter().filter(|row| row.iter().any(|x| *x != 0.0));
    let count = known().count().max(1) as f64;
    let components = rows.first().map_or(0, Vec::len);
    let mut mean = vec![0f64; components];
    for row in known() {
        for (mean, x) in mean.iter_mut().zip(row) {
            *mean += f64::from(*x) / count;
        }
    }
    let left = |row: &Vec<f32>| -> f64 {
        row.iter().zip(&mean).map(|(x, mean)| (f64::from(*x) - mean).powi(2)).sum()
    };
    let variance = known().map(left).sum::<f64>() / (count * components.max(1) as f64);
    let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 };
    mean.iter().map(|mean| *mean as f32).chain([scale as f32]).collect()
}
