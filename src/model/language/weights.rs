//! Where the weights of a language model come from: tensors of a folder, or a GGUF file, which has names of its own
//! for them and may hold them quantized.

use std::cell::RefCell;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use crate::error::{Error, Result};
use crate::nn::rows_times;

/// The most bytes that quantized weights are unpacked into, where nothing is said.
const UNPACKED: usize = 8 << 30;

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
        let divisors = self.tensor("rope_freqs.weight")?.dequantize(&Device::Cpu)?;
        Ok(Some(divisors.flatten_all()?.to_vec1()?))
    }

    /// Numbers of all tensors together.
    fn numbers(&self) -> usize {
        self.content.tensor_infos.values().map(|info| info.shape.elem_count()).sum()
    }

    fn tensor(&self, name: &str) -> candle_core::Result<QTensor> {
        self.content.tensor(&mut *self.file.borrow_mut(), name, &Device::Cpu)
    }
}

/// What becomes of quantized weights when they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Packing {
    /// They are unpacked, unless they would be too many for it.
    Auto,
    /// They are unpacked.
    Unpack,
    /// They stay as they are: less memory, and more work for each token.
    Keep,
}

impl Packing {
    /// Whether the weights of a file stay packed.
    pub(super) fn stays(self, gguf: &Gguf, device: &Device) -> Result<bool> {
        match self {
            // Candle's products with packed weights are for the processor; its kernels for cards are left out.
            Packing::Keep if !device.is_cpu() => {
                let message = "quantized weights are computed with on the processor alone";
                Err(Error::input("bad-option", message)
                    .help("WITH (device = 'cpu'), or without dtype = 'quantized'"))
            }
            Packing::Keep => Ok(true),
            Packing::Unpack => Ok(false),
            Packing::Auto => {
                Ok(device.is_cpu() && gguf.numbers() * DType::F32.size_in_bytes() > UNPACKED)
            }
        }
    }
}

/// A place among the weights: the model, or one of its layers.
pub(super) enum Place<'a> {
    /// A folder.
    Folder(VarBuilder<'static>),
    /// A GGUF file.
    Gguf {
        gguf: &'a Gguf,
        /// What the names begin with.
        prefix: String,
        /// Whether matrices stay quantized.
        packed: bool,
        dtype: DType,
        device: Device,
    },
}

/// Both names of a tensor: in a folder and in a GGUF file.
pub(super) type Name = (&'static str, &'static str);

/// A matrix that multiplies rows, and perhaps a bias.
pub(super) struct Linear {
    matrix: Matrix,
    bias: Option<Tensor>,
}

enum Matrix {
    /// Out × in.
    Plain(Tensor),
    /// The same, quantized.
    Packed(QMatMul),
}

impl Linear {
    /// A given matrix, out × in, without a bias.
    pub(super) fn of(matrix: Tensor) -> Linear {
        Linear { matrix: Matrix::Plain(matrix), bias: None }
    }

    /// The matrix, out × in, and the bias; nothing where they are quantized.
    pub(super) fn whole(&self) -> Option<(Tensor, Option<Tensor>)> {
        match &self.matrix {
            Matrix::Plain(matrix) => Some((matrix.clone(), self.bias.clone())),
            Matrix::Packed(_) => None,
        }
    }

    /// `x`: rows × in. Gives rows × out.
    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = match &self.matrix {
            Matrix::Plain(matrix) => rows_times(x, matrix)?,
            Matrix::Packed(matrix) => matrix.forward(x)?,
        };
        match &self.bias {
            Some(bias) => x.broadcast_add(bias),
            None => Ok(x),
        }
    }
}

impl<'a> Place<'a> {
    /// The model of a GGUF file.
    pub(super) fn of_gguf(
        gguf: &'a Gguf,
        packed: bool,
        (dtype, device): (DType, &Device),
    ) -> Place<'a> {
        Place::Gguf { gguf, prefix: String::new(), packed, dtype, device: device.clone() }
    }

    /// A layer.
    pub(super) fn layer(&self, at: usize) -> Place<'a> {
        match self {
            Place::Folder(place) => Place::Folder(place.pp("layers").pp(at)),
            Place::Gguf { gguf, prefix, packed, dtype, device } => Place::Gguf {
                gguf,
                prefix: format!("{prefix}blk.{at}."),
                packed: *packed,
                dtype: *dtype,
                device: device.clone(),
            },
        }
    }

    /// Embeddings: rows × width. Those of a file that stays quantized come in 16 bits.
    pub(super) fn table(
        &self,
        name: Name,
        rows: usize,
        width: usize,
    ) -> candle_core::Result<Tensor> {
        match self {
            Place::Folder(place) => place.get((rows, width), &format!("{}.weight", name.0)),
            Place::Gguf { gguf, prefix, packed, dtype, device } => {
                let tensor = gguf.tensor(&format!("{prefix}{}.weight", name.1))?;
                fits(name.1, tensor.shape().dims(), &[rows, width])?;
                if *packed {
                    return tensor.dequantize_f16(device);
                }
                unpacked(&tensor, (*dtype, device))
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
                let matrix = Matrix::Plain(place.get((output, input), "weight")?);
                (matrix, place.contains_tensor("bias"))
            }
            Place::Gguf { gguf, prefix, packed, dtype, device } => {
                let tensor = gguf.tensor(&format!("{prefix}{}.weight", name.1))?;
                fits(name.1, tensor.shape().dims(), &[output, input])?;
                let biased = gguf.dims(&format!("{prefix}{}.bias", name.1)).is_some();
                let matrix = if *packed {
                    Matrix::Packed(QMatMul::from_qtensor(tensor)?)
                } else {
                    Matrix::Plain(unpacked(&tensor, (*dtype, device))?)
                };
                (matrix, biased)
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
            Place::Gguf { gguf, prefix, dtype, device, .. } => {
                let tensor = gguf.tensor(&format!("{prefix}{in_gguf}.{which}"))?;
                fits(in_gguf, tensor.shape().dims(), &[width])?;
                unpacked(&tensor, (*dtype, device))
            }
        }
    }
}

/// A tensor unpacked here, whatever it is for: no card has to know how it was packed.
fn unpacked(tensor: &QTensor, (dtype, device): (DType, &Device)) -> candle_core::Result<Tensor> {
    tensor.dequantize(&Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}

/// Refuses a tensor of another shape.
fn fits(name: &str, found: &[usize], wanted: &[usize]) -> candle_core::Result<()> {
    if found == wanted {
        return Ok(());
    }
    candle_core::bail!("`{name}` is {found:?}, not {wanted:?}")
}
