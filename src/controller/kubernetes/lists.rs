//! What the status of a list says. Pure.

use serde::Deserialize;

use crate::api::condition::{ConditionReason, ConditionType};
use crate::api::target;
use crate::api::token_revocation_list::{Condition, ConditionStatus, TokenRevocationListStatus};
use crate::revocation::time::UnixSeconds;
use crate::store::kubernetes::lists::Declared;
use crate::store::kubernetes::mirror::Holder;
use crate::store::kubernetes::mirror::departures::LATELY_SECONDS;

use super::conditions::Writer;
use super::quota::{NEAR_PERCENT, Quota, RESOURCE};

/// For how long it is told that the store went back: most tokens of that time have expired then.
const WAY_BACK_SHOWN_SECONDS: u64 = 30 * 86_400;

/// From this part of a list on, it is told that it went at once: more than what comes and goes on a busy day, and less
/// than what an attacker has to lift to gain much.
const LARGE_SHARE_PERCENT: u64 = 20;
/// Fewer are what one person lifts after a mistake.
const LARGE_SHARE_AT_LEAST: u64 = 25;

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
    /// What is gone that held its revocations, if something is.
    pub(super) gone: Option<Holder>,
    /// Revocations that the store has lost, and that could not be written again yet.
    pub(super) lost: usize,
    /// Revocations that can't be read.
    pub(super) unreadable: usize,
    /// When the store was found to be an older copy of itself, if it was.
    pub(super) went_back: Option<UnixSeconds>,
    /// Revocations that are in force.
    pub(super) live: u64,
    /// Revocations that were lifted or have expired lately.
    pub(super) gone_lately: u64,
    /// The quota of its namespace that is used up first, if there is one.
    pub(super) quota: Option<Quota>,
}

/// Returns the status that a list should have.
pub(super) fn status(list: &Declared, known: &Known, now: UnixSeconds) -> TokenRevocationListStatus {
    let before = before(list);
    let writer = Writer { before: &before.conditions, generation: Some(list.generation), now };
    let mut conditions = vec![ready(&writer, list, known)];
    conditions.extend(store_deleted(&writer, known));
    if let Some(at) = known.went_back.filter(|at| now < at.saturating_add(WAY_BACK_SHOWN_SECONDS)) {
        let message = format!(
            "On {} the store was found to be an older copy of itself. What was revoked since that copy is denied only \
             where controllers or sidecars ran on: revoke again what must be denied everywhere.",
            target::write_time(at)
        );
        conditions.push(writer.write(
            ConditionType::StoreWentBack,
            ConditionStatus::True,
            ConditionReason::OlderCopy,
            message,
        ));
    }
    conditions.extend(large_share_gone(&writer, known));
    conditions.extend(near_quota(&writer, known));
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

/// It ends when what is gone is back, and everything written again.
fn store_deleted(writer: &Writer<'_>, known: &Known) -> Option<Condition> {
    let (reason, message) = match known.gone {
        Some(Holder::Definition) => (ConditionReason::DefinitionGone, definition_gone()),
        Some(Holder::Namespace) => (ConditionReason::NamespaceGone, namespace_gone()),
        None if known.lost > 0 => {
            let message = format!(
                "The store has lost {} revocations that nobody has lifted; sidecars and controllers that held them \
                 go on denying, new ones do not know them.",
                known.lost
            );
            (ConditionReason::RevocationsLost, message)
        }
        None => return None,
    };
    Some(writer.write(ConditionType::StoreDeleted, ConditionStatus::True, reason, message))
}

fn definition_gone() -> String {
    "The CustomResourceDefinition revocations.rescind.dev is gone, and every revocation with it. That lifts nothing: \
     sidecars go on denying what they hold, and nothing is vouched for until it is applied again. Controllers that \
     run on write the revocations again."
        .to_owned()
}

fn namespace_gone() -> String {
    "The namespace was deleted, and its revocations with it. That lifts nothing: sidecars go on denying what they \
     hold, and nothing is vouched for until the namespace and the list are made again. Controllers that run on write \
     the revocations again."
        .to_owned()
}

/// It ends by itself, when the time is over that counts as lately.
fn large_share_gone(writer: &Writer<'_>, known: &Known) -> Option<Condition> {
    let (gone, before) = (known.gone_lately, known.live.saturating_add(known.gone_lately));
    let is_large = gone >= LARGE_SHARE_AT_LEAST
        && gone.saturating_mul(100) >= before.saturating_mul(LARGE_SHARE_PERCENT);
    let message = format!(
        "{gone} of {before} revocations were lifted or have expired within {} minutes. If nobody meant that, revoke \
         again; the API server's audit log says who has lifted.",
        LATELY_SECONDS / 60
    );
    is_large.then(|| {
        writer.write(
            ConditionType::LargeShareGone,
            ConditionStatus::True,
            ConditionReason::LiftedOrExpired,
            message,
        )
    })
}

fn near_quota(writer: &Writer<'_>, known: &Known) -> Option<Condition> {
    let quota = known.quota.as_ref().filter(|quota| quota.is_near())?;
    // No count, which would be one more write for each revocation.
    let message = format!(
        "At least {NEAR_PERCENT} % of the {} objects are there that ResourceQuota {} allows ({RESOURCE}). Above it a \
         revocation is refused: lift what is not needed any more, or raise the quota.",
        quota.hard, quota.name
    );
    Some(writer.write(
        ConditionType::NearQuota,
        ConditionStatus::True,
        ConditionReason::QuotaNearlyUsedUp,
        message,
    ))
}

fn ready(writer: &Writer<'_>, list: &Declared, known: &Known) -> Condition {
    use ConditionReason::{Invalid, NotPublished, Published, StoreDeleted, Unreadable};
    use ConditionStatus::{False, True};
    use ConditionType::Ready;
    match known.gone {
        Some(Holder::Definition) => return writer.write(Ready, False, StoreDeleted, definition_gone()),
        Some(Holder::Namespace) => return writer.write(Ready, False, StoreDeleted, namespace_gone()),
        None => {}
    }
    let problem = match &list.document {
        Err(why) => Some(why.clone()),
        Ok(document) => document.config().err().map(|error| error.to_string()),
    };
    if let Some(why) = problem {
        let message =
            format!("The declaration can't be used: {why}. What was in force before stays, and goes stale.");
        return writer.write(Ready, False, Invalid, message);
    }
    if known.unreadable > 0 {
        let message = format!(
            "{} revocations can't be read by this version, so nothing is vouched for: their status says which.",
            known.unreadable
        );
        return writer.write(Ready, False, Unreadable, message);
    }
    if known.entries.is_none() {
        return writer.write(Ready, False, NotPublished, "Nothing is published of it yet.".to_owned());
    }
    writer.write(Ready, True, Published, "Sidecars can follow it.".to_owned())
}

#[cfg(test)]
mod tests;
