//! What is wrong with policies and declarations, for the log: each once, for a route that is wrong is wrong for every
//! request, and so are lists that contradict each other.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::sidecar::outcome::{Contradiction, Transport};

/// How many different ones are logged; callers make them up.
const MOST: usize = 64;

/// What has been logged.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    policies: Mutex<HashSet<(Transport, String)>>,
    // Apart, so that callers who make policies up leave room for it.
    contradictions: Mutex<HashSet<Contradiction>>,
}

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

    /// Logs two lists that contradict each other, unless they were logged before.
    pub(super) fn contradiction(&self, contradiction: &Contradiction) {
        if note(&self.contradictions, contradiction) {
            tracing::warn!("{contradiction}: what depends on it is answered with 503");
        }
    }

    fn is_new(&self, transport: Transport, why: &str) -> bool {
        note(&self.policies, &(transport, why.to_owned()))
    }
}

fn note<T: Clone + Eq + std::hash::Hash>(logged: &Mutex<HashSet<T>>, what: &T) -> bool {
    // A set of texts is as good after a panic as before.
    let mut logged = logged.lock().unwrap_or_else(PoisonError::into_inner);
    !logged.contains(what) && logged.len() < MOST && logged.insert(what.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::outcome::Subject;

    #[test]
    fn a_pair_of_lists_is_logged_once_whichever_is_named_first() {
        let complaints = Complaints::default();
        let [a, b] = ["a/a", "b/b"].map(|name| name.parse().unwrap());
        let new =
            |one, other, about| note(&complaints.contradictions, &Contradiction::new(about, one, other));
        assert!(new(&a, &b, Subject::Issuer));
        assert!(!new(&b, &a, Subject::Issuer));
        assert!(new(&a, &b, Subject::Source));
        // Policies that callers made up leave room.
        (0..100).for_each(|n| _ = complaints.is_new(Transport::Check, &n.to_string()));
        assert!(new(&a, &a, Subject::Source));
    }

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
