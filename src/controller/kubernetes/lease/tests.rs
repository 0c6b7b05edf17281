//! Against a real API server, each test in a namespace of its own.

use serde_json::json;

use super::*;
use crate::store::kubernetes::tests::{apply, kubectl, open_in};

/// Longer than a renewal takes on a busy machine, shorter than anybody waits.
const QUICK: Timing = Timing { duration: Duration::from_secs(3), renew: Duration::from_millis(300) };
/// One that nobody waits for to be over.
const LONG: Timing = Timing { duration: Duration::from_secs(600), renew: Duration::from_millis(300) };
const PATIENCE: Duration = Duration::from_secs(60);

/// One that competes.
struct Competitor {
    leads: watch::Receiver<Leadership>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Competitor {
    async fn enter(namespace: &str, identity: &str, timing: Timing) -> Self {
        let (leadership, leads) = watch::channel(Leadership::Follower);
        let shutdown = CancellationToken::new();
        let store = open_in(namespace).await;
        let competing = compete(store, identity.to_owned(), timing, leadership, shutdown.clone());
        #[allow(clippy::disallowed_methods, reason = "the test ends it")]
        let task = tokio::spawn(competing);
        Self { leads, shutdown, task }
    }

    async fn until(&mut self, leadership: Leadership) {
        let becomes = self.leads.wait_for(|is| *is == leadership);
        drop(tokio::time::timeout(PATIENCE, becomes).await.expect("in time").unwrap());
    }

    fn leads(&self) -> bool {
        *self.leads.borrow() == Leadership::Leader
    }
}

fn namespace(name: &str) -> &str {
    apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"));
    name
}

fn lease(namespace: &str) -> LeaseSpec {
    let lease = kubectl(&["get", "lease", NAME, "-n", namespace, "-o", "json"]);
    serde_json::from_str::<Lease>(&lease).unwrap().spec.unwrap()
}

/// Invariant 15: of two that take it at one time, one does.
#[tokio::test]
async fn of_two_that_compete_one_leads_and_gives_it_away_when_it_ends() {
    let namespace = namespace("lease-given-away");
    let enter = |identity| Competitor::enter(namespace, identity, LONG);
    let (mut one, mut two) = tokio::join!(enter("one"), enter("two"));
    tokio::select! {
        () = one.until(Leadership::Leader) => {}
        () = two.until(Leadership::Leader) => {}
    }
    let (leader, mut other) = if one.leads() { (one, two) } else { (two, one) };
    let before = lease(namespace);
    let renewed = async {
        while lease(namespace).renew_time == before.renew_time {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.unwrap();
    assert!(leader.leads() && !other.leads());
    assert_eq!(lease(namespace).acquire_time, before.acquire_time);
    leader.shutdown.cancel();
    leader.task.await.unwrap().unwrap();
    other.until(Leadership::Leader).await;
    assert_eq!(lease(namespace).lease_transitions, Some(before.lease_transitions.unwrap() + 1));
    other.task.abort();
}

/// Invariant 15: who is silent may still believe that it leads until its own duration is over, and so nobody takes
/// the lease before.
#[tokio::test]
async fn a_holder_that_is_silent_is_followed_when_its_duration_is_over() {
    let namespace = namespace("lease-silent");
    let mut first = Competitor::enter(namespace, "first", QUICK).await;
    first.until(Leadership::Leader).await;
    let mut second = Competitor::enter(namespace, "second", QUICK).await;
    // Without a word, as by `kill -9`.
    first.task.abort();
    let silent = Instant::now();
    second.until(Leadership::Leader).await;
    let waited = silent.elapsed();
    // Its last renewal was at most one pause before.
    assert!(waited + QUICK.renew + CALL_TIMEOUT > QUICK.duration, "{waited:?}");
    assert_eq!(lease(namespace).holder_identity.as_deref(), Some("second"));
    second.task.abort();
}

/// Invariant 15: whoever finds another in the lease leads no more.
#[tokio::test]
async fn a_leader_that_was_replaced_follows() {
    let namespace = namespace("lease-replaced");
    let mut first = Competitor::enter(namespace, "first", LONG).await;
    first.until(Leadership::Leader).await;
    let patch = json!({ "spec": { "holderIdentity": "somebody else" } }).to_string();
    kubectl(&["patch", "lease", NAME, "-n", namespace, "--type=merge", "-p", &patch]);
    first.until(Leadership::Follower).await;
    first.task.abort();
}
