//! Where the weights of a language model come from: tensors of a folder, or a GGUF file, which has names of its own
//! for them and may hold them quantized.

use std::cell::RefCell;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use candle_nn::VarBuilder;
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use crate::error::{Error, Result};

/// An open GGUF file.
pub(in crate::model) struct Gguf {
    content: Content,
    file: RefCell<BufReader<File>>,
}

impl Gguf {
    /// Reads the metadata of a file.
    pub(in crate::model) fn open(path: &Path) -> Result<Gguf> {
        let bad =
            |error: String| Error::input("bad-model", format!("`{}`: {error}", path.display()));
        let file = File::open(path).map_err(|error| bad(error.to_string()))?;
        let mut file = BufReader::new(file);
        let content = Content::read(&mut file).map_err(|error| bad(error.to_string()))?;
        Ok(Gguf { content, file: RefCell::new(file) })
    }

    /// A text of the metadata.
    pub(in crate::model) fn text(&self, key: &str) -> Option<String> {
        self.content.metadata.get(key)?.to_string().ok().cloned()
    }

    /// A number of the metadata.
    pub(in crate::model) fn number(&self, key: &str) -> Option<f64> {
        match self.content.metadata.get(key)? {
            Value::F32(number) => Some(f64::from(*number)),
            Value::F64(number) => Some(*number),
            whole => whole.to_u64().ok().map(|number| number as f64),
        }
    }

    /// The words of a token whose number the metadata tell.
    pub(in crate::model) fn token(&self, key: &str) -> Option<String> {
        let tokens = self.content.metadata.get("tokenizer.ggml.tokens")?.to_vec().ok()?;
        tokens.get(self.number(key)? as usize)?.to_string().ok().cloned()
    }

    /// The tokenizer.
    pub(in crate::model) fn tokenizer(&mut self) -> Result<Tokenizer> {
        const SPLIT: &str = "tokenizer.ggml.pre";
        let split = self.text(SPLIT).unwrap_or_default();
        if split == "llama-bpe" {
            // What llama.cpp calls it, and what candle calls the same.
            self.content.metadata.insert(SPLIT.to_owned(), Value::String("llama3".to_owned()));
        }
        let mut tokenizer = Tokenizer::from_gguf(&self.content).map_err(|error| {
            Error::input("bad-model", format!("the tokenizer in the GGUF file: {error}"))
                .help("put the model's tokenizer.json beside it")
        })?;
        if !matches!(split.as_str(), "qwen2" | "llama-bpe" | "llama3" | "smaug-bpe" | "lfm2") {
            // Candle puts a space before every text here; those tokenizers do not.
            let bytes = PreTokenizerWrapper::from(ByteLevel::new(false, true, true));
            let digits = PreTokenizerWrapper::from(Digits::new(true));
            let parts = if split == "smollm" { vec![digits, bytes] } else { vec![bytes] };
            tokenizer.with_pre_tokenizer(Some(Sequence::new(parts)));
        }
        Ok(tokenizer)
    }

    /// The dimensions of a tensor, rows first.
    pub(super) fn dims(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.content.tensor_infos.get(name)?.shape.dims().to_vec())
    }

    /// What the angle of each pair is divided by, where the file tells.
    pub(super) fn divisors(&self) -> Result<Option<Vec<f32>>> {
        if self.dims("rope_freqs.weight").is_none() {
            return Ok(None);
        }
        let divisors = self.tensor("rope_freqs.weight", &Device::Cpu)?.dequantize(&Device::Cpu)?;
        Ok(Some(divisors.flatten_all()?.to_vec1()?))
    }

    fn tensor(&self, name: &str, device: &Device) -> candle_core::Result<QTensor> {
        self.content.tensor(&mut *self.file.borrow_mut(), name, device)
    }
}

/// A place among the weights: the model, or one of its layers.
pub(super) enum Place<'a> {
    /// A folder.
    Folder(VarBuilder<'static>),
    /// A GGUF file, and what the names begin with.
    Gguf(&'a Gguf, String, Device),
}

/// Both names of a tensor: in a folder and in a GGUF file.
pub(super) type Name = (&'static str, &'static str);

/// A matrix that multiplies rows, and perhaps a bias.
pub(super) struct Linear {
    matrix: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// A given matrix, out × in, without a bias.
    pub(super) fn of(matrix: Tensor) -> Linear {
        Linear { matrix: QMatMul::Tensor(matrix), bias: None }
    }

    /// `x`: rows × in. Gives rows × out.
    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = self.matrix.forward(x)?;
        match &self.bias {
            Some(bias) => x.broadcast_add(bias),
            None => Ok(x),
        }
    }
}

impl<'a> Place<'a> {
    /// A layer.
    pub(super) fn layer(&self, at: usize) -> Place<'a> {
        match self {
            Place::Folder(place) => Place::Folder(place.pp("layers").pp(at)),
            Place::Gguf(gguf, prefix, device) => {
                Place::Gguf(gguf, format!("{prefix}blk.{at}."), device.clone())
            }
        }
    }

    /// Embeddings: rows × width. Those of a quantized file come in 16 bits.
    pub(super) fn table(
        &self,
        name: Name,
        rows: usize,
        width: usize,
    ) -> candle_core::Result<Tensor> {
        match self {
            Place::Folder(place) => place.get((rows, width), &format!("{}.weight", name.0)),
            Place::Gguf(gguf, prefix, device) => {
                let tensor = gguf.tensor(&format!("{prefix}{}.weight", name.1), device)?;
                fits(name.1, tensor.shape().dims(), &[rows, width])?;
                tensor.dequantize_f16(device)
            }
        }
    }

    /// The scale of a norm.
    pub(super) fn scale(&self, name: Name, width: usize) -> candle_core::Result<Tensor> {
        self.vector((name.0, name.1, "weight"), width)
    }

    /// A matrix, and its bias where there is one.
    pub(super) fn linear(
        &self,
        name: Name,
        input: usize,
        output: usize,
    ) -> candle_core::Result<Linear> {
        let (matrix, biased) = match self {
            Place::Folder(place) => {
                let place = place.pp(name.0);
                let matrix = QMatMul::Tensor(place.get((output, input), "weight")?);
                (matrix, place.contains_tensor("bias"))
            }
            Place::Gguf(gguf, prefix, device) => {
                let tensor = gguf.tensor(&format!("{prefix}{}.weight", name.1), device)?;
                fits(name.1, tensor.shape().dims(), &[output, input])?;
                let biased = gguf.dims(&format!("{prefix}{}.bias", name.1)).is_some();
                (QMatMul::from_qtensor(tensor)?, biased)
            }
        };
        let bias = biased.then(|| self.vector((name.0, name.1, "bias"), output)).transpose()?;
        Ok(Linear { matrix, bias })
    }

    fn vector(
        &self,
        (in_folder, in_gguf, which): (&str, &str, &str),
        width: usize,
    ) -> candle_core::Result<Tensor> {
        match self {
            Place::Folder(place) => place.get(width, &format!("{in_folder}.{which}")),
            Place::Gguf(gguf, prefix, device) => {
                let tensor = gguf.tensor(&format!("{prefix}{in_gguf}.{which}"), device)?;
                fits(in_gguf, tensor.shape().dims(), &[width])?;
                tensor.dequantize(device)
            }
        }
    }
}

/// Refuses a tensor of another shape.
fn fits(name: &str, found: &[usize], wanted: &[usize]) -> candle_core::Result<()> {
    if found == wanted {
        return Ok(());
    }
    candle_core::bail!("`{name}` is {found:?}, not {wanted:?}")
}
