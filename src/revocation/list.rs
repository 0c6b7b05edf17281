//! The revocation list as a sidecar holds it: exact entries, and the prefilter in front of them.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::delta::{Delta, Difference, digest_after};
use super::digest::Digest;
use super::filter::{FilterError, Prefilter};
use super::key::{HashKey, Key};
use super::row::Rows;
use super::snapshot::{Snapshot, digest_of};
use super::version::Version;

/// How many changes may wait in the overlay before they are merged into the base.
const OVERLAY_FLOOR: usize = 1024;
/// Above the floor, the overlay may hold this part of the base: a merge then costs O(1) per change.
const OVERLAY_SHARE: usize = 8;

type Map<V> = hashbrown::HashMap<Key, V, BuildHasherDefault<KeyHasher>>;

/// A list at one version, immutable; a change makes another list that shares most of its memory.
///
/// **Shape**: a base map with a prefilter over its keys, both shared, and a small overlay of changes since,
/// whose entries hide those of the base.
/// **Cost**: a lookup asks the overlay, then the filter, then the base. Applying a delta copies the overlay.
#[derive(Clone, Debug)]
pub struct RevocationList {
    hash_key: HashKey,
    base: Arc<Base>,
    overlay: Arc<Map<Option<Rows>>>,
    live: usize,
    digest: Digest,
    version: Version,
    retained: Arc<Map<Rows>>,
}

#[derive(Debug)]
struct Base {
    entries: Map<Rows>,
    filter: Prefilter,
}

/// What a lookup found, and which part answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The filter or the overlay proved that there is nothing.
    Nothing,
    /// The filter reported the key, and the exact set refuted it.
    FalsePositive,
    /// Rows stand under the key.
    Rows(Rows),
}

/// Says why a snapshot or a delta was refused; what was held before stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The delta does not start at the last change that was applied.
    #[error("a gap: the delta starts at {delta_from}, and the last change applied is {held}")]
    Gap {
        /// Where the delta starts.
        delta_from: Version,
        /// The last change that was applied.
        held: Version,
    },
    /// It would lead to a version that is not above the one held.
    #[error("version {offered} is not above {held}, which is held already")]
    Backwards {
        /// The version that was offered.
        offered: Version,
        /// The version that is held.
        held: Version,
    },
    /// The rows are not those that the publisher has.
    #[error("the digest is {computed:?}, and the publisher's is {announced:?}")]
    DigestMismatch {
        /// Computed over the rows.
        computed: Digest,
        /// Announced by the publisher.
        announced: Digest,
    },
    /// The entries are not strictly ascending, or one has no row.
    #[error("entry {index} is out of order or has no row")]
    MalformedEntry {
        /// Its place in the snapshot.
        index: usize,
    },
    /// The filter's bytes were refused.
    #[error("the filter was refused: {0}")]
    Filter(#[from] FilterError),
    /// The filter does not report a key that it must: a lookup would miss a revocation.
    #[error("the filter misses entry {index}")]
    FilterMisses {
        /// The entry's place in the snapshot.
        index: usize,
    },
}

impl RevocationList {
    /// Makes a list from a snapshot that nobody vouches for.
    ///
    /// # Errors
    /// [`ListError`] for whatever does not fit: a list with a hole is worse than an old list.
    pub fn from_snapshot(hash_key: HashKey, snapshot: &Snapshot) -> Result<Self, ListError> {
        let entries = &snapshot.entries;
        let ascending = |(a, b): (&(Key, Rows), &(Key, Rows))| a.0 < b.0;
        let unordered = entries.iter().zip(entries.iter().skip(1)).position(|pair| !ascending(pair));
        let without_row = entries.iter().position(|(_, rows)| rows.is_empty());
        if let Some(index) = without_row.or(unordered.map(|index| index + 1)) {
            return Err(ListError::MalformedEntry { index });
        }
        let computed = digest_of(&hash_key, entries);
        if computed != snapshot.digest {
            return Err(ListError::DigestMismatch { computed, announced: snapshot.digest });
        }
        let filter = Prefilter::from_bytes(&snapshot.filter, &hash_key, entries.len())?;
        if let Some(index) = entries.iter().position(|(key, _)| !filter.may_contain(*key)) {
            return Err(ListError::FilterMisses { index });
        }
        let base = Base { entries: entries.iter().copied().collect(), filter };
        Ok(Self {
            hash_key,
            live: base.entries.len(),
            base: Arc::new(base),
            overlay: Arc::default(),
            digest: snapshot.digest,
            version: snapshot.version,
            retained: Arc::default(),
        })
    }

    /// Makes a list of a later version from a snapshot, in place of this one.
    ///
    /// Across an epoch the old entries are kept beside the new ones, outside the digest: a store that went
    /// back in time must not let pass what it has forgotten. Under another hash key they would say nothing: then the
    /// caller has to keep this list beside the new one.
    ///
    /// # Errors
    /// As [`Self::from_snapshot`], and [`ListError::Backwards`] unless the snapshot is at or above this list.
    pub fn replace(&self, hash_key: HashKey, snapshot: &Snapshot) -> Result<Self, ListError> {
        if self.version > snapshot.version || self.version.partial_cmp(&snapshot.version).is_none() {
            return Err(ListError::Backwards { offered: snapshot.version, held: self.version });
        }
        let mut list = Self::from_snapshot(hash_key, snapshot)?;
        if hash_key != self.hash_key {
            return Ok(list);
        }
        if snapshot.version.epoch != self.version.epoch {
            return Ok(list.keeping(self));
        }
        list.retained = Arc::clone(&self.retained);
        Ok(list)
    }

    /// Returns this list with everything that another one of the same hash key denies kept beside it, outside the
    /// digest.
    #[must_use]
    pub fn keeping(&self, other: &Self) -> Self {
        let mut retained = (*self.retained).clone();
        let old = other.retained.iter().map(|(key, rows)| (*key, *rows));
        for (key, rows) in old.chain(other.entries()) {
            retained.entry(key).and_modify(|kept| *kept = kept.combine(rows)).or_insert(rows);
        }
        Self { retained: Arc::new(retained), ..self.clone() }
    }

    /// Returns the denials of this list alone, to be kept when its history is over: no state, and no digest.
    #[must_use]
    pub fn denials(&self) -> Self {
        let base = Base { entries: Map::default(), filter: Prefilter::with_capacity(&self.hash_key, 0) };
        let nothing = Self {
            base: Arc::new(base),
            overlay: Arc::default(),
            live: 0,
            digest: Digest::default(),
            retained: Arc::default(),
            ..self.clone()
        };
        nothing.keeping(self)
    }

    /// Returns the list with less of what is kept from old histories: `left` says what stays of the rows under each
    /// key. None if all of it stays.
    #[must_use]
    pub fn forgetting(&self, left: impl Fn(Rows) -> Rows) -> Option<Self> {
        if self.retained.values().all(|rows| left(*rows) == *rows) {
            return None;
        }
        let kept = self.retained.iter().map(|(key, rows)| (*key, left(*rows)));
        let retained = kept.filter(|(_, rows)| !rows.is_empty()).collect();
        Some(Self { retained: Arc::new(retained), ..self.clone() })
    }

    /// Applies a delta and returns the list after it; this one is left as it is.
    ///
    /// # Errors
    /// [`ListError::Gap`], [`ListError::Backwards`] or [`ListError::DigestMismatch`]: a snapshot is needed.
    pub fn apply(&self, delta: &Delta) -> Result<Self, ListError> {
        if delta.from != self.version {
            return Err(ListError::Gap { delta_from: delta.from, held: self.version });
        }
        if delta.to.partial_cmp(&self.version) != Some(std::cmp::Ordering::Greater) {
            return Err(ListError::Backwards { offered: delta.to, held: self.version });
        }
        let digest = digest_after(self.digest, &self.hash_key, &delta.difference, |key| self.exact(key));
        if digest != delta.digest {
            return Err(ListError::DigestMismatch { computed: digest, announced: delta.digest });
        }
        let mut list = Self { digest, version: delta.to, ..self.clone() };
        list.change(&delta.difference);
        Ok(list)
    }

    fn change(&mut self, difference: &Difference) {
        let mut overlay = (*self.overlay).clone();
        let mut retained = None;
        for (key, rows) in difference.iter() {
            let was = self.exact(key);
            self.live = self.live + usize::from(rows.is_some()) - usize::from(was.is_some());
            overlay.insert(key, rows);
            let Some(old) = self.retained.get(&key) else { continue };
            let left = old.unless_lifted(was.unwrap_or_default(), rows.unwrap_or_default());
            if left != *old {
                let retained = retained.get_or_insert_with(|| (*self.retained).clone());
                if left.is_empty() {
                    retained.remove(&key)
                } else {
                    retained.insert(key, left)
                };
            }
        }
        if let Some(retained) = retained {
            self.retained = Arc::new(retained);
        }
        self.overlay = Arc::new(overlay);
        if self.overlay.len() > OVERLAY_FLOOR.max(self.base.entries.len() / OVERLAY_SHARE) {
            self.merge();
        }
    }

    /// Moves the overlay into a new base, whose filter grows with it.
    fn merge(&mut self) {
        let entries: Map<Rows> = self.entries().collect();
        let filter = Prefilter::build(&self.hash_key, entries.keys().copied());
        self.base = Arc::new(Base { entries, filter });
        self.overlay = Arc::default();
    }

    /// Looks a key up: a hit in the filter is confirmed in the exact set.
    #[must_use]
    pub fn find(&self, key: Key) -> Found {
        let current = self.find_current(key);
        if self.retained.is_empty() {
            return current;
        }
        match (self.retained.get(&key), current) {
            (None, current) => current,
            (Some(old), Found::Rows(rows)) => Found::Rows(rows.combine(*old)),
            (Some(old), Found::Nothing | Found::FalsePositive) => Found::Rows(*old),
        }
    }

    fn find_current(&self, key: Key) -> Found {
        if !self.overlay.is_empty()
            && let Some(rows) = self.overlay.get(&key)
        {
            return rows.map_or(Found::Nothing, Found::Rows);
        }
        if !self.base.filter.may_contain(key) {
            return Found::Nothing;
        }
        self.base.entries.get(&key).map_or(Found::FalsePositive, |rows| Found::Rows(*rows))
    }

    /// Looks a key up in the exact set alone, without the filter and without what an old epoch left.
    #[must_use]
    pub fn exact(&self, key: Key) -> Option<Rows> {
        match self.overlay.get(&key) {
            Some(rows) => *rows,
            None => self.base.entries.get(&key).copied(),
        }
    }

    /// Returns the live entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (Key, Rows)> + '_ {
        let hidden = |key: &Key| self.overlay.contains_key(key);
        let base =
            self.base.entries.iter().filter(move |(key, _)| !hidden(key)).map(|(key, rows)| (*key, *rows));
        base.chain(self.overlay.iter().filter_map(|(key, rows)| Some((*key, (*rows)?))))
    }

    /// Returns the whole of the list, for the disk.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let filter = Prefilter::build(&self.hash_key, entries.iter().map(|(key, _)| *key));
        Snapshot { version: self.version, digest: self.digest, entries, filter: filter.to_bytes() }
    }

    /// Returns the number of live keys.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Tells whether no key is live.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Returns about how much memory the list takes.
    ///
    /// **Units**: bytes.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        let entry = size_of::<Key>() + size_of::<Rows>() + 1;
        let entries = self.base.entries.capacity() + self.overlay.capacity() + self.retained.capacity();
        entries * entry + self.base.filter.bytes()
    }

    /// Returns the number of keys kept from old epochs.
    #[must_use]
    pub fn retained_len(&self) -> usize {
        self.retained.len()
    }

    /// Returns the version of the last change applied.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the digest of the live rows.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the hash key.
    #[must_use]
    pub const fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }
}

/// Takes the lower half of a key as its hash: it is a keyed hash already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        // As one word: byte by byte it would cost more than the lookup.
        self.0 ^= bytes.first_chunk().map_or(0, |low| u64::from_le_bytes(*low));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
pub(crate) mod tests;
