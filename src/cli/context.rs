//! What a command is given beside its arguments.

use super::console::Console;
use crate::revocation::time::UnixSeconds;
use crate::runtime::clock::Clock;

/// What a command is given beside its arguments.
pub struct Context<'a> {
    /// Where it reads and writes.
    pub console: &'a mut Console,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl Context<'_> {
    /// Returns the time, in whole seconds.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        self.clock.now().wall().floor()
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("console", &self.console).finish_non_exhaustive()
    }
}
