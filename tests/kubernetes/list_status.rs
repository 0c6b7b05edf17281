//! What the status of a list says of what is published, and to how many.

use serde_json::Value;

use crate::lab::{LIST, Lab, PATIENCE, RELAXED_BOUND};
use crate::objects::of;
use crate::support::wait::wait_for;

/// Waits until the list has so many entries and sidecars, and its declaration is the one of this generation; returns its
/// status.
async fn until(lab: &Lab, entries: u64, subscribers: u64, generation: u64) -> Value {
    wait_for("the status is so", PATIENCE, async || {
        let list = lab.list("shop").await?;
        let status = &list["status"];
        let seen = ["entries", "subscribers", "observedGeneration"].map(|field| status[field].as_u64());
        let is_ready = of(&list, "Ready")["status"] == "True";
        if is_ready && seen == [entries, subscribers, generation].map(Some) {
            assert_eq!(list["metadata"]["generation"], generation, "{list}");
            return Ok(status.clone());
        }
        Err(format!("{list}\n{}", lab.logs()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_how_much_is_published_to_how_many_and_by_which_declaration() {
    let mut lab = Lab::new().await;
    lab.add(2, 0).await;
    until(&lab, 0, 0, 1).await;
    for subject in ["alice", "bob", "carol"] {
        lab.revoke(subject).await;
    }
    let status = until(&lab, 3, 0, 1).await;
    assert!(status["version"].as_str().unwrap().contains('/'), "{status}");
    // Of each replica one sidecar: the leader knows of the other's by its report.
    for controller in [0, 1] {
        let sidecar = lab.add_sidecar(&[controller], LIST).await;
        lab.until_answer(sidecar, &lab.token("alice"), 401).await;
    }
    let status = until(&lab, 3, 2, 1).await;
    let bytes = status["bytes"].as_u64().unwrap();
    // Each entry has a key of 16 bytes.
    assert!((48..10_000).contains(&bytes), "{status}");
    lab.lift("bob").await;
    until(&lab, 2, 2, 1).await;
    lab.declare_with_bound("shop", RELAXED_BOUND);
    until(&lab, 2, 2, 2).await;
}
