//! Records: one act of revoking each, and the row that follows from it.

use super::key::{HashKey, Key};
use super::names::RecordId;
use super::row::{End, Rows};
use super::selector::{DefaultCutoff, Target};
use super::time::UnixSeconds;

/// Which tokens of the target a revocation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cutoff {
    /// Also those issued later.
    Always,
    /// Those whose compared time is at or before this second.
    At(UnixSeconds),
}

/// What a cutoff is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CompareWith {
    /// The token's issue time, `iat`.
    #[default]
    IssueTime,
    /// The session's start, so that a renewed token can't slip past.
    SessionStart,
}

/// What the author of a revocation asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevocationSpec {
    /// What is revoked.
    pub target: Target,
    /// The cutoff; none takes the selector's default.
    pub cutoff: Option<Cutoff>,
    /// What the cutoff is compared with.
    pub compare_with: CompareWith,
    /// The author's end of an *always* row; prolongs, and never shortens, how long a cutoff is kept.
    pub expires_at: Option<UnixSeconds>,
}

/// Says why a revocation has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// `everything` has no default cutoff.
    #[error("a revocation of everything needs a cutoff: give a time, or Always to refuse later tokens too")]
    CutoffNeeded,
    /// An *always* row compares no time.
    #[error("compareWith SessionStart needs a cutoff that is a time, not Always")]
    NothingToCompare,
}

impl RevocationSpec {
    /// Returns the cutoff in force for a revocation that was created in this second.
    ///
    /// # Errors
    /// [`SpecError`] if the selector has no default and the author chose none, or there is nothing to compare.
    pub fn effective_cutoff(&self, created: UnixSeconds) -> Result<Cutoff, SpecError> {
        let cutoff = match (self.cutoff, self.target.selection.default_cutoff()) {
            (Some(cutoff), _) => cutoff,
            // A session's start can't be compared with "always": the caller who asks for it means a time.
            (None, _) if self.compare_with == CompareWith::SessionStart => Cutoff::At(created),
            (None, DefaultCutoff::Always) => Cutoff::Always,
            (None, DefaultCutoff::CreationTime) => Cutoff::At(created),
            (None, DefaultCutoff::None) => return Err(SpecError::CutoffNeeded),
        };
        match (cutoff, self.compare_with) {
            (Cutoff::Always, CompareWith::SessionStart) => Err(SpecError::NothingToCompare),
            _ => Ok(cutoff),
        }
    }

    /// Returns the row of a revocation that was created in this second.
    ///
    /// # Errors
    /// As [`Self::effective_cutoff`].
    pub fn row(&self, created: UnixSeconds) -> Result<Rows, SpecError> {
        Ok(match (self.effective_cutoff(created)?, self.compare_with) {
            (Cutoff::Always, _) => {
                Rows { always: Some(self.expires_at.map_or(End::NEVER, End::at)), ..Rows::default() }
            }
            (Cutoff::At(time), CompareWith::IssueTime) => Rows { issued: Some(time), ..Rows::default() },
            (Cutoff::At(time), CompareWith::SessionStart) => {
                Rows { session_started: Some(time), ..Rows::default() }
            }
        })
    }
}

/// A live record of the log, reduced to what has an effect.
///
/// It depends on the revocation and on the second of its creation only, never on configuration, a clock or
/// the order of arrival: every replica derives the same from the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its origin.
    pub id: RecordId,
    /// Where a check finds it.
    pub key: Key,
    /// What it denies: exactly one row.
    pub rows: Rows,
}

impl Record {
    /// Derives the record of a revocation.
    ///
    /// # Errors
    /// As [`RevocationSpec::effective_cutoff`].
    pub fn derive(
        id: RecordId,
        spec: &RevocationSpec,
        created: UnixSeconds,
        hash_key: &HashKey,
    ) -> Result<Self, SpecError> {
        Ok(Self { id, key: hash_key.target_key(&spec.target), rows: spec.row(created)? })
    }
}
