//! The release that a user has: the chart with no values but where the images are.

use std::path::Path;

use serde_json::json;

use crate::cluster::{Cluster, text};

/// Its namespace.
pub(crate) const NAMESPACE: &str = "rescind-system";
/// Selects its controllers.
pub(crate) const CONTROLLERS: &str = "app.kubernetes.io/component=controller";

const PLACE: [&str; 3] = ["--namespace", NAMESPACE, "--create-namespace"];
/// What a node without a registry needs, and whoever waits.
pub(crate) const WAIT: [&str; 5] = ["--wait", "--timeout", "3m", "--set", "image.pullPolicy=Never"];

/// Installs the chart where no release is.
pub(crate) fn install(cluster: &Cluster) {
    uninstall(cluster);
    helm(cluster, &["install"], &[]);
}

/// Installs the chart, or changes the release, with values of one's own.
pub(crate) fn upgrade(cluster: &Cluster, values: &[&str]) {
    let set: Vec<String> = values.iter().map(|value| format!("--set={value}")).collect();
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    helm(cluster, &["upgrade", "--install"], &set);
}

/// Uninstalls the release, if there is one.
pub(crate) fn uninstall(cluster: &Cluster) {
    let rest = ["rescind", "--ignore-not-found", "--wait", "--timeout", "2m"];
    let done = cluster.helm(&[&["uninstall"], &rest[..], &PLACE[..2]].concat());
    assert!(done.status.success(), "{}\n{}", text(&done.stderr), cluster.seen(NAMESPACE));
    // Helm waits for what it deletes, and not for the pods of that.
    cluster.kubectl(&["wait", "--for=delete", "pod", "-n", NAMESPACE, "-l", CONTROLLERS, "--timeout=60s"]);
}

/// Returns the name of the controllers' pod that writes statuses.
pub(crate) fn leader(cluster: &Cluster) -> String {
    let path = "--output=jsonpath={.spec.holderIdentity}";
    let holder = cluster.kubectl(&["get", "lease", "rescind-controller", "-n", NAMESPACE, path]);
    // "rescind-controller-6b9f8d5c7-x2x7k_0a1b2c3d"
    holder.rsplit_once('_').unwrap_or_else(|| panic!("the lease is held by {holder:?}")).0.to_owned()
}

/// Asks whether the very next pod is injected: a release is there only once it is.
pub(crate) fn assert_injects(cluster: &Cluster) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "asks", "namespace": "default", "labels": {"rescind.dev/inject": "enabled"},
            "annotations": {"rescind.dev/lists": "any"},
        },
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let asked = cluster.pipe(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &pod.to_string());
    let said = text(&asked.stdout);
    assert!(said.contains("rescind-sidecar"), "{said}\n{}\n{}", text(&asked.stderr), cluster.seen(NAMESPACE));
}

fn helm(cluster: &Cluster, command: &[&str], values: &[&str]) {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/rescind").display().to_string();
    let done = cluster.helm(&[command, &["rescind", &chart], &PLACE, &WAIT, values].concat());
    assert!(done.status.success(), "{}\n{}", text(&done.stderr), cluster.seen(NAMESPACE));
    assert_injects(cluster);
}
