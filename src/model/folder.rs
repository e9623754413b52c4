//! Local weights: a folder as Hugging Face lays it out (`config.json`, `tokenizer.json`, `*.safetensors` with or
//! without an index), or a GGUF file.
#![allow(
    unsafe_code,
    reason = "weights are memory-mapped: gigabytes of them are shared with the page cache"
)]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Bytes that are hashed between two looks at the progress.
const HASHED: usize = 4 << 20;

/// Where the weights of a model lie.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The files of weights, in the order of their names; one GGUF file, or some of safetensors.
    weights: Vec<PathBuf>,
}

impl Folder {
    /// Finds the weights under a path: a folder, or one GGUF file.
    pub(super) fn find(path: &str) -> Result<Folder> {
        if path.is_empty() {
            return Err(Error::input("no-path", "where are the weights?")
                .help("WITH (path = 'models/…') names their folder"));
        }
        let path = PathBuf::from(path);
        if path.is_file() {
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            return Ok(Folder { path: folder, weights: vec![path] });
        }
        let entries = std::fs::read_dir(&path).map_err(|error| {
            let message = format!("cannot read the folder `{}`: {error}", path.display());
            Error::input("no-weights", message)
                .help("`path` names a folder with config.json and *.safetensors, or a GGUF file")
        })?;
        let mut weights: Vec<PathBuf> = Vec::new();
        for entry in entries {
            let file = entry.map_err(|error| unreadable(&path, &error))?.path();
            if has_ending(&file, "safetensors") || has_ending(&file, "gguf") {
                weights.push(file);
            }
        }
        weights.sort();
        let (gguf, plain): (Vec<_>, Vec<_>) =
            weights.into_iter().partition(|file| has_ending(file, "gguf"));
        let weights = if plain.is_empty() { gguf } else { plain };
        match weights.as_slice() {
            [] => {
                let message =
                    format!("`{}` holds no *.safetensors and no GGUF file", path.display());
                Err(Error::input("no-weights", message))
            }
            [_, second, ..] if has_ending(second, "gguf") => {
                let message = format!("`{}` holds several GGUF files", path.display());
                Err(Error::input("no-weights", message).help("name one of them as `path`"))
            }
            _ => Ok(Folder { path, weights }),
        }
    }

    /// The GGUF file, where the weights are one.
    pub(super) fn gguf(&self) -> Option<&Path> {
        self.weights.first().map(PathBuf::as_path).filter(|file| has_ending(file, "gguf"))
    }

    /// A file beside the weights, as JSON; nothing where there is none.
    pub(super) fn json(&self, name: &str) -> Result<Option<Json>> {
        let file = self.path.join(name);
        match std::fs::read(&file) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|error| {
                Error::input("bad-model", format!("`{}`: {error}", file.display()))
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&file, &error)),
        }
    }

    /// A text file beside the weights; nothing where there is none.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let file = self.path.join(name);
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&file, &error)),
        }
    }

    /// `config.json` as the shape that a model reads.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T> {
        let json = self.json("config.json")?.ok_or_else(|| self.lacks("config.json"))?;
        serde_json::from_value(json).map_err(|error| {
            let file = self.path.join("config.json");
            Error::input("bad-model", format!("`{}`: {error}", file.display()))
                .help("is this the folder of a model of another kind?")
        })
    }

    /// `tokenizer.json`.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        let file = self.path.join("tokenizer.json");
        if !file.is_file() {
            return Err(self.lacks("tokenizer.json"));
        }
        Tokenizer::from_file(&file)
            .map_err(|error| Error::input("bad-model", format!("`{}`: {error}", file.display())))
    }

    /// The tensors of the safetensors files, mapped into memory and read as `dtype`.
    pub(super) fn tensors(&self, dtype: DType, device: &Device) -> Result<VarBuilder<'static>> {
        // SAFETY: mapped files must not change while they are mapped. Weights are written once and then read; a
        // file that is changed under us anyway gives wrong numbers or an error of the safetensors header checks.
        let tensors = unsafe { VarBuilder::from_mmaped_safetensors(&self.weights, dtype, device) };
        tensors.map_err(|error| {
            let message = format!("the weights in `{}`: {error}", self.path.display());
            Error::input("bad-model", message)
        })
    }

    /// `sha256:` and the hash of the names and bytes of the weights, the configuration and the tokenizer.
    pub(super) fn fingerprint(&self, progress: &Progress) -> Result<String> {
        let beside =
            ["config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"];
        let beside = beside.iter().map(|name| self.path.join(name)).filter(|file| file.is_file());
        let files: Vec<PathBuf> = match self.gguf() {
            Some(file) => vec![file.to_owned()],
            None => self.weights.iter().cloned().chain(beside).collect(),
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; HASHED];
        for path in files {
            if let Some(name) = path.file_name() {
                hash.update(name.as_encoded_bytes());
            }
            let mut file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
            loop {
                progress.check()?;
                let read = file.read(&mut buffer).map_err(|error| unreadable(&path, &error))?;
                if read == 0 {
                    break;
                }
                hash.update(&buffer[..read]);
            }
        }
        let hash = hash.finalize();
        let words = hash.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word));
        let digits: Vec<String> = words.map(|word| format!("{word:016x}")).collect();
        Ok(format!("sha256:{}", digits.concat()))
    }

    fn lacks(&self, name: &str) -> Error {
        let message = format!("`{}` holds no {name}", self.path.display());
        Error::input("bad-model", message)
            .help("a model's folder has config.json, tokenizer.json and *.safetensors")
    }
}

/// Tensors that are not those of the architecture: missing, or of another shape.
pub(super) fn misfit(error: candle_core::Error) -> Error {
    // A backtrace may follow the first line.
    let error = error.to_string();
    let error = error.lines().next().unwrap_or_default();
    Error::input("bad-model", format!("the weights do not fit config.json: {error}"))
        .help("is this the folder of a model of another kind?")
}

/// The fingerprint of the weights that the option `path` names.
pub(super) fn fingerprint(config: &Json, progress: &Progress) -> Result<String> {
    Folder::find(config["path"].as_str().unwrap_or_default())?.fingerprint(progress)
}

fn has_ending(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Resource, "io", format!("cannot read `{}`: {error}", path.display()))
}
