//! Which events a change of a status is worth. Pure.

use crate::api::condition::{ConditionReason, ConditionType, EventReason};
use crate::api::revocation::RevocationStatus;
use crate::api::token_revocation_list::{Condition, ConditionStatus, TokenRevocationListStatus};
use crate::store::kubernetes::lists::Declared;
use crate::store::kubernetes::mirror::MirroredRevocation;

use super::conditions::is_true;
use super::events::{Kind, Note, Regarding};

/// Conditions of a list that are told when they come.
const OF_LISTS: [(ConditionType, EventReason); 4] = [
    (ConditionType::LargeShareGone, EventReason::LargeShareGone),
    (ConditionType::NearQuota, EventReason::NearQuota),
    (ConditionType::StoreDeleted, EventReason::StoreDeleted),
    (ConditionType::StoreWentBack, EventReason::StoreWentBack),
];

/// Returns the events of a revocation whose status was one and is another.
pub(super) fn of_revocation(mirrored: &MirroredRevocation, after: &RevocationStatus) -> Vec<Note> {
    let before = &mirrored.status;
    let mut notes = Vec::new();
    let note = |kind, reason, condition: &Condition, text| Note {
        regarding: regarding_revocation(mirrored),
        kind,
        reason,
        text,
        transition: format!("{} {}", condition.last_transition_time, condition.reason),
    };
    if let Some(enforced) = find(&after.conditions, ConditionType::Enforced)
        && enforced.status == ConditionStatus::True
        && !is_true(&before.conditions, ConditionType::Enforced)
    {
        let elapsed = after.enforcement.as_ref().map(|counts| counts.elapsed_milliseconds);
        let text = match elapsed {
            Some(milliseconds) => format!("{} {milliseconds} ms after it was seen.", enforced.message),
            None => enforced.message.clone(),
        };
        notes.push(note(Kind::Normal, EventReason::Enforced, enforced, text));
    }
    if let Some(refused) = find(&after.conditions, ConditionType::Accepted)
        && refused.status == ConditionStatus::False
        && find(&before.conditions, ConditionType::Accepted)
            .is_none_or(|before| before.reason != refused.reason)
    {
        let text = format!("{}: {}", refused.reason, refused.message);
        notes.push(note(Kind::Warning, EventReason::Refused, refused, text));
    }
    notes
}

/// Returns the events of a list whose status was one and is another.
pub(super) fn of_list(
    list: &Declared,
    before: &TokenRevocationListStatus,
    after: &TokenRevocationListStatus,
) -> Vec<Note> {
    let mut notes = Vec::new();
    for (type_, reason) in OF_LISTS {
        if let Some(condition) = find(&after.conditions, type_)
            && !is_true(&before.conditions, type_)
        {
            notes.push(list_note(list, reason, condition.message.clone(), &condition.last_transition_time));
        }
    }
    let unreadable = |status: &TokenRevocationListStatus| {
        let ready = find(&status.conditions, ConditionType::Ready)
            .filter(|ready| ready.reason == ConditionReason::Unreadable);
        ready.map(|ready| (ready.message.clone(), ready.last_transition_time.clone()))
    };
    if let (None, Some((message, since))) = (unreadable(before), unreadable(after)) {
        notes.push(list_note(list, EventReason::Unreadable, message, &since));
    }
    notes
}

/// Returns the event that a replica with sidecars of a list proves nothing any more.
pub(super) fn stale_replica(list: &Declared, replica: &str, subscribers: i64, pulse: &str) -> Note {
    let text = format!(
        "Replica {replica} proves nothing any more. {subscribers} sidecars were connected to it: those that have \
         found no other allow nothing."
    );
    list_note(list, EventReason::StaleReplica, text, &format!("{replica} {pulse}"))
}

fn list_note(list: &Declared, reason: EventReason, text: String, transition: &str) -> Note {
    let regarding = Regarding {
        kind: "TokenRevocationList",
        namespace: list.name.namespace().to_owned(),
        name: list.name.name().to_owned(),
        uid: list.uid.clone(),
    };
    Note { regarding, kind: Kind::Warning, reason, text, transition: transition.to_owned() }
}

fn regarding_revocation(mirrored: &MirroredRevocation) -> Regarding {
    let metadata = &mirrored.metadata;
    Regarding {
        kind: "Revocation",
        namespace: mirrored.list.namespace().to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests;
