use serde_json::json;

use super::*;
use crate::revocation::selector::Selection;
use crate::store::What;

const OWN: &str = "rescind-system";
const EPOCH_NOW: Epoch = Epoch { counter: 1, id: 7 };

/// An object as the API server sends it.
pub(crate) fn object(
    (namespace, name): (&str, &str),
    number: u8,
    revision: u64,
    spec: Value,
    status: Value,
) -> Object {
    let metadata = json!({
        "namespace": namespace,
        "name": name,
        "uid": format!("00000000-0000-0000-0000-0000000000{number:02x}"),
        "resourceVersion": revision.to_string(),
        "generation": 1,
        "creationTimestamp": "2026-11-21T10:00:00Z",
    });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
}

pub(crate) fn subject(name: &str) -> Value {
    json!({ "listName": "shop", "issuer": "https://id.example.com", "target": { "subject": name } })
}

/// What an object says whose specification is this.
fn says(place: (&str, &str), spec: Value, status: Value) -> Says {
    read(&object(place, 1, 5, spec, status), EPOCH_NOW, OWN)
}

fn revocation(spec: Value, status: Value) -> Says {
    says(("shop", "r-1"), spec, status)
}

fn beat() -> Value {
    json!({ "target": { "heartbeat": { "replica": "00000000000000aa", "kind": "Pulse" } } })
}

fn nonce() -> Value {
    json!({ "heartbeat": { "nonce": "0000000000000000000000000000000b" } })
}

#[test]
fn a_revocation_is_read_with_its_version_and_the_second_of_its_creation() {
    let Says::Live(read) = revocation(subject("alice"), json!({})) else { panic!("not live") };
    assert_eq!(read.spec.target.selection, Selection::Subject("alice".to_owned()));
    assert_eq!((read.list.to_string().as_str(), read.name.as_str()), ("shop/shop", "r-1"));
    assert_eq!(read.created.get(), 1_795_255_200);
    assert_eq!(read.version, version(EPOCH_NOW, 5));
    assert_eq!(read.id, RecordId(1));
}

/// Invariant 23: whoever can write an object can write one that makes no sense.
#[test]
fn what_cannot_be_read_is_of_its_list_and_says_why() {
    let unknown_field = json!({ "colour": "red" });
    let mut with_more = subject("alice");
    with_more.as_object_mut().unwrap().extend(unknown_field.as_object().unwrap().clone());
    let no_target = json!({ "listName": "shop", "issuer": "https://id.example.com", "target": {} });
    let two_targets = json!({
        "listName": "shop", "issuer": "https://id.example.com", "target": { "subject": "a", "session": "b" }
    });
    let everything =
        json!({ "listName": "shop", "issuer": "https://id.example.com", "target": { "everything": true } });
    for spec in [with_more, no_target, two_targets, everything] {
        let Says::Unreadable(unreadable) = revocation(spec.clone(), json!({})) else { panic!("{spec}") };
        assert_eq!((unreadable.list.to_string().as_str(), unreadable.id), ("shop/shop", RecordId(1)));
        assert!(!unreadable.why.is_empty());
    }
}

#[test]
fn what_names_no_list_is_about_nothing() {
    for spec in
        [json!({}), json!({ "listName": "" }), json!({ "listName": "Not A Name" }), json!({ "listName": 7 })]
    {
        assert_eq!(revocation(spec.clone(), json!({})), Says::Nothing, "{spec}");
    }
}

/// What has expired revokes nothing, whatever else is in it.
#[test]
fn what_has_expired_says_only_that() {
    let condition = |status: &str| {
        json!({ "conditions": [{
            "type": "Expired", "status": status, "reason": "NothingLeftToDeny", "message": "",
            "lastTransitionTime": "2026-11-21T10:00:00Z"
        }] })
    };
    let expired = Says::Expired { id: RecordId(1), list: "shop/shop".parse().unwrap() };
    assert_eq!(revocation(subject("alice"), condition("True")), expired);
    let nonsense = json!({ "listName": "shop", "target": { "subject": 7 } });
    assert_eq!(revocation(nonsense, condition("True")), expired);
    assert!(matches!(revocation(subject("alice"), condition("False")), Says::Live(_)));
}

/// A status that can't be read is as good as none: it must not make what is revoked pass.
#[test]
fn a_status_that_makes_no_sense_changes_nothing() {
    assert!(matches!(revocation(subject("alice"), json!({ "conditions": 7 })), Says::Live(_)));
}

#[test]
fn the_controllers_own_objects_are_read() {
    let pulse = (OWN, "pulse-00000000000000aa");
    assert_eq!(says(pulse, beat(), nonce()), Says::Pulse(Some(Beat { replica: 0xaa, nonce: 0xb })));
    assert_eq!(says(pulse, beat(), json!({})), Says::Pulse(None));
    let report = json!({ "target": { "heartbeat": { "replica": "00000000000000aa", "kind": "Report" } } });
    let replica = "00000000000000aa".to_owned();
    assert_eq!(
        says((OWN, "report-00000000000000aa"), report, json!({})),
        Says::Report { replica, lists: vec![] }
    );
    let epoch =
        json!({ "epoch": { "counter": 3, "id": "0000000000000000000000000000000c", "reason": "First" } });
    let target = |key: &str| json!({ "target": { key: {} } });
    assert_eq!(says((OWN, EPOCH), target("epoch"), epoch), Says::Epoch(Some(Epoch { counter: 3, id: 0xc })));
    assert_eq!(says((OWN, EPOCH), target("epoch"), json!({})), Says::Epoch(None));
    let horizon = json!({ "horizon": { "unixSeconds": 1_700_000_000 } });
    let at = UnixSeconds::new(1_700_000_000).unwrap();
    assert_eq!(says((OWN, HORIZON), target("horizon"), horizon), Says::Horizon(Some(at)));
}

/// Invariant 13: whoever may create objects elsewhere can't make a heartbeat for a replica, nor another history, nor
/// move the horizon.
#[test]
fn internal_objects_count_in_the_controllers_namespace_and_under_their_own_name_alone() {
    let target = |key: &str| json!({ "target": { key: {} } });
    for (place, spec) in [
        (("shop", "pulse-00000000000000aa"), beat()),
        ((OWN, "pulse-00000000000000bb"), beat()),
        ((OWN, "report-00000000000000aa"), beat()),
        (("shop", EPOCH), target("epoch")),
        ((OWN, "epoch-2"), target("epoch")),
        (("shop", HORIZON), target("horizon")),
        ((OWN, "horizon-2"), target("horizon")),
    ] {
        assert_eq!(says(place, spec.clone(), nonce()), Says::Nothing, "{place:?} {spec}");
    }
}

/// One that also names a list is no revocation that could not be read: it would withhold that list.
#[test]
fn an_internal_target_beside_another_one_is_about_nothing() {
    let mut spec = subject("alice");
    spec["target"]["epoch"] = json!({});
    assert_eq!(revocation(spec, json!({})), Says::Nothing);
}

/// What is in the log as a heartbeat names its replica and its nonce.
#[test]
fn a_pulse_becomes_the_event_that_a_round_waits_for() {
    let Says::Pulse(Some(beat)) = says((OWN, "pulse-00000000000000aa"), beat(), nonce()) else { panic!() };
    assert_eq!(What::Heartbeat(beat), What::Heartbeat(Beat { replica: 0xaa, nonce: 0xb }));
}
