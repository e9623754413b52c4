//! Answers of a policy: the best items for a history, of either family.
//!
//! Generators are decoded along the trie (`beam.rs`), scorers are ranked (`rank.rs`); both answer only what a
//! predicate allows and a user has not seen (`scope.rs`). `top` is what RECOMMEND asks, `places` what an
//! evaluation asks, `traced` what EXPLAIN ANALYZE asks, `rollouts` what training by rewards asks.

mod beam;
mod place;
mod rank;
mod rollout;
mod scope;
mod spread;
mod variety;

use std::sync::Arc;

pub(crate) use beam::Trace;
pub(crate) use place::{Placed, places};
pub(crate) use rollout::{Draw, Rollout, Stage, rollouts};
use serde::{Deserialize, Serialize};
pub(crate) use variety::Variety;

use self::beam::{Leaf, Search};
use self::rank::Best;
use self::scope::Scope;
use self::spread::spread;
use self::variety::Varied;
use crate::error::{Error, Result};
use crate::index::{Allowed, Catalogue, Trie};
use crate::policy::{Generate, History, Policy, Score};
use crate::progress::Progress;

/// The most rows (users times beams) that are decoded together: bounds the caches of a generator.
const ROWS_MAX: usize = 4096;
/// The most users that are decoded together: a request to stop is noticed between batches and levels.
const USERS_MAX: usize = 64;

/// Where an answer comes from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Who answers.
    pub(crate) policy: &'a Policy,
    /// The items.
    pub(crate) catalogue: &'a Catalogue,
    /// The trie of the catalogue; a generator needs it.
    pub(crate) trie: Option<&'a Trie>,
    /// The items that the predicate allows, counted over the same trie.
    pub(crate) allowed: &'a Allowed,
}

/// How to answer.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// How many items.
    pub(crate) k: usize,
    /// Beams of a generator; never fewer than `k` are used.
    pub(crate) beam: usize,
    /// How they are found.
    pub(crate) decode: Decode,
    /// Whether the items of the history are left out of the answer.
    pub(crate) exclude_seen: bool,
    /// Orders items of equal score.
    pub(crate) seed: u64,
    /// At most so many items under one prefix.
    pub(crate) variety: Option<Variety>,
    /// What is added to the score of each position. A beam search does not see it: it orders what the beams end with.
    pub(crate) boost: Option<Arc<[f32]>>,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            k: 10,
            beam: 20,
            decode: Decode::Auto,
            exclude_seen: true,
            seed: 0,
            variety: None,
            boost: None,
        }
    }
}

/// How items are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decode {
    /// By scores where the policy scores every item, else by beams.
    #[default]
    Auto,
    /// By the best beams at each level of the trie, where the policy generates.
    Beam,
    /// By looking at every item that is allowed.
    Exact,
}

/// What a policy is asked as.
pub(crate) enum Way<'a> {
    /// One that scores every item.
    Score(&'a dyn Score),
    /// One that generates SIDs.
    Generate(&'a dyn Generate),
}

impl<'a> Way<'a> {
    /// What a policy is asked as when items are to be found so.
    pub(crate) fn of(policy: &'a Policy, decode: Decode) -> Self {
        match policy {
            Policy::Generate(policy) => Way::Generate(policy.as_ref()),
            Policy::Hybrid(policy) if decode == Decode::Beam => Way::Generate(policy.as_ref()),
            Policy::Hybrid(policy) => Way::Score(policy.as_ref()),
            Policy::Learned(policy) => Way::Score(policy.as_ref()),
            Policy::Score(policy) => Way::Score(policy.as_ref()),
        }
    }
}

/// One item of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// Its position in the catalogue.
    pub(crate) position: u32,
    /// The log-probability of its SID, or the scorer's own measure.
    pub(crate) score: f32,
}

/// The best items for each history, the best first: `k` of them whenever so many qualify.
pub(crate) fn top(
    source: &Source<'_>,
    histories: &[History<'_>],
    request: &Request,
    progress: &Progress,
) -> Result<Vec<Vec<Hit>>> {
    match Way::of(source.policy, request.decode) {
        Way::Score(score) => {
            scored(source, score, histories, progress, |_, scores| best(source, request, scores))
        }
        Way::Generate(generate) => {
            generated(source, generate, histories, request, progress, |_, scope, leaves| {
                hits(source, request, scope, leaves)
            })
        }
    }
}

/// The best items for one history, and what happened at each level of the beam. The trace of a scorer or of
/// exact decoding, which search nothing, is empty.
pub(crate) fn traced(
    source: &Source<'_>,
    history: History<'_>,
    request: &Request,
    progress: &Progress,
) -> Result<(Vec<Hit>, Trace)> {
    let mut trace = Trace::default();
    let generate = match Way::of(source.policy, request.decode) {
        Way::Generate(generate) if request.decode != Decode::Exact => generate,
        _ => return Ok((top(source, &[history], request, progress)?.concat(), trace)),
    };
    let search = search(source, generate, request, progress)?;
    let scope = Scope::new(search.trie, source.allowed, seen(history, request));
    let leaves =
        search.leaves(&[history], std::slice::from_ref(&scope), Some(&mut trace))?.concat();
    Ok((hits(source, request, &scope, &leaves), trace))
}

/// Runs a scorer over histories on every core and hands each one's index and scores to `answer`; scores of
/// seen items are not treated yet.
fn scored<T: Send>(
    source: &Source<'_>,
    score: &dyn Score,
    histories: &[History<'_>],
    progress: &Progress,
    answer: impl Fn(usize, &Scored<'_>) -> T + Sync,
) -> Result<Vec<T>> {
    let batches: Vec<&[History<'_>]> = histories.chunks(USERS_MAX).collect();
    let answers: Vec<Vec<T>> = spread(&batches, |batch, histories| {
        let mut scores = vec![0.0; source.catalogue.len()];
        let mut one = |(at, history): (usize, &History<'_>)| {
            progress.check()?;
            scores.fill(0.0);
            score.score(history, &mut scores)?;
            Ok(answer(at, &Scored { history, scores: &scores }))
        };
        (batch * USERS_MAX..).zip(*histories).map(&mut one).collect()
    })?;
    Ok(answers.into_iter().flatten().collect())
}

/// The scores of every item for one history.
struct Scored<'a> {
    history: History<'a>,
    scores: &'a [f32],
}

/// Decodes histories in batches on every core and hands each one's index, scope and SIDs to `answer`.
fn generated<T: Send>(
    source: &Source<'_>,
    generate: &dyn Generate,
    histories: &[History<'_>],
    request: &Request,
    progress: &Progress,
    answer: impl Fn(usize, &Scope<'_>, &[Leaf]) -> T + Sync,
) -> Result<Vec<T>> {
    let search = search(source, generate, request, progress)?;
    let exact = request.decode == Decode::Exact;
    let rows = if exact { source.allowed.count() } else { search.width };
    let users = (ROWS_MAX / rows.max(1)).clamp(1, USERS_MAX);
    let batches: Vec<&[History<'_>]> = histories.chunks(users).collect();
    let answers: Vec<Vec<T>> = spread(&batches, |batch, histories| {
        let scopes: Vec<Scope<'_>> = histories
            .iter()
            .map(|history| Scope::new(search.trie, source.allowed, seen(history, request)))
            .collect();
        let leaves = if exact {
            exhaustive(&search, source.allowed, histories, &scopes, ROWS_MAX)?
        } else {
            search.leaves(histories, &scopes, None)?
        };
        let users = scopes.iter().zip(&leaves).zip(batch * users..);
        Ok(users.map(|((scope, leaves), at)| answer(at, scope, leaves)).collect())
    })?;
    Ok(answers.into_iter().flatten().collect())
}

fn search<'a>(
    source: &Source<'a>,
    generate: &'a dyn Generate,
    request: &'a Request,
    progress: &'a Progress,
) -> Result<Search<'a>> {
    let catalogue = source.catalogue;
    let trie = source
        .trie
        .filter(|_| catalogue.levels() > 0)
        .ok_or_else(|| Error::internal("a generating policy is decoded without a trie"))?;
    let width = match request.decode {
        Decode::Exact => usize::MAX,
        Decode::Auto | Decode::Beam => request.beam.max(request.k).max(1),
    };
    // Where nothing is dropped every item is weighed at the end; thinning before would not know of the boost.
    let variety = request.variety.as_ref().filter(|_| request.decode != Decode::Exact);
    Ok(Search { generate, catalogue, trie, width, seed: request.seed, variety, progress })
}

/// Every SID that qualifies, with its likelihood: a search that drops nothing, over parts of the trie so that
/// a part has about `rows` rows for each user at most. Prefixes are computed once within a part.
fn exhaustive(
    search: &Search<'_>,
    allowed: &Allowed,
    histories: &[History<'_>],
    scopes: &[Scope<'_>],
    rows: usize,
) -> Result<Vec<Vec<Leaf>>> {
    let mut all = vec![Vec::new(); histories.len()];
    for ranks in allowed.cut(search.trie, rows) {
        let parts: Vec<Scope<'_>> = scopes.iter().map(|s| s.part(ranks.clone())).collect();
        for (all, part) in all.iter_mut().zip(search.leaves(histories, &parts, None)?) {
            all.extend(part);
        }
    }
    Ok(all)
}

/// The items that count as seen.
fn seen<'a>(history: History<'a>, request: &Request) -> History<'a> {
    if request.exclude_seen { history } else { &[] }
}

/// The best items behind SIDs; the items of a bucket share its score.
fn hits(source: &Source<'_>, request: &Request, scope: &Scope<'_>, leaves: &[Leaf]) -> Vec<Hit> {
    let items = |leaf: &Leaf| scope.items(leaf.node).zip(std::iter::repeat(leaf.score));
    pick(source, request, leaves.iter().flat_map(items))
}

/// The best items of a scorer.
fn best(source: &Source<'_>, request: &Request, scored: &Scored<'_>) -> Vec<Hit> {
    let mut seen = seen(scored.history, request).to_vec();
    seen.sort_unstable();
    let qualifies = |(position, _): &(u32, f32)| {
        source.allowed.contains(*position) && seen.binary_search(position).is_err()
    };
    pick(source, request, (0..).zip(scored.scores.iter().copied()).filter(qualifies))
}

/// The best of positions and their scores, as the request wants them.
fn pick(
    source: &Source<'_>,
    request: &Request,
    scored: impl Iterator<Item = (u32, f32)>,
) -> Vec<Hit> {
    let item = |position: u32| source.catalogue.items[position as usize];
    let boost = |position: u32| request.boost.as_ref().map_or(0.0, |of| of[position as usize]);
    let scored = scored.map(|(position, score)| (position, score + boost(position)));
    if let Some(variety) = &request.variety {
        let mut varied = Varied::new(variety, request.k, request.seed);
        scored.for_each(|(position, score)| varied.offer(position, item(position), score));
        return varied.into_hits(source.catalogue);
    }
    let mut best = Best::new(request.k, request.seed);
    scored.for_each(|(position, score)| best.offer(position, item(position), score));
    best.into_hits()
}

#[cfg(test)]
mod tests;
