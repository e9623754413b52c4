//! What objectives share that begin with a taught generator: targets drawn from histories, log-probabilities, and
//! validation by the beam that answers.

use candle_core::Tensor;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::decode::{Draw, Stage, rollouts};
use crate::error::Result;
use crate::index::Catalogue;
use crate::policy::{Completion, Generate, History, Targets, Training};
use crate::progress::Progress;

/// Items of an answer that validation looks at.
const AT: usize = 10;

/// Histories that are cut before an item, and these items. Every history has two at least.
pub(super) fn targets<'a>(
    histories: impl Iterator<Item = History<'a>>,
    random: &mut impl Rng,
) -> (Vec<History<'a>>, Vec<u32>) {
    let cut = |history: History<'a>| {
        let place = random.random_range(1..history.len());
        (&history[..place], history[place])
    };
    histories.map(cut).unzip()
}

/// Log-probabilities of completions as decoding gives them: dropout would make ratios differ by chance.
pub(super) fn log_probs(
    policy: &dyn Generate,
    catalogue: &Catalogue,
    histories: &[History<'_>],
    completions: &[Completion<'_>],
) -> Result<Tensor> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut training = Training { random: &mut random, train: false, targets: Targets::All };
    policy.log_probs(catalogue, histories, completions, &mut training)
}

/// One less NDCG@10 on histories that end with their target, by a beam at least as wide as given; none without
/// histories.
pub(super) fn lost(
    stage: &Stage<'_>,
    validated: &[History<'_>],
    (batch, width): (usize, usize),
    progress: &Progress,
) -> Result<Option<f64>> {
    if validated.is_empty() {
        return Ok(None);
    }
    let mut gain = 0.0;
    for batch in validated.chunks(batch) {
        let before: Vec<History<'_>> = batch.iter().map(|h| &h[..h.len() - 1]).collect();
        let mut random = ChaCha8Rng::seed_from_u64(0); // a beam draws nothing
        let width = width.max(2 * AT);
        let found = rollouts(stage, &before, width, Draw::Beam, &mut random, progress)?;
        for (history, found) in batch.iter().zip(found) {
            let items = found.iter().flat_map(|one| &one.items);
            let place = items.take(AT).position(|item| Some(item) == history.last());
            gain += place.map_or(0.0, |place| 1.0 / ((place + 2) as f64).log2());
        }
    }
    Ok(Some(1.0 - gain / validated.len() as f64))
}
