use kube::CustomResourceExt;

use super::*;
use crate::api::revocation::MAX_REPORTED_LISTS;
use crate::distribution::enforcement::{
    Declaration, InUse, MAX_REPORTED_OF_NAMESPACE, Predecessor, SessionId, TooManyLists,
};
use crate::distribution::pump::{moment, name, publisher, put, seal_key};
use crate::revocation::list::tests::version;
use crate::revocation::state::State;
use crate::revocation::state::tests::HASH_KEY;

/// A hub that publishes the list of the tests, complete at version 1.
fn hub() -> Arc<Hub> {
    let hub = Hub::new("one", seal_key(), Arc::new(Sessions::new(Predecessor::None)));
    let publisher = publisher(State::new(HASH_KEY), 1);
    hub.lists.write().unwrap().insert(name(), Arc::new(Mutex::new(publisher)));
    hub
}

/// A sidecar that has a version in use, under a declaration.
fn sidecar(hub: &Hub, instance: u128, in_use: Option<(u64, u64)>) -> SessionId {
    let id = hub.sessions().open("sidecar", instance, "one", moment(0));
    hub.sessions().follow(id, &name()).unwrap();
    if let Some((revision, generation)) = in_use {
        hub.sessions().acknowledge(id, &name(), has(revision, generation));
    }
    id
}

fn has(revision: u64, generation: u64) -> InUse {
    let declaration = Declaration { hash_key: HASH_KEY.name(), generation };
    InUse { version: version(revision), declaration: Some(declaration) }
}

fn check(hub: &Hub, subscribers: i64, connected: i64, lowest: Option<u64>, generation: Option<i64>) {
    let expected = ListReport {
        namespace: name().namespace().to_owned(),
        name: name().name().to_owned(),
        subscribers,
        connected,
        lowest: lowest.map(|revision| version(revision).to_string()),
        generation,
        hash_key: generation.map(|_| format!("{:016x}", HASH_KEY.name())),
    };
    assert_eq!(hub.report(moment(1)), [expected]);
}

#[test]
fn without_sidecars_there_is_nothing_to_report() {
    assert_eq!(hub().report(moment(1)), []);
}

/// Invariant 1: a report says what all sidecars have, and nothing while one of them has nothing.
#[test]
fn a_report_names_what_all_sidecars_have_in_use() {
    let hub = hub();
    hub.with(&name(), &mut |publisher| {
        assert!(publisher.apply(put(1), version(5)));
        assert!(publisher.apply(put(2), version(9)));
    });
    sidecar(&hub, 1, Some((7, 3)));
    check(&hub, 1, 1, Some(7), Some(3));
    let second = sidecar(&hub, 2, Some((6, 4)));
    check(&hub, 2, 2, Some(6), Some(3));
    let third = sidecar(&hub, 3, None);
    check(&hub, 3, 3, None, None);
    hub.sessions().bye(third, &name());
    hub.sessions().close(second, moment(1));
    check(&hub, 2, 1, Some(6), Some(3));
}

/// Who has the last change of a list has every step up to the last: its report stays as it is while other lists and
/// heartbeats move the log on.
#[test]
fn a_report_does_not_change_as_long_as_nothing_happens_to_the_list() {
    let hub = hub();
    hub.with(&name(), &mut |publisher| assert!(publisher.apply(put(1), version(5))));
    let id = sidecar(&hub, 1, Some((5, 1)));
    check(&hub, 1, 1, Some(5), Some(1));
    hub.with(&name(), &mut |publisher| publisher.advance(version(8)));
    hub.sessions().acknowledge(id, &name(), has(8, 1));
    check(&hub, 1, 1, Some(5), Some(1));
    // A revocation that changes no row is a step, too: whoever waits for it finds it reported.
    hub.with(&name(), &mut |publisher| _ = publisher.apply(put(1), version(9)));
    check(&hub, 1, 1, Some(9), Some(1));
}

fn list_of(namespace: &str, number: usize) -> ListName {
    format!("{namespace}/list-{number}").parse().unwrap()
}

/// Invariant 1: whoever is in no report must not be fresh, and a report takes so many lists.
#[test]
fn no_more_lists_are_followed_than_a_report_takes() {
    let hub = hub();
    let sessions = hub.sessions();
    sessions.are_reported();
    let id = sessions.open("sidecar", 1, "one", moment(0));
    for namespace in ["a", "b", "c"] {
        (0..MAX_REPORTED_OF_NAMESPACE).for_each(|n| sessions.follow(id, &list_of(namespace, n)).unwrap());
        assert_eq!(sessions.follow(id, &list_of(namespace, MAX_REPORTED_OF_NAMESPACE)), Err(TooManyLists));
    }
    let others = MAX_REPORTED_LISTS - 3 * MAX_REPORTED_OF_NAMESPACE;
    (0..others).for_each(|n| sessions.follow(id, &list_of(&format!("of-{n}"), 0)).unwrap());
    assert_eq!(sessions.follow(id, &list_of("d", 0)), Err(TooManyLists));
    assert_eq!(hub.report(moment(1)).len(), MAX_REPORTED_LISTS);
    // What is in it already has its place, for others too.
    let other = sessions.open("sidecar", 2, "one", moment(1));
    sessions.follow(other, &list_of("a", 0)).unwrap();
    sessions.bye(id, &list_of("a", 0));
    assert_eq!(sessions.follow(id, &list_of("d", 0)), Err(TooManyLists));
    sessions.bye(other, &list_of("a", 0));
    sessions.follow(id, &list_of("d", 0)).unwrap();
    assert_eq!(hub.report(moment(1)).len(), MAX_REPORTED_LISTS);
}

/// Invariant 1: a place is kept as long as the sidecar counts, and not longer.
#[test]
fn a_place_in_the_report_is_free_when_nobody_counts_any_more() {
    let hub = hub();
    let sessions = hub.sessions();
    sessions.are_reported();
    sessions.note_window(&name(), 10_000_000_000);
    let fill = |instance, at| {
        let id = sessions.open("sidecar", instance, "one", moment(at));
        (0..MAX_REPORTED_OF_NAMESPACE).for_each(|n| sessions.follow(id, &list_of("a", n)).unwrap());
        id
    };
    let is_full = |id| sessions.follow(id, &list_of("a", MAX_REPORTED_OF_NAMESPACE)) == Err(TooManyLists);
    let first = fill(1, 0);
    sessions.part(first, &list_of("a", 0), moment(0));
    sessions.close(first, moment(5));
    let late = sessions.open("sidecar", 2, "one", moment(6));
    assert!(is_full(late));
    assert_eq!(hub.report(moment(11)), []);
    assert!(!is_full(late));
    sessions.bye(late, &list_of("a", MAX_REPORTED_OF_NAMESPACE));
    // The same process has come again, and was proven what it follows.
    let before = fill(3, 20);
    sessions.close(before, moment(21));
    let after = sessions.open("sidecar", 3, "one", moment(21));
    sessions.follow(after, &list_of("a", 0)).unwrap();
    let all: Vec<_> = (0..MAX_REPORTED_OF_NAMESPACE).map(|n| list_of("a", n)).collect();
    sessions.proven(after, &all);
    assert!(!is_full(after));
    assert_eq!(hub.report(moment(21)).len(), 2);
}

#[test]
fn a_report_takes_as_many_lists_as_its_schema_says() {
    let definition = crate::api::revocation::Revocation::crd();
    let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
    let lists = "/openAPIV3Schema/properties/status/properties/heartbeat/properties/lists/maxItems";
    assert_eq!(schema.pointer(lists).unwrap(), MAX_REPORTED_LISTS);
}
