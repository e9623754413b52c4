//! Metrics of a ranking with one target for each user. One line for each in `METRICS`.

mod rank;

pub(crate) use rank::Place;

/// Every metric that this build knows, in the order of reports.
pub(crate) const METRICS: &[&Kind] = &[&rank::HR, &rank::NDCG, &rank::MRR];

/// One metric: a constant record.
pub(crate) struct Kind {
    /// The name in reports, before `@k`.
    pub(crate) name: &'static str,
    /// One sentence: what it measures.
    pub(crate) summary: &'static str,
    /// The expected credit of one user whose target is at a place, in the first `k`.
    pub(crate) credit: fn(Place, usize) -> f64,
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}
