//! `rescind doctor` on real API servers: what it finds, and that nothing makes it hang.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::{Place, Seen, finish, plane, rescind};
use crate::cluster::in_project;
use crate::lab::{Lab, NAMESPACE};
use crate::relay::{Mode, Relay};
use crate::support::control_plane::ControlPlane;
use crate::support::wait::wait_for;

/// What was found, by check: the worst of each.
type Found = BTreeMap<String, (String, String)>;

fn found(seen: &Seen) -> Found {
    let answer: Value = serde_json::from_str(&seen.out).unwrap_or_else(|error| panic!("{error}: {seen:?}"));
    assert_eq!(answer["ok"].as_bool(), Some(seen.code == 0), "{seen:?}");
    let rank = |level: &str| ["ok", "skipped", "warning", "failure"].iter().position(|one| *one == level);
    let mut all = Found::new();
    for check in answer["checks"].as_array().unwrap() {
        let text = |name: &str| check[name].as_str().unwrap().to_owned();
        let found = (text("level"), text("seen"));
        let held = all.entry(text("check")).or_insert_with(|| found.clone());
        if rank(&found.0) > rank(&held.0) {
            *held = found;
        }
    }
    all
}

fn level<'a>(all: &'a Found, check: &str) -> &'a str {
    all.get(check).map_or("", |(level, _)| level.as_str())
}

fn doctor(plane: &ControlPlane, arguments: &str) -> Seen {
    let home = tempfile::tempdir().unwrap();
    let mut command = rescind(home.path());
    command.env("KUBECONFIG", plane.kubeconfig()).args(["doctor", "-o", "json"]);
    command.args(arguments.split_whitespace());
    finish(command, "")
}

#[test]
fn who_may_nothing_is_told_what_was_skipped() {
    let place = Place::new();
    let seen = doctor(plane(), &format!("--as nobody -n {}", place.namespace));
    let all = found(&seen);
    assert_eq!(level(&all, "your-rights"), "warning", "{all:?}");
    let expected = ["definitions", "controller-rights", "policies", "pulses", "lease", "lists", "pods"];
    assert!(expected.iter().all(|check| level(&all, check) == "skipped"), "{all:?}");
    // What nobody may look at is no fault.
    assert_eq!(seen.code, 0, "{all:?}");
    let lists = "you may not look: it takes the verb list on tokenrevocationlists.rescind.dev in namespace";
    assert!(all["lists"].1.starts_with(lists), "{all:?}");
}

#[test]
fn namespaces_that_ask_for_sidecars_and_pods_without_one_are_found() {
    let place = Place::new();
    let namespace = &place.namespace;
    place.kubectl(&format!("label namespace {namespace} rescind.dev/inject=enabled"));
    place.kubectl("create serviceaccount default");
    place.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": namespace},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }));
    let all = found(&doctor(plane(), ""));
    assert_eq!(
        all["trust"],
        ("failure".to_owned(), format!("no ConfigMap rescind-ca in {namespace}: pods there wait for it"))
    );
    let pods = format!("1 pod has no sidecar although the label wants it: {namespace}/app");
    assert_eq!(all["pods"], ("failure".to_owned(), pods));
    assert_eq!(level(&all, "webhook"), "failure", "{all:?}");
    place.kubectl("annotate pod app rescind.dev/injected=0.1.0");
    let all = found(&doctor(plane(), ""));
    assert_eq!(level(&all, "pods"), "ok", "{all:?}");
    place.kubectl(&format!("label namespace {namespace} rescind.dev/inject-"));
}

#[test]
fn a_cluster_without_definitions_or_one_that_hangs_is_told_in_time() {
    let plane = ControlPlane::start();
    let all = found(&doctor(&plane, ""));
    assert_eq!(level(&all, "api-server"), "ok", "{all:?}");
    assert_eq!(level(&all, "server-version"), "ok", "{all:?}");
    assert_eq!(level(&all, "clock"), "ok", "{all:?}");
    assert_eq!(all["definitions"].0, "failure");
    assert_eq!(level(&all, "lease"), "failure", "{all:?}");
    plane.api_server().pause();
    let started = Instant::now();
    let seen = doctor(&plane, "");
    let took = started.elapsed();
    plane.api_server().resume();
    assert_eq!((seen.code, level(&found(&seen), "api-server")), (1, "failure"), "{seen:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

/// Whenever that is: before the first answer, between two, or when everything has been read.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_stops_to_answer_never_makes_it_hang() {
    let plane = block_in_place(plane);
    let hang_after = async |milliseconds: u64| {
        let relay = Relay::start(plane.url()).await;
        let kubeconfig = plane.kubeconfig_at(&relay.url());
        let started = Instant::now();
        let running = tokio::task::spawn_blocking(move || {
            let home = tempfile::tempdir().unwrap();
            let mut command = rescind(home.path());
            command.env("KUBECONFIG", kubeconfig).args(["doctor", "-o", "json"]);
            finish(command, "")
        });
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        relay.set(Mode::Hang);
        let seen = running.await.unwrap();
        let took = started.elapsed();
        assert!(took < Duration::from_secs(60), "{milliseconds} ms: {took:?}");
        assert_ne!(found(&seen).len(), 0, "{milliseconds} ms: {seen:?}");
    };
    tokio::join!(hang_after(0), hang_after(100), hang_after(300), hang_after(600));
}

/// Makes a certificate that signs itself.
fn certificate() -> String {
    certificate_of(2020..4000)
}

/// The same for some years.
fn certificate_of(years: Range<i32>) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(years.start, 1, 1), rcgen::date_time_ymd(years.end, 1, 1));
    params.self_signed(&key).unwrap().pem()
}

/// The Service of the webhook, and what a cluster's own controllers would write of the pods behind it.
fn webhook_service_is_looked_at(plane: &ControlPlane, apply: &impl Fn(&Value)) {
    let check = |expected: (&str, &str)| {
        let all = found(&doctor(plane, ""));
        let expected = (expected.0.to_owned(), expected.1.to_owned());
        assert_eq!(all.get("webhook-service"), Some(&expected), "{all:?}");
    };
    let missing = "Service rescind-system/rescind-webhook is not there: the API server can't ask the webhook";
    check(("failure", missing));
    apply(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "rescind-webhook", "namespace": "rescind-system"},
        "spec": {"ports": [{"port": 443, "targetPort": 7443}]},
    }));
    let nobody = "no controller is ready behind Service rescind-system/rescind-webhook: pods start without a sidecar, or \
                  not at all";
    check(("failure", nobody));
    let endpoints = |is_ready: bool| {
        apply(&json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "rescind-webhook-1", "namespace": "rescind-system",
                "labels": {"kubernetes.io/service-name": "rescind-webhook"},
            },
            "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": is_ready}}],
            "ports": [{"name": "", "port": 7443}],
        }));
    };
    endpoints(false);
    check(("failure", nobody));
    endpoints(true);
    check(("ok", "1 address is ready behind Service rescind-system/rescind-webhook"));
}

fn trust(namespace: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "rescind-ca", "namespace": namespace}, "data": {"ca.crt": pem},
    })
}

#[test]
fn what_the_examples_put_in_place_is_known_again_and_what_is_edited_is_told() {
    let plane = ControlPlane::start();
    let kubectl = |arguments: &[&str]| Seen::from(plane.kubectl(arguments)).done();
    let apply = |object: &Value| {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        Seen::from(plane.kubectl_with(plane.kubeconfig(), &arguments, &object.to_string())).done();
    };
    kubectl(&["apply", "--server-side", "-f", &in_project("crds")]);
    kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    for file in ["namespace", "rbac", "policies"] {
        kubectl(&["apply", "-f", &in_project(&format!("examples/kubernetes/{file}.yaml"))]);
    }
    let good = certificate();
    apply(&trust("rescind-system", &good));
    apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "rescind-injector"},
        "webhooks": [{
            "name": "pods.inject.rescind.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "service": {"name": "rescind-webhook", "namespace": "rescind-system"},
                "caBundle": base64::engine::general_purpose::STANDARD.encode(&good),
            },
            "namespaceSelector": {"matchLabels": {"rescind.dev/inject": "enabled"}},
        }],
    }));
    let all = found(&doctor(&plane, ""));
    for check in
        ["definitions", "your-rights", "controller-rights", "policies", "authority", "webhook", "pods"]
    {
        assert_eq!(level(&all, check), "ok", "{check}: {all:?}");
    }
    webhook_service_is_looked_at(&plane, &apply);
    let over = certificate_of(2020..2021);
    apply(&trust("rescind-system", &over));
    let all = found(&doctor(&plane, ""));
    let ended = "ConfigMap rescind-system/rescind-ca: the certificate ended on 2021-01-01T00:00:00Z";
    assert_eq!(all["authority"], ("failure".to_owned(), ended.to_owned()));
    apply(&trust("rescind-system", &certificate()));
    kubectl(&["delete", "validatingadmissionpolicybinding", "rescind-status"]);
    let all = found(&doctor(&plane, ""));
    let unbound = "there, but no binding makes them deny: rescind-status";
    assert_eq!(all["policies"], ("warning".to_owned(), unbound.to_owned()));
    assert!(all["webhook"].1.contains("trusts another authority than rescind-ca"), "{all:?}");
    kubectl(&["delete", "validatingadmissionpolicy", "rescind-status"]);
    let edit = r#"[{"op": "replace", "path": "/spec/failurePolicy", "value": "Ignore"}]"#;
    kubectl(&["patch", "validatingadmissionpolicy", "rescind-declared", "--type=json", "--patch", edit]);
    let seen = doctor(&plane, "");
    assert!(seen.out.contains("\"not there: rescind-status\""), "{seen:?}");
    let edited = "other than those that this program was shipped with: rescind-declared";
    assert!(seen.out.contains(edited), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ails_controllers_is_found_while_they_run_and_when_they_hang() {
    let lab = Lab::start(1, 1).await;
    let look = || block_in_place(|| found(&doctor(&lab.plane, &format!("-n {NAMESPACE}"))));
    let all = look();
    for check in
        ["definitions", "your-rights", "controller-rights", "pulses", "lease", "controller-clock", "lists"]
    {
        assert_eq!(level(&all, check), "ok", "{check}: {all:?}");
    }
    assert_eq!(level(&all, "reports"), "ok", "{all:?}");
    // A definition of an earlier version, or one that was edited.
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/admitsFrom";
    let rules = json!([{"op": "remove", "path": path}]).to_string();
    lab.kubectl(&["patch", "crd", "revocations.rescind.dev", "--type=json", "--patch", &rules]);
    let all = look();
    let older = "revocations.rescind.dev is older than this program: it lacks status.admitsFrom";
    assert_eq!(all["definitions"], ("warning".to_owned(), older.to_owned()));
    lab.kubectl(&["delete", "clusterrolebinding", "rescind-controller"]);
    wait_for("the missing rights are told", Duration::from_secs(60), async || {
        let all = look();
        if level(&all, "controller-rights") == "failure" { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    lab.controllers[0].pause();
    let all = look();
    assert_eq!(level(&all, "lease"), "failure", "{all:?}");
    assert!(all["lease"].1.ends_with("does not renew it: nothing becomes Enforced"), "{all:?}");
    lab.controllers[0].resume();
}
