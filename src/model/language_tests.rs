//! Language models beside their Python implementations, on tiny weights (`tests/fixtures/models/make_reference.py`), and
//! a real small one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::fixture;
use super::{Ask, Chat, Kind, Make, Model, Turn, causal_lm, qwen3_embedding};
use crate::error::Result;
use crate::index::product::dot;
use crate::progress::Progress;

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn reference(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(tiny(name).join("reference.json")).unwrap()).unwrap()
}

fn open(kind: &Kind, options: Json) -> Result<Model> {
    let Make::Opened(open, _) = kind.make else { panic!("{} is fitted", kind.name) };
    open(&options)
}

fn chat(options: Json) -> Arc<dyn Chat> {
    open(&causal_lm::KIND, options).unwrap().chat.unwrap()
}

fn ask<'a>(system: &'a str, turns: &'a [Turn], max_tokens: usize) -> Ask<'a> {
    Ask { system, turns, picture: None, schema: None, max_tokens }
}

#[test]
fn every_architecture_writes_what_python_writes() {
    for name in ["qwen2", "qwen3", "llama", "gemma3"] {
        let reference = reference(name);
        let model = chat(json!({"path": tiny(name)}));
        let (system, question) = (&reference["system"], &reference["question"]);
        let turns = [Turn::User(question.as_str().unwrap().to_owned())];
        let asked = ask(system.as_str().unwrap(), &turns, 24);
        let reply = model.ask(&asked, &Progress::silent()).unwrap();
        let written: Vec<u32> = serde_json::from_value(reference["written"].clone()).unwrap();
        let tokenizer =
            tokenizers::Tokenizer::from_file(tiny(name).join("tokenizer.json")).unwrap();
        let text = tokenizer.decode(&written, true).unwrap();
        assert_eq!(reply.text, text.trim(), "{name}");
        assert_eq!(
            reply.usage.read,
            reference["prompt"].as_array().unwrap().len() as u64,
            "{name}"
        );
        assert_eq!(reply.usage.written, written.len() as u64, "{name}");
        // Nothing of a conversation is left for the next one.
        assert_eq!(model.ask(&asked, &Progress::silent()).unwrap(), reply, "{name}");
    }
}

#[test]
fn draws_depend_on_the_seed_and_the_question_alone() {
    let drawn = |seed: u64| {
        let model = chat(json!({"path": tiny("llama"), "temperature": 1.5, "seed": seed}));
        let turns = [Turn::User("Why?".to_owned())];
        let asked = ask("Be brief.", &turns, 16);
        let first = model.ask(&asked, &Progress::silent()).unwrap().text;
        assert_eq!(model.ask(&asked, &Progress::silent()).unwrap().text, first);
        first
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
}

#[test]
fn what_a_language_model_cannot_do_is_said() {
    let model = chat(json!({"path": tiny("qwen2"), "context": 128, "max_tokens": 32}));
    let long = [Turn::User("why ".repeat(100))];
    let error = model.ask(&ask("", &long, 32), &Progress::silent()).unwrap_err();
    assert_eq!(error.code(), "prompt-too-long");
    let turns = [Turn::User("Why?".to_owned())];
    let picture = fixture::formula(4, 4, 0);
    let seen = Ask { picture: Some(&picture), ..ask("", &turns, 8) };
    assert_eq!(model.ask(&seen, &Progress::silent()).unwrap_err().code(), "no-vision");
    let stopped = Progress::silent();
    stopped.stop();
    assert!(model.ask(&ask("", &turns, 8), &stopped).unwrap_err().is_cancelled());
    let other = open(&causal_lm::KIND, json!({"path": fixture::small("clip")})).err().unwrap();
    assert_eq!(other.code(), "bad-model");
    assert!(other.help_text().unwrap().contains("qwen2"), "{other}");
}

#[test]
fn qwen3_embedding_is_that_of_python() {
    let reference = reference("qwen3_embedding");
    let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let path = tiny("qwen3_embedding");
    let opened = open(&qwen3_embedding::KIND, json!({"path": path})).unwrap();
    let encoder = opened.text.unwrap();
    let ours = encoder.encode(&borrowed, &Progress::silent()).unwrap();
    let theirs: Vec<Vec<f32>> = serde_json::from_value(reference["vectors"].clone()).unwrap();
    for (at, theirs) in theirs.iter().enumerate() {
        let cosine = dot(&ours[at * 32..(at + 1) * 32], theirs);
        assert!(cosine > 0.99999, "text {at}: {cosine}");
    }
    // One by one they are the same, for padding is on the right.
    for (at, text) in borrowed.iter().enumerate() {
        let alone = encoder.encode(&[*text], &Progress::silent()).unwrap();
        assert!(dot(&alone, &ours[at * 32..(at + 1) * 32]) > 0.99999, "{text}");
    }
    // A question stands behind its instruction.
    let question = encoder.encode_query("red ball", &Progress::silent()).unwrap();
    let told = "Instruct: Given a web search query, retrieve relevant passages that answer the \
                query\nQuery:red ball";
    let told = encoder.encode(&[told], &Progress::silent()).unwrap();
    assert!(dot(&question, &told) > 0.99999);
    assert!(dot(&question, &ours[..32]) < 0.999);
    let short = open(&qwen3_embedding::KIND, json!({"path": path, "dim": 8})).unwrap();
    let short = short.text.unwrap().encode(&borrowed[..1], &Progress::silent()).unwrap();
    let first = &ours[..8];
    assert_eq!(short.len(), 8);
    assert!((dot(&short, first) / dot(first, first).sqrt() - 1.0).abs() < 1e-5);
}

#[test]
fn a_real_small_model_answers_in_words() {
    let Some(folder) = fixture::model("smollm2-135m") else { return };
    let model = chat(json!({"path": folder.join("SmolLM2-135M-Instruct.Q4_1.gguf")}));
    let turns = [Turn::User("What is the capital of France? Answer in one sentence.".to_owned())];
    let asked = ask("You are a helpful assistant.", &turns, 24);
    let reply = model.ask(&asked, &Progress::silent()).unwrap();
    assert!(reply.text.contains("Paris"), "{}", reply.text);
    assert!(reply.usage.read > 20 && reply.usage.written > 3, "{:?}", reply.usage);
    assert_eq!(model.ask(&asked, &Progress::silent()).unwrap(), reply);
}
