//! The sidecar's end of a stream, without the stream: messages in, replies and views out.
//!
//! Order on receipt: verify, apply aside, publish, record the version, acknowledge. Whatever is not understood
//! is refused as a whole, and what was held before stays in use.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::proto::v1;
use crate::proto::v1::publisher_message::Message as In;
use crate::proto::v1::subscriber_message::Message as Out;
use crate::revocation::time::Moment;

use super::convert::{ConvertError, Sealed, version_to_wire};
use super::view::ListView;
use followed::{Followed, Proof, Refusal};

mod followed;
mod kept;

/// How many pings may be open; a publisher that answers none of them is left.
pub const MAX_OPEN_PINGS: usize = 8;

/// Says why the stream has to be left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A message, or a part of it, is not understood.
    #[error("the controller sent a message that is not understood: update this sidecar")]
    NotUnderstood,
    /// A reference that was never subscribed.
    #[error("the controller sent reference {reference}, which was never subscribed")]
    Reference {
        /// The reference.
        reference: u32,
    },
    /// A Pong that answers no open ping of this stream.
    #[error("the controller answered a ping that is not open")]
    ForeignPong,
    /// A proof that makes no sense.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// What the shell has to do after a message.
#[derive(Debug, Default)]
pub struct Received {
    /// Messages to send, in order.
    pub replies: Vec<v1::SubscriberMessage>,
    /// Lists whose view changed, by index.
    pub changed: Vec<usize>,
    /// Something for the log and the counters.
    pub notes: Vec<Note>,
    /// The controller asks to go elsewhere.
    pub leave: Option<Leave>,
}

/// What happened, for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A snapshot is in use.
    Snapshot {
        /// Of which list, by index.
        index: usize,
        /// How many entries it has.
        entries: usize,
    },
    /// A delta is in use.
    Delta {
        /// Of which list, by index.
        index: usize,
    },
    /// A declaration came.
    Config {
        /// Of which list, by index.
        index: usize,
        /// Which.
        generation: u64,
    },
    /// An update was refused.
    Refused {
        /// Of which list, by index.
        index: usize,
        /// Why.
        why: String,
    },
    /// The controller gives nothing of a list to this sidecar.
    NotAdmitted {
        /// Of which list, by index.
        index: usize,
        /// Why.
        why: String,
    },
    /// A proof came.
    Proven {
        /// When the ping that it answers was sent.
        sent: Moment,
        /// How many lists it is about.
        lists: usize,
    },
}

/// Why another controller is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// This one has not seen what we have.
    Behind,
    /// This one is about to end.
    Draining {
        /// Move at a random moment within this time.
        within_milliseconds: u32,
    },
}

/// Everything that a sidecar process knows of its lists, over all its streams.
#[derive(Debug)]
pub struct Session {
    identity: String,
    followed: Vec<Followed>,
    pings: VecDeque<OpenPing>,
}

#[derive(Debug)]
struct OpenPing {
    nonce: [u8; 16],
    sent: Moment,
}

impl Session {
    /// Starts with what is known of each list. `identity` is `name#hex`, the second part random.
    #[must_use]
    pub fn new(identity: String, views: Vec<ListView>) -> Self {
        let followed = views.into_iter().map(Followed::new).collect();
        Self { identity, followed, pings: VecDeque::new() }
    }

    /// Returns the view of a list.
    #[must_use]
    pub fn view(&self, index: usize) -> Option<&ListView> {
        self.followed.get(index).map(|followed| &followed.view)
    }

    /// Starts a stream: what was open in the one before is void. Returns the first messages.
    pub fn connect(&mut self) -> Vec<v1::SubscriberMessage> {
        self.pings.clear();
        let highest = self.followed.iter().filter_map(|followed| followed.highest);
        let highest = highest.reduce(|a, b| if b.version > a.version { b } else { a });
        let mut messages = vec![message(Out::Hello(v1::Hello {
            features: super::FEATURES.iter().map(ToString::to_string).collect(),
            identity: self.identity.clone(),
            highest_version: highest.as_ref().map(version_to_wire),
        }))];
        for (reference, followed) in (1..).zip(&mut self.followed) {
            messages.push(message(Out::Subscribe(followed.subscribe(reference))));
        }
        messages
    }

    /// Makes a ping, unless too many are open.
    pub fn ping(&mut self, nonce: [u8; 16], now: Moment) -> Option<v1::SubscriberMessage> {
        if self.pings.len() >= MAX_OPEN_PINGS {
            return None;
        }
        self.pings.push_back(OpenPing { nonce, sent: now });
        let in_use = (1..).zip(&self.followed);
        let in_use = in_use.filter_map(|(reference, followed)| {
            Some(ack(reference, &followed.in_use()?, followed.view.generation))
        });
        let acknowledged = in_use.collect();
        Some(message(Out::Ping(v1::Ping { nonce: Bytes::copy_from_slice(&nonce), acknowledged })))
    }

    /// Returns how long the oldest open ping has waited, in nanoseconds.
    #[must_use]
    pub fn waiting_nanos(&self, now: Moment) -> u64 {
        self.pings.front().map_or(0, |ping| now.boot_nanos.saturating_sub(ping.sent.boot_nanos))
    }

    /// Returns the messages that say goodbye to a stream when nothing is checked any more.
    #[must_use]
    pub fn goodbye(&self) -> Vec<v1::SubscriberMessage> {
        self.goodbye_if(|_| true)
    }

    /// Tells whether this stream has proven something of each list.
    #[must_use]
    pub fn has_proven_all(&self) -> bool {
        self.followed.iter().all(Followed::is_proven)
    }

    /// Returns the messages that say goodbye to the stream before this one: for the lists that this one has proven. Of
    /// another the sidecar is as fresh as the stream before has made it, and has to be counted there.
    #[must_use]
    pub fn goodbye_to_the_one_before(&self) -> Vec<v1::SubscriberMessage> {
        self.goodbye_if(Followed::is_proven)
    }

    fn goodbye_if(&self, is_over: impl Fn(&Followed) -> bool) -> Vec<v1::SubscriberMessage> {
        let over = (1u32..).zip(&self.followed).filter(|(_, followed)| is_over(followed));
        over.map(|(reference, _)| message(Out::Bye(v1::Bye { r#ref: reference }))).collect()
    }

    /// Returns the shortest bound in force for the followed lists; none while no declaration is known.
    #[must_use]
    pub fn shortest_bound_seconds(&self) -> Option<u32> {
        let declared = self.followed.iter().filter(|followed| followed.view.config.is_some());
        declared.map(|followed| followed.view.bounds().bound_seconds).min()
    }

    /// Takes a message.
    ///
    /// # Errors
    /// [`SessionError`]: the stream has to be left. What is held stays.
    pub fn receive(&mut self, incoming: v1::PublisherMessage) -> Result<Received, SessionError> {
        let incoming = incoming.message.ok_or(SessionError::NotUnderstood)?;
        let mut received = Received::default();
        match incoming {
            In::Config(config) => self.update(config.r#ref, &mut received, |f| f.config(&config))?,
            In::SnapshotHeader(header) => {
                self.update(header.r#ref, &mut received, |f| f.snapshot_header(&header))?;
            }
            In::SnapshotFilter(part) => {
                self.update(part.r#ref, &mut received, |f| f.snapshot_filter(&part))?
            }
            In::SnapshotEntries(part) => {
                self.update(part.r#ref, &mut received, |f| f.snapshot_entries(&part))?
            }
            In::SnapshotEnd(end) => self.update(end.r#ref, &mut received, |f| f.snapshot_end(end))?,
            In::Delta(delta) => self.update(delta.r#ref, &mut received, |f| f.delta(delta))?,
            In::Pong(pong) => self.pong(pong, &mut received)?,
            In::Behind(behind) => {
                self.index(behind.r#ref)?;
                received.leave = Some(Leave::Behind);
            }
            In::NotAdmitted(refusal) => {
                // What is held stays, and grows old: a controller can't make a sidecar forget.
                let index = self.index(refusal.r#ref)?;
                let why = refusal.detail.chars().filter(|c| !c.is_control()).take(1024).collect();
                received.notes.push(Note::NotAdmitted { index, why });
            }
            In::Draining(draining) => {
                let within_milliseconds = draining.within_milliseconds;
                received.leave = Some(Leave::Draining { within_milliseconds });
            }
        }
        Ok(received)
    }

    fn index(&self, reference: u32) -> Result<usize, SessionError> {
        let index = usize::try_from(reference).ok().and_then(|reference| reference.checked_sub(1));
        index.filter(|index| *index < self.followed.len()).ok_or(SessionError::Reference { reference })
    }

    /// Runs an update of one list; an update that is refused leaves what was held, and asks for a snapshot.
    fn update(
        &mut self,
        reference: u32,
        received: &mut Received,
        update: impl FnOnce(&mut Followed) -> Result<Update, Refusal>,
    ) -> Result<(), SessionError> {
        let index = self.index(reference)?;
        let Some(followed) = self.followed.get_mut(index) else { return Ok(()) };
        match update(followed) {
            Ok(Update::Partial) => {}
            Ok(Update::Config { generation }) => received.notes.push(Note::Config { index, generation }),
            Ok(Update::Snapshot { entries }) => {
                received.notes.push(Note::Snapshot { index, entries });
                received.changed.push(index);
                received.replies.extend(acknowledgement(followed, reference));
            }
            Ok(Update::Delta) => {
                received.notes.push(Note::Delta { index });
                received.changed.push(index);
                received.replies.extend(acknowledgement(followed, reference));
            }
            Err(refusal) => Self::refuse(followed, index, reference, refusal, received),
        }
        Ok(())
    }

    fn refuse(
        followed: &mut Followed,
        index: usize,
        reference: u32,
        refusal: Refusal,
        received: &mut Received,
    ) {
        let why: String = refusal.why.chars().take(1024).collect();
        received.notes.push(Note::Refused { index, why: why.clone() });
        if followed.refused(&refusal) {
            received.changed.push(index);
        }
        received.replies.push(message(Out::Nack(v1::Nack {
            r#ref: reference,
            version: followed.held.as_ref().map(version_to_wire),
            reason: refusal.reason.into(),
            detail: why,
        })));
    }

    /// Only a Pong that answers an open ping of this stream raises freshness, and only to the moment at which the
    /// ping was *sent*.
    fn pong(&mut self, pong: v1::Pong, received: &mut Received) -> Result<(), SessionError> {
        let position = self.pings.iter().position(|ping| ping.nonce[..] == pong.nonce[..]);
        let position = position.ok_or(SessionError::ForeignPong)?;
        let Some(answered) = self.pings.drain(..=position).next_back() else { return Ok(()) };
        let mut lists = 0;
        for proof in pong.proofs {
            let reference = proof.r#ref;
            let index = self.index(reference)?;
            let Some(followed) = self.followed.get_mut(index) else { continue };
            match followed.proof(proof, answered.sent) {
                Ok(Proof::Void) => {}
                Ok(Proof::Taken) => {
                    lists += 1;
                    received.changed.push(index);
                }
                Err(refusal) => Self::refuse(followed, index, reference, refusal, received),
            }
        }
        received.notes.push(Note::Proven { sent: answered.sent, lists });
        Ok(())
    }
}

/// What an update did.
enum Update {
    /// A part of a snapshot was taken.
    Partial,
    Config {
        generation: u64,
    },
    Snapshot {
        entries: usize,
    },
    Delta,
}

const fn message(message: Out) -> v1::SubscriberMessage {
    v1::SubscriberMessage { message: Some(message) }
}

fn acknowledgement(followed: &Followed, reference: u32) -> Option<v1::SubscriberMessage> {
    let held = followed.held.as_ref()?;
    Some(message(Out::Ack(ack(reference, held, followed.view.generation))))
}

fn ack(reference: u32, held: &Sealed, generation: u64) -> v1::Ack {
    v1::Ack { r#ref: reference, version: Some(version_to_wire(held)), config_generation: generation }
}

#[cfg(test)]
mod tests;
