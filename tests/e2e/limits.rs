//! What keeps others from doing too much: the quota of a namespace, and the budget of disruptions.

use serde_json::{Value, json};

use crate::cluster::{Cluster, text};
use crate::release::{self, CONTROLLERS};
use crate::shop;
use crate::support::PATIENCE;
use crate::support::issue::Keys;
use crate::support::wait::wait_for;

const NAMESPACE: &str = "limits";

/// The quota's own controller counts, and the API server refuses.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make e2e runs it"]
async fn above_its_quota_a_namespace_gets_no_revocation_and_was_warned_before() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    cluster.apply(&[shop::namespace(NAMESPACE)]);
    release::upgrade(cluster, &[&format!("quota.namespaces={{{NAMESPACE}}}"), "quota.revocations=3"]);
    cluster.apply(&[shop::list(NAMESPACE, "shop", &Keys::generate())]);
    for user in ["alice", "bob", "carol"] {
        let revoked = cluster.rescind(&["subject", user, "-n", NAMESPACE]);
        assert!(revoked.status.success(), "{revoked:?}");
    }
    let refused = cluster.rescind(&["subject", "dora", "-n", NAMESPACE]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("exceeded quota") && said.contains("count/revocations.rescind.dev"), "{said}");
    wait_for("the list warns of its quota", 2 * PATIENCE, async || {
        let list = cluster.objects(&["get", "trl", "shop", "-n", NAMESPACE]).remove(0);
        let mut conditions = list["status"]["conditions"].as_array().into_iter().flatten();
        let warns = |one: &Value| one["type"] == "NearQuota" && one["status"] == "True";
        if conditions.any(warns) { Ok(()) } else { Err(list["status"].to_string()) }
    })
    .await;
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"]);
}

/// Whoever drains nodes asks for evictions.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make e2e runs it"]
async fn a_second_controller_is_evicted_only_when_the_first_is_back() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    release::upgrade(cluster, &["controller.replicas=3", "controller.podDisruptionBudget.enabled=true"]);
    wait_for("the budget allows one disruption", PATIENCE, async || {
        let budget = cluster.objects(&["get", "pdb", "-n", release::NAMESPACE]).remove(0);
        let allowed = budget["status"]["disruptionsAllowed"].clone();
        if allowed == 1 { Ok(()) } else { Err(budget["status"].to_string()) }
    })
    .await;
    let path = "--output=jsonpath={.items[*].metadata.name}";
    let pods = cluster.kubectl(&["get", "pods", "-n", release::NAMESPACE, "-l", CONTROLLERS, path]);
    let pods: Vec<&str> = pods.split_whitespace().take(2).collect();
    assert_eq!(evict(cluster, pods[0]), Ok(()));
    let refused = evict(cluster, pods[1]).unwrap_err();
    assert!(refused.contains("would violate the pod's disruption budget"), "{refused}");
    wait_for("the first is back, and the second may go", 2 * PATIENCE, async || evict(cluster, pods[1]))
        .await;
}

fn evict(cluster: &Cluster, pod: &str) -> Result<(), String> {
    let metadata = json!({"name": pod, "namespace": release::NAMESPACE});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", release::NAMESPACE);
    let done = cluster.pipe(&["create", "--raw", &path, "-f", "-"], &eviction.to_string());
    if done.status.success() { Ok(()) } else { Err(text(&done.stderr)) }
}
