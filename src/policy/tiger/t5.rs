//! The encoder and decoder of T5 (Raffel et al. 2020, arXiv 1910.10683): RMS norm first, no biases, products of queries
//! and keys not scaled, distances told by buckets that all layers share, a feed-forward layer with ReLU, one table for
//! input and output.
//!
//! Sequences of a batch are padded; a mask hides the padding. Rows that decode stand beside each other, and each attends
//! to the encoded history that it belongs to.

use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::nn::{Dropout, Init, Linear, Params, RmsNorm, matmul, softmax_biased, sum_rows};

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
    k: Linear,
    v: Linear,
    out: Linear,
}

/// Keys and values: sequences × heads × length × head width.
#[derive(Clone)]
struct Pair {
    keys: Tensor,
    values: Tensor,
}

/// Histories as the decoder attends to them.
pub(super) struct Encoded {
    /// For each layer of the decoder.
    pairs: Vec<Pair>,
    /// Zeros, and minus infinity where there is padding: histories × 1 × 1 × length.
    mask: Tensor,
}

/// What rows that decode have gathered, for each layer of the decoder.
#[derive(Clone, Default)]
pub(super) struct Past {
    pairs: Vec<Option<Pair>>,
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
        dropout: &mut Dropout<'_>,
    ) -> Result<Encoded> {
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let (mut tokens, mut mask) = (Vec::new(), Vec::new());
        for sequence in sequences {
            let padding = longest - sequence.len();
            tokens.extend(sequence.iter().copied().chain(std::iter::repeat_n(0, padding)));
            mask.extend((0..longest).map(|at| hidden(at >= sequence.len())));
        }
        let mask = Tensor::from_vec(mask, (sequences.len(), 1, 1, longest), self.device())?;
        let bias =
            self.encoder.bias(self.shape, 0..longest, longest, true)?.broadcast_add(&mask)?;
        let mut x = dropout.apply(&sum_rows(&self.tokens, tokens, 1)?)?;
        for layer in &self.encoder.layers {
            let normed = layer.own.norm.forward(&x)?;
            let pair = layer.own.pair(&normed, self.shape, sequences.len())?;
            let mixed = layer.own.mix(&normed, &pair, &bias, self.shape, dropout)?;
            x = (x + dropout.apply(&mixed)?)?;
            x = layer.feed(&x, dropout)?;
        }
        let states = dropout.apply(&self.encoder.norm.forward(&x)?)?;
        let cross = self.decoder.layers.iter().filter_map(|layer| layer.cross.as_ref());
        let pairs = cross.map(|cross| cross.pair(&states, self.shape, sequences.len()));
        Ok(Encoded { pairs: pairs.collect::<Result<_>>()?, mask })
    }

    /// Decodes rows of `length` tokens each, behind what `past` holds, which they join. `owners`: the history of each row.
    /// Gives the state behind every token, rows·length × width, as it is compared with tokens.
    pub(super) fn decode(
        &self,
        encoded: &Encoded,
        owners: &[u32],
        tokens: Vec<u32>,
        past: &mut Past,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let length = tokens.len() / owners.len();
        past.pairs.resize(self.decoder.layers.len(), None);
        let before = match past.pairs.first() {
            Some(Some(pair)) => pair.keys.dim(2)?,
            _ => 0,
        };
        let all = before + length;
        let bias = self.decoder.bias(self.shape, before..all, all, false)?;
        let later = (before..all).flat_map(|at| (0..all).map(move |key| hidden(key > at)));
        let later = Tensor::from_vec(later.collect(), (1, 1, length, all), self.device())?;
        let bias = bias.broadcast_add(&later)?;
        let fold = Fold::new(owners, length, encoded.mask.dim(0)?, self.device())?;
        let mut x = dropout.apply(&sum_rows(&self.tokens, tokens, 1)?)?;
        let layers = self.decoder.layers.iter().zip(&mut past.pairs).zip(&encoded.pairs);
        for ((layer, past), there) in layers {
            let normed = layer.own.norm.forward(&x)?;
            let mut pair = layer.own.pair(&normed, self.shape, owners.len())?;
            if let Some(past) = past {
                pair.keys = Tensor::cat(&[&past.keys, &pair.keys], 2)?;
                pair.values = Tensor::cat(&[&past.values, &pair.values], 2)?;
            }
            let mixed = layer.own.mix(&normed, &pair, &bias, self.shape, dropout)?;
            *past = Some(pair);
            x = (x + dropout.apply(&mixed)?)?;
            if let Some(cross) = &layer.cross {
                let folded = fold.fold(&cross.norm.forward(&x)?)?;
                let mixed = cross.mix(&folded, there, &encoded.mask, self.shape, dropout)?;
                x = (x + dropout.apply(&fold.unfold(&mixed)?)?)?;
            }
            x = layer.feed(&x, dropout)?;
        }
        let x = dropout.apply(&self.decoder.norm.forward(&x)?)?;
        Ok((x * (self.shape.width as f64).powf(-0.5))?)
    }

    /// Logits over `count` tokens from `first` on. `x`: rows × width.
    pub(super) fn logits(&self, x: &Tensor, first: usize, count: usize) -> Result<Tensor> {
        Ok(matmul(x, &self.tokens.narrow(0, first, count)?.t()?)?)
    }
}

impl Past {
    /// What the rows have that continue `parents`: an index for each new row.
    pub(super) fn select(&self, parents: &Tensor) -> Result<Past> {
        let select = |pair: &Option<Pair>| -> Result<Option<Pair>> {
            let Some(Pair { keys, values }) = pair else { return Ok(None) };
            let (keys, values) = (keys.index_select(parents, 0)?, values.index_select(parents, 0)?);
            Ok(Some(Pair { keys, values }))
        };
        Ok(Past { pairs: self.pairs.iter().map(select).collect::<Result<_>>()? })
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

    /// What is added to the scores of queries at these positions and keys from 0 on: 1 × heads × queries × keys.
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
        Ok(bias.permute((2, 0, 1))?.unsqueeze(0)?.contiguous()?)
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
        let up = self.up.forward(&self.norm.forward(x)?)?.relu()?;
        let fed = self.down.forward(&dropout.apply(&up)?)?;
        Ok((x + dropout.apply(&fed)?)?)
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
        let (q, k) = (linear("q", (width, inner), gain)?, linear("k", (width, inner), 1.0)?);
        let (v, out) = (linear("v", (width, inner), 1.0)?, linear("out", (inner, width), 1.0)?);
        Ok(Attention { norm, q, k, v, out })
    }

    /// Keys and values of rows that make up as many sequences. `x`: rows × width.
    fn pair(&self, x: &Tensor, shape: Shape, sequences: usize) -> Result<Pair> {
        let keys = parted(&self.k.forward(x)?, shape, sequences)?;
        let values = parted(&self.v.forward(x)?, shape, sequences)?;
        Ok(Pair { keys, values })
    }

    /// Attention of rows, which make up the sequences of `pair`. `x` and the result: rows × width.
    fn mix(
        &self,
        x: &Tensor,
        pair: &Pair,
        bias: &Tensor,
        shape: Shape,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let q = parted(&self.q.forward(x)?, shape, pair.keys.dim(0)?)?;
        // sequences × heads × queries × keys
        let scores = matmul(&q, &pair.keys.t()?)?;
        let weights = dropout.apply(&softmax_biased(&scores, bias)?)?;
        let mixed = matmul(&weights, &pair.values)?.transpose(1, 2)?.contiguous()?;
        self.out.forward(&mixed.reshape((x.dim(0)?, ()))?)
    }
}

/// Rows × heads·head width as sequences × heads × length × head width.
fn parted(x: &Tensor, shape: Shape, sequences: usize) -> Result<Tensor> {
    let length = x.dim(0)? / sequences;
    let parted = x.reshape((sequences, length, shape.heads, shape.head_width))?;
    Ok(parted.transpose(1, 2)?.contiguous()?)
}

/// Rows laid out by the history that they belong to, as many for each, so that no history is copied.
struct Fold {
    /// For each place its row; where there is none, any.
    places: Tensor,
    /// For each row its place.
    rows: Tensor,
}

impl Fold {
    /// `length` rows for each owner, over as many histories.
    fn new(owners: &[u32], length: usize, histories: usize, device: &Device) -> Result<Self> {
        let mut of_history = vec![Vec::new(); histories];
        for (at, owner) in owners.iter().enumerate() {
            of_history[*owner as usize]
                .extend((at * length..(at + 1) * length).map(|row| row as u32));
        }
        let most = of_history.iter().map(Vec::len).max().unwrap_or(0);
        let mut places = vec![0u32; histories * most];
        let mut rows = vec![0u32; owners.len() * length];
        for (history, of_history) in of_history.iter().enumerate() {
            for (at, row) in of_history.iter().enumerate() {
                places[history * most + at] = *row;
                rows[*row as usize] = (history * most + at) as u32;
            }
        }
        Ok(Fold { places: Tensor::new(places, device)?, rows: Tensor::new(rows, device)? })
    }

    fn fold(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.index_select(&self.places, 0)?)
    }

    fn unfold(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.index_select(&self.rows, 0)?)
    }
}
