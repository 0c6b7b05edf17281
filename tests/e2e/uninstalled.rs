//! What `helm uninstall` leaves, and how it is removed: what docs/install.md says, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::cluster::Cluster;
use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_tcp};
use crate::support::issue::Keys;
use crate::support::wait::wait_for;
use crate::{release, shop};

const NAMESPACE: &str = "left";
/// The default of lists.
const BOUND: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make e2e runs it"]
async fn uninstalling_leaves_what_the_page_says_and_that_goes_away_cleanly() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    release::upgrade(cluster, &[]);
    let keys = Keys::generate();
    let [alice, bob] = ["alice", "bob"].map(|subject| keys.token(&json!({"sub": subject, "sid": subject})));
    cluster.apply(&[shop::injected_namespace(NAMESPACE)]);
    cluster.apply(&[
        shop::list(NAMESPACE, "shop", &keys),
        shop::configuration(NAMESPACE),
        shop::deployment(NAMESPACE, "shop", "shop", 1),
        shop::service(NAMESPACE, "shop", shop::PORT),
    ]);
    cluster.wait(NAMESPACE, "deployment/shop", "Available");
    let revoked = cluster.rescind(&["subject", "alice", "-n", NAMESPACE]);
    assert!(revoked.status.success(), "{revoked:?}");
    let address = cluster.node_port(NAMESPACE, "shop-8080");
    let show = async |token: &str| ask_tcp(&address, &Ask::get("/").bearer(token)).await.unwrap().status;
    assert_eq!(show(&bob).await, 200);

    release::uninstall(cluster);
    let definitions = BTreeSet::from(
        ["revocations", "tokenrevocationlists"]
            .map(|kind| format!("customresourcedefinition.apiextensions.k8s.io/{kind}.rescind.dev")),
    );
    // Helm does not wait for the pods of what it deletes.
    wait_for("the definitions alone are left of the release", PATIENCE, async || {
        let left = left(cluster);
        if left == definitions { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    // A workload with a sidecar that nobody serves any more.
    wait_for("nobody vouches", 2 * BOUND, async || match show(&bob).await {
        503 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(show(&alice).await, 401);

    for namespace in [NAMESPACE, release::NAMESPACE] {
        cluster.kubectl(&["delete", "namespace", namespace, "--timeout=60s"]);
    }
    let kinds = ["revocations.rescind.dev", "tokenrevocationlists.rescind.dev"];
    cluster.kubectl(&[&["delete", "crd", "--timeout=60s"], &kinds[..]].concat());
    let left: Vec<String> =
        everything(cluster, &[]).into_iter().filter(|name| name.contains("rescind")).collect();
    // What other tests have made, with their own names.
    let ours: Vec<&String> = left.iter().filter(|name| !name.contains("/rescind-ca")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

/// Returns what has the label of the release.
fn left(cluster: &Cluster) -> BTreeSet<String> {
    everything(cluster, &["-l", "app.kubernetes.io/instance=rescind"]).into_iter().collect()
}

/// Returns the names of all objects of all kinds, but events.
fn everything(cluster: &Cluster, selector: &[&str]) -> Vec<String> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--output=name"]);
    let kinds: Vec<&str> = kinds.split_whitespace().filter(|kind| !kind.starts_with("events")).collect();
    let get = ["get", &kinds.join(","), "-A", "-o", "name", "--ignore-not-found"];
    cluster.kubectl(&[&get[..], selector].concat()).split_whitespace().map(str::to_owned).collect()
}
