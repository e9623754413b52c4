//! Checks of the decoder: cached against teacher-forced, gradients against differences, refusals.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value as Json;

use super::*;
use crate::device::of_tests;
use crate::nn::composed;
use crate::policy::Targets;

fn catalogue() -> Catalogue {
    let codes = (0..24u16).flat_map(|item| [item / 6, item / 2 % 3, item % 2]).collect();
    Catalogue::new((0..24).collect(), vec![4, 3, 2], codes)
}

fn decoder(seed: u64) -> Decoder {
    let config = Config {
        width: 16,
        hidden: 24,
        heads: 2,
        history: 6,
        depth_layers: 2,
        buckets: 16,
        ..Config::default()
    };
    Decoder::new(config, &[4, 3, 2], &of_tests().1, seed).unwrap()
}

fn loss(decoder: &Decoder, histories: &[History<'_>], train: bool, targets: Targets) -> Tensor {
    let mut random = source(5, 0);
    let mut training = Training { random: &mut random, train, targets };
    decoder.loss(&catalogue(), histories, &mut training).unwrap()
}

/// The log-probability of an item after a history, by cached steps.
fn stepped(decoder: &Decoder, history: History<'_>, item: u32) -> f32 {
    let catalogue = catalogue();
    // Two rows before the one of interest, so that parents and batch matter.
    let mut decoding = decoder.begin(&catalogue, &[&[3, 4], &[], history]).unwrap();
    let codes = catalogue.codes_of(item);
    let mut sum = decoding.first().unwrap()[2 * 4 + codes[0] as usize];
    let second = decoding.step(&[2, 2, 0], &[codes[0], 0, 1]).unwrap();
    assert_eq!(second.len(), 9);
    sum += second[codes[1] as usize];
    let third = decoding.step(&[1, 0], &[2, codes[1]]).unwrap();
    sum + third[2 + codes[2] as usize]
}

#[test]
fn cached_steps_equal_the_loss() {
    let decoder = decoder(1);
    let long: Vec<u32> = (0..11).map(|at| at * 7 % 24).collect();
    for history in [&long[..0], &long[..1], &long[..4], &long] {
        let whole: Vec<u32> = history.iter().copied().chain([17]).collect();
        let forced = loss(&decoder, &[&whole], false, Targets::Last).to_scalar::<f32>().unwrap();
        let cached = -stepped(&decoder, history, 17);
        assert!((forced - cached).abs() < 1e-4, "{forced} {cached}");
    }
}

#[test]
fn probabilities_of_all_items_sum_to_one() {
    let decoder = decoder(2);
    let total: f32 = (0..24).map(|item| stepped(&decoder, &[1, 2, 3], item).exp()).sum();
    assert!((total - 1.0).abs() < 1e-4, "{total}");
}

#[test]
fn the_mean_over_prefixes_is_the_loss_of_all_positions() {
    let decoder = decoder(3);
    let history = [3, 1, 4, 1, 5];
    let of = |h: &[u32]| loss(&decoder, &[h], false, Targets::Last).to_scalar::<f32>().unwrap();
    let mean = (1..=5).map(|end| of(&history[..end])).sum::<f32>() / 5.0;
    let all = loss(&decoder, &[&history, &[]], false, Targets::All).to_scalar::<f32>().unwrap();
    assert!((mean - all).abs() < 1e-4, "{mean} {all}");
}

#[test]
fn gradients_equal_finite_differences() {
    let decoder = decoder(4);
    let histories: [History<'_>; 3] = [&[3, 1, 4], &[1, 5, 9, 2, 6, 5], &[8]];
    let of = || loss(&decoder, &histories, true, Targets::All);
    let grads = of().backward().unwrap();
    for param in decoder.params.iter() {
        let grad = grads.get(param.var.as_tensor()).unwrap().flatten_all().unwrap();
        let grad = grad.to_vec1::<f32>().unwrap();
        let values = param.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // The number with the largest gradient stands above the rounding of single precision.
        let at = (0..grad.len()).max_by(|&a, &b| grad[a].abs().total_cmp(&grad[b].abs())).unwrap();
        let moved = |by: f32| {
            let mut values = values.clone();
            values[at] += by;
            param
                .var
                .set(&Tensor::from_vec(values, param.var.dims(), param.var.device()).unwrap())
                .unwrap();
            of().to_scalar::<f32>().unwrap()
        };
        let step = 1e-2;
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        moved(0.0);
        let close = (slope - grad[at]).abs() <= 0.02 * grad[at].abs() + 2e-4;
        assert!(close, "{}: {slope} {}", param.name, grad[at]);
    }
}

/// What runs on other devices than the processor, walked here from the embeddings to the last gradient.
#[test]
fn composed_operations_equal_the_fused_ones() {
    let histories: [History<'_>; 3] = [&[1, 5, 2, 17], &[8, 3], &[0, 1, 2, 3, 4, 5, 6, 7]];
    let walk = || {
        let decoder = decoder(3);
        let loss = loss(&decoder, &histories, true, Targets::All);
        let grads = loss.backward().unwrap();
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let params = decoder.params.iter();
        let all = params.flat_map(|param| flat(grads.get(param.var.as_tensor()).unwrap()));
        let all: Vec<f32> = all.collect();
        (loss.to_scalar::<f32>().unwrap(), stepped(&decoder, &[1, 2, 9], 17), all)
    };
    let (fused, composed) = (walk(), composed(walk));
    assert!((fused.0 - composed.0).abs() < 1e-5, "{} {}", fused.0, composed.0);
    assert!((fused.1 - composed.1).abs() < 1e-4, "{} {}", fused.1, composed.1);
    assert_eq!(fused.2.len(), composed.2.len());
    for (at, (a, b)) in fused.2.iter().zip(&composed.2).enumerate() {
        assert!((a - b).abs() < 1e-4 + 1e-3 * a.abs(), "gradient {at}: {a} {b}");
    }
}

#[test]
fn saved_and_loaded_give_the_same_logits() {
    let (one, two) = (decoder(6), decoder(7));
    assert_ne!(stepped(&one, &[1, 2], 3), stepped(&two, &[1, 2], 3));
    two.params.load(&one.params.save().unwrap()).unwrap();
    assert_eq!(stepped(&one, &[1, 2], 3), stepped(&two, &[1, 2], 3));
}

#[test]
fn wrong_options_and_codes_are_refused() {
    let build = |config: Json| (KIND.build)(&config, &(&catalogue()).into(), &Device::Cpu, 1).err();
    assert!(build(serde_json::json!({})).is_none());
    for config in [
        serde_json::json!({ "width": 30 }),
        serde_json::json!({ "heads": 0 }),
        serde_json::json!({ "dropout": 1.0 }),
        serde_json::json!({ "history": 0 }),
        serde_json::json!({ "layers": 1000 }),
    ] {
        assert_eq!(build(config.clone()).unwrap().code(), "bad-option", "{config}");
    }
    assert!(build(serde_json::json!({ "widht": 8 })).is_some());
    let decoder = decoder(1);
    let mut decoding = decoder.begin(&catalogue(), &[&[1]]).unwrap();
    decoding.first().unwrap();
    assert!(decoding.step(&[0], &[4]).is_err());
    assert!(decoding.step(&[1], &[0]).is_err());
}
