//! Deltas: what changed between two states of a list, with absolute values.

use std::collections::BTreeMap;

use super::digest::Digest;
use super::key::{HashKey, Key};
use super::row::Rows;
use super::version::Version;

/// What changed under each key: the rows that stand there now, or none.
///
/// Values are absolute, so applying a difference twice is applying it once, and of two in sequence the later
/// wins. A key that is not named did not change: absence never removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    changes: BTreeMap<Key, Option<Rows>>,
}

impl Difference {
    /// Says that these rows stand under a key now; no rows at all say that it was removed.
    pub fn put(&mut self, key: Key, rows: Rows) {
        self.changes.insert(key, (!rows.is_empty()).then_some(rows));
    }

    /// Returns this difference followed by a later one.
    #[must_use]
    pub fn then(mut self, later: &Self) -> Self {
        self.changes.extend(later.changes.iter().map(|(key, rows)| (*key, *rows)));
        self
    }

    /// Returns the number of keys that changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Tells whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the changes in the order of their keys; no rows means removed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Key, Option<Rows>)> + '_ {
        self.changes.iter().map(|(key, rows)| (*key, *rows))
    }
}

/// One step of a sidecar's list: from the last change that it applied to a later version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The version of the last change that must have been applied before.
    pub from: Version,
    /// The version that it leads to.
    pub to: Version,
    /// What changed between the two.
    pub difference: Difference,
    /// The digest of all live rows at `to`.
    pub digest: Digest,
}

/// Computes the digest after a difference, given what stood under a key before.
#[must_use]
pub fn digest_after(
    digest: Digest,
    hash_key: &HashKey,
    difference: &Difference,
    before: impl Fn(Key) -> Option<Rows>,
) -> Digest {
    difference.iter().fold(digest, |digest, (key, rows)| {
        digest.replace(hash_key, key, before(key).as_ref(), rows.as_ref())
    })
}
