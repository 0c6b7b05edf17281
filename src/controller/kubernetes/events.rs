//! Events (`events.k8s.io/v1`): what `kubectl describe` shows of how a revocation or a list came to be as it is.
//!
//! An event is told at a transition, by whoever has written the status in which it shows; so there is one. The status
//! holds what is so, and an event that is left out is missed by nobody but a reader.

use std::hash::{Hash, Hasher};

use serde_json::{Value, json};
use siphasher::sip::SipHasher24;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::condition::EventReason;
use crate::api::{API_VERSION, GROUP};
use crate::revocation::time::Moment;
use crate::store::kubernetes::KubernetesStore;

/// How many may be told at once of revocations, and how many of lists. Then there is one a second of each at most: as
/// many writes as the heartbeats of two replicas, however many are revoked at once.
const BURST: u64 = 25;
const EVERY_NANOS: u64 = 1_000_000_000;
/// Those that wait for the API server: what both bursts bring, and some more.
const MAX_WAITING: usize = 64;
/// As the API has it.
const MAX_NOTE: usize = 1024;
const MAX_NAME: usize = 253;

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Regarding {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Whether somebody has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Warning,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) regarding: Regarding,
    pub(super) kind: Kind,
    pub(super) reason: EventReason,
    pub(super) text: String,
    /// What tells it from another of the same reason: two who tell of one transition make one event.
    pub(super) transition: String,
}

impl Note {
    /// Returns the event as an object.
    fn object(&self, instance: &str, now: Moment) -> Value {
        let Regarding { kind, namespace, name, uid } = &self.regarding;
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "name": self.name(), "namespace": namespace },
            "eventTime": micro_time(now),
            "reportingController": format!("{GROUP}/controller"),
            "reportingInstance": instance,
            "action": "WriteStatus",
            "reason": self.reason.word(),
            "type": match self.kind { Kind::Normal => "Normal", Kind::Warning => "Warning" },
            "note": self.text.chars().take(MAX_NOTE).collect::<String>(),
            "regarding": {
                "apiVersion": API_VERSION, "kind": kind, "namespace": namespace, "name": name, "uid": uid,
            },
        })
    }

    /// The same for all who tell of one transition.
    fn name(&self) -> String {
        let mut hasher = SipHasher24::new();
        (&self.regarding.uid, self.reason.word(), &self.transition).hash(&mut hasher);
        let name: String = self.regarding.name.chars().take(MAX_NAME - 17).collect();
        format!("{}.{:016x}", name.trim_end_matches(['.', '-']), hasher.finish())
    }
}

fn micro_time(at: Moment) -> String {
    let nanos = i128::from(at.wall_nanos);
    let time = jiff::Timestamp::from_nanosecond(nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// How much may still be told.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When all that was told would have been told at an even pace.
    paid_until: u64,
    left_out: u64,
}

impl Budget {
    /// Takes one, if there is one.
    fn take(&mut self, now: Moment) -> bool {
        let from = self.paid_until.max(now.boot_nanos);
        if from - now.boot_nanos > (BURST - 1) * EVERY_NANOS {
            self.left_out += 1;
            return false;
        }
        self.paid_until = from + EVERY_NANOS;
        true
    }
}

/// Takes events, and leaves out what is too much.
pub(super) struct Events {
    sender: mpsc::Sender<(Note, Moment)>,
    of_revocations: Budget,
    of_lists: Budget,
}

impl Events {
    /// Returns where events are taken, and what is to be sent.
    pub(super) fn new() -> (Self, mpsc::Receiver<(Note, Moment)>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self { sender, of_revocations: Budget::default(), of_lists: Budget::default() }, receiver)
    }

    /// Tells of a revocation. Many may be enforced at once: that takes nothing from what is told of lists.
    pub(super) fn of_revocation(&mut self, note: Note, now: Moment) {
        if self.of_revocations.take(now) && self.sender.try_send((note, now)).is_err() {
            self.of_revocations.left_out += 1;
        }
    }

    /// Tells of a list.
    pub(super) fn of_list(&mut self, note: Note, now: Moment) {
        if self.of_lists.take(now) && self.sender.try_send((note, now)).is_err() {
            self.of_lists.left_out += 1;
        }
    }

    /// Returns how many were left out since this was asked last.
    pub(super) fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.of_revocations.left_out) + std::mem::take(&mut self.of_lists.left_out)
    }
}

/// Sends events, each once: what fails is not worth a second try.
pub(super) async fn send(
    store: KubernetesStore,
    instance: String,
    mut waiting: mpsc::Receiver<(Note, Moment)>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut complained = false;
    loop {
        let (note, at) = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            next = waiting.recv() => match next {
                Some(next) => next,
                // Who tells is about to end.
                None => { shutdown.cancelled().await; return Ok(()) }
            },
        };
        let sent = store.create_event(&note.regarding.namespace, &note.object(&instance, at)).await;
        match sent {
            Ok(()) => complained = false,
            // Said once, until one succeeds again.
            Err(why) if !complained => {
                tracing::warn!(why, "events can't be written; statuses are");
                complained = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment {
            boot_nanos: milliseconds * 1_000_000,
            wall_nanos: 1_700_000_000_000_000_000 + milliseconds * 1_000_000,
        }
    }

    fn note(transition: &str) -> Note {
        Note {
            regarding: Regarding {
                kind: "Revocation",
                namespace: "apps".to_owned(),
                name: "ticket-4711".to_owned(),
                uid: "a-b".to_owned(),
            },
            kind: Kind::Normal,
            reason: EventReason::Enforced,
            text: "2 of 2 sidecars have it in use.".to_owned(),
            transition: transition.to_owned(),
        }
    }

    #[test]
    fn ten_thousand_at_once_are_a_burst_and_then_one_a_second() {
        let (mut events, mut waiting) = Events::new();
        let mut told = 0;
        for n in 0..10_000 {
            // In twenty seconds.
            events.of_revocation(note(&n.to_string()), at(n * 2));
            while waiting.try_recv().is_ok() {
                told += 1;
            }
        }
        assert_eq!(told, 25 + 19);
        assert_eq!((events.left_out(), events.left_out()), (10_000 - 44, 0));
        // Lists are told of all the same.
        events.of_list(note("list"), at(20_000));
        assert!(waiting.try_recv().is_ok());
        // What was not used is there again.
        let allowed = (0..30).filter(|_| events.of_revocations.take(at(60_000))).count();
        assert_eq!(allowed, 25);
    }

    #[test]
    fn nobody_waits_for_an_api_server_that_takes_no_events() {
        let (mut events, _waiting) = Events::new();
        for n in 0..100 {
            events.of_revocation(note(&n.to_string()), at(n * 1000));
        }
        assert_eq!(events.left_out(), 100 - 64);
    }

    #[test]
    fn one_transition_is_one_event_whoever_tells_of_it() {
        assert_eq!(note("1").name(), note("1").name());
        assert_ne!(note("1").name(), note("2").name());
        let mut long = note("1");
        long.regarding.name = "a".repeat(MAX_NAME);
        assert_eq!(long.name().len(), MAX_NAME);
        long.regarding.name = format!("{}-a", "b".repeat(MAX_NAME - 18));
        assert!(long.name().starts_with(&format!("{}.", "b".repeat(MAX_NAME - 18))), "{}", long.name());
    }

    #[test]
    fn an_event_says_when_by_whom_and_about_what() {
        let event = note("1").object("host_1", at(1));
        assert_eq!(event["eventTime"], "2023-11-14T22:13:20.001000Z");
        assert_eq!(event["regarding"]["kind"], "Revocation");
        assert_eq!((&event["type"], &event["reportingInstance"]), (&json!("Normal"), &json!("host_1")));
        assert_eq!(event["metadata"]["namespace"], "apps");
        let long = Note { text: "ä".repeat(2000), ..note("1") }.object("host_1", at(1));
        assert_eq!(long["note"].as_str().unwrap().chars().count(), MAX_NOTE);
    }
}
