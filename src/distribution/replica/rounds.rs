//! When rounds of proof begin and end, and what is written meanwhile: one thing at a time, so that no report is
//! overtaken by an older one.

use std::future::pending;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use crate::revocation::version::Version;
use crate::store::{Event, StoreError, StoredList};

use super::proof::{Outcome, Round};

/// A round that takes longer proves nothing, and another is tried.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After so many rounds without a proof, everything is fetched anew.
const MAX_MISSED: u32 = 3;

/// A bound has room for so many rounds: then one that is late, or fails, takes nobody out of it.
const ROUNDS_PER_BOUND: u32 = 8;
/// However small a bound is, rounds are no closer together than this unless the store says so.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(250);

/// Returns the pause from the start of a round to that of the next: as long as is good for the store, or shorter where
/// a list has a bound that needs it.
pub(super) fn interval(good_for_store: Duration, smallest_bound: Option<Duration>) -> Duration {
    let needed = smallest_bound.map_or(good_for_store, |bound| bound / ROUNDS_PER_BOUND);
    good_for_store.min(needed.max(SHORTEST_INTERVAL))
}

/// What is being written.
pub(super) type Work = BoxFuture<'static, Result<Done, StoreError>>;

/// What was written.
pub(super) enum Done {
    /// A report.
    Reported,
    /// A report, and a heartbeat; the declarations were read in between.
    Beaten { lists: Vec<StoredList>, version: Version },
}

/// What has happened.
pub(super) enum Next {
    /// Something was written, or was not.
    Written(Result<Done, StoreError>),
    /// A round was given up.
    TimedOut,
    /// A round may begin.
    Start,
}

/// How the rounds stand.
pub(super) enum Finished {
    /// Nothing has ended.
    No,
    /// All pings up to this number may be answered, with these declarations.
    Proven { serial: u64, lists: Vec<StoredList> },
    /// A heartbeat was written below what had been seen before.
    WentBack,
    /// Too many have proven nothing.
    GivenUp,
}

/// The rounds of one replica.
pub(super) struct Rounds {
    round: Option<Round>,
    work: Option<Work>,
    next_start: Instant,
    deadline: Instant,
    missed: u32,
    /// The store has been busy since then, in every round.
    busy_since: Option<Instant>,
    proven: u64,
}

impl Rounds {
    /// Starts without a round. `proven` is the number of pings that were answered before.
    pub(super) fn new(proven: u64) -> Self {
        let now = Instant::now();
        Self { round: None, work: None, next_start: now, deadline: now, missed: 0, busy_since: None, proven }
    }

    /// Returns how many pings may be answered.
    pub(super) const fn proven(&self) -> u64 {
        self.proven
    }

    /// Tells whether nothing is being written.
    pub(super) const fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// Waits for what was written, for the end of a round that takes too long, or, if one is wanted, until another may
    /// begin. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, wanted: bool) -> Next {
        let (is_open, may_start) =
            (self.round.is_some(), wanted && self.round.is_none() && self.work.is_none());
        let next = tokio::select! {
            done = written(&mut self.work) => Next::Written(done),
            () = sleep_until(self.deadline), if is_open => Next::TimedOut,
            () = sleep_until(self.next_start), if may_start => Next::Start,
        };
        match &next {
            Next::Written(_) => self.work = None,
            Next::TimedOut => {
                tracing::warn!("a round of proof was not complete in time");
                (self.round, self.work) = (None, None);
                self.missed += 1;
            }
            Next::Start => {}
        }
        next
    }

    /// Begins a round; the next one begins no sooner than `interval` later.
    pub(super) fn start(&mut self, round: Round, interval: Duration, work: Work) {
        let now = Instant::now();
        (self.next_start, self.deadline) = (now + interval, now + TIMEOUT);
        self.round = Some(round);
        self.work = Some(work);
    }

    /// Writes a report outside of a round.
    pub(super) fn report(&mut self, work: Work) {
        self.work = Some(work);
    }

    /// Shows the open round an event.
    pub(super) fn observe(&mut self, event: &Event) {
        if let Some(round) = &mut self.round {
            round.observe(event);
        }
    }

    /// Takes what was written.
    ///
    /// # Errors
    /// The store's, if it failed for good or went back in time.
    pub(super) fn worked(&mut self, outcome: Result<Done, StoreError>) -> Result<(), StoreError> {
        match outcome {
            Ok(Done::Reported) => {}
            Ok(Done::Beaten { lists, version }) => {
                if let Some(round) = &mut self.round {
                    round.written(lists, version);
                }
            }
            Err(error @ (StoreError::Failed { .. } | StoreError::WentBack)) => return Err(error),
            Err(StoreError::Busy) => self.busy(),
            // A write that failed proves nothing: another round, with another nonce.
            Err(error) => {
                tracing::warn!(%error, "a round of proof failed");
                self.missed += u32::from(self.round.take().is_some());
            }
        }
        Ok(())
    }

    /// A burst of calls is soon over, and to fetch everything would make it worse: only one that lasts as long as a
    /// round may take is like a round that took too long.
    fn busy(&mut self) {
        if self.round.take().is_none() {
            return;
        }
        let now = Instant::now();
        let since = *self.busy_since.get_or_insert(now);
        tracing::debug!(busy = ?(now - since), "the store is busy: a round of proof has to wait");
        if now - since >= TIMEOUT {
            self.missed += 1;
            self.busy_since = None;
        }
    }

    /// Returns what has ended since.
    pub(super) fn finish(&mut self) -> Finished {
        match self.round.as_ref().map(Round::outcome) {
            Some(Outcome::Proven { serial }) => {
                (self.proven, self.missed, self.busy_since) = (serial, 0, None);
                let lists = self.round.take().map(Round::into_lists).unwrap_or_default();
                Finished::Proven { serial, lists }
            }
            Some(Outcome::TimeTravel) => Finished::WentBack,
            Some(Outcome::Open) | None if self.missed >= MAX_MISSED => Finished::GivenUp,
            Some(Outcome::Open) | None => Finished::No,
        }
    }
}

async fn written(work: &mut Option<Work>) -> Result<Done, StoreError> {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_as_far_apart_as_is_good_for_the_store_unless_a_bound_needs_more_of_them() {
        let check = |good_for_store: u64, bound_seconds: Option<u64>, expected: u64| {
            let bound = bound_seconds.map(Duration::from_secs);
            let interval = interval(Duration::from_millis(good_for_store), bound);
            assert_eq!(interval, Duration::from_millis(expected), "{bound:?}");
        };
        for (bound, expected) in [(3600, 1000), (15, 1000), (8, 1000), (5, 625), (3, 375), (2, 250), (1, 250)]
        {
            check(1000, Some(bound), expected);
        }
        check(1000, None, 1000);
        check(200, Some(2), 200);
        check(200, Some(15), 200);
    }
}
