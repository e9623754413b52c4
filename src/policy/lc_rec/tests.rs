//! Checks of `lc_rec`: what each task asks, what learning titles brings, options. Decoding is that of `decoder` over a base
//! (`language/tests.rs`), and the conformance suite trains both forms.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::device::{of_tests, source};
use crate::nn::{AdamW, clip};
use crate::options::Given;

fn catalogue() -> Catalogue {
    let codes = (0..24u16).flat_map(|item| [item / 6, item / 2 % 3, item % 2]).collect();
    Catalogue::new((0..24).collect(), vec![4, 3, 2], codes)
}

/// Titles that tell the first code by their first letter.
fn titles() -> Vec<String> {
    (0..24)
        .map(|item| format!("{} {}", ["ball", "shoe", "tent", "rope"][item / 6], item % 6))
        .collect()
}

fn policy(config: Config) -> LcRec {
    let (catalogue, titles) = (catalogue(), titles());
    let material = Material { titles: &titles, ..Material::from(&catalogue) };
    LcRec::new(config, &material, &of_tests().1, 1).unwrap()
}

fn small() -> Config {
    Config { width: 32, hidden: 48, heads: 2, layers: 1, dropout: 0.0, ..Config::default() }
}

const HISTORIES: [History<'_>; 3] = [&[3, 1, 4, 1], &[5, 9], &[23]];

fn loss(policy: &LcRec, targets: Targets) -> f32 {
    let mut random = source(5, 0);
    let mut training = Training { random: &mut random, train: true, targets };
    policy.loss(&catalogue(), &HISTORIES, &mut training).unwrap().to_scalar().unwrap()
}

/// Each task adds its own part, times its weight; validation asks for SIDs alone.
#[test]
fn the_loss_is_the_weighted_sum_of_the_tasks() {
    let of = |weights: [f64; 3]| {
        let [title_to_sid, sid_to_title, history_to_title] = weights;
        let config = Config { title_to_sid, sid_to_title, history_to_title, ..small() };
        let policy = policy(config);
        (loss(&policy, Targets::All), loss(&policy, Targets::Last))
    };
    let (none, last) = of([0.0; 3]);
    let parts =
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|weights| of(weights).0 - none);
    // Codes are alike at first: a SID costs log 4 + log 3 + log 2. Words are not among them.
    let sid = 24f32.ln();
    assert!((none - sid).abs() < 1e-4 && (parts[0] - sid).abs() < 1e-4, "{none} {parts:?}");
    assert!(parts[1] > 3.0 && parts[2] > 3.0, "{parts:?}");
    let (all, also_last) = of([0.5, 2.0, 1.0]);
    let expected = none + 0.5 * parts[0] + 2.0 * parts[1] + parts[2];
    assert!((all - expected).abs() < 1e-3, "{all} {expected}");
    assert_eq!(last, also_last);
}

/// Learning what titles say of codes alone, it knows the first code of a title that it has never seen with its SID.
#[test]
fn titles_tell_codes() {
    let mut policy = policy(Config { sid_to_title: 0.0, history_to_title: 0.0, ..small() });
    let unseen = 8; // `shoe 2`
    let catalogue = catalogue();
    let all: Vec<u32> = (0..24).filter(|item| *item != unseen).collect();
    policy.count(&catalogue, &[&all], &Progress::silent()).unwrap();
    let histories: Vec<History<'_>> = all.chunks(1).collect();
    let mut optimizer = AdamW::new(policy.params(), 0.0);
    for step in 0..60 {
        let mut random = source(1, step);
        let mut training = Training { random: &mut random, train: true, targets: Targets::All };
        let loss = policy.loss(&catalogue, &histories, &mut training).unwrap();
        let grads = loss.backward().unwrap();
        let (grads, _) = clip(policy.params(), &grads, 1.0).unwrap();
        optimizer.step(policy.params(), &grads, 5e-3).unwrap();
    }
    let [before, behind] = &policy.words.title;
    let text = [before, policy.title(unseen), behind].concat();
    let cost = |code: u16| -> f32 {
        let mut lesson = Lesson::default();
        policy.speaker.answer(&mut lesson, &text, &[code]);
        let mut random = source(1, 0);
        let mut training = Training { random: &mut random, train: false, targets: Targets::All };
        let [codes, words] =
            policy.speaker.learned(lesson, &mut policy.speaker.dropout(&mut training)).unwrap();
        assert!(words.is_none());
        codes.unwrap().to_scalar().unwrap()
    };
    let costs = [0, 1, 2, 3].map(cost);
    let best = (0..4).min_by(|a, b| costs[*a].total_cmp(&costs[*b])).unwrap();
    assert_eq!(best, 1, "{costs:?}");
}

#[test]
fn what_is_refused() {
    let given = |options: serde_json::Value| -> Vec<Given> {
        let options = options.as_object().unwrap().clone().into_iter();
        options.map(|(name, value)| Given { name, value, span: 0..1 }).collect()
    };
    let code = |options| (KIND.config)(&given(options)).unwrap_err().code().to_owned();
    for options in [
        json!({"width": 30}),
        json!({"title_to_sid": -1.0}),
        json!({"lora": 4}),
        json!({"base": "b", "width": 64}),
        json!({"title_tokens": 0}),
    ] {
        assert_eq!(code(options.clone()), "bad-option", "{options}");
    }
    let over_base = (KIND.config)(&given(json!({"base": "b"}))).unwrap();
    assert_eq!(over_base["dropout"], json!(0.05));
    let untitled = LcRec::new(small(), &(&catalogue()).into(), &of_tests().1, 1);
    let error = untitled.unwrap().count(&catalogue(), &[&[1]], &Progress::silent()).unwrap_err();
    assert_eq!(error.code(), "no-titles");
}
