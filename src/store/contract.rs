//! What every store must keep. A store's tests name a maker and get a test for each clause.

use std::sync::Arc;

use crate::revocation::names::ListName;
use crate::revocation::record::{Cutoff, RevocationSpec};
use crate::revocation::selector::{Selection, Target};
use crate::revocation::time::UnixSeconds;

use super::{Beat, Event, Fetched, Follow, NewRevocation, NewStep, Revocation, Store, StoreError, What};

/// The list that a maker declares: that of `examples/lists.yaml`.
pub(crate) fn list() -> ListName {
    "shop".parse().unwrap()
}

pub(crate) const ISSUER: &str = "https://id.example.com";

pub(crate) fn subject(name: &str) -> RevocationSpec {
    RevocationSpec {
        target: Target { issuer: ISSUER.to_owned(), selection: Selection::Subject(name.to_owned()) },
        cutoff: None,
        compare_with: crate::revocation::record::CompareWith::IssueTime,
        expires_at: None,
    }
}

pub(crate) fn new(spec: RevocationSpec) -> NewRevocation {
    NewRevocation { list: list(), name: None, spec, reason: Some("LostDevice".to_owned()), message: None }
}

pub(crate) async fn revoke(store: &dyn Store, subject_name: &str) -> Revocation {
    let step = NewStep::Revoke(Box::new(new(subject(subject_name))));
    store.append(step).await.unwrap().revocation.unwrap()
}

pub(crate) fn lift(revocation: &Revocation) -> NewStep {
    NewStep::Lift { list: list(), name: revocation.name.clone(), id: Some(revocation.id) }
}

async fn next(follow: &mut Box<dyn Follow>) -> Event {
    tokio::time::timeout(std::time::Duration::from_secs(10), follow.next()).await.unwrap().unwrap()
}

async fn fetched(store: &dyn Store) -> Fetched {
    store.fetch().await.unwrap()
}

/// Invariant 2: what was acknowledged is there.
pub(crate) async fn what_was_acknowledged_is_in_every_later_fetch(store: Arc<dyn Store>) {
    let alice = revoke(&*store, "alice").await;
    let bob = revoke(&*store, "bob").await;
    assert!(bob.version > alice.version);
    let fetched = fetched(&*store).await;
    assert_eq!(fetched.revocations, [alice, bob.clone()]);
    assert!(fetched.version >= bob.version);
}

/// Invariant 16: of two that revoke the same, one stays.
pub(crate) async fn a_lift_removes_exactly_what_it_names(store: Arc<dyn Store>) {
    let first = revoke(&*store, "alice").await;
    let second = revoke(&*store, "alice").await;
    let lifted = store.append(lift(&first)).await.unwrap();
    assert_eq!(lifted.revocation.as_ref(), Some(&first));
    assert!(lifted.version > second.version);
    assert_eq!(fetched(&*store).await.revocations, std::slice::from_ref(&second));
    let again = store.append(lift(&first)).await;
    assert_eq!(again, Err(StoreError::NotFound { list: list(), name: first.name.clone() }));
    let wrong_id = NewStep::Lift { list: list(), name: second.name.clone(), id: Some(first.id) };
    assert!(matches!(store.append(wrong_id).await, Err(StoreError::NotFound { .. })));
    let other_list = NewStep::Lift { list: "other".parse().unwrap(), name: second.name.clone(), id: None };
    assert!(matches!(store.append(other_list).await, Err(StoreError::NotFound { .. })));
    assert_eq!(fetched(&*store).await.revocations, [second]);
}

pub(crate) async fn events_come_in_order_with_none_left_out(store: Arc<dyn Store>) {
    let start = fetched(&*store).await.version;
    let mut follow = store.follow(start).await.unwrap();
    let alice = revoke(&*store, "alice").await;
    let beat = Beat { replica: 7, nonce: 99 };
    let beaten = store.beat(beat).await.unwrap();
    let lifted = store.append(lift(&alice)).await.unwrap().version;
    let events = [next(&mut follow).await, next(&mut follow).await, next(&mut follow).await];
    let removed = What::Removed { id: alice.id, list: list() };
    assert_eq!(events[0], Event { version: alice.version, what: What::Added(Box::new(alice.clone())) });
    assert_eq!(events[1], Event { version: beaten, what: What::Heartbeat(beat) });
    assert_eq!(events[2], Event { version: lifted, what: removed.clone() });
    // From the middle, exactly the rest.
    let mut late = store.follow(beaten).await.unwrap();
    assert_eq!(next(&mut late).await, Event { version: lifted, what: removed });
}

/// Invariant 1, its first step: a heartbeat is above everything acknowledged before it.
pub(crate) async fn a_heartbeat_is_above_all_that_was_acknowledged_before(store: Arc<dyn Store>) {
    for round in 0..5u64 {
        let revocation = revoke(&*store, &format!("user-{round}")).await;
        let beaten = store.beat(Beat { replica: 1, nonce: round.into() }).await.unwrap();
        assert!(beaten > revocation.version);
        assert!(fetched(&*store).await.version >= beaten);
    }
}

pub(crate) async fn a_named_call_can_be_repeated_and_a_name_is_not_reused_for_something_else(
    store: Arc<dyn Store>,
) {
    let named = |who: &str| {
        NewStep::Revoke(Box::new(NewRevocation { name: Some("ticket-1".to_owned()), ..new(subject(who)) }))
    };
    let first = store.append(named("alice")).await.unwrap();
    let again = store.append(named("alice")).await.unwrap();
    assert_eq!(again.revocation, first.revocation);
    assert!(again.version >= first.version);
    let taken = StoreError::NameTaken { list: list(), name: "ticket-1".to_owned() };
    assert_eq!(store.append(named("bob")).await, Err(taken));
    assert_eq!(fetched(&*store).await.revocations.len(), 1);
    store.append(lift(first.revocation.as_ref().unwrap())).await.unwrap();
    let reused = store.append(named("bob")).await.unwrap().revocation.unwrap();
    assert_ne!(reused.id, first.revocation.unwrap().id);
}

pub(crate) async fn what_makes_no_sense_is_refused_and_leaves_no_trace(store: Arc<dyn Store>) {
    let before = fetched(&*store).await;
    let unknown = NewRevocation { list: "nobody/knows".parse().unwrap(), ..new(subject("alice")) };
    let refused = store.append(NewStep::Revoke(Box::new(unknown))).await;
    assert_eq!(refused, Err(StoreError::UnknownList { list: "nobody/knows".parse().unwrap() }));
    let mut everything = subject("alice");
    everything.target.selection = Selection::Everything;
    let refused = store.append(NewStep::Revoke(Box::new(new(everything)))).await;
    assert!(matches!(refused, Err(StoreError::Spec(_))));
    let unwritable = store.append(NewStep::Revoke(Box::new(new(subject("control \u{7}"))))).await;
    assert_eq!(unwritable, Err(StoreError::Unwritable));
    assert_eq!(fetched(&*store).await.revocations, before.revocations);
}

pub(crate) async fn an_expiry_is_a_step_and_the_horizon_comes_before_it_and_never_goes_back(
    store: Arc<dyn Store>,
) {
    let alice = revoke(&*store, "alice").await;
    let bob = revoke(&*store, "bob").await;
    let mut follow = store.follow(bob.version).await.unwrap();
    let at = |seconds| UnixSeconds::new(seconds).unwrap();
    let expire = |at| NewStep::Expire { judged: vec![alice.clone()], horizon: at };
    assert_eq!(store.append(expire(at(2000))).await.unwrap().expired, [alice.id]);
    assert_eq!(next(&mut follow).await.what, What::Horizon(at(2000)));
    assert_eq!(next(&mut follow).await.what, What::Removed { id: alice.id, list: list() });
    assert_eq!(store.append(expire(at(1000))).await.unwrap().expired, []);
    let fetched = fetched(&*store).await;
    assert_eq!((fetched.revocations, fetched.horizon), (vec![bob], at(2000)));
}

/// Invariant 7: whoever judges may be behind, and what was acknowledged since counts.
pub(crate) async fn what_says_something_else_than_was_judged_does_not_expire(store: Arc<dyn Store>) {
    let alice = revoke(&*store, "alice").await;
    let mut judged = alice.clone();
    judged.spec.expires_at = Some(UnixSeconds::MIN);
    let horizon = UnixSeconds::new(2000).unwrap();
    let done = store.append(NewStep::Expire { judged: vec![judged], horizon }).await.unwrap();
    assert_eq!((done.expired, fetched(&*store).await.revocations), (vec![], vec![alice]));
}

pub(crate) async fn what_a_revocation_says_is_kept_to_the_letter(store: Arc<dyn Store>) {
    let mut spec = subject("a\u{301}lice \"quoted\" \u{1f600}");
    spec.cutoff = Some(Cutoff::At(UnixSeconds::new(123).unwrap()));
    spec.expires_at = Some(UnixSeconds::MAX);
    let message = Some("laptop stolen".to_owned());
    let step = NewStep::Revoke(Box::new(NewRevocation { message: message.clone(), ..new(spec.clone()) }));
    let answered = store.append(step).await.unwrap().revocation.unwrap();
    assert_eq!((&answered.spec, &answered.message), (&spec, &message));
    assert_eq!(fetched(&*store).await.revocations, [answered]);
}

pub(crate) async fn following_from_what_never_was_is_refused(store: Arc<dyn Store>) {
    let reached = fetched(&*store).await.version;
    let mut above = reached;
    // Who shares the numbers of its revisions with others may reach the next one without us.
    above.revisions.revocations += 1_000_000;
    assert!(store.follow(above).await.is_err());
    let mut other_history = reached;
    other_history.epoch.id ^= 1;
    assert!(store.follow(other_history).await.is_err());
}

/// Invariant 20: a store that went back starts a history above all that was seen of it, and keeps what it has.
pub(crate) async fn another_history_is_above_what_was_seen_and_keeps_what_is_live(store: Arc<dyn Store>) {
    let alice = revoke(&*store, "alice").await;
    let before = fetched(&*store).await.version;
    let mut seen = before;
    seen.revisions.revocations += 1000;
    store.start_epoch(seen).await.unwrap();
    let after = fetched(&*store).await;
    assert!(after.version > seen);
    assert_eq!(after.revocations.iter().map(|kept| kept.id).collect::<Vec<_>>(), [alice.id]);
    assert!(store.follow(before).await.is_err());
    store.start_epoch(seen).await.unwrap();
    assert_eq!(fetched(&*store).await.version, after.version);
    let mut follow = store.follow(after.version).await.unwrap();
    let bob = revoke(&*store, "bob").await;
    assert_eq!(next(&mut follow).await.what, What::Added(Box::new(bob)));
}

/// Invariant 20: an older copy goes on counting, and is above what was seen before long.
pub(crate) async fn another_history_begins_also_above_what_was_seen(store: Arc<dyn Store>) {
    let seen = fetched(&*store).await.version;
    let alice = revoke(&*store, "alice").await;
    assert!(fetched(&*store).await.version > seen);
    store.start_epoch(seen).await.unwrap();
    let after = fetched(&*store).await;
    assert!(after.version.epoch.counter > seen.epoch.counter);
    assert_eq!(after.revocations.iter().map(|kept| kept.id).collect::<Vec<_>>(), [alice.id]);
}

pub(crate) async fn lists_keep_their_hash_key(store: Arc<dyn Store>) {
    let [one, two] = [store.lists().await.unwrap(), store.lists().await.unwrap()];
    assert_eq!(one, two);
    assert_eq!(one[0].document.name().unwrap(), list());
}

pub(crate) async fn many_at_once_are_all_kept(store: Arc<dyn Store>) {
    let calls = (0..100).map(|n| {
        let store = Arc::clone(&store);
        async move { revoke(&*store, &format!("user-{n}")).await }
    });
    let answered = futures::future::join_all(calls).await;
    let kept = fetched(&*store).await.revocations;
    assert_eq!(kept.len(), 100);
    assert!(answered.iter().all(|revocation| kept.contains(revocation)));
}

/// Makes a test of each clause for the store that `$make` returns (a future of a guard and the store).
macro_rules! store_contract {
    ($make:expr) => {
        store_contract!($make =>
            what_was_acknowledged_is_in_every_later_fetch,
            a_lift_removes_exactly_what_it_names,
            events_come_in_order_with_none_left_out,
            a_heartbeat_is_above_all_that_was_acknowledged_before,
            a_named_call_can_be_repeated_and_a_name_is_not_reused_for_something_else,
            what_makes_no_sense_is_refused_and_leaves_no_trace,
            an_expiry_is_a_step_and_the_horizon_comes_before_it_and_never_goes_back,
            what_says_something_else_than_was_judged_does_not_expire,
            what_a_revocation_says_is_kept_to_the_letter,
            following_from_what_never_was_is_refused,
            another_history_is_above_what_was_seen_and_keeps_what_is_live,
            another_history_begins_also_above_what_was_seen,
            lists_keep_their_hash_key,
            many_at_once_are_all_kept
        );
    };
    ($make:expr => $($clause:ident),*) => {
        $(
            #[tokio::test]
            async fn $clause() {
                let (_guard, store) = $make.await;
                $crate::store::contract::$clause(store).await;
            }
        )*
    };
}
pub(crate) use store_contract;
