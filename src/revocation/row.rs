//! Rows: what is denied under one key, and how rows of one kind combine.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::time::{NumericDate, UnixSeconds};

/// The kinds of row that may stand under one key; each denies independently of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKind {
    /// Denies whenever the token was issued.
    Always,
    /// Denies tokens issued at or before a cutoff.
    Issued,
    /// Denies tokens whose session started at or before a cutoff.
    SessionStarted,
}

/// When an *always* row ends by the word of its author; later ends compare greater.
///
/// An end is removed by a step of the log, never by the clock of whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct End(NonZeroU64);

impl End {
    /// The row has no end: it stays until it is lifted.
    pub const NEVER: Self = Self(NonZeroU64::MAX);

    /// Makes an end at a time.
    #[must_use]
    pub fn at(time: UnixSeconds) -> Self {
        Self(NonZeroU64::MIN.saturating_add(time.get()))
    }

    /// Returns the time of the end, if there is one.
    #[must_use]
    pub fn time(self) -> Option<UnixSeconds> {
        UnixSeconds::new(self.0.get() - 1).ok()
    }
}

/// The rows under one key: at most one of each kind.
///
/// **Shape**: 24 bytes. Rows of one kind combine by the later cutoff and the later end; rows of different
/// kinds are never merged into one, or lifting or expiring one would take the other with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rows {
    /// The *always* row with its end.
    pub always: Option<End>,
    /// The cutoff that is compared with the issue time.
    pub issued: Option<UnixSeconds>,
    /// The cutoff that is compared with the session's start.
    pub session_started: Option<UnixSeconds>,
}

/// The times of a token that rows are compared with; a token that lacks one matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenTimes {
    /// The issue time, `iat`.
    pub issued: Option<NumericDate>,
    /// The session's start, `auth_time` unless the issuer is declared to use another claim.
    pub session_started: Option<NumericDate>,
}

impl Rows {
    /// Combines with the rows of another record under the same key.
    #[must_use]
    pub fn combine(self, other: Self) -> Self {
        Self {
            always: self.always.max(other.always),
            issued: self.issued.max(other.issued),
            session_started: self.session_started.max(other.session_started),
        }
    }

    /// Returns what is left of these rows, kept from an old history, when in the new one `before` becomes `now`:
    /// a row is lifted there if it was covered, and no longer is. One that outlasts what goes is kept, for what
    /// goes may only have expired.
    #[must_use]
    pub fn unless_lifted(self, before: Self, now: Self) -> Self {
        fn kept<T: Copy + Ord>(old: Option<T>, before: Option<T>, now: Option<T>) -> Option<T> {
            old.filter(|_| old > before || now >= before)
        }
        Self {
            always: kept(self.always, before.always, now.always),
            issued: kept(self.issued, before.issued, now.issued),
            session_started: kept(self.session_started, before.session_started, now.session_started),
        }
    }

    /// Tells whether no row is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the first row that denies a token with these times.
    ///
    /// A cutoff T is inclusive and counts as T + `clock_skew_seconds`, in whole seconds: the token matches iff
    /// floor(time) <= T + skew.
    #[must_use]
    pub fn denies(&self, times: TokenTimes, clock_skew_seconds: u64) -> Option<RowKind> {
        let reaches = |cutoff: Option<UnixSeconds>, time: Option<NumericDate>| {
            cutoff.is_some_and(|cutoff| {
                let last = cutoff.get().saturating_add(clock_skew_seconds);
                time.is_none_or(|time| time.floor().get() <= last)
            })
        };
        if self.always.is_some() {
            return Some(RowKind::Always);
        }
        if reaches(self.issued, times.issued) {
            return Some(RowKind::Issued);
        }
        reaches(self.session_started, times.session_started).then_some(RowKind::SessionStarted)
    }
}

/// Returns the first issue time that a cutoff lets pass: cutoff + skew + 1.
#[must_use]
pub fn admits_from(cutoff: UnixSeconds, clock_skew_seconds: u64) -> UnixSeconds {
    cutoff.saturating_add(clock_skew_seconds.saturating_add(1))
}

#[cfg(test)]
pub(crate) mod tests;
