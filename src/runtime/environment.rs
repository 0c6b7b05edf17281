//! What most of a process needs from the machine: the time, chance, and the addresses of others.

use std::fmt;
use std::sync::Arc;

use super::clock::{Clock, SystemClock};
use super::random::{Random, SystemRandomness};
use super::resolve::{Resolve, SystemResolver};

/// A clock, a source of randomness, and who finds addresses. Clones share them.
#[derive(Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Who finds the addresses of hosts.
    pub resolver: Arc<dyn Resolve>,
}

impl Environment {
    /// Returns the machine's own.
    #[must_use]
    pub fn of_machine() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandomness::new()),
            resolver: Arc::new(SystemResolver),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
