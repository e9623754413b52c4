//! Rollouts for training: several SIDs for each history, by the same search that answers.
//!
//! What training sees is what serving can reach: the trie bounds both, and what a user has seen is left out of both.

use rand::{Rng, RngExt};

use super::beam::{Beam, Leaf, Search, roots};
use super::rank::number;
use super::scope::Scope;
use crate::error::Result;
use crate::index::{Allowed, Catalogue, Trie};
use crate::policy::{Generate, History};
use crate::progress::Progress;

/// The log-probability of a code that leads to an item though the policy has none for it.
const LOWEST: f64 = -1e30;

/// How completions are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Draw {
    /// The likeliest, all different: constrained beam search (MiniOneRec).
    Beam,
    /// Each drawn by itself from the policy along the trie.
    Sample {
        /// Divides the log-probabilities: above 1 for more variety.
        temperature: f64,
    },
}

/// One completion.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rollout {
    /// The codes of its SID.
    pub(crate) codes: Vec<u16>,
    /// The items that have it.
    pub(crate) items: Vec<u32>,
    /// The sum of the log-probabilities of its codes.
    pub(crate) score: f32,
}

/// Who generates, and over what.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    /// The policy.
    pub(crate) policy: &'a dyn Generate,
    /// The items.
    pub(crate) catalogue: &'a Catalogue,
    /// Their trie.
    pub(crate) trie: &'a Trie,
}

/// As many completions for each history, the likeliest first; fewer only where a beam finds no more.
pub(crate) fn rollouts(
    stage: &Stage<'_>,
    histories: &[History<'_>],
    count: usize,
    draw: Draw,
    random: &mut impl Rng,
    progress: &Progress,
) -> Result<Vec<Vec<Rollout>>> {
    let Stage { policy, catalogue, trie } = *stage;
    let search = Search {
        generate: policy,
        catalogue,
        trie,
        width: count,
        seed: 0,
        variety: None,
        progress,
    };
    let allowed = Allowed::all(catalogue.len());
    let scopes: Vec<Scope<'_>> =
        histories.iter().map(|history| Scope::new(trie, &allowed, history)).collect();
    let mut leaves = match draw {
        Draw::Beam => search.leaves(histories, &scopes, None)?,
        Draw::Sample { temperature } => {
            sample(&search, histories, &scopes, (count, temperature), random)?
        }
    };
    let rollout = |leaf: &Leaf| {
        let ranks = trie.items_under(leaf.node);
        let items = trie.order()[ranks.start as usize..ranks.end as usize].to_vec();
        Rollout { codes: catalogue.codes_of(items[0]).to_vec(), items, score: leaf.score }
    };
    for leaves in &mut leaves {
        leaves.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)));
    }
    Ok(leaves.iter().map(|leaves| leaves.iter().map(rollout).collect()).collect())
}

/// Draws `count` SIDs for each history, code by code among those that lead to an item.
fn sample(
    search: &Search<'_>,
    histories: &[History<'_>],
    scopes: &[Scope<'_>],
    (count, temperature): (usize, f64),
    random: &mut impl Rng,
) -> Result<Vec<Vec<Leaf>>> {
    let repeat = |(row, scope): (u32, &Scope<'_>)| -> Vec<Beam> {
        roots(row, scope).into_iter().flat_map(|root| std::iter::repeat_n(root, count)).collect()
    };
    let mut beams: Vec<Vec<Beam>> = (0..).zip(scopes).map(repeat).collect();
    if beams.iter().all(Vec::is_empty) {
        return Ok(vec![Vec::new(); histories.len()]);
    }
    let sizes = &search.catalogue.sizes;
    let mut decoding = search.generate.begin(search.catalogue, histories)?;
    let mut logits = decoding.first()?;
    let mut weights = Vec::new();
    for (level, &size) in sizes.iter().enumerate() {
        search.progress.check()?;
        for (beams, scope) in beams.iter_mut().zip(scopes) {
            for beam in beams {
                let row = &logits[beam.row as usize * size..][..size];
                let (codes, begin) = search.trie.children(beam.node);
                weights.clear();
                weights.extend(codes.iter().zip(begin..).map(|(code, node)| {
                    let open = scope.under(node) > 0;
                    let log = f64::from(number(row[usize::from(*code)])).max(LOWEST);
                    if open { log } else { f64::NEG_INFINITY }
                }));
                let chosen = draw(&mut weights, temperature, random);
                beam.score += number(row[usize::from(codes[chosen])]);
                beam.node = begin + chosen as u32;
            }
        }
        if level + 1 < sizes.len() {
            let (parents, codes) = search.renumber(&mut beams);
            logits = decoding.step(&parents, &codes)?;
        }
    }
    let leaf = |beam: &Beam| Leaf { node: beam.node, score: beam.score };
    Ok(beams.iter().map(|beams| beams.iter().map(leaf).collect()).collect())
}

/// An index by log-weights, which are spent. One at least is not −∞.
fn draw(log_weights: &mut [f64], temperature: f64, random: &mut impl Rng) -> usize {
    let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for weight in log_weights.iter_mut() {
        *weight = ((*weight - most) / temperature).exp();
        total += *weight;
    }
    let mut left = random.random_range(0.0..1.0) * total;
    let mut last = 0;
    for (at, weight) in log_weights.iter().enumerate() {
        if *weight > 0.0 {
            last = at;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}
