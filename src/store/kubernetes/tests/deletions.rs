//! When a deletion is a lift: what a look at the definition and at the namespace has to find, and that it is waited for.

use serde_json::json;
use tokio::time::timeout;

use super::following::{self, delivered, elsewhere, finish_deleting};
use super::object::tests::{object, subject};
use super::played::{BEAT, EPOCH, Look, Played, epoch, heartbeat, listing};
use super::*;
use crate::revocation::names::RecordId;
use crate::store::{Event, What};

/// Longer than any call, and any pause between two attempts.
const LONG: Duration = Duration::from_secs(30);
/// The one whose object goes.
const ALICE: RecordId = RecordId(1);

/// A watch that delivers a deletion and, behind it, a heartbeat.
fn server() -> Played {
    let alice = object(("shop", "r-1"), 1, 12, subject("alice"), json!({}));
    let played = Played::delivering(vec![json!({"type": "DELETED", "object": alice}), heartbeat(13)]);
    know_alice(&played.store);
    played
}

/// As if a list at revision 10 had shown her.
fn know_alice(store: &KubernetesStore) {
    let alice = object(("shop", "r-1"), 1, 9, subject("alice"), json!({}));
    store.with_mirror(|mirror| {
        let now = Moment { boot_nanos: 0, wall_nanos: 0 };
        mirror.replace(EPOCH, 10, &[alice], DEFAULT_NAMESPACE, now);
        mirror.definition = "definition".to_owned();
        mirror.namespaces.insert("shop".to_owned(), "namespace".to_owned());
    });
}

/// What a store that knows alice makes of a list without her; whether she is still known, lost, or was lifted.
async fn fetched_without_alice(
    store: &KubernetesStore,
) -> (Result<Version, StoreError>, bool, Vec<RecordId>) {
    know_alice(store);
    let fetched = store.shared.fetch_with(store.client()).await.map(|fetched| fetched.version);
    (fetched, store.with_mirror(|mirror| mirror.revocations.contains_key(&ALICE)), lost(store))
}

/// Invariant 20: the definition goes after its objects: what a list does not show may have gone with it.
#[tokio::test]
async fn what_is_absent_is_not_lifted_if_the_definition_went_while_it_was_listed() {
    let there = Look::Finds("definition");
    let stays = listing(vec![epoch()], vec![there, there]);
    let complete = object::version(EPOCH, 100);
    assert_eq!(fetched_without_alice(&stays).await, (Ok(complete), false, vec![]));
    for after in [Look::FindsGoing("definition"), Look::Fails(404), Look::Finds("another")] {
        let (fetched, known, lost) = fetched_without_alice(&listing(vec![epoch()], vec![there, after])).await;
        assert!(matches!(fetched, Err(StoreError::Unavailable { .. })), "{after:?}: {fetched:?}");
        assert_eq!((known, lost), (true, vec![]), "{after:?}");
    }
}

/// Invariant 20: an older copy may have gone on counting above what was seen. The replica's own pulse has not.
#[tokio::test]
async fn a_list_that_shows_an_older_pulse_is_of_a_store_that_went_back() {
    let there = Look::Finds("definition");
    let pulse = |revision| heartbeat(revision)["object"].clone();
    for (shown, goes_back) in [(50, false), (51, false), (49, true)] {
        let store = listing(vec![epoch(), pulse(shown)], vec![there, there]);
        store.shared.heartbeats.lock().await.know(BEAT, serde_json::from_value(pulse(50)).unwrap());
        let (fetched, known, lost) = fetched_without_alice(&store).await;
        let expected = if goes_back { Err(StoreError::WentBack) } else { Ok(object::version(EPOCH, 100)) };
        assert_eq!((fetched, known, lost), (expected, goes_back, vec![]), "{shown}");
    }
}

/// Invariant 20: the copy has no pulse of this process, which makes one anew: in one history the old one is deleted first.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_beside_another_of_its_name_is_of_a_store_that_went_back() {
    let mut known = heartbeat(5)["object"].clone();
    known["metadata"]["uid"] = json!("00000000-0000-0000-0000-0000000000aa");
    let known: Object = serde_json::from_value(known).unwrap();
    let mut gone = heartbeat(12);
    gone["type"] = json!("DELETED");
    gone["object"]["metadata"]["uid"] = json!(known.metadata.uid);
    for (events, is_known) in [(vec![heartbeat(13)], false), (vec![gone, heartbeat(13)], true)] {
        let played = Played::delivering(events);
        played.store.with_mirror(|mirror| {
            let now = Moment { boot_nanos: 0, wall_nanos: 0 };
            mirror.replace(EPOCH, 10, std::slice::from_ref(&known), DEFAULT_NAMESPACE, now);
            mirror.definition = "definition".to_owned();
        });
        let mut follow = played.follow().await;
        let next = timeout(LONG, follow.next()).await.expect("it was waited for ever");
        let expected = if is_known { Ok(heartbeat_event()) } else { Err(FollowError::WentBack) };
        assert_eq!(next, expected);
    }
}

/// Invariant 20: a watch that ended is not opened in a store that has not reached what it has shown.
#[tokio::test(start_paused = true)]
async fn a_store_that_has_not_reached_what_it_has_shown_went_back() {
    let played = Played::delivering(vec![]);
    // It has reached revision 100.
    let above = Store::follow(&played.store, object::version(EPOCH, 101)).await.map(drop);
    assert_eq!(above.unwrap_err(), FollowError::WentBack);
}

fn event(revision: u64, what: What) -> Event {
    Event { version: object::version(EPOCH, revision), what }
}

fn heartbeat_event() -> Event {
    event(13, What::Heartbeat(BEAT))
}

/// The first event and the one behind it.
async fn first_two(follow: &mut Box<dyn Follow>) -> [Event; 2] {
    let mut next = async || timeout(LONG, follow.next()).await.expect("it was waited for ever").unwrap();
    [next().await, next().await]
}

fn lift() -> Event {
    event(12, What::Removed { id: ALICE, list: "shop/shop".parse().unwrap() })
}

fn lost(store: &KubernetesStore) -> Vec<RecordId> {
    store.with_mirror(|mirror| mirror.lost.keys().copied().collect())
}

/// Neither the deletion nor anything behind it is delivered before both looks have answered, so no version that comes
/// after it is proven.
async fn check_stands_still(looks_of: fn(Look) -> (Look, Look)) {
    for look in [Look::Hangs, Look::Fails(403), Look::Fails(429), Look::Fails(500)] {
        let played = server();
        let good = *played.looks.lock().unwrap();
        *played.looks.lock().unwrap() = looks_of(look);
        let mut follow = played.follow().await;
        assert!(timeout(LONG, follow.next()).await.is_err(), "{look:?}: something was delivered");
        let known =
            played.store.with_mirror(|mirror| (mirror.revision, mirror.revocations.contains_key(&ALICE)));
        assert_eq!(known, (10, true), "{look:?}");
        assert!(played.opened.lock().unwrap().iter().all(|from| from == "10"), "{look:?}");
        *played.looks.lock().unwrap() = good;
        assert_eq!(first_two(&mut follow).await, [lift(), heartbeat_event()], "{look:?}");
        assert_eq!(lost(&played.store), []);
    }
}

/// Invariant 20: a deletion is no lift before the definition was seen after it.
#[tokio::test(start_paused = true)]
async fn the_log_stands_still_in_front_of_a_deletion_until_the_definition_was_seen() {
    check_stands_still(|look| (look, Look::Finds("namespace"))).await;
}

/// Invariant 20: a deletion is no lift before the namespace was seen after it.
#[tokio::test(start_paused = true)]
async fn the_log_stands_still_in_front_of_a_deletion_until_the_namespace_was_seen() {
    check_stands_still(|look| (Look::Finds("definition"), look)).await;
}

/// Invariant 20: another namespace of the name is not what held the revocation; nor is one that is about to go, or none.
#[tokio::test(start_paused = true)]
async fn a_deletion_is_no_lift_unless_the_namespace_is_the_one_that_it_was_and_stays() {
    for look in [Look::Finds("another"), Look::FindsGoing("namespace"), Look::Fails(404)] {
        let played = server();
        played.looks.lock().unwrap().1 = look;
        let mut follow = played.follow().await;
        let first = timeout(LONG, follow.next()).await.expect("it was waited for ever").unwrap();
        assert_eq!(first, heartbeat_event(), "{look:?}");
        assert_eq!(lost(&played.store), [ALICE], "{look:?}");
        let gone = played.store.with_mirror(|mirror| mirror.gone.get("shop").cloned());
        assert_eq!(gone.as_deref(), Some("namespace"), "{look:?}");
    }
}

/// Invariant 20: a late watch shows a deletion after the namesake of its namespace was looked at.
#[tokio::test(start_paused = true)]
async fn what_is_older_than_its_namespace_was_in_another_one() {
    for (created, is_lift) in [("2026-11-21T10:00:05Z", true), ("2026-11-21T10:00:06Z", false)] {
        let played = server();
        played.store.with_mirror(|mirror| mirror.namespaces.insert("shop".to_owned(), "another".to_owned()));
        played.looks.lock().unwrap().1 = Look::FindsSince("another", created);
        let mut follow = played.follow().await;
        let first = timeout(LONG, follow.next()).await.expect("it was waited for ever").unwrap();
        assert_eq!(first, if is_lift { lift() } else { heartbeat_event() }, "{created}");
        assert_eq!(lost(&played.store).is_empty(), is_lift, "{created}");
        // It is not the one that is there now that is gone.
        let gone = played.store.with_mirror(|mirror| mirror.gone.get("shop").cloned());
        assert_eq!(gone, (!is_lift).then(String::new), "{created}");
    }
}

/// Invariant 20: the same of the definition. What it held is kept until everything is fetched anew, and until then nobody
/// vouches for a list.
#[tokio::test(start_paused = true)]
async fn a_deletion_is_no_lift_unless_the_definition_is_the_one_that_it_was_and_stays() {
    for (look, is_gone) in
        [(Look::Finds("another"), false), (Look::FindsGoing("definition"), true), (Look::Fails(404), true)]
    {
        let played = server();
        played.looks.lock().unwrap().0 = look;
        let mut follow = played.follow().await;
        let first = timeout(LONG, follow.next()).await.expect("it was waited for ever");
        assert!(matches!(first, Err(FollowError::Unavailable { .. })), "{look:?}: {first:?}");
        played.store.with_mirror(|mirror| {
            assert!(mirror.revocations.contains_key(&ALICE), "{look:?}");
            assert_eq!(mirror.definition_is_gone, is_gone, "{look:?}");
        });
    }
}

/// Invariant 20: a namespace that was made anew under the same name, before anybody looked, has not lifted anything.
#[tokio::test]
async fn a_namesake_of_the_namespace_makes_no_lift_of_what_went_with_it() {
    let _cluster = cluster().await;
    let store = open().await;
    let carol = elsewhere(&store, "anew").await;
    store.lists().await.unwrap();
    let mut follow = following::follow(&store).await;
    // The watch delivers this, and nobody reads it yet.
    make_anew("anew", &carol.name);
    assert_eq!(delivered(&store, &mut follow, 1).await, []);
    assert_eq!(lost(&store), [carol.id]);
    drop(follow);
    let dave = check_is_written_again(&store, &carol.name).await;
    // The same, where nobody watches.
    make_anew("anew", &carol.name);
    let erin = check_is_written_again(&store, &carol.name).await;
    assert!(carol.id != dave && dave != erin);
    // And in the namespace as it is now a deletion is a lift.
    let mut follow = following::follow(&store).await;
    kubectl(&["delete", "revocation", "-n", "anew", &carol.name]);
    let list = "anew/shop".parse().unwrap();
    assert_eq!(delivered(&store, &mut follow, 2).await, [What::Removed { id: erin, list }]);
    assert_eq!(lost(&store), []);
    kubectl(&["delete", "namespace", "anew", "--wait=false"]);
    finish_deleting("anew");
}

/// Deletes a namespace with its revocation and its list, and makes another one of the name with such a list.
fn make_anew(namespace: &str, revocation: &str) {
    kubectl(&["delete", "namespace", namespace, "--wait=false"]);
    kubectl(&["delete", "revocation", "-n", namespace, revocation]);
    finish_deleting(namespace);
    kubectl(&["create", "namespace", namespace]);
    following::declare_in(namespace);
}

/// Fetches everything, and returns the one revocation of the name that was lost, as it is now.
async fn check_is_written_again(store: &KubernetesStore, name: &str) -> RecordId {
    let fetched = Store::fetch(store).await.unwrap();
    let of_name: Vec<_> = fetched.revocations.iter().filter(|revocation| revocation.name == name).collect();
    let [again] = of_name[..] else { panic!("{:?}", fetched.revocations) };
    assert_eq!(lost(store), []);
    again.id
}
