//! One followed list: what is held of it, and how each kind of message changes that.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::api::document::ListDocument;
use crate::proto::v1;
use crate::proto::v1::NackReason;
use crate::revocation::freshness::Knowledge;
use crate::revocation::key::HashKey;
use crate::revocation::list::{ListError, RevocationList};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::revocation::version::Epoch;
use crate::token::hash::sha256;
use crate::token::list_config::ListConfig;

use super::Update;
use super::kept::Kept;
use crate::distribution::KEY_SCHEME;
use crate::distribution::assembly::{Assembly, AssemblyError, check_features};
use crate::distribution::convert::{
    ConvertError, Sealed, array, delta_from_wire, digest_to_wire, proof_from_wire, version_to_wire,
};
use crate::distribution::view::ListView;

/// Nothing is forgotten in silence: the list goes stale instead.
const TOO_MANY_HISTORIES: &str = "this is one history too many, and none of those that are over may be forgotten: \
                                  start this sidecar again, and it keeps what is on its disk alone";

/// A list as its sidecar follows it.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) view: ListView,
    /// The version of the last change in use, as it was sealed.
    pub(super) held: Option<Sealed>,
    /// The version that this stream has proven last, as it was sealed.
    proven: Option<Sealed>,
    /// The highest version held or proven, over all streams, as it was sealed.
    pub(super) highest: Option<Sealed>,
    /// A declaration that came, and takes effect with the proof that names it.
    pending: Option<Pending>,
    /// The history in which the declaration in force was proven. A list that is deleted and declared anew has another
    /// hash key: that is another history too.
    declared_in: Option<(Epoch, HashKey)>,
    /// The key of the hashes, by the last declaration.
    hash_key: Option<HashKey>,
    assembly: Option<Assembly>,
    resync: Resync,
    /// What the view's denials come from.
    kept: Kept,
}

/// Whether a snapshot was asked for. Until it comes, deltas and proofs that were under way say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resync {
    No,
    Awaited,
}

/// What a proof was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The list is fresh.
    Taken,
    /// It says nothing: a snapshot was asked for and has not come.
    Void,
}

#[derive(Debug)]
struct Pending {
    generation: u64,
    config: Arc<ListConfig>,
    document: Arc<[u8]>,
}

/// Why an update was refused, and how much that says of what is held.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: NackReason,
    pub(super) why: String,
    integrity: Integrity,
}

/// What a refusal says of the list that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Integrity {
    /// It is as good as before.
    Unaffected,
    /// A digest or a sequence did not match: nothing may be concluded from it until a resync.
    InDoubt,
}

impl Refusal {
    fn new(reason: NackReason, error: &impl ToString) -> Self {
        Self { reason, why: error.to_string(), integrity: Integrity::Unaffected }
    }

    const fn in_doubt(mut self) -> Self {
        self.integrity = Integrity::InDoubt;
        self
    }
}

impl From<AssemblyError> for Refusal {
    fn from(error: AssemblyError) -> Self {
        let reason = match error {
            AssemblyError::RequiredFeature { .. } | AssemblyError::KeyScheme { .. } => {
                NackReason::NotUnderstood
            }
            AssemblyError::TooLarge { .. }
            | AssemblyError::NotAsAnnounced { .. }
            | AssemblyError::Convert(_) => NackReason::Malformed,
        };
        Self::new(reason, &error)
    }
}

impl From<ConvertError> for Refusal {
    fn from(error: ConvertError) -> Self {
        Self::new(NackReason::Malformed, &error)
    }
}

impl From<ListError> for Refusal {
    fn from(error: ListError) -> Self {
        let reason = match error {
            ListError::Gap { .. } | ListError::Backwards { .. } => NackReason::Gap,
            ListError::DigestMismatch { .. } => NackReason::Digest,
            ListError::MalformedEntry { .. } | ListError::Filter(_) | ListError::FilterMisses { .. } => {
                NackReason::Malformed
            }
        };
        Self::new(reason, &error)
    }
}

impl Followed {
    pub(super) fn new(view: ListView) -> Self {
        Self {
            kept: Kept::new(view.denials.clone(), view.config.as_deref()),
            view,
            held: None,
            proven: None,
            highest: None,
            pending: None,
            declared_in: None,
            hash_key: None,
            assembly: None,
            resync: Resync::No,
        }
    }

    /// Starts a stream. What is held is a place to resume from, unless it is in doubt.
    pub(super) fn subscribe(&mut self, reference: u32) -> v1::Subscribe {
        self.assembly = None;
        self.proven = None;
        self.pending = None;
        self.resync = Resync::No;
        let good = self.view.knowledge != Knowledge::Corrupt;
        let list = self.view.list.as_ref().filter(|_| good);
        let held = list.and_then(|list| Some((self.held?, list.digest())));
        v1::Subscribe {
            r#ref: reference,
            namespace: self.view.name.namespace().to_owned(),
            name: self.view.name.name().to_owned(),
            mode: v1::Mode::Exact.into(),
            version: held.as_ref().map(|(held, _)| version_to_wire(held)),
            digest: held.map(|(_, digest)| digest_to_wire(digest)).unwrap_or_default(),
        }
    }

    pub(super) fn config(&mut self, wire: &v1::Config) -> Result<Update, Refusal> {
        let refuse = |why: &dyn ToString| Refusal::new(NackReason::Config, &why.to_string());
        if wire.key_scheme != KEY_SCHEME {
            return Err(AssemblyError::KeyScheme { scheme: wire.key_scheme }.into());
        }
        if sha256(&wire.document)[..] != wire.document_sha256[..] {
            return Err(refuse(&"the declaration does not have the digest that came with it"));
        }
        let document = ListDocument::parse(&wire.document).map_err(|error| refuse(&error))?;
        let config = document.config().map_err(|error| refuse(&error))?;
        if config.name != self.view.name || document.metadata.generation != wire.generation {
            return Err(refuse(&"the declaration is of another list or generation than announced"));
        }
        self.hash_key = Some(HashKey::new(array("config.hash_key", &wire.hash_key)?));
        self.pending = Some(Pending {
            generation: wire.generation,
            config: Arc::new(config),
            document: Arc::from(&wire.document[..]),
        });
        Ok(Update::Config { generation: wire.generation })
    }

    pub(super) fn snapshot_header(&mut self, header: &v1::SnapshotHeader) -> Result<Update, Refusal> {
        self.assembly = None;
        self.assembly = Some(Assembly::start(header)?);
        Ok(Update::Partial)
    }

    /// Parts of a snapshot that was refused already are skipped; its refusal is on its way.
    pub(super) fn snapshot_filter(&mut self, part: &v1::SnapshotFilter) -> Result<Update, Refusal> {
        let Some(mut assembly) = self.assembly.take() else { return Ok(Update::Partial) };
        assembly.add_filter(&part.chunk)?;
        self.assembly = Some(assembly);
        Ok(Update::Partial)
    }

    pub(super) fn snapshot_entries(&mut self, part: &v1::SnapshotEntries) -> Result<Update, Refusal> {
        let Some(mut assembly) = self.assembly.take() else { return Ok(Update::Partial) };
        assembly.add_entries(part.entries.as_ref())?;
        self.assembly = Some(assembly);
        Ok(Update::Partial)
    }

    pub(super) fn snapshot_end(&mut self, end: v1::SnapshotEnd) -> Result<Update, Refusal> {
        let Some(assembly) = self.assembly.take() else { return Ok(Update::Partial) };
        let Some(hash_key) = self.hash_key else {
            return Err(Refusal::new(NackReason::Config, &"a snapshot came before its declaration"));
        };
        let (snapshot, sealed, horizon) = assembly.finish(end)?;
        if let Some(proven) = self.highest.map(|highest| highest.version)
            && snapshot.version.epoch == proven.epoch
            && snapshot.version < proven
        {
            return Err(ListError::Backwards { offered: snapshot.version, held: proven }.into());
        }
        let (list, same_history) = match &self.view.list {
            Some(held) => {
                let same_key = *held.hash_key() == hash_key;
                if !same_key && self.kept.is_full_for(held) {
                    return Err(Refusal::new(NackReason::Config, &TOO_MANY_HISTORIES));
                }
                let list = held.replace(hash_key, &snapshot)?;
                // Keys of one hash key say nothing under another: a store that was made anew has a key of its own.
                if !same_key {
                    self.kept.add(held);
                    self.view.denials = self.kept.lists();
                }
                (list, same_key && held.version().epoch == snapshot.version.epoch)
            }
            None => (RevocationList::from_snapshot(hash_key, &snapshot)?, true),
        };
        let entries = list.len();
        // Whatever discards state discards its proof: after a resync, and in another history.
        if self.view.knowledge == Knowledge::Corrupt || !same_history {
            self.view.knowledge = Knowledge::NeverProven;
            self.view.proven = None;
        }
        self.hold(list, sealed, horizon);
        self.resync = Resync::No;
        Ok(Update::Snapshot { entries })
    }

    pub(super) fn delta(&mut self, wire: v1::Delta) -> Result<Update, Refusal> {
        if self.resync == Resync::Awaited {
            return Ok(Update::Partial);
        }
        check_features(&wire.required_features)?;
        let read = delta_from_wire(wire)?;
        let Some(held) = &self.view.list else {
            return Err(Refusal::new(NackReason::Gap, &"a delta came before any snapshot"));
        };
        let list = held.apply(&read.delta).map_err(|error| Refusal::from(error).in_doubt())?;
        self.hold(list, read.to, read.horizon);
        Ok(Update::Delta)
    }

    fn hold(&mut self, list: RevocationList, sealed: Sealed, horizon: UnixSeconds) {
        self.view.list = Some(Arc::new(list));
        self.view.horizon = self.view.horizon.max(Some(horizon));
        self.held = Some(sealed);
        self.raise(sealed);
    }

    /// Neither a new stream nor a refusal makes unseen what was seen: it shows a store that it went back in time.
    fn raise(&mut self, seen: Sealed) {
        if self.highest.is_none_or(|highest| seen.version > highest.version) {
            self.highest = Some(seen);
        }
    }

    /// Tells whether this stream has proven something of the list.
    pub(super) const fn is_proven(&self) -> bool {
        self.proven.is_some()
    }

    /// Returns the highest version of which all is in use: the last change, or what was proven without one since.
    /// A replica knows only what it has proven itself.
    pub(super) fn in_use(&self) -> Option<Sealed> {
        let held = self.held?;
        Some(self.proven.filter(|proven| proven.version > held.version).unwrap_or(held))
    }

    /// Takes a proof; `sent` is the moment at which the ping that it answers was sent.
    pub(super) fn proof(&mut self, wire: v1::ListProof, sent: Moment) -> Result<Proof, Refusal> {
        if self.resync == Resync::Awaited {
            return Ok(Proof::Void);
        }
        let read = proof_from_wire(wire)?;
        let (proven, last_change, digest) = (read.complete, read.last_change, read.digest);
        let Some(list) = &self.view.list else {
            return Err(Refusal::new(NackReason::Gap, &"a proof came before any snapshot"));
        };
        if list.version() != last_change.version {
            let error = ListError::Gap { delta_from: last_change.version, held: list.version() };
            return Err(Refusal::from(error).in_doubt());
        }
        if list.digest() != digest {
            let error = ListError::DigestMismatch { computed: list.digest(), announced: digest };
            return Err(Refusal::from(error).in_doubt());
        }
        let list = Arc::clone(list);
        // An empty list has the same digest under every key.
        if self.hash_key.is_some_and(|hash_key| hash_key != *list.hash_key()) {
            return Err(Refusal::new(NackReason::Config, &"the proof is of a list under another hash key"));
        }
        let below = |before| {
            proven.version != before && proven.version.partial_cmp(&before) != Some(Ordering::Greater)
        };
        if self.view.proven.is_some_and(below) {
            let why = format!("the proof is of version {}, below one that was proven before", proven.version);
            return Err(Refusal::new(NackReason::Gap, &why));
        }
        self.adopt_config(read.config_generation, (proven.version.epoch, *list.hash_key()))?;
        self.view.proven = Some(proven.version);
        self.proven = Some(proven);
        self.raise(proven);
        self.view.horizon = self.view.horizon.max(Some(read.horizon));
        self.view.knowledge = Knowledge::FreshAsOf(sent);
        if let Some(list) = self.kept.proven(&list, proven.version, read.horizon) {
            self.view.list = Some(Arc::new(list));
        }
        self.view.denials = self.kept.lists();
        Ok(Proof::Taken)
    }

    /// A declaration takes effect with the proof that names it, so that no policy comes before the revocations
    /// that it would expose.
    ///
    /// A replica that served nobody reads the newest declaration in its first round: until then it sends an older
    /// one, which no proof may name any more. In another history they are counted anew.
    fn adopt_config(&mut self, generation: u64, history: (Epoch, HashKey)) -> Result<(), Refusal> {
        let same_history = self.declared_in == Some(history);
        let newest = !same_history || generation >= self.view.generation;
        if let Some(pending) = self.pending.take_if(|pending| newest && pending.generation == generation) {
            self.kept.declared(&pending.config);
            self.view.config = Some(pending.config);
            self.view.document = Some(pending.document);
            self.view.generation = generation;
            self.declared_in = Some(history);
            return Ok(());
        }
        if same_history && self.view.generation == generation {
            return Ok(());
        }
        let why = format!("the proof is under declaration {generation}, which has not come");
        Err(Refusal::new(NackReason::Config, &why))
    }

    /// Notes a refusal; tells whether the view changed.
    pub(super) fn refused(&mut self, refusal: &Refusal) -> bool {
        self.assembly = None;
        self.proven = None;
        self.resync = Resync::Awaited;
        if refusal.integrity == Integrity::InDoubt {
            self.view.knowledge = Knowledge::Corrupt;
            self.view.proven = None;
            return true;
        }
        false
    }
}
