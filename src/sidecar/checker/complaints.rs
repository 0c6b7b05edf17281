//! What is wrong with policies, declarations and clocks, for the log: each once, for a route that is wrong is wrong for
//! every request, and so are lists that contradict each other; a clock that has jumped is one until the next proof.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::revocation::freshness::ClockJump;
use crate::sidecar::outcome::{Contradiction, Transport};

/// How many different ones are logged; callers make them up.
const MOST: usize = 64;

/// What has been logged.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    policies: Mutex<HashSet<(Transport, String)>>,
    // Apart, so that callers who make policies up leave room for it.
    contradictions: Mutex<HashSet<Contradiction>>,
    // Jumps since proofs up to here, by the boot clock, have been logged.
    jumps_nanos: AtomicU64,
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

    /// Logs that a clock has jumped, unless that was logged since the last proof. Costs one atomic operation per check
    /// that meets it.
    pub(super) fn clock_jump(&self, jump: &ClockJump) {
        if self.is_new_jump(jump) {
            tracing::warn!(
                "{jump}: what was proven before counts as stale until the next proof, and strict lists are answered \
                 with 503; see what sets this machine's clock"
            );
        }
    }

    fn is_new_jump(&self, jump: &ClockJump) -> bool {
        // All lists were proven before the jump was seen; only a later proof shows that it is over.
        let seen = jump.seen.boot_nanos.max(jump.since.boot_nanos);
        self.jumps_nanos.fetch_max(seen, Ordering::Relaxed) < jump.since.boot_nanos
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
    use crate::revocation::time::Moment;
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
    fn a_jump_is_logged_again_only_if_it_came_after_a_later_proof() {
        let complaints = Complaints::default();
        let at = |boot_nanos| Moment { boot_nanos, wall_nanos: 0 };
        let new = |since, seen| complaints.is_new_jump(&ClockJump { since: at(since), seen: at(seen) });
        assert_eq!([new(5, 9), new(5, 10), new(8, 10), new(9, 12)], [true, false, false, false]);
        assert_eq!([new(13, 14), new(13, 15)], [true, false]);
        // The boot clock went back.
        assert_eq!([new(20, 1), new(20, 2)], [true, false]);
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
