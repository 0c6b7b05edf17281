//! The history of a list's maxima, kept in an annotation so that backups carry it.
//!
//! A token may live no longer than the smallest maximum in force since its issue, and its session no longer than
//! the smallest since the session began, or a long token, revoked and forgotten under a short maximum, would come
//! back to life after a raise.

use serde::{Deserialize, Serialize};

use crate::revocation::time::UnixSeconds;
use crate::token::list_config::Maxima;

use super::compile;
use super::invalid::Invalid;
use super::token_revocation_list::{Issuer, TokenRevocationListSpec};

/// The annotation that holds the history.
pub const ANNOTATION: &str = "rescind.dev/maxima-history";

/// How many entries are kept; beyond, the oldest two become one that is at least as strict as both.
const MAX_ENTRIES: usize = 64;
/// The largest leeway that a list can declare, and a margin for clocks: how long after its last token an
/// entry still matters.
const MARGIN_SECONDS: u64 = 300 + 3600;

/// Maxima that an issuer had until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Past {
    /// The issuer.
    pub issuer: String,
    /// The last second in which they were in force.
    pub until: UnixSeconds,
    /// The longest lifetime of a token.
    pub token_seconds: u64,
    /// The longest lifetime of a session.
    pub session_seconds: u64,
    /// The clock skew.
    pub skew_seconds: u64,
}

impl Past {
    /// Returns the maxima.
    #[must_use]
    pub const fn maxima(&self) -> Maxima {
        Maxima {
            token_lifetime_seconds: self.token_seconds,
            session_lifetime_seconds: self.session_seconds,
            clock_skew_seconds: self.skew_seconds,
        }
    }

    /// Whether a token can live that was issued, or whose session began, while these were in force. They do not
    /// tell how long: later maxima may be longer, and it is under those that the token would be accepted.
    fn matters(&self, now: UnixSeconds) -> bool {
        let longest = u64::from(compile::LONGEST_LIFETIME_SECONDS);
        let last_issued = self.until.saturating_add(self.skew_seconds).saturating_add(longest);
        now <= last_issued.saturating_add(longest).saturating_add(MARGIN_SECONDS)
    }
}

/// Reads the annotation; absent is empty.
///
/// # Errors
/// [`Invalid`] if it is not what this program writes: without its history a list must not be used.
pub fn parse(annotation: Option<&str>) -> Result<Vec<Past>, Invalid> {
    let Some(text) = annotation else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| {
        Invalid::new(format!("metadata.annotations[{ANNOTATION}]"), format!("can't be read: {error}"))
    })
}

/// Writes the annotation; none if there is no history.
#[must_use]
pub fn format(history: &[Past]) -> Option<String> {
    if history.is_empty() {
        return None;
    }
    serde_json::to_string(history).ok()
}

/// An issuer with its maxima.
pub type InForce = (String, Maxima);

/// Returns the maxima that a declaration puts in force; of issuers whose maxima make no sense, none.
#[must_use]
pub fn in_force(spec: &TokenRevocationListSpec) -> Vec<InForce> {
    let of = |issuer: &Issuer| Some((issuer.issuer.clone(), compile::maxima(issuer).ok()?));
    spec.issuers.iter().filter_map(of).collect()
}

/// Returns the history of a list whose declaration changes at `now`: what is no longer in force is added.
#[must_use]
pub fn extend(history: &[Past], old: &[InForce], new: &[InForce], now: UnixSeconds) -> Vec<Past> {
    let mut extended: Vec<Past> = history.iter().filter(|past| past.matters(now)).cloned().collect();
    for (issuer, maxima) in old {
        if !new.iter().any(|is| is == &(issuer.clone(), *maxima)) {
            extended.push(Past {
                issuer: issuer.clone(),
                until: now,
                token_seconds: maxima.token_lifetime_seconds,
                session_seconds: maxima.session_lifetime_seconds,
                skew_seconds: maxima.clock_skew_seconds,
            });
        }
    }
    shorten(&mut extended);
    extended
}

/// Merges the oldest entries of the issuer that has most of them.
fn shorten(history: &mut Vec<Past>) {
    history.sort_by(|a, b| (&a.issuer, a.until).cmp(&(&b.issuer, b.until)));
    history.dedup();
    while history.len() > MAX_ENTRIES {
        let same = |index: &usize| {
            let pair = (history.get(*index), history.get(index + 1));
            matches!(pair, (Some(one), Some(two)) if one.issuer == two.issuer)
        };
        let Some(index) = (0..history.len()).find(same) else { return };
        let older = history.remove(index);
        if let Some(newer) = history.get_mut(index) {
            newer.token_seconds = newer.token_seconds.min(older.token_seconds);
            newer.session_seconds = newer.session_seconds.min(older.session_seconds);
            newer.skew_seconds = newer.skew_seconds.max(older.skew_seconds);
        }
    }
}

#[cfg(test)]
mod tests;
