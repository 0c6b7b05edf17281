//! What held the revocations is deleted and made anew while no controller looks: a namesake has not lifted anything.

use crate::lab::{Lab, NAMESPACE};
use crate::observation::Observation;

use super::definitions::{DEFINITION, begin_deleting_namespace, check_newcomer, finish_deleting_namespace};

/// All controllers stand still while something is made anew.
async fn check(make_anew: impl AsyncFnOnce(&Lab)) {
    let mut lab = Lab::start(2, 2).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    let before = lab.until("alice", "Enforced", "True").await;
    let refused = Observation::of_all(&lab, &alice, &[401]);
    lab.controllers.iter().for_each(|controller| controller.pause());
    lab.until_all(&bob, 503).await;
    make_anew(&lab).await;
    lab.controllers.iter().for_each(|controller| controller.resume());
    lab.until_all(&bob, 200).await;
    let after = lab.until("alice", "Enforced", "True").await;
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(before["status"]["cutoff"], after["status"]["cutoff"]);
    refused.end(&lab).await;
    check_newcomer(&mut lab).await;
}

/// Invariant 20: a definition of another UID.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_made_anew_while_no_controller_looks_lifts_nothing() {
    check(async |lab: &Lab| {
        lab.kubectl(&["delete", "crd", DEFINITION]);
        lab.define();
    })
    .await;
}

/// Invariant 20: a namespace of another UID.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_made_anew_while_no_controller_looks_lifts_nothing() {
    check(async |lab: &Lab| {
        begin_deleting_namespace(lab);
        finish_deleting_namespace(lab).await;
        lab.kubectl(&["create", "namespace", NAMESPACE]);
        lab.declare("shop");
    })
    .await;
}
