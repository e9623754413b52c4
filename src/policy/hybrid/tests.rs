//! Checks of `hybrid`: gradients, the sampled softmax, items that come and go.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::nn::composed;

const ITEMS: u64 = 12;

fn catalogue(items: &[u64]) -> Catalogue {
    let codes = items.iter().flat_map(|item| [(item / 4) as u16, (item % 4) as u16]).collect();
    Catalogue::new(items.to_vec(), vec![4, 4], codes)
}

fn content(items: &[u64]) -> Vec<f32> {
    items.iter().flat_map(|item| [(*item as f32).sin(), (*item as f32).cos()]).collect()
}

fn hybrid(items: &[u64], options: &serde_json::Value) -> Hybrid {
    let mut config = (KIND.config)(&[]).unwrap();
    for (name, value) in [("width", json!(8)), ("hidden", json!(12)), ("dropout", json!(0.0))] {
        config.insert(name.to_owned(), value);
    }
    config.extend(options.as_object().unwrap().clone());
    let config = serde_json::from_value(serde_json::Value::Object(config)).unwrap();
    let (catalogue, content) = (catalogue(items), content(items));
    let material = Material { content: &content, made_by: 1, ..Material::from(&catalogue) };
    Hybrid::new(config, material, &Device::Cpu, 3).unwrap()
}

fn all() -> Vec<u64> {
    (0..ITEMS).collect()
}

const HISTORIES: [&[u32]; 3] = [&[0, 3, 5], &[2], &[7, 8, 9, 1]];

fn counted(options: &serde_json::Value) -> Hybrid {
    let mut policy = hybrid(&all(), options);
    policy.count(&catalogue(&all()), &HISTORIES, &Progress::silent()).unwrap();
    policy
}

fn loss(policy: &Hybrid, targets: Targets, seed: u64) -> Tensor {
    let mut random = source(seed, 0);
    let mut training = Training { random: &mut random, train: true, targets };
    policy.loss(&catalogue(&all()), &HISTORIES, &mut training).unwrap()
}

/// The gradients of all variables, by finite differences and by the graph; and the same without fused operations.
#[test]
fn gradients_are_those_of_the_loss() {
    let policy = counted(&json!({"negatives": 0, "temperature": 0.5}));
    let loss = || loss(&policy, Targets::All, 1);
    let grads = loss().backward().unwrap();
    let without = composed(|| loss().to_scalar::<f32>().unwrap());
    assert!((without - loss().to_scalar::<f32>().unwrap()).abs() < 1e-4);
    for param in policy.params.iter() {
        let Some(grad) = grads.get(param.var.as_tensor()) else {
            assert_eq!(param.name, "items.moments", "everything else is learned");
            continue;
        };
        let grad = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let values = param.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for at in [0, grad.len() / 2, grad.len() - 1] {
            let moved = |step: f32| {
                let mut values = values.clone();
                values[at] += step;
                let values = Tensor::from_vec(values, param.var.shape(), &Device::Cpu).unwrap();
                param.var.set(&values).unwrap();
                f64::from(loss().to_scalar::<f32>().unwrap())
            };
            let slope = (moved(5e-3) - moved(-5e-3)) / 1e-2;
            moved(0.0);
            let off = (slope - f64::from(grad[at])).abs();
            assert!(off < 2e-3 * slope.abs().max(1.0), "{} {at}: {slope} {}", param.name, grad[at]);
        }
    }
}

/// Over many draws the sampled softmax has the loss of the whole one, nearly: it is a logarithm of a mean.
#[test]
fn a_sampled_softmax_stands_for_the_whole() {
    let sid = json!({"negatives": 0, "sid_weight": 0.0, "temperature": 1.0});
    let whole = loss(&counted(&sid), Targets::All, 1).to_scalar::<f32>().unwrap();
    let some = counted(&json!({"negatives": 4, "sid_weight": 0.0, "temperature": 1.0}));
    let draws = 400;
    let mean = (0..draws)
        .map(|seed| loss(&some, Targets::All, seed).to_scalar::<f32>().unwrap())
        .sum::<f32>()
        / draws as f32;
    assert!((mean - whole).abs() < 0.1, "{mean} {whole}");
}

#[test]
fn untouched_items_are_met_with_codes_and_content() {
    let policy = counted(&json!({}));
    let ids = policy.items.embed(&policy.codes, &catalogue(&all()), &[4, 6]).unwrap();
    let mut other = counted(&json!({}));
    // Another seed for the rest would change the codes too; here only the rows of items are drawn anew.
    let touched = vec![0; ITEMS as usize];
    other.items.measure(&touched).unwrap();
    let same = other.items.embed(&other.codes, &catalogue(&all()), &[4, 6]).unwrap();
    assert_eq!(ids.to_vec2::<f32>().unwrap(), same.to_vec2::<f32>().unwrap());
}

#[test]
fn saved_state_survives_items_that_come_and_go() {
    let mut policy = counted(&json!({}));
    policy.settle(&catalogue(&all()), &HISTORIES, &Progress::silent()).unwrap();
    let saved = policy.save(&catalogue(&all())).unwrap();
    let scores = |policy: &Hybrid, history: &[u32]| {
        policy.parts(history).unwrap().model.iter().map(|p| p.ln()).collect::<Vec<f32>>()
    };
    let before = scores(&policy, &[3, 5]);
    // Item 0 has gone, item 13 has come: all others keep their distances.
    let now: Vec<u64> = (1..ITEMS).chain([13]).collect();
    let mut moved = hybrid(&now, &json!({}));
    moved.load(&catalogue(&now), &saved).unwrap();
    let after = scores(&moved, &[2, 4]);
    for at in 1..ITEMS as usize - 1 {
        let (old, new) = (before[at + 1] - before[1], after[at] - after[0]);
        assert!((old - new).abs() < 1e-4, "{old} {new}");
    }
    assert!(after.iter().all(|score| score.is_finite()));
    assert!(hybrid(&now, &json!({})).load(&catalogue(&now), &saved[..40]).is_err());
    let mut other = hybrid(&now, &json!({}));
    other.made_by = 2;
    assert_eq!(other.load(&catalogue(&now), &saved).unwrap_err().code(), "stale-content");
}

#[test]
fn options_are_checked() {
    for options in [
        json!({"width": 9}),
        json!({"temperature": 0.0}),
        json!({"sid_weight": -1.0}),
        json!({"graph_weight": 1.0}),
        json!({"decay": 0.0}),
    ] {
        let mut config = (KIND.config)(&[]).unwrap();
        config.extend(options.as_object().unwrap().clone());
        let catalogue = catalogue(&all());
        let built =
            (KIND.build)(&serde_json::Value::Object(config), &(&catalogue).into(), &Device::Cpu, 1);
        assert_eq!(built.err().map(|error| error.code()), Some("bad-option"), "{options}");
    }
}

/// Items without content: the mixture that validation chooses has none of it, and tells items apart.
#[test]
fn a_mixture_without_content_has_none_of_it() {
    let catalogue = catalogue(&all());
    let config = serde_json::from_value(json!({"width": 8, "hidden": 12})).unwrap();
    let material = Material::from(&catalogue);
    let mut policy = Hybrid::new(config, material, &Device::Cpu, 3).unwrap();
    policy.count(&catalogue, &HISTORIES, &Progress::silent()).unwrap();
    policy.settle(&catalogue, &HISTORIES, &Progress::silent()).unwrap();
    assert_eq!(policy.mix.content, 0.0);
    let mut scores = vec![0.0; ITEMS as usize];
    policy.score(&[0, 3], &mut scores).unwrap();
    assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    assert!(scores.iter().any(|score| *score != scores[0]));
}
