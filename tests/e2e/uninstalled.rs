//! What `helm uninstall` leaves, and how it is removed: what docs/install.md says, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::cluster::{Cluster, text};
use crate::requests::show;
use crate::support::PATIENCE;
use crate::support::issue::Keys;
use crate::support::wait::wait_for;
use crate::{release, requests, shop};

/// The namespace of the page.
const FREED: &str = "shop";
/// One whose workload keeps its sidecar.
const LEFT: &str = "left";
/// The default of lists.
const BOUND: Duration = Duration::from_secs(15);
const PAGE: &str = "docs/install.md";
const MARK: &str = "<!-- tested: uninstalling_leaves_what_the_page_says_and_that_goes_away_cleanly -->";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make e2e runs it"]
async fn uninstalling_leaves_what_the_page_says_and_that_goes_away_cleanly() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    forget_other_tests(cluster);
    release::upgrade(cluster, &[]);
    let keys = Keys::generate();
    let [alice, bob] = shop::alice_and_bob(&keys);
    let [freed, left] = [FREED, LEFT].map(|namespace| {
        let address = shop::run(cluster, namespace, &keys, 1);
        let revoked = cluster.rescind(&["subject", "alice", "-n", namespace]);
        assert!(revoked.status.success(), "{revoked:?}");
        address
    });
    for address in [&freed, &left] {
        requests::until(address, &alice, 401).await;
        requests::until(address, &bob, 200).await;
    }

    let [uninstall, remove] = blocks();
    cluster.apply(&[shop::configuration_without_check(FREED)]);
    run(cluster, &uninstall);
    let definitions = BTreeSet::from(
        ["revocations", "tokenrevocationlists"]
            .map(|kind| format!("customresourcedefinition.apiextensions.k8s.io/{kind}.rescind.dev")),
    );
    // Helm does not wait for the pods of what it deletes.
    wait_for("the definitions alone are left of the release", PATIENCE, async || {
        let left: BTreeSet<String> =
            everything(cluster, &["-l", "app.kubernetes.io/instance=rescind"]).into_iter().collect();
        if left == definitions { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    // Of what bears no label of the release, only what the page names.
    let of_page = [
        "customresourcedefinition.",
        // The API server's own, for as long as there are definitions.
        "apiservice.apiregistration.k8s.io/",
        "tokenrevocationlist.rescind.dev/",
        "revocation.rescind.dev/",
        "namespace/rescind-system",
        "secret/rescind-",
        "lease.coordination.k8s.io/rescind-controller",
        "configmap/rescind-ca",
    ];
    let others: Vec<String> = everything(cluster, &[])
        .into_iter()
        .filter(|name| name.contains("rescind") && !of_page.iter().any(|stays| name.starts_with(stays)))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    // A workload with a sidecar that nobody serves any more, and one that asks nobody.
    wait_for("nobody vouches", 2 * BOUND, async || match show(&left, &bob).await {
        Ok(reply) if reply.status == 503 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(show(&left, &alice).await.unwrap().status, 401);
    requests::until(&freed, &alice, 200).await;
    requests::until(&freed, &bob, 200).await;

    run(cluster, &remove);
    run(cluster, "kubectl delete namespace left --timeout=60s");
    let ours: Vec<String> =
        everything(cluster, &[]).into_iter().filter(|name| name.contains("rescind")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    run(cluster, "kubectl delete namespace shop --timeout=60s");
}

/// What others have left in the cluster would be taken for what uninstalling leaves.
fn forget_other_tests(cluster: &Cluster) {
    let namespaces = cluster.objects(&["get", "namespaces"]);
    let names = namespaces.iter().filter_map(|namespace| namespace["metadata"]["name"].as_str());
    let others: Vec<&str> = names
        .filter(|name| !name.starts_with("kube-") && !["default", release::NAMESPACE].contains(name))
        .collect();
    if !others.is_empty() {
        cluster.kubectl(&[&["delete", "namespace", "--timeout=120s"], &others[..]].concat());
    }
}

/// Returns the two blocks of commands of the page.
fn blocks() -> [String; 2] {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let block = |rest: &str| rest.split("```").nth(1).unwrap().trim_start_matches("sh\n").to_owned();
    page.split(MARK).skip(1).map(block).collect::<Vec<_>>().try_into().unwrap()
}

fn run(cluster: &Cluster, script: &str) {
    let done = cluster.shell(script);
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
}

/// Returns the names of all objects of all kinds, but events.
fn everything(cluster: &Cluster, selector: &[&str]) -> Vec<String> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--output=name"]);
    let kinds: Vec<&str> = kinds.split_whitespace().filter(|kind| !kind.starts_with("events")).collect();
    let get = ["get", &kinds.join(","), "-A", "-o", "name", "--ignore-not-found"];
    cluster.kubectl(&[&get[..], selector].concat()).split_whitespace().map(str::to_owned).collect()
}
