//! The learning rate over the steps of a run.

/// Linear warm-up, then constant or half a cosine down to a floor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// The highest rate.
    pub(crate) peak: f64,
    /// Steps of the warm-up.
    pub(crate) warmup: u64,
    /// Steps of the whole run.
    pub(crate) steps: u64,
    /// Whether the rate falls after the warm-up.
    pub(crate) cosine: bool,
}

/// The share of the peak that the cosine ends on.
const FLOOR: f64 = 0.05;

impl Schedule {
    /// The rate of a step, counted from 0.
    pub(crate) fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        if !self.cosine {
            return self.peak;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / span as f64).min(1.0);
        let fall = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.peak * (FLOOR + (1.0 - FLOOR) * fall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls() {
        let mut schedule = Schedule { peak: 2.0, warmup: 4, steps: 104, cosine: true };
        assert_eq!(schedule.rate(0), 0.5);
        assert_eq!(schedule.rate(3), 2.0);
        assert_eq!(schedule.rate(4), 2.0);
        assert!((schedule.rate(54) - 1.05).abs() < 1e-9);
        assert!((schedule.rate(1000) - 0.1).abs() < 1e-9);
        schedule.cosine = false;
        assert_eq!(schedule.rate(90), 2.0);
    }
}
