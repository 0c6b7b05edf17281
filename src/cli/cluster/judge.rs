//! What an object's status says about whether waiting is over.

use crate::api::condition::ConditionType;
use crate::api::revocation as api;
use crate::api::token_revocation_list::{Condition, ConditionStatus};
use crate::proto::v1;

use super::super::wait::Standing;
use super::object::{condition, holds};

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is enforced.
    Enforced(v1::EnforcementProgress),
    /// It never will be.
    Over(String),
    /// Wait.
    Waiting(Standing),
}

/// Judges an object.
pub(super) fn judge(object: &api::Revocation) -> Judgement {
    let is = |type_, status| holds(object, type_) == status;
    let says = |type_: ConditionType| condition(object, type_).map(sentence).unwrap_or_default();
    if object.metadata.deletion_timestamp.is_some() {
        return Judgement::Over("it is being deleted, which lifts it".to_owned());
    }
    if is(ConditionType::Accepted, ConditionStatus::False) {
        return Judgement::Over(format!(
            "the controller does not accept it: {}",
            says(ConditionType::Accepted)
        ));
    }
    if is(ConditionType::Expired, ConditionStatus::True) {
        return Judgement::Over(format!(
            "it has expired and denies nothing: {}",
            says(ConditionType::Expired)
        ));
    }
    let counts = object.status.as_ref().and_then(|status| status.enforcement);
    if is(ConditionType::Enforced, ConditionStatus::True) {
        return Judgement::Enforced(progress(&counts.unwrap_or_default(), true));
    }
    Judgement::Waiting(match counts {
        Some(counts) => Standing::Counted(progress(&counts, false)),
        None if is(ConditionType::Enforced, ConditionStatus::False) => {
            Standing::Said(says(ConditionType::Enforced))
        }
        None if is(ConditionType::Accepted, ConditionStatus::True) => {
            Standing::Said("no sidecar has reported".to_owned())
        }
        None => Standing::Said("no controller has looked at it".to_owned()),
    })
}

fn sentence(condition: &Condition) -> String {
    let text = if condition.message.is_empty() { &condition.reason } else { &condition.message };
    text.trim_end_matches('.').to_owned()
}

fn progress(counts: &api::EnforcementCounts, enforced: bool) -> v1::EnforcementProgress {
    let count = |count: i64| u32::try_from(count.max(0)).unwrap_or(u32::MAX);
    v1::EnforcementProgress {
        enforced,
        subscribers: count(counts.subscribers),
        applied: count(counts.applied),
        away: count(counts.away),
        elapsed_milliseconds: u64::try_from(counts.elapsed_milliseconds).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(status: serde_json::Value) -> api::Revocation {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation",
            "metadata": {"name": "r-1", "namespace": "shop", "generation": 2},
            "spec": {"listName": "shop", "issuer": "https://a", "target": {"subject": "alice"}},
            "status": status,
        }))
        .unwrap()
    }

    fn conditions(held: &[(&str, &str, i64)]) -> serde_json::Value {
        let condition = |(type_, status, generation): &(&str, &str, i64)| {
            serde_json::json!({
                "type": type_, "status": status, "reason": "Word", "message": format!("{type_} says."),
                "lastTransitionTime": "2026-11-21T10:00:00Z", "observedGeneration": generation,
            })
        };
        held.iter().map(condition).collect()
    }

    fn check(held: &[(&str, &str, i64)], expected: &Judgement) {
        let judged = judge(&object(serde_json::json!({"conditions": conditions(held)})));
        assert_eq!(&judged, expected, "{held:?}");
    }

    #[test]
    fn waiting_ends_when_it_is_enforced_or_never_will_be() {
        let said = |text: &str| Judgement::Waiting(Standing::Said(text.to_owned()));
        let over = |text: &str| Judgement::Over(text.to_owned());
        check(&[], &said("no controller has looked at it"));
        check(
            &[("Accepted", "Unknown", 2), ("Enforced", "Unknown", 2)],
            &said("no controller has looked at it"),
        );
        check(&[("Accepted", "True", 2), ("Enforced", "Unknown", 2)], &said("no sidecar has reported"));
        check(&[("Accepted", "True", 2), ("Enforced", "False", 2)], &said("Enforced says"));
        check(&[("Accepted", "False", 2)], &over("the controller does not accept it: Accepted says"));
        let enforced = v1::EnforcementProgress { enforced: true, ..Default::default() };
        check(&[("Accepted", "True", 2), ("Enforced", "True", 2)], &Judgement::Enforced(enforced));
        check(
            &[("Accepted", "True", 2), ("Enforced", "True", 2), ("Expired", "True", 2)],
            &over("it has expired and denies nothing: Expired says"),
        );
    }

    #[test]
    fn what_is_said_of_an_earlier_generation_counts_for_nothing() {
        let expected = Judgement::Waiting(Standing::Said("no controller has looked at it".to_owned()));
        check(&[("Accepted", "True", 1), ("Enforced", "True", 1)], &expected);
        check(&[("Accepted", "False", 1)], &expected);
    }

    #[test]
    fn counts_come_from_the_status() {
        let counts =
            serde_json::json!({"subscribers": 12, "applied": 3, "away": 1, "elapsedMilliseconds": 40});
        let held = conditions(&[("Accepted", "True", 2), ("Enforced", "False", 2)]);
        let judged = judge(&object(serde_json::json!({"conditions": held, "enforcement": counts})));
        let expected = v1::EnforcementProgress {
            enforced: false,
            subscribers: 12,
            applied: 3,
            away: 1,
            elapsed_milliseconds: 40,
        };
        assert_eq!(judged, Judgement::Waiting(Standing::Counted(expected)));
    }

    #[test]
    fn what_is_being_deleted_is_over() {
        let held = conditions(&[("Accepted", "True", 2), ("Enforced", "True", 2)]);
        let mut object = object(serde_json::json!({"conditions": held}));
        object.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(judge(&object), Judgement::Over("it is being deleted, which lifts it".to_owned()));
    }
}
