//! The result of an evaluation: means over users with bootstrap intervals, and how they were made.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::decode::Placed;
use crate::error::Result;
use crate::metric::METRICS;
use crate::progress::Progress;

/// The result of one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Which item was asked for: `test` or `validation`.
    pub(crate) split: String,
    /// How the ranking was made: `scores` (every item), `beam` or `exact` (every SID).
    pub(crate) decode: String,
    /// The width of the beam; 0 where there was none.
    pub(crate) beam: usize,
    /// Users evaluated.
    pub(crate) users: usize,
    /// Users left out because their history has fewer than three items.
    pub(crate) left_out: usize,
    /// Users that could have been evaluated but were not drawn into the sample.
    pub(crate) unsampled: usize,
    /// Whether items of the history were left out of the ranking.
    pub(crate) filter_seen: bool,
    /// The seed of the sample of users and of the intervals.
    pub(crate) seed: u64,
    /// The number of resamples behind the intervals; 0 where there are none.
    pub(crate) bootstrap: usize,
    /// One figure for each metric, k and level of credit.
    pub(crate) figures: Vec<Figure>,
}

/// One mean with its 95 % interval over users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The name of the metric.
    pub(crate) metric: String,
    /// Its k.
    pub(crate) at: usize,
    /// What gets the credit.
    pub(crate) credit: Credit,
    /// The mean over users.
    pub(crate) mean: f64,
    /// The lower end of the interval; the mean without a bootstrap.
    pub(crate) low: f64,
    /// The upper end of the interval; the mean without a bootstrap.
    pub(crate) high: f64,
}

/// What has to be named for credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Credit {
    /// The item: where several share a SID, the expectation under random order among them.
    Item,
    /// The SID, even if others share it.
    Sid,
}

impl Figure {
    /// The column of the figure: `hr@5`, and `hr@5_sid` for credit by SID.
    pub(crate) fn column(&self) -> String {
        let suffix = match self.credit {
            Credit::Item => "",
            Credit::Sid => "_sid",
        };
        format!("{}@{}{suffix}", self.metric, self.at)
    }
}

impl Report {
    /// The figure of a column, for example `ndcg@10_sid`.
    pub(crate) fn figure(&self, column: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.column() == column)
    }
}

/// The figures over the places of all users.
pub(super) fn figures(
    places: &[Placed],
    config: &Config,
    progress: &Progress,
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut columns: Vec<Vec<f32>> = Vec::new();
    for credit in [Credit::Item, Credit::Sid] {
        for metric in METRICS {
            for &at in &config.at {
                let gain = |placed: &Placed| match credit {
                    Credit::Item => (metric.credit)(placed.item, at),
                    Credit::Sid => (metric.credit)(placed.sid, at),
                };
                let mean = places.iter().map(gain).sum::<f64>() / (places.len().max(1) as f64);
                columns.push(places.iter().map(|placed| gain(placed) as f32).collect());
                let metric = metric.name.to_owned();
                figures.push(Figure { metric, at, credit, mean, low: mean, high: mean });
            }
        }
    }
    if config.bootstrap > 0 && !places.is_empty() {
        let means = resample(&columns, config, progress)?;
        for (nth, figure) in figures.iter_mut().enumerate() {
            let mut means: Vec<f64> = means.iter().map(|means| means[nth]).collect();
            means.sort_unstable_by(f64::total_cmp);
            let quantile = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize];
            (figure.low, figure.high) = (quantile(0.025), quantile(0.975));
        }
    }
    Ok(figures)
}

/// The mean of every column in every resample of the users.
fn resample(columns: &[Vec<f32>], config: &Config, progress: &Progress) -> Result<Vec<Vec<f64>>> {
    progress.stage("intervals", config.bootstrap as u64);
    let users = columns.first().map_or(0, Vec::len);
    // Row by row, so that a drawn user is one stretch of memory; most users have no credit at all.
    let rows: Vec<f32> =
        (0..users).flat_map(|user| columns.iter().map(move |column| column[user])).collect();
    let scores: Vec<bool> =
        rows.chunks(columns.len()).map(|row| row.iter().any(|gain| *gain != 0.0)).collect();
    (0..config.bootstrap as u64)
        .into_par_iter()
        .map(|nth| {
            progress.check()?;
            let mut random = ChaCha8Rng::seed_from_u64(config.seed);
            random.set_stream(nth);
            let mut sums = vec![0.0_f64; columns.len()];
            for _ in 0..users {
                // The high half of a product is uniform below `users`, up to one part in 2^32.
                let user = ((u64::from(random.next_u32()) * users as u64) >> 32) as usize;
                if scores[user] {
                    let row = &rows[user * columns.len()..][..columns.len()];
                    sums.iter_mut().zip(row).for_each(|(sum, gain)| *sum += f64::from(*gain));
                }
            }
            progress.advance(1);
            Ok(sums.into_iter().map(|sum| sum / users as f64).collect())
        })
        .collect()
}
