//! One list at a replica: its state, its recent history, and what a subscriber at some position needs.
//!
//! Pure: it is fed by [`replica`](super::replica) and asked by the streams.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::api::allowed_subscribers::AllowedSubscribers;
use crate::api::invalid::Invalid;
use crate::api::window::Past;
use crate::proto::v1;
use crate::revocation::delta::{Delta, Difference};
use crate::revocation::digest::Digest;
use crate::revocation::freshness::Bounds;
use crate::revocation::state::{State, Step};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::revocation::version::Version;
use crate::store::{SealKey, StoredList};
use crate::token::hash::sha256;

use super::convert::{Sealed, delta_to_wire, entries_to_wire, snapshot_end_to_wire};
use super::frame::Shared;
use super::{CHUNK_BYTES, KEY_SCHEME};

/// How many changes the history holds; a subscriber further behind gets a snapshot.
const MAX_HISTORY: usize = 1024;
/// How many keys the changes of the history may name together.
const MAX_HISTORY_KEYS: usize = 1 << 16;
/// How many deltas to the last change are kept encoded, for others at the same position.
const MAX_ENCODED_DELTAS: usize = 64;
/// Entries of one message of a snapshot; an entry takes at most 46 bytes.
const ENTRIES_PER_CHUNK: usize = 4096;

/// A list as a replica publishes it.
#[derive(Debug)]
pub struct ListPublisher {
    state: State,
    seal_key: SealKey,
    config: PublishedConfig,
    /// Where the state was fetched; everything since is in the history, or was dropped from it.
    base: Point,
    last_change: Version,
    /// The last step that was about the list, also if it changed no row.
    last_step: Version,
    complete: Version,
    horizon: UnixSeconds,
    history: VecDeque<Change>,
    history_keys: usize,
    /// Deltas to the last change, by where they start; a bounded number.
    deltas: HashMap<Version, Shared>,
    snapshot: Option<EncodedSnapshot>,
    counts: Counts,
}

/// How often what was encoded; shared by all streams, so these are not numbers of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Snapshots.
    pub snapshots: u64,
    /// Deltas.
    pub deltas: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    version: Version,
    digest: Digest,
}

#[derive(Debug)]
struct Change {
    from: Point,
    difference: Difference,
}

/// Where a version stands in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InHistory {
    /// At the last change, or after it.
    Last,
    /// Before the change with this index, and not before the one below.
    Before(usize),
    /// Before the history, above what is complete, or in another history.
    Unknown,
}

#[derive(Debug)]
struct EncodedSnapshot {
    version: Version,
    frames: Arc<[Shared]>,
}

/// A list's declaration, ready for the streams.
#[derive(Clone, Debug)]
pub struct PublishedConfig {
    /// Which declaration it is.
    pub generation: u64,
    /// The bounds that it declares.
    pub bounds: Bounds,
    /// Which sidecars may have it.
    pub allowed: AllowedSubscribers,
    past_window: Option<Past>,
    /// The message.
    pub frame: Shared,
}

impl PublishedConfig {
    /// Encodes a declaration.
    ///
    /// # Errors
    /// [`Invalid`] if it does not compile: sidecars would refuse it.
    pub fn new(list: &StoredList) -> Result<Self, Invalid> {
        let bounds = list.document.config()?.freshness;
        let document = list.document.encode();
        let frame = Shared::config(&v1::Config {
            r#ref: 0,
            generation: list.document.metadata.generation,
            document_sha256: Bytes::copy_from_slice(&sha256(&document)),
            document: document.into(),
            hash_key: Bytes::copy_from_slice(list.hash_key.as_bytes()),
            key_scheme: KEY_SCHEME,
        });
        let past_window = list.document.past_window();
        let allowed = list.document.spec.allowed_subscribers.clone();
        Ok(Self { generation: list.document.metadata.generation, bounds, allowed, past_window, frame })
    }

    /// Returns how long a sidecar that holds it, or a wider one that an earlier process has published, may still
    /// allow.
    ///
    /// **Units**: nanoseconds.
    #[must_use]
    pub fn window_nanos(&self, now: Moment) -> u64 {
        let past = self.past_window.and_then(|past| past.window_nanos(now.wall().floor()));
        past.unwrap_or(0).max(self.bounds.window_nanos())
    }
}

/// What a subscriber needs next.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing: it has the last change.
    UpToDate,
    /// These messages, after which it stands at the version.
    Send {
        /// The messages, in order.
        frames: Arc<[Shared]>,
        /// Where it stands then.
        reaches: Version,
    },
}

/// What a proof says of a list, read together with the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The state is complete up to here.
    pub complete: Version,
    /// The last change at or below it.
    pub last_change: Version,
    /// The digest of all live rows.
    pub digest: Digest,
    /// The declaration in force.
    pub config_generation: u64,
    /// Up to when expiries have been carried out.
    pub horizon: UnixSeconds,
}

impl ListPublisher {
    /// Starts from a state that is complete at a version.
    #[must_use]
    pub fn new(
        state: State,
        complete: Version,
        horizon: UnixSeconds,
        config: PublishedConfig,
        seal_key: SealKey,
    ) -> Self {
        let base = Point { version: complete, digest: state.digest() };
        Self {
            state,
            seal_key,
            config,
            base,
            last_change: complete,
            last_step: complete,
            complete,
            horizon,
            history: VecDeque::new(),
            history_keys: 0,
            deltas: HashMap::new(),
            snapshot: None,
            counts: Counts::default(),
        }
    }

    /// Tells whether another publisher of the list, which was fetched later, publishes the same rows in the same history.
    #[must_use]
    pub fn stands_as(&self, fetched: &Self) -> bool {
        self.complete.epoch == fetched.complete.epoch
            && self.complete <= fetched.complete
            && self.state.hash_key() == fetched.state.hash_key()
            && self.state.digest() == fetched.state.digest()
    }

    /// Goes on from what was fetched, which [stands as](Self::stands_as) this one: streams keep their places, and nobody
    /// needs a snapshot.
    pub fn go_on_from(&mut self, fetched: Self) {
        // Equal rows may follow from other records, and lifting one of those must find the rest.
        self.state = fetched.state;
        self.last_step = fetched.last_step;
        self.advance(fetched.complete);
        self.raise_horizon(fetched.horizon);
        self.set_config(fetched.config);
    }

    /// Applies a step of the log at its version; tells whether a row changed.
    pub fn apply(&mut self, step: Step, version: Version) -> bool {
        let before = self.point();
        let difference = self.state.apply(step);
        self.complete = version;
        self.last_step = version;
        if difference.is_empty() {
            return false;
        }
        self.last_change = version;
        self.deltas.clear();
        self.history_keys += difference.len();
        self.history.push_back(Change { from: before, difference });
        while self.history.len() > MAX_HISTORY
            || (self.history_keys > MAX_HISTORY_KEYS && self.history.len() > 1)
        {
            let dropped = self.history.pop_front().map_or(0, |change| change.difference.len());
            self.history_keys -= dropped;
        }
        true
    }

    /// Says that the state is complete up to a version without a change.
    pub const fn advance(&mut self, version: Version) {
        self.complete = version;
    }

    /// Says up to when expiries are being carried out.
    pub fn raise_horizon(&mut self, horizon: UnixSeconds) {
        self.horizon = self.horizon.max(horizon);
    }

    /// Takes a declaration of a later generation.
    pub fn set_config(&mut self, config: PublishedConfig) {
        if config.generation > self.config.generation {
            self.config = config;
        }
    }

    /// Returns the declaration.
    #[must_use]
    pub const fn config(&self) -> &PublishedConfig {
        &self.config
    }

    /// Returns the state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Returns the size of the newest snapshot that was encoded; none if none was needed yet.
    #[must_use]
    pub fn snapshot_bytes(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.frames.iter().map(Shared::body_bytes).sum())
    }

    /// Returns how much was encoded.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns what a proof may say now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            complete: self.complete,
            last_change: self.last_change,
            digest: self.state.digest(),
            config_generation: self.config.generation,
            horizon: self.horizon,
        }
    }

    /// Returns up to which step a subscriber has everything that has all up to a version: one that has the last change
    /// has every step since. As long as nothing happens to the list, the answer stays the same.
    #[must_use]
    pub fn has_steps_up_to(&self, acknowledged: Version) -> Version {
        if acknowledged >= self.last_change { self.last_step } else { acknowledged }
    }

    /// Seals a version for the wire.
    #[must_use]
    pub fn seal(&self, version: Version) -> Sealed {
        Sealed { version, seal: self.seal_key.seal(&version) }
    }

    /// Returns what leads from where a subscriber was to where it can go on: nothing if its position is in the
    /// history already, or the one message that says so; none if it needs a snapshot.
    ///
    /// Other replicas may name the state after a change by any later version before the next one: it is the same
    /// state if its digest is that of the newest change at or below it. The digest of an empty list is no evidence: it
    /// is the same under every hash key, and so that of a list which was declared anew since.
    pub fn resume(&self, held: Version, digest: Digest) -> Option<Plan> {
        if digest == Digest::default() {
            return None;
        }
        let below = match self.locate(held) {
            InHistory::Last => Some(self.state.digest()),
            InHistory::Before(index) => self.history.get(index).map(|change| change.from.digest),
            InHistory::Unknown => None,
        };
        if below == Some(digest) {
            return Some(Plan::UpToDate);
        }
        // Before the state was fetched the history is not known, but one state has one digest.
        let within_gap = held.epoch == self.base.version.epoch && held < self.base.version;
        let reaches_base = self.history.front().map_or(self.last_change, |change| change.from.version);
        if within_gap && digest == self.base.digest && reaches_base == self.base.version {
            let bridge = self.encode(held, self.base, &Difference::default());
            return Some(Plan::Send { frames: Arc::new([bridge]), reaches: self.base.version });
        }
        None
    }

    /// Returns what a subscriber at a position needs; one without a position gets a snapshot, which is not below
    /// `floor`: the highest version that it may have held.
    ///
    /// Encoded once: whoever stands at the same position shares the bytes.
    pub fn plan(&mut self, position: Option<Version>, floor: Option<Version>) -> Plan {
        let Some(position) = position else { return self.plan_snapshot(floor) };
        let index = match self.locate(position) {
            InHistory::Last => return Plan::UpToDate,
            InHistory::Before(index) => index,
            InHistory::Unknown => return self.plan_snapshot(Some(position)),
        };
        let delta = match self.deltas.get(&position) {
            Some(delta) => delta.clone(),
            None => {
                let changes = self.history.range(index..);
                let merged = changes.fold(Difference::default(), |sum, change| sum.then(&change.difference));
                let delta = self.encode(position, self.point(), &merged);
                if self.deltas.len() >= MAX_ENCODED_DELTAS {
                    self.deltas.clear();
                }
                self.deltas.insert(position, delta.clone());
                self.counts.deltas += 1;
                delta
            }
        };
        Plan::Send { frames: Arc::new([delta]), reaches: self.last_change }
    }

    fn locate(&self, position: Version) -> InHistory {
        if position >= self.last_change {
            return if position <= self.complete { InHistory::Last } else { InHistory::Unknown };
        }
        let index = self.history.iter().rposition(|change| change.from.version <= position);
        index.map_or(InHistory::Unknown, InHistory::Before)
    }

    /// An older snapshot still serves newcomers, with a delta after it, as long as the history reaches back.
    fn plan_snapshot(&mut self, floor: Option<Version>) -> Plan {
        let high_enough = |version: Version| floor.is_none_or(|floor| version >= floor);
        let usable = |version| high_enough(version) && self.locate(version) != InHistory::Unknown;
        if let Some(encoded) = self.snapshot.as_ref().filter(|encoded| usable(encoded.version)) {
            return Plan::Send { frames: Arc::clone(&encoded.frames), reaches: encoded.version };
        }
        // The state is the same up to where it is complete; a sidecar may hold it under a later name.
        let version = if high_enough(self.last_change) { self.last_change } else { self.complete };
        let frames = self.encode_snapshot(version);
        self.snapshot = Some(EncodedSnapshot { version, frames: Arc::clone(&frames) });
        self.counts.snapshots += 1;
        Plan::Send { frames, reaches: version }
    }

    fn point(&self) -> Point {
        Point { version: self.last_change, digest: self.state.digest() }
    }

    fn encode(&self, from: Version, to: Point, difference: &Difference) -> Shared {
        let delta = Delta { from, to: to.version, difference: difference.clone(), digest: to.digest };
        Shared::delta(&delta_to_wire(&delta, &self.seal(from), &self.seal(to.version), self.horizon))
    }

    fn encode_snapshot(&self, version: Version) -> Arc<[Shared]> {
        let snapshot = self.state.snapshot(version);
        let header = v1::SnapshotHeader {
            r#ref: 0,
            required_features: Vec::new(),
            key_scheme: KEY_SCHEME,
            entries: snapshot.entries.len() as u64,
            filter_bytes: snapshot.filter.len() as u64,
        };
        let mut frames = vec![Shared::snapshot_header(&header)];
        for chunk in snapshot.filter.chunks(CHUNK_BYTES) {
            let chunk = Bytes::copy_from_slice(chunk);
            frames.push(Shared::snapshot_filter(&v1::SnapshotFilter { r#ref: 0, chunk }));
        }
        for chunk in snapshot.entries.chunks(ENTRIES_PER_CHUNK) {
            let entries = Some(entries_to_wire(chunk.iter().copied()));
            frames.push(Shared::snapshot_entries(&v1::SnapshotEntries { r#ref: 0, entries }));
        }
        let sealed = self.seal(snapshot.version);
        frames.push(Shared::snapshot_end(&snapshot_end_to_wire(&sealed, snapshot.digest, self.horizon)));
        frames.into()
    }
}

#[cfg(test)]
pub(crate) mod tests;
