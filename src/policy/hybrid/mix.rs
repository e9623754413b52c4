//! The mixture of what was learned, what was counted and what is alike, and how validation chooses its weights.

use super::Hybrid;
use crate::error::Result;
use crate::policy::History;
use crate::progress::Progress;

/// Steps between 0 and 1 that are tried for each weight.
const STEPS: u32 = 20;
/// Ranks that earn something, as in NDCG@10.
const RANKS: usize = 10;

/// How much each part weighs; the model has what is left of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mix {
    /// The weight of the graph.
    pub(super) graph: f32,
    /// The weight of content.
    pub(super) content: f32,
}

/// What each part says of every item for one history: shares of 1, or zeros where a part knows nothing.
pub(super) struct Parts {
    pub(super) model: Vec<f32>,
    pub(super) graph: Vec<f32>,
    pub(super) content: Vec<f32>,
}

impl Parts {
    /// Parts that know nothing of `items` items.
    pub(super) fn new(items: usize) -> Self {
        Parts { model: vec![0.0; items], graph: vec![0.0; items], content: vec![0.0; items] }
    }

    /// The parts of one item.
    fn of(&self, at: usize) -> [f32; 3] {
        [self.model[at], self.graph[at], self.content[at]]
    }
}

impl Mix {
    fn weights(self) -> [f32; 3] {
        [1.0 - self.graph - self.content, self.graph, self.content]
    }

    /// The mixture for every item.
    pub(super) fn apply(self, parts: &Parts, scores: &mut [f32]) {
        let weights = self.weights();
        for (at, score) in scores.iter_mut().enumerate() {
            *score = sum(weights, parts.of(at));
        }
    }
}

fn sum(weights: [f32; 3], parts: [f32; 3]) -> f32 {
    weights[0] * parts[0] + weights[1] * parts[1] + weights[2] * parts[2]
}

/// The mixture with the best NDCG@10 on histories that end with their target; none without histories. Of equal ones,
/// the one with less of the graph and of content.
pub(super) fn chosen(
    policy: &Hybrid,
    validated: &[History<'_>],
    progress: &Progress,
) -> Result<Option<Mix>> {
    progress.stage("mix", validated.len() as u64);
    let tried = tried(policy.has_content());
    let mut gains = vec![0f64; tried.len()];
    for history in validated {
        progress.check()?;
        progress.advance(1);
        let Some((target, history)) = history.split_last() else { continue };
        let mut parts = policy.parts(history)?;
        for &seen in history {
            // What is seen is not recommended.
            for part in [&mut parts.model, &mut parts.graph, &mut parts.content] {
                part[seen as usize] = 0.0;
            }
        }
        let rivals = rivals(&parts, *target as usize);
        for (mix, gain) in tried.iter().zip(&mut gains) {
            *gain += self::gain(mix.weights(), &rivals, parts.of(*target as usize));
        }
    }
    let mut best: Option<(Mix, f64)> = None;
    for (mix, gain) in tried.into_iter().zip(gains) {
        if best.is_none_or(|(_, most)| gain > most) {
            best = Some((mix, gain));
        }
    }
    Ok(best.filter(|_| !validated.is_empty()).map(|(mix, _)| mix))
}

/// The mixtures that are tried, with content in them where there is some.
fn tried(content: bool) -> Vec<Mix> {
    let of = |step: u32| step as f32 / STEPS as f32;
    let most = move |graph: u32| if content { STEPS - graph } else { 0 };
    let pairs = (0..=STEPS).flat_map(|graph| (0..=most(graph)).map(move |other| (graph, other)));
    pairs.map(|(graph, content)| Mix { graph: of(graph), content: of(content) }).collect()
}

/// The items that some part has before the target; no mixture puts another there.
fn rivals(parts: &Parts, target: usize) -> Vec<[f32; 3]> {
    let own = parts.of(target);
    let before = |other: &[f32; 3]| other.iter().zip(own).any(|(other, own)| *other > own);
    (0..parts.model.len()).map(|at| parts.of(at)).filter(before).collect()
}

/// What the rank of the target earns.
fn gain(weights: [f32; 3], rivals: &[[f32; 3]], target: [f32; 3]) -> f64 {
    let own = sum(weights, target);
    // What a mixture cannot tell from the target stands before it: one that knows nothing must not win.
    let before = rivals.iter().filter(|other| sum(weights, **other) >= own).take(RANKS).count();
    if before < RANKS { 1.0 / ((before + 2) as f64).log2() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts {
            model: vec![0.5, 0.3, 0.2],
            graph: vec![0.0, 0.0, 1.0],
            content: vec![0.3, 0.4, 0.3],
        }
    }

    #[test]
    fn ranks_earn_what_ndcg_gives() {
        let parts = parts();
        let at = |graph: f32, content: f32, target: usize| {
            gain(Mix { graph, content }.weights(), &rivals(&parts, target), parts.of(target))
        };
        assert_eq!([at(0.0, 0.0, 0), at(1.0, 0.0, 2), at(0.0, 1.0, 1)], [1.0; 3]);
        assert!((at(0.0, 0.0, 2) - 0.5).abs() < 1e-9, "third: 1 / log2(4)");
        let many: Vec<[f32; 3]> = (0..20).map(|at| [at as f32; 3]).collect();
        assert_eq!(gain([1.0, 0.0, 0.0], &many, [3.0; 3]), 0.0);
    }

    /// A part that says nothing of any item earns nothing, though nothing stands before the target either.
    #[test]
    fn what_knows_nothing_earns_nothing() {
        let mut parts = Parts::new(40);
        parts.model = (0..40).map(|at| 1.0 - at as f32 / 40.0).collect();
        let of = |graph, content, target: usize| {
            gain(Mix { graph, content }.weights(), &rivals(&parts, target), parts.of(target))
        };
        assert_eq!((of(0.0, 1.0, 20), of(1.0, 0.0, 20)), (0.0, 0.0));
        assert_eq!((of(0.0, 0.0, 0), of(0.0, 0.0, 20)), (1.0, 0.0));
    }

    #[test]
    fn a_mixture_of_shares_is_one() {
        let mut scores = [0.0; 3];
        Mix { graph: 0.4, content: 0.1 }.apply(&parts(), &mut scores);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((scores[0] - 0.28).abs() < 1e-6);
        assert_eq!((tried(true).len(), tried(false).len()), (231, 21));
    }
}
