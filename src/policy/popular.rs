//! The most popular items, the same for everybody: the number of interactions in the training part.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::state::{Reader, Writer, damaged};
use super::{Answers, Fit, History, Kind, Policy, Score};
use crate::error::Result;
use crate::index::Catalogue;
use crate::options;
use crate::progress::Progress;

/// Popularity has no options.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {}

pub(super) const KIND: Kind = Kind {
    name: "popular",
    summary: "the items with the most interactions, the same for everybody",
    needs_codebook: false,
    reads: &[],
    answers: Answers::Scores,
    objectives: &["fit"],
    meanings: Vec::new,
    config: |given| options::checked(given, |_: &Config| Ok(())),
    build: |config, _, _, _| {
        let Config {} = serde_json::from_value(config.clone())?;
        Ok(Policy::Score(Box::new(Popular { counts: Vec::new() })))
    },
};

/// The number of interactions by position; empty before training.
struct Popular {
    counts: Vec<f32>,
}

impl Score for Popular {
    fn score(&self, _history: History<'_>, scores: &mut [f32]) -> Result<()> {
        let known = self.counts.len().min(scores.len());
        scores[..known].copy_from_slice(&self.counts[..known]);
        Ok(())
    }
}

impl Fit for Popular {
    fn fit(
        &mut self,
        catalogue: &Catalogue,
        histories: &[Vec<u32>],
        progress: &Progress,
    ) -> Result<()> {
        progress.stage("count", histories.len() as u64);
        let mut counts = vec![0.0; catalogue.len()];
        for history in histories {
            progress.check()?;
            for position in history {
                counts[*position as usize] += 1.0;
            }
            progress.advance(1);
        }
        self.counts = counts;
        Ok(())
    }

    fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>> {
        let mut state = Writer::default();
        state.u64s(&catalogue.items[..self.counts.len()]).f32s(&self.counts);
        Ok(state.finish())
    }

    fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        let mut state = Reader::new(state);
        let (items, counts) = (state.u64s()?, state.f32s()?);
        state.finish()?;
        if items.len() != counts.len() {
            return Err(damaged());
        }
        let known: HashMap<_, _> = items.into_iter().zip(counts).collect();
        let count = |item| known.get(item).copied().unwrap_or_default();
        self.counts = catalogue.items.iter().map(count).collect();
        Ok(())
    }
}
