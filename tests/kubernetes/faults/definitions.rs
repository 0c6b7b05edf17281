//! The kind is deleted, or changed; the namespace is deleted. None of that is a lift.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::lab::{LIST, Lab, NAMESPACE, PATIENCE, RELAXED_BOUND};
use crate::objects::of;
use crate::observation::Observation;
use crate::support::wait::wait_for;

pub(super) const DEFINITION: &str = "revocations.rescind.dev";

/// Waits until a condition of the list has a reason; none: until the list has no such condition.
async fn until_reason(lab: &Lab, condition: &str, reason: Option<&str>) {
    wait_for(&format!("the list has {condition}: {reason:?}"), PATIENCE, async || {
        let list = lab.list("shop").await?;
        if of(&list, condition)["reason"].as_str() == reason {
            return Ok(());
        }
        Err(format!("{}\n{}", list["status"], lab.logs()))
    })
    .await;
}

/// Invariant 20: the definition is gone with every object, and nothing is lifted.
/// Invariant 3: once it is back, so are the revocations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_definition_lifts_nothing_and_a_running_controller_writes_everything_again() {
    let mut lab = Lab::start(2, 2).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    let refused = Observation::of_all(&lab, &alice, &[401]);
    lab.kubectl(&["delete", "crd", DEFINITION]);
    lab.until_all(&bob, 503).await;
    until_reason(&lab, "Ready", Some("StoreDeleted")).await;
    until_reason(&lab, "StoreDeleted", Some("DefinitionGone")).await;
    lab.define();
    lab.until_all(&bob, 200).await;
    lab.until("alice", "Enforced", "True").await;
    until_reason(&lab, "Ready", Some("Published")).await;
    until_reason(&lab, "StoreDeleted", None).await;
    refused.end(&lab).await;
    check_newcomer(&mut lab).await;
}

/// A sidecar that has seen nothing of what was lost knows it now, and a lift is a lift again.
pub(super) async fn check_newcomer(lab: &mut Lab) {
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    let new = lab.add_sidecar(&[0, 1], LIST).await;
    lab.until_answer(new, &bob, 200).await;
    assert_eq!(lab.ask(new, &alice).await, Ok(401));
    lab.lift("alice").await;
    lab.until_answer(new, &alice, 200).await;
}

/// No namespace controller runs: its part is played. The lists may go last.
pub(super) fn begin_deleting_namespace(lab: &Lab) {
    lab.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
    lab.kubectl(&["delete", "revocations", "--all", "--namespace", NAMESPACE]);
}

pub(super) async fn finish_deleting_namespace(lab: &Lab) {
    lab.kubectl(&["delete", "tokenrevocationlists", "--all", "--namespace", NAMESPACE]);
    let path = format!("/api/v1/namespaces/{NAMESPACE}");
    let mut namespace = lab.request("GET", &path, &Value::Null).await.unwrap();
    namespace["spec"]["finalizers"] = json!([]);
    lab.request("PUT", &format!("{path}/finalize"), &namespace).await.unwrap();
    wait_for("the namespace is gone", PATIENCE, async || {
        lab.request("GET", &path, &Value::Null).await.map_or_else(|_| Ok(()), |found| Err(found.to_string()))
    })
    .await;
}

/// Invariant 20: what went away with its namespace denies on, and is written again when the namespace is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_lifts_nothing_and_its_revocations_come_back_with_it() {
    let mut lab = Lab::start(2, 2).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    let refused = Observation::of_all(&lab, &alice, &[401]);
    begin_deleting_namespace(&lab);
    lab.until_all(&bob, 503).await;
    until_reason(&lab, "Ready", Some("StoreDeleted")).await;
    until_reason(&lab, "StoreDeleted", Some("NamespaceGone")).await;
    finish_deleting_namespace(&lab).await;
    lab.kubectl(&["create", "namespace", NAMESPACE]);
    lab.declare("shop");
    lab.until_all(&bob, 200).await;
    lab.until("alice", "Enforced", "True").await;
    until_reason(&lab, "Ready", Some("Published")).await;
    until_reason(&lab, "StoreDeleted", None).await;
    refused.end(&lab).await;
    let new = lab.add_sidecar(&[0, 1], LIST).await;
    lab.until_answer(new, &bob, 200).await;
    assert_eq!(lab.ask(new, &alice).await, Ok(401));
}

/// Invariant 22: a changed schema ends every watch, and no sidecar is in doubt for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_schema_under_a_running_watch_leaves_everybody_fresh() {
    let lab = Lab::start_with_bound(1, 1, RELAXED_BOUND).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    let refused = Observation::of_all(&lab, &alice, &[401]);
    let fresh = Observation::of_all(&lab, &bob, &[200]);
    for round in 0..3 {
        let path = "/spec/versions/0/schema/openAPIV3Schema/description";
        let patch = json!([{"op": "replace", "path": path, "value": format!("Changed {round} times.")}]);
        lab.kubectl(&["patch", "crd", DEFINITION, "--type=json", &format!("--patch={patch}")]);
        let changed = Instant::now();
        let name = format!("user-{round}");
        lab.revoke(&name).await;
        lab.until(&name, "Enforced", "True").await;
        lab.until_all(&lab.token(&name), 401).await;
        lab.until_proven_after(0, &bob, changed).await;
    }
    fresh.end(&lab).await;
    refused.end(&lab).await;
    assert_eq!(of(&lab.get("alice").await.unwrap(), "Enforced")["reason"], "AllApplied");
}
