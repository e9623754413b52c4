//! What every policy must do under every objective that can train it: learn a toy task, come back as it was saved, give
//! the same for the same seed, stop and go on, and answer nothing but what is allowed. Driven by the registries, so that
//! a new policy or objective is held to it by its line there.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;

use serde_json::json;

use super::tests::{ITEMS, Slot, catalogue, content, histories, judge, judge_by, titles};
use super::*;
use crate::decode::{Decode, Hit, Request, Source, Way, top};
use crate::device::of_tests;
use crate::index::Allowed;
use crate::kind::find;
use crate::model::base;
use crate::policy::{KINDS, Kind as PolicyKind, Material, Reads};
use crate::progress::Unsaved;

/// A kind of policy; one that may begin with a language model is several members.
#[derive(Clone, Copy)]
struct Member {
    kind: &'static PolicyKind,
    /// A tiny checkpoint, and the rank of what learns beside its blocks (0: they move themselves).
    base: Option<(&'static str, usize)>,
}

impl Member {
    fn name(self) -> String {
        match self.base {
            None => self.kind.name.to_owned(),
            Some((base, rank)) => format!("{} over {base}, rank {rank}", self.kind.name),
        }
    }
}

/// What policies that may begin with a language model begin with.
const BASES: [Option<(&str, usize)>; 3] = [None, Some(("llama", 8)), Some(("qwen2", 0))];

fn members() -> impl Iterator<Item = Member> {
    KINDS.iter().flat_map(|kind| {
        let count = if kind.reads(Reads::Base) { BASES.len() } else { 1 };
        BASES[..count].iter().map(move |base| Member { kind, base: *base })
    })
}

/// Small sizes for whatever has such options.
fn built(member: Member, seed: u64) -> Policy {
    let mut config = (member.kind.config)(&[]).unwrap();
    for (name, value) in [
        ("width", json!(32)),
        ("hidden", json!(48)),
        ("heads", json!(2)),
        ("dropout", json!(0.1)),
        ("buckets", json!(64)),
        ("negatives", json!(8)),
        ("head_width", json!(16)),
        ("layers", json!(1)),
        ("decoder_layers", json!(1)),
        ("temperature", json!(0.1)),
        ("prompt", json!(":")),
        ("title_tokens", json!(4)),
    ] {
        if config.contains_key(name) {
            config.insert(name.to_owned(), value);
        }
    }
    let (catalogue, content) = (catalogue(), content());
    let base = member.base.map(|(name, rank)| {
        config.insert("base".to_owned(), name.into());
        config.insert("lora".to_owned(), rank.into());
        config.insert("history".to_owned(), 8.into());
        base::of_tests(name)
    });
    let (base, titles) = (base.as_ref(), titles());
    let material =
        Material { catalogue: &catalogue, content: &content, made_by: 1, base, titles: &titles };
    (member.kind.build)(&Json::Object(config), &material, &of_tests().1, seed).unwrap()
}

/// Trains by an objective, for few steps where they are counted.
fn learn(
    policy: &mut Policy,
    objective: &str,
    epochs: usize,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    let objective = find(OBJECTIVES, "objective", objective).unwrap();
    let mut config = (objective.config)(&[]).unwrap();
    let lr = if objective.start == Start::Trained { 5e-4 } else { 5e-3 };
    for (name, value) in [
        ("epochs", json!(epochs)),
        ("batch", json!(16)),
        ("lr", json!(lr)),
        ("warmup", json!(5)),
        ("patience", json!(0)),
        ("group", json!(4)),
    ] {
        if config.contains_key(name) {
            config.insert(name.to_owned(), value);
        }
    }
    let catalogue = catalogue();
    let reward = objective.rewarded.then(|| judge(&catalogue));
    run(policy, objective, (&catalogue, reward), config, (progress, checkpoint))
}

/// Trains by an objective as it is configured.
fn run(
    policy: &mut Policy,
    objective: &Kind,
    (catalogue, reward): (&Catalogue, Option<Judge<'_>>),
    config: Map<String, Json>,
    (progress, checkpoint): (&Progress, &dyn Checkpoint),
) -> Result<Report> {
    let (trie, histories) = (Trie::build(catalogue), histories());
    let course = Course { catalogue, trie: Some(&trie), histories: &histories, reward };
    train(objective, policy, &course, &Json::Object(config), progress, checkpoint)
}

/// Epochs after which the toy task is known. Where an epoch has one target for each history, it takes more of them.
fn enough(member: Member) -> usize {
    match member {
        Member { kind, .. } if kind.name == "tiger" => 80,
        Member { kind, base } if kind.name == "lc_rec" || base.is_some() => 24,
        Member { .. } => 12,
    }
}

/// What an objective begins with: the taught weights where it goes on from such, else those of a seed.
fn start(member: Member, objective: &str, seed: u64) -> Policy {
    let mut policy = built(member, seed);
    if find(OBJECTIVES, "objective", objective).unwrap().start == Start::Trained {
        learn(&mut policy, "sft", enough(member), &Progress::silent(), &Unsaved).unwrap();
    }
    policy
}

/// Every pair of a policy and an objective.
fn pairs() -> Vec<(Member, &'static str)> {
    let of_member =
        |member: Member| member.kind.objectives.iter().map(move |objective| (member, *objective));
    members().flat_map(of_member).collect()
}

fn ask(policy: &Policy, history: &[u32], allowed: &[u32], k: usize, decode: Decode) -> Vec<Hit> {
    let catalogue = catalogue();
    let trie = Trie::build(&catalogue);
    let allowed = Allowed::only(catalogue.len(), Some(&trie), allowed.iter().copied());
    let source = Source { policy, catalogue: &catalogue, trie: Some(&trie), allowed: &allowed };
    let request = Request { k, beam: 4, decode, seed: 1, ..Request::default() };
    top(&source, &[history], &request, &Progress::silent()).unwrap().concat()
}

const WAYS: [Decode; 3] = [Decode::Auto, Decode::Beam, Decode::Exact];

#[test]
fn a_toy_task_is_learned_by_all() {
    let everything: Vec<u32> = (0..ITEMS).collect();
    for (member, objective) in pairs() {
        let mut policy = start(member, objective, 1);
        let epochs = if objective == "sft" { enough(member) } else { 2 };
        learn(&mut policy, objective, epochs, &Progress::silent(), &Unsaved).unwrap();
        if member.kind.name == "popular" {
            continue; // it cannot tell one history from another
        }
        for decode in WAYS {
            let hits = histories()[..ITEMS as usize]
                .iter()
                .filter(|history| {
                    let (before, target) = (&history[..5], history[5]);
                    let hits = ask(&policy, before, &everything, 3, decode);
                    hits.iter().any(|hit| hit.position == target)
                })
                .count();
            let name = member.name();
            assert!(hits >= 18, "{name} by {objective}, {decode:?}: {hits} of {ITEMS} found");
        }
    }
}

#[test]
fn what_is_saved_comes_back_and_seeds_repeat() {
    let everything: Vec<u32> = (0..ITEMS).collect();
    for (member, objective) in pairs() {
        let trained = || {
            let mut policy = start(member, objective, 7);
            learn(&mut policy, objective, 1, &Progress::silent(), &Unsaved).unwrap();
            policy
        };
        let (one, two) = (trained(), trained());
        let saved = one.save(&catalogue()).unwrap();
        assert!(saved == two.save(&catalogue()).unwrap(), "{} by {objective}", member.name());
        let mut back = built(member, 8);
        back.load(&catalogue(), &saved).unwrap();
        for decode in WAYS {
            let answer = |policy: &Policy| ask(policy, &[3, 22, 21], &everything, 10, decode);
            assert_eq!(answer(&one), answer(&back), "{} by {objective}", member.name());
        }
        let damaged = built(member, 8).load(&catalogue(), &saved[..saved.len() / 2]);
        assert!(damaged.is_err(), "{}: half a state was taken", member.name());
    }
}

#[test]
fn runs_stop_and_go_on() {
    for (member, objective) in pairs().into_iter().filter(|(_, objective)| *objective != "fit") {
        let mut straight = start(member, objective, 3);
        learn(&mut straight, objective, 2, &Progress::silent(), &Unsaved).unwrap();
        let progress = Progress::silent();
        let mut slot = Slot::new(Some((8, progress.clone())));
        let mut stopped = start(member, objective, 3);
        let error = learn(&mut stopped, objective, 2, &progress, &slot).unwrap_err();
        assert!(error.is_cancelled(), "{} by {objective}: {error}", member.name());
        slot.stop = None;
        // As after a restart: what it began with, and the checkpoint.
        let mut resumed = start(member, objective, 3);
        learn(&mut resumed, objective, 2, &Progress::silent(), &slot).unwrap();
        let saved = |policy: &Policy| policy.save(&catalogue()).unwrap();
        assert!(saved(&resumed) == saved(&straight), "{} by {objective}", member.name());
    }
}

#[test]
fn a_closed_form_is_cancelled_too() {
    for member in members().filter(|member| member.kind.objectives.contains(&"fit")) {
        let progress = Progress::silent();
        progress.stop();
        let error = learn(&mut built(member, 1), "fit", 1, &progress, &Unsaved).unwrap_err();
        assert!(error.is_cancelled(), "{}", member.name());
    }
}

/// A predicate leaves the order of what it allows as it is, and the answer is full.
#[test]
fn answers_keep_to_what_is_allowed() {
    let everything: Vec<u32> = (0..ITEMS).collect();
    for member in members() {
        let mut policy = built(member, 5);
        learn(&mut policy, member.kind.objectives[0], 1, &Progress::silent(), &Unsaved).unwrap();
        for (history, step) in [(&[][..], 1), (&[0, 7, 18][..], 2), (&[5][..], 5), (&[1][..], 23)] {
            let allowed: Vec<u32> = (0..ITEMS).step_by(step).collect();
            let fits = |at: &u32| allowed.contains(at) && !history.contains(at);
            let count = everything.iter().filter(|at| fits(at)).count();
            for decode in WAYS {
                let got = ask(&policy, history, &allowed, 6, decode);
                assert_eq!(got.len(), count.min(6), "{} {decode:?}", member.name());
                assert!(got.iter().all(|hit| fits(&hit.position)), "{} {decode:?}", member.name());
                let distinct: HashSet<u32> = got.iter().map(|hit| hit.position).collect();
                assert_eq!(distinct.len(), got.len());
                if matches!(Way::of(&policy, decode), Way::Generate(_)) && decode != Decode::Exact {
                    continue; // a narrow beam may lose what it would have found
                }
                let mut whole = ask(&policy, history, &everything, ITEMS as usize, decode);
                whole.retain(|hit| fits(&hit.position));
                whole.truncate(6);
                assert_eq!(got, whole, "{} {decode:?}", member.name());
            }
        }
    }
}

/// Each reward alone moves a taught policy, the same way for the same seed, and is told along the curve.
#[test]
fn every_reward_is_trained_by() {
    let decoder = find(KINDS, "policy", "decoder").unwrap();
    let member = Member { kind: decoder, base: None };
    let taught = start(member, "grpo", 1).save(&catalogue()).unwrap();
    let objective = find(OBJECTIVES, "objective", "grpo").unwrap();
    for reward in crate::reward::KINDS {
        let trained = || {
            let mut policy = built(member, 1);
            policy.load(&catalogue(), &taught).unwrap();
            let mut config = (objective.config)(&[]).unwrap();
            for (name, value) in [("epochs", 1), ("batch", 16), ("warmup", 0), ("group", 4)] {
                config.insert(name.to_owned(), value.into());
            }
            // Without the divergence, whatever moves is moved by the reward.
            config.insert("kl".to_owned(), json!(0.0));
            let catalogue = catalogue();
            let judge = judge_by(&catalogue, &[(reward.name, 1.0)]);
            let work = (&Progress::silent(), &Unsaved as &dyn Checkpoint);
            let given = (&catalogue, Some(judge));
            let report = run(&mut policy, objective, given, config, work).unwrap();
            (policy.save(&catalogue).unwrap(), report)
        };
        let (one, two) = (trained(), trained());
        assert!(one.0 == two.0, "{}: the same seed gives another policy", reward.name);
        let told = one.1.curve.iter().map(|point| point.figures[reward.name]);
        assert!(told.clone().all(f64::is_finite) && told.count() > 0, "{}", reward.name);
        // Along the trie every SID exists, so that `format` tells none from another.
        assert_eq!(one.0 == taught, reward.name == "format", "{}", reward.name);
    }
}
