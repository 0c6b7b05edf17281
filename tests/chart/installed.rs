//! The chart on a real API server: it is accepted, does what it says there, and is upgraded and uninstalled as documented.
//!
//! Each test has a control plane of its own, for much of the chart belongs to the cluster and not to a namespace. Kinds of
//! cert-manager and of Prometheus' operator are defined there as in a cluster that has those, which do not run.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::helm::{done, helm, objects, read, read_chart, refused, render, yaml};
use crate::rendered::{VALUES, pods};
use crate::support::PATIENCE;
use crate::support::control_plane::ControlPlane;
use crate::support::foreign_kinds::definitions;

const NAMESPACE: &str = "--namespace=rescind-system";
const DEFINITIONS: [&str; 2] = ["revocations.rescind.dev", "tokenrevocationlists.rescind.dev"];

/// Those of operators that the chart can serve.
const FOREIGN: [&str; 5] = [
    "certificates.cert-manager.io",
    "issuers.cert-manager.io",
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
    "servicemonitors.monitoring.coreos.com",
];

/// A cluster, and Helm as its administrator.
struct Cluster(ControlPlane);

impl Cluster {
    fn start() -> Self {
        Self(ControlPlane::start())
    }

    fn with_chart() -> Self {
        let cluster = Self::start();
        done(&cluster.install("rescind", &[]));
        cluster
    }

    fn helm(&self, arguments: &[&str]) -> Output {
        helm(Some(self.0.kubeconfig()), arguments)
    }

    fn install(&self, release: &str, more: &[&str]) -> Output {
        let common = ["install", release, "charts/rescind", NAMESPACE, "--create-namespace"];
        self.helm(&[&common, more].concat())
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        self.0.kubectl(arguments)
    }

    fn get(&self, arguments: &[&str]) -> Value {
        let text = done(&self.kubectl(&[&["get", "--output=json"], arguments].concat()));
        serde_json::from_str(&text).unwrap()
    }

    fn create(&self, user: &Path, object: &Value, more: &[&str]) -> Output {
        self.0.kubectl_with(user, &[&["create", "--filename=-"], more].concat(), &object.to_string())
    }

    fn make(&self, object: &Value) {
        done(&self.create(self.0.kubeconfig(), object, &[]));
    }

    /// Makes a namespace in which pods can be created: nobody makes its ServiceAccount here.
    fn make_namespace(&self, name: &str, labels: &Value) {
        let metadata = json!({"name": name, "labels": labels});
        self.make(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
        self.make_account(name);
    }

    fn make_account(&self, namespace: &str) {
        let metadata = json!({"name": "default", "namespace": namespace});
        self.make(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
    }

    fn wait_until_served(&self) {
        wait_until("the kinds are served", || {
            self.kubectl(&["get", "revocations,tokenrevocationlists", "--all-namespaces"]).status.success()
        });
    }
}

fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !probe() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn revocation(namespace: &str) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1",
        "kind": "Revocation",
        "metadata": {"name": "ticket-4711", "namespace": namespace},
        "spec": {"listName": "shop", "issuer": "https://id.example.com", "target": {"subject": "alice"}},
    })
}

fn pod(name: &str, namespace: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
}

#[test]
fn it_is_installed_upgraded_uninstalled_and_taken_over() {
    let cluster = Cluster::start();
    // A mistake leaves nothing behind that would be in the way.
    let refusal = refused(&cluster.install("rescind", &["--set=controller.replica=3"]));
    assert!(refusal.contains("additional properties 'replica' not allowed"), "{refusal}");
    assert_eq!(done(&cluster.helm(&["list", "--all-namespaces", "--short"])), "");
    let installed = cluster.install("rescind", &[]);
    assert_eq!(String::from_utf8_lossy(&installed.stderr), "", "Helm or the API server warns");
    assert!(
        done(&installed).contains("kubectl rollout status deployment/rescind-controller -n rescind-system")
    );
    cluster.wait_until_served();
    cluster.make(&revocation("rescind-system"));
    // What a catalogue shows as examples is accepted.
    cluster.make_namespace("shop", &json!({}));
    let chart = yaml(&read_chart("Chart.yaml"));
    let examples = yaml(chart["annotations"]["artifacthub.io/crdsExamples"].as_str().unwrap());
    for example in examples.as_array().unwrap() {
        done(&cluster.create(cluster.0.kubeconfig(), example, &["--dry-run=server", "--validate=strict"]));
    }

    // What a controller writes into the webhook stays over an upgrade, and other values arrive.
    let bundle = "LS0tLS1CRUdJTi0tLS0t";
    let webhook = "mutatingwebhookconfiguration/rescind-injector";
    let patch =
        json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]).to_string();
    let writer = ["--type=json", "--field-manager=rescind-controller", "--patch", &patch];
    done(&cluster.kubectl(&[&["patch", webhook][..], &writer].concat()));
    let ha = "--values=charts/rescind/values-ha.yaml";
    done(&cluster.helm(&["upgrade", "rescind", "charts/rescind", NAMESPACE, ha]));
    let configuration = cluster.get(&[webhook]);
    assert_eq!(configuration["webhooks"][0]["clientConfig"]["caBundle"], bundle);
    assert_eq!(configuration["webhooks"][0]["failurePolicy"], "Fail");
    assert_eq!(cluster.get(&["deployment", "rescind-controller", NAMESPACE])["spec"]["replicas"], 3);

    // There is one in a cluster.
    let second = ["install", "other", "charts/rescind", "--namespace=other", "--create-namespace"];
    let refusal = refused(&cluster.helm(&second));
    assert!(
        refusal.contains(r#"key "meta.helm.sh/release-name" must equal "other": current value is "rescind""#)
    );

    // Nothing that was revoked goes.
    done(&cluster.helm(&["uninstall", "rescind", NAMESPACE]));
    let left = cluster.get(&["revocation", "ticket-4711", NAMESPACE]);
    assert_eq!(left["spec"]["target"]["subject"], "alice");
    for definition in DEFINITIONS {
        let goes = cluster.get(&["crd", definition])["metadata"].get("deletionTimestamp").cloned();
        assert_eq!(goes, None, "{definition}");
    }
    assert!(!cluster.kubectl(&["get", webhook]).status.success());
    assert!(!cluster.kubectl(&["get", "clusterrole", "rescind-controller"]).status.success());

    // The definitions are of the old release, until another one takes them.
    let refusal = refused(&cluster.install("another", &[]));
    assert!(refusal.contains("CustomResourceDefinition") && refusal.contains("rescind"), "{refusal}");
    done(&cluster.install("another", &["--take-ownership"]));
    for definition in DEFINITIONS {
        let labels = cluster.get(&["crd", definition])["metadata"]["labels"].clone();
        assert_eq!(labels["app.kubernetes.io/instance"], "another");
    }
    assert_eq!(
        cluster.get(&["revocation", "ticket-4711", NAMESPACE])["metadata"]["uid"],
        left["metadata"]["uid"]
    );
}

#[test]
fn definitions_that_were_applied_by_hand_are_taken_over_on_demand() {
    let cluster = Cluster::start();
    let crds = crate::helm::in_project("crds").display().to_string();
    done(&cluster.kubectl(&["apply", "--server-side", "--filename", &crds]));
    let refusal = refused(&cluster.install("rescind", &[]));
    assert!(refusal.contains("invalid ownership metadata"), "{refusal}");
    done(&cluster.install("rescind", &["--take-ownership"]));
    for definition in DEFINITIONS {
        let labels = cluster.get(&["crd", definition])["metadata"]["labels"].clone();
        assert_eq!(labels["app.kubernetes.io/instance"], "rescind");
    }
}

/// A field is of whoever wrote it last, and who writes another value has to say that it is meant.
#[test]
fn definitions_of_another_version_change_hands_by_force_alone() {
    let cluster = Cluster::start();
    let (ours, other) = ("What is revoked, as the controller understood it.", "What is revoked.");
    let text = read("crds/revocations.yaml");
    assert!(text.contains(ours));
    let text = text.replace(ours, other);
    let apply = |more: &[&str]| {
        let apply = [&["apply", "--server-side", "--filename=-"], more].concat();
        cluster.0.kubectl_with(cluster.0.kubeconfig(), &apply, &text)
    };
    let described = || {
        let definition = cluster.get(&["crd", "revocations.rescind.dev"]);
        let columns = &definition["spec"]["versions"][0]["additionalPrinterColumns"];
        columns[0]["description"].as_str().unwrap().to_owned()
    };
    let conflict = |output: &Output| {
        let refusal = refused(output);
        assert!(refusal.contains("conflict"), "{refusal}");
    };
    let (force, take) = ("--force-conflicts", "--take-ownership");
    done(&apply(&[]));
    conflict(&cluster.install("rescind", &[take]));
    // What it has made until then would be in the way.
    done(&cluster.helm(&["uninstall", "rescind", NAMESPACE]));
    done(&cluster.install("rescind", &[take, force]));
    assert_eq!(described(), ours);

    conflict(&apply(&[]));
    done(&apply(&[force]));
    assert_eq!(described(), other);
    let upgrade = ["upgrade", "rescind", "charts/rescind", NAMESPACE];
    conflict(&cluster.helm(&upgrade));
    done(&cluster.helm(&[&upgrade[..], &[force]].concat()));
    assert_eq!(described(), ours);
    // They are Helm's again.
    done(&cluster.helm(&upgrade));
}

/// Whoever goes back to an older chart leaves the definitions: the older ones would take fields from objects.
#[test]
fn definitions_stay_as_they_are_when_a_release_is_upgraded_without_them() {
    let cluster = Cluster::with_chart();
    cluster.wait_until_served();
    cluster.make(&revocation("default"));
    let definitions = || {
        DEFINITIONS.map(|name| {
            let metadata = cluster.get(&["crd", name])["metadata"].clone();
            (metadata["uid"].clone(), metadata["generation"].clone())
        })
    };
    let before = definitions();
    let upgrade = ["upgrade", "rescind", "charts/rescind", NAMESPACE, "--reset-then-reuse-values"];
    for enabled in ["--set=crds.enabled=false", "--set=crds.enabled=true"] {
        done(&cluster.helm(&[&upgrade[..], &[enabled]].concat()));
        assert_eq!(definitions(), before, "{enabled}");
        let manifest = done(&cluster.helm(&["get", "manifest", "rescind", NAMESPACE]));
        let has = manifest.contains("kind: CustomResourceDefinition");
        assert_eq!(has, enabled.ends_with("true"), "{enabled}");
    }
    done(&cluster.kubectl(&["get", "revocation", "ticket-4711", "--namespace=default"]));
}

#[test]
fn the_definitions_go_only_where_that_is_asked_for() {
    let cluster = Cluster::start();
    done(&cluster.install("rescind", &["--set=crds.keep=false"]));
    cluster.wait_until_served();
    done(&cluster.helm(&["uninstall", "rescind", NAMESPACE]));
    // Helm does not wait until the API server has removed their objects.
    wait_until("the definitions are gone", || {
        done(&cluster.kubectl(&["get", "crd", "--output=name"])).is_empty()
    });
}

/// Server-side application with everything that can be switched on; and pods that a restricted namespace takes.
#[test]
fn whatever_it_renders_is_accepted_and_fits_a_restricted_namespace() {
    let cluster = Cluster::start();
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    cluster.make_namespace("rescind-system", &restricted);
    cluster.make_namespace("shop", &json!({}));
    let apply = ["apply", "--server-side", "--filename=-"];
    done(&cluster.0.kubectl_with(cluster.0.kubeconfig(), &apply, &definitions(&FOREIGN)));
    done(&cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]));
    let priority = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000,
    });
    cluster.make(&priority);
    for (name, values) in VALUES {
        let installed = cluster.install("rescind", values);
        assert_eq!(String::from_utf8_lossy(&installed.stderr), "", "{name}: Helm or the API server warns");
        done(&installed);
        let objects = objects(&render("rescind", values));
        // Hooks are not there until the test runs.
        let account = objects.iter().find(|object| {
            object["kind"] == "ServiceAccount" && object["metadata"]["name"] == "rescind-test"
        });
        cluster.make(account.unwrap());
        for pod in pods(&objects) {
            let tried = cluster.create(cluster.0.kubeconfig(), &pod, &["--dry-run=server"]);
            assert_eq!(String::from_utf8_lossy(&tried.stderr), "", "{name}");
            done(&tried);
        }
        done(&cluster.kubectl(&["delete", "serviceaccount", "rescind-test", NAMESPACE]));
        done(&cluster.helm(&["uninstall", "rescind", NAMESPACE]));
    }
    // The namespace does refuse.
    let plain = pod("plain", "rescind-system", &json!({}));
    let refusal = refused(&cluster.create(cluster.0.kubeconfig(), &plain, &["--dry-run=server"]));
    assert!(refusal.contains(r#"violates PodSecurity "restricted:latest""#), "{refusal}");
}

/// Injection is tried where it is wanted and nowhere else: the webhook is not there, and `Fail` makes that visible.
#[test]
fn the_webhook_is_asked_about_the_right_pods() {
    let cluster = Cluster::start();
    let asked = "failed calling webhook";
    let values = ["--set=injection.failurePolicy=Fail", "--set=injection.timeoutSeconds=1"];
    done(
        &cluster
            .install("rescind", &[&values[..], &["--set=injection.excludedNamespaces={legacy}"]].concat()),
    );
    let enabled = json!({"rescind.dev/inject": "enabled"});
    for (name, labels) in [("on", &enabled), ("off", &json!({})), ("legacy", &enabled)] {
        cluster.make_namespace(name, labels);
    }
    for own in ["kube-system", "rescind-system"] {
        cluster.make_account(own);
        done(&cluster.kubectl(&["label", "namespace", own, "rescind.dev/inject=enabled"]));
    }
    let cases = [
        ("on", "none", true),
        ("on", "enabled", true),
        ("on", "disabled", false),
        ("off", "none", false),
        ("off", "enabled", true),
        ("off", "disabled", false),
        ("legacy", "enabled", false),
        ("kube-system", "enabled", false),
        ("rescind-system", "enabled", false),
    ];
    let attempt = |namespace: &str, label: &str| {
        let labels = if label == "none" { json!({}) } else { json!({"rescind.dev/inject": label}) };
        cluster.create(cluster.0.kubeconfig(), &pod("app", namespace, &labels), &["--dry-run=server"])
    };
    // The API server takes a new webhook into account a moment later.
    wait_until("the webhook is asked", || {
        String::from_utf8_lossy(&attempt("on", "none").stderr).contains(asked)
    });
    for (namespace, label, wanted) in cases {
        let said = String::from_utf8_lossy(&attempt(namespace, label).stderr).into_owned();
        assert_eq!(said.contains(asked), wanted, "a pod labelled {label} in {namespace}: {said}");
        // One entry asks, not both.
        let entry =
            if namespace == "on" { "namespace.injector.rescind.dev" } else { "pod.injector.rescind.dev" };
        assert_eq!(said.contains(entry), wanted, "{said}");
    }
}

/// The policies name the release's namespace and no other.
#[test]
fn only_the_releases_own_account_writes_statuses() {
    let cluster = Cluster::start();
    let elsewhere = "--namespace=elsewhere";
    done(&cluster.helm(&["install", "rescind", "charts/rescind", elsewhere, "--create-namespace"]));
    cluster.wait_until_served();
    cluster.make(&revocation("default"));
    let patch =
        ["patch", "revocation", "ticket-4711", "--namespace=default", "--subresource=status", "--type=merge"];
    let patch =
        [&patch[..], &[r#"--patch={"status":{"target":"subject alice"}}"#, "--dry-run=server"]].concat();
    let policy = "ValidatingAdmissionPolicy 'rescind-status'";
    // The administrator may, as far as rights go.
    let administrator = || String::from_utf8_lossy(&cluster.kubectl(&patch).stderr).into_owned();
    wait_until("the policy is in force", || administrator().contains(policy));
    let account = |namespace: &str| {
        let user = format!("system:serviceaccount:{namespace}:rescind-controller");
        let groups = if namespace == "elsewhere" { &[][..] } else { &["system:masters"] };
        cluster.0.kubectl_with(&cluster.0.kubeconfig_as(&user, groups), &patch, "")
    };
    done(&account("elsewhere"));
    assert!(refused(&account("rescind-system")).contains(policy));
}

#[test]
fn the_controllers_have_a_share_of_the_api_server_of_their_own() {
    let cluster = Cluster::with_chart();
    let uid = |kind: &str| cluster.get(&[kind, "rescind"])["metadata"]["uid"].as_str().unwrap().to_owned();
    let (schema, level) = (uid("flowschema"), uid("prioritylevelconfiguration"));
    let said = |user: &str| {
        let user = cluster.0.kubeconfig_as(user, &[]);
        let output = cluster.0.kubectl_with(&user, &["get", "namespace", "default", "--v=9"], "");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    wait_until("the flow schema is in force", || {
        let said = said("system:serviceaccount:rescind-system:rescind-controller");
        said.contains(&schema) && said.contains(&level)
    });
    assert!(!said("system:serviceaccount:shop:rescind-controller").contains(&level));
}
