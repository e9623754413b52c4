//! SigLIP against the Python implementation.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::model::fixture::{assert_close, formula, reference, small};

fn config() -> Options {
    Options { path: small("siglip").display().to_string(), batch: 2, ..Options::default() }
}

#[test]
fn pictures_as_the_reference_has_them() {
    let pictures: Vec<Picture> = (0..3).map(|number| formula(30, 30, number)).collect();
    let pictures: Vec<&Picture> = pictures.iter().collect();
    let encoder = Pictures::open(&config()).unwrap();
    assert_eq!(encoder.dim(), 24);
    let vectors = encoder.encode(&pictures, &Progress::silent()).unwrap();
    assert_close("pictures", &vectors, &reference("siglip")["picture_vectors"]);
}

#[test]
fn texts_as_the_reference_has_them() {
    let texts = Texts::open(&config()).unwrap();
    let reference = reference("siglip");
    let asked: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let ids: Vec<Vec<u32>> = asked.iter().map(|text| texts.ids(text).unwrap()).collect();
    assert_eq!(json!(ids), reference["ids"]);
    assert!(ids.iter().all(|ids| ids.len() == 18), "all are filled up");
    let vectors = texts.encode(&asked, &Progress::silent()).unwrap();
    assert_close("texts", &vectors, &reference["text_vectors"]);
}

#[test]
fn texts_as_training_saw_them() {
    assert_eq!(canonical("  Ben & Jerry's:\tICE-cream  ", true), "ben jerrys icecream");
    assert_eq!(canonical("Ben & Jerry's", false), "ben & jerry's");
}

#[test]
fn the_record_opens_both_towers() {
    let Make::Opened(open, fingerprint) = KIND.make else { panic!("it is opened") };
    let given = json!({"path": small("siglip")});
    let model = open(&given).unwrap();
    assert!(model.text.is_some() && model.image.is_some() && model.chat.is_none());
    let print = fingerprint(&given, &Progress::silent()).unwrap();
    assert!(print.starts_with("sha256:"));
    let error = open(&json!({"path": small("clip")})).err().unwrap();
    assert_eq!(error.code(), "bad-model", "{error}");
}
