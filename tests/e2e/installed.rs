//! The first hour of a user: the chart, a namespace whose pods get a sidecar, and a lost device.

use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{Cluster, text};
use crate::forward::Forward;
use crate::shop;
use crate::support::issue::Keys;

const CONTROLLERS: &str = "rescind-system";
const NAMESPACE: &str = "shop";

/// Steps as README.md has them: install, declare a list, run a workload, revoke, lift.
#[tokio::test]
async fn a_user_installs_the_chart_and_revokes_a_lost_device() {
    let Some(cluster) = Cluster::shared() else { return };
    install(cluster);
    let tested = cluster.helm(&["test", "rescind", "--namespace", CONTROLLERS, "--timeout", "2m", "--logs"]);
    assert!(tested.status.success(), "{}\n{}", text(&tested.stderr), text(&tested.stdout));
    let keys = Keys::generate();
    let [alice, bob] = ["alice", "bob"].map(|subject| keys.token(&json!({"sub": subject, "sid": subject})));
    let mut namespace = shop::namespace(NAMESPACE);
    namespace["metadata"]["labels"]["rescind.dev/inject"] = json!("enabled");
    cluster.apply(&[namespace]);
    cluster.apply(&[shop::list(NAMESPACE, &keys), shop::configuration(NAMESPACE), deployment()]);
    cluster.wait(NAMESPACE, "deployment/shop", "Available");
    let envoy = Forward::to(cluster, NAMESPACE, "deployment/shop", shop::PORT);
    envoy.until(&alice, 200).await;
    envoy.until(&bob, 200).await;

    let revoked =
        cluster.rescind(&["subject", "alice", "-n", NAMESPACE, "--reason", "LostDevice", "-o", "name"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", text(&revoked.stderr));
    // It is enforced now, and not soon.
    assert_eq!(envoy.show(&alice).await.unwrap().status, 401);
    assert_eq!(envoy.show(&bob).await.unwrap().status, 200);

    let name = text(&revoked.stdout);
    let lifted = cluster.rescind(&["undo", name.trim(), "-n", NAMESPACE]);
    assert_eq!(lifted.status.code(), Some(0), "{}", text(&lifted.stderr));
    envoy.until(&alice, 200).await;
}

fn install(cluster: &Cluster) {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/rescind").display().to_string();
    let namespace = ["--namespace", CONTROLLERS, "--create-namespace"];
    let wait = ["--wait", "--timeout", "3m", "--set", "image.pullPolicy=Never"];
    let installed = cluster.helm(&[&["install", "rescind", &chart], &namespace[..], &wait[..]].concat());
    assert!(installed.status.success(), "{}\n{}", text(&installed.stderr), cluster.seen(CONTROLLERS));
}

fn deployment() -> Value {
    let labels = json!({"app": "shop"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"rescind.dev/lists": "shop"}},
                "spec": {
                    "securityContext": shop::pod_security(), "enableServiceLinks": false,
                    "containers": shop::containers(&[]),
                    "volumes": [shop::volume()],
                },
            },
        },
    })
}
