//! Nothing expires while it is not known what time it is.

use http::header::{DATE, HeaderValue};
use kube::client::Body;

use super::*;
use crate::revocation::record::{Cutoff, RevocationSpec};
use crate::revocation::time::Moment;
use crate::runtime::clock::{ManualClock, SystemClock};
use crate::store::contract::{new, revoke, subject};
use crate::store::{NewRevocation, NewStep};

/// A store whose clock stands still, and whose API server has another one, or none.
async fn store_where_it_is(clock: Arc<ManualClock>, date: Option<String>) -> KubernetesStore {
    let store = open_at(clock).await;
    let server = store.client();
    let answer = move |request: http::Request<Body>| {
        let (server, date) = (server.clone(), date.clone());
        async move {
            let mut answer = server.send(request).await?;
            answer.headers_mut().remove(DATE);
            if let Some(date) = date {
                answer.headers_mut().insert(DATE, HeaderValue::try_from(date).unwrap());
            }
            Ok::<_, kube::Error>(answer)
        }
    };
    store.shared.client.store(Arc::new(Client::new(tower::service_fn(answer), DEFAULT_NAMESPACE)));
    store
}

/// As an API server writes it.
fn date(wall: Moment, difference: i64) -> String {
    let seconds = i64::try_from(wall.wall().floor().get()).unwrap() + difference;
    let time = jiff::Timestamp::from_second(seconds).unwrap();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap()
}

/// Lets a revocation expire where the API server's answers bear this date.
async fn check(date_of: impl FnOnce(Moment) -> Option<String>, waits: Option<&str>) {
    let plain = open().await;
    Store::fetch(&plain).await.unwrap();
    let alice = revoke(&plain, "alice").await;
    let before = Store::fetch(&plain).await.unwrap();
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let now = clock.now();
    let date = date_of(now);
    let store = store_where_it_is(clock, date.clone()).await;
    let horizon = now.wall().floor();
    let done = Store::append(&store, NewStep::Expire { judged: vec![alice.clone()], horizon }).await;
    let after = Store::fetch(&plain).await.unwrap();
    let Some(why) = waits else {
        done.unwrap();
        assert_eq!((after.revocations, after.horizon), (vec![], horizon), "{date:?}");
        return;
    };
    // It is what the log says, too.
    assert!(matches!(&done, Err(StoreError::Unavailable { why: told }) if told == why), "{date:?}: {done:?}");
    assert_eq!((after.revocations, after.horizon), (vec![alice], before.horizon), "{date:?}");
}

/// Invariant 7: who is right is not known, so nothing is marked, and the horizon stays.
#[tokio::test]
async fn nothing_expires_while_this_clock_and_that_of_the_api_server_differ() {
    for difference in [31, -31, 86_400, -86_400_i64] {
        let _cluster = cluster().await;
        let why = format!(
            "this clock and that of the API server differ by {} s: nothing expires until they agree again",
            difference.abs()
        );
        check(|now| Some(date(now, difference)), Some(&why)).await;
    }
}

/// Invariant 7: the same if it does not say what time it is, or not so that it is understood.
#[tokio::test]
async fn nothing_expires_where_the_api_server_does_not_say_what_time_it_is() {
    for date in [None, Some("yesterday".to_owned())] {
        let _cluster = cluster().await;
        let why = "the API server does not say what time it is (header Date): nothing expires until it does";
        check(|_| date, Some(why)).await;
    }
}

#[tokio::test]
async fn what_is_due_expires_while_the_clocks_agree_well_enough() {
    for difference in [0, 30, -30] {
        let _cluster = cluster().await;
        check(|now| Some(date(now, difference)), None).await;
    }
}

/// Invariant 7: the leader's watch may be behind by a lag, or by a pause of its process. A ban that was prolonged
/// meanwhile was acknowledged, and goes on.
#[tokio::test]
async fn a_ban_that_was_prolonged_behind_the_watch_does_not_expire() {
    let _cluster = cluster().await;
    let store = open().await;
    Store::fetch(&store).await.unwrap();
    let horizon = SystemClock.now().wall().floor();
    let ban = RevocationSpec {
        cutoff: Some(Cutoff::Always),
        expires_at: Some(horizon.saturating_sub(1)),
        ..subject("alice")
    };
    Store::append(&store, NewStep::Revoke(Box::new(new(ban)))).await.unwrap();
    let judged = Store::fetch(&store).await.unwrap().revocations;
    let patch = r#"{"spec": {"expiresAt": "2099-01-01T00:00:00Z"}}"#;
    kubectl(&["patch", "revocation", "-n", "default", &judged[0].name, "--type=merge", "-p", patch]);
    let done = Store::append(&store, NewStep::Expire { judged: judged.clone(), horizon }).await.unwrap();
    assert_eq!(done.expired, []);
    let live = Store::fetch(&store).await.unwrap().revocations;
    assert_eq!(live[0].id, judged[0].id);
    assert_eq!(live[0].spec.expires_at.map(UnixSeconds::get), Some(4_070_908_800));
    // What it says now may end it in its turn.
    let done = Store::append(&store, NewStep::Expire { judged: live, horizon }).await.unwrap();
    assert_eq!(done.expired, [judged[0].id]);
}

/// Invariant 15: who is to expire was deleted meanwhile, and another bears its name.
#[tokio::test]
async fn a_namesake_does_not_expire_in_the_place_of_its_predecessor() {
    let _cluster = cluster().await;
    let (store, other) = (open().await, open().await);
    let ticket = |subject_name: &str| {
        let named = NewRevocation { name: Some("ticket".to_owned()), ..new(subject(subject_name)) };
        NewStep::Revoke(Box::new(named))
    };
    Store::fetch(&store).await.unwrap();
    let before = Store::append(&store, ticket("alice")).await.unwrap().revocation.unwrap();
    Store::fetch(&store).await.unwrap();
    // This store has not seen that.
    kubectl(&["delete", "revocation", "-n", "default", "ticket"]);
    Store::fetch(&other).await.unwrap();
    let after = Store::append(&other, ticket("bob")).await.unwrap().revocation.unwrap();
    let horizon = SystemClock.now().wall().floor();
    Store::append(&store, NewStep::Expire { judged: vec![before], horizon }).await.unwrap();
    assert_eq!(Store::fetch(&other).await.unwrap().revocations, [after]);
}
