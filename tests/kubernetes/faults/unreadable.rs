//! An object that this version can't read.

use serde_json::{Value, json};

use crate::lab::{LIST, Lab, NAMESPACE, PATIENCE, RELAXED_BOUND};
use crate::objects::{of, revocation};
use crate::observation::Observation;
use crate::support::wait::wait_for;

/// Lets anything in that has the right shape, as an older or a newer version of the definition may have.
async fn loosen(lab: &Lab) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/revocations.rescind.dev";
    let mut definition = lab.request("GET", path, &Value::Null).await.unwrap();
    drop_rules(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]);
    lab.request("PUT", path, &definition).await.unwrap();
}

fn drop_rules(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("x-kubernetes-validations");
            members.values_mut().for_each(drop_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Invariant 23: one object that can't be read stops its own list and no other, and its status says so.
/// Invariant 3: nobody vouches for a list with a hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_that_cannot_be_read_stops_its_list_alone_and_says_so() {
    let mut lab = Lab::start(2, 1).await;
    lab.declare_with_bound("other", RELAXED_BOUND);
    let other = lab.add_sidecar(&[0, 1], "apps/other").await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.until_answer(other, &bob, 200).await;
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    let fresh = Observation::begin(&lab, &[other], &bob, &[200]);
    let refused = Observation::begin(&lab, &[0], &alice, &[401]);
    loosen(&lab).await;
    let mut nonsense = revocation("nonsense", &json!({"subject": "carol"}));
    nonsense["spec"]["cutoff"] = json!("yesterday");
    wait_for("the loosened definition is in force", PATIENCE, async || {
        let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations");
        lab.request("POST", &path, &nonsense).await.map(drop)
    })
    .await;
    lab.define();
    lab.until_answer(0, &bob, 503).await;
    let object = lab.until("nonsense", "Accepted", "False").await;
    assert_eq!(of(&object, "Accepted")["reason"], "Unreadable", "{object}");
    assert_eq!(of(&object, "Enforced")["status"], "False", "{object}");
    wait_for("the list's status says so", PATIENCE, async || {
        let list = lab.list("shop").await?;
        if of(&list, "Ready")["reason"] == "Unreadable" { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
    // It may be told a little later: statuses of lists are looked at every few seconds.
    wait_for("the other list is ready", PATIENCE, async || {
        let list = lab.list("other").await?;
        if of(&list, "Ready")["status"] == "True" { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
    // Others are served as ever.
    let mut ban = revocation("bob-elsewhere", &json!({"subject": "dave"}));
    ban["spec"]["listName"] = json!("other");
    lab.create(vec![ban]).await;
    lab.until("bob-elsewhere", "Enforced", "True").await;
    lab.until_answer(other, &lab.token("dave"), 401).await;
    fresh.end(&lab).await;
    // A sidecar and controllers that start now are no wiser.
    for number in 0..2 {
        lab.controllers[number].kill().await;
        lab.controllers[number].start().await;
    }
    let new = lab.add_sidecar(&[0, 1], LIST).await;
    lab.until_answer(other, &bob, 200).await;
    assert_eq!(lab.ask(new, &bob).await, Ok(503));
    lab.lift("nonsense").await;
    for sidecar in [0, new] {
        lab.until_answer(sidecar, &bob, 200).await;
        assert_eq!(lab.ask(sidecar, &alice).await, Ok(401));
    }
    lab.until_answer(other, &bob, 200).await;
    refused.end(&lab).await;
}
