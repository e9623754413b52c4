//! Tiny random checkpoints against what `transformers` computes with them: `make_reference.py` beside them made
//! both.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use serde_json::json;

use super::folder::Folder;
use super::language::{Gguf, Language, Memory, Packing};
use super::local_tests::{answer, config, open, text_demands};
use super::*;
use crate::device::of_tests;
use crate::index::product::dot;

/// The families, with what their GGUF files call them.
const FAMILIES: &[(&str, &str)] =
    &[("llama", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3"), ("gemma3", "gemma3")];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn path(name: &str) -> String {
    folder(name).to_str().unwrap().to_owned()
}

fn reference(name: &str) -> Json {
    let bytes = std::fs::read(folder("reference.json")).unwrap();
    let all: Json = serde_json::from_slice(&bytes).unwrap();
    all[name].clone()
}

fn numbers(json: &Json) -> Vec<f32> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn tokens(json: &Json) -> Vec<u32> {
    json.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

fn assert_near(ours: &[f32], theirs: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < tolerance, "{what}, number {at}: {a}, not {b}");
    }
}

/// Encodes the texts of a reference together and compares the vectors.
fn assert_vectors(encoder: &dyn Encoder, reference: &Json, field: &str) {
    let texts: Vec<&str> =
        reference["texts"].as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
    let vectors = encoder.encode(&texts, &Progress::silent()).unwrap();
    let theirs = reference[field].as_array().unwrap();
    for ((text, ours), theirs) in
        texts.iter().zip(vectors.chunks_exact(encoder.dim().unwrap())).zip(theirs)
    {
        let theirs = numbers(theirs);
        assert_near(ours, &theirs, 2e-5, text);
        assert!(dot(ours, &theirs) > 0.9999);
    }
}

#[test]
fn bert_equals_its_reference() {
    let reference = reference("bert");
    for (pooling, field) in [("auto", "mean"), ("cls", "cls")] {
        let options = json!({"path": path("bert"), "pooling": pooling});
        let encoder = open(&bert::KIND, options).unwrap().text.unwrap();
        assert_vectors(&*encoder, &reference, field);
        let alone = encoder.encode(&["shoe"], &Progress::silent()).unwrap();
        assert_near(&alone, &numbers(&reference[field][2]), 2e-5, "alone");
    }
}

#[test]
fn qwen3_embedding_equals_its_reference() {
    let reference = reference("qwen3_embedding");
    let options =
        |dim: usize| json!({"path": path("qwen3_embedding"), "dim": dim, "instruct": "find shoes"});
    let encoder = open(&qwen3_embedding::KIND, options(0)).unwrap().text.unwrap();
    assert_vectors(&*encoder, &reference, "vectors");
    let query = encoder.encode_query("red shoe", &Progress::silent()).unwrap();
    assert_near(&query, &numbers(&reference["query"]), 2e-5, "query");
    let short = open(&qwen3_embedding::KIND, options(6)).unwrap().text.unwrap();
    assert_vectors(&*short, &reference, "short");
    assert_eq!(open(&qwen3_embedding::KIND, options(17)).err().unwrap().code(), "bad-option");
    text_demands(&*encoder);
}

/// A text that the tokenizer does not end is ended all the same.
#[test]
fn qwen3_embedding_ends_every_text() {
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(folder("qwen3_embedding").join(file), copy.path().join(file)).unwrap();
    }
    let file = "tokenizer.json";
    std::fs::copy(folder("qwen3").join(file), copy.path().join(file)).unwrap();
    let options =
        |tokens: usize| json!({"path": copy.path().to_str().unwrap(), "max_tokens": tokens});
    let encoder = open(&qwen3_embedding::KIND, options(512)).unwrap().text.unwrap();
    assert_vectors(&*encoder, &reference("qwen3_embedding"), "vectors");
    let short = open(&qwen3_embedding::KIND, options(8)).unwrap().text.unwrap();
    let cut = short.encode(&["1234567", "12345678"], &Progress::silent()).unwrap();
    assert_eq!(cut[..16], cut[16..]);
}

/// The logits behind tokens that one text reads.
fn next(language: &Language, tokens: &[u32], memory: &mut Memory) -> Vec<f32> {
    let rows = language.read(&mut [(tokens, memory)]).unwrap();
    language.logits(&rows).unwrap().remove(0)
}

/// The logits behind a prompt, read in pieces, and the likeliest tokens that follow.
fn follow(language: &Language, prompt: &[u32], steps: usize, piece: usize) -> (Vec<f32>, Vec<u32>) {
    let mut memory = Memory::default();
    let mut first = Vec::new();
    for piece in prompt.chunks(piece) {
        first = next(language, piece, &mut memory);
    }
    let mut logits = first.clone();
    let mut found = Vec::new();
    for _ in 0..steps {
        let best =
            (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32;
        found.push(best);
        logits = next(language, &[best], &mut memory);
    }
    (first, found)
}

fn language(name: &str) -> Language {
    let folder = Folder::find(&path(name)).unwrap();
    Language::of_folder(&folder, (DType::F32, &of_tests().1), 128, true).unwrap()
}

#[test]
fn language_models_equal_their_references() {
    equal_their_references();
}

/// What runs on other devices than the processor, here.
#[test]
fn composed_language_models_equal_their_references() {
    crate::nn::composed(equal_their_references);
}

fn equal_their_references() {
    for (name, _) in FAMILIES {
        let (reference, language) = (reference(name), language(name));
        let prompt = tokens(&reference["prompt"]);
        let wanted = tokens(&reference["tokens"]);
        for piece in [1, 5, 32] {
            let (logits, found) = follow(&language, &prompt, wanted.len(), piece);
            assert_near(&logits, &numbers(&reference["logits"]), 5e-4, name);
            assert_eq!(found, wanted, "{name}, {piece} tokens at a time");
        }
        // Packed beside another text, the same.
        let rows = language.rows(&[&prompt[..4], &prompt]).unwrap();
        let logits = language.logits(&rows).unwrap().pop().unwrap();
        assert_near(&logits, &numbers(&reference["logits"]), 5e-4, name);
    }
}

#[test]
fn what_is_forgotten_is_read_again_alike() {
    let (reference, language) = (reference("gemma3"), language("gemma3"));
    let prompt = tokens(&reference["prompt"]);
    let mut memory = Memory::default();
    next(&language, &prompt, &mut memory);
    memory.truncate(10).unwrap();
    assert_eq!(memory.len(), 10);
    let logits = next(&language, &prompt[10..], &mut memory);
    assert_near(&logits, &numbers(&reference["logits"]), 5e-4, "again");
}

#[test]
fn an_answer_comes_by_the_template() {
    let options = json!({"path": path("qwen2"), "max_tokens": 24, "context": 128});
    let chat = open(&causal_lm::KIND, options).unwrap().chat.unwrap();
    let reply = answer(&*chat, "say", "shoe", 24);
    assert_eq!(reply.text, reference("qwen2")["answer"].as_str().unwrap().trim());
    let bf16 = json!({"path": path("qwen2"), "dtype": "bf16"});
    assert_eq!(open(&causal_lm::KIND, bf16).err().unwrap().code(), "bad-option");
    assert!(config(&causal_lm::KIND, json!({"dtype": "f8"})).is_err());
}

/// Names of a layer's tensors in a folder and in a GGUF file.
const LAYER: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The name of a tensor in a GGUF file, as the converter of llama.cpp gives it.
fn gguf_name(name: &str, gemma: bool) -> String {
    let name = name.trim_start_matches("model.");
    let (stem, ending) = name.rsplit_once('.').unwrap();
    let Some(layer) = stem.strip_prefix("layers.") else {
        let stem = match stem {
            "embed_tokens" => "token_embd",
            "norm" => "output_norm",
            _ => "output",
        };
        return format!("{stem}.{ending}");
    };
    let (at, part) = layer.split_once('.').unwrap();
    let after = if gemma { "post_attention_norm" } else { "ffn_norm" };
    let found = LAYER.iter().find(|(known, _)| *known == part).map_or(after, |(_, name)| *name);
    format!("blk.{at}.{found}.{ending}")
}

/// The rows of queries or keys, pairs beside each other, as llama.cpp stores those of Llama.
fn interleaved(weight: &Tensor, head_width: usize) -> Tensor {
    let (rows, columns) = weight.dims2().unwrap();
    let halves = weight.reshape((rows / head_width, 2, head_width / 2, columns)).unwrap();
    halves.transpose(1, 2).unwrap().reshape((rows, columns)).unwrap()
}

/// What the angles of a Llama 3 are divided by: those of `config.json`, as the converter computes them.
fn divisors(config: &Json) -> Vec<f32> {
    let said = &config["rope_parameters"];
    let number = |name: &str| said[name].as_f64().unwrap();
    let (low, high) = (number("low_freq_factor"), number("high_freq_factor"));
    let original = number("original_max_position_embeddings");
    let half = config["head_dim"].as_f64().unwrap() / 2.0;
    let divisor = |pair: f64| {
        let wave = std::f64::consts::TAU * number("rope_theta").powf(pair / half);
        if wave < original / high {
            return 1.0;
        }
        if wave > original / low {
            return number("factor");
        }
        let smooth = (original / wave - low) / (high - low);
        1.0 / ((1.0 - smooth) / number("factor") + smooth)
    };
    (0..half as usize).map(|pair| divisor(pair as f64) as f32).collect()
}

/// Writes a folder of the references as a GGUF file.
fn write_gguf(name: &str, architecture: &str, file: &Path) {
    let config: Json =
        serde_json::from_slice(&std::fs::read(folder(name).join("config.json")).unwrap()).unwrap();
    let tensors =
        candle_core::safetensors::load(folder(name).join("model.safetensors"), &Device::Cpu)
            .unwrap();
    let gemma = architecture == "gemma3";
    let mut stored: HashMap<String, QTensor> = HashMap::new();
    let mut store = |name: String, tensor: &Tensor| {
        stored.insert(name, QTensor::quantize(tensor, GgmlDType::F32).unwrap());
    };
    for (name, tensor) in &tensors {
        let mut tensor = tensor.to_dtype(DType::F32).unwrap();
        if gemma && name.contains("norm") {
            tensor = (tensor + 1.0).unwrap();
        }
        if architecture == "llama" && (name.contains("q_proj") || name.contains("k_proj")) {
            tensor = interleaved(&tensor, config["head_dim"].as_u64().unwrap() as usize);
        }
        store(gguf_name(name, gemma), &tensor);
    }
    if architecture == "llama" {
        store(
            "rope_freqs.weight".to_owned(),
            &Tensor::new(divisors(&config), &Device::Cpu).unwrap(),
        );
    }
    let whole = |name: &str| Value::U32(config[name].as_u64().unwrap() as u32);
    let base = &config["rope_parameters"];
    let base = if gemma { &base["full_attention"] } else { base };
    let mut metadata = vec![
        ("attention.head_count", whole("num_attention_heads")),
        ("attention.head_count_kv", whole("num_key_value_heads")),
        ("embedding_length", whole("hidden_size")),
        ("feed_forward_length", whole("intermediate_size")),
        ("block_count", whole("num_hidden_layers")),
        ("context_length", whole("max_position_embeddings")),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("rope.freq_base", Value::F32(base["rope_theta"].as_f64().unwrap() as f32)),
    ];
    if architecture != "qwen2" {
        metadata.push(("attention.key_length", whole("head_dim")));
    }
    if gemma {
        metadata.push(("attention.sliding_window", whole("sliding_window")));
    }
    let mut named: Vec<(String, Value)> =
        metadata.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)).collect();
    named.push(("general.architecture".to_owned(), Value::String(architecture.to_owned())));
    let metadata: Vec<_> = named.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<_> = stored.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = BufWriter::new(std::fs::File::create(file).unwrap());
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

#[test]
fn gguf_files_equal_their_folders() {
    let out = tempfile::tempdir().unwrap();
    for (name, architecture) in FAMILIES {
        let file = out.path().join(format!("{name}.gguf"));
        write_gguf(name, architecture, &file);
        let gguf = Gguf::open(&file).unwrap();
        for packing in [Packing::Auto, Packing::Keep] {
            let device = if packing == Packing::Keep { Device::Cpu } else { of_tests().1 };
            let given = (DType::F32, &device);
            let language = Language::of_gguf(&gguf, packing, given, 128).unwrap();
            let reference = reference(name);
            let prompt = tokens(&reference["prompt"]);
            let (logits, found) = follow(&language, &prompt, 24, 7);
            assert_near(&logits, &numbers(&reference["logits"]), 2e-3, name);
            assert_eq!(found, tokens(&reference["tokens"]), "{name}");
        }
    }
}

/// However heads were stored, apart they are those of the folder.
#[test]
fn gguf_files_apart_are_their_folders() {
    let out = tempfile::tempdir().unwrap();
    for (name, architecture) in &FAMILIES[..3] {
        let file = out.path().join(format!("{name}.gguf"));
        write_gguf(name, architecture, &file);
        std::fs::copy(folder(name).join("tokenizer.json"), out.path().join("tokenizer.json"))
            .unwrap();
        let of = |path: &str| {
            let config = json!({"path": path});
            let base = base::Base::open(&config, String::new(), &Device::Cpu).unwrap();
            let parts = base.weights.layers.iter().flat_map(|layer| {
                [&layer.q, &layer.k, &layer.v, &layer.out, &layer.down]
                    .map(|part| part.matrix.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            });
            (
                parts.collect::<Vec<_>>(),
                base.sizes.angles.clone(),
                base.read("red shoe", true).unwrap(),
            )
        };
        let (ours, theirs) = (of(file.to_str().unwrap()), of(&path(name)));
        assert_eq!((ours.0, ours.2), (theirs.0, theirs.2), "{name}");
        for (ours, theirs) in ours.1.iter().zip(theirs.1) {
            assert!((ours - theirs).abs() < 1e-6, "{name}");
        }
    }
}

/// Questions that are asked together: each has the answer that it has alone, whatever they begin with.
#[test]
fn an_answer_does_not_depend_on_the_batch() {
    let begin = "a shop for people who run and walk and swim all day ".repeat(3);
    let questions: Vec<(String, String)> = (0..23)
        .map(|at| {
            (begin[..at % 3 * 30].to_owned(), format!("shoe {} of {at}", "red ".repeat(at % 5)))
        })
        .collect();
    for (name, temperature) in [("qwen2", 0.0), ("qwen2", 0.8), ("gemma3", 0.0), ("llama", 0.0)] {
        let options = |batch: usize| json!({"path": path(name), "context": 512, "batch": batch, "temperature": temperature});
        let asked = |batch: usize| -> Vec<Reply> {
            let chat = open(&causal_lm::KIND, options(batch)).unwrap().chat.unwrap();
            assert_eq!(chat.workers(), batch);
            let next = std::sync::atomic::AtomicUsize::new(0);
            let replies = std::sync::Mutex::new(vec![Reply::default(); questions.len()]);
            std::thread::scope(|scope| {
                for _ in 0..batch {
                    scope.spawn(|| {
                        loop {
                            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            let Some((system, question)) = questions.get(at) else { return };
                            let reply = answer(&*chat, system, question, 5 + at);
                            replies.lock().unwrap()[at] = reply;
                        }
                    });
                }
            });
            replies.into_inner().unwrap()
        };
        let alone = asked(1);
        assert!(alone.iter().any(|reply| reply.usage.written > 4), "{name}");
        assert_eq!(asked(4), alone, "{name}");
        assert_eq!(asked(16), alone, "{name}");
    }
}

/// Who stops waiting leaves the others their answers.
#[test]
fn one_who_leaves_does_not_stop_the_others() {
    let options = json!({"path": path("qwen2"), "context": 512, "max_tokens": 200, "batch": 4});
    let chat = open(&causal_lm::KIND, options).unwrap().chat.unwrap();
    let alone = answer(&*chat, "say", "shoe", 200);
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (0..3).map(|_| scope.spawn(|| answer(&*chat, "say", "shoe", 200))).collect();
        let leaving = scope.spawn(|| {
            let progress = Progress::silent();
            progress.stop();
            let turns = [Turn::User("shoe".to_owned())];
            let ask =
                Ask { system: "say", turns: &turns, picture: None, schema: None, max_tokens: 9 };
            chat.ask(&ask, &progress).unwrap_err()
        });
        assert!(leaving.join().unwrap().is_cancelled());
        for other in others {
            assert_eq!(other.join().unwrap(), alone);
        }
    });
}

#[test]
fn damaged_folders_are_refused() {
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(folder("qwen2").join(file), copy.path().join(file)).unwrap();
    }
    let options = json!({"path": copy.path().to_str().unwrap()});
    assert!(open(&causal_lm::KIND, options.clone()).is_ok());
    let text = std::fs::read_to_string(copy.path().join("config.json")).unwrap();
    for (from, to) in [
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
        ("\"intermediate_size\": 32", "\"intermediate_size\": 33"),
        ("\"model_type\": \"qwen2\"", "\"model_type\": \"mamba\""),
        ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(copy.path().join("config.json"), text.replace(from, to)).unwrap();
        assert_eq!(
            open(&causal_lm::KIND, options.clone()).err().unwrap().code(),
            "bad-model",
            "{to}"
        );
    }
    std::fs::write(copy.path().join("config.json"), text).unwrap();
    std::fs::write(copy.path().join("model.safetensors"), [0; 40]).unwrap();
    assert_eq!(open(&causal_lm::KIND, options).err().unwrap().code(), "bad-model");
}
