//! What a watch delivers, and what a deletion means.

use serde_json::json;

use super::*;
use crate::revocation::names::ListName;
use crate::revocation::record::Cutoff;
use crate::store::contract::{list, new, revoke, subject};
use crate::store::{NewStep, Revocation, What};

/// Waits for what the log delivers next.
async fn next(follow: &mut Box<dyn Follow>) -> Result<What, FollowError> {
    let next = tokio::time::timeout(Duration::from_secs(30), follow.next()).await.unwrap();
    next.map(|event| event.what)
}

/// Writes a heartbeat, and returns all that the log delivers before it.
pub(super) async fn delivered(
    store: &KubernetesStore,
    follow: &mut Box<dyn Follow>,
    nonce: u128,
) -> Vec<What> {
    let beat = Beat { replica: 7, nonce };
    Store::beat(store, beat).await.unwrap();
    let mut delivered = Vec::new();
    loop {
        let what = next(follow).await.unwrap();
        if what == What::Heartbeat(beat) {
            return delivered;
        }
        delivered.push(what);
    }
}

fn added(revocation: &Revocation) -> What {
    What::Added(Box::new(revocation.clone()))
}

fn removed(revocation: &Revocation) -> What {
    What::Removed { id: revocation.id, list: revocation.list.clone() }
}

pub(super) async fn follow(store: &KubernetesStore) -> Box<dyn Follow> {
    let from = Store::fetch(store).await.unwrap().version;
    Store::follow(store, from).await.unwrap()
}

/// Whether a revocation has an effect is no matter of its status.
#[tokio::test]
async fn a_write_of_the_status_is_no_event() {
    let _cluster = cluster().await;
    let store = open().await;
    let mut follow = follow(&store).await;
    let alice = revoke(&store, "alice").await;
    assert_eq!(delivered(&store, &mut follow, 1).await, [added(&alice)]);
    let status = r#"{"status": {"target": "subject alice"}}"#;
    let arguments =
        ["patch", "revocation", "-n", "default", &alice.name, "--subresource=status", "--type=merge"];
    kubectl(&[&arguments[..], &["-p", status]].concat());
    assert_eq!(delivered(&store, &mut follow, 2).await, []);
}

/// Invariant 3: the API server ends every watch when the schema changes, with a clean end.
#[tokio::test]
async fn a_watch_that_is_ended_goes_on_where_it_was() {
    let _cluster = cluster().await;
    let store = open().await;
    let mut follow = follow(&store).await;
    let alice = revoke(&store, "alice").await;
    assert_eq!(delivered(&store, &mut follow, 1).await, [added(&alice)]);
    apply(&CRDS[0].replacen("description: ", "description: Changed. ", 1));
    let bob = revoke(&store, "bob").await;
    assert_eq!(delivered(&store, &mut follow, 2).await, [added(&bob)]);
}

/// Invariant 3: an API server that was started later does not have the events from before its start: whoever asks for
/// them has to fetch everything, and is not left without them.
#[tokio::test]
async fn what_the_watch_can_not_go_back_to_is_fetched_anew() {
    let _cluster = cluster().await;
    let store = open().await;
    let from = Store::fetch(&store).await.unwrap().version;
    revoke(&store, "alice").await;
    revoke(&store, "bob").await;
    let later = ControlPlane::shared().add_api_server();
    let kubeconfig = Kubeconfig::read_from(later.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let store = KubernetesStore::open(config, DEFAULT_NAMESPACE, Environment::of_machine()).await.unwrap();
    let over = match Store::follow(&store, from).await {
        Ok(mut follow) => next(&mut follow).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(over, FollowError::Compacted { from });
}

/// Declares the example's list in a namespace.
pub(super) fn declare_in(namespace: &str) -> ListName {
    let mut document = document();
    namespace.clone_into(&mut document.metadata.namespace);
    apply(&String::from_utf8(document.encode()).unwrap());
    document.name().unwrap()
}

/// A namespace with a list, and a revocation in it.
pub(super) async fn elsewhere(store: &KubernetesStore, namespace: &str) -> Revocation {
    apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"));
    let list = declare_in(namespace);
    let entry = NewStep::Revoke(Box::new(crate::store::NewRevocation { list, ..new(subject("carol")) }));
    store.append(entry).await.unwrap().revocation.unwrap()
}

/// Takes a namespace away as far as the controller-manager would, which no test runs.
pub(super) fn finish_deleting(namespace: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/finalize");
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}, "spec": {}});
    kubectl(&["delete", "tokenrevocationlists", "--all", "-n", namespace]);
    let plane = ControlPlane::shared();
    let arguments = ["replace", "--raw", &path, "-f", "-"];
    let output = plane.kubectl_with(plane.kubeconfig(), &arguments, &body.to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Invariant 20: deleting a namespace sends one ordinary deletion for every object in it.
#[tokio::test]
async fn what_goes_away_with_its_namespace_is_not_lifted() {
    let _cluster = cluster().await;
    let store = open().await;
    let alice = revoke(&store, "alice").await;
    let carol = elsewhere(&store, "going").await;
    store.lists().await.unwrap();
    let mut follow = follow(&store).await;
    kubectl(&["delete", "namespace", "going", "--wait=false"]);
    kubectl(&["delete", "revocation", "-n", "going", &carol.name]);
    // That of another namespace is lifted meanwhile.
    kubectl(&["delete", "revocation", "-n", "default", &alice.name]);
    assert_eq!(delivered(&store, &mut follow, 1).await, [removed(&alice)]);
    let lost =
        |store: &KubernetesStore| store.with_mirror(|mirror| mirror.lost.keys().copied().collect::<Vec<_>>());
    assert_eq!(lost(&store), [carol.id]);
    // Nobody vouches for a list that has lost what nobody has lifted; and it can't be written again there.
    let names: Vec<_> =
        Store::lists(&store).await.unwrap().iter().map(|list| list.document.name().unwrap()).collect();
    assert_eq!(names, [list()]);
    Store::fetch(&store).await.unwrap();
    assert_eq!(lost(&store), [carol.id]);
    finish_deleting("going");
}

/// Invariant 20: a store that was restored has lost what was revoked since its backup. It is written again, with the
/// cutoff that it had by default: the time of its creation.
#[tokio::test]
async fn what_another_history_has_lost_is_written_again_with_its_cutoff() {
    let _cluster = cluster().await;
    let store = open().await;
    let alice = revoke(&store, "alice").await;
    let seen = Store::fetch(&store).await.unwrap().version;
    // As after a restore: it is not there, and nobody has seen it go.
    kubectl(&["delete", "revocation", "-n", "default", &alice.name]);
    let mut above = seen;
    above.revisions.revocations += 1_000_000;
    Store::start_epoch(&store, above).await.unwrap();
    let fetched = Store::fetch(&store).await.unwrap();
    assert!(fetched.version > above);
    let [again] = &fetched.revocations[..] else { panic!("{:?}", fetched.revocations) };
    assert_eq!((&again.name, &again.list), (&alice.name, &alice.list));
    assert_eq!(again.spec.cutoff, Some(Cutoff::At(alice.created)));
    assert_ne!(again.id, alice.id);
    assert!(store.with_mirror(|mirror| mirror.lost.is_empty()));
}

/// A policy that refuses every revocation of a name.
fn refuse(name: &str) {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "refuse"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["rescind.dev"], "apiVersions": ["*"], "operations": ["CREATE"],
                "resources": ["revocations"],
            }]},
            "validations": [{"expression": format!("object.metadata.name != '{name}'"), "message": "not now"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "refuse"},
        "spec": {"policyName": "refuse", "validationActions": ["Deny"]},
    });
    apply(&format!("{policy}\n---\n{binding}"));
}

/// Invariant 20: what was refused for a time is written again as soon as it is refused no more.
#[tokio::test]
async fn a_lost_revocation_that_was_refused_is_tried_again() {
    let _cluster = cluster().await;
    let (store, other) = (open().await, open().await);
    let alice = revoke(&store, "alice").await;
    let mut above = Store::fetch(&store).await.unwrap().version;
    Store::fetch(&other).await.unwrap();
    let copy = json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation",
        "metadata": {"name": alice.name, "namespace": "default"},
        "spec": super::object::tests::subject("alice"),
    })
    .to_string();
    kubectl(&["delete", "revocation", "-n", "default", &alice.name]);
    refuse(&alice.name);
    let is_refused = || {
        let plane = ControlPlane::shared();
        let create = ["create", "--dry-run=server", "-f", "-"];
        !plane.kubectl_with(plane.kubeconfig(), &create, &copy).status.success()
    };
    let until = |refused: bool| {
        for _ in 0..600 {
            if is_refused() == refused {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the policy is not in force, or still is");
    };
    until(true);
    above.revisions.revocations += 1_000_000;
    Store::start_epoch(&store, above).await.unwrap();
    let fetched = Store::fetch(&store).await.unwrap();
    assert_eq!(fetched.revocations, []);
    assert_eq!(Store::fetch(&other).await.unwrap().revocations, []);
    let mut follow = Store::follow(&store, fetched.version).await.unwrap();
    let mut other_follow = Store::follow(&other, fetched.version).await.unwrap();
    let lost =
        |of: &KubernetesStore| of.with_mirror(|mirror| mirror.lost.keys().copied().collect::<Vec<_>>());
    store.retry_lost().await;
    assert_eq!((lost(&store), lost(&other)), (vec![alice.id], vec![alice.id]));
    kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "refuse"]);
    until(false);
    store.retry_lost().await;
    assert_eq!(lost(&store), []);
    let seen = delivered(&other, &mut other_follow, 1).await;
    assert!(matches!(&seen[..], [What::Added(again)] if again.name == alice.name), "{seen:?}");
    let delivered = delivered(&store, &mut follow, 1).await;
    let [What::Added(again)] = &delivered[..] else { panic!("{delivered:?}") };
    assert_eq!((&again.name, again.spec.cutoff), (&alice.name, Some(Cutoff::At(alice.created))));
    // Whoever has not written it has seen it: it may be lifted, and stays so.
    kubectl(&["delete", "revocation", "-n", "default", &alice.name]);
    other.retry_lost().await;
    assert_eq!(Store::fetch(&other).await.unwrap().revocations, []);
}

/// Within one history a complete list explains what it does not show.
#[tokio::test]
async fn what_was_deleted_while_nobody_watched_is_lifted() {
    let _cluster = cluster().await;
    let store = open().await;
    let alice = revoke(&store, "alice").await;
    Store::fetch(&store).await.unwrap();
    kubectl(&["delete", "revocation", "-n", "default", &alice.name]);
    assert_eq!(Store::fetch(&store).await.unwrap().revocations, []);
    assert!(store.with_mirror(|mirror| mirror.lost.is_empty()));
}

/// Invariant 20: by hand, where nobody can tell that the store went back.
#[tokio::test]
async fn who_deletes_the_epoch_begins_another_history() {
    let _cluster = cluster().await;
    let store = open().await;
    let alice = revoke(&store, "alice").await;
    let first = store.fetch().await.unwrap().version;
    let mut follow = store.follow(first).await.unwrap();
    tokio::task::spawn_blocking(|| kubectl(&["delete", "revocation", "-n", DEFAULT_NAMESPACE, "epoch"]))
        .await
        .unwrap();
    assert!(matches!(next(&mut follow).await, Err(FollowError::NotOfThisHistory { .. })));
    let after = store.fetch().await.unwrap();
    assert!(after.version.epoch.counter > first.epoch.counter);
    assert_eq!(after.revocations.iter().map(|kept| kept.id).collect::<Vec<_>>(), [alice.id]);
}
