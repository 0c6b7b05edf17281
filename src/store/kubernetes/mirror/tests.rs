use serde_json::{Value, json};

use super::object::tests::{object, subject};
use super::*;
use crate::store::written::generated_name;

const OWN: &str = "rescind-system";
const HISTORY: Epoch = Epoch { counter: 1_700_000_000_000, id: 7 };
/// The replica whose heartbeats these tests write.
const REPLICA: &str = "00000000000000aa";

/// A second of this process; the history began at second zero.
fn moment(seconds: u64) -> Moment {
    let nanos = seconds * 1_000_000_000;
    Moment { boot_nanos: nanos, wall_nanos: 1_700_000_000_000_000_000 + nanos }
}

fn alice(revision: u64) -> Object {
    object(("shop", "r-1"), 1, revision, subject("alice"), json!({}))
}

fn bob(revision: u64) -> Object {
    object(("shop", "r-2"), 2, revision, subject("bob"), json!({}))
}

/// Invariant 20: whatever a list shows as it was before is of an older copy.
#[test]
fn a_list_that_shows_something_as_it_was_is_of_an_older_copy() {
    let mut mirror = Mirror::default();
    mirror.replace(HISTORY, 9, &[alice(7), pulse(8), report(9, 1)], OWN, moment(1));
    for (shown, is_older) in [
        (vec![], false),
        (vec![alice(7), pulse(8), report(9, 1)], false),
        (vec![alice(70), pulse(80), report(90, 1), bob(2)], false),
        (vec![alice(6)], true),
        (vec![pulse(7)], true),
        (vec![bob(2), report(8, 1)], true),
    ] {
        assert_eq!(mirror.is_ahead_of(&shown), is_older, "{shown:?}");
    }
    let mut another = pulse(2);
    assert!(!mirror.has_namesake(&another));
    another.metadata.uid = Some("another".to_owned());
    assert!(mirror.has_namesake(&another) && !mirror.is_ahead_of(std::slice::from_ref(&another)));
    mirror.remove(&pulse(10), moment(2));
    assert!(!mirror.has_namesake(&another));
}

fn heartbeat(kind: &str, number: u8, revision: u64, status: Value) -> Object {
    let name = format!("{}-{REPLICA}", kind.to_lowercase());
    let spec = json!({ "target": { "heartbeat": { "replica": REPLICA, "kind": kind } } });
    object((OWN, &name), number, revision, spec, status)
}

fn pulse(revision: u64) -> Object {
    heartbeat("Pulse", 3, revision, json!({ "heartbeat": { "nonce": format!("{revision:032x}") } }))
}

fn report(revision: u64, subscribers: i64) -> Object {
    let list =
        json!({ "namespace": "shop", "name": "shop", "subscribers": subscribers, "connected": subscribers });
    heartbeat("Report", 4, revision, json!({ "heartbeat": { "lists": [list] } }))
}

fn listed(objects: &[Object], revision: u64, seconds: u64) -> Mirror {
    let mut mirror = Mirror::default();
    mirror.replace(HISTORY, revision, objects, OWN, moment(seconds));
    mirror
}

fn put(mirror: &mut Mirror, object: &Object, seconds: u64) {
    mirror.put(object, &object::read(object, HISTORY, OWN), moment(seconds));
}

fn of_alice(mirror: &Mirror) -> &MirroredRevocation {
    &mirror.revocations[&RecordId(1)]
}

#[test]
fn what_a_list_shows_is_new_to_whoever_looks() {
    let mirror = listed(&[alice(5), bob(6), pulse(7)], 8, 1);
    assert_eq!((mirror.epoch, mirror.revision), (Some(HISTORY), 8));
    assert_eq!(mirror.dirty, BTreeSet::from([RecordId(1), RecordId(2)]));
    assert_eq!(of_alice(&mirror).first_seen, (5, moment(1)));
}

/// A write of the status moves the revision that the next write has to name, and not when it was first seen.
#[test]
fn a_write_of_the_status_keeps_the_revision_at_which_a_revocation_was_first_seen() {
    let mut mirror = listed(&[alice(5)], 5, 1);
    put(&mut mirror, &alice(9), 4);
    let mirrored = of_alice(&mirror);
    assert_eq!(mirrored.metadata.resource_version.as_deref(), Some("9"));
    assert_eq!(mirrored.first_seen, (5, moment(1)));
    mirror.replace(HISTORY, 12, &[alice(11)], OWN, moment(7));
    assert_eq!(of_alice(&mirror).first_seen, (5, moment(1)));
}

#[test]
fn what_can_not_be_read_is_kept_with_the_reason() {
    let nonsense = object(("shop", "r-1"), 1, 5, json!({ "listName": "shop", "target": {} }), json!({}));
    let mirror = listed(&[nonsense], 5, 1);
    let mirrored = of_alice(&mirror);
    assert!(mirrored.read.is_err() && !mirrored.expired);
    assert_eq!(mirrored.list, "shop/shop".parse().unwrap());
}

/// Invariant 1: a replica is there as long as either of its objects changes, and its report says what its sidecars
/// have.
#[test]
fn a_pulse_is_a_sign_of_life_and_takes_nothing_of_the_report_away() {
    let mut mirror = listed(&[pulse(5), report(6, 2)], 6, 1);
    put(&mut mirror, &pulse(9), 8);
    let report = &mirror.reports[REPLICA];
    assert_eq!((report.changed, report.lists.len()), (moment(8), 1));
    assert_eq!(report.lists[0].subscribers, 2);
}

/// Invariant 1: fetching everything anew is no sign of life of anybody.
#[test]
fn a_list_that_shows_the_same_heartbeats_does_not_make_them_younger() {
    let mut mirror = listed(&[pulse(5), report(6, 2)], 6, 1);
    mirror.replace(HISTORY, 9, &[pulse(5), report(6, 2)], OWN, moment(8));
    assert_eq!(mirror.reports[REPLICA].changed, moment(1));
    mirror.replace(HISTORY, 12, &[pulse(11), report(6, 2)], OWN, moment(9));
    assert_eq!(mirror.reports[REPLICA].changed, moment(9));
}

/// What a list no longer shows of the replicas is gone.
#[test]
fn a_report_whose_objects_were_removed_is_forgotten() {
    let mut mirror = listed(&[pulse(5), report(6, 2)], 6, 1);
    mirror.remove(&pulse(7), moment(9));
    assert_eq!(mirror.reports[REPLICA].objects.len(), 1);
    // One of the same name that is another object.
    let mut namesake = report(8, 2);
    namesake.metadata.uid = Some("another".to_owned());
    mirror.remove(&namesake, moment(9));
    assert_eq!(mirror.reports[REPLICA].objects.len(), 1);
    mirror.remove(&report(8, 2), moment(9));
    assert_eq!(mirror.reports.len(), 0);
}

/// Invariant 1: reports of sidecars that still allow may have been lost with the history before, so it counts when the
/// one began that they are of.
#[test]
fn a_history_that_was_there_before_is_as_old_as_its_epoch_says() {
    let since = |counter, seconds| {
        let mut mirror = Mirror::default();
        mirror.replace(Epoch { counter, ..HISTORY }, 1, &[], OWN, moment(seconds));
        mirror.since.boot_nanos / 1_000_000_000
    };
    assert_eq!(since(HISTORY.counter, 60), 0);
    assert_eq!(since(HISTORY.counter + 50_000, 60), 50);
    // Its counter had to be above one of a clock that ran ahead.
    assert_eq!(since(HISTORY.counter + 900_000, 60), 60);
}

/// Invariant 1: whoever began it may have a clock that is behind.
#[test]
fn a_history_that_begins_before_our_eyes_is_as_old_as_we_have_seen_it() {
    let mut mirror = listed(&[], 1, 60);
    let next = Epoch { counter: HISTORY.counter + 1, id: 8 };
    mirror.replace(next, 3, &[], OWN, moment(100));
    assert_eq!(mirror.since, moment(100));
    mirror.replace(next, 4, &[], OWN, moment(120));
    assert_eq!(mirror.since, moment(100));
}

#[test]
fn a_lift_leaves_nothing_and_is_news() {
    let mut mirror = listed(&[alice(5)], 5, 1);
    mirror.dirty.clear();
    mirror.remove(&alice(6), moment(9));
    assert!(mirror.revocations.is_empty() && mirror.lost.is_empty());
    assert_eq!(mirror.dirty, BTreeSet::from([RecordId(1)]));
}

#[test]
fn what_was_lifted_or_has_expired_is_counted_once_and_a_lift_is_told_of_for_a_minute() {
    let expired = json!({ "conditions": [{ "type": "Expired", "status": "True", "reason": "NothingLeftToDeny",
        "message": "", "lastTransitionTime": "2026-11-21T10:00:00Z" }] });
    let expired = |revision| object(("shop", "r-2"), 2, revision, subject("bob"), expired.clone());
    let mut mirror = listed(&[alice(5), bob(6)], 6, 1);
    let list = of_alice(&mirror).list.clone();
    put(&mut mirror, &expired(7), 2);
    put(&mut mirror, &expired(8), 2);
    mirror.remove(&expired(9), moment(3));
    assert_eq!(mirror.departures.lately(&list, moment(3)), 1);
    mirror.remove(&alice(10), moment(4));
    assert_eq!(mirror.departures.lately(&list, moment(4)), 2);
    let (lifts, untold) = mirror.departures.take_lifts(moment(64));
    assert_eq!((lifts.len(), lifts[0].id, untold), (1, RecordId(1), 0));
    assert!(mirror.departures.take_lifts(moment(64)).0.is_empty());

    // Nobody leads for longer.
    let mut mirror = listed(&[alice(5)], 5, 1);
    mirror.remove(&alice(6), moment(4));
    assert!(mirror.departures.take_lifts(moment(65)).0.is_empty());

    // It was a complete list that showed the expiry.
    let mut mirror = listed(&[alice(5), bob(6)], 6, 1);
    mirror.replace(HISTORY, 9, &[alice(5), expired(8)], OWN, moment(5));
    assert_eq!(mirror.departures.lately(&list, moment(5)), 1);
}

/// Invariant 20: what went away and was not lifted is kept, and so is which namespace it went away with.
#[test]
fn what_is_lost_is_kept_unless_it_had_expired() {
    let mut mirror = listed(&[alice(5), bob(6)], 6, 1);
    mirror.lose(RecordId(1), Some("uid".to_owned()));
    assert_eq!(mirror.lost.keys().collect::<Vec<_>>(), [&RecordId(1)]);
    assert_eq!(mirror.gone, HashMap::from([("shop".to_owned(), "uid".to_owned())]));
    mirror.revocations.get_mut(&RecordId(2)).unwrap().expired = true;
    mirror.lose(RecordId(2), None);
    assert_eq!(mirror.lost.len(), 1);
    assert!(mirror.revocations.is_empty());
}

/// A lost revocation that some replica has written again may be lifted, and the others must not write it once more.
#[test]
fn what_is_lost_is_lost_no_more_when_it_is_seen_again_and_by_nothing_else() {
    let at = |spec: Value| {
        let mut spec = spec;
        spec["cutoff"] = json!("2026-11-21T10:00:00Z");
        spec
    };
    let cases = [
        ("r-1", at(subject("alice")), true),
        (&*generated_name(RecordId(1)), at(subject("alice")), true),
        ("another", at(subject("alice")), false),
        ("r-1", at(subject("bob")), false),
        // A cutoff of its own, which is later.
        ("r-1", subject("alice"), false),
    ];
    for (name, spec, is_again) in cases {
        let mut mirror = listed(&[alice(5)], 6, 1);
        mirror.lose(RecordId(1), None);
        let mut found = object(("shop", name), 7, 9, spec.clone(), json!({}));
        // It is the cutoff that stays the same, and not the time of creation.
        found.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-21T11:00:00Z")).unwrap();
        let says = object::read(&found, HISTORY, OWN);
        mirror.watched(&found, &says, moment(9));
        assert_eq!(mirror.lost.is_empty(), is_again, "{name} {spec}");
        assert!(mirror.revocations.contains_key(&RecordId(7)));
    }
}
