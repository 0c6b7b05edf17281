//! Policies that are not understood, for the log: each once, for a route that is wrong is wrong for every request.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::sidecar::outcome::Transport;

/// How many different ones are logged; callers make them up.
const MOST: usize = 64;

/// What has been logged.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashSet<(Transport, String)>>);

impl Complaints {
    /// Logs a policy that is answered with 503, unless it was logged before.
    pub(super) fn warn(&self, transport: Transport, why: &str) {
        if self.is_new(transport, why) {
            tracing::warn!(
                transport = transport.name(),
                "a policy can't be followed, and is answered with 503: {why}"
            );
        }
    }

    fn is_new(&self, transport: Transport, why: &str) -> bool {
        // A set of texts is as good after a panic as before.
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < MOST && logged.insert((transport, why.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_logged_once_and_not_without_end() {
        let complaints = Complaints::default();
        assert!(complaints.is_new(Transport::ExtAuthz, "a"));
        assert!(!complaints.is_new(Transport::ExtAuthz, "a"));
        assert!(complaints.is_new(Transport::Check, "a"));
        let new = (0..100).filter(|n| complaints.is_new(Transport::Check, &n.to_string())).count();
        assert_eq!(new, MOST - 2);
    }
}
