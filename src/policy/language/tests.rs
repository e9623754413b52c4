//! Checks of language models that learn: against what `transformers` computes with tiny checkpoints, gradients against
//! differences, decoding against training, what is stored.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use candle_core::Var;
use serde_json::{Value as Json, json};

use super::*;
use crate::device::of_tests;
use crate::index::Catalogue;
use crate::model::base::of_tests as base;
use crate::nn::composed;
use crate::policy::{Completion, Generate, History, Learn, Targets, Training};

const FAMILIES: [&str; 3] = ["llama", "qwen2", "qwen3"];
const SIZES: [usize; 3] = [4, 3, 2];
const LOW_RANK: Moves = Moves::LowRank { rank: 3, alpha: 6.0 };

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models")
}

fn catalogue() -> Catalogue {
    let codes = (0..24u16).flat_map(|item| [item / 6, item / 2 % 3, item % 2]).collect();
    Catalogue::new((0..24).collect(), SIZES.to_vec(), codes)
}

fn speaker_over(base: &Arc<Base>, moves: Moves, seed: u64) -> Speaker {
    let speech = Speech { moves, prompt: "shoes:", history: 6, more: 0, dropout: 0.1 };
    Speaker::new(base, &speech, &SIZES, &of_tests().1, seed).unwrap()
}

/// With numbers in what begins with zeros, so that every part shows.
fn speaker(name: &str, moves: Moves, seed: u64) -> Speaker {
    let speaker = speaker_over(&base(name), moves, seed);
    let mut random = source(seed, 9);
    for param in speaker.params().iter() {
        if param.name == "code_head" || param.name.rsplit('.').next() == Some("up") {
            let numbers = normal(param.var.elem_count(), 0.3, &mut random);
            let numbers = Tensor::from_vec(numbers, param.var.dims(), param.var.device());
            param.var.set(&numbers.unwrap()).unwrap();
        }
    }
    speaker
}

fn numbers(json: &Json) -> Vec<f32> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(ours: &[f32], theirs: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let near = (a - b).abs() < tolerance + 1e-3 * b.abs();
        assert!(near, "{what}, number {at}: {a}, not {b}");
    }
}

/// Untaught small matrices change nothing: the words that follow a prompt are those of the Python implementation.
#[test]
fn untaught_it_says_what_its_base_says() {
    let reference = std::fs::read(fixtures().join("reference.json")).unwrap();
    let reference: Json = serde_json::from_slice(&reference).unwrap();
    let check = || {
        for name in FAMILIES {
            let prompt: Vec<u32> =
                numbers(&reference[name]["prompt"]).iter().map(|token| *token as u32).collect();
            for moves in [Moves::All, LOW_RANK] {
                let (base, device) = (base(name), of_tests().1);
                let language = Language::new(&base, (moves, 64), &SIZES, &device, 1).unwrap();
                // Beside a shorter text in the pack.
                let tokens = [&prompt[..3], &prompt].concat();
                let segments = Segments::of_lengths([3, prompt.len()]);
                let x = language.forward(&tokens, &segments, &mut Dropout::off()).unwrap();
                let last = x.narrow(0, tokens.len() - 1, 1).unwrap();
                let logits = flat(&language.word_logits(&last).unwrap());
                assert_near(&logits, &numbers(&reference[name]["logits"]), 5e-4, name);
            }
        }
    };
    check();
    composed(check);
}

fn loss(speaker: &Speaker, histories: &[History<'_>], train: bool, targets: Targets) -> Tensor {
    let mut random = source(5, 0);
    let mut training = Training { random: &mut random, train, targets };
    Learn::loss(speaker, &catalogue(), histories, &mut training).unwrap()
}

/// The log-probability of an item after a history, by cached steps.
fn stepped(speaker: &Speaker, history: History<'_>, item: u32) -> f32 {
    let catalogue = catalogue();
    // Two rows before the one of interest, so that parents and batch matter.
    let mut decoding = speaker.begin(&catalogue, &[&[3, 4], &[], history]).unwrap();
    let codes = catalogue.codes_of(item);
    let mut sum = decoding.first().unwrap()[2 * 4 + codes[0] as usize];
    let second = decoding.step(&[2, 2, 0], &[codes[0], 0, 1]).unwrap();
    assert_eq!(second.len(), 9);
    sum += second[codes[1] as usize];
    let third = decoding.step(&[1, 0], &[2, codes[1]]).unwrap();
    sum + third[2 + codes[2] as usize]
}

#[test]
fn cached_steps_equal_the_loss_and_the_log_probs() {
    let long: Vec<u32> = (0..11).map(|at| at * 7 % 24).collect();
    for (name, moves) in [("llama", LOW_RANK), ("qwen2", Moves::All), ("qwen3", LOW_RANK)] {
        let speaker = speaker(name, moves, 1);
        for history in [&long[..0], &long[..1], &long[..4], &long] {
            let whole: Vec<u32> = history.iter().copied().chain([17]).collect();
            let forced = loss(&speaker, &[&whole], false, Targets::Last);
            let forced = -forced.to_scalar::<f32>().unwrap();
            let cached = stepped(&speaker, history, 17);
            assert!((forced - cached).abs() < 1e-4, "{name}: {forced} {cached}");
            let completion = |history, codes| Completion { history, codes };
            let catalogue = catalogue();
            let all = [completion(1, catalogue.codes_of(3)), completion(0, catalogue.codes_of(17))];
            let mut random = source(1, 0);
            let mut training =
                Training { random: &mut random, train: false, targets: Targets::Last };
            let logs =
                speaker.log_probs(&catalogue, &[history, &[5]], &all, &mut training).unwrap();
            let sum = flat(&logs)[3..].iter().sum::<f32>();
            assert!((sum - cached).abs() < 1e-4, "{name}: {sum} {cached}");
        }
        let elsewhere = composed(|| stepped(&speaker, &long, 17));
        assert!((elsewhere - stepped(&speaker, &long, 17)).abs() < 1e-4, "{name}");
        let total: f32 = (0..24).map(|item| stepped(&speaker, &[1, 2, 3], item).exp()).sum();
        assert!((total - 1.0).abs() < 1e-4, "{name}: {total}");
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let histories: [History<'_>; 3] = [&[3, 1, 4], &[1, 5, 9, 2, 6, 5], &[8]];
    for (name, moves) in [("llama", LOW_RANK), ("qwen2", Moves::All), ("qwen3", Moves::All)] {
        let speaker = speaker(name, moves, 4);
        let of = || loss(&speaker, &histories, true, Targets::All);
        let grads = of().backward().unwrap();
        for param in speaker.params().iter() {
            let grad = flat(grads.get(param.var.as_tensor()).unwrap());
            let values = flat(param.var.as_tensor());
            // The number with the largest gradient stands above the rounding of single precision.
            let largest = |a: &usize, b: &usize| grad[*a].abs().total_cmp(&grad[*b].abs());
            let at = (0..grad.len()).max_by(largest).unwrap();
            let moved = |by: f32| {
                let mut values = values.clone();
                values[at] += by;
                let values = Tensor::from_vec(values, param.var.dims(), param.var.device());
                param.var.set(&values.unwrap()).unwrap();
                of().to_scalar::<f32>().unwrap()
            };
            let step = 3e-3;
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            moved(0.0);
            let close = (slope - grad[at]).abs() <= 0.03 * grad[at].abs() + 5e-4;
            assert!(close, "{name}, {}: {slope} {}", param.name, grad[at]);
        }
    }
}

/// What runs on other devices than the processor, walked here from the embeddings to the last gradient.
#[test]
fn composed_operations_equal_the_fused_ones() {
    let histories: [History<'_>; 3] = [&[1, 5, 2, 17], &[8, 3], &[0, 1, 2, 3, 4, 5, 6, 7]];
    for name in FAMILIES {
        let walk = || {
            let speaker = speaker(name, LOW_RANK, 3);
            let grads = loss(&speaker, &histories, true, Targets::All).backward().unwrap();
            let all = speaker.params().iter().flat_map(|p| flat(grads.get(&p.var).unwrap()));
            all.collect::<Vec<f32>>()
        };
        assert_near(&walk(), &composed(walk), 1e-4, name);
    }
}

/// Small matrices multiplied out and added to those of the base, in a base of its own, give the same answers.
#[test]
fn merged_it_says_the_same() {
    for name in FAMILIES {
        let beside = speaker(name, LOW_RANK, 6);
        let mut merged = Arc::into_inner(base(name)).unwrap();
        let var = |name: &str| -> Var {
            beside.params().iter().find(|p| p.name == name).unwrap().var.clone()
        };
        for (at, layer) in merged.weights.layers.iter_mut().enumerate() {
            let parts = [
                ("q", &mut layer.q),
                ("k", &mut layer.k),
                ("v", &mut layer.v),
                ("out", &mut layer.out),
                ("gate", &mut layer.gate),
                ("up", &mut layer.up),
                ("down", &mut layer.down),
            ];
            for (part, whole) in parts {
                let of = |which: &str| var(&format!("layers.{at}.{part}.{which}"));
                let product = of("up").matmul(of("down").as_tensor()).unwrap();
                whole.matrix = (&whole.matrix + (product * 2.0).unwrap().detach()).unwrap();
            }
        }
        let merged = speaker_over(&Arc::new(merged), Moves::All, 1);
        for param in merged.params().iter().filter(|p| p.name.starts_with("code")) {
            param.var.set(var(&param.name).as_tensor()).unwrap();
        }
        for item in [0, 9, 17] {
            let (a, b) = (stepped(&beside, &[4, 2], item), stepped(&merged, &[4, 2], item));
            assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
        }
    }
}

#[test]
fn what_is_stored_is_what_was_learned() {
    let count = |speaker: &Speaker| -> usize {
        speaker.params().iter().map(|param| param.var.elem_count()).sum()
    };
    let codes = 2 * 9 * 16; // rows in and out
    // Two layers of rank 3: width 16, four heads of queries and two of keys, of 8 numbers each, 32 units.
    let low_rank = 2 * 3 * ((16 + 32) + 2 * (16 + 16) + (32 + 16) + 2 * (16 + 32) + (32 + 16));
    let small = speaker("llama", LOW_RANK, 6);
    assert_eq!(count(&small), codes + low_rank);
    let saved = Learn::save(&small, &catalogue()).unwrap();
    let mut other = speaker("llama", LOW_RANK, 7);
    assert_ne!(stepped(&small, &[1, 2], 3), stepped(&other, &[1, 2], 3));
    Learn::load(&mut other, &catalogue(), &saved).unwrap();
    assert_eq!(stepped(&small, &[1, 2], 3), stepped(&other, &[1, 2], 3));
    let copy = small.copied().unwrap();
    assert_eq!(stepped(&small, &[1, 2], 3), stepped(&copy, &[1, 2], 3));
    // Over another base they mean something else.
    let mut elsewhere = speaker("qwen2", LOW_RANK, 7);
    let error = Learn::load(&mut elsewhere, &catalogue(), &saved).unwrap_err();
    assert_eq!(error.code(), "base-changed");
}

#[test]
fn texts_that_the_base_cannot_read_are_refused() {
    let speech = Speech { moves: LOW_RANK, prompt: "shoes:", history: 60, more: 0, dropout: 0.1 };
    let of = |speech: &Speech<'_>| {
        Speaker::new(&base("llama"), speech, &SIZES, &of_tests().1, 1).err().unwrap()
    };
    assert!(of(&speech).message().contains("but the base reads 128"));
    assert_eq!(of(&Speech { prompt: "", ..speech.clone() }).code(), "bad-option");
    let gemma = fixtures().join("gemma3");
    let config = json!({"path": gemma.to_str().unwrap()});
    let error = Base::open(&config, String::new(), &of_tests().1).err().unwrap();
    assert_eq!(error.code(), "bad-model");
    let speaker = speaker("llama", LOW_RANK, 1);
    let mut decoding = speaker.begin(&catalogue(), &[&[1]]).unwrap();
    decoding.first().unwrap();
    assert!(decoding.step(&[0], &[4]).is_err());
    assert!(decoding.step(&[1], &[0]).is_err());
}
