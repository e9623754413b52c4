//! How the kinds that learn a latent space are trained: what their options come to.

use serde::{Deserialize, Serialize};

use super::within;
use crate::error::{Error, Result};

/// How to train.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) codes: usize,
    /// The weight of the commitment.
    pub(super) beta: f64,
    pub(super) epochs: usize,
    pub(super) batch: usize,
    pub(super) lr: f64,
    pub(super) weight_decay: f64,
    /// Epochs over which the learning rate rises.
    pub(super) warmup: usize,
    pub(super) cosine: bool,
    pub(super) clip: f64,
    /// Decay of the running means of the codewords; 0 to move them by gradient.
    pub(super) ema: f64,
    /// A code used less than this share of the even use is dead; 0 for none.
    pub(super) dead: f64,
    /// Epochs between two looks at collisions.
    pub(super) evaluate: usize,
    pub(super) keep: Keep,
    pub(super) seed: u64,
}

impl Settings {
    /// Refuses what is out of its range.
    pub(super) fn check(&self) -> Result<()> {
        within("epochs", self.epochs, 1, 1_000_000)?;
        within("batch", self.batch, 1, usize::MAX)?;
        within("evaluate", self.evaluate, 1, usize::MAX)?;
        let least = |name: &str, value: f64, fits: bool, rule: &str| {
            if fits {
                return Ok(());
            }
            let message = format!("option `{name}` must be {rule}, not {value}");
            Err(Error::input("bad-option", message))
        };
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        least("lr", self.lr, positive(self.lr), "above 0")?;
        least("beta", self.beta, not_negative(self.beta), "0 or more")?;
        least("clip", self.clip, not_negative(self.clip), "0 or more")?;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        least("weight_decay", self.weight_decay, share(self.weight_decay), "0 to 1")?;
        least("dead", self.dead, share(self.dead), "0 to 1")?;
        least("ema", self.ema, (0.0..1.0).contains(&self.ema), "0 or more and below 1")
    }
}

/// Refuses layers without units, or too many.
pub(super) fn check_layers(layers: &[usize]) -> Result<()> {
    if layers.len() > 16 {
        return Err(Error::input("bad-option", "option `layers` has more than 16 layers"));
    }
    layers.iter().try_for_each(|units| within("layers", *units, 1, 1 << 16))
}

/// Which weights are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    /// Those with the fewest collisions, of equal ones those with the lower loss.
    #[default]
    Collisions,
    /// Those with the lowest loss.
    Loss,
    /// The last ones.
    Last,
}
