//! What is more common in one set of items than in another.
//!
//! Ranked by the log-odds ratio with an informative Dirichlet prior, divided by its standard deviation (Monroe, Colaresi
//! and Quinn, *Fightin' Words*, Political Analysis 2008, equations 15 to 22). The prior is what both sets say together,
//! weighed like [`PRIOR`] mentions: a rare thing must be much more common to count, and what all have counts nothing.

use std::collections::HashMap;

/// The mentions that the prior weighs like.
const PRIOR: f64 = 500.0;
/// The least score: what is beyond it happens by chance in one case of forty.
const SIGNIFICANT: f64 = 1.96;
/// How many times as common a thing must be inside.
const MORE: f64 = 1.25;
/// In a set of so few items a score says little.
const FEW: u32 = 10;
/// The least share of the items that have a thing, so that it says something of the set.
const LEAST_SHARE: f64 = 0.03;
/// The share of the items with a word that have it in a pair of words, so that the pair says it better.
const ABSORBED: f64 = 0.6;

/// In how many items things occur, within a set and beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Contrast {
    inside: HashMap<String, u32>,
    outside: HashMap<String, u32>,
    members: u32,
    others: u32,
}

/// A thing that tells a set from another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Telling {
    /// The thing.
    pub(super) thing: String,
    /// The share of the items inside that have it.
    pub(super) inside: f64,
    /// The share of the items beside.
    pub(super) beside: f64,
}

impl Contrast {
    /// Counts what one item has, each thing once.
    pub(super) fn add(&mut self, mut things: Vec<String>, inside: bool) {
        things.sort_unstable();
        things.dedup();
        let (counts, items) = if inside {
            (&mut self.inside, &mut self.members)
        } else {
            (&mut self.outside, &mut self.others)
        };
        *items += 1;
        for thing in things {
            *counts.entry(thing).or_default() += 1;
        }
    }

    /// This set beside the rest of the inside of a larger one.
    pub(super) fn among(&self, all: &Contrast) -> Contrast {
        let rest = |(thing, count): (&String, &u32)| {
            let mine = self.inside.get(thing).copied().unwrap_or_default();
            (*count > mine).then(|| (thing.clone(), count - mine))
        };
        Contrast {
            inside: self.inside.clone(),
            outside: all.inside.iter().filter_map(rest).collect(),
            members: self.members,
            others: all.members.saturating_sub(self.members),
        }
    }

    /// Whether things come back, so that they are not names of single items.
    pub(super) fn repeats(&self) -> bool {
        let mentions: u32 = self.inside.values().chain(self.outside.values()).sum();
        let beside = self.outside.keys().filter(|thing| !self.inside.contains_key(*thing)).count();
        let distinct = self.inside.len() + beside;
        2 * distinct as u64 <= u64::from(mentions)
    }

    /// What is more common inside than beside, the most telling first.
    pub(super) fn telling(&self, most: usize) -> Vec<Telling> {
        let mut ranked: Vec<(f64, &str)> = self.scores();
        ranked.sort_by(|l, r| r.0.total_cmp(&l.0).then_with(|| l.1.cmp(r.1)));
        let mut chosen: Vec<&str> = Vec::new();
        for (_, thing) in ranked {
            if chosen.len() == most {
                break;
            }
            if !self.is_said(thing, &chosen) {
                chosen.push(thing);
            }
        }
        let share = |counts: &HashMap<String, u32>, thing: &str, of: u32| {
            f64::from(counts.get(thing).copied().unwrap_or_default()) / f64::from(of.max(1))
        };
        let telling = |thing: &str| Telling {
            thing: thing.to_owned(),
            inside: share(&self.inside, thing, self.members),
            beside: share(&self.outside, thing, self.others),
        };
        chosen.into_iter().map(telling).collect()
    }

    /// The things that are common enough, with their scores.
    fn scores(&self) -> Vec<(f64, &str)> {
        let total = |counts: &HashMap<String, u32>| counts.values().map(|n| f64::from(*n)).sum();
        let (inside, outside): (f64, f64) = (total(&self.inside), total(&self.outside));
        let all = (inside + outside).max(1.0);
        let least =
            (LEAST_SHARE * f64::from(self.members)).max(if self.members < 4 { 1.0 } else { 2.0 });
        let threshold = if self.members < FEW { 0.0 } else { SIGNIFICANT };
        let score = |thing: &str, count: u32| {
            let here = f64::from(count);
            let there = f64::from(self.outside.get(thing).copied().unwrap_or_default());
            let prior = PRIOR * (here + there) / all;
            let odds = |count: f64, of: f64| {
                let said = count + prior;
                (said / (of + PRIOR - said).max(f64::MIN_POSITIVE)).ln()
            };
            let spread = (1.0 / (here + prior) + 1.0 / (there + prior)).sqrt();
            let score = (odds(here, inside) - odds(there, outside)) / spread;
            let commoner = here * f64::from(self.others) > MORE * there * f64::from(self.members);
            (here >= least && commoner && score > threshold).then_some(score)
        };
        let all = self.inside.iter();
        all.filter_map(|(thing, count)| Some((score(thing, *count)?, thing.as_str()))).collect()
    }

    /// Whether what is chosen says a thing already: a word within a pair that most of its items have, or a pair that
    /// shares a word with a chosen pair; or whether a pair that is still to come says it better.
    fn is_said(&self, thing: &str, chosen: &[&str]) -> bool {
        let count = |thing: &str| f64::from(self.inside.get(thing).copied().unwrap_or_default());
        let absorbs = |pair: &str, word: &str| count(pair) >= ABSORBED * count(word);
        match thing.split_once(' ') {
            None => self.inside.keys().any(|pair| {
                let within = pair.split_once(' ').is_some_and(|(l, r)| l == thing || r == thing);
                within && absorbs(pair, thing)
            }),
            Some((left, right)) => chosen.iter().any(|known| match known.split_once(' ') {
                // A pair says little more than a word of it that is much more common, if it says no other word.
                None => {
                    let word = *known == left || *known == right;
                    word && !absorbs(thing, left) && !absorbs(thing, right)
                }
                Some((l, r)) => l == left || r == right || l == right || r == left,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn things(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn names(contrast: &Contrast) -> Vec<String> {
        contrast.telling(5).into_iter().map(|one| one.thing).collect()
    }

    #[test]
    fn what_all_have_tells_nothing() {
        let mut contrast = Contrast::default();
        for _ in 0..40 {
            contrast.add(things("beauty,polish"), true);
            contrast.add(things("beauty,cream"), false);
        }
        assert_eq!(names(&contrast), ["polish"]);
        let telling = &contrast.telling(1)[0];
        assert!((telling.inside - 1.0).abs() < 1e-9 && telling.beside.abs() < 1e-9);
    }

    #[test]
    fn a_pair_stands_for_its_words() {
        let mut contrast = Contrast::default();
        for at in 0..60 {
            contrast.add(things("nail,polish,nail polish"), true);
            contrast
                .add(things(if at % 2 == 0 { "cream" } else { "face,cream,face cream" }), false);
        }
        assert_eq!(names(&contrast), ["nail polish"]);
    }

    #[test]
    fn a_child_stands_beside_the_rest() {
        let (mut all, mut child) = (Contrast::default(), Contrast::default());
        for at in 0..60 {
            let item = things(if at < 30 { "polish,red" } else { "polish,blue" });
            if at < 30 {
                child.add(item.clone(), true);
            }
            all.add(item, true);
            all.add(things("cream"), false);
        }
        assert_eq!(names(&child.among(&all)), ["red"]);
    }

    #[test]
    fn names_of_single_items_do_not_repeat() {
        let mut contrast = Contrast::default();
        for at in 0..20 {
            contrast.add(vec![format!("B{at}")], at % 2 == 0);
        }
        assert!(!contrast.repeats());
        for _ in 0..30 {
            contrast.add(things("OPI"), true);
        }
        assert!(contrast.repeats());
    }
}
