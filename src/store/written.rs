//! How a revocation is written: as JSON, in the words of its manifest.

use serde::{Deserialize, Serialize};

use crate::api::invalid::Invalid;
use crate::api::{revocation, target};
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::{Epoch, Revisions, Version};

use super::Revocation;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenRevocation {
    id: RecordId,
    list: ListName,
    name: String,
    created: UnixSeconds,
    revision: u64,
    spec: revocation::RevocationSpec,
}

/// Writes a revocation.
pub(super) fn write(revocation: &Revocation) -> Result<Vec<u8>, serde_json::Error> {
    let (reason, message) = (revocation.reason.as_deref(), revocation.message.as_deref());
    serde_json::to_vec(&WrittenRevocation {
        id: revocation.id,
        list: revocation.list.clone(),
        name: revocation.name.clone(),
        created: revocation.created,
        revision: revocation.version.revisions.revocations,
        spec: target::write(revocation.list.name(), &revocation.spec, reason, message),
    })
}

/// Says why what is in the file is no revocation.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// No JSON of this shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A value that makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Tells whether a revocation would read back as it is: what is written must never make the file unreadable.
pub(super) fn reads_back(revocation: &Revocation) -> bool {
    let written = write(revocation).ok();
    written.and_then(|json| read(&json, revocation.version.epoch).ok()).as_ref() == Some(revocation)
}

/// Reads a revocation of an epoch.
pub(super) fn read(bytes: &[u8], epoch: Epoch) -> Result<Revocation, ReadError> {
    let written: WrittenRevocation = serde_json::from_slice(bytes)?;
    Ok(Revocation {
        id: written.id,
        list: written.list,
        name: written.name,
        spec: target::read(&written.spec)?,
        created: written.created,
        reason: written.spec.reason,
        message: written.spec.message,
        version: Version { epoch, revisions: Revisions { revocations: written.revision, segments: 0 } },
    })
}

/// Names a revocation after its random id, in letters that can be read aloud.
pub(crate) fn generated_name(id: RecordId) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letter = |index: u32| {
        let five_bits = usize::try_from((id.0 >> (5 * index)) & 31).unwrap_or(0);
        char::from(LETTERS.get(five_bits).copied().unwrap_or(b'a'))
    };
    std::iter::once("r-".to_owned()).chain((0..10).map(|index| letter(index).to_string())).collect()
}
