//! Where the target of each history stands: what an evaluation asks of a policy.

use super::{Leaf, Request, Scope, Scored, Source, Way, generated, scored, seen};
use crate::error::Result;
use crate::index::{Allowed, Trie};
use crate::metric::Place;
use crate::policy::History;
use crate::progress::Progress;

use super::rank::number;

/// The place of one target, as an item and as a SID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Among items: what stands before it and what cannot be told from it.
    pub(crate) item: Place,
    /// Among SIDs, where naming the target's SID counts although other items share it.
    ///
    /// For a scorer, which ranks items, it is the place of the best item that shares the target's SID.
    pub(crate) sid: Place,
}

/// The place of the target of each history. A target that does not qualify (seen before, not allowed) or that
/// the beam has lost is nowhere.
///
/// A scorer ranks every item. A generator ranks the SIDs that its beam ends with, all of them when exact; the
/// items of a bucket share the place of their SID.
pub(crate) fn places(
    source: &Source<'_>,
    histories: &[History<'_>],
    targets: &[u32],
    request: &Request,
    progress: &Progress,
) -> Result<Vec<Placed>> {
    match Way::of(source.policy, request.decode) {
        Way::Score(score) => scored(source, score, histories, progress, |at, scores| {
            of_scores(source, request, scores, targets[at])
        }),
        Way::Generate(generate) => {
            generated(source, generate, histories, request, progress, |at, scope, leaves| {
                source.trie.map_or(NOWHERE, |trie| of_leaves(trie, scope, leaves, targets[at]))
            })
        }
    }
}

const NOWHERE: Placed = Placed { item: Place::NOWHERE, sid: Place::NOWHERE };

fn of_leaves(trie: &Trie, scope: &Scope<'_>, leaves: &[Leaf], target: u32) -> Placed {
    let node = trie.leaf(target);
    let Some(own) = leaves.iter().find(|leaf| leaf.node == node) else { return NOWHERE };
    let mut placed = NOWHERE;
    let (item, sid) = (&mut placed.item, &mut placed.sid);
    *sid = Place { before: 0, tied: 0 };
    *item = *sid;
    for leaf in leaves {
        if leaf.score > own.score {
            sid.before += 1;
            item.before += scope.under(leaf.node);
        } else if leaf.score == own.score {
            sid.tied += 1;
            item.tied += scope.under(leaf.node);
        }
    }
    if !scope.items(node).any(|position| position == target) {
        *item = Place::NOWHERE;
    }
    placed
}

fn of_scores(source: &Source<'_>, request: &Request, scored: &Scored<'_>, target: u32) -> Placed {
    let mut seen = seen(scored.history, request).to_vec();
    seen.sort_unstable();
    seen.dedup();
    let allowed = source.allowed;
    let qualifies =
        |position: &u32| allowed.contains(*position) && seen.binary_search(position).is_err();
    let score = |position: u32| number(scored.scores[position as usize]);
    let at = |score: f32| place(allowed, &seen, scored.scores, score);

    let item = if qualifies(&target) { at(score(target)) } else { Place::NOWHERE };
    let Some(trie) = source.trie else { return Placed { item, sid: item } };
    let siblings = trie.items_under(trie.leaf(target));
    let best = trie.order()[siblings.start as usize..siblings.end as usize]
        .iter()
        .filter(|position| qualifies(position))
        .map(|position| score(*position))
        .max_by(f32::total_cmp);
    let sid = match best {
        None => Place::NOWHERE,
        Some(best) if item != Place::NOWHERE && best == score(target) => item,
        Some(best) => at(best),
    };
    Placed { item, sid }
}

/// Where a score stands among the qualifying items.
fn place(allowed: &Allowed, seen: &[u32], scores: &[f32], score: f32) -> Place {
    let mut place = Place { before: 0, tied: 0 };
    let mut count = |other: f32, step: u32| {
        let other = number(other);
        // Wrapping: seen items are added with all others and then taken away.
        place.before = place.before.wrapping_add(if other > score { step } else { 0 });
        place.tied = place.tied.wrapping_add(if other == score { step } else { 0 });
    };
    if allowed.is_all() {
        for other in scores {
            count(*other, 1);
        }
    } else {
        for (_, other) in (0..).zip(scores).filter(|(position, _)| allowed.contains(*position)) {
            count(*other, 1);
        }
    }
    for position in seen.iter().filter(|position| allowed.contains(**position)) {
        count(scores[*position as usize], 1_u32.wrapping_neg());
    }
    place
}
