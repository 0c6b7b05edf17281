//! The store: one ordered log of what was revoked, lifted and forgotten, and the lists that it is about.
//!
//! Whoever uses it sees the trait alone. Kubernetes objects and an embedded file keep the same contract, which
//! `contract` tests.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::api::document::ListDocument;
use crate::api::revocation::ListReport;
use crate::revocation::key::HashKey;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::record::{RevocationSpec, SpecError};
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Version;

#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
pub mod kubernetes;
mod written;

pub(crate) use self::written::generated_name;

/// A live revocation as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its origin; never used again.
    pub id: RecordId,
    /// The list that it is for.
    pub list: ListName,
    /// Its name within the namespace of the list.
    pub name: String,
    /// What is revoked.
    pub spec: RevocationSpec,
    /// The second in which the store took it.
    pub created: UnixSeconds,
    /// Why, in one word.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
    /// The version at which it was added.
    pub version: Version,
}

/// A declared list as the store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredList {
    /// Its declaration.
    pub document: ListDocument,
    /// The key of its hashes; shared by all replicas, and kept across epochs.
    pub hash_key: HashKey,
}

/// Everything at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The version.
    pub version: Version,
    /// The live revocations of all lists, in the order in which they were added.
    pub revocations: Vec<Revocation>,
    /// Revocations of which is not known what they revoke.
    pub unreadable: Vec<Unreadable>,
    /// Up to when expiries have been carried out.
    pub horizon: UnixSeconds,
}

/// A revocation of which this program does not know what it revokes: nothing can be vouched for of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its origin.
    pub id: RecordId,
    /// The list that it is for.
    pub list: ListName,
    /// What is not understood.
    pub why: String,
}

/// A step to be added to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewStep {
    /// Somebody revokes.
    Revoke(Box<NewRevocation>),
    /// Somebody lifts.
    Lift {
        /// The list.
        list: ListName,
        /// The name of the revocation.
        name: String,
        /// Only this very one; none lifts whatever bears the name.
        id: Option<RecordId>,
    },
    /// These revocations can deny no token any more at this time, nor later.
    Expire {
        /// Which, as they were judged: one that says something else by now stays.
        judged: Vec<Revocation>,
        /// The time; it never goes back.
        horizon: UnixSeconds,
    },
}

/// A revocation that is to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRevocation {
    /// The list.
    pub list: ListName,
    /// A name to repeat the call by; none lets the store choose one.
    pub name: Option<String>,
    /// What is revoked.
    pub spec: RevocationSpec,
    /// Why, in one word.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
}

/// What an acknowledged step did. It is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The version after the step.
    pub version: Version,
    /// The revocation that was added, lifted, or found to be there already; none after an expiry.
    pub revocation: Option<Revocation>,
    /// The revocations that have expired with this step.
    pub expired: Vec<RecordId>,
}

/// Says why a step was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There are as many revocations as the store takes. Nothing live is ever dropped for a new one.
    #[error("the store holds {limit} revocations, which is its limit: lift some, or raise the limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// No list of this name is declared.
    #[error("no list {list} is declared")]
    UnknownList {
        /// The name.
        list: ListName,
    },
    /// Another revocation bears the name.
    #[error("{list} has another revocation named {name}: choose another name, or lift that one first")]
    NameTaken {
        /// The list.
        list: ListName,
        /// The name.
        name: String,
    },
    /// No live revocation bears the name (or has the id).
    #[error("{list} has no revocation named {name}: it was lifted, has expired, or never was")]
    NotFound {
        /// The list.
        list: ListName,
        /// The name.
        name: String,
    },
    /// The revocation has no row.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The revocation would not read back as it is: a value is longer, or of another shape, than manifests allow.
    #[error("the revocation can't be written as a manifest: shorten its values")]
    Unwritable,
    /// The store is at its limit of calls; nothing was done.
    #[error("the store is busy: try again")]
    Busy,
    /// Whoever guards the store does not allow it; nothing was done.
    #[error("{why}")]
    Refused {
        /// The answer.
        why: String,
    },
    /// The store can't be reached at the moment. Whether the step is in the log is not known.
    #[error("the store is not available: {why}; try again")]
    Unavailable {
        /// What happened.
        why: String,
    },
    /// The store does not have what it had acknowledged: it is an older copy of itself.
    #[error("the store went back in time: it does not have what it had acknowledged")]
    WentBack,
    /// The store failed. Whether the step is in the log is not known; nothing that was acknowledged is lost.
    #[error("the store failed: {why}")]
    Failed {
        /// What happened, and what to do.
        why: String,
    },
}

/// A change, or a heartbeat, as the log delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The version after it.
    pub version: Version,
    /// What happened.
    pub what: What,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A revocation is there.
    Added(Box<Revocation>),
    /// A revocation is gone.
    Removed {
        /// Which.
        id: RecordId,
        /// The list that it was for.
        list: ListName,
    },
    /// A revocation is there, and this program does not know of what.
    Unreadable(Unreadable),
    /// Expiries up to this time are about to follow.
    Horizon(UnixSeconds),
    /// A replica's heartbeat.
    Heartbeat(Beat),
}

/// A heartbeat: a write that proves, once its event comes back, that everything before it has come too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The replica that wrote it.
    pub replica: u64,
    /// New for every attempt.
    pub nonce: u128,
}

/// Says why following has to start anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The log does not reach back so far: fetch everything, and follow from there.
    #[error("the log does not reach back to {from}")]
    Compacted {
        /// Where following was to go on.
        from: Version,
    },
    /// The version is of another history, or above what the store has reached.
    #[error("{from} is not a version of this store's history, which has reached {reached}")]
    NotOfThisHistory {
        /// Where following was to start.
        from: Version,
        /// The newest version.
        reached: Version,
    },
    /// The store is an older copy of itself.
    #[error("the store is an older copy of itself: it does not have what it has shown")]
    WentBack,
    /// The log can't be followed at the moment: fetch everything, and follow from there.
    #[error("the log can't be followed: {why}")]
    Unavailable {
        /// What happened.
        why: String,
    },
    /// The store failed.
    #[error("the store failed: {why}")]
    Failed {
        /// What happened.
        why: String,
    },
}

/// An ordered log of revocations with proof of completeness.
///
/// What an implementation must keep, and `contract` tests:
/// - what `append` answered is durable, and in every later `fetch` and `follow`;
/// - an expiry takes only what still says what was judged; a ban that was prolonged meanwhile stays;
/// - a refused step leaves no trace; at the limit the new step is refused, and nothing live is dropped;
/// - events come in the order of their versions, none twice and none left out, or following fails;
/// - the version that `beat` returns is above every version that was acknowledged before it was called, and
///   its event comes after theirs;
/// - versions never go back, across restarts too.
pub trait Store: Send + Sync + 'static {
    /// Adds a step. The answer is an acknowledgement.
    fn append(&self, step: NewStep) -> BoxFuture<'_, Result<Appended, StoreError>>;

    /// Follows the log from after a version.
    fn follow(&self, from: Version) -> BoxFuture<'_, Result<Box<dyn Follow>, FollowError>>;

    /// Returns everything live, at one version, to follow the log from there. For a replica that does not follow it now.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, StoreError>>;

    /// Returns everything live, at one version, to whoever only looks: at any time, and nobody who follows notices.
    fn read(&self) -> BoxFuture<'_, Result<Fetched, StoreError>> {
        self.fetch()
    }

    /// Returns all lists, as of a moment after the call began.
    fn lists(&self) -> BoxFuture<'_, Result<Vec<StoredList>, StoreError>>;

    /// Writes a heartbeat and returns its version.
    fn beat(&self, beat: Beat) -> BoxFuture<'_, Result<Version, StoreError>>;

    /// Writes what the sidecars of a replica have in use, if that has changed, for whoever tells when a revocation is
    /// enforced. It is in the log before every heartbeat that is written afterwards.
    ///
    /// A store of one process has nobody to tell, and keeps none.
    fn report(&self, _replica: u64, _lists: Vec<ListReport>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    /// Tells whether the store keeps reports.
    fn keeps_reports(&self) -> bool {
        false
    }

    /// Returns the shortest time from one heartbeat of a replica to the next that is good for the store. A list with a
    /// small bound needs them closer together.
    fn round_interval(&self) -> Duration {
        Duration::from_millis(200)
    }

    /// Starts another history above a version that was sealed by this store, after it was found to be an older copy of
    /// itself. That it is above that version by now says nothing: a copy goes on counting. Does nothing if a later history
    /// was started already.
    fn start_epoch(&self, above: Version) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns the key under which versions are sealed before they leave the controllers.
    fn seal_key(&self) -> SealKey;
}

/// A place in the log.
pub trait Follow: Send {
    /// Waits for the next event. Dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Event, FollowError>>;
}

/// The key of the seal that versions bear on the wire, so that a sidecar can't make up one that never was.
#[derive(Clone)]
pub struct SealKey(hmac::Key);

impl SealKey {
    /// Makes a key from random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Seals a version: the first 16 bytes of an HMAC-SHA-256 over its fields.
    #[must_use]
    pub fn seal(&self, version: &Version) -> [u8; 16] {
        let tag = hmac::sign(&self.0, &encode(version));
        let mut seal = [0; 16];
        seal.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        seal
    }

    /// Tells whether a seal is ours.
    #[must_use]
    pub fn verifies(&self, version: &Version, seal: &[u8]) -> bool {
        verify_slices_are_equal(&self.seal(version), seal).is_ok()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(secret)")
    }
}

fn encode(version: &Version) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend(version.epoch.counter.to_le_bytes());
    bytes.extend(version.epoch.id.to_le_bytes());
    bytes.extend(version.revisions.revocations.to_le_bytes());
    bytes.extend(version.revisions.segments.to_le_bytes());
    bytes
}
