//! Conformance of the models that run local weights, over real ones: `SIDQL_MODELS` names a folder with
//! `minilm-fp16/` and `smollm2-135m/`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::index::product::dot;
use crate::options::Given;

/// The folder of real weights; without it a test says aloud that it did nothing, and fails where that must not be.
fn weights(name: &str) -> Option<String> {
    let folder = std::env::var_os("SIDQL_MODELS").map(|models| PathBuf::from(models).join(name));
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no weights of {name}");
        eprintln!("SKIPPED: SIDQL_MODELS names no folder with {name}/");
    }
    Some(found?.to_str().unwrap().to_owned())
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
    open(&config(kind, options)?)
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

/// The titles of Beauty: how long they take. `SIDQL_ITEMS` names the file of items.
#[test]
#[ignore = "needs a file of items"]
fn measure_minilm() {
    let encoder = minilm(json!({})).unwrap();
    let file = std::fs::File::open(std::env::var("SIDQL_ITEMS").unwrap()).unwrap();
    let lines = std::io::BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    let titles: Vec<String> = lines
        .map(|line| {
            let item: Json = serde_json::from_str(&line.unwrap()).unwrap();
            item["title"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    let texts: Vec<&str> = titles.iter().map(String::as_str).collect();
    for _ in 0..3 {
        let began = Instant::now();
        for texts in texts.chunks(512) {
            encoder.encode(texts, &Progress::silent()).unwrap();
        }
        eprintln!("{} titles in {:?}", texts.len(), began.elapsed());
    }
}
