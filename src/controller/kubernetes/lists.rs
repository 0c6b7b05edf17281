//! What the status of a list says. Pure.

use serde::Deserialize;

use crate::api::token_revocation_list::{Condition, ConditionStatus, TokenRevocationListStatus};
use crate::revocation::time::UnixSeconds;
use crate::store::kubernetes::lists::Declared;

use super::conditions::Writer;

/// What is known of a list beside its object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Live keys; none if nothing is published of it.
    pub(super) entries: Option<u64>,
    /// The size of a snapshot; none if none was needed yet.
    pub(super) bytes: Option<u64>,
    /// The newest version.
    pub(super) version: Option<String>,
    /// Sidecars that follow it, by the reports.
    pub(super) subscribers: i64,
    /// Revocations that the store has lost, and that could not be written again yet.
    pub(super) lost: usize,
    /// Revocations that can't be read.
    pub(super) unreadable: usize,
}

/// Returns the status that a list should have.
pub(super) fn status(list: &Declared, known: &Known, now: UnixSeconds) -> TokenRevocationListStatus {
    let before = before(list);
    let writer = Writer { before: &before.conditions, generation: Some(list.generation), now };
    let mut conditions = vec![ready(&writer, list, known)];
    if known.lost > 0 {
        let message = format!(
            "The store has lost {} revocations that nobody has lifted; sidecars and controllers that held them go on \
             denying, new ones do not know them.",
            known.lost
        );
        conditions.push(writer.write("StoreDeleted", ConditionStatus::True, "RevocationsLost", message));
    }
    TokenRevocationListStatus {
        conditions,
        entries: known.entries.and_then(|entries| i64::try_from(entries).ok()),
        bytes: known.bytes.and_then(|bytes| i64::try_from(bytes).ok()),
        subscribers: Some(known.subscribers),
        version: known.version.clone(),
        observed_generation: Some(list.generation),
    }
}

/// Returns the status that a list has.
pub(super) fn before(list: &Declared) -> TokenRevocationListStatus {
    TokenRevocationListStatus::deserialize(&list.status).unwrap_or_default()
}

/// Tells whether a status is worth a write: the version moves with every change of any list.
pub(super) fn is_news(before: &TokenRevocationListStatus, after: &TokenRevocationListStatus) -> bool {
    let without_version =
        |status: &TokenRevocationListStatus| TokenRevocationListStatus { version: None, ..status.clone() };
    without_version(before) != without_version(after)
}

fn ready(writer: &Writer<'_>, list: &Declared, known: &Known) -> Condition {
    use ConditionStatus::{False, True};
    let problem = match &list.document {
        Err(why) => Some(why.clone()),
        Ok(document) => document.config().err().map(|error| error.to_string()),
    };
    if let Some(why) = problem {
        let message =
            format!("The declaration can't be used: {why}. What was in force before stays, and goes stale.");
        return writer.write("Ready", False, "Invalid", message);
    }
    if known.unreadable > 0 {
        let message = format!(
            "{} revocations can't be read by this version, so nothing is vouched for: their status says which.",
            known.unreadable
        );
        return writer.write("Ready", False, "Unreadable", message);
    }
    if known.entries.is_none() {
        return writer.write("Ready", False, "NotPublished", "Nothing is published of it yet.".to_owned());
    }
    writer.write("Ready", True, "Published", "Sidecars can follow it.".to_owned())
}

#[cfg(test)]
mod tests;
