//! Puts a snapshot together from its messages, within the sizes that its header announced.

use crate::proto::v1;
use crate::revocation::key::Key;
use crate::revocation::row::Rows;
use crate::revocation::snapshot::Snapshot;
use crate::revocation::time::UnixSeconds;

use super::convert::{ConvertError, Sealed, entries_from_wire, snapshot_end_from_wire};
use super::{FEATURES, KEY_SCHEME, MAX_ENTRIES};

/// A filter takes less than this many bits per entry, at any size.
const MAX_FILTER_BYTES_PER_ENTRY: u64 = 8;
/// The filter of an empty list.
const MIN_FILTER_BYTES: u64 = 64 * 1024;

/// A snapshot on its way.
#[derive(Debug)]
pub struct Assembly {
    announced_entries: u64,
    announced_filter_bytes: u64,
    filter: Vec<u8>,
    entries: Vec<(Key, Rows)>,
}

/// Says why a snapshot was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// It needs something that this sidecar does not have.
    #[error("the snapshot requires {feature:?}, which this sidecar does not know: update it")]
    RequiredFeature {
        /// The feature.
        feature: String,
    },
    /// Its keys are computed in an unknown way.
    #[error("key scheme {scheme} is not known: update this sidecar")]
    KeyScheme {
        /// The scheme.
        scheme: u32,
    },
    /// It is larger than this sidecar takes.
    #[error("{announced} {what} were announced, and {limit} are the most")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        announced: u64,
        /// The limit.
        limit: u64,
    },
    /// It is not as large as announced.
    #[error("{found} {what} came, and {announced} were announced")]
    NotAsAnnounced {
        /// Of what.
        what: &'static str,
        /// How many came.
        found: u64,
        /// How many were announced.
        announced: u64,
    },
    /// A message makes no sense.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// Refuses what requires a feature that is not known.
///
/// # Errors
/// [`AssemblyError::RequiredFeature`].
pub fn check_features(required: &[String]) -> Result<(), AssemblyError> {
    let unknown = required.iter().find(|feature| !FEATURES.contains(&feature.as_str()));
    unknown.map_or(Ok(()), |feature| {
        Err(AssemblyError::RequiredFeature { feature: feature.chars().take(64).collect() })
    })
}

impl Assembly {
    /// Starts with the header.
    ///
    /// # Errors
    /// [`AssemblyError`] for what is not known or too large.
    pub fn start(header: &v1::SnapshotHeader) -> Result<Self, AssemblyError> {
        check_features(&header.required_features)?;
        if header.key_scheme != KEY_SCHEME {
            return Err(AssemblyError::KeyScheme { scheme: header.key_scheme });
        }
        let most_filter_bytes =
            MIN_FILTER_BYTES.max(header.entries.saturating_mul(MAX_FILTER_BYTES_PER_ENTRY));
        let too_large = |what, announced, limit| AssemblyError::TooLarge { what, announced, limit };
        if header.entries > MAX_ENTRIES {
            return Err(too_large("entries", header.entries, MAX_ENTRIES));
        }
        if header.filter_bytes > most_filter_bytes {
            return Err(too_large("filter bytes", header.filter_bytes, most_filter_bytes));
        }
        Ok(Self {
            announced_entries: header.entries,
            announced_filter_bytes: header.filter_bytes,
            filter: Vec::new(),
            entries: Vec::new(),
        })
    }

    /// Adds a part of the filter.
    ///
    /// # Errors
    /// [`AssemblyError::NotAsAnnounced`] as soon as there is too much.
    pub fn add_filter(&mut self, chunk: &[u8]) -> Result<(), AssemblyError> {
        let found = (self.filter.len() + chunk.len()) as u64;
        if found > self.announced_filter_bytes {
            return Err(self.not_as_announced("filter bytes", found, self.announced_filter_bytes));
        }
        self.filter.extend_from_slice(chunk);
        Ok(())
    }

    /// Adds entries.
    ///
    /// # Errors
    /// [`AssemblyError`] if they make no sense, or there are too many.
    pub fn add_entries(&mut self, entries: Option<&v1::Entries>) -> Result<(), AssemblyError> {
        let field = "snapshot_entries.entries";
        let entries = entries_from_wire(field, entries.ok_or(ConvertError::Missing { field })?)?;
        let found = (self.entries.len() + entries.len()) as u64;
        if found > self.announced_entries {
            return Err(self.not_as_announced("entries", found, self.announced_entries));
        }
        self.entries.extend(entries);
        Ok(())
    }

    /// Ends the snapshot, of which the list still has to verify digest, order and filter.
    ///
    /// # Errors
    /// [`AssemblyError`] if something is missing.
    pub fn finish(self, end: v1::SnapshotEnd) -> Result<(Snapshot, Sealed, UnixSeconds), AssemblyError> {
        let (entries, filter) = (self.entries.len() as u64, self.filter.len() as u64);
        if entries != self.announced_entries {
            return Err(self.not_as_announced("entries", entries, self.announced_entries));
        }
        if filter != self.announced_filter_bytes {
            return Err(self.not_as_announced("filter bytes", filter, self.announced_filter_bytes));
        }
        let (sealed, digest, horizon) = snapshot_end_from_wire(end)?;
        let snapshot =
            Snapshot { version: sealed.version, digest, entries: self.entries, filter: self.filter };
        Ok((snapshot, sealed, horizon))
    }

    const fn not_as_announced(&self, what: &'static str, found: u64, announced: u64) -> AssemblyError {
        AssemblyError::NotAsAnnounced { what, found, announced }
    }
}
