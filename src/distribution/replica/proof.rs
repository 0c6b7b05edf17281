//! One round of proof: a heartbeat that began after the pings which it answers, seen through the same log.

use crate::revocation::version::Version;
use crate::store::{Beat, Event, StoredList, What};

/// A round that has begun.
#[derive(Debug)]
pub(super) struct Round {
    beat: Beat,
    serial: u64,
    seen: Option<Version>,
    written: Option<(Vec<StoredList>, Version)>,
    observed: Option<Version>,
}

/// How a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not complete.
    Open,
    /// The state is complete up to the heartbeat: all pings up to this number may be answered.
    Proven { serial: u64 },
    /// The heartbeat was written below what had been seen before: the store went back.
    TimeTravel,
}

impl Round {
    /// Begins a round for all pings so far. `seen` is the highest version seen.
    pub(super) const fn start(beat: Beat, serial: u64, seen: Option<Version>) -> Self {
        Self { beat, serial, seen, written: None, observed: None }
    }

    /// The write was acknowledged, and the declarations were read.
    pub(super) fn written(&mut self, lists: Vec<StoredList>, version: Version) {
        self.written = Some((lists, version));
    }

    /// Only this round's own heartbeat counts: not any event above its version, nor one of an earlier round.
    pub(super) fn observe(&mut self, event: &Event) {
        if event.what == What::Heartbeat(self.beat) {
            self.observed = Some(event.version);
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let Some((_, written)) = &self.written else { return Outcome::Open };
        let above = self.seen.is_none_or(|seen| *written > seen);
        match self.observed {
            _ if !above => Outcome::TimeTravel,
            Some(observed) if observed == *written => Outcome::Proven { serial: self.serial },
            _ => Outcome::Open,
        }
    }

    pub(super) fn into_lists(self) -> Vec<StoredList> {
        self.written.map(|(lists, _)| lists).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::version::{Epoch, Revisions};

    const BEAT: Beat = Beat { replica: 1, nonce: 7 };

    fn at(revision: u64) -> Version {
        let revisions = Revisions { revocations: revision, segments: 0 };
        Version { epoch: Epoch { counter: 1, id: 1 }, revisions }
    }

    fn heartbeat(beat: Beat, revision: u64) -> Event {
        Event { version: at(revision), what: What::Heartbeat(beat) }
    }

    fn round() -> Round {
        Round::start(BEAT, 3, Some(at(10)))
    }

    /// Invariant 13: a write that was acknowledged proves nothing until the log has delivered it.
    #[test]
    fn a_round_is_proven_when_its_heartbeat_was_written_and_has_come_back() {
        let mut proven = round();
        proven.written(vec![], at(12));
        assert_eq!(proven.outcome(), Outcome::Open);
        proven.observe(&heartbeat(BEAT, 12));
        assert_eq!(proven.outcome(), Outcome::Proven { serial: 3 });
    }

    /// Invariant 12: a write that failed or timed out proves nothing, even if its event comes.
    #[test]
    fn an_event_without_an_acknowledged_write_proves_nothing() {
        let mut unwritten = round();
        unwritten.observe(&heartbeat(BEAT, 12));
        assert_eq!(unwritten.outcome(), Outcome::Open);
    }

    /// Invariant 13: only the very heartbeat that was written shows that the log delivers.
    #[test]
    fn neither_another_heartbeat_nor_a_later_event_proves_anything() {
        let others = [Beat { nonce: 8, ..BEAT }, Beat { replica: 2, ..BEAT }];
        for (beat, revision) in others.into_iter().flat_map(|beat| [(beat, 12), (beat, 13)]) {
            let mut other = round();
            other.written(vec![], at(12));
            other.observe(&heartbeat(beat, revision));
            assert_eq!(other.outcome(), Outcome::Open, "{beat:?} at {revision}");
        }
    }

    #[test]
    fn a_heartbeat_that_is_not_above_what_was_seen_is_time_travel() {
        let mut back = round();
        back.written(vec![], at(10));
        assert_eq!(back.outcome(), Outcome::TimeTravel);
    }
}
