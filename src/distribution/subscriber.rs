//! One stream at a replica: what its sidecar has said, and what it is to be sent next.
//!
//! Pure: [`server`](super::server) moves the messages.

use std::collections::VecDeque;

use crate::proto::v1;
use crate::proto::v1::publisher_message::Message as Out;
use crate::proto::v1::subscriber_message::Message as In;
use crate::revocation::digest::Digest;
use crate::revocation::key::HashKey;
use crate::revocation::names::ListName;
use crate::revocation::version::Version;
use crate::store::SealKey;

use super::MAX_LISTS;
use super::admission::Admission;
use super::convert::{ConvertError, Proof, Sealed, digest_from_wire, proof_to_wire, version_from_wire};
use super::enforcement::InUse;
use super::frame::Frame;
use super::publisher::{ListPublisher, Plan, Standing};

pub use error::ProtocolError;

mod error;

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
struct Following {
    reference: u32,
    list: ListName,
    admission: Admission,
    /// Whether the sidecar knows that it may not have it.
    told: bool,
    /// What the sidecar says that it holds, until it is decided what that is worth.
    held: Option<(Version, Digest)>,
    /// The serial number of pings when it subscribed, or was admitted later and was counted: a proof above it is newer, and
    /// no other vouches for it.
    subscribed_at: u64,
    /// The highest version that it may have held: a snapshot must not be below.
    floor: Option<Version>,
    /// What it has after everything that was sent.
    position: Option<Version>,
    /// What was proven to it last: with its position it holds all up to here.
    proven: Option<Version>,
    acknowledged: Option<Version>,
    /// The declaration that was sent: its generation, and the key of the hashes that came with it.
    declared: Option<(u64, HashKey)>,
    nacks: u32,
    /// How many declarations it refused; a snapshot that it takes does not make up for them.
    config_nacks: u32,
    behind: Behind,
}

/// Whether the sidecar has seen more than this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    No,
    Told,
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
        Ok(Some((following.list.clone(), InUse { version, generation })))
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

impl Following {
    /// Forgets what the sidecar has, but not how high that may be: it gets a snapshot.
    fn decide(&mut self, admission: &Admission, serial: u64) -> Option<Admission> {
        if self.admission == *admission || *admission == Admission::Pending {
            return None;
        }
        let was = std::mem::replace(&mut self.admission, admission.clone());
        self.told = false;
        match (&was, admission) {
            (_, Admission::Admitted) => self.subscribed_at = serial,
            (Admission::Admitted, _) => self.start_over(),
            _ => {}
        }
        Some(was)
    }

    /// Says once that nothing comes of this list.
    fn tell_not_admitted(&mut self) -> Option<Frame> {
        let (reason, why) = match &self.admission {
            Admission::Refused { why } => (v1::NotAdmittedReason::NotAllowed, why),
            Admission::Unknown { why } => (v1::NotAdmittedReason::Unavailable, why),
            Admission::Admitted | Admission::Pending => return None,
        };
        let detail = (!std::mem::replace(&mut self.told, true)).then(|| why.clone())?;
        let message = v1::NotAdmitted { r#ref: self.reference, reason: reason.into(), detail };
        Some(own(Out::NotAdmitted(message)))
    }

    /// Returns the versions that the sidecar says it has.
    fn may_hold(&self) -> impl Iterator<Item = Version> {
        self.held.map(|(version, _)| version).into_iter().chain(self.floor)
    }

    /// Forgets what was sent: the sidecar gets all of it again, and nothing below what it may have.
    fn start_over(&mut self) {
        let seen = [self.position.take(), self.proven.take(), self.floor];
        self.floor = seen.into_iter().flatten().reduce(|a, b| if b > a { b } else { a });
        (self.acknowledged, self.held, self.declared) = (None, None, None);
    }

    /// Adds what leads to the last change; returns where the list stands if the sidecar will stand there too. A
    /// replica below what the sidecar may hold has nothing for it.
    fn catch_up(
        &mut self,
        publisher: &mut ListPublisher,
        proven: u64,
        frames: &mut Vec<Frame>,
    ) -> Option<Standing> {
        let declared = (publisher.config().generation, *publisher.state().hash_key());
        // Declared anew it counts its generations from one again, and versions that were sent are of another list.
        if self.declared.is_some_and(|(_, hash_key)| hash_key != declared.1) {
            self.start_over();
        }
        if self.position.is_none() {
            let complete = publisher.standing().complete;
            let reached =
                |version: Version| complete >= version || complete.epoch.counter > version.epoch.counter;
            if !self.may_hold().all(reached) {
                self.tell_behind(proven, frames);
                return None;
            }
            if let Some((version, digest)) = self.held.take() {
                self.resume(publisher, version, digest, frames);
            }
        }
        if self.declared != Some(declared) {
            self.declared = Some(declared);
            frames
                .push(Frame::Shared { reference: self.reference, message: publisher.config().frame.clone() });
        }
        while let Plan::Send { frames: shared, reaches } = publisher.plan(self.position, self.floor) {
            self.send(&shared, reaches, frames);
        }
        // Its name for the state may be another than ours, at or above the last change.
        self.position.map(|position| Standing { last_change: position, ..publisher.standing() })
    }

    fn resume(
        &mut self,
        publisher: &ListPublisher,
        version: Version,
        digest: Digest,
        frames: &mut Vec<Frame>,
    ) {
        let Some(plan) = publisher.resume(version, digest) else { return };
        self.acknowledged = Some(version);
        self.position = Some(version);
        if let Plan::Send { frames: bridge, reaches } = plan {
            self.send(&bridge, reaches, frames);
        }
    }

    fn send(&mut self, shared: &[super::frame::Shared], reaches: Version, frames: &mut Vec<Frame>) {
        let reference = self.reference;
        frames.extend(shared.iter().map(|message| Frame::Shared { reference, message: message.clone() }));
        self.position = Some(reaches);
    }

    /// A replica that has not seen what the sidecar has may only be late: a proof that began after the
    /// subscription decides.
    fn tell_behind(&mut self, proven: u64, frames: &mut Vec<Frame>) {
        if proven > self.subscribed_at && self.behind == Behind::No {
            self.behind = Behind::Told;
            frames.push(own(Out::Behind(v1::Behind { r#ref: self.reference })));
        }
    }
}

fn own(message: Out) -> Frame {
    Frame::Own(Box::new(v1::PublisherMessage { message: Some(message) }))
}

fn proof(reference: u32, standing: &Standing, publisher: &ListPublisher) -> v1::ListProof {
    let proof = Proof {
        complete: publisher.seal(standing.complete),
        last_change: publisher.seal(standing.last_change),
        digest: standing.digest,
        config_generation: standing.config_generation,
        horizon: standing.horizon,
    };
    proof_to_wire(reference, &proof)
}

#[cfg(test)]
mod tests;
