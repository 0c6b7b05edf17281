//! What can go wrong before anything is stored, and what to do about it.

use serde_json::json;

use super::{Place, crds, finish, rescind, until};
use crate::support::control_plane::ControlPlane;

#[test]
fn without_a_kubeconfig_it_is_told_how_to_give_one() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = rescind(home.path());
        command.args(arguments);
        finish(command, "")
    };
    run(&["subject", "alice"]).refused(
        "error: there is no kubeconfig: write ~/.kube/config, or name a file with --kubeconfig or in KUBECONFIG; \
         to speak to a controller without a cluster (as `rescind dev` is), give --server or RESCIND_SERVER\n",
    );
    let seen = run(&["list", "--kubeconfig", "/does/not/exist"]);
    assert_eq!(seen.code, 1, "{seen:?}");
    assert!(
        seen.err.starts_with(
            "error: the kubeconfig can't be used: failed to read kubeconfig from '\"/does/not/exist\"'"
        ),
        "{seen:?}"
    );
    let file = home.path().join("config");
    std::fs::write(&file, "apiVersion: v1\nkind: Config\ncontexts: []\n").unwrap();
    run(&["list", "--kubeconfig", file.to_str().unwrap()])
        .refused("error: the kubeconfig has no current context: choose one with --context; it has none\n");
    run(&["list", "--server", "/a", "-n", "shop"]).refused(
        "error: --namespace is for a cluster, and --server (or RESCIND_SERVER) names a server without one: \
         leave one of them out\n",
    );
    run(&["list", "--ca", "/a"]).refused("error: --ca is for a server: name it with --server\n");
    run(&["list", "--server", "/a", "-A"]).refused(
        "error: --all-namespaces is for a cluster: a server shows those of all namespaces without it\n",
    );
}

#[test]
fn a_cluster_that_is_away_or_does_not_know_our_objects_is_named() {
    let plane = ControlPlane::start();
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = rescind(home.path());
        command.env("KUBECONFIG", plane.kubeconfig()).args(arguments);
        finish(command, "")
    };
    let url = plane.url();
    let unknown = format!(
        "error: the cluster at {url} does not know the objects of rescind.dev/v1alpha1: apply crds/ first \
         (kubectl apply --server-side -f crds/), or choose another --context\n"
    );
    run(&["subject", "alice"]).refused(&unknown);
    run(&["subject", "alice", "--list", "shop"]).refused(&unknown);
    run(&["list"]).refused(&unknown);
    run(&["undo", "r-1"]).refused(&unknown);
    run(&["status"]).refused(&unknown);
    run(&["list", "--context", "other"]).refused("error: the kubeconfig has no context other; it has test\n");
    plane.api_server().kill();
    run(&["subject", "alice"]).refused(&format!(
        "error: can't reach the cluster at {url}: nothing listens there; check that it runs, and that the \
         kubeconfig's context (--context) is the right one; or give --server, for a controller without a cluster\n"
    ));
    assert!(crds().is_dir());
}

#[test]
fn what_is_not_declared_or_ambiguous_is_refused_before_anything_is_sent() {
    let place = Place::new();
    let namespace = &place.namespace;
    place
        .run("subject alice --list other")
        .refused(&format!(
            "error: namespace {namespace} has no list other, but shop: name one with --list, or choose another --namespace\n"
        ));
    place.run("subject alice --list elsewhere/shop").refused(&format!(
        "error: --list names namespace elsewhere, and --namespace {namespace}: give one\n"
    ));
    place.run("subject alice --issuer https://evil").refused(&format!(
        "error: spec.issuer: is not declared by list {namespace}/shop: it declares https://id.example.com\n"
    ));
    place.run("selector tenant /tenant/id=1").refused(&format!(
        "error: spec.target.selector.name: is not declared by list {namespace}/shop: add it to spec.selectors there\n"
    ));
    let seen = place.run("client web --wait=false");
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.err.starts_with("warning: MayNotReach: "), "{seen:?}");
    place.declare("another");
    place.run("subject alice").refused(&format!(
        "error: namespace {namespace} has several lists: name one with --list (another, shop)\n"
    ));
    place.run("subject alice --list shop --wait=false").done();
    place.kubectl("delete trl shop another");
    place.run("subject alice").refused(&format!(
        "error: namespace {namespace} has no TokenRevocationList: choose another one with --namespace, or apply a list\n"
    ));
}

#[test]
fn who_may_not_is_told_which_permission_it_takes() {
    let place = Place::new();
    let namespace = &place.namespace;
    place.run("subject alice --as bob").refused(&format!(
        "error: you may not do this: tokenrevocationlists.rescind.dev is forbidden: User \"bob\" cannot list resource \
         \"tokenrevocationlists\" in API group \"rescind.dev\" in the namespace \"{namespace}\"; it takes the verb list \
         on tokenrevocationlists.rescind.dev in namespace {namespace}, which the ClusterRole rescind-revoker gives; \
         an administrator grants it: kubectl create rolebinding NAME --clusterrole=rescind-revoker --user=YOU -n {namespace}\n"
    ));
    place.kubectl("create role lists --verb=get,list --resource=tokenrevocationlists.rescind.dev");
    place.kubectl("create rolebinding lists --role=lists --group=team");
    let seen = place.run("subject alice --as bob --as-group team");
    assert_eq!((seen.code, seen.out.as_str()), (1, ""), "{seen:?}");
    let expected = format!("it takes the verb create on revocations.rescind.dev in namespace {namespace}");
    assert!(seen.err.contains(&expected), "{seen:?}");
}

#[test]
fn what_a_policy_refuses_is_told_in_its_words() {
    let place = Place::new();
    let name = format!("{}.rescind.test", place.namespace);
    place.apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["rescind.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["revocations"],
            }]},
            "validations": [{"expression": "has(object.spec.reason)", "message": "give a reason"}],
        },
    }));
    place.apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}},
        },
    }));
    let seen = until("the policy is in force", || {
        let seen = place.run("subject alice --dry-run");
        (seen.code != 0).then_some(seen)
    });
    assert_eq!((seen.code, seen.out.as_str()), (1, ""), "{seen:?}");
    assert!(seen.err.starts_with("error: the cluster refuses it:\n  "), "{seen:?}");
    assert!(seen.err.contains("give a reason"), "{seen:?}");
    place.run("subject alice --wait=false --reason LostDevice").done();
}
