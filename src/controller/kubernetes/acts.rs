//! What the audit log tells of objects, as the watch has shown them. Pure, but for the time.
//!
//! A line may come twice, with one id: when the lead changes, and when a controller ends between a line and the status
//! that says that it was written. What came and went while nobody led is not told.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::REVOKED_BY;
use crate::api::condition::ConditionType;
use crate::api::token_revocation_list::ConditionStatus;
use crate::controller::audit::{Audit, Deed, ITSELF, Told, UNKNOWN, Via};
use crate::revocation::key::HashKey;
use crate::revocation::names::{ListName, RecordId};
use crate::store::Revocation;
use crate::store::kubernetes::mirror::MirroredRevocation;
use crate::store::kubernetes::mirror::departures::Lift;

use super::conditions::Acceptance;

/// Tells of objects, of each once as far as it is known here.
pub(super) struct Acts {
    audit: Audit,
    /// Those that were told of, and whose status does not say so yet.
    told: HashSet<RecordId>,
    waiting: Vec<Told>,
}

/// Finds the key of a list's hashes, if the list is published.
pub(super) type Keys<'a> = &'a dyn Fn(&ListName) -> Option<HashKey>;

impl Acts {
    pub(super) fn new(audit: Audit) -> Self {
        Self { audit, told: HashSet::new(), waiting: Vec::new() }
    }

    /// Takes a revocation whose status may be the first.
    pub(super) fn judged(
        &mut self,
        id: RecordId,
        mirrored: &MirroredRevocation,
        accepted: &Acceptance,
        keys: Keys<'_>,
    ) {
        if mirrored.expired || was_judged(mirrored) {
            self.told.remove(&id);
            return;
        }
        if !self.told.insert(id) {
            return;
        }
        let who = revoked_by(&mirrored.metadata).unwrap_or(UNKNOWN);
        let mut told = self.about(Deed::Revoke, who, id, mirrored, keys);
        told.manager(manager(&mirrored.metadata));
        if let Acceptance::Refused { reason, .. } = accepted {
            told.refused(reason.word());
        }
        self.waiting.push(told);
    }

    /// Takes what was lifted.
    pub(super) fn lifted(&mut self, lifts: &[Lift], keys: Keys<'_>) {
        for lift in lifts {
            self.told.remove(&lift.id);
            let told = self.about(Deed::Lift, UNKNOWN, lift.id, &lift.revocation, keys);
            self.waiting.push(told);
        }
    }

    /// Takes what has expired, and was live before.
    pub(super) fn expired(&mut self, revocation: &Revocation, keys: Keys<'_>) {
        let mut told = self.audit.told(Deed::Expire, Via::Expiry, ITSELF.to_owned());
        told.revocation(revocation, keys(&revocation.list).as_ref());
        self.waiting.push(told);
    }

    /// Hands over what was taken.
    pub(super) async fn write(&mut self) {
        self.audit.write_all(std::mem::take(&mut self.waiting)).await;
    }

    fn about(
        &self,
        act: Deed,
        who: &str,
        id: RecordId,
        mirrored: &MirroredRevocation,
        keys: Keys<'_>,
    ) -> Told {
        let mut told = self.audit.told(act, Via::Object, who.to_owned());
        fill(&mut told, id, mirrored, keys);
        told
    }
}

/// The API server gives each new object conditions that are unknown.
fn was_judged(mirrored: &MirroredRevocation) -> bool {
    let mut accepted =
        mirrored.status.conditions.iter().filter(|condition| condition.type_ == ConditionType::Accepted);
    accepted.any(|condition| condition.status != ConditionStatus::Unknown)
}

fn fill(told: &mut Told, id: RecordId, mirrored: &MirroredRevocation, keys: Keys<'_>) {
    match &mirrored.read {
        Ok(revocation) => told.revocation(revocation, keys(&mirrored.list).as_ref()),
        Err(_) => {
            told.list(&mirrored.list);
            told.named(&id.to_string(), mirrored.metadata.name.as_deref().unwrap_or_default());
        }
    }
    if let Some(version) = &mirrored.status.version {
        told.version(version);
    }
}

/// Returns who has made the object, as it says itself.
fn revoked_by(metadata: &ObjectMeta) -> Option<&str> {
    let user = metadata.annotations.as_ref()?.get(REVOKED_BY)?;
    Some(user.as_str()).filter(|user| !user.is_empty())
}

/// Returns the program that has written the object as a whole: the first one, and no status.
fn manager(metadata: &ObjectMeta) -> Option<String> {
    let fields = metadata.managed_fields.iter().flatten();
    let whole = fields.filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    whole.min_by_key(|entry| entry.time.clone()).and_then(|entry| entry.manager.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::compile::tests::config;
    use crate::api::token_revocation_list::Condition;
    use crate::controller::audit::silent;
    use crate::controller::kubernetes::conditions;
    use crate::controller::kubernetes::conditions::tests::mirrored;
    use crate::distribution::pump::moment;
    use crate::revocation::time::UnixSeconds;
    use crate::store::contract::subject;

    const ID: RecordId = RecordId(1);

    fn key(_: &ListName) -> Option<HashKey> {
        Some(HashKey::new([7; 16]))
    }

    fn lines(acts: &mut Acts) -> Vec<Value> {
        acts.waiting.drain(..).map(|told| json!(told)).collect()
    }

    fn judge(acts: &mut Acts, object: &MirroredRevocation) -> Vec<Value> {
        let accepted = conditions::judge(object, Some(&config()));
        acts.judged(ID, object, &accepted, &key);
        lines(acts)
    }

    #[test]
    fn an_object_is_told_of_once_with_what_is_known_of_it_and_without_its_value() {
        let mut acts = Acts::new(silent());
        let mut object = mirrored(subject("alice"));
        object.metadata.managed_fields = serde_json::from_value(json!([
            {"manager": "rescind-controller", "subresource": "status", "time": "2023-11-14T22:13:20Z"},
            {"manager": "kubectl-edit", "time": "2023-11-14T22:13:22Z"},
            {"manager": "kubectl-create", "time": "2023-11-14T22:13:21Z"},
        ]))
        .unwrap();
        // As the API server makes it.
        object.status.conditions = vec![Condition::unknown(ConditionType::Accepted)];
        let told = judge(&mut acts, &object);
        assert_eq!(told.len(), 1);
        let expected = json!({
            "act": "revoke", "outcome": "accepted", "via": "object", "who": UNKNOWN, "manager": "kubectl-create",
            "list": object.list.to_string(), "kind": "subject", "name": "ticket-4711", "id": ID.to_string(),
            "created": "2023-11-14T22:13:20Z",
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&told[0][field], value, "{field}");
        }
        assert_eq!(told[0]["key"].as_str().unwrap().len(), 32);
        assert!(!told[0].to_string().contains("alice"), "{}", told[0]);
        assert_eq!(judge(&mut acts, &object), [json!(null); 0]);
        // Another controller has told of what has a status.
        object.status = conditions::status(&object, Some(&config()), None, UnixSeconds::new(9).unwrap());
        assert_eq!(judge(&mut Acts::new(silent()), &object), [json!(null); 0]);
        assert!(judge(&mut acts, &object).is_empty() && acts.told.is_empty());
    }

    #[test]
    fn who_has_revoked_is_told_as_the_object_says_and_who_lifts_is_not_known() {
        for (says, who) in [("alice-support", "alice-support"), ("", UNKNOWN)] {
            let mut acts = Acts::new(silent());
            let mut object = mirrored(subject("alice"));
            object.metadata.annotations = Some([(REVOKED_BY.to_owned(), says.to_owned())].into());
            assert_eq!(judge(&mut acts, &object)[0]["who"], who);
            acts.lifted(&[Lift { id: ID, revocation: object, at: moment(1) }], &key);
            assert_eq!(lines(&mut acts)[0]["who"], UNKNOWN);
        }
    }

    #[test]
    fn one_without_effect_is_refused_and_a_lift_and_an_expiry_name_what_has_gone() {
        let mut acts = Acts::new(silent());
        let object = mirrored(subject("alice"));
        acts.judged(ID, &object, &conditions::judge(&object, None), &key);
        let told = lines(&mut acts);
        assert_eq!((&told[0]["outcome"], &told[0]["cause"]), (&json!("refused"), &json!("UnknownList")));
        acts.lifted(&[Lift { id: ID, revocation: object.clone(), at: moment(1) }], &key);
        acts.expired(object.read.as_ref().unwrap(), &key);
        let gone = lines(&mut acts);
        assert_eq!((&gone[0]["act"], &gone[1]["act"]), (&json!("lift"), &json!("expire")));
        // Lines of one revocation are found by its key as well as by its id.
        assert!(gone.iter().all(|line| line["key"] == told[0]["key"] && line["id"] == told[0]["id"]));
        let unreadable = MirroredRevocation { read: Err("unknown field".to_owned()), ..object };
        acts.judged(RecordId(2), &unreadable, &conditions::judge(&unreadable, None), &key);
        let told = lines(&mut acts);
        assert_eq!((&told[0]["cause"], &told[0]["key"]), (&json!("Unreadable"), &json!(null)));
    }
}
