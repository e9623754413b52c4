//! The networks of local language models: one face over the architectures that `candle-transformers` has, from
//! safetensors and from GGUF.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, IndexOp, Tensor};
use candle_transformers::models::{
    gemma3, llama, quantized_gemma3, quantized_llama, quantized_qwen2, quantized_qwen3, qwen2,
    qwen3,
};

use super::folder::{Folder, misfit};
use crate::error::{Error, Result};

/// The architectures by the names that configurations and GGUF files bear.
const KNOWN: &[&str] = &["qwen2", "qwen3", "llama", "mistral", "gemma3", "gemma3_text"];

/// A network with what it has gathered of one conversation.
pub(super) enum Network {
    Qwen2(qwen2::ModelForCausalLM),
    Qwen3(qwen3::ModelForCausalLM),
    Llama { network: llama::Llama, empty: llama::Cache, cache: llama::Cache },
    Gemma3(gemma3::Model),
    Qwen2Gguf(quantized_qwen2::ModelWeights),
    Qwen3Gguf(quantized_qwen3::ModelWeights),
    LlamaGguf(quantized_llama::ModelWeights),
    Gemma3Gguf(quantized_gemma3::ModelWeights),
}

impl Network {
    /// The network of a folder, as its `config.json` describes it.
    pub(super) fn of_folder(folder: &Folder, dtype: DType, device: &Device) -> Result<Network> {
        let config = folder.config::<serde_json::Value>()?;
        let kind = config["model_type"].as_str().unwrap_or_default();
        if !KNOWN.contains(&kind) {
            return Err(unknown(kind));
        }
        let tensors = folder.tensors(dtype, device)?;
        let built = match kind {
            "qwen2" => qwen2::ModelForCausalLM::new(&folder.config()?, tensors).map(Network::Qwen2),
            "qwen3" => qwen3::ModelForCausalLM::new(&folder.config()?, tensors).map(Network::Qwen3),
            "gemma3" | "gemma3_text" => {
                gemma3::Model::new(false, &folder.config()?, tensors).map(Network::Gemma3)
            }
            _ => {
                let config = folder.config::<llama::LlamaConfig>()?.into_config(false);
                let empty = llama::Cache::new(true, dtype, &config, device).map_err(misfit)?;
                let cache = empty.clone();
                llama::Llama::load(tensors, &config).map(|network| Network::Llama {
                    network,
                    empty,
                    cache,
                })
            }
        };
        built.map_err(misfit)
    }

    /// The network of a GGUF file whose head has been read.
    pub(super) fn of_gguf(file: &Path, content: Content, device: &Device) -> Result<Network> {
        let kind = content.metadata.get("general.architecture");
        let kind = kind.and_then(|kind| kind.to_string().ok()).cloned().unwrap_or_default();
        let opened = File::open(file).map_err(|error| misfit(error.into()))?;
        let mut reader = BufReader::new(opened);
        let reader = &mut reader;
        let built = match kind.as_str() {
            "qwen2" => quantized_qwen2::ModelWeights::from_gguf(content, reader, device)
                .map(Network::Qwen2Gguf),
            "qwen3" => quantized_qwen3::ModelWeights::from_gguf(content, reader, device)
                .map(Network::Qwen3Gguf),
            "llama" => quantized_llama::ModelWeights::from_gguf(content, reader, device)
                .map(Network::LlamaGguf),
            "gemma3" => quantized_gemma3::ModelWeights::from_gguf(content, reader, device)
                .map(Network::Gemma3Gguf),
            other => return Err(unknown(other)),
        };
        built.map_err(misfit)
    }

    /// Whether a prompt may be read piece by piece: the masks of Gemma's implementation are those of a first piece.
    pub(super) fn reads_in_pieces(&self) -> bool {
        !matches!(self, Network::Gemma3(_) | Network::Gemma3Gguf(_))
    }

    /// Forgets the conversation.
    pub(super) fn clear(&mut self) -> Result<()> {
        match self {
            Network::Qwen2(network) => network.clear_kv_cache(),
            Network::Qwen3(network) => network.clear_kv_cache(),
            // The cache of a new conversation.
            Network::Llama { empty, cache, .. } => cache.clone_from(empty),
            Network::Gemma3(network) => network.clear_kv_cache(),
            Network::Qwen2Gguf(network) => network.clear_kv_cache(),
            Network::Qwen3Gguf(network) => network.clear_kv_cache(),
            Network::LlamaGguf(network) => network.clear_kv_cache(),
            // A first piece, at position 0, takes the place of what was gathered.
            Network::Gemma3Gguf(_) => {}
        }
        Ok(())
    }

    /// Reads tokens (1 × length) that stand at a position. Gives the logits of the next one.
    pub(super) fn read(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        let logits = match self {
            Network::Qwen2(network) => network.forward(tokens, position)?,
            Network::Qwen3(network) => network.forward(tokens, position)?,
            Network::Llama { network, cache, .. } => network.forward(tokens, position, cache)?,
            Network::Gemma3(network) => network.forward(tokens, position)?,
            Network::Qwen2Gguf(network) => network.forward(tokens, position)?,
            Network::Qwen3Gguf(network) => network.forward(tokens, position)?,
            Network::LlamaGguf(network) => network.forward(tokens, position)?,
            Network::Gemma3Gguf(network) => network.forward(tokens, position)?,
        };
        // 1 × vocabulary, or 1 × 1 × vocabulary.
        let logits = match logits.rank() {
            3 => logits.i((0, logits.dim(1)? - 1))?,
            _ => logits.i(0)?,
        };
        Ok(logits.to_dtype(DType::F32)?)
    }
}

fn unknown(kind: &str) -> Error {
    let message = format!("no language model of architecture `{kind}` is known");
    Error::input("bad-model", message).help(format!("known: {}", KNOWN.join(", ")))
}
