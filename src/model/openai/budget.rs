//! What the answers of an opened model may cost. All threads that ask share it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::count::grouped;
use crate::error::{Error, Kind, Result};
use crate::model::Usage;

/// What one run may spend.
pub(super) struct Budget {
    tokens: u64,
    cost: f64,
    spent: Mutex<Usage>,
}

impl Budget {
    /// A budget of tokens and money; 0 for no limit.
    pub(super) fn new(tokens: u64, cost: f64) -> Budget {
        Budget { tokens, cost, spent: Mutex::default() }
    }

    /// Fails once it is spent.
    pub(super) fn check(&self) -> Result<()> {
        let spent = *self.lock();
        let used = spent.read + spent.written;
        let message = if self.tokens > 0 && used >= self.tokens {
            let (budget, used) = (grouped(self.tokens), grouped(used));
            format!("the budget of {budget} tokens is spent: {used} were used")
        } else if self.cost > 0.0 && spent.cost >= self.cost {
            format!("the budget of {} is spent: {:.4} was used", self.cost, spent.cost)
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Resource, "budget-spent", message)
            .help("RESUME JOB goes on with a fresh budget; DROP and CREATE MODEL changes it"))
    }

    /// Counts what an answer cost.
    pub(super) fn charge(&self, usage: Usage) {
        *self.lock() += usage;
    }

    /// Begins anew: nothing is spent.
    pub(super) fn renew(&self) {
        *self.lock() = Usage::default();
    }

    fn lock(&self) -> MutexGuard<'_, Usage> {
        // A sum is whole at any time.
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
