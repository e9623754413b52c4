//! Some figures of one thing, and what they come to.

/// Figures of one thing, in ascending order.
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes figures in any order.
    pub fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Samples(figures)
    }

    /// The one in the middle, or the mean of the two there.
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => self.0[half],
            _ => f64::midpoint(self.0[half - 1], self.0[half]),
        }
    }

    /// The one that a share of them does not pass, by the nearest rank.
    pub fn at(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// The least.
    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The most.
    pub fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The standard deviation of the thing, estimated from these figures.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.0.iter().map(|x| (x - mean) * (x - mean)).sum();
        (squares / (self.0.len() as f64 - 1.0)).sqrt()
    }

    /// Median, least and most, as cells of a table.
    pub fn cells(&self, decimals: usize) -> [String; 3] {
        [self.median(), self.least(), self.most()].map(|x| format!("{x:.decimals$}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_ends_and_spread() {
        let odd = Samples::new(vec![3.0, 1.0, 8.0]);
        assert_eq!((odd.median(), odd.least(), odd.most(), odd.mean()), (3.0, 1.0, 8.0, 4.0));
        assert_eq!([odd.at(0.3), odd.at(0.34), odd.at(1.0)], [1.0, 3.0, 8.0]);
        assert_eq!(odd.deviation(), 13.0_f64.sqrt());
        assert_eq!(Samples::new(vec![4.0, 1.0, 2.0, 9.0]).median(), 3.0);
        assert_eq!(odd.cells(1), ["3.0", "1.0", "8.0"]);
    }
}
