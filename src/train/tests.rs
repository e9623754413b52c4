//! Checks of training: a toy task is learned, a killed run goes on as if it had not been, errors
//! are clear.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::{Cell, RefCell};

use serde_json::json;

use super::*;
use crate::device::of_tests;
use crate::kind::find;
use crate::policy::KINDS;

pub(super) const ITEMS: u32 = 24;

pub(super) fn catalogue() -> Catalogue {
    let codes = (0..ITEMS as u16).flat_map(|item| [item / 6, item / 2 % 3, item % 2]).collect();
    Catalogue::new((0..u64::from(ITEMS)).collect(), vec![4, 3, 2], codes)
}

/// What the items are like: three numbers each, of unit length.
pub(super) fn content() -> Vec<f32> {
    (0..ITEMS as i32)
        .flat_map(|item| {
            let (a, b) = ((item as f32).sin(), (item as f32 * 1.7).cos());
            let length = (a * a + b * b + 1.0).sqrt();
            [a / length, b / length, 1.0 / length]
        })
        .collect()
}

/// What the items are called; every seventh has no title.
pub(super) fn titles() -> Vec<String> {
    let title =
        |item: u32| if item.is_multiple_of(7) { String::new() } else { format!("shoe {item}") };
    (0..ITEMS).map(title).collect()
}

/// The rewards of the paper.
pub(super) fn judge(catalogue: &Catalogue) -> Judge<'_> {
    judge_by(catalogue, crate::reward::SUMS[0].1)
}

/// Rewards by name with their weights.
pub(super) fn judge_by<'a>(catalogue: &'a Catalogue, terms: &[(&str, f64)]) -> Judge<'a> {
    let known = crate::reward::Known {
        catalogue,
        levels: 3,
        quality: vec![1.0; ITEMS as usize],
        vectors: content(),
    };
    Judge { sum: crate::reward::Sum::new(terms.iter().copied()).unwrap(), known }
}

/// The next item is a function of the last alone; the first is any.
pub(super) fn histories() -> Vec<Vec<u32>> {
    let from = |first: u32| {
        std::iter::successors(Some(first), |item| Some((item * 5 + 7) % ITEMS)).take(7).collect()
    };
    (0..96).map(|at| from(at % ITEMS)).collect()
}

fn policy(dropout: f64) -> Policy {
    let kind = find(KINDS, "policy", "decoder").unwrap();
    let mut config = (kind.config)(&[]).unwrap();
    for (name, value) in [
        ("width", json!(32)),
        ("hidden", json!(48)),
        ("heads", json!(2)),
        ("dropout", json!(dropout)),
        ("buckets", json!(64)),
    ] {
        config.insert(name.to_owned(), value);
    }
    (kind.build)(&Json::Object(config), &(&catalogue()).into(), &of_tests().1, 1).unwrap()
}

fn sft(
    policy: &mut Policy,
    options: Json,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    let objective = find(OBJECTIVES, "objective", "sft").unwrap();
    let mut config = (objective.config)(&[]).unwrap();
    config.extend(options.as_object().unwrap().clone());
    let config = Json::Object(config);
    let (catalogue, histories) = (catalogue(), histories());
    let course = Course { catalogue: &catalogue, trie: None, histories: &histories, reward: None };
    train(objective, policy, &course, &config, progress, checkpoint)
}

/// As `sft`, along the trie and with rewards.
fn grpo(
    policy: &mut Policy,
    options: Json,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    let objective = find(OBJECTIVES, "objective", "grpo").unwrap();
    let mut config = (objective.config)(&[]).unwrap();
    config.extend(options.as_object().unwrap().clone());
    let (catalogue, histories) = (catalogue(), histories());
    let trie = Trie::build(&catalogue);
    let course = Course {
        catalogue: &catalogue,
        trie: Some(&trie),
        histories: &histories,
        reward: Some(judge(&catalogue)),
    };
    train(objective, policy, &course, &Json::Object(config), progress, checkpoint)
}

fn weights(policy: &Policy) -> Vec<u8> {
    policy.save(&catalogue()).unwrap()
}

/// A slot in memory that asks the work to stop at a step.
pub(super) struct Slot {
    state: RefCell<Option<Vec<u8>>>,
    steps: Cell<usize>,
    pub(super) stop: Option<(usize, Progress)>,
}

impl Slot {
    pub(super) fn new(stop: Option<(usize, Progress)>) -> Self {
        Slot { state: RefCell::new(None), steps: Cell::new(0), stop }
    }
}

impl Checkpoint for Slot {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.state.borrow().clone())
    }

    fn save(&self, state: &[u8]) -> Result<()> {
        *self.state.borrow_mut() = Some(state.to_vec());
        Ok(())
    }

    fn due(&self) -> bool {
        self.steps.set(self.steps.get() + 1);
        if let Some((step, progress)) = &self.stop
            && self.steps.get() == *step
        {
            progress.stop();
        }
        false
    }
}

#[test]
fn until_cuts_the_held_out_items() {
    assert_eq!(Until::Train.cut(&[1, 2, 3]), &[1]);
    assert_eq!(Until::Validation.cut(&[1, 2, 3]), &[1, 2]);
    assert_eq!(Until::All.cut(&[1, 2, 3]), &[1, 2, 3]);
    assert_eq!(Until::Train.cut(&[1]), &[] as &[u32]);
}

#[test]
fn defaults_are_readable() {
    for objective in OBJECTIVES {
        assert!((objective.config)(&[]).unwrap().contains_key("until"), "{}", objective.name);
    }
}

#[test]
fn a_toy_task_is_learned() {
    let mut policy = policy(0.0);
    let options = json!({ "epochs": 30, "batch": 16, "lr": 5e-3, "warmup": 10, "patience": 0 });
    let report = sft(&mut policy, options, &Progress::silent(), &crate::progress::Unsaved).unwrap();
    let last = report.epochs.last().unwrap();
    assert!(last.validation_loss.unwrap() < 0.05, "{report:?}");
    assert_eq!((report.epochs.len(), report.steps, report.samples), (30, 180, 30 * 96));
    // A cold user is met with the mean over first items: nearly uniform.
    let Policy::Generate(policy) = &policy else { panic!("a generator") };
    let first = policy.begin(&catalogue(), &[&[]]).unwrap().first().unwrap();
    assert!(first.iter().all(|log| (log.exp() - 0.25).abs() < 0.15), "{first:?}");
}

/// As on another device: composed operations, and an optimizer that works through memory.
#[test]
fn a_toy_task_is_learned_without_fused_operations() {
    let learn = || {
        let mut policy = policy(0.0);
        let options = json!({ "epochs": 3, "batch": 16, "lr": 5e-3, "warmup": 10 });
        sft(&mut policy, options, &Progress::silent(), &crate::progress::Unsaved).unwrap()
    };
    let (fused, composed) = (learn(), crate::nn::composed(learn));
    let losses = |report: &Report| -> Vec<f64> {
        report.epochs.iter().filter_map(|epoch| epoch.validation_loss).collect()
    };
    let (fused, composed) = (losses(&fused), losses(&composed));
    assert_eq!((fused.len(), composed.len()), (3, 3));
    for (a, b) in fused.iter().zip(&composed) {
        assert!((a - b).abs() < 1e-2 * a, "{fused:?} {composed:?}");
    }
}

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_been() {
    let options = json!({ "epochs": 4, "batch": 16, "lr": 2e-3, "warmup": 5 });
    let mut straight = policy(0.2);
    let whole = sft(&mut straight, options.clone(), &Progress::silent(), &Slot::new(None)).unwrap();
    // Within an epoch, at its end, and before the first step is over.
    for stop in [9, 12, 1] {
        let mut resumed = policy(0.2);
        let progress = Progress::silent();
        let mut slot = Slot::new(Some((stop, progress.clone())));
        let error = sft(&mut resumed, options.clone(), &progress, &slot).unwrap_err();
        assert!(error.is_cancelled());
        assert!(slot.state.borrow().is_some());
        slot.stop = None;
        let mut resumed = policy(0.2); // as after a restart: only the checkpoint is left
        let report = sft(&mut resumed, options.clone(), &Progress::silent(), &slot).unwrap();
        let curve = |report: &Report| -> Vec<_> {
            report.epochs.iter().map(|epoch| (epoch.loss, epoch.validation_loss)).collect()
        };
        assert_eq!(curve(&report), curve(&whole), "stopped at step {stop}");
        assert!(weights(&resumed) == weights(&straight), "stopped at step {stop}");
    }
}

#[test]
fn a_checkpoint_of_other_options_is_not_taken_up() {
    let slot = Slot::new(None);
    let options = |seed: u64| json!({ "epochs": 1, "batch": 16, "seed": seed });
    sft(&mut policy(0.0), options(1), &Progress::silent(), &slot).unwrap();
    let mut second = policy(0.0);
    let report = sft(&mut second, options(2), &Progress::silent(), &slot).unwrap();
    assert_eq!((report.steps, report.samples), (6, 96));
}

#[test]
fn early_stopping_keeps_the_best_weights() {
    // A rate this high makes the validation loss rise at some point.
    let options =
        json!({ "epochs": 60, "batch": 8, "lr": 0.5, "warmup": 0, "clip": 0.0, "patience": 2 });
    let mut policy = policy(0.0);
    let report = sft(&mut policy, options, &Progress::silent(), &Slot::new(None)).unwrap();
    assert!(report.stopped_early, "{report:?}");
    assert_eq!(report.best_epoch + 2, report.epochs.len());
    let best = report.epochs[report.best_epoch - 1].validation_loss.unwrap();
    assert!(report.epochs.iter().all(|epoch| epoch.validation_loss.unwrap() >= best));
}

#[test]
fn errors_are_clear() {
    let run = |options: Json| {
        let slot = Slot::new(None);
        sft(&mut policy(0.0), options, &Progress::silent(), &slot).unwrap_err().code()
    };
    assert_eq!(run(json!({ "epochs": 0 })), "bad-option");
    assert_eq!(run(json!({ "lr": -1.0 })), "bad-option");
    assert_eq!(run(json!({ "lr": 1e30, "warmup": 0, "epochs": 3 })), "loss-not-finite");
    let fit = find(OBJECTIVES, "objective", "fit").unwrap();
    let config = Json::Object((fit.config)(&[]).unwrap());
    let (catalogue, slot) = (catalogue(), Slot::new(None));
    let train = |histories: &[Vec<u32>], objective| {
        let mut policy = policy(0.0);
        let course = Course { catalogue: &catalogue, trie: None, histories, reward: None };
        train(objective, &mut policy, &course, &config, &Progress::silent(), &slot)
            .unwrap_err()
            .code()
    };
    assert_eq!(train(&histories(), fit), "wrong-objective");
    assert_eq!(train(&[vec![99]], fit), "internal");
    let sft = find(OBJECTIVES, "objective", "sft").unwrap();
    assert_eq!(train(&[vec![1, 2]], sft), "no-histories");
}

/// Training by rewards goes on from weights that know little, and makes the target likelier than they did.
#[test]
fn rewards_sharpen_what_was_taught() {
    let few = json!({ "epochs": 2, "batch": 48, "lr": 5e-3, "warmup": 0, "patience": 0 });
    let mut taught = policy(0.0);
    sft(&mut taught, few, &Progress::silent(), &Slot::new(None)).unwrap();
    for options in [
        json!({ "rollout": "beam" }),
        json!({ "rollout": "sample", "updates": 2 }),
        json!({ "ratio": "sid", "kl": 0.0 }),
    ] {
        let mut sharpened = policy(0.0);
        sharpened.load(&catalogue(), &weights(&taught)).unwrap();
        let mut all = json!({ "epochs": 8, "batch": 16, "lr": 2e-3, "group": 8, "warmup": 0 });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let report = grpo(&mut sharpened, all, &Progress::silent(), &Slot::new(None)).unwrap();
        let mean = |points: &[Point], name: &str| {
            points.iter().map(|point| point.figures[name]).sum::<f64>() / points.len() as f64
        };
        let (first, last) = (&report.curve[..6], &report.curve[report.curve.len() - 6..]);
        let validation = |at: usize| report.epochs[at].validation_loss.unwrap();
        assert!(validation(7) < validation(0), "{options}: {report:?}");
        // The likeliest of a beam are all different, so only what is drawn can earn more and more.
        if options["rollout"] == "sample" {
            assert!(mean(last, "reward") > mean(first, "reward") + 0.05, "{options}: {report:?}");
        }
        if options["updates"].is_null() {
            assert!(report.curve[0].figures["kl"].abs() < 1e-6, "nothing has moved yet");
        }
        assert!(mean(last, "kl") > 0.0);
    }
}

#[test]
fn a_stopped_run_by_rewards_goes_on_as_if_it_had_not_been() {
    let options = json!({ "epochs": 2, "batch": 16, "group": 4, "rollout": "sample" });
    let mut straight = policy(0.2);
    let whole =
        grpo(&mut straight, options.clone(), &Progress::silent(), &Slot::new(None)).unwrap();
    let mut stopped = policy(0.2);
    let progress = Progress::silent();
    let mut slot = Slot::new(Some((7, progress.clone())));
    assert!(grpo(&mut stopped, options.clone(), &progress, &slot).unwrap_err().is_cancelled());
    slot.stop = None;
    // As after a restart: the weights it began with come from the file, those of the run from the checkpoint.
    let mut resumed = policy(0.2);
    let report = grpo(&mut resumed, options, &Progress::silent(), &slot).unwrap();
    assert!(weights(&resumed) == weights(&straight));
    let losses =
        |report: &Report| -> Vec<_> { report.curve.iter().map(|p| p.figures["loss"]).collect() };
    assert_eq!(losses(&report), losses(&whole));
}
