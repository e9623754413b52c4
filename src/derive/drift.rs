//! Whether the catalogue has moved away from a codebook since it was built.
//!
//! A generation keeps the percentiles of the relative residuals of its build. Of items placed since, one in twenty
//! should lie beyond the 95th; if many more do, the codewords no longer cover what is sold. Where items have come and
//! gone, the codewords were trained for another catalogue. Both have a mark beyond which a rebuild is advised.

use std::collections::HashSet;

use sidql_storage::{
    Generation, ItemNo, Space, View, codebooks, embeddings, generations, items, sids, spaces,
    stamps,
};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::quantize::Health;
use crate::quantize::health::relative_residual;

/// A share of placed items beyond the 95th percentile at which a rebuild is advised: three times what is expected. With
/// `LEAST_PLACED` items, five standard deviations from it.
const FAR_MARK: f64 = 0.15;

/// Placed items below which their share beyond a percentile says nothing.
const LEAST_PLACED: usize = 100;

/// A share of items that came, went or have no code, of those the codebook was built from, at which a rebuild is
/// advised.
const CHANGED_MARK: f64 = 0.2;

/// Items of a build below which its 99th percentile hangs on fewer than ten of them, and nothing is called far.
const LEAST_BUILT: usize = 1000;

/// The catalogue of today beside that of the build.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Drift {
    /// Items with a SID that came since.
    pub(crate) added: u64,
    /// Items of the build that are gone.
    pub(crate) gone: u64,
    /// Items without a SID.
    pub(crate) uncoded: u64,
    /// Items that came, or whose vectors were made anew, since.
    pub(crate) placed: usize,
    /// How many of them lie beyond the 95th percentile of the build; none where it is not known.
    pub(crate) far: Option<usize>,
    /// Why a rebuild is advised.
    pub(crate) reasons: Vec<String>,
}

/// The health that a generation keeps.
pub(crate) fn health_of(generation: &Generation) -> Result<Health> {
    serde_json::from_str(&generation.health)
        .map_err(|error| Error::internal(format!("stored health is damaged: {error}")))
}

/// The drift of a generation; none where its health does not say which items it was built from.
pub(crate) fn drift(
    view: &dyn View,
    cache: &Cache,
    generation: &Generation,
    health: &Health,
    progress: &Progress,
) -> Result<Option<Drift>> {
    let Some(bound) = health.bound else { return Ok(None) };
    let space = match codebooks::get(view, &generation.codebook)? {
        Some(codebook) => spaces::get(view, &codebook.space)?,
        None => None,
    };
    let current = space.as_ref().filter(|space| {
        generation.artefact.is_some() && space.source_hash == generation.source_hash
    });
    let mut drift = Drift::default();
    let mut since: HashSet<ItemNo> = HashSet::new();
    for row in sids::by_item(view, generation.number)? {
        let (number, _) = row?;
        if number >= bound {
            since.insert(number);
        }
    }
    drift.added = since.len() as u64;
    let kept = generation.items.saturating_sub(drift.added);
    drift.gone = (health.items as u64).saturating_sub(kept);
    drift.uncoded = items::count(view)?.saturating_sub(generation.items);
    if let Some(space) = current {
        for row in stamps::scan(view, space, 0)? {
            let (number, stamp) = row?;
            if stamp.made_ms > generation.created_ms {
                since.insert(number);
            }
        }
        drift.far = match health.residual {
            Some(marks) => {
                Some(count_beyond(view, cache, (generation, space), &since, marks.p95, progress)?)
            }
            None => None,
        };
    } else if space.is_some() && generation.artefact.is_some() {
        let name = &generation.codebook;
        drift.reasons.push(format!("the vectors of `{name}` were made anew since"));
    }
    drift.placed = since.len();
    drift.reasons.extend(reasons(&drift, health.items));
    Ok(Some(drift))
}

fn reasons(drift: &Drift, built: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(far) = drift.far {
        let share = far as f64 / drift.placed.max(1) as f64;
        if drift.placed >= LEAST_PLACED && built >= LEAST_BUILT && share > FAR_MARK {
            let percent = 100.0 * share;
            reasons.push(format!("{percent:.1} % of the items placed since lie far out"));
        }
    }
    let changed = drift.added + drift.gone + drift.uncoded;
    if changed as f64 > CHANGED_MARK * built as f64 {
        let all = built as u64 + drift.added + drift.uncoded;
        let percent = 100.0 * changed as f64 / all.max(1) as f64;
        reasons.push(format!("{percent:.0} % of the catalogue came, went or has no code"));
    }
    reasons
}

/// How many of the items lie farther from what their SIDs stand for than `mark`.
fn count_beyond(
    view: &dyn View,
    cache: &Cache,
    (generation, space): (&Generation, &Space),
    numbers: &HashSet<ItemNo>,
    mark: f64,
    progress: &Progress,
) -> Result<usize> {
    let artefact = cache.artefact(view, generation)?;
    let mut far = 0;
    for number in numbers {
        progress.check()?;
        let Some(sid) = sids::get(view, generation.number, *number)? else { continue };
        let Some(vector) = embeddings::get(view, space, *number)? else { continue };
        let residual = relative_residual(&artefact, &vector, sid.codes());
        far += usize::from(residual.is_some_and(|residual| residual > mark));
    }
    Ok(far)
}

/// The published codebooks that some of these items lie far outside of, beyond the 99th percentile of the build, with
/// how many do.
pub(crate) fn outside(
    view: &dyn View,
    cache: &Cache,
    numbers: &[ItemNo],
) -> Result<Vec<(String, usize)>> {
    let mut found = Vec::new();
    let numbers: HashSet<ItemNo> = numbers.iter().copied().collect();
    for codebook in codebooks::all(view)? {
        let Some(number) = codebook.published else { continue };
        let generation = generations::must(view, number)?;
        let Some(space) = spaces::get(view, &codebook.space)? else { continue };
        if generation.artefact.is_none() || generation.source_hash != space.source_hash {
            continue;
        }
        let health = health_of(&generation)?;
        let Some(marks) = health.residual.filter(|_| health.items >= LEAST_BUILT) else { continue };
        let silent = Progress::silent();
        let far = count_beyond(view, cache, (&generation, &space), &numbers, marks.p99, &silent)?;
        if far > 0 {
            found.push((codebook.name, far));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        let drift = |placed, far, added| Drift { added, placed, far, ..Drift::default() };
        assert_eq!(reasons(&drift(100, Some(15), 100), 1000), Vec::<String>::new());
        assert_eq!(
            reasons(&drift(100, Some(16), 100), 1000),
            ["16.0 % of the items placed since lie far out"]
        );
        assert!(reasons(&drift(99, Some(99), 99), 1000).is_empty(), "too few to tell");
        assert!(reasons(&drift(100, Some(90), 100), 999).is_empty(), "built from too few");
        assert_eq!(
            reasons(&drift(0, None, 201), 1000),
            ["17 % of the catalogue came, went or has no code"]
        );
    }
}
