//! Conformance of the models that run local weights, over real ones: `SIDQL_MODELS` names a folder with
//! `minilm-fp16/` and `smollm2-135m/`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::device::of_tests;
use crate::index::product::dot;
use crate::options::Given;

/// The folder of real weights; nothing where the test is to be skipped.
fn weights(name: &str) -> Option<String> {
    Some(fixture::model(name)?.to_str().unwrap().to_owned())
}

/// The configuration of a kind with some options given.
pub(super) fn config(kind: &Kind, options: Json) -> Result<Json> {
    let given = options.as_object().unwrap().iter();
    let given: Vec<_> = given
        .map(|(name, value)| Given { name: name.clone(), value: value.clone(), span: 0..1 })
        .collect();
    (kind.config)(&given).map(Json::Object)
}

/// Opens a model of a kind.
pub(super) fn open(kind: &Kind, options: Json) -> Result<Model> {
    let Make::Opened(open, _) = kind.make else { panic!("{} is fitted", kind.name) };
    let mut config = config(kind, options)?;
    let (device, opened) = of_tests();
    if !opened.is_cpu() && config.get("device").is_some() {
        config["device"] = device.into();
        // The references are in 32 bits.
        if config.get("dtype").is_some_and(|dtype| dtype == "auto") {
            config["dtype"] = "f32".into();
        }
    }
    open(&config)
}

fn minilm(options: Json) -> Option<Arc<dyn Encoder>> {
    let mut options = options;
    options["path"] = weights("minilm-fp16")?.into();
    Some(open(&bert::KIND, options).unwrap().text.unwrap())
}

fn encode(encoder: &dyn Encoder, texts: &[&str]) -> Vec<Vec<f32>> {
    let vectors = encoder.encode(texts, &Progress::silent()).unwrap();
    vectors.chunks_exact(encoder.dim().unwrap()).map(<[f32]>::to_vec).collect()
}

/// The demands that every text encoder of local weights meets.
pub(super) fn text_demands(encoder: &dyn Encoder) {
    let long = "an endless tale of shoes, ".repeat(4000);
    let texts = ["red shoe", "", "größe 42 – 赤い靴 👟\u{0}", &long, "red shoe", "blue yoga mat"];
    let together = encode(encoder, &texts);
    assert!(together.iter().all(|vector| (dot(vector, vector) - 1.0).abs() < 1e-4));
    for (text, vector) in texts.iter().zip(&together) {
        let alone = &encode(encoder, &[text])[0];
        assert!(dot(alone, vector) > 0.9999, "`{text:.20}` differs beside others");
    }
    assert!(dot(&together[0], &together[2]) < 0.999);
    assert!(encode(encoder, &[]).is_empty());
    let stopped = Progress::silent();
    stopped.stop();
    assert!(encoder.encode(&["shoe"], &stopped).unwrap_err().is_cancelled());
    assert!(!encoder.remote());
}

#[test]
fn minilm_meets_the_demands() {
    let Some(encoder) = minilm(json!({})) else { return };
    text_demands(&*encoder);
}

/// Cosines that sentence-transformers gives for its own example.
#[test]
fn minilm_knows_what_is_alike() {
    let Some(encoder) = minilm(json!({})) else { return };
    let query = encoder.encode_query("A man is eating pasta.", &Progress::silent()).unwrap();
    let known = [
        ("A man is eating food.", 0.7035),
        ("A man is eating a piece of bread.", 0.5272),
        ("A man is riding a horse.", 0.1889),
        ("A man is riding a white horse on an enclosed ground.", 0.1047),
        ("A cheetah is running behind its prey.", 0.0980),
    ];
    for (text, cosine) in known {
        let ours = dot(&query, &encode(&*encoder, &[text])[0]);
        assert!((ours - cosine).abs() < 2e-3, "{text}: {ours}, not {cosine}");
    }
}

/// Vectors that another implementation made of the same model for the items of Beauty, in 16 bits.
#[test]
fn minilm_equals_ready_vectors() {
    // They were made with what tokenizer.json says.
    let Some(encoder) = minilm(json!({"max_tokens": 128})) else { return };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/beauty");
    if !data.is_dir() {
        return fixture::skipped("there is no folder of Beauty beside the repository");
    }
    let file = data.join("minilm_f16.safetensors");
    let ready = candle_core::safetensors::load(file, &candle_core::Device::Cpu).unwrap();
    let ready = ready["embedding"].to_dtype(candle_core::DType::F32).unwrap();
    for (row, item) in items(&data.join("items.jsonl.gz")).enumerate().step_by(149) {
        let path: Vec<_> = item["categories"][0].as_array().unwrap().iter().collect();
        let path: Vec<_> = path.into_iter().map(|part| part.as_str().unwrap()).collect();
        let path = path.join(" > ");
        let field = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let parts = [field("title"), field("brand"), path, field("description")];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let ours = &encode(&*encoder, &[&parts.join(". ")])[0];
        let theirs = ready.get(row).unwrap().to_vec1::<f32>().unwrap();
        assert!(dot(ours, &theirs) > 0.999, "item {row}: {}", dot(ours, &theirs));
    }
}

/// The items of a compressed file of JSON lines.
fn items(file: &Path) -> impl Iterator<Item = Json> {
    let file = flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap());
    std::io::BufReader::new(file).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

#[test]
fn options_of_minilm() {
    let Some(plain) = minilm(json!({})) else { return };
    let prefixed = minilm(json!({"query_prefix": "query: ", "text_prefix": "text: "})).unwrap();
    let query = prefixed.encode_query("red shoe", &Progress::silent()).unwrap();
    assert_eq!(encode(&*plain, &["query: red shoe", "text: red shoe"])[0], query);
    assert_eq!(encode(&*plain, &["text: red shoe"]), encode(&*prefixed, &["red shoe"]));
    let short = minilm(json!({"max_tokens": 8})).unwrap();
    let (cut, whole) = ("a b c d e f", "a b c d e f g h");
    assert_eq!(encode(&*short, &[cut]), encode(&*short, &[whole]));
    assert_ne!(encode(&*plain, &[cut]), encode(&*plain, &[whole]));
    let raw = minilm(json!({"normalize": false, "pooling": "cls"})).unwrap();
    let raw = &encode(&*raw, &["red shoe"])[0];
    assert!((dot(raw, raw) - 1.0).abs() > 0.1);
    assert_eq!(config(&bert::KIND, json!({"max_tokens": 3})).unwrap_err().code(), "bad-option");
}

#[test]
fn a_fingerprint_tells_weights_apart() {
    let Some(path) = weights("minilm-fp16") else { return };
    let Make::Opened(_, fingerprint) = bert::KIND.make else { panic!() };
    let config = config(&bert::KIND, json!({"path": path})).unwrap();
    let print = fingerprint(&config, &Progress::silent()).unwrap();
    assert!(print.starts_with("sha256:") && print.len() == 71, "{print}");
}

fn smollm(options: Json) -> Option<Arc<dyn Chat>> {
    let mut options = options;
    options["path"] = weights("smollm2-135m")?.into();
    Some(open(&causal_lm::KIND, options).unwrap().chat.unwrap())
}

/// One question.
pub(super) fn answer(chat: &dyn Chat, system: &str, question: &str, max_tokens: usize) -> Reply {
    let turns = [Turn::User(question.to_owned())];
    let ask = Ask { system, turns: &turns, picture: None, schema: None, max_tokens };
    chat.ask(&ask, &Progress::silent()).unwrap()
}

#[test]
fn smollm_answers_the_same_whatever_was_asked_before() {
    let Some(chat) = smollm(json!({})) else { return };
    let system = "You answer questions about the world in one short sentence. ".repeat(4);
    let question = "What is the capital of France?";
    let first = answer(&*chat, &system, question, 24);
    assert!(first.text.contains("Paris"), "{}", first.text);
    assert!(first.usage.read > 40 && (3..=24).contains(&first.usage.written), "{:?}", first.usage);
    let other = answer(&*chat, &system, "What is the capital of Spain?", 24);
    assert!(other.text.contains("Madrid"), "{}", other.text);
    assert_eq!(answer(&*chat, &system, question, 24), first);
    assert_eq!(answer(&*chat, "", "größe – 👟\u{0}", 3).usage.written, 3);
}

#[test]
fn smollm_draws_by_its_seed() {
    let Some(chat) = smollm(json!({"temperature": 1.5, "top_p": 0.95, "max_tokens": 12})) else {
        return;
    };
    let question = "Tell me a story.";
    let first = answer(&*chat, "", question, 100);
    assert!(first.usage.written <= 12);
    assert_eq!(answer(&*chat, "", question, 100), first);
    let other = smollm(json!({"temperature": 1.5, "top_p": 0.95, "max_tokens": 12, "seed": 1}));
    assert_ne!(answer(&*other.unwrap(), "", question, 100).text, first.text);
}

#[test]
fn what_smollm_refuses() {
    let Some(chat) = smollm(json!({"context": 64})) else { return };
    let turns = [Turn::User("word ".repeat(100))];
    let ask = Ask { system: "", turns: &turns, picture: None, schema: None, max_tokens: 5 };
    let error = chat.ask(&ask, &Progress::silent()).unwrap_err();
    assert_eq!(error.code(), "prompt-too-long");
    let pixels = image::RgbImage::new(1, 1);
    let picture = Picture { pixels };
    let seen = Ask { picture: Some(&picture), ..ask };
    assert_eq!(chat.ask(&seen, &Progress::silent()).unwrap_err().code(), "no-vision");
    let stopped = Progress::silent();
    stopped.stop();
    assert!(chat.ask(&ask, &stopped).unwrap_err().is_cancelled());
    let turns = [Turn::User("Count to a hundred.".to_owned())];
    let short = chat.ask(&Ask { turns: &turns, max_tokens: 500, ..ask }, &Progress::silent());
    assert!(short.unwrap().usage.written <= 64);
}

#[test]
fn options_out_of_range_and_folders_of_others_are_refused() {
    for options in [json!({"top_p": 0.0}), json!({"temperature": -1.0}), json!({"context": 1})] {
        assert_eq!(config(&causal_lm::KIND, options).unwrap_err().code(), "bad-option");
    }
    let bad = json!({"max_tokens": 7});
    assert_eq!(config(&qwen3_embedding::KIND, bad).unwrap_err().code(), "bad-option");
    for kind in [&bert::KIND, &qwen3_embedding::KIND, &causal_lm::KIND] {
        assert_eq!(open(kind, json!({})).err().unwrap().code(), "no-path");
        assert_eq!(open(kind, json!({"path": "/no/where"})).err().unwrap().code(), "no-weights");
    }
    let Some(path) = weights("minilm-fp16") else { return };
    for kind in [&qwen3_embedding::KIND, &causal_lm::KIND] {
        assert_eq!(open(kind, json!({"path": path})).err().unwrap().code(), "bad-model");
    }
}

/// The titles of Beauty: how long they take. `SIDQL_ITEMS` names the file of items.
#[test]
#[ignore = "needs a file of items"]
fn measure_minilm() {
    let encoder = minilm(json!({})).unwrap();
    let file = std::env::var("SIDQL_ITEMS").unwrap();
    let title = |item: Json| item["title"].as_str().unwrap_or_default().to_owned();
    let titles: Vec<String> = items(file.as_ref()).map(title).collect();
    let texts: Vec<&str> = titles.iter().map(String::as_str).collect();
    for _ in 0..3 {
        let began = Instant::now();
        for texts in texts.chunks(512) {
            encoder.encode(texts, &Progress::silent()).unwrap();
        }
        eprintln!("{} titles in {:?}", texts.len(), began.elapsed());
    }
}
