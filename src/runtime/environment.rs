//! What most of a process needs from the machine: the time, and chance.

use std::fmt;
use std::sync::Arc;

use super::clock::{Clock, SystemClock};
use super::random::{Random, SystemRandomness};

/// A clock and a source of randomness. Clones share them.
#[derive(Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Environment {
    /// Returns the machine's own.
    #[must_use]
    pub fn of_machine() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandomness::new()) }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
