//! The API server is away for longer than the bound of a list.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::requests::{age, show};
use crate::support::PATIENCE;
use crate::support::issue::Keys;
use crate::support::metrics::metric_where;
use crate::support::wait::wait_for;
use crate::{release, shop};

const NAMESPACE: &str = "outage";
/// The bound of both lists.
const BOUND: Duration = Duration::from_secs(5);
/// The ports of a sidecar's probes and metrics.
const PROBES: u16 = 7404;

/// One workload for each policy, and what they do while nobody can prove anything.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make e2e runs it"]
async fn without_the_api_server_strict_lists_vouch_for_nobody_and_lenient_ones_go_on_and_say_so() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    release::upgrade(cluster, &[]);
    let keys = Keys::generate();
    let [alice, bob] = shop::alice_and_bob(&keys);
    workloads(cluster, &keys);
    for list in ["strict", "lenient"] {
        // Enforced it is after the maximum of the lenient list: the history may be a minute old.
        let revoked = cluster.rescind(&["subject", "alice", "-n", NAMESPACE, "--list", list, "--wait=false"]);
        assert!(revoked.status.success(), "{revoked:?}");
    }
    let [strict, lenient] = ["strict-8080", "lenient-8080"].map(|name| cluster.node_port(NAMESPACE, name));
    let metrics = cluster.node_port(NAMESPACE, "lenient-7404");
    let on_best_effort = || metric_where(&metrics, "rescind_checks_total", &[("best_effort", "true")]);
    for address in [&strict, &lenient] {
        wait_for("alice is refused, and bob is not", PATIENCE, async || {
            let answers = (show(address, &alice).await?.status, show(address, &bob).await?.status);
            if answers == (401, 200) { Ok(()) } else { Err(format!("{answers:?}")) }
        })
        .await;
    }
    assert_eq!(on_best_effort().await, 0.0);
    let before = starts(cluster);

    let killed = cluster.kill("kube-apiserver");
    let since = Instant::now();
    // From the first answer without a proof on: twice the bound more.
    wait_for("the strict workload answers 503", 2 * BOUND + PATIENCE, async || {
        assert_eq!(show(&strict, &alice).await?.status, 401);
        let reply = show(&strict, &bob).await?;
        if reply.status == 503 { Ok(()) } else { Err(format!("{reply:?}")) }
    })
    .await;
    println!("without an API server, the strict list vouched for {:?} more", since.elapsed());
    see_the_outage([&strict, &lenient], [&alice, &bob]).await;
    let reply = show(&lenient, &bob).await.unwrap();
    assert!(age(&reply).unwrap() > BOUND, "the application is told: {reply:?}");
    assert!(on_best_effort().await > 0.0);

    drop(killed);
    for address in [&strict, &lenient] {
        wait_for("fresh again", 4 * PATIENCE, async || {
            let reply = show(address, &bob).await?;
            let fresh = reply.status == 200 && age(&reply).is_some_and(|age| age < BOUND);
            assert_eq!(show(address, &alice).await?.status, 401);
            if fresh { Ok(()) } else { Err(format!("{reply:?}")) }
        })
        .await;
    }
    assert_eq!(starts(cluster), before, "something was started anew");
    // An API server that has just started refuses what its policies can't judge yet.
    wait_for("bob is revoked", PATIENCE, async || {
        let revoked = cluster.rescind(&["subject", "bob", "-n", NAMESPACE, "--list", "strict"]);
        if revoked.status.success() { Ok(()) } else { Err(format!("{revoked:?}")) }
    })
    .await;
    assert_eq!(show(&strict, &bob).await.unwrap().status, 401);
    // After an outage, the programs of Kubernetes itself wait up to half a minute each before they ask again.
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=180s"]);
}

/// Goes on for twice the bound.
async fn see_the_outage([strict, lenient]: [&str; 2], [alice, bob]: [&str; 2]) {
    let until = Instant::now() + 2 * BOUND;
    while Instant::now() < until {
        assert_eq!(show(strict, bob).await.unwrap().status, 503);
        let reply = show(lenient, bob).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(age(&reply).is_none_or(|age| age < Duration::from_mins(5)), "{reply:?}");
        for address in [strict, lenient] {
            assert_eq!(show(address, alice).await.unwrap().status, 401);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn workloads(cluster: &Cluster, keys: &Keys) {
    cluster.apply(&[shop::injected_namespace(NAMESPACE), shop::configuration(NAMESPACE)]);
    for (name, policy) in [("strict", "Strict"), ("lenient", "BestEffort")] {
        let mut list = shop::list(NAMESPACE, name, keys);
        list["spec"]["freshness"] =
            json!({"boundSeconds": BOUND.as_secs(), "maximumSeconds": 300, "policy": policy});
        let services = [shop::PORT, PROBES].map(|port| shop::service(NAMESPACE, name, port));
        cluster.apply(&[list, shop::deployment(NAMESPACE, name, name, 1)]);
        cluster.apply(&services);
    }
    for name in ["strict", "lenient"] {
        cluster.wait(NAMESPACE, &format!("deployment/{name}"), "Available");
    }
}

/// Returns how often each container of ours and of the workloads was started.
fn starts(cluster: &Cluster) -> Vec<(String, String)> {
    let pods =
        [release::NAMESPACE, NAMESPACE].map(|namespace| cluster.objects(&["get", "pods", "-n", namespace]));
    let count = |pod: &serde_json::Value| {
        let parts = ["initContainerStatuses", "containerStatuses"].map(|part| pod["status"][part].clone());
        let counts =
            parts.iter().filter_map(|part| part.as_array()).flatten().map(|one| one["restartCount"].clone());
        (pod["metadata"]["name"].as_str().unwrap().to_owned(), format!("{:?}", counts.collect::<Vec<_>>()))
    };
    pods.iter().flatten().map(count).collect()
}
