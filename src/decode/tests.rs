//! Beam search and ranking against brute force, over random policies with many ties.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{HashMap, HashSet};

use candle_core::Tensor;
use proptest::prelude::*;

use super::rank::{number, tie};
use super::*;
use crate::metric::Place;
use crate::policy::{Completion, Decoding, Fit, Learn, Training};

/// A generator whose log-probabilities are a hash of history and prefix, in few distinct values; now and
/// then one is not a number.
struct Random {
    seed: u64,
    sizes: Vec<usize>,
}

impl Random {
    fn row(&self, history: &[u32], prefix: &[u16]) -> Vec<f32> {
        let mut state = self.seed;
        for number in history.iter().copied().chain(prefix.iter().map(|code| (*code).into())) {
            state = tie(state, number.into());
        }
        let size = self.sizes[prefix.len()] as u64;
        let value = |code| match tie(state, code) % 9 {
            0 => f32::NAN,
            level => -(level as f32) / 3.0,
        };
        (0..size).map(value).collect()
    }

    fn likelihood(&self, history: &[u32], codes: &[u16]) -> f32 {
        let code =
            |level: usize| number(self.row(history, &codes[..level])[usize::from(codes[level])]);
        (0..codes.len()).map(code).fold(0.0, |sum, next| sum + next)
    }
}

struct Rows<'a> {
    policy: &'a Random,
    rows: Vec<(Vec<u32>, Vec<u16>)>,
}

impl Rows<'_> {
    fn logits(&self) -> Vec<f32> {
        self.rows.iter().flat_map(|(history, prefix)| self.policy.row(history, prefix)).collect()
    }
}

impl Decoding for Rows<'_> {
    fn first(&mut self) -> Result<Vec<f32>> {
        Ok(self.logits())
    }

    fn step(&mut self, parents: &[u32], codes: &[u16]) -> Result<Vec<f32>> {
        let grown = parents.iter().zip(codes).map(|(parent, code)| {
            let (history, mut prefix) = self.rows[*parent as usize].clone();
            prefix.push(*code);
            (history, prefix)
        });
        self.rows = grown.collect();
        Ok(self.logits())
    }
}

impl Learn for Random {
    fn params(&self) -> &crate::nn::Params {
        unreachable!("decoding asks for no variable")
    }

    fn loss(
        &self,
        _catalogue: &Catalogue,
        _histories: &[History<'_>],
        _training: &mut Training<'_>,
    ) -> Result<Tensor> {
        Err(Error::internal("this policy does not learn"))
    }
}

impl Generate for Random {
    fn begin<'a>(
        &'a self,
        _catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + 'a>> {
        let rows = histories.iter().map(|history| (history.to_vec(), Vec::new())).collect();
        Ok(Box::new(Rows { policy: self, rows }))
    }

    fn log_probs(
        &self,
        _: &Catalogue,
        _: &[History<'_>],
        _: &[Completion<'_>],
        _: &mut Training<'_>,
    ) -> Result<Tensor> {
        Err(Error::internal("this policy does not learn"))
    }

    fn copy(&self) -> Result<Box<dyn Generate>> {
        Err(Error::internal("this policy does not learn"))
    }
}

impl Score for Random {
    fn score(&self, history: History<'_>, scores: &mut [f32]) -> Result<()> {
        for (position, score) in scores.iter_mut().enumerate() {
            let state = history.iter().fold(self.seed, |state, at| tie(state, (*at).into()));
            *score = match tie(state, position as u64) % 5 {
                0 => f32::NAN,
                level => level as f32,
            };
        }
        Ok(())
    }
}

impl Fit for Random {
    fn fit(&mut self, _: &Catalogue, _: &[Vec<u32>], _: &Progress) -> Result<()> {
        Ok(())
    }

    fn save(&self, _: &Catalogue) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn load(&mut self, _: &Catalogue, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// A small catalogue with colliding SIDs, a filter, histories and a request.
#[derive(Clone, Debug)]
struct World {
    catalogue: Catalogue,
    filter: Option<Vec<u32>>,
    histories: Vec<Vec<u32>>,
    request: Request,
    seed: u64,
    generates: bool,
}

fn worlds() -> impl Strategy<Value = World> {
    let sizes = prop::collection::vec(1_usize..6, 1..4);
    let shape = (sizes, 1_usize..50);
    shape.prop_flat_map(|(sizes, items)| {
        let code: Vec<_> = sizes.iter().map(|size| 0..*size as u16).collect();
        let some = 0..items as u32;
        (
            prop::collection::vec(code, items),
            Just(sizes),
            prop::option::of(prop::collection::vec(some.clone(), 0..items)),
            prop::collection::vec(prop::collection::vec(some, 0..8), 1..6),
            (0_usize..15, 0_usize..15, any::<bool>(), any::<bool>(), any::<u64>(), any::<bool>()),
        )
            .prop_map(|(codes, sizes, filter, histories, rest)| {
                let (k, beam, exact, exclude_seen, seed, generates) = rest;
                let decode = if exact { Decode::Exact } else { Decode::Auto };
                let items = (0..codes.len() as u64).map(|at| 3 * at + 1).collect();
                let catalogue = Catalogue::new(items, sizes, codes.concat());
                let request = Request { k, beam, decode, exclude_seen, seed, ..Request::default() };
                World { catalogue, filter, histories, request, seed, generates }
            })
    })
}

impl World {
    fn policy(&self) -> Policy {
        let policy = Random { seed: self.seed, sizes: self.catalogue.sizes.clone() };
        let policy = Box::new(policy);
        if self.generates { Policy::Generate(policy) } else { Policy::Score(policy) }
    }

    /// Runs `ask` with everything that decoding needs.
    fn ask<T>(&self, ask: impl FnOnce(&Source<'_>, &[History<'_>]) -> T) -> T {
        let trie = Trie::build(&self.catalogue);
        let allowed = match &self.filter {
            None => Allowed::all(self.catalogue.len()),
            Some(some) => Allowed::only(self.catalogue.len(), Some(&trie), some.iter().copied()),
        };
        let policy = self.policy();
        let catalogue = &self.catalogue;
        let source = Source { policy: &policy, catalogue, trie: Some(&trie), allowed: &allowed };
        let histories: Vec<History<'_>> = self.histories.iter().map(Vec::as_slice).collect();
        ask(&source, &histories)
    }

    fn qualifies(&self, history: &[u32], position: u32) -> bool {
        self.filter.as_ref().is_none_or(|some| some.contains(&position))
            && !(self.request.exclude_seen && history.contains(&position))
    }

    /// Every qualifying item with its score, the best first.
    fn ranking(&self, history: &[u32]) -> Vec<Hit> {
        let policy = Random { seed: self.seed, sizes: self.catalogue.sizes.clone() };
        let mut scores = vec![0.0; self.catalogue.len()];
        if self.generates {
            for (position, score) in (0..).zip(&mut scores) {
                *score = policy.likelihood(history, self.catalogue.codes_of(position));
            }
        } else {
            policy.score(history, &mut scores).unwrap();
        }
        let hit = |position: u32| Hit { position, score: number(scores[position as usize]) };
        let mut hits: Vec<Hit> = (0..self.catalogue.len() as u32)
            .filter(|position| self.qualifies(history, *position))
            .map(hit)
            .collect();
        hits.sort_by(|a, b| {
            let tied =
                |hit: &Hit| tie(self.request.seed, self.catalogue.items[hit.position as usize]);
            b.score.total_cmp(&a.score).then(tied(b).cmp(&tied(a)))
        });
        hits
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_wide_beam_and_exact_decoding_are_exhaustive(mut world in worlds()) {
        world.request.beam = if world.request.decode == Decode::Exact { 1 } else { world.catalogue.len() };
        let got = world.ask(|source, histories| {
            top(source, histories, &world.request, &Progress::silent()).unwrap()
        });
        for (history, got) in world.histories.iter().zip(got) {
            let mut expected = world.ranking(history);
            expected.truncate(world.request.k);
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn any_beam_gives_a_full_answer(world in worlds()) {
        let got = world.ask(|source, histories| {
            top(source, histories, &world.request, &Progress::silent()).unwrap()
        });
        for (history, got) in world.histories.iter().zip(got) {
            let ranking = world.ranking(history);
            prop_assert_eq!(got.len(), world.request.k.min(ranking.len()));
            let distinct: HashSet<u32> = got.iter().map(|hit| hit.position).collect();
            prop_assert_eq!(distinct.len(), got.len());
            prop_assert!(got.iter().all(|hit| ranking.contains(hit)), "a wrong item or score");
            prop_assert!(got.is_sorted_by(|a, b| a.score >= b.score));
        }
    }

    /// A policy that can do both scores every item unless it is told to generate.
    #[test]
    fn a_hybrid_does_either(mut world in worlds(), beam: bool) {
        world.request.decode = if beam { Decode::Beam } else { Decode::Auto };
        let ask = |world: &World, hybrid: bool| world.ask(|source, histories| {
            let (seed, sizes) = (world.seed, world.catalogue.sizes.clone());
            let both = Policy::Hybrid(Box::new(Random { seed, sizes }));
            let source = if hybrid { Source { policy: &both, ..*source } } else { *source };
            top(&source, histories, &world.request, &Progress::silent()).unwrap()
        });
        world.generates = beam;
        prop_assert_eq!(ask(&world, true), ask(&world, false));
    }

    #[test]
    fn parts_of_the_trie_lose_and_repeat_nothing(mut world in worlds(), rows in 1_usize..6) {
        (world.generates, world.request.decode) = (true, Decode::Exact);
        world.ask(|source, histories| {
            let Way::Generate(generate) = Way::of(source.policy, Decode::Exact) else { unreachable!() };
            let progress = Progress::silent();
            let search = search(source, generate, &world.request, &progress).unwrap();
            let scope = |history: &History<'_>| {
                Scope::new(search.trie, source.allowed, seen(history, &world.request))
            };
            let scopes: Vec<Scope<'_>> = histories.iter().map(scope).collect();
            let whole = search.leaves(histories, &scopes, None).unwrap();
            let parts = exhaustive(&search, source.allowed, histories, &scopes, rows).unwrap();
            for (mut whole, mut parts) in whole.into_iter().zip(parts) {
                whole.sort_by_key(|leaf| leaf.node);
                parts.sort_by_key(|leaf| leaf.node);
                prop_assert_eq!(whole, parts);
            }
            Ok(())
        })?;
    }

    #[test]
    fn places_count_what_is_better_and_equal(mut world in worlds(), pick: u32) {
        world.request.beam = world.catalogue.len();
        let target = pick % world.catalogue.len() as u32;
        let targets = vec![target; world.histories.len()];
        let placed = world.ask(|source, histories| {
            places(source, histories, &targets, &world.request, &Progress::silent()).unwrap()
        });
        for (history, placed) in world.histories.iter().zip(placed) {
            let ranking = world.ranking(history);
            let expected = match ranking.iter().find(|hit| hit.position == target) {
                None => Place::NOWHERE,
                Some(own) => Place {
                    before: ranking.iter().filter(|hit| hit.score > own.score).count() as u32,
                    tied: ranking.iter().filter(|hit| hit.score == own.score).count() as u32,
                },
            };
            prop_assert_eq!(placed.item, expected);
            let sid = |hit: &Hit| world.catalogue.codes_of(hit.position).to_vec();
            let own = world.catalogue.codes_of(target);
            let best = ranking.iter().find(|hit| sid(hit) == own).map(|hit| hit.score);
            let better: Vec<&Hit> =
                ranking.iter().filter(|hit| best.is_some_and(|best| hit.score > best)).collect();
            let before = if world.generates {
                better.iter().map(|hit| sid(hit)).collect::<HashSet<_>>().len()
            } else {
                better.len()
            };
            prop_assert_eq!(best.is_some(), placed.sid != Place::NOWHERE);
            prop_assert!(best.is_none() || placed.sid.before == before as u32);
            if world.generates && best.is_some() {
                let equal = ranking.iter().filter(|hit| Some(hit.score) == best).map(sid);
                prop_assert_eq!(placed.sid.tied as usize, equal.collect::<HashSet<_>>().len());
            }
        }
    }

    #[test]
    fn a_trace_tells_the_search_that_was_made(mut world in worlds()) {
        (world.generates, world.request.decode) = (true, Decode::Beam);
        let history = world.histories[0].clone();
        let (hits, trace) = world.ask(|source, histories| {
            let progress = Progress::silent();
            let (hits, trace) = traced(source, histories[0], &world.request, &progress).unwrap();
            let top = top(source, &histories[..1], &world.request, &progress).unwrap();
            assert_eq!(hits, top[0]);
            (hits, trace)
        });
        let qualifying = world.ranking(&history).len();
        if qualifying == 0 {
            prop_assert!(hits.is_empty() && trace.levels.is_empty());
            return Ok(());
        }
        prop_assert_eq!(trace.levels.len(), world.catalogue.levels());
        for (level, step) in trace.levels.iter().enumerate() {
            prop_assert_eq!(step.children, step.masked + step.dropped + step.kept.len());
            prop_assert!(step.kept.len() <= world.request.beam.max(world.request.k).max(1));
            for beam in &step.kept {
                prop_assert_eq!(beam.prefix.len(), level + 1);
                let under = (0..world.catalogue.len() as u32).filter(|position| {
                    world.catalogue.codes_of(*position).starts_with(&beam.prefix)
                        && world.qualifies(&history, *position)
                });
                prop_assert_eq!(under.count() as u32, beam.items);
            }
        }
    }
}

proptest! {
    #[test]
    fn varied_answers_are_full_and_keep_to_their_limit(
        mut world in worlds(),
        length in 0_usize..4,
        most in 1_usize..4,
        boost in prop::option::of(0_u8..3),
    ) {
        let trie = Trie::build(&world.catalogue);
        let length = length.min(trie.levels());
        world.request.variety = Some(Variety::of_trie(&trie, length, most));
        let boosts: Vec<f32> =
            (0..world.catalogue.len()).map(|at| (at % 3) as f32 * f32::from(boost.unwrap_or(0))).collect();
        world.request.boost = boost.map(|_| boosts.as_slice().into());
        let answers = world.ask(|source, histories| {
            top(source, histories, &world.request, &Progress::silent()).unwrap()
        });
        for (history, answer) in world.histories.iter().zip(answers) {
            let prefix = |position: u32| &world.catalogue.codes_of(position)[..length];
            let mut ranking = world.ranking(history);
            for hit in &mut ranking {
                hit.score += boosts[hit.position as usize];
            }
            let item = |hit: &Hit| world.catalogue.items[hit.position as usize];
            let key = |hit: &Hit| (hit.score, tie(world.request.seed, item(hit)));
            ranking.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap());
            let mut counts: HashMap<&[u16], usize> = HashMap::new();
            ranking.retain(|hit| {
                let count = counts.entry(prefix(hit.position)).or_default();
                *count += 1;
                *count <= most
            });
            ranking.truncate(world.request.k);
            prop_assert_eq!(answer.len(), ranking.len());
            if world.request.decode == Decode::Exact || !world.generates {
                prop_assert_eq!(&answer, &ranking);
            }
            let mut counts: HashMap<&[u16], usize> = HashMap::new();
            for hit in &answer {
                let count = counts.entry(prefix(hit.position)).or_default();
                *count += 1;
                prop_assert!(*count <= most);
                prop_assert!(world.qualifies(history, hit.position));
            }
        }
    }
}

#[test]
fn a_stop_is_noticed_in_either_family() {
    let catalogue = Catalogue::new(vec![1, 2], vec![2], vec![0, 1]);
    let request = Request { k: 1, beam: 1, exclude_seen: false, ..Request::default() };
    let mut world = World {
        catalogue,
        filter: None,
        histories: vec![vec![0]],
        request,
        seed: 0,
        generates: true,
    };
    let progress = Progress::silent();
    progress.stop();
    for generates in [true, false] {
        world.generates = generates;
        let result = world.ask(|source, shown| top(source, shown, &world.request, &progress));
        assert!(result.unwrap_err().is_cancelled());
    }
}

proptest! {
    /// A beam of rollouts is what an answer would be; samples are SIDs that the user has not seen, and with a low
    /// temperature the likeliest ones.
    #[test]
    fn rollouts_follow_the_trie(seed: u64, items in 1_u32..40, history in prop::collection::vec(0_u32..40, 0..5)) {
        let sizes = vec![3, 4];
        let sids = (0..items as u16).flat_map(|item| [item % 3, item / 3 % 4]).collect();
        let catalogue = Catalogue::new((0..u64::from(items)).collect(), sizes.clone(), sids);
        let trie = Trie::build(&catalogue);
        let policy = Random { seed, sizes };
        let history: Vec<u32> = history.into_iter().filter(|item| *item < items).collect();
        let stage = Stage { policy: &policy, catalogue: &catalogue, trie: &trie };
        let roll = |draw| {
            let random = &mut crate::device::source(seed, 1);
            rollouts(&stage, &[&history], 6, draw, random, &Progress::silent()).unwrap().concat()
        };
        let open: HashSet<u16> = (0..items).filter(|item| !history.contains(item)).map(|item| item as u16 % 12).collect();
        for draw in [Draw::Beam, Draw::Sample { temperature: 1.0 }] {
            let found = roll(draw);
            let expected = if draw == Draw::Beam { open.len().min(6) } else if open.is_empty() { 0 } else { 6 };
            prop_assert_eq!(found.len(), expected);
            prop_assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            for one in &found {
                prop_assert!(open.contains(&(one.items[0] as u16 % 12)));
                prop_assert!(one.items.iter().all(|item| catalogue.codes_of(*item) == one.codes));
                let score = policy.likelihood(&history, &one.codes);
                prop_assert!(one.score == score || (one.score - score).abs() < 1e-4);
            }
        }
        prop_assert_eq!(roll(Draw::Sample { temperature: 0.7 }), roll(Draw::Sample { temperature: 0.7 }));
    }
}
