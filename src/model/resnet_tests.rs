//! The residual network on real weights and photographs, and against the Python implementation.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::index::product::dot;
use crate::model::fixture::{assert_close, formula, model, photographs, reference, small};

fn opened(path: &std::path::Path) -> Resnet {
    Resnet::open(&json!({"path": path, "batch": 9})).unwrap()
}

/// Vectors that the Python implementation made of the same photographs with the same weights.
#[test]
fn photographs_as_the_reference_has_them() {
    let (Some(path), Some(photographs)) = (model("resnet50"), photographs()) else { return };
    let resnet = opened(&path);
    assert_eq!(resnet.dim(), 2048);
    let pictures: Vec<&Picture> = photographs.pictures.iter().collect();
    let began = Instant::now();
    let vectors = resnet.encode(&pictures, &Progress::silent()).unwrap();
    let rate = pictures.len() as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.1} photographs a second");
    assert_eq!(photographs.resnet50.len(), vectors.len());
    let rows = vectors.chunks_exact(2048).zip(photographs.resnet50.chunks_exact(2048));
    let cosines: Vec<f32> = rows.map(|(ours, theirs)| dot(ours, theirs)).collect();
    let least = cosines.iter().copied().fold(f32::INFINITY, f32::min);
    println!("the least cosine is {least}");
    assert_eq!(cosines.len(), 81);
    assert!(least > 0.999, "{cosines:?}");
}

/// The head of the classifier, which sidql has no use for, names what the photographs show.
#[test]
fn photographs_are_named() {
    let (Some(path), Some(photographs)) = (model("resnet50"), photographs()) else { return };
    let resnet = opened(&path);
    let labels = std::fs::read(path.join("labels.json")).unwrap();
    let labels: serde_json::Map<String, Json> = serde_json::from_slice(&labels).unwrap();
    let weights = Folder::find(path.to_str().unwrap()).unwrap();
    let weights = weights.tensors(DType::F32, &Device::Cpu).unwrap();
    let head = weights.get_unchecked("fc1000/kernel").unwrap();
    let bias = weights.get_unchecked("fc1000/bias").unwrap();
    for (title, label) in
        [("Banana", "banana"), ("Granny Smith", "Granny_Smith"), ("Pineapple", "pineapple")]
    {
        let at = photographs.titles.iter().position(|found| found == title);
        let at = at.unwrap_or_else(|| panic!("{title}: {:?}", photographs.titles));
        let pixels = resnet.recipe.tensor(&[&photographs.pictures[at]], &Device::Cpu).unwrap();
        let features = resnet.network.features(&pixels, &Progress::silent()).unwrap();
        let logits = features.matmul(&head).unwrap().broadcast_add(&bias).unwrap();
        let best = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap()[0];
        assert_eq!(labels[&best.to_string()], label);
    }
}

/// Both kinds of blocks in the layout of torchvision, as timm runs them.
#[test]
fn small_networks_as_the_reference_has_them() {
    for name in ["resnet_bottleneck", "resnet_basic"] {
        let resnet = opened(&small(name));
        let colours = Recipe { fit: Fit::Stretch, size: 64, ..Layout::Torch.recipe() };
        let pictures: Vec<Picture> = (0..3).map(|number| formula(64, 64, number)).collect();
        let pictures: Vec<&Picture> = pictures.iter().collect();
        let pixels = colours.tensor(&pictures, &Device::Cpu).unwrap();
        let features = resnet.network.features(&pixels, &Progress::silent()).unwrap();
        assert_close(
            name,
            &crate::model::recipe::unit_rows(&features).unwrap(),
            &reference(name)["picture_vectors"],
        );
    }
}

#[test]
fn what_is_refused() {
    let error = |config| Resnet::open(&config).err().unwrap();
    let clip = error(json!({"path": small("clip")}));
    assert_eq!(clip.code(), "bad-model");
    assert!(clip.message().contains("neither `conv1.weight` nor `conv1/kernel` is among them"));
    assert_eq!(error(json!({})).code(), "no-path");
    let path = small("resnet_basic");
    assert!(error(json!({"path": path, "batch": 0})).message().contains("1 to 256"));
    assert_eq!(error(json!({"path": path, "device": "abacus"})).code(), "unknown-name");
}

#[test]
fn stops_when_asked() {
    let resnet = opened(&small("resnet_basic"));
    let progress = Progress::silent();
    progress.stop();
    let picture = formula(20, 30, 0);
    assert!(resnet.encode(&[&picture], &progress).unwrap_err().is_cancelled());
    assert!(resnet.encode(&[], &Progress::silent()).unwrap().is_empty());
}
