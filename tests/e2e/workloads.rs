//! Pods beside plain Deployments: a Job, which waits for its list and ends, and a pod with every annotation.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::forward::Forward;
use crate::support::PATIENCE;
use crate::support::http1::Ask;
use crate::support::issue::Keys;
use crate::support::wait::wait_for;
use crate::{release, shop};

const NAMESPACE: &str = "jobs";
/// Of the pod with every annotation.
const ANNOTATED: &str = "annotated";

/// The Job asks its sidecar about a token, already while it initialises. It was declared before its list.
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
    let waits = |kind: &str, place: usize| pod["status"][kind][place]["state"]["waiting"]["reason"].clone();
    assert_eq!(waits("initContainerStatuses", 1), "PodInitializing", "{pod}");
    assert_eq!(waits("containerStatuses", 0), "PodInitializing", "{pod}");

    cluster.apply(&[shop::list(NAMESPACE, "late", &keys)]);
    cluster.wait(NAMESPACE, "job/check", "Complete");
    for container in ["first", "check"] {
        let said = cluster.kubectl(&["logs", "-n", NAMESPACE, "job/check", "-c", container]);
        assert!(said.starts_with("allow: active"), "{container}: {said}");
    }
    let pods = cluster.objects(&["get", "pods", "-n", NAMESPACE, "-l", "job-name=check"]);
    let sidecar = &pods[0]["status"]["initContainerStatuses"][0];
    assert_eq!(
        (&sidecar["restartCount"], &pods[0]["status"]["phase"]),
        (&json!(0), &json!("Succeeded")),
        "{sidecar}"
    );
}

/// Whatever an annotation asks for is to be seen of the sidecar that runs.
#[tokio::test]
async fn a_pod_gets_what_its_annotations_ask_for() {
    let Some(cluster) = Cluster::take_turn().await else { return };
    release::upgrade(&cluster, &[]);
    let keys = Keys::generate();
    let bob = keys.token(&json!({"sub": "bob", "sid": "bob"}));
    cluster.apply(&[shop::injected_namespace(ANNOTATED), shop::configuration(ANNOTATED)]);
    let mut deployment = shop::deployment(ANNOTATED, "shop", "one,annotated/two", 1);
    let annotations = deployment.pointer_mut("/spec/template/metadata/annotations").unwrap();
    for (name, value) in [
        ("bound", "7s"),
        ("forward-auth-port", "9080"),
        ("log-level", "debug"),
        ("mount-socket", "envoy"),
        ("sidecar-cpu-request", "11m"),
        ("sidecar-cpu-limit", "2"),
        ("sidecar-memory-request", "33Mi"),
        ("sidecar-memory-limit", "99Mi"),
    ] {
        annotations[format!("rescind.dev/{name}")] = json!(value);
    }
    let lists = ["one", "two"].map(|name| shop::list(ANNOTATED, name, &keys));
    cluster.apply(&[&lists[..], &[deployment]].concat());
    cluster.wait(ANNOTATED, "deployment/shop", "Available");

    let pod = cluster.objects(&["get", "pods", "-n", ANNOTATED, "-l", "app=shop"]).remove(0);
    let sidecar = &pod["spec"]["initContainers"][0];
    let resources =
        json!({"requests": {"cpu": "11m", "memory": "33Mi"}, "limits": {"cpu": "2", "memory": "99Mi"}});
    assert_eq!(sidecar["resources"], resources);
    let has_sockets = |container: &Value| container["volumeMounts"].to_string().contains("/run/rescind");
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let with_sockets: Vec<&Value> =
        containers.iter().filter(|one| has_sockets(one)).map(|one| &one["name"]).collect();
    assert_eq!(with_sockets, ["envoy"]);
    let logs = cluster.kubectl(&["logs", "-n", ANNOTATED, "deployment/shop", "-c", "rescind-sidecar"]);
    assert!(logs.contains("\"DEBUG\""), "{logs}");
    let forward_auth = Forward::to(&cluster, ANNOTATED, "deployment/shop", 9080);
    let ask = Ask::get("/auth").bearer(&bob);
    assert_eq!(forward_auth.ask(&ask).await.unwrap().status, 200);
    for list in ["one", "two"] {
        let revoked = cluster.rescind(&["subject", "bob", "-n", ANNOTATED, "--list", list]);
        assert!(revoked.status.success(), "{revoked:?}");
    }
    assert_eq!(forward_auth.ask(&ask).await.unwrap().status, 401);
    assert!(sidecar["args"].to_string().contains("--bound=7"), "{sidecar}");
}

fn token(token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": NAMESPACE},
        "stringData": {"token": token},
    })
}

fn job() -> Value {
    let check = |name: &str| {
        json!({
            "name": name, "image": shop::image("cli"), "imagePullPolicy": "Never",
            "args": ["check", "--server=unix:/run/rescind/check.sock", "--file=/etc/token/token"],
            "securityContext": shop::container_security(),
            "volumeMounts": [{"name": "token", "mountPath": "/etc/token"}],
        })
    };
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "check", "namespace": NAMESPACE},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": {"rescind.dev/lists": "late"}},
                "spec": {
                    "restartPolicy": "Never",
                    "securityContext": shop::pod_security(), "enableServiceLinks": false,
                    "initContainers": [check("first")],
                    "containers": [check("check")],
                    "volumes": [{"name": "token", "secret": {"secretName": "token"}}],
                },
            },
        },
    })
}
