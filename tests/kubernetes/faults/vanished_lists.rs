//! Lists are deleted, alone or with their definition. That lifts nothing; nobody vouches for them until they are declared
//! anew, and then under another hash key.

use tokio::time::Instant;

use crate::lab::{LIST, Lab, NAMESPACE, RELAXED_BOUND};
use crate::observation::Observation;

/// The list vanishes, and is declared anew. The first two sidecars follow it.
async fn check(lab: &mut Lab, vanish: impl FnOnce(&Lab), declare_anew: impl FnOnce(&Lab)) {
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    let refused = Observation::begin(lab, &[0, 1], &alice, &[401]);
    vanish(lab);
    let since = Instant::now();
    tokio::join!(lab.until_doubted(0, &bob, since), lab.until_doubted(1, &bob, since));
    let doubted = Observation::begin(lab, &[0, 1], &bob, &[503]);
    // One that comes now gets no proof, whatever it is given.
    let late = lab.add_sidecar(&[0, 1], LIST).await;
    lab.until_answer(late, &bob, 503).await;
    lab.kubectl(&["get", "revocation", "alice", "--namespace", NAMESPACE]);
    doubted.end(lab).await;
    declare_anew(lab);
    for sidecar in [0, 1, late] {
        lab.until_answer(sidecar, &bob, 200).await;
    }
    // The revocations were there all the time.
    assert_eq!(lab.ask(late, &alice).await, Ok(401));
    lab.revoke("carol").await;
    lab.until("carol", "Enforced", "True").await;
    let carol = lab.token("carol");
    for sidecar in [0, 1, late] {
        lab.until_answer(sidecar, &carol, 401).await;
    }
    // Of the list that is gone nothing is lifted any more: who held it denies on until the last token has expired. Who
    // comes after that knows nothing of it.
    lab.lift("alice").await;
    let new = lab.add_sidecar(&[0, 1], LIST).await;
    lab.until_answer(new, &alice, 200).await;
    refused.end(lab).await;
}

/// Invariant 20: with the definition of lists go all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_go_with_their_definition_lift_nothing_and_nobody_vouches_for_them() {
    let mut lab = Lab::start(2, 2).await;
    let vanish = |lab: &Lab| drop(lab.kubectl(&["delete", "crd", "tokenrevocationlists.rescind.dev"]));
    check(&mut lab, vanish, |lab| {
        lab.define();
        lab.declare("shop");
    })
    .await;
}

/// Invariant 20: a list that is deleted lifts nothing.
/// Invariant 23: the sidecars of another list stay fresh.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_deleted_lifts_nothing_and_the_others_stay_fresh() {
    let mut lab = Lab::start(2, 2).await;
    lab.declare_with_bound("other", RELAXED_BOUND);
    let bob = lab.token("bob");
    let other = lab.add_sidecar(&[0, 1], &format!("{NAMESPACE}/other")).await;
    lab.until_answer(other, &bob, 200).await;
    let fresh = Observation::begin(&lab, &[other], &bob, &[200]);
    let delete = ["delete", "tokenrevocationlist", "shop", "--namespace", NAMESPACE];
    check(&mut lab, |lab| drop(lab.kubectl(&delete)), |lab| lab.declare("shop")).await;
    fresh.end(&lab).await;
}
