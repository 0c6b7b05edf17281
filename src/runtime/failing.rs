//! What fails again and again is said when it is new, and then only now and then.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// What fails at present: why, and when that was said last.
#[derive(Debug)]
pub struct Failing<K> {
    every: Duration,
    known: HashMap<K, (String, Instant)>,
}

impl<K: Clone + Eq + Hash> Failing<K> {
    /// Makes one by which a failure that stays is said so often.
    #[must_use]
    pub fn said_every(every: Duration) -> Self {
        Self { every, known: HashMap::new() }
    }

    /// Returns `true` if a failure is to be said: it is another one, or was not said for long.
    pub fn is_news(&mut self, what: &K, error: &str, now: Instant) -> bool {
        let is_known =
            self.known.get(what).is_some_and(|(why, said)| why == error && now < *said + self.every);
        if !is_known {
            self.known.insert(what.clone(), (error.to_owned(), now));
        }
        !is_known
    }

    /// Returns `true` if that has failed before; now it has not.
    pub fn is_over(&mut self, what: &K) -> bool {
        self.known.remove(what).is_some()
    }

    /// Forgets all that is not among these.
    pub fn keep(&mut self, is_failing: impl Fn(&K) -> bool) {
        self.known.retain(|what, _| is_failing(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_when_it_is_new_and_then_once_a_minute() {
        let mut failing = Failing::said_every(Duration::from_secs(60));
        let start = Instant::now();
        let mut check = |what, error, second, expected| {
            let now = start + Duration::from_secs(second);
            assert_eq!(failing.is_news(&what, error, now), expected, "{what}: {error} at {second} s");
        };
        check("shop", "no space left", 0, true);
        check("shop", "no space left", 1, false);
        check("bank", "no space left", 1, true);
        check("shop", "read-only", 2, true);
        check("shop", "read-only", 61, false);
        check("shop", "read-only", 62, true);
        assert!(failing.is_over(&"shop") && !failing.is_over(&"shop"));
        failing.keep(|what| *what != "bank");
        assert!(!failing.is_over(&"bank"));
    }
}
