//! What it costs on a real cluster. Nothing is demanded of the figures, but that there are some: how fast a machine is
//! today is no property of the program. docs/benchmarks.md says what was measured.

use std::time::Duration;

use kube::api::{DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_tcp};
use crate::support::issue::{ISSUER, Keys};
use crate::support::wait::wait_for;
use crate::{release, requests, shop};

const NAMESPACE: &str = "figures";
/// How many revocations are measured.
const COUNT: usize = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; make e2e runs it"]
async fn the_figures_of_an_installation() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    release::uninstall(cluster);
    let started = Instant::now();
    release::install(cluster);
    println!("helm install until controllers are ready and pods are injected: {:.1?}", started.elapsed());

    let keys = Keys::generate();
    let (address, revocations) = (shop::run(cluster, NAMESPACE, &keys, 2), revocations(cluster).await);
    let (mut created, mut refused, mut enforced) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..COUNT {
        let user = format!("user-{number}");
        let token = keys.token(&json!({"sub": user, "sid": user}));
        let times = revoke(&revocations, &address, &user, &token).await;
        created.push(times[0]);
        refused.push(times[1]);
        enforced.push(times[2]);
    }
    for (what, times) in
        [("create", created), ("create until refused", refused), ("create until Enforced", enforced)]
    {
        println!("{what}: p50 {:.1?}, p99 {:.1?} of {COUNT}", quantile(&times, 50), quantile(&times, 99));
    }
    memory(cluster);
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"]);
}

/// Revokes a user, and returns how long it took until the object was created, the token refused, and that a fact.
async fn revoke(revocations: &Api<DynamicObject>, address: &str, user: &str, token: &str) -> [Duration; 3] {
    let ask = Ask::get("/").bearer(token);
    requests::until(address, token, 200).await;
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation", "metadata": {"name": user},
        "spec": {"listName": "shop", "issuer": ISSUER, "target": {"subject": user}},
    }))
    .unwrap();
    let started = Instant::now();
    revocations.create(&PostParams::default(), &object).await.unwrap();
    let created = started.elapsed();
    let refused = wait_for("the token is refused", PATIENCE, async || match ask_tcp(address, &ask).await {
        Ok(reply) if reply.status == 401 => Ok(started.elapsed()),
        other => Err(format!("{other:?}")),
    });
    let enforced = wait_for("it is enforced", PATIENCE, async || {
        let status = revocations.get(user).await.unwrap().data["status"].clone();
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let holds = |one: &Value| (&one["type"], &one["status"]) == (&json!("Enforced"), &json!("True"));
        if conditions.any(holds) { Ok(started.elapsed()) } else { Err(status.to_string()) }
    });
    let (refused, enforced) = tokio::join!(refused, enforced);
    [created, refused, enforced]
}

async fn revocations(cluster: &Cluster) -> Api<DynamicObject> {
    let file = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("rescind.dev", "v1alpha1", "Revocation"));
    Api::namespaced_with(Client::try_from(config).unwrap(), NAMESPACE, &kind)
}

fn quantile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

/// Prints what the kubelet knows of the memory of the controllers and of this test's sidecars.
fn memory(cluster: &Cluster) {
    let summary = cluster.kubectl(&["get", "--raw", "/api/v1/nodes/node/proxy/stats/summary"]);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let containers = summary["pods"].as_array().unwrap().iter().flat_map(|pod| {
        pod["containers"].as_array().into_iter().flatten().map(move |one| (&pod["podRef"], one))
    });
    for (namespace, name) in [(release::NAMESPACE, "rescind-controller"), (NAMESPACE, "rescind-sidecar")] {
        let ours =
            containers.clone().filter(|(pod, one)| pod["namespace"] == namespace && one["name"] == name);
        let bytes: Vec<u64> = ours.filter_map(|(_, one)| one["memory"]["workingSetBytes"].as_u64()).collect();
        assert_eq!(bytes.len(), 2, "{name}: {bytes:?}");
        println!("memory of each {name}, in bytes: {bytes:?}");
    }
}
