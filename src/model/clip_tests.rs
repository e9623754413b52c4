//! CLIP against the Python implementation.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::model::fixture::{assert_close, formula, reference, small};

fn opened(more: Json) -> Model {
    let mut config = json!({"path": small("clip"), "batch": 2});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    open(&config).unwrap()
}

#[test]
fn pictures_as_the_reference_has_them() {
    let pictures: Vec<Picture> = (0..3).map(|number| formula(32, 32, number)).collect();
    let pictures: Vec<&Picture> = pictures.iter().collect();
    let cases = [("projected", "picture_vectors", 12), ("pooler", "pooler_vectors", 24)];
    for (pooled, answer, dim) in cases {
        let image = opened(json!({"pooled": pooled})).image.unwrap();
        assert_eq!(image.dim(), dim);
        let vectors = image.encode(&pictures, &Progress::silent()).unwrap();
        assert_close(pooled, &vectors, &reference("clip")[answer]);
    }
}

#[test]
fn texts_as_the_reference_has_them() {
    let config = Config {
        shared: Options {
            path: small("clip").display().to_string(),
            batch: 2,
            ..Options::default()
        },
        ..Config::default()
    };
    let texts = Texts::open(&config).unwrap();
    let reference = reference("clip");
    let asked: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let ids: Vec<Vec<u32>> = asked.iter().map(|text| texts.words.ids(text).unwrap()).collect();
    assert_eq!(json!(ids), reference["ids"]);
    assert_eq!(texts.words.longest().unwrap(), 20);
    assert_eq!((ids[3].len(), ids[3][19]), (20, texts.end.unwrap()), "a cut text keeps its end");
    let vectors = texts.encode(&asked, &Progress::silent()).unwrap();
    assert_close("texts", &vectors, &reference["text_vectors"]);
}

#[test]
fn where_a_text_ends() {
    let shared = Options { path: small("clip").display().to_string(), ..Options::default() };
    let config = Config { shared, ..Config::default() };
    let mut texts = Texts::open(&config).unwrap();
    assert_eq!(texts.end_of(&[0, 9, 1, 7, 1]), 2, "the first end token");
    texts.end = None;
    assert_eq!(texts.end_of(&[0, 9, 1, 9, 1]), 1, "the first of the largest");
}

#[test]
fn without_the_projection_there_is_no_common_space() {
    assert!(opened(json!({})).text.is_some());
    assert!(opened(json!({"pooled": "pooler"})).text.is_none());
}

#[test]
fn what_is_refused() {
    for other in ["siglip", "resnet_basic"] {
        let error = open(&json!({"path": small(other)})).err().unwrap();
        assert_eq!(error.code(), "bad-model", "{error}");
    }
    let given = |value: Json| {
        let name = "pooled".to_owned();
        (KIND.config)(&[crate::options::Given { name, value, span: 0..1 }])
    };
    assert_eq!(given(json!("pooler")).unwrap()["batch"], 16);
    assert_eq!(given(json!("mean")).unwrap_err().code(), "bad-option");
}

#[test]
fn stops_when_asked() {
    let model = opened(json!({}));
    let progress = Progress::silent();
    progress.stop();
    let stopped = model.text.unwrap().encode(&["a red shoe"], &progress);
    assert!(stopped.unwrap_err().is_cancelled());
    let stopped = model.image.unwrap().encode(&[&formula(50, 40, 0)], &progress);
    assert!(stopped.unwrap_err().is_cancelled());
}
