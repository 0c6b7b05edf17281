//! A controller without Kubernetes' API and a sidecar, both native sidecars of one pod: the images as they are, under
//! the strictest policy for pods.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::forward::Forward;
use crate::shop;
use crate::support::issue::Keys;

const NAMESPACE: &str = "standalone";

/// The pod only starts when the command line has said that its revocation is enforced.
#[tokio::test]
async fn our_images_run_restricted_as_native_sidecars_and_a_revoked_token_is_refused() {
    let Some(cluster) = Cluster::take_turn().await else { return };
    let keys = Keys::generate();
    let [alice, bob] = shop::alice_and_bob(&keys);
    cluster.apply(&[shop::namespace(NAMESPACE)]);
    cluster.apply(&[shop::configuration(NAMESPACE), lists(&keys), pod()]);
    cluster.wait(NAMESPACE, "pod/shop", "Ready");
    let envoy = Forward::to(&cluster, NAMESPACE, "pod/shop", shop::PORT);

    envoy.until(&bob, 200).await;
    assert_eq!(envoy.show(&bob).await.unwrap().body, shop::WELCOME);
    assert_eq!(envoy.show(&alice).await.unwrap().status, 401);
    let said = cluster.kubectl(&["logs", "--namespace", NAMESPACE, "shop", "--container=revoke"]);
    assert!(said.contains("enforced"), "{said}");
}

fn lists(keys: &Keys) -> Value {
    let list = shop::list(NAMESPACE, "shop", keys).to_string();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lists", "namespace": NAMESPACE},
        "data": {"lists.yaml": list},
    })
}

fn pod() -> Value {
    let run = json!({"name": "run", "mountPath": "/run/rescind"});
    let data = json!({"name": "data", "mountPath": "/var/lib/rescind"});
    let lists = json!({"name": "lists", "mountPath": "/etc/rescind"});
    let controller = sidecar(
        "controller",
        7403,
        &[&run, &data, &lists],
        &[
            "--data=/var/lib/rescind/store",
            "--new-store",
            "--listen=127.0.0.1:7401",
            "--admin=/run/rescind/admin.sock",
            "--filename=/etc/rescind/lists.yaml",
            "--health=0.0.0.0:7403",
        ],
    );
    let own = sidecar(
        "sidecar",
        7404,
        &[&run, &data],
        &[
            "--controller=http://127.0.0.1:7401",
            "--list=standalone/shop",
            "--socket=/run/rescind/check.sock",
            "--data=/var/lib/rescind/sidecar",
            "--health=0.0.0.0:7404",
        ],
    );
    let revoke = json!({
        "name": "revoke", "image": shop::image("cli"), "imagePullPolicy": "Never",
        "args": ["subject", "alice", "--reason=LostDevice", "--server=unix:/run/rescind/admin.sock"],
        "securityContext": shop::container_security(), "volumeMounts": [run],
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "shop", "namespace": NAMESPACE},
        "spec": {
            "securityContext": shop::pod_security(), "enableServiceLinks": false,
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 5,
            "initContainers": [controller, own, revoke],
            "containers": shop::containers(std::slice::from_ref(&run)),
            "volumes": [
                shop::volume(),
                {"name": "run", "emptyDir": {"medium": "Memory"}}, {"name": "data", "emptyDir": {}},
                {"name": "lists", "configMap": {"name": "lists"}},
            ],
        },
    })
}

/// A native sidecar: an init container that goes on, and that the next ones wait for.
fn sidecar(name: &str, port: u16, mounts: &[&Value], arguments: &[&str]) -> Value {
    json!({
        "name": name, "image": shop::image(name), "imagePullPolicy": "Never", "args": arguments,
        "restartPolicy": "Always",
        "startupProbe": {"httpGet": {"path": "/readyz", "port": port}, "periodSeconds": 1, "failureThreshold": 60},
        "securityContext": shop::container_security(), "volumeMounts": mounts,
    })
}
