//! One stream at a replica: what its sidecar has said, and what it is to be sent next.
//!
//! Pure: [`server`](super::server) moves the messages.

use std::collections::VecDeque;

use crate::proto::v1;
use crate::proto::v1::publisher_message::Message as Out;
use crate::proto::v1::subscriber_message::Message as In;
use crate::revocation::names::ListName;
use crate::revocation::version::Version;
use crate::store::SealKey;

use super::MAX_LISTS;
use super::admission::Admission;
use super::convert::{ConvertError, Sealed, digest_from_wire, version_from_wire};
use super::enforcement::{Declaration, InUse};
use super::frame::Frame;
use super::publisher::ListPublisher;

pub use error::ProtocolError;
use following::{Behind, Following, own, proof};

mod error;
mod following;

/// How many refusals without a success in between end a stream; of declarations, how many at all.
const MAX_NACKS: u32 = 3;
const MAX_IDENTITY_BYTES: usize = 256;
/// How many pings of one stream may be open.
const MAX_PINGS: usize = 8;

/// Lends a list's publisher, if there is one.
pub type Lookup<'a> = dyn FnMut(&ListName, &mut dyn FnMut(&mut ListPublisher)) + 'a;

/// What the shell has to do after a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The sidecar has introduced itself.
    Hello {
        /// What it calls itself.
        identity: String,
        /// Its random name for itself.
        instance: u128,
    },
    /// It follows a list.
    Subscribed(ListName),
    /// It has versions in use.
    Acknowledged(Vec<(ListName, InUse)>),
    /// It has refused an update, which is sent again as a snapshot.
    Refused {
        /// The list.
        list: ListName,
        /// What it said.
        detail: String,
    },
    /// It wants a proof; its acknowledgements come with it.
    Ping(Vec<(ListName, InUse)>),
    /// It no longer uses this stream for a list.
    Bye(ListName),
}

/// One stream.
#[derive(Debug)]
pub struct Subscriber {
    seal_key: SealKey,
    greeted: bool,
    /// The highest version that the sidecar held of any list.
    highest: Option<Version>,
    following: Vec<Following>,
    pings: VecDeque<PendingPing>,
    went_back: Option<Version>,
    /// What a list is worth before it is decided.
    at_first: Admission,
    /// The lists that the last answer to a ping has proven.
    answered: Vec<ListName>,
}

#[derive(Debug)]
struct PendingPing {
    nonce: bytes::Bytes,
    serial: u64,
    /// What had been sent of each list when the ping came; no proof before it is acknowledged.
    sent: Vec<(u32, Version)>,
}

impl Subscriber {
    /// Starts a stream whose sidecar may have every list.
    #[must_use]
    pub const fn new(seal_key: SealKey) -> Self {
        Self {
            seal_key,
            greeted: false,
            highest: None,
            following: Vec::new(),
            pings: VecDeque::new(),
            went_back: None,
            at_first: Admission::Admitted,
            answered: Vec::new(),
        }
    }

    /// Starts a stream whose sidecar may have a list once that is [decided](Self::decide).
    #[must_use]
    pub fn guarded(seal_key: SealKey) -> Self {
        Self { at_first: Admission::Pending, ..Self::new(seal_key) }
    }

    /// Returns the lists that the sidecar asks for.
    pub fn lists(&self) -> impl Iterator<Item = &ListName> {
        self.following.iter().map(|following| &following.list)
    }

    /// Takes a decision about a list; returns what it was before, if it is another now. `serial` is the number of pings
    /// that the replica has received, read after the session was entered for this list.
    pub fn decide(&mut self, list: &ListName, admission: &Admission, serial: u64) -> Option<Admission> {
        let mut before = None;
        for following in self.following.iter_mut().filter(|following| following.list == *list) {
            if let Some(was) = following.decide(admission, serial) {
                before = Some(was);
            }
        }
        before
    }

    /// Returns the lists that the last answer to a ping has proven. Told once.
    pub fn take_answered(&mut self) -> Vec<ListName> {
        std::mem::take(&mut self.answered)
    }

    /// Takes a message. `serial` is the number of pings that the replica has received, this one included.
    ///
    /// # Errors
    /// [`ProtocolError`]: the stream has to end.
    pub fn receive(
        &mut self,
        message: v1::SubscriberMessage,
        serial: u64,
    ) -> Result<Reaction, ProtocolError> {
        let message = message.message.ok_or(ProtocolError::NotUnderstood)?;
        if self.greeted == matches!(message, In::Hello(_)) {
            return Err(ProtocolError::Hello);
        }
        match message {
            In::Hello(hello) => self.hello(hello),
            In::Subscribe(subscribe) => self.subscribe(subscribe, serial),
            In::Ack(ack) => {
                let acknowledged = self.acknowledge(ack)?;
                Ok(Reaction::Acknowledged(acknowledged.into_iter().collect()))
            }
            In::Nack(nack) => self.nack(nack),
            In::Ping(ping) => self.receive_ping(ping, serial),
            In::Bye(bye) => {
                let index = self.index(bye.r#ref)?;
                Ok(Reaction::Bye(self.following.remove(index).list))
            }
        }
    }

    fn hello(&mut self, hello: v1::Hello) -> Result<Reaction, ProtocolError> {
        self.greeted = true;
        if hello.highest_version.is_some() {
            let sealed = version_from_wire("hello.highest_version", hello.highest_version)?;
            self.highest = self.is_ours(&sealed).then_some(sealed.version);
        }
        let (name, instance) = hello.identity.rsplit_once('#').unwrap_or((&hello.identity, ""));
        if hello.identity.len() > MAX_IDENTITY_BYTES || name.chars().any(char::is_control) {
            return Err(ConvertError::Value { field: "hello.identity" }.into());
        }
        let instance = u128::from_str_radix(instance, 16)
            .map_err(|_| ConvertError::Value { field: "hello.identity" })?;
        Ok(Reaction::Hello { identity: name.to_owned(), instance })
    }

    fn subscribe(&mut self, subscribe: v1::Subscribe, serial: u64) -> Result<Reaction, ProtocolError> {
        let reference = subscribe.r#ref;
        if reference == 0 || self.following.iter().any(|following| following.reference == reference) {
            return Err(ProtocolError::Reference { reference });
        }
        if self.following.len() >= MAX_LISTS {
            return Err(ProtocolError::TooManyLists);
        }
        match v1::Mode::try_from(subscribe.mode) {
            Ok(v1::Mode::Exact) => {}
            Ok(v1::Mode::Compact) => return Err(ProtocolError::Compact),
            Ok(v1::Mode::Unspecified) | Err(_) => return Err(ProtocolError::NotUnderstood),
        }
        let list = ListName::new(&subscribe.namespace, &subscribe.name)?;
        let held = match subscribe.version {
            None => None,
            Some(version) => {
                let sealed = version_from_wire("subscribe.version", Some(version))?;
                let digest = digest_from_wire("subscribe.digest", &subscribe.digest)?;
                // A version that no controller has sealed is none: the sidecar starts anew.
                self.is_ours(&sealed).then_some((sealed.version, digest))
            }
        };
        self.following.push(Following {
            reference,
            list: list.clone(),
            admission: self.at_first.clone(),
            told: false,
            held,
            subscribed_at: serial,
            floor: self.highest,
            position: None,
            proven: None,
            sent_before_proof: None,
            acknowledged: None,
            declared: None,
            nacks: 0,
            config_nacks: 0,
            behind: Behind::No,
        });
        Ok(Reaction::Subscribed(list))
    }

    fn is_ours(&self, sealed: &Sealed) -> bool {
        self.seal_key.verifies(&sealed.version, &sealed.seal)
    }

    fn index(&self, reference: u32) -> Result<usize, ProtocolError> {
        let found = self.following.iter().position(|following| following.reference == reference);
        found.ok_or(ProtocolError::Reference { reference })
    }

    /// Notes what the sidecar has in use. While it is not decided what it holds (a resume, or a resync after a
    /// refusal), what it says of it counts for nothing; nor does a version that this store has not sealed: the
    /// sidecar still holds a list of another one, until the snapshot that replaces it has arrived.
    ///
    /// A declaration takes effect with a proof. Until the sidecar has taken one of this stream, it goes by what another has
    /// brought, perhaps of a list that had the same name. That it has is plain once it has more than was sent before the first.
    fn acknowledge(&mut self, ack: v1::Ack) -> Result<Option<(ListName, InUse)>, ProtocolError> {
        let sealed = version_from_wire("ack.version", ack.version)?;
        let (reference, version, generation) = (ack.r#ref, sealed.version, ack.config_generation);
        let ours = self.is_ours(&sealed);
        let following = self.following.iter_mut().find(|following| following.reference == reference);
        let following = following.ok_or(ProtocolError::Reference { reference })?;
        let Some(position) = following.position.filter(|_| ours) else { return Ok(None) };
        if ![Some(position), following.proven].into_iter().flatten().any(|most| version <= most) {
            return Err(ProtocolError::NeverSent { version });
        }
        following.acknowledged = Some(version);
        following.nacks = 0;
        let has_taken_a_proof = following.sent_before_proof.is_some_and(|sent| version > sent);
        let declared = following.declared.filter(|_| has_taken_a_proof);
        let declaration = declared.map(|(_, hash_key)| Declaration { hash_key: hash_key.name(), generation });
        Ok(Some((following.list.clone(), InUse { version, declaration })))
    }

    fn nack(&mut self, nack: v1::Nack) -> Result<Reaction, ProtocolError> {
        let index = self.index(nack.r#ref)?;
        let detail: String = nack.detail.chars().filter(|c| !c.is_control()).take(256).collect();
        let Some(following) = self.following.get_mut(index) else { return Err(ProtocolError::NotUnderstood) };
        following.nacks += 1;
        following.config_nacks += u32::from(nack.reason == i32::from(v1::NackReason::Config));
        if following.nacks.max(following.config_nacks) >= MAX_NACKS {
            return Err(ProtocolError::Refused { detail });
        }
        following.start_over();
        Ok(Reaction::Refused { list: following.list.clone(), detail })
    }

    fn receive_ping(&mut self, ping: v1::Ping, serial: u64) -> Result<Reaction, ProtocolError> {
        if ping.nonce.len() != 16 {
            return Err(
                ConvertError::Length { field: "ping.nonce", found: ping.nonce.len(), expected: 16 }.into()
            );
        }
        if ping.acknowledged.len() > MAX_LISTS {
            return Err(ProtocolError::TooManyLists);
        }
        let acknowledged: Vec<_> =
            ping.acknowledged.into_iter().map(|ack| self.acknowledge(ack)).collect::<Result<_, _>>()?;
        let sent =
            self.following.iter().filter_map(|following| Some((following.reference, following.position?)));
        let pending = PendingPing { nonce: ping.nonce, serial, sent: sent.collect() };
        // The oldest stays, or a round that takes longer than the next ping would never answer any.
        if self.pings.len() >= MAX_PINGS {
            self.pings.pop_back();
        }
        self.pings.push_back(pending);
        Ok(Reaction::Ping(acknowledged.into_iter().flatten().collect()))
    }

    /// Returns a version that the sidecar has, and that the store had not reached in a proof which began after the
    /// sidecar said so: the store went back in time. Told once.
    pub const fn take_went_back(&mut self) -> Option<Version> {
        self.went_back.take()
    }

    /// Returns what is to be sent now. `proven` is the number of pings that the last proof covers; `lookup` lends
    /// a list's publisher.
    pub fn next_frames(&mut self, proven: u64, lookup: &mut Lookup<'_>) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut proofs = Vec::new();
        for (index, following) in self.following.iter_mut().enumerate() {
            if following.admission != Admission::Admitted {
                frames.extend(following.tell_not_admitted());
                continue;
            }
            let list = following.list.clone();
            lookup(&list, &mut |publisher| {
                let told = following.behind;
                let standing = following.catch_up(publisher, proven, &mut frames);
                if told != following.behind {
                    self.went_back = following.may_hold().reduce(|a, b| if b > a { b } else { a });
                }
                if let Some(standing) = standing {
                    let proof = proof(following.reference, &standing, publisher);
                    proofs.push((index, standing.complete, proof));
                }
            });
        }
        if let Some((nonce, serial)) = self.answerable(proven) {
            frames.push(own(Out::Pong(v1::Pong { nonce, proofs: self.vouch(proofs, serial) })));
        }
        frames
    }

    /// Notes what an answer proves, and leaves out the lists that were counted only after its ping came: a report without
    /// them may have been written for its round.
    fn vouch(&mut self, proofs: Vec<(usize, Version, v1::ListProof)>, serial: u64) -> Vec<v1::ListProof> {
        self.answered.clear();
        let mut vouched = Vec::new();
        for (index, complete, proof) in proofs {
            let Some(following) = self.following.get_mut(index) else { continue };
            if serial > following.subscribed_at {
                following.proven = Some(complete);
                following.sent_before_proof = following.sent_before_proof.or(following.position);
                self.answered.push(following.list.clone());
                vouched.push(proof);
            }
        }
        vouched
    }

    /// Takes the newest ping for which a proof that began after it is complete, and everything sent before it
    /// is in use. Older ones are answered by it too.
    fn answerable(&mut self, proven: u64) -> Option<(bytes::Bytes, u64)> {
        let in_use = |(reference, sent): &(u32, Version)| {
            let following = self.following.iter().find(|following| following.reference == *reference);
            following.is_none_or(|f| f.position.is_none() || f.acknowledged.is_some_and(|ack| ack >= *sent))
        };
        let answers = |ping: &PendingPing| ping.serial <= proven && ping.sent.iter().all(in_use);
        let newest = self.pings.iter().rposition(answers)?;
        self.pings.drain(..=newest).next_back().map(|ping| (ping.nonce, ping.serial))
    }
}

#[cfg(test)]
mod tests;
