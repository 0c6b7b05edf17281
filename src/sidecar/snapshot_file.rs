//! What a sidecar knew of a list, on the disk: a restarted sidecar denies from it until its first proof.
//!
//! **Format**: the magic and a version, then length-delimited messages of the protocol: `Config`, `SnapshotEnd`,
//! `SnapshotHeader`, `SnapshotFilter`, and `Entries` in chunks; at the end the SHA-256 of everything before it. The
//! file holds the list's hash key, so only its owner may read it.
//!
//! A file is read as a whole or not at all. Nothing in it vouches for anything: a list on a disk may be as old as the
//! disk. Entries that were only kept because the store had gone back in time are not written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::Message;

use crate::api::document::ListDocument;
use crate::api::invalid::Invalid;
use crate::distribution::assembly::{Assembly, AssemblyError};
use crate::distribution::convert::{ConvertError, Sealed, array, entries_to_wire, snapshot_end_to_wire};
use crate::distribution::view::ListView;
use crate::distribution::{CHUNK_BYTES, KEY_SCHEME};
use crate::proto::v1;
use crate::revocation::freshness::Knowledge;
use crate::revocation::key::HashKey;
use crate::revocation::list::{ListError, RevocationList};
use crate::revocation::names::ListName;
use crate::revocation::time::UnixSeconds;
use crate::token::hash::sha256;

const MAGIC: &[u8; 8] = b"rescind\n";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 4;
const CHECKSUM_BYTES: usize = 32;
/// As many entries as a sidecar takes, at most 46 bytes each, with a filter.
const MAX_FILE_BYTES: u64 = 1024 * 1024 * 1024;
/// Makes chunks of about the size that the protocol sends.
const ENTRIES_PER_CHUNK: usize = CHUNK_BYTES / 32;

/// Says why a file can't be used. The sidecar then starts without it, and refuses until its first proof.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// There is none: a first start.
    #[error("there is no snapshot at {path}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It can't be read or written.
    #[error("the snapshot at {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is damaged, cut off, or no snapshot.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// Another version of this program has written it.
    #[error("the snapshot has format {found}, and {FORMAT} is known")]
    UnknownFormat {
        /// The format.
        found: u32,
    },
    /// It is of another list.
    #[error("the snapshot is of {found}, and {expected} is expected")]
    OtherList {
        /// Whose it is.
        found: ListName,
        /// Whose it should be.
        expected: ListName,
    },
    /// The declaration in it is not understood.
    #[error("the snapshot's declaration: {0}")]
    Declaration(#[from] Invalid),
    /// A part of it makes no sense.
    #[error("the snapshot: {0}")]
    Convert(#[from] ConvertError),
    /// Its parts do not make a whole.
    #[error("the snapshot: {0}")]
    Assembly(#[from] AssemblyError),
    /// Its rows are not those that were written.
    #[error("the snapshot: {0}")]
    List(#[from] ListError),
}

/// Whether there was anything to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The file holds the view.
    Written,
    /// The view has no list of its own, or one in doubt: what is on the disk stays.
    Nothing,
}

/// Returns the path of a list's file in a directory.
#[must_use]
pub fn path_in(directory: &Path, name: &ListName) -> PathBuf {
    // No name has an underscore.
    directory.join(format!("{}_{}.snapshot", name.namespace(), name.name()))
}

/// Writes a view in place of what was there before; whoever reads sees the old file or the new one.
///
/// **Blocks**: on the disk.
///
/// # Errors
/// [`SnapshotFileError::Io`]; what was there before stays.
pub fn save(path: &Path, view: &ListView) -> Result<Saved, SnapshotFileError> {
    let Some(bytes) = encode(view) else { return Ok(Saved::Nothing) };
    let failed = |source| SnapshotFileError::Io { path: path.to_owned(), source };
    replace(path, &bytes).map_err(failed)?;
    Ok(Saved::Written)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    // Left by a process that was killed; its mode may be anything.
    remove(temporary)?;
    if let Err(error) = write(temporary, bytes).and_then(|()| fs::rename(temporary, path)) {
        // On a full disk, half a file is in everybody's way. Should it stay, the next attempt says so.
        remove(temporary).unwrap_or_default();
        return Err(error);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // The order matters: the new name must not be on the disk before what it names.
    file.sync_all()
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn encode(view: &ListView) -> Option<Vec<u8>> {
    let list = view.list.as_ref().filter(|_| view.knowledge != Knowledge::Corrupt)?;
    let document = view.document.as_ref()?;
    let snapshot = list.snapshot();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    append(&mut bytes, &config(view.generation, document, list.hash_key()));
    append(
        &mut bytes,
        &snapshot_end_to_wire(
            // A seal is a controller's, and nobody resumes from a disk.
            &Sealed { version: snapshot.version, seal: [0; 16] },
            snapshot.digest,
            view.horizon.unwrap_or(UnixSeconds::MIN),
        ),
    );
    append(
        &mut bytes,
        &v1::SnapshotHeader {
            r#ref: 0,
            required_features: Vec::new(),
            key_scheme: KEY_SCHEME,
            entries: snapshot.entries.len() as u64,
            filter_bytes: snapshot.filter.len() as u64,
        },
    );
    append(&mut bytes, &v1::SnapshotFilter { r#ref: 0, chunk: snapshot.filter.into() });
    for chunk in snapshot.entries.chunks(ENTRIES_PER_CHUNK) {
        append(&mut bytes, &entries_to_wire(chunk.iter().copied()));
    }
    let checksum = sha256(&bytes);
    bytes.extend(checksum);
    Some(bytes)
}

fn config(generation: u64, document: &[u8], hash_key: &HashKey) -> v1::Config {
    v1::Config {
        r#ref: 0,
        generation,
        document: Bytes::copy_from_slice(document),
        document_sha256: Bytes::copy_from_slice(&sha256(document)),
        hash_key: Bytes::copy_from_slice(hash_key.as_bytes()),
        key_scheme: KEY_SCHEME,
    }
}

fn append(bytes: &mut Vec<u8>, message: &impl Message) {
    bytes.extend(message.encode_length_delimited_to_vec());
}

/// Reads the view of a list that an earlier process has left: good for denials, and vouching for nothing.
///
/// **Blocks**: on the disk.
///
/// # Errors
/// [`SnapshotFileError`]: the sidecar starts with nothing, which refuses everything.
pub fn load(path: &Path, name: &ListName) -> Result<ListView, SnapshotFileError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            SnapshotFileError::Missing { path }
        } else {
            SnapshotFileError::Io { path, source }
        }
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SnapshotFileError::Damaged("it is too large"));
    }
    decode(&bytes, name)
}

fn decode(bytes: &[u8], name: &ListName) -> Result<ListView, SnapshotFileError> {
    let mut rest = checked(bytes)?;
    let config: v1::Config = next(&mut rest)?;
    let end: v1::SnapshotEnd = next(&mut rest)?;
    let header: v1::SnapshotHeader = next(&mut rest)?;
    let filter: v1::SnapshotFilter = next(&mut rest)?;
    let mut assembly = Assembly::start(&header)?;
    assembly.add_filter(&filter.chunk)?;
    while !rest.is_empty() {
        assembly.add_entries(Some(&next(&mut rest)?))?;
    }
    let (snapshot, _, horizon) = assembly.finish(end)?;
    if config.key_scheme != KEY_SCHEME {
        return Err(AssemblyError::KeyScheme { scheme: config.key_scheme }.into());
    }
    let declared = ListDocument::parse(&config.document)?.config()?;
    if declared.name != *name {
        return Err(SnapshotFileError::OtherList { found: declared.name, expected: name.clone() });
    }
    let hash_key = HashKey::new(array("config.hash_key", &config.hash_key)?);
    let list = RevocationList::from_snapshot(hash_key, &snapshot)?;
    Ok(ListView {
        config: Some(Arc::new(declared)),
        document: Some(Arc::from(&config.document[..])),
        denials: vec![Arc::new(list)],
        horizon: Some(horizon),
        // The generation stays at none: after the store was restored from a backup, a lower one is the one in force.
        ..ListView::empty(name.clone())
    })
}

/// Returns what stands between the header and the checksum, if both are right.
fn checked(bytes: &[u8]) -> Result<&[u8], SnapshotFileError> {
    let damaged = SnapshotFileError::Damaged;
    let (header, _) = bytes.split_at_checked(HEADER_BYTES).ok_or(damaged("it is cut off"))?;
    let format = header.strip_prefix(MAGIC).ok_or(damaged("it is no snapshot"))?;
    let format = format.try_into().map(u32::from_le_bytes).map_err(|_| damaged("it is no snapshot"))?;
    if format != FORMAT {
        return Err(SnapshotFileError::UnknownFormat { found: format });
    }
    let end = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(damaged("it is cut off"))?;
    let (content, checksum) = bytes.split_at_checked(end).ok_or(damaged("it is cut off"))?;
    if sha256(content)[..] != *checksum {
        return Err(damaged("its checksum is wrong"));
    }
    content.get(HEADER_BYTES..).ok_or(damaged("it is cut off"))
}

fn next<M: Message + Default>(rest: &mut &[u8]) -> Result<M, SnapshotFileError> {
    if !rest.has_remaining() {
        return Err(SnapshotFileError::Damaged("a part is missing"));
    }
    M::decode_length_delimited(rest).map_err(|_| SnapshotFileError::Damaged("a part is not understood"))
}

#[cfg(test)]
mod tests;
