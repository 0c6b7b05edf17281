//! A replica and a sidecar joined in memory, for tests: the pure state of both ends, the real bytes in between.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;

use super::frame::Frame;
use super::publisher::{ListPublisher, PublishedConfig};
use super::session::{Received, Session, SessionError};
use super::subscriber::{ProtocolError, Reaction, Subscriber};
use super::view::ListView;
use crate::api::compile::tests::document;
use crate::proto::v1;
use crate::revocation::freshness::Knowledge;
use crate::revocation::key::Key;
use crate::revocation::list::RevocationList;
use crate::revocation::list::tests::version;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::record::Record;
use crate::revocation::row::{End, Rows};
use crate::revocation::state::tests::HASH_KEY;
use crate::revocation::state::{State, Step};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::store::{SealKey, StoredList};

/// The list that replicas publish.
pub(crate) fn name() -> ListName {
    document().name().unwrap()
}

pub(crate) fn seal_key() -> SealKey {
    SealKey::new(&[4; 32])
}

pub(crate) fn config(generation: u64) -> PublishedConfig {
    let mut document = document();
    document.metadata.generation = generation;
    PublishedConfig::new(&StoredList { document, hash_key: HASH_KEY }).unwrap()
}

/// A record that denies always, of an origin and under a key of its own.
pub(crate) fn put(n: u8) -> Step {
    let rows = Rows { always: Some(End::NEVER), ..Rows::default() };
    Step::Put(Record { id: RecordId(n.into()), key: Key::from_bytes([n; 16]), rows })
}

pub(crate) fn lift(n: u8) -> Step {
    Step::Remove(RecordId(n.into()))
}

pub(crate) fn moment(seconds: u64) -> Moment {
    let nanos = seconds * 1_000_000_000;
    Moment { boot_nanos: nanos, wall_nanos: 1_700_000_000_000_000_000 + nanos }
}

pub(crate) fn publisher(state: State, complete: u64) -> ListPublisher {
    ListPublisher::new(state, version(complete), UnixSeconds::MIN, config(1), seal_key())
}

/// What a replica's hub is to a stream, with one list.
pub(crate) struct Replica {
    pub(crate) list: ListPublisher,
    /// The newest version of the log.
    pub(crate) newest: u64,
    pub(crate) pings: u64,
    pub(crate) proven: u64,
}

impl Replica {
    /// A replica that has fetched a state which is complete at a version.
    pub(crate) fn fetched(state: State, complete: u64) -> Self {
        Self { list: publisher(state, complete), newest: complete, pings: 0, proven: 0 }
    }

    pub(crate) fn new() -> Self {
        Self::fetched(State::new(HASH_KEY), 1)
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.newest += 1;
        self.list.apply(step, version(self.newest));
    }

    /// Something of another list, or a heartbeat.
    pub(crate) fn pass(&mut self) {
        self.newest += 1;
        self.list.advance(version(self.newest));
    }

    /// A whole round of proof.
    pub(crate) fn prove(&mut self) {
        self.pass();
        self.proven = self.pings;
    }
}

/// One stream between a replica and the session of a sidecar.
pub(crate) struct Pump {
    pub(crate) subscriber: Subscriber,
    pub(crate) session: Session,
    pub(crate) to_sidecar: VecDeque<Bytes>,
    pub(crate) to_replica: VecDeque<v1::SubscriberMessage>,
    /// What the replica made of the sidecar's messages.
    pub(crate) reactions: Vec<Reaction>,
    nonces: u8,
}

/// What ended a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Ended {
    BySidecar(SessionError),
    ByReplica(ProtocolError),
    NotDecoded,
}

impl Pump {
    pub(crate) fn new() -> Self {
        Self::with(ListView::empty(name()))
    }

    pub(crate) fn with(view: ListView) -> Self {
        let mut pump = Self {
            subscriber: Subscriber::new(seal_key()),
            session: Session::new("shop-1#ab".to_owned(), vec![view]),
            to_sidecar: VecDeque::new(),
            to_replica: VecDeque::new(),
            reactions: Vec::new(),
            nonces: 0,
        };
        pump.connect();
        pump
    }

    /// A new stream; whatever was under way in the old one is lost.
    pub(crate) fn connect(&mut self) {
        self.subscriber = Subscriber::new(seal_key());
        self.to_sidecar.clear();
        self.to_replica = self.session.connect().into();
        self.reactions.clear();
    }

    pub(crate) fn ping(&mut self, now: Moment) {
        self.nonces += 1;
        self.to_replica.extend(self.session.ping([self.nonces; 16], now));
    }

    /// The replica takes one message; pings are counted as its hub does.
    pub(crate) fn receive_one(&mut self, replica: &mut Replica) -> Result<bool, Ended> {
        let Some(message) = self.to_replica.pop_front() else { return Ok(false) };
        let message = v1::SubscriberMessage::decode(&message.encode_to_vec()[..]).unwrap();
        let is_ping = matches!(message.message, Some(v1::subscriber_message::Message::Ping(_)));
        replica.pings += u64::from(is_ping);
        let reaction = self.subscriber.receive(message, replica.pings).map_err(Ended::ByReplica)?;
        self.reactions.push(reaction);
        Ok(true)
    }

    /// The replica fills the outbox, as its server does: only when it is empty.
    pub(crate) fn fill(&mut self, replica: &mut Replica) {
        if self.to_sidecar.is_empty() {
            self.to_sidecar = self.frames(replica).iter().map(encode).collect();
        }
    }

    pub(crate) fn frames(&mut self, replica: &mut Replica) -> Vec<Frame> {
        let (proven, list) = (replica.proven, &mut replica.list);
        self.subscriber.next_frames(proven, &mut |_, use_it| use_it(list))
    }

    /// The sidecar takes one message.
    pub(crate) fn deliver_one(&mut self) -> Result<Option<Received>, Ended> {
        let Some(bytes) = self.to_sidecar.pop_front() else { return Ok(None) };
        let message = v1::PublisherMessage::decode(bytes).map_err(|_| Ended::NotDecoded)?;
        let received = self.session.receive(message).map_err(Ended::BySidecar)?;
        self.to_replica.extend(received.replies.iter().cloned());
        Ok(Some(received))
    }

    /// Moves messages until none is left.
    pub(crate) fn settle(&mut self, replica: &mut Replica) -> Result<Vec<Received>, Ended> {
        let mut all = Vec::new();
        for _ in 0..1000 {
            while self.receive_one(replica)? {}
            self.fill(replica);
            if self.to_sidecar.is_empty() {
                return Ok(all);
            }
            while let Some(received) = self.deliver_one()? {
                all.push(received);
            }
        }
        panic!("the two never come to rest");
    }

    /// A ping, a round, and everything that follows.
    pub(crate) fn prove(&mut self, replica: &mut Replica, sent: Moment) -> Result<(), Ended> {
        self.ping(sent);
        self.settle(replica)?;
        replica.prove();
        self.settle(replica).map(drop)
    }

    pub(crate) fn view(&self) -> &ListView {
        self.session.view(0).unwrap()
    }

    pub(crate) fn list(&self) -> &RevocationList {
        self.view().list.as_deref().unwrap()
    }

    pub(crate) fn knowledge(&self) -> Knowledge {
        self.view().knowledge
    }

    /// The sidecar holds exactly what the replica has.
    pub(crate) fn check_equal(&self, replica: &Replica) {
        let [mut held, mut published] = [self.list().snapshot(), replica.list.state().snapshot(version(0))];
        (held.version, published.version) = (version(0), version(0));
        assert_eq!(held, published);
    }
}

pub(crate) fn encode(frame: &Frame) -> Bytes {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes).unwrap();
    bytes.into()
}

pub(crate) fn decode(frame: &Frame) -> v1::publisher_message::Message {
    v1::PublisherMessage::decode(encode(frame)).unwrap().message.unwrap()
}
