//! Attention over packed rows as one fused operation (Vaswani et al. 2017, arXiv 1706.03762).

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::exp::softmax;
use super::host::{CHUNK, add_scaled, dot, slice, with};
use super::rotary::Rotary;
use super::segments::Segments;

/// Attention of every row to rows of its sequence. Input: rows × (heads + 2 · heads of keys) · head width, queries, keys
/// and values side by side, before the rotation. Output: rows × heads · head width.
pub(super) struct Attend {
    pub(super) segments: Segments,
    /// Heads of queries.
    pub(super) heads: usize,
    /// Heads of keys and values; several heads of queries may share one (arXiv 2305.13245).
    pub(super) kv_heads: usize,
    /// Turns queries and keys; nothing where the rows know their positions already.
    pub(super) rotary: Option<Arc<Rotary>>,
    /// Whether a row sees itself and the earlier rows alone, not all of its sequence.
    pub(super) causal: bool,
}

/// One sequence of one head: rotated queries and keys, and room for the products.
struct Head {
    width: usize,
    scale: f32,
    causal: bool,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Head {
    /// Copies the columns of head `head` out of the packed rows of one sequence and adds their bias.
    fn read(qkv: &[f32], bias: Option<&[f32]>, op: &Attend, columns: usize, head: usize) -> Head {
        let head_width = op.head_width(columns);
        let [q, k, v] = op.places(head_width, head);
        let part = |first: usize, rotary: Option<&Rotary>| {
            let place = first..;
            let mut rows = Vec::with_capacity(qkv.len() / columns * head_width);
            for (position, row) in qkv.chunks_exact(columns).enumerate() {
                let first = rows.len();
                rows.extend_from_slice(&row[place.clone()][..head_width]);
                if let Some(bias) = bias {
                    add_scaled(&mut rows[first..], 1.0, &bias[place.clone()]);
                }
                if let Some(rotary) = rotary {
                    rotary.turn(&mut rows[first..], position, 1.0);
                }
            }
            rows
        };
        let (scale, rotary) = (1.0 / (head_width as f32).sqrt(), op.rotary.as_deref());
        let (q, k, v) = (part(q, rotary), part(k, rotary), part(v, None));
        Head { width: head_width, scale, causal: op.causal, q, k, v }
    }

    fn row<'a>(&self, matrix: &'a [f32], at: usize) -> &'a [f32] {
        &matrix[at * self.width..][..self.width]
    }

    /// The weights of row `at` over the rows that it sees.
    fn weights(&self, at: usize, weights: &mut Vec<f32>) {
        let q = self.row(&self.q, at);
        let seen = if self.causal { at + 1 } else { self.k.len() / self.width };
        weights.clear();
        weights.extend((0..seen).map(|j| self.scale * dot(q, self.row(&self.k, j))));
        softmax(weights);
    }
}

impl Attend {
    /// Numbers of a head, of so many in a row of the input.
    fn head_width(&self, columns: usize) -> usize {
        columns / (self.heads + 2 * self.kv_heads)
    }

    /// Numbers in a row of the output.
    fn width(&self, columns: usize) -> usize {
        self.heads * self.head_width(columns)
    }

    /// The first columns of a head's queries, and of the keys and values that it sees.
    fn places(&self, head_width: usize, head: usize) -> [usize; 3] {
        let shared = head * self.kv_heads / self.heads;
        let first = [head, self.heads + shared, self.heads + self.kv_heads + shared];
        first.map(|head| head * head_width)
    }

    /// Splits rows of `width` numbers into the runs of sequences that one thread handles.
    fn split<'a>(
        &self,
        mut rows: &'a mut [f32],
        width: usize,
    ) -> Vec<(Vec<Range<usize>>, &'a mut [f32])> {
        let runs = self.segments.runs(CHUNK).into_iter();
        runs.map(|run| {
            let count: usize = run.iter().map(ExactSizeIterator::len).sum();
            let (mine, rest) = std::mem::take(&mut rows).split_at_mut(count * width);
            rows = rest;
            (run, mine)
        })
        .collect()
    }

    fn forward(&self, qkv: &[f32], bias: Option<&[f32]>, columns: usize) -> Vec<f32> {
        let width = self.width(columns);
        let mut out = vec![0f32; qkv.len() / columns * width];
        self.split(&mut out, width).into_par_iter().for_each(|(run, mut out)| {
            let mut weights = Vec::new();
            for rows in run {
                let (mine, rest) = out.split_at_mut(rows.len() * width);
                out = rest;
                let qkv = &qkv[rows.start * columns..rows.end * columns];
                for head in 0..self.heads {
                    let h = Head::read(qkv, bias, self, columns, head);
                    for (at, out) in mine.chunks_exact_mut(width).enumerate() {
                        h.weights(at, &mut weights);
                        let out = &mut out[head * h.width..][..h.width];
                        for (j, &weight) in weights.iter().enumerate() {
                            add_scaled(out, weight, h.row(&h.v, j));
                        }
                    }
                }
            }
        });
        out
    }

    fn backward(&self, qkv: &[f32], grad: &[f32], columns: usize) -> Vec<f32> {
        let width = self.width(columns);
        let mut out = vec![0f32; qkv.len()];
        self.split(&mut out, columns).into_par_iter().for_each(|(run, mut out)| {
            for rows in run {
                let (mine, rest) = out.split_at_mut(rows.len() * columns);
                out = rest;
                let qkv = &qkv[rows.start * columns..rows.end * columns];
                let grad = &grad[rows.start * width..rows.end * width];
                for head in 0..self.heads {
                    self.backward_head(head, qkv, grad, columns, mine);
                }
            }
        });
        out
    }

    /// With weights `p` and output `o = Σ pⱼvⱼ`: `dvⱼ = p·g`, `ds = p(g·v − Σ p(g·v))`, `dq =
    /// ds·k`, `dk = ds·q`.
    fn backward_head(
        &self,
        head: usize,
        qkv: &[f32],
        grad: &[f32],
        columns: usize,
        out: &mut [f32],
    ) {
        let h = Head::read(qkv, None, self, columns, head);
        let mine = head * h.width..(head + 1) * h.width;
        let (mut dq, mut dk) = (vec![0f32; h.q.len()], vec![0f32; h.k.len()]);
        let mut dv = vec![0f32; h.v.len()];
        let (mut weights, mut products) = (Vec::new(), Vec::new());
        for (at, grad) in grad.chunks_exact(self.width(columns)).enumerate() {
            let grad = &grad[mine.clone()];
            h.weights(at, &mut weights);
            products.clear();
            products.extend((0..weights.len()).map(|j| dot(grad, h.row(&h.v, j))));
            let mean = dot(&weights, &products);
            for (j, &weight) in weights.iter().enumerate() {
                let ds = weight * (products[j] - mean) * h.scale;
                let there = j * h.width..(j + 1) * h.width;
                add_scaled(&mut dv[there.clone()], weight, grad);
                add_scaled(&mut dq[at * h.width..][..h.width], ds, h.row(&h.k, j));
                add_scaled(&mut dk[there], ds, h.row(&h.q, at));
            }
        }
        let places = self.places(h.width, head);
        for (at, out) in out.chunks_exact_mut(columns).enumerate() {
            let row = at * h.width..(at + 1) * h.width;
            if let Some(rotary) = &self.rotary {
                rotary.turn(&mut dq[row.clone()], at, -1.0);
                rotary.turn(&mut dk[row.clone()], at, -1.0);
            }
            for (first, part) in places.into_iter().zip([&dq, &dk, &dv]) {
                // Heads of queries that share keys and values add up there.
                add_scaled(&mut out[first..][..h.width], 1.0, &part[row.clone()]);
            }
        }
    }
}

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, columns) = (layout.dims()[0], layout.dims()[1]);
        let out = self.forward(slice(qkv, layout)?, None, columns);
        Ok((CpuStorage::F32(out), Shape::from((rows, self.width(columns)))))
    }

    fn bwd(
        &self,
        qkv: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let columns = qkv.dim(1)?;
        let d = with(qkv, |qkv| with(grad, |grad| self.backward(qkv, grad, columns)))??;
        Tensor::from_vec(d, qkv.shape(), qkv.device()).map(Some)
    }
}

/// The same over rows that still lack their bias, which is the second input. Without gradient.
pub(super) struct AttendBiased(pub(super) Attend);

impl CustomOp2 for AttendBiased {
    fn name(&self) -> &'static str {
        "attend-biased"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, columns) = (layout.dims()[0], layout.dims()[1]);
        let bias = slice(bias, bias_layout)?;
        let out = self.0.forward(slice(qkv, layout)?, Some(bias), columns);
        Ok((CpuStorage::F32(out), Shape::from((rows, self.0.width(columns)))))
    }
}

/// Attention of one new query for each row to the keys and values that the row has gathered.
/// Queries and keys are rotated already. Query: rows × width; keys and values: rows × length ×
/// width. Without gradient.
pub(super) struct AttendCached {
    pub(super) heads: usize,
}

impl CustomOp3 for AttendCached {
    fn name(&self) -> &'static str {
        "attend-cached"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let q = slice(q, q_layout)?;
        let (keys, values) = (slice(keys, keys_layout)?, slice(values, values_layout)?);
        let (length, width) = (keys_layout.dims()[1], keys_layout.dims()[2]);
        let head_width = width / self.heads;
        let scale = 1.0 / (head_width as f32).sqrt();
        let mut out = vec![0f32; q.len()];
        let past = length * width;
        out.par_chunks_exact_mut(width).enumerate().with_min_len(CHUNK).for_each(|(row, out)| {
            let q = &q[row * width..][..width];
            let (keys, values) = (&keys[row * past..][..past], &values[row * past..][..past]);
            let mut weights = vec![0f32; length];
            for head in 0..self.heads {
                let at = head * head_width;
                for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(width)) {
                    *weight = scale * dot(&q[at..][..head_width], &key[at..][..head_width]);
                }
                softmax(&mut weights);
                for (&weight, value) in weights.iter().zip(values.chunks_exact(width)) {
                    add_scaled(&mut out[at..][..head_width], weight, &value[at..][..head_width]);
                }
            }
        });
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}
