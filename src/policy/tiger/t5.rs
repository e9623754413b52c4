//! The encoder and decoder of T5 (Raffel et al. 2020, arXiv 1910.10683): RMS norm first, no biases, products of queries
//! and keys not scaled, distances told by buckets that all layers share, a feed-forward layer with ReLU, one table for
//! input and output.
//!
//! Sequences of a batch are packed one behind the other. Rows that decode stand beside each other, and each attends to the
//! encoded history that it belongs to.

use candle_core::{DType, Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::Result;
use crate::nn::{
    Activation, Dropout, Init, Linear, Params, RmsNorm, Segments, Sides, attend_biased, matmul,
    mlp, sum_rows,
};

/// The sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) heads: usize,
    /// Numbers of a head.
    pub(super) head_width: usize,
    pub(super) hidden: usize,
    pub(super) encoder_layers: usize,
    pub(super) decoder_layers: usize,
    /// Distances that are told apart.
    pub(super) buckets: usize,
    /// From where on they are all alike.
    pub(super) max_distance: usize,
}

/// The model.
pub(super) struct T5 {
    shape: Shape,
    /// Tokens × width.
    tokens: Var,
    encoder: Stack,
    decoder: Stack,
}

/// One side.
struct Stack {
    layers: Vec<Layer>,
    /// Buckets × heads.
    bias: Var,
    norm: RmsNorm,
}

struct Layer {
    own: Attention,
    /// To what was encoded; the decoder's alone.
    cross: Option<Attention>,
    norm: RmsNorm,
    up: Linear,
    down: Linear,
}

struct Attention {
    norm: RmsNorm,
    q: Linear,
    /// Keys and values side by side.
    kv: Linear,
    out: Linear,
}

/// Histories as the decoder attends to them.
pub(super) struct Encoded {
    /// Keys and values of each layer of the decoder: rows × 2 · heads · head width.
    pairs: Vec<Tensor>,
    /// The rows of each history.
    segments: Segments,
}

/// Which tokens of a history another token sees, by the step that each belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight {
    /// All.
    All,
    /// Those of its own step and of earlier ones. The first token is step 0, then as many each make one more.
    Earlier(usize),
}

impl Sight {
    /// What is added to the scores of as many queries and keys, a query's step told by `step`: 1 × queries × keys, or one
    /// row for all queries.
    fn mask(
        self,
        (queries, keys): (usize, usize),
        step: impl Fn(usize, usize) -> usize,
        device: &Device,
    ) -> Result<Tensor> {
        let Sight::Earlier(tokens) = self else {
            return Ok(Tensor::zeros((1, 1, keys), DType::F32, device)?);
        };
        let step = &step;
        let later = (0..queries).flat_map(|query| {
            (0..keys).map(move |key| hidden(key.div_ceil(tokens) > step(query, tokens)))
        });
        Ok(Tensor::from_vec(later.collect(), (1, queries, keys), device)?)
    }
}

/// What rows that decode have gathered, keys and values of each layer of the decoder: rows × length × 2 · heads · head
/// width.
#[derive(Clone, Default)]
pub(super) struct Past {
    pairs: Vec<Option<Tensor>>,
}

impl T5 {
    /// A model for as many tokens, with T5's own deviations.
    pub(super) fn new(
        params: &mut Params,
        tokens: usize,
        shape: Shape,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let init = Init::Embedding(1.0);
        let tokens = params.create("tokens", &[tokens, shape.width], init, random)?;
        let encoder = Stack::new(params, "encoder", shape, false, random)?;
        let decoder = Stack::new(params, "decoder", shape, true, random)?;
        Ok(T5 { shape, tokens, encoder, decoder })
    }

    /// Where it lives.
    pub(super) fn device(&self) -> &Device {
        self.tokens.device()
    }

    /// Reads sequences of tokens, each of one at least.
    pub(super) fn encode(
        &self,
        sequences: &[Vec<u32>],
        sight: Sight,
        dropout: &mut Dropout<'_>,
    ) -> Result<Encoded> {
        let segments = Segments::of_lengths(sequences.iter().map(Vec::len));
        let sides = self.sides(segments.clone(), segments.clone());
        let longest = segments.longest();
        let bias = self.encoder.bias(self.shape, 0..longest, longest, true)?;
        let step = |query: usize, tokens| query.div_ceil(tokens);
        let bias = bias.broadcast_add(&sight.mask((longest, longest), step, self.device())?)?;
        let mut x = dropout.apply(&sum_rows(&self.tokens, sequences.concat(), 1)?)?;
        if segments.len() == 1 && dropout.random.is_none() && self.device().is_cpu() {
            return self.encode_alone(&x, segments, &bias);
        }
        for layer in &self.encoder.layers {
            let normed = layer.own.norm.forward(&x)?;
            let kv = layer.own.kv.forward(&normed)?;
            let mixed = layer.own.mix(&normed, &kv, &bias, &sides, dropout)?;
            x = layer.feed(&dropout.add(&x, &mixed)?, dropout)?;
        }
        let states = dropout.apply(&self.encoder.norm.forward(&x)?)?;
        Ok(Encoded { pairs: self.pairs(&states)?, segments })
    }

    /// Keys and values of each layer of the decoder.
    fn pairs(&self, states: &Tensor) -> Result<Vec<Tensor>> {
        let cross = self.decoder.layers.iter().filter_map(|layer| layer.cross.as_ref());
        cross.map(|cross| cross.kv.forward(states)).collect()
    }

    /// Reads one history without dropout: each thread takes some of its rows through the layers, and waits for the others
    /// at their keys and values alone. At every product, as rows of a batch do, would take longer than the products.
    fn encode_alone(&self, x: &Tensor, segments: Segments, bias: &Tensor) -> Result<Encoded> {
        let rows = segments.rows();
        let most = rows.div_ceil(rayon::current_num_threads());
        let firsts: Vec<usize> = (0..rows).step_by(most).collect();
        let part = |first: &usize| Ok(x.narrow(0, *first, most.min(rows - first))?);
        let mut parts = firsts.iter().map(part).collect::<Result<Vec<Tensor>>>()?;
        let each = |parts: &[Tensor], run: &(dyn Fn(usize, &Tensor) -> Result<Tensor> + Sync)| {
            let runs = parts.par_iter().zip(&firsts).map(|(x, first)| run(*first, x));
            runs.collect::<Result<Vec<Tensor>>>()
        };
        for layer in &self.encoder.layers {
            let kv = each(&parts, &|_, x| layer.own.kv.forward(&layer.own.norm.forward(x)?))?;
            let kv = Tensor::cat(&kv, 0)?;
            parts = each(&parts, &|first, x| {
                let queries = Segments::of_lengths([x.dim(0)?]);
                let sides = self.sides(queries, segments.clone());
                let bias = bias.narrow(1, first, x.dim(0)?)?;
                let (normed, mut off) = (layer.own.norm.forward(x)?, Dropout::off());
                let mixed = layer.own.mix(&normed, &kv, &bias, &sides, &mut off)?;
                layer.feed(&(x + mixed)?, &mut off)
            })?;
        }
        let pairs = parts.par_iter().map(|x| self.pairs(&self.encoder.norm.forward(x)?));
        let pairs = pairs.collect::<Result<Vec<Vec<Tensor>>>>()?;
        let layer = |at: usize| {
            let parts: Vec<&Tensor> = pairs.iter().map(|pairs| &pairs[at]).collect();
            Ok(Tensor::cat(&parts, 0)?)
        };
        let pairs = (0..self.decoder.layers.len()).map(layer).collect::<Result<_>>()?;
        Ok(Encoded { pairs, segments })
    }

    /// Decodes rows of `length` tokens each, behind what `past` holds, which they join. `owners`: the history of each row,
    /// and where `sight` is of what is earlier, the rows of a history are in order and continue its steps 0, 1, ….
    /// Gives the state behind every token, rows·length × width, as it is compared with tokens.
    pub(super) fn decode(
        &self,
        encoded: &Encoded,
        (owners, sight): (&[u32], Sight),
        tokens: Vec<u32>,
        past: &mut Past,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let (rows, length) = (owners.len(), tokens.len() / owners.len());
        past.pairs.resize(self.decoder.layers.len(), None);
        let before = match past.pairs.first() {
            Some(Some(pair)) => pair.dim(1)?,
            _ => 0,
        };
        let all = before + length;
        let alike = |length: usize| Segments::of_lengths(std::iter::repeat_n(length, rows));
        let own = self.sides(alike(length), alike(all));
        let bias = self.decoder.bias(self.shape, before..all, all, false)?;
        let later = (before..all).flat_map(|at| (0..all).map(move |key| hidden(key > at)));
        let later = Tensor::from_vec(later.collect(), (1, length, all), self.device())?;
        let bias = bias.broadcast_add(&later)?;
        let fold = Fold::new(owners, length, encoded.segments.len(), self.device())?;
        let there = self.sides(fold.queries.clone(), encoded.segments.clone());
        let sizes = (fold.queries.longest(), encoded.segments.longest());
        let seen = sight.mask(sizes, |query, _| query / length, self.device())?;
        let mut x = dropout.apply(&sum_rows(&self.tokens, tokens, 1)?)?;
        let layers = self.decoder.layers.iter().zip(&mut past.pairs).zip(&encoded.pairs);
        for ((layer, past), pairs) in layers {
            let normed = layer.own.norm.forward(&x)?;
            let new = layer.own.kv.forward(&normed)?; // rows·length × 2 · heads · head width
            let new = new.reshape((rows, length, ()))?;
            let kv = match past.take() {
                Some(past) => Tensor::cat(&[&past, &new], 1)?,
                None => new,
            };
            let mixed = layer.own.mix(&normed, &kv.flatten(0, 1)?, &bias, &own, dropout)?;
            *past = Some(kv);
            x = dropout.add(&x, &mixed)?;
            if let Some(cross) = &layer.cross {
                let folded = fold.fold(&cross.norm.forward(&x)?)?;
                let mixed = cross.mix(&folded, pairs, &seen, &there, dropout)?;
                x = dropout.add(&x, &fold.unfold(&mixed)?)?;
            }
            x = layer.feed(&x, dropout)?;
        }
        let x = dropout.apply(&self.decoder.norm.forward(&x)?)?;
        Ok((x * (self.shape.width as f64).powf(-0.5))?)
    }

    fn sides(&self, queries: Segments, keys: Segments) -> Sides {
        Sides { queries, keys, heads: self.shape.heads }
    }

    /// Logits over `count` tokens from `first` on. `x`: rows × width.
    pub(super) fn logits(&self, x: &Tensor, first: usize, count: usize) -> Result<Tensor> {
        Ok(matmul(x, &self.tokens.narrow(0, first, count)?.t()?)?)
    }
}

impl Past {
    /// What the rows have that continue `parents`: an index for each new row.
    pub(super) fn select(&self, parents: &Tensor) -> Result<Past> {
        let select = |pair: &Option<Tensor>| -> Result<Option<Tensor>> {
            Ok(pair.as_ref().map(|pair| pair.index_select(parents, 0)).transpose()?)
        };
        Ok(Past { pairs: self.pairs.iter().map(select).collect::<Result<_>>()? })
    }

    /// The rows of all parts, one part behind the other. All have gathered as much.
    pub(super) fn stack(parts: &[Past]) -> Result<Past> {
        if let [part] = parts {
            return Ok(part.clone());
        }
        let layers = parts.first().map_or(0, |part| part.pairs.len());
        let stack = |layer: usize| -> Result<Option<Tensor>> {
            let pairs: Vec<&Tensor> =
                parts.iter().filter_map(|p| p.pairs[layer].as_ref()).collect();
            Ok(if pairs.is_empty() { None } else { Some(Tensor::cat(&pairs, 0)?) })
        };
        Ok(Past { pairs: (0..layers).map(stack).collect::<Result<_>>()? })
    }
}

impl Stack {
    fn new(
        params: &mut Params,
        name: &str,
        shape: Shape,
        decodes: bool,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let Shape { width, heads, hidden, buckets, .. } = shape;
        let count = if decodes { shape.decoder_layers } else { shape.encoder_layers };
        let init = Init::Embedding((width as f32).powf(-0.5));
        let bias = params.create(format!("{name}.bias"), &[buckets, heads], init, random)?;
        let mut layers = Vec::with_capacity(count);
        for at in 0..count {
            let name = format!("{name}.{at}");
            let own = Attention::new(params, &format!("{name}.own"), shape, random)?;
            let cross = if decodes {
                Some(Attention::new(params, &format!("{name}.cross"), shape, random)?)
            } else {
                None
            };
            let norm = RmsNorm::new(params, format!("{name}.norm"), width, random)?;
            let up = Linear::new(params, format!("{name}.up"), (width, hidden), 1.0, random)?;
            let down = Linear::new(params, format!("{name}.down"), (hidden, width), 1.0, random)?;
            layers.push(Layer { own, cross, norm, up, down });
        }
        let norm = RmsNorm::new(params, format!("{name}.norm"), width, random)?;
        Ok(Stack { layers, bias, norm })
    }

    /// What is added to the scores of queries at these positions and keys from 0 on: heads × queries × keys.
    fn bias(
        &self,
        shape: Shape,
        queries: std::ops::Range<usize>,
        keys: usize,
        both_ways: bool,
    ) -> Result<Tensor> {
        let count = queries.len();
        let ids: Vec<u32> = queries
            .flat_map(|query| {
                (0..keys).map(move |key| bucket(shape, key as i64 - query as i64, both_ways))
            })
            .collect();
        let bias = sum_rows(&self.bias, ids, 1)?.reshape((count, keys, shape.heads))?;
        Ok(bias.permute((2, 0, 1))?.contiguous()?)
    }
}

/// The bucket of a distance from a query to a key: near ones have their own, farther ones share them by their logarithm.
fn bucket(shape: Shape, distance: i64, both_ways: bool) -> u32 {
    let (count, first, distance) = if both_ways {
        let half = shape.buckets / 2;
        (half, if distance > 0 { half } else { 0 }, distance.unsigned_abs() as usize)
    } else {
        (shape.buckets, 0, (-distance.min(0)) as usize)
    };
    let exact = count / 2;
    if distance < exact {
        return (first + distance) as u32;
    }
    // In single precision, as the original has it: the borders are part of what weights mean.
    let range = (shape.max_distance as f64 / exact as f64).ln() as f32;
    let far = (distance as f32 / exact as f32).ln() / range * (count - exact) as f32;
    (first + (exact + far as usize).min(count - 1)) as u32
}

fn hidden(hidden: bool) -> f32 {
    if hidden { f32::NEG_INFINITY } else { 0.0 }
}

impl Layer {
    fn feed(&self, x: &Tensor, dropout: &mut Dropout<'_>) -> Result<Tensor> {
        let weights = (self.up.weight(), self.down.weight());
        let fed = mlp(&self.norm.forward(x)?, weights, Activation::Relu, dropout)?;
        dropout.add(x, &fed)
    }
}

impl Attention {
    fn new(params: &mut Params, name: &str, shape: Shape, random: &mut ChaCha8Rng) -> Result<Self> {
        let (width, inner) = (shape.width, shape.heads * shape.head_width);
        let norm = RmsNorm::new(params, format!("{name}.norm"), width, random)?;
        // Products are not scaled, so queries begin as much smaller.
        let gain = (shape.head_width as f32).powf(-0.5);
        let mut linear = |part: &str, size, gain| {
            Linear::new(params, format!("{name}.{part}"), size, gain, random)
        };
        let (q, kv) = (linear("q", (width, inner), gain)?, linear("kv", (width, 2 * inner), 1.0)?);
        let out = linear("out", (inner, width), 1.0)?;
        Ok(Attention { norm, q, kv, out })
    }

    /// Attention of rows to keys and values. `x` and the result: rows × width.
    fn mix(
        &self,
        x: &Tensor,
        kv: &Tensor,
        bias: &Tensor,
        sides: &Sides,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        self.out.forward(&attend_biased(&self.q.forward(x)?, kv, bias, sides, dropout)?)
    }
}

/// Rows laid out by the history that they belong to.
struct Fold {
    /// The rows in that order, and for each row its place in it; none where they lie so already.
    order: Option<(Tensor, Tensor)>,
    /// The rows of each history.
    queries: Segments,
}

impl Fold {
    /// `length` rows for each owner, over as many histories.
    fn new(owners: &[u32], length: usize, histories: usize, device: &Device) -> Result<Self> {
        let mut counts = vec![0; histories];
        for owner in owners {
            counts[*owner as usize] += length;
        }
        let queries = Segments::of_lengths(counts);
        if owners.is_sorted() {
            return Ok(Fold { order: None, queries });
        }
        let mut order: Vec<u32> = (0..(owners.len() * length) as u32).collect();
        order.sort_by_key(|row| owners[*row as usize / length]);
        let mut places = vec![0u32; order.len()];
        order.iter().enumerate().for_each(|(at, row)| places[*row as usize] = at as u32);
        Ok(Fold {
            order: Some((Tensor::new(order, device)?, Tensor::new(places, device)?)),
            queries,
        })
    }

    fn fold(&self, x: &Tensor) -> Result<Tensor> {
        let order = self.order.as_ref().map(|(order, _)| x.index_select(order, 0));
        Ok(order.transpose()?.unwrap_or_else(|| x.clone()))
    }

    fn unfold(&self, x: &Tensor) -> Result<Tensor> {
        let places = self.order.as_ref().map(|(_, places)| x.index_select(places, 0));
        Ok(places.transpose()?.unwrap_or_else(|| x.clone()))
    }
}
