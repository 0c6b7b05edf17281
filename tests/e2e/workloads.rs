//! Pods beside Deployments: one that waits for its list, and a Job, which ends.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::support::PATIENCE;
use crate::support::issue::Keys;
use crate::support::wait::wait_for;
use crate::{release, shop};

const NAMESPACE: &str = "jobs";

/// The Job asks its sidecar about a token. It was declared before its list.
#[tokio::test]
async fn a_job_starts_only_once_its_sidecar_is_fresh_and_completes() {
    let Some(cluster) = Cluster::take_turn().await else { return };
    release::upgrade(&cluster, &[]);
    let keys = Keys::generate();
    let bob = keys.token(&json!({"sub": "bob", "sid": "bob"}));
    cluster.apply(&[shop::injected_namespace(NAMESPACE)]);
    cluster.apply(&[token(&bob), job()]);
    let pod = wait_for("the sidecar runs", PATIENCE, async || {
        let pods = cluster.objects(&["get", "pods", "-n", NAMESPACE, "-l", "job-name=check"]);
        let pod = pods.into_iter().next().ok_or("there is no pod")?;
        let sidecar = &pod["status"]["initContainerStatuses"][0];
        if sidecar["state"]["running"].is_object() { Ok(pod) } else { Err(sidecar.to_string()) }
    })
    .await;
    let waits = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    assert_eq!(waits(&pod), "PodInitializing", "{pod}");

    cluster.apply(&[shop::list(NAMESPACE, "late", &keys)]);
    cluster.wait(NAMESPACE, "job/check", "Complete");
    let said = cluster.kubectl(&["logs", "-n", NAMESPACE, "job/check", "-c", "check"]);
    assert!(said.starts_with("allow: active"), "{said}");
    let pods = cluster.objects(&["get", "pods", "-n", NAMESPACE, "-l", "job-name=check"]);
    let sidecar = &pods[0]["status"]["initContainerStatuses"][0];
    assert_eq!(
        (&sidecar["restartCount"], &pods[0]["status"]["phase"]),
        (&json!(0), &json!("Succeeded")),
        "{sidecar}"
    );
}

fn token(token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": NAMESPACE},
        "stringData": {"token": token},
    })
}

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "check", "namespace": NAMESPACE},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": {"rescind.dev/lists": "late"}},
                "spec": {
                    "restartPolicy": "Never",
                    "securityContext": shop::pod_security(), "enableServiceLinks": false,
                    "containers": [{
                        "name": "check", "image": shop::image("cli"), "imagePullPolicy": "Never",
                        "args": ["check", "--server=unix:/run/rescind/check.sock", "--file=/etc/token/token"],
                        "securityContext": shop::container_security(),
                        "volumeMounts": [{"name": "token", "mountPath": "/etc/token"}],
                    }],
                    "volumes": [{"name": "token", "secret": {"secretName": "token"}}],
                },
            },
        },
    })
}
