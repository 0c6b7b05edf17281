//! The store against a real API server and etcd.

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::MutexGuard;

use super::*;
use crate::api::compile::tests::document;
use crate::runtime::clock::Clock;
use crate::store::contract::store_contract;
use control_plane::ControlPlane;

mod busy;
mod crowds;
mod deletions;
mod expiring;
mod following;
mod heartbeats;
mod played;
mod removing;
pub(crate) mod repeating;
mod silence;

#[path = "../../../tests/support/control_plane.rs"]
mod control_plane;
#[allow(dead_code, reason = "of it only the control plane needs a part")]
#[path = "../../../tests/support/tools.rs"]
mod tools;

/// The store is about everything in the cluster, so tests have it in turn.
static CLUSTER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) fn kubectl(arguments: &[&str]) -> String {
    let output = ControlPlane::shared().kubectl(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub(crate) fn apply(yaml: &str) {
    let plane = ControlPlane::shared();
    let output = plane.kubectl_with(plane.kubeconfig(), &["apply", "--server-side", "-f", "-"], yaml);
    assert!(output.status.success(), "{yaml}: {}", String::from_utf8_lossy(&output.stderr));
}

const CRDS: [&str; 2] =
    [include_str!("../../../crds/revocations.yaml"), include_str!("../../../crds/tokenrevocationlists.yaml")];

/// Makes what every cluster with our controllers has.
fn install() {
    CRDS.iter().for_each(|crd| apply(crd));
    kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    apply("{apiVersion: v1, kind: Namespace, metadata: {name: rescind-system}}");
    let list = String::from_utf8(document().encode()).unwrap();
    apply(&list);
}

/// A cluster with the example's list and without a revocation, until the guard is dropped.
pub(crate) async fn cluster() -> MutexGuard<'static, ()> {
    let guard = CLUSTER.lock().await;
    tokio::task::spawn_blocking(|| {
        install();
        kubectl(&["delete", "revocations", "--all", "--all-namespaces", "--ignore-not-found"]);
    })
    .await
    .unwrap();
    guard
}

async fn config() -> Config {
    let kubeconfig = Kubeconfig::read_from(ControlPlane::shared().kubeconfig()).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

pub(crate) async fn open() -> KubernetesStore {
    open_in(DEFAULT_NAMESPACE).await
}

/// Opens the store of controllers in a namespace, which has to be there.
pub(crate) async fn open_in(namespace: &str) -> KubernetesStore {
    KubernetesStore::open(config().await, namespace, Environment::of_machine()).await.unwrap()
}

/// Opens a store that goes by this clock.
pub(crate) async fn open_at(clock: Arc<dyn Clock>) -> KubernetesStore {
    let environment = Environment { clock, ..Environment::of_machine() };
    KubernetesStore::open(config().await, DEFAULT_NAMESPACE, environment).await.unwrap()
}

/// A store that nothing was revoked in.
async fn empty() -> (MutexGuard<'static, ()>, Arc<dyn Store>) {
    let guard = cluster().await;
    (guard, Arc::new(open().await))
}

mod contract {
    use super::*;
    store_contract!(empty());
}

/// Invariant 20: the epoch is begun by compare-and-swap.
#[tokio::test]
async fn two_replicas_agree_on_the_history() {
    let _cluster = cluster().await;
    let (one, two) = (open().await, open().await);
    let (a, b) = tokio::join!(one.fetch(), two.fetch());
    let (seen, b) = (a.unwrap().version, b.unwrap().version);
    assert_eq!(seen.epoch, b.epoch);
    // The store has reached less than a sidecar has seen.
    let mut seen = seen;
    seen.revisions.revocations += 1_000_000;
    let (one_done, two_done) = tokio::join!(one.start_epoch(seen), two.start_epoch(seen));
    one_done.unwrap();
    two_done.unwrap();
    let (a, b) = tokio::join!(one.fetch(), two.fetch());
    let next = a.unwrap().version;
    assert_eq!(next.epoch, b.unwrap().version.epoch);
    assert!(next > seen);
}
