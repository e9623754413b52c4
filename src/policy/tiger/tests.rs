//! Checks of `tiger`: against transformers' T5, decoding against training, gradients.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use serde_json::json;

use super::*;
use crate::device::of_tests;
use crate::index::Trie;
use crate::nn::composed;

#[derive(Deserialize)]
struct Reference {
    histories: Vec<Vec<Vec<u16>>>,
    targets: Vec<Vec<u16>>,
    /// For each level, for each history: the logarithms of all codes.
    log_probs: Vec<Vec<Vec<f32>>>,
    /// The mean over histories of what the targets cost.
    loss: f32,
}

const SIZES: [usize; 3] = [5, 4, 3];

/// Every SID is an item.
fn catalogue() -> Catalogue {
    let codes: Vec<u16> = (0..60u16).flat_map(|at| [at / 12, at / 3 % 4, at % 3]).collect();
    Catalogue::new((0..60).collect(), SIZES.to_vec(), codes)
}

fn position(codes: &[u16]) -> u32 {
    u32::from(codes[0]) * 12 + u32::from(codes[1]) * 3 + u32::from(codes[2])
}

fn tiny() -> Tiger {
    let mut config = (KIND.config)(&[]).unwrap();
    for (name, value) in [
        ("layers", json!(2)),
        ("decoder_layers", json!(2)),
        ("heads", json!(3)),
        ("head_width", json!(4)),
        ("width", json!(16)),
        ("hidden", json!(24)),
        ("dropout", json!(0.0)),
        ("distances", json!(8)),
        ("max_distance", json!(12)),
    ] {
        config.insert(name.to_owned(), value);
    }
    let config = serde_json::from_value(serde_json::Value::Object(config)).unwrap();
    Tiger::new(config, &SIZES, &of_tests().1, 1).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/policies");
    std::fs::read(folder.join(name)).unwrap()
}

/// What both ways of asking give is what transformers gives: all levels at once, and step by step.
#[test]
fn equals_the_t5_of_transformers() {
    let mut tiger = tiny();
    tiger.load(&catalogue(), &fixture("tiger.safetensors")).unwrap();
    let reference: Reference = serde_json::from_slice(&fixture("tiger.json")).unwrap();
    let positions: Vec<Vec<u32>> = reference
        .histories
        .iter()
        .map(|history| history.iter().map(|codes| position(codes)).collect())
        .collect();
    let histories: Vec<History<'_>> = positions.iter().map(Vec::as_slice).collect();
    let close = |got: &[f32], expected: &[f32]| {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 2e-4 * expected.abs().max(1.0), "{got} {expected}");
        }
    };
    let completions: Vec<Completion<'_>> = (0..)
        .zip(&reference.targets)
        .map(|(history, codes)| Completion { history, codes })
        .collect();
    let mut random = source(0, 0);
    let mut training = Training { random: &mut random, train: false, targets: Targets::Last };
    let whole = tiger.log_probs(&catalogue(), &histories, &completions, &mut training).unwrap();
    for (at, row) in whole.to_vec2::<f32>().unwrap().iter().enumerate() {
        let expected: Vec<f32> = (0..SIZES.len())
            .map(|level| reference.log_probs[level][at][usize::from(reference.targets[at][level])])
            .collect();
        close(row, &expected);
    }
    let mut beams = tiger.begin(&catalogue(), &histories).unwrap();
    let mut logs = beams.first().unwrap();
    for level in 0..SIZES.len() {
        close(&logs, &reference.log_probs[level].concat());
        if level + 1 < SIZES.len() {
            let codes: Vec<u16> = reference.targets.iter().map(|codes| codes[level]).collect();
            logs = beams.step(&[0, 1, 2], &codes).unwrap();
        }
    }
}

/// Rows of one history that part, and histories with unlike numbers of rows, keep to what is theirs.
#[test]
fn beams_give_what_whole_sids_have() {
    let tiger = tiny();
    let histories: [History<'_>; 2] = [&[3, 50, 21], &[7]];
    let sids: [(u32, [u16; 3]); 4] =
        [(1, [0, 1, 2]), (0, [4, 0, 0]), (0, [4, 3, 1]), (0, [2, 2, 2])];
    let completions: Vec<Completion<'_>> =
        sids.iter().map(|(history, codes)| Completion { history: *history, codes }).collect();
    let mut random = source(0, 0);
    let mut training = Training { random: &mut random, train: false, targets: Targets::Last };
    let whole = tiger.log_probs(&catalogue(), &histories, &completions, &mut training).unwrap();
    let whole = whole.to_vec2::<f32>().unwrap();
    let mut beams = tiger.begin(&catalogue(), &histories).unwrap();
    let mut logs = beams.first().unwrap();
    let mut parents: Vec<u32> = sids.iter().map(|(history, _)| *history).collect();
    for level in 0..SIZES.len() {
        for (at, (_, codes)) in sids.iter().enumerate() {
            let log = logs[parents[at] as usize * SIZES[level] + usize::from(codes[level])];
            assert!((log - whole[at][level]).abs() < 1e-4, "{log} {}", whole[at][level]);
        }
        if level + 1 < SIZES.len() {
            let codes: Vec<u16> = sids.iter().map(|(_, codes)| codes[level]).collect();
            logs = beams.step(&parents, &codes).unwrap();
            parents = (0..4).collect();
        }
    }
    assert!(beams.step(&[0], &[0]).is_err(), "there is no further level");
    assert_eq!(Trie::build(&catalogue()).levels(), SIZES.len());
}

/// The loss and the gradient of every weight are those of PyTorch, with fused operations and without.
#[test]
fn gradients_equal_those_of_transformers() {
    let mut tiger = tiny();
    tiger.load(&catalogue(), &fixture("tiger.safetensors")).unwrap();
    let expected = candle_core::safetensors::load_buffer(
        &fixture("tiger_gradients.safetensors"),
        &Device::Cpu,
    )
    .unwrap();
    let reference: Reference = serde_json::from_slice(&fixture("tiger.json")).unwrap();
    let whole: Vec<Vec<u32>> = reference
        .histories
        .iter()
        .zip(&reference.targets)
        .map(|(history, target)| history.iter().chain([target]).map(|c| position(c)).collect())
        .collect();
    let histories: Vec<History<'_>> = whole.iter().map(Vec::as_slice).collect();
    let check = || {
        let mut random = source(1, 0);
        let mut training = Training { random: &mut random, train: true, targets: Targets::Last };
        let loss = tiger.loss(&catalogue(), &histories, &mut training).unwrap();
        assert!((loss.to_scalar::<f32>().unwrap() - reference.loss).abs() < 1e-4);
        let grads = loss.backward().unwrap();
        for param in tiger.params.iter() {
            let grad = grads.get(param.var.as_tensor()).unwrap_or_else(|| panic!("{}", param.name));
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (ours, theirs) = (flat(grad), flat(&expected[&param.name]));
            let most = theirs.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
            assert_eq!(ours.len(), theirs.len());
            for (at, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                assert!((a - b).abs() < 1e-3 * most, "{} {at}: {a} {b}", param.name);
            }
        }
    };
    check();
    composed(check);
}

/// One pass over a history gives every item what it has after those before it alone, and a history longer than what is read
/// gives its parts.
#[test]
fn a_causal_encoder_learns_every_item_at_once() {
    let mut config = tiny().config;
    config.causal = true;
    let tiger = Tiger::new(config, &SIZES, &of_tests().1, 1).unwrap();
    let histories: [History<'_>; 3] = [&[3, 50, 21, 3], &[7], &[9, 10]];
    let loss = |histories: &[History<'_>], targets| {
        let mut random = source(0, 0);
        let mut training = Training { random: &mut random, train: false, targets };
        let loss = tiger.loss(&catalogue(), histories, &mut training).unwrap();
        loss.to_scalar::<f32>().unwrap()
    };
    let check = || {
        let ends: Vec<History<'_>> = histories
            .iter()
            .flat_map(|history| (1..=history.len()).map(|end| &history[..end]))
            .collect();
        let one_by_one: f32 = ends.iter().map(|end| loss(&[end], Targets::Last)).sum();
        let at_once = loss(&histories, Targets::All);
        assert!((one_by_one / ends.len() as f32 - at_once).abs() < 1e-4, "{one_by_one} {at_once}");
    };
    check();
    composed(check);
    let long: Vec<u32> = (0..30).collect();
    let parts: Vec<f32> =
        (21..=30).map(|end| loss(&[&long[end - 21..end]], Targets::All)).collect();
    let drawn = loss(&[&long], Targets::All);
    assert!(parts.iter().any(|part| (part - drawn).abs() < 1e-4), "{drawn} {parts:?}");
}

/// A history alone goes through the layers in parts, and its rows in as many: the answers are those of a batch.
#[test]
fn a_history_alone_is_answered_as_in_a_batch() {
    let tiger = tiny();
    let histories: [History<'_>; 3] = [&[3, 50, 21, 8, 40], &[], &[7]];
    let mut batch = tiger.begin(&catalogue(), &histories).unwrap();
    let firsts = batch.first().unwrap();
    let (parents, codes) = ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 4, 2, 1, 1, 0, 3, 2, 4]);
    let seconds = batch.step(&parents, &codes).unwrap();
    let close = |got: &[f32], expected: &[f32]| {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
    };
    for (at, history) in histories.iter().enumerate() {
        let mut alone = tiger.begin(&catalogue(), &[history]).unwrap();
        close(&alone.first().unwrap(), &firsts[at * SIZES[0]..][..SIZES[0]]);
        let rows = at * 3..at * 3 + 3;
        let second = alone.step(&[0, 0, 0], &codes[rows.clone()]).unwrap();
        close(&second, &seconds[rows.start * SIZES[1]..rows.end * SIZES[1]]);
        assert_eq!(alone.step(&[2, 0, 1, 1], &[0, 1, 2, 3]).unwrap().len(), 4 * SIZES[2]);
    }
}
