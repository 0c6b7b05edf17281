//! What nobody needs any more goes away by itself, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::lab::{LIST, Lab, NAMESPACE, PATIENCE};
use crate::objects::revocation;
use crate::support::issue::now;
use crate::support::wait::wait_for;

const HOUR: u64 = 3600;

/// Creates a revocation that our programs have made, or somebody else.
async fn create(lab: &Lab, name: &str, made_by: &str) {
    let mut manifest = revocation(name, &json!({"subject": name}));
    manifest["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": made_by});
    lab.create(vec![manifest]).await;
}

/// The same for one that has expired so long ago.
async fn create_expired(lab: &Lab, name: &str, made_by: &str, ago: u64) {
    create(lab, name, made_by).await;
    let since = jiff::Timestamp::from_second(i64::try_from(now() - ago).unwrap()).unwrap();
    let condition = json!({
        "type": "Expired", "status": "True", "reason": "NothingLeftToDeny", "message": "It is over.",
        "lastTransitionTime": since.to_string(),
    });
    let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations/{name}/status");
    lab.request("PATCH", &path, &json!({"status": {"conditions": [condition]}})).await.unwrap();
}

async fn until_gone(lab: &Lab, name: &str) {
    wait_for(&format!("{name} is gone"), PATIENCE, async || match lab.get(name).await {
        Err(error) if error.contains("not found") => Ok(()),
        seen => Err(format!("{seen:?}\n{}", lab.logs())),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_our_programs_made_is_removed_a_day_after_it_has_expired() {
    let lab = Lab::start(1, 0).await;
    create(&lab, "live", "rescind").await;
    create_expired(&lab, "lately", "rescind", 23 * HOUR).await;
    create_expired(&lab, "of-others", "argocd", 48 * HOUR).await;
    // Of each pass that removes the next, the ones before are part; the second pass comes after the end of the first.
    for name in ["old", "older"] {
        create_expired(&lab, name, "rescind", 25 * HOUR).await;
        until_gone(&lab, name).await;
    }
    let there = lab.all().await.unwrap();
    let names: BTreeSet<_> =
        there.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["lately", "live", "of-others"]), "{}", lab.logs());
}

/// The heartbeats that are there, with their revisions.
async fn heartbeats(lab: &Lab) -> Result<BTreeMap<String, Value>, String> {
    let path = "/apis/rescind.dev/v1alpha1/namespaces/rescind-system/revocations";
    let found = lab.request("GET", path, &Value::Null).await?;
    let objects = found["items"].as_array().into_iter().flatten();
    let named = objects.map(|object| {
        let metadata = &object["metadata"];
        (metadata["name"].as_str().unwrap().to_owned(), metadata["resourceVersion"].clone())
    });
    Ok(named.filter(|(name, _)| name.starts_with("pulse-") || name.starts_with("report-")).collect())
}

/// Its sidecars were counted until they could allow nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heartbeats_of_a_replica_that_was_killed_are_removed_and_the_others_stay() {
    let mut lab = Lab::new().await;
    lab.add(2, 0).await;
    for controller in [0, 1] {
        lab.add_sidecar(&[controller], LIST).await;
    }
    lab.until_steady().await;
    let before = heartbeats(&lab).await.unwrap();
    assert_eq!(before.len(), 4, "{before:?}");
    lab.controllers[1].kill().await;
    let after = wait_for("two are gone", PATIENCE, async || {
        let after = heartbeats(&lab).await?;
        if after.len() <= 2 { Ok(after) } else { Err(format!("{after:?}\n{}", lab.logs())) }
    })
    .await;
    let pulse = after.keys().find_map(|name| name.strip_prefix("pulse-")).unwrap();
    let expected = [format!("pulse-{pulse}"), format!("report-{pulse}")];
    assert!(after.keys().eq(expected.iter()), "{after:?}");
    // Those of the one that runs on.
    assert_ne!(after[&expected[0]], before[&expected[0]]);
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    lab.until_answer(0, &lab.token("alice"), 401).await;
    lab.until_answer(0, &lab.token("bob"), 200).await;
}
