//! Says whether the process may be given work, and if not, why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of one condition: met, or the reason why it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The condition holds.
    Met,
    /// It does not; the sentence says what is awaited. It is shown to whoever may read the probes.
    NotMet(String),
}

/// Whether the process is ready, with every condition by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The conditions in the order of their names.
    pub conditions: Vec<(String, State)>,
}

impl Report {
    /// Returns `true` if every condition is met.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions.iter().all(|(_, state)| *state == State::Met)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, state) in &self.conditions {
            match state {
                State::Met => writeln!(f, "[+] {name}")?,
                State::NotMet(reason) => writeln!(f, "[-] {name}: {reason}")?,
            }
        }
        Ok(())
    }
}

type Check = Box<dyn Fn() -> State + Send + Sync>;

/// The named conditions of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    checks: Mutex<BTreeMap<String, Check>>,
    started: AtomicBool,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("report", &self.report()).finish()
    }
}

impl Readiness {
    /// Starts without conditions: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that is computed whenever somebody asks. It must be quick, and not block. One of the same name is
    /// replaced.
    pub fn checked(&self, name: &str, check: impl Fn() -> State + Send + Sync + 'static) {
        lock(&self.shared.checks).insert(name.to_owned(), Box::new(check));
    }

    /// Evaluates every condition.
    #[must_use]
    pub fn report(&self) -> Report {
        let checks = lock(&self.shared.checks);
        let conditions = checks.iter().map(|(name, check)| (name.clone(), check())).collect();
        drop(checks);
        let report = Report { conditions };
        if report.is_ready() {
            self.shared.started.store(true, Ordering::Release);
        }
        report
    }

    /// Returns `true` once a report was ready, and from then on.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.shared.started.load(Ordering::Acquire) || self.report().is_ready()
    }
}

/// What is guarded here is replaced as a whole, so it is good even if another holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A condition that is not met until the test says so.
    pub(crate) struct Condition(Arc<Mutex<State>>);

    impl Condition {
        pub(crate) fn of(readiness: &Readiness, name: &str, awaited: &str) -> Self {
            let state = Arc::new(Mutex::new(State::NotMet(awaited.to_owned())));
            let held = Arc::clone(&state);
            readiness.checked(name, move || lock(&held).clone());
            Self(state)
        }

        pub(crate) fn met(&self) {
            *lock(&self.0) = State::Met;
        }

        pub(crate) fn not_met(&self, reason: &str) {
            *lock(&self.0) = State::NotMet(reason.to_owned());
        }
    }

    #[test]
    fn it_is_ready_only_when_every_condition_is_met_and_says_which_are_not() {
        let readiness = Readiness::new();
        let data = Condition::of(&readiness, "data", "nothing was received yet");
        let _store = {
            let store = Condition::of(&readiness, "store", "not opened");
            store.met();
            store
        };
        assert!(!readiness.report().is_ready());
        assert_eq!(readiness.report().to_string(), "[-] data: nothing was received yet\n[+] store\n");
        data.met();
        assert!(readiness.report().is_ready());
    }

    #[test]
    fn having_started_is_remembered_when_a_condition_fails_later() {
        let readiness = Readiness::new();
        let data = Condition::of(&readiness, "data", "nothing was received yet");
        assert!(!readiness.has_started());
        data.met();
        assert!(readiness.has_started());
        data.not_met("too old");
        assert!(readiness.has_started() && !readiness.report().is_ready());
    }

    #[test]
    fn a_checked_condition_is_computed_when_asked() {
        let readiness = Readiness::new();
        let flag = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&flag);
        readiness.checked("flag", move || match seen.load(Ordering::SeqCst) {
            true => State::Met,
            false => State::NotMet("down".to_owned()),
        });
        assert!(!readiness.report().is_ready());
        flag.store(true, Ordering::SeqCst);
        assert!(readiness.report().is_ready());
    }
}
