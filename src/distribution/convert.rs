//! Between the protocol and the core. Nothing behind it sees a raw integer of the wire.

use std::num::NonZeroU64;

use bytes::Bytes;

use crate::proto::v1;
use crate::revocation::delta::{Delta, Difference};
use crate::revocation::digest::Digest;
use crate::revocation::key::Key;
use crate::revocation::row::{End, Rows};
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::{Epoch, Revisions, Version};
use crate::token::hash::sha256;

/// Enough for damage by accident; whoever can forge a message can forge a checksum.
const CHECKSUM_BYTES: usize = 8;

/// Says what in a message makes no sense; the whole message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has the wrong number of bytes or items.
    #[error("{field} has {found} bytes or items, and {expected} are expected")]
    Length {
        /// The field.
        field: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A value that the field can't have.
    #[error("{field} has a value that is not understood")]
    Value {
        /// The field.
        field: &'static str,
    },
    /// Keys that are not strictly ascending.
    #[error("the keys of {field} are not strictly ascending at {index}")]
    Order {
        /// The field.
        field: &'static str,
        /// The place.
        index: usize,
    },
    /// Versions, a horizon, a generation or a digest that are not those that were sent.
    #[error("{field} does not fit the versions and numbers that came with it: they were damaged on the way")]
    Checksum {
        /// The field.
        field: &'static str,
    },
}

/// A version with the seal that only controllers can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The version.
    pub version: Version,
    /// The seal; a sidecar hands it back unread.
    pub seal: [u8; 16],
}

/// Writes a version.
#[must_use]
pub fn version_to_wire(sealed: &Sealed) -> v1::Version {
    v1::Version {
        epoch: sealed.version.epoch.counter,
        epoch_id: Bytes::copy_from_slice(&sealed.version.epoch.id.to_be_bytes()),
        revocations: sealed.version.revisions.revocations,
        segments: sealed.version.revisions.segments,
        mac: Bytes::copy_from_slice(&sealed.seal),
    }
}

/// Reads a version.
///
/// # Errors
/// [`ConvertError`].
pub fn version_from_wire(field: &'static str, version: Option<v1::Version>) -> Result<Sealed, ConvertError> {
    let version = version.ok_or(ConvertError::Missing { field })?;
    Ok(Sealed {
        version: Version {
            epoch: Epoch {
                counter: version.epoch,
                id: u128::from_be_bytes(array(field, &version.epoch_id)?),
            },
            revisions: Revisions { revocations: version.revocations, segments: version.segments },
        },
        seal: array(field, &version.mac)?,
    })
}

/// Reads bytes of a fixed number.
///
/// # Errors
/// [`ConvertError::Length`].
pub fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    bytes.try_into().map_err(|_| ConvertError::Length { field, found: bytes.len(), expected: N })
}

/// Writes a digest.
#[must_use]
pub fn digest_to_wire(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(&digest.as_u128().to_be_bytes())
}

/// Reads a digest.
///
/// # Errors
/// [`ConvertError::Length`].
pub fn digest_from_wire(field: &'static str, bytes: &[u8]) -> Result<Digest, ConvertError> {
    array(field, bytes).map(|bytes| Digest::from_u128(u128::from_be_bytes(bytes)))
}

/// Reads a horizon.
///
/// # Errors
/// [`ConvertError::Value`] after the year 9999.
pub fn horizon_from_wire(horizon: u64) -> Result<UnixSeconds, ConvertError> {
    UnixSeconds::new(horizon).map_err(|_| ConvertError::Value { field: "horizon" })
}

/// Which message a checksum belongs to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    SnapshotEnd = 1,
    Delta = 2,
    ListProof = 3,
}

/// Covers what no digest of rows does. A version that was raised on the way would be above all that ever comes, and a
/// horizon would take living tokens for expired.
fn checksum(kind: Kind, versions: &[&Sealed], numbers: &[u64], digest: Digest) -> Bytes {
    let mut bytes = vec![kind as u8];
    for sealed in versions {
        let Version { epoch, revisions } = sealed.version;
        bytes.extend(epoch.counter.to_be_bytes());
        bytes.extend(epoch.id.to_be_bytes());
        bytes.extend(revisions.revocations.to_be_bytes());
        bytes.extend(revisions.segments.to_be_bytes());
        bytes.extend(sealed.seal);
    }
    numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes.extend(digest.as_u128().to_be_bytes());
    sha256(&bytes).iter().copied().take(CHECKSUM_BYTES).collect()
}

fn check(field: &'static str, found: &Bytes, expected: &Bytes) -> Result<(), ConvertError> {
    if found == expected { Ok(()) } else { Err(ConvertError::Checksum { field }) }
}

/// Writes the end of a snapshot, without the reference of a stream.
#[must_use]
pub fn snapshot_end_to_wire(sealed: &Sealed, digest: Digest, horizon: UnixSeconds) -> v1::SnapshotEnd {
    v1::SnapshotEnd {
        r#ref: 0,
        version: Some(version_to_wire(sealed)),
        digest: digest_to_wire(digest),
        horizon: horizon.get(),
        checksum: checksum(Kind::SnapshotEnd, &[sealed], &[horizon.get()], digest),
    }
}

/// Reads the end of a snapshot: its version, its digest, and up to when expiries have been carried out in it.
///
/// # Errors
/// [`ConvertError`].
pub fn snapshot_end_from_wire(wire: v1::SnapshotEnd) -> Result<(Sealed, Digest, UnixSeconds), ConvertError> {
    let sealed = version_from_wire("snapshot_end.version", wire.version)?;
    let digest = digest_from_wire("snapshot_end.digest", &wire.digest)?;
    let horizon = horizon_from_wire(wire.horizon)?;
    let expected = checksum(Kind::SnapshotEnd, &[&sealed], &[wire.horizon], digest);
    check("snapshot_end.checksum", &wire.checksum, &expected)?;
    Ok((sealed, digest, horizon))
}

/// What a proof says of one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The replica's state was complete up to here.
    pub complete: Sealed,
    /// The last change of the list at or below it.
    pub last_change: Sealed,
    /// The digest of all live rows.
    pub digest: Digest,
    /// The declaration in force.
    pub config_generation: u64,
    /// Up to when expiries have been carried out.
    pub horizon: UnixSeconds,
}

impl Proof {
    fn checksum(&self) -> Bytes {
        let numbers = [self.config_generation, self.horizon.get()];
        checksum(Kind::ListProof, &[&self.complete, &self.last_change], &numbers, self.digest)
    }
}

/// Writes a proof.
#[must_use]
pub fn proof_to_wire(reference: u32, proof: &Proof) -> v1::ListProof {
    v1::ListProof {
        r#ref: reference,
        version: Some(version_to_wire(&proof.complete)),
        digest: digest_to_wire(proof.digest),
        config_generation: proof.config_generation,
        horizon: proof.horizon.get(),
        last_change: Some(version_to_wire(&proof.last_change)),
        checksum: proof.checksum(),
    }
}

/// Reads a proof.
///
/// # Errors
/// [`ConvertError`].
pub fn proof_from_wire(wire: v1::ListProof) -> Result<Proof, ConvertError> {
    let proof = Proof {
        complete: version_from_wire("list_proof.version", wire.version)?,
        last_change: version_from_wire("list_proof.last_change", wire.last_change)?,
        digest: digest_from_wire("list_proof.digest", &wire.digest)?,
        config_generation: wire.config_generation,
        horizon: horizon_from_wire(wire.horizon)?,
    };
    check("list_proof.checksum", &wire.checksum, &proof.checksum())?;
    Ok(proof)
}

/// Writes entries, which must be in the order of their keys.
#[must_use]
pub fn entries_to_wire(entries: impl ExactSizeIterator<Item = (Key, Rows)>) -> v1::Entries {
    let count = entries.len();
    let mut keys = Vec::with_capacity(count * 16);
    let mut wire = v1::Entries { always: Vec::with_capacity(count), ..v1::Entries::default() };
    for (key, rows) in entries {
        keys.extend(key.to_bytes());
        wire.always.push(rows.always.map_or(0, end_to_wire));
        wire.issued.push(rows.issued.map_or(0, |time| time.get() + 1));
        wire.session_started.push(rows.session_started.map_or(0, |time| time.get() + 1));
    }
    wire.keys = Bytes::from(keys);
    wire
}

fn end_to_wire(end: End) -> u64 {
    end.time().map_or(u64::MAX, |time| time.get() + 1)
}

/// Reads entries: columns of one length, keys strictly ascending, every row within range, none empty.
///
/// # Errors
/// [`ConvertError`]: a list with a hole is worse than an old list.
pub fn entries_from_wire(field: &'static str, wire: &v1::Entries) -> Result<Vec<(Key, Rows)>, ConvertError> {
    let keys = keys_from_wire(field, &wire.keys)?;
    let expected = keys.len();
    for column in [&wire.always, &wire.issued, &wire.session_started] {
        if column.len() != expected {
            return Err(ConvertError::Length { field, found: column.len(), expected });
        }
    }
    let columns = wire.always.iter().zip(&wire.issued).zip(&wire.session_started);
    keys.into_iter()
        .zip(columns)
        .map(|(key, ((always, issued), session_started))| {
            let rows = Rows {
                always: NonZeroU64::new(*always).map(|end| end_from_wire(field, end)).transpose()?,
                issued: cutoff_from_wire(field, *issued)?,
                session_started: cutoff_from_wire(field, *session_started)?,
            };
            if rows.is_empty() { Err(ConvertError::Value { field }) } else { Ok((key, rows)) }
        })
        .collect()
}

fn end_from_wire(field: &'static str, end: NonZeroU64) -> Result<End, ConvertError> {
    if end == NonZeroU64::MAX {
        return Ok(End::NEVER);
    }
    UnixSeconds::new(end.get() - 1).map(End::at).map_err(|_| ConvertError::Value { field })
}

fn cutoff_from_wire(field: &'static str, value: u64) -> Result<Option<UnixSeconds>, ConvertError> {
    let time = value.checked_sub(1).map(UnixSeconds::new).transpose();
    time.map_err(|_| ConvertError::Value { field })
}

fn keys_from_wire(field: &'static str, bytes: &[u8]) -> Result<Vec<Key>, ConvertError> {
    let (chunks, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(ConvertError::Length { field, found: bytes.len(), expected: chunks.len() * 16 });
    }
    let keys: Vec<Key> = chunks.iter().map(|chunk| Key::from_bytes(*chunk)).collect();
    let ordered = keys.iter().zip(keys.iter().skip(1)).position(|(a, b)| a >= b);
    ordered.map_or(Ok(keys), |index| Err(ConvertError::Order { field, index }))
}

/// Writes a delta, without the reference of a stream.
#[must_use]
pub fn delta_to_wire(delta: &Delta, from: &Sealed, to: &Sealed, horizon: UnixSeconds) -> v1::Delta {
    let set: Vec<(Key, Rows)> =
        delta.difference.iter().filter_map(|(key, rows)| Some((key, rows?))).collect();
    let removed =
        delta.difference.iter().filter(|(_, rows)| rows.is_none()).flat_map(|(key, _)| key.to_bytes());
    v1::Delta {
        r#ref: 0,
        from: Some(version_to_wire(from)),
        to: Some(version_to_wire(to)),
        remove: removed.collect::<Vec<u8>>().into(),
        set: (!set.is_empty()).then(|| entries_to_wire(set.into_iter())),
        digest: digest_to_wire(delta.digest),
        required_features: Vec::new(),
        horizon: horizon.get(),
        checksum: checksum(Kind::Delta, &[from, to], &[horizon.get()], delta.digest),
    }
}

/// A delta as a sidecar reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadDelta {
    /// What changes.
    pub delta: Delta,
    /// The version that it leads to, with its seal.
    pub to: Sealed,
    /// Up to when expiries have been carried out in it.
    pub horizon: UnixSeconds,
}

/// Reads a delta.
///
/// # Errors
/// [`ConvertError`].
pub fn delta_from_wire(wire: v1::Delta) -> Result<ReadDelta, ConvertError> {
    let from = version_from_wire("delta.from", wire.from)?;
    let to = version_from_wire("delta.to", wire.to)?;
    let mut difference = Difference::default();
    for key in keys_from_wire("delta.remove", &wire.remove)? {
        difference.put(key, Rows::default());
    }
    let removed = difference.len();
    let set = wire.set.map(|set| entries_from_wire("delta.set", &set)).transpose()?.unwrap_or_default();
    let expected = removed + set.len();
    for (key, rows) in set {
        difference.put(key, rows);
    }
    if difference.len() != expected {
        // A key that is both set and removed: which one was meant can't be told.
        return Err(ConvertError::Value { field: "delta.remove" });
    }
    let digest = digest_from_wire("delta.digest", &wire.digest)?;
    let horizon = horizon_from_wire(wire.horizon)?;
    check("delta.checksum", &wire.checksum, &checksum(Kind::Delta, &[&from, &to], &[wire.horizon], digest))?;
    Ok(ReadDelta { delta: Delta { from: from.version, to: to.version, difference, digest }, to, horizon })
}

#[cfg(test)]
mod tests;
