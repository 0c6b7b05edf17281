//! Snapshots: the whole of a list at one version.

use super::digest::Digest;
use super::key::{HashKey, Key};
use super::row::Rows;
use super::version::Version;

/// All live rows of a list at a version, sorted by key, with the filter over them.
///
/// The filter's bytes are as [`Prefilter::to_bytes`](super::filter::Prefilter::to_bytes) wrote them; they come
/// from the wire or from a disk and are checked before they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version that the rows stand for.
    pub version: Version,
    /// The digest of the rows.
    pub digest: Digest,
    /// The rows by key, strictly ascending.
    pub entries: Vec<(Key, Rows)>,
    /// The prefilter over the keys.
    pub filter: Vec<u8>,
}

/// Computes the digest of rows.
#[must_use]
pub fn digest_of<'a>(hash_key: &HashKey, entries: impl IntoIterator<Item = &'a (Key, Rows)>) -> Digest {
    entries
        .into_iter()
        .fold(Digest::default(), |digest, (key, rows)| digest.replace(hash_key, *key, None, Some(rows)))
}
