//! For tests: small models with the answers of their Python implementations (`tests/fixtures/images`), and real
//! weights and photographs that lie beside the repository.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::Value as Json;

use super::picture::Picture;
use crate::index::product::dot;

/// The folder of a small model of random weights.
pub(super) fn small(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

/// What the Python implementation answered with a small model.
pub(super) fn reference(name: &str) -> Json {
    let bytes = std::fs::read(small(name).join("reference.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The picture of a number, as `make_reference.py` has it.
pub(super) fn formula(width: u32, height: u32, number: u32) -> Picture {
    let pixels = RgbImage::from_fn(width, height, |x, y| {
        let step = |channel: u32| 7 * x + 13 * y + 29 * channel + 53 * number + 5 * (x * y % 17);
        Rgb([0, 1, 2].map(|channel| (step(channel) % 256) as u8))
    });
    Picture { pixels }
}

/// Compares rows of vectors, ours one after the other, with those of a reference.
pub(super) fn assert_close(what: &str, ours: &[f32], theirs: &Json) {
    let theirs: Vec<Vec<f32>> = serde_json::from_value(theirs.clone()).unwrap();
    assert_eq!(ours.len(), theirs.iter().map(Vec::len).sum::<usize>(), "{what}");
    assert!(!theirs.is_empty(), "{what}");
    for (row, (ours, theirs)) in ours.chunks_exact(theirs[0].len()).zip(&theirs).enumerate() {
        let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let cosine = dot(ours, theirs);
        assert!(apart < 1e-4 && cosine > 0.9999, "{what}, row {row}: {apart} apart, {cosine}");
    }
}

/// The environment variable that names the folder of models, one folder for each.
const MODELS: &str = "SIDQL_MODELS";

/// Says that a test was skipped; in continuous integration nothing may be.
pub(super) fn skipped(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    // Written past the capture of the test harness, which hides what a passing test prints.
    writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n").unwrap();
}

/// The folder of a model; nothing where the test is to be skipped.
pub(super) fn model(name: &str) -> Option<PathBuf> {
    let Some(models) = std::env::var_os(MODELS) else {
        skipped(&format!("{MODELS} names no folder of models, so `{name}` is not tried"));
        return None;
    };
    let folder = Path::new(&models).join(name);
    if !folder.is_dir() {
        skipped(&format!("{MODELS} holds no folder `{name}`"));
        return None;
    }
    Some(folder)
}

/// Photographs of groceries.
pub(super) struct Photographs {
    /// What they show.
    pub(super) titles: Vec<String>,
    /// The decoded photographs.
    pub(super) pictures: Vec<Picture>,
    /// The vectors that a ResNet-50 makes of them, at unit length.
    pub(super) resnet50: Vec<f32>,
}

/// The photographs; nothing where the test is to be skipped.
pub(super) fn photographs() -> Option<Photographs> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/grocery_photos");
    if !folder.is_dir() {
        skipped("there is no folder of photographs beside the repository");
        return None;
    }
    let mut items = String::new();
    let file = std::fs::File::open(folder.join("items.jsonl.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut items).unwrap();
    let items: Vec<Json> = items.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |item: &Json, name: &str| item[name].as_str().unwrap().to_owned();
    let pictures = items.iter().map(|item| {
        let bytes = std::fs::read(folder.join(text(item, "image"))).unwrap();
        Picture::decode(&bytes).unwrap()
    });
    let file = folder.join("resnet50_f16.safetensors");
    let tensors = candle_core::safetensors::load(file, &candle_core::Device::Cpu).unwrap();
    let vectors = tensors["embedding"].to_dtype(candle_core::DType::F32).unwrap();
    Some(Photographs {
        titles: items.iter().map(|item| text(item, "title")).collect(),
        pictures: pictures.collect(),
        resnet50: vectors.flatten_all().unwrap().to_vec1().unwrap(),
    })
}
