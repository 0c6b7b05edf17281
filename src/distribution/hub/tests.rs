use super::*;
use crate::distribution::enforcement::{InUse, Predecessor, SessionId};
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
    hub.sessions().follow(id, &name());
    if let Some((revision, generation)) = in_use {
        hub.sessions().acknowledge(id, &name(), InUse { version: version(revision), generation });
    }
    id
}

fn check(hub: &Hub, subscribers: i64, connected: i64, lowest: Option<u64>, generation: Option<i64>) {
    let expected = ListReport {
        namespace: name().namespace().to_owned(),
        name: name().name().to_owned(),
        subscribers,
        connected,
        lowest: lowest.map(|revision| version(revision).to_string()),
        generation,
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
    let in_use = InUse { version: version(8), generation: 1 };
    hub.sessions().acknowledge(id, &name(), in_use);
    check(&hub, 1, 1, Some(5), Some(1));
    // A revocation that changes no row is a step, too: whoever waits for it finds it reported.
    hub.with(&name(), &mut |publisher| _ = publisher.apply(put(1), version(9)));
    check(&hub, 1, 1, Some(9), Some(1));
}
