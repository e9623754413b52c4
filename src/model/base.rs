//! Language models that policies begin with: the weights of a folder or a GGUF file apart, in 32 bits, and the
//! vocabulary that reads texts for them. Or small random weights over the bytes of texts, where there are none.

use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use tokenizers::Tokenizer;

use super::folder::Folder;
use super::language::{Gguf, Language, Packing};
use crate::device::source;
use crate::error::{Error, Result};
use crate::nn::normal;

/// The kind of model that can be one.
pub(crate) const OF_KIND: &str = super::causal_lm::KIND.name;

/// Tokens of a text in bytes: every byte is one.
const BYTES: usize = 256;
/// The base of rotary angles of random weights, whose texts are short.
const ANGLE_BASE: f64 = 10_000.0;

/// A language model apart.
pub(crate) struct Base {
    /// Its sizes.
    pub(crate) sizes: Sizes,
    /// Its weights.
    pub(crate) weights: Weights,
    /// What tells these weights from all others: the hash of their files; empty for random ones.
    pub(crate) fingerprint: String,
    vocabulary: Vocabulary,
}

/// The sizes of a language model.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    /// Numbers in a row.
    pub(crate) width: usize,
    /// Heads of queries.
    pub(crate) heads: usize,
    /// Heads of keys and values.
    pub(crate) kv_heads: usize,
    /// Keeps the norms finite.
    pub(crate) epsilon: f32,
    /// What each pair of a head turns by from one position to the next.
    pub(crate) angles: Vec<f64>,
    /// Positions that the model was trained for.
    pub(crate) positions: usize,
}

/// The weights of a language model. Matrices are out × in.
pub(crate) struct Weights {
    /// Embeddings of tokens: vocabulary × width.
    pub(crate) words: Tensor,
    /// From a state to a number for each token: vocabulary × width; nothing where these are the embeddings.
    pub(crate) head: Option<Tensor>,
    /// The scale of the last norm.
    pub(crate) norm: Tensor,
    /// The blocks.
    pub(crate) layers: Vec<Layer>,
}

/// The weights of a block.
pub(crate) struct Layer {
    /// The scale of the norm before the attention.
    pub(crate) norm_1: Tensor,
    /// To queries.
    pub(crate) q: Matrix,
    /// To keys.
    pub(crate) k: Matrix,
    /// To values.
    pub(crate) v: Matrix,
    /// Scales of the norms of queries and keys, where there are such.
    pub(crate) head_norms: Option<(Tensor, Tensor)>,
    /// From what attention gives.
    pub(crate) out: Matrix,
    /// The scale of the norm before the feed-forward layer.
    pub(crate) norm_2: Tensor,
    /// To the gates of the feed-forward layer.
    pub(crate) gate: Matrix,
    /// To its units.
    pub(crate) up: Matrix,
    /// Back from them.
    pub(crate) down: Matrix,
}

/// A matrix that multiplies rows, and perhaps a bias.
pub(crate) struct Matrix {
    /// Out × in.
    pub(crate) matrix: Tensor,
    /// Out.
    pub(crate) bias: Option<Tensor>,
}

/// How a text becomes tokens.
enum Vocabulary {
    Trained(Box<Tokenizer>),
    Bytes,
}

/// The sizes of random weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Small {
    /// Blocks.
    pub(crate) layers: usize,
    /// Heads, of queries and of keys.
    pub(crate) heads: usize,
    /// Numbers in a row.
    pub(crate) width: usize,
    /// Units of a feed-forward layer.
    pub(crate) hidden: usize,
}

impl Base {
    /// The weights that the configuration of a model of kind [`OF_KIND`] names; `fingerprint` is theirs.
    ///
    /// # Errors
    /// They are not where they were, or of a family that does not learn here.
    pub(crate) fn open(config: &Json, fingerprint: String, device: &Device) -> Result<Base> {
        let folder = Folder::find(config["path"].as_str().unwrap_or_default())?;
        let given = (DType::F32, device);
        // Its tables of angles are not used here.
        let context = 1;
        let (language, mut tokenizer) = if let Some(path) = folder.gguf() {
            let mut gguf = Gguf::open(path)?;
            let language = Language::of_gguf(&gguf, Packing::Unpack, given, context)?;
            (language, folder.tokenizer().or_else(|_| gguf.tokenizer())?)
        } else {
            (Language::of_folder(&folder, given, context, true)?, folder.tokenizer()?)
        };
        tokenizer.with_truncation(None).map_err(|error| unreadable(&*error))?;
        tokenizer.with_padding(None);
        let (sizes, weights) = language.apart()?;
        let vocabulary = Vocabulary::Trained(Box::new(tokenizer));
        Ok(Base { sizes, weights, fingerprint, vocabulary })
    }

    /// Small weights from a seed, over the bytes of texts.
    pub(crate) fn random(small: Small, device: &Device, seed: u64) -> Result<Base> {
        let Small { heads, width, .. } = small;
        let half = width / heads / 2;
        let angle = |pair: usize| ANGLE_BASE.powf(-(pair as f64) / half as f64);
        let sizes = Sizes {
            width,
            heads,
            kv_heads: heads,
            epsilon: 1e-6,
            angles: (0..half).map(angle).collect(),
            positions: usize::MAX,
        };
        let weights = Weights::random(small, device, &mut source(seed, 0))?;
        Ok(Base { sizes, weights, fingerprint: String::new(), vocabulary: Vocabulary::Bytes })
    }

    /// Whether nobody has taught these weights.
    pub(crate) fn is_random(&self) -> bool {
        matches!(self.vocabulary, Vocabulary::Bytes)
    }

    /// How many tokens there are.
    pub(crate) fn tokens(&self) -> usize {
        self.weights.words.dims()[0]
    }

    /// The tokens of a text. `begins`: whether it stands first, behind what the vocabulary begins texts with.
    pub(crate) fn read(&self, text: &str, begins: bool) -> Result<Vec<u32>> {
        let tokenizer = match &self.vocabulary {
            Vocabulary::Bytes => return Ok(text.bytes().map(u32::from).collect()),
            Vocabulary::Trained(tokenizer) => tokenizer,
        };
        let encoding = tokenizer.encode_fast(text, begins).map_err(|error| unreadable(&*error))?;
        let (tokens, known) = (encoding.get_ids().to_vec(), self.tokens());
        if let Some(token) = tokens.iter().find(|token| **token as usize >= known) {
            let message = format!("the tokenizer has token {token}, the model knows {known}");
            return Err(Error::input("bad-model", message));
        }
        Ok(tokens)
    }
}

fn unreadable(error: &dyn std::error::Error) -> Error {
    Error::input("bad-model", format!("the tokenizer: {error}"))
}

impl Weights {
    /// Weights that keep the variance of rows; what goes back to the residual path begins smaller, by its depth.
    fn random(small: Small, device: &Device, random: &mut ChaCha8Rng) -> Result<Weights> {
        let Small { layers, width, hidden, .. } = small;
        let mut draw = |output: usize, input: usize, gain: f32| -> Result<Tensor> {
            let numbers = normal(output * input, gain / (input as f32).sqrt(), random);
            Ok(Tensor::from_vec(numbers, (output, input), device)?)
        };
        let ones = || Tensor::ones(width, DType::F32, device);
        let words = draw(BYTES, width, 1.0)?;
        let back = 1.0 / (2.0 * layers as f32).sqrt();
        let layers = (0..layers).map(|_| {
            let mut matrix = |output, input, gain| -> Result<Matrix> {
                Ok(Matrix { matrix: draw(output, input, gain)?, bias: None })
            };
            Ok(Layer {
                norm_1: ones()?,
                q: matrix(width, width, 1.0)?,
                k: matrix(width, width, 1.0)?,
                v: matrix(width, width, 1.0)?,
                head_norms: None,
                out: matrix(width, width, back)?,
                norm_2: ones()?,
                gate: matrix(hidden, width, 1.0)?,
                up: matrix(hidden, width, 1.0)?,
                down: matrix(width, hidden, back)?,
            })
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        Ok(Weights { words, head: None, norm: ones()?, layers })
    }
}

/// A tiny checkpoint of random weights, whose fingerprint is its name.
#[cfg(test)]
pub(crate) fn of_tests(name: &str) -> std::sync::Arc<Base> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    let config = serde_json::json!({"path": folder.join(name).display().to_string()});
    let base = Base::open(&config, name.to_owned(), &crate::device::of_tests().1);
    std::sync::Arc::new(base.unwrap_or_else(|error| panic!("{name}: {error}")))
}
