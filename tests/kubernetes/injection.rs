//! Injection by a real API server: the configuration of the examples, with the webhook's address and authority put in.

use std::path::PathBuf;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rescind::api::manifest;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::cluster::{blocks, done, in_project, refused};
use crate::lab::{ACCOUNT, ACCOUNT_GROUPS, Lab, PATIENCE};
use crate::support::control_plane::ControlPlane;
use crate::support::issue::now;
use crate::support::lab::{CONTROLLER, Process};
use crate::support::metrics::{metric, metric_where};
use crate::support::wait::wait_for;

const CONFIGURATION: &str = "rescind-injector";
const SIDECAR: &str = "rescind-sidecar";

/// A control plane whose pods are injected by a controller.
struct Injector {
    lab: Lab,
    controller: Option<Process>,
    /// The settings, as `rescind inject` takes them, too.
    settings: PathBuf,
}

impl Injector {
    async fn start() -> Self {
        let lab = Lab::new().await;
        let settings = lab.path("injection.yaml");
        std::fs::copy(in_project("examples/injection.yaml"), &settings).unwrap();
        let authority = certify(&lab);
        let path = |name: &str| lab.path(name).display().to_string();
        // With the permissions of the examples: to inject takes none.
        let kubeconfig = lab.plane.kubeconfig_as(ACCOUNT, &ACCOUNT_GROUPS);
        let arguments = [
            "--kubernetes".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--listen={}", path("stream.sock")),
            "--health=127.0.0.1:0".to_owned(),
            "--webhook=127.0.0.1:0".to_owned(),
            format!("--injection={}", settings.display()),
            format!("--tls-cert={}", path("server.pem")),
            format!("--tls-key={}", path("server-key.pem")),
            format!("--tls-publish-ca={}", path("authority.pem")),
        ];
        std::fs::write(path("authority.pem"), &authority).unwrap();
        let controller = Process::start("controller", CONTROLLER, &arguments).await.unwrap();
        let injector = Self { lab, settings, controller: None };
        injector.configure(controller.address("webhook"), &authority);
        Self { controller: Some(controller), ..injector }
    }

    /// Applies the configuration of the examples, for a webhook that is no service of the cluster.
    fn configure(&self, address: &str, authority: &str) {
        let text = std::fs::read_to_string(in_project("examples/kubernetes/injector.yaml")).unwrap();
        let mut configuration = manifest::value("injector.yaml", &text).unwrap();
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap().to_owned();
            let url = format!("https://{address}{path}");
            webhook["clientConfig"] = json!({"url": url, "caBundle": STANDARD.encode(authority)});
        }
        self.lab.apply(&configuration);
    }

    /// Makes a namespace in which pods can be created, as a controller-manager would.
    fn namespace(&self, name: &str, labels: &[&str]) {
        if name != "kube-system" && name != "rescind-system" {
            self.lab.kubectl(&["create", "namespace", name]);
        }
        for label in labels {
            self.lab.kubectl(&["label", "namespace", name, label]);
        }
        self.lab.kubectl(&["create", "serviceaccount", "default", "--namespace", name]);
    }

    fn create(&self, manifest: &Value, arguments: &[&str]) -> Output {
        let plane: &ControlPlane = &self.lab.plane;
        let arguments = [&["create", "--filename=-", "--output=json"], arguments].concat();
        block_in_place(|| plane.kubectl_with(plane.kubeconfig(), &arguments, &manifest.to_string()))
    }

    /// Creates a pod; returns what the API server has stored.
    fn created(&self, manifest: &Value) -> Value {
        serde_json::from_str(&done(&self.create(manifest, &[]))).unwrap()
    }

    /// Creates a pod once the API server knows the configuration, which takes it a moment.
    fn until_injected(&self, manifest: &Value) -> Value {
        block_in_place(|| {
            crate::cluster::wait_until("pods are injected", || {
                let output = self.create(manifest, &["--dry-run=server"]);
                let pod: Value = serde_json::from_str(&done(&output)).unwrap();
                has_sidecar(&pod)
            });
        });
        self.created(manifest)
    }

    fn log(&self) -> String {
        self.controller.as_ref().unwrap().child.log()
    }
}

/// Writes a certificate for loopback and its key; returns the authority.
fn certify(lab: &Lab) -> String {
    let authority_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(parameters, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(lab.path("server.pem"), certificate.pem()).unwrap();
    std::fs::write(lab.path("server-key.pem"), key.serialize_pem()).unwrap();
    authority
}

/// A pod that keeps to the restricted Pod Security Standard by itself.
fn pod(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": "app:1",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

fn labelled(mut pod: Value, label: &str) -> Value {
    pod["metadata"]["labels"] = json!({"rescind.dev/inject": label});
    pod
}

fn annotated(mut pod: Value, name: &str, value: &str) -> Value {
    pod["metadata"]["annotations"] = json!({name: value});
    pod
}

fn has_sidecar(pod: &Value) -> bool {
    pod["spec"]["initContainers"][0]["name"] == SIDECAR
}

/// The files are replaced as a certificate's keeper does, and nothing is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn pods_are_injected_and_counted_also_after_the_certificate_of_the_webhook_was_replaced() {
    let injector = Injector::start().await;
    injector.namespace("enabled", &["rescind.dev/inject=enabled"]);
    injector.until_injected(&pod("before", "enabled"));
    let health = injector.controller.as_ref().unwrap().address("health").to_owned();
    let injected =
        async || metric_where(&health, "rescind_injections_total", &[("outcome", "injected")]).await;
    let before = injected().await;
    assert!(before >= 1.0, "{before}");
    assert!(metric(&health, "rescind_serving_certificate_expiry_timestamp_seconds").await > now() as f64);

    let authority = certify(&injector.lab).replace('\r', "");
    std::fs::write(injector.lab.path("authority.pem"), &authority).unwrap();
    let path = "--output=jsonpath={.webhooks[0].clientConfig.caBundle}";
    wait_for("the API server is told of the new authority", PATIENCE, async || {
        let told = injector.lab.kubectl(&["get", "mutatingwebhookconfiguration", CONFIGURATION, path]);
        let told = String::from_utf8(STANDARD.decode(told.trim()).unwrap()).unwrap().replace('\r', "");
        if told.contains(authority.trim()) { Ok(()) } else { Err(format!("{told}\n{}", injector.log())) }
    })
    .await;
    // The old certificate is good for nobody who trusts the new authority alone.
    injector.until_injected(&pod("after", "enabled"));
    assert!(injected().await > before, "{}", injector.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_injected_by_label_and_what_the_api_server_stores_is_what_the_command_shows() {
    let injector = Injector::start().await;
    injector.namespace(
        "enabled",
        &["rescind.dev/inject=enabled", "pod-security.kubernetes.io/enforce=restricted"],
    );
    injector.namespace("shop", &[]);
    let page = "docs/reference/annotations.md";
    let test = "pods_are_injected_by_label_and_what_the_api_server_stores_is_what_the_command_shows";
    let [label] = &blocks(page, test)[..] else { panic!("{page} shows another number of commands") };
    done(&injector.lab.plane.shell(std::path::Path::new("."), label));
    injector.until_injected(&pod("web", "shop"));
    injector.namespace("plain", &["pod-security.kubernetes.io/enforce=restricted"]);
    let seen = injector.until_injected(&pod("web", "enabled"));
    let sidecar = &seen["spec"]["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["args"][1], "--list=enabled/shop");
    // The token of Kubernetes is put into every container that it finds; this one has no use for it.
    let paths = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        mounts.map(|mount| mount["mountPath"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(sidecar), ["/run/rescind", "/var/lib/rescind", "/run/rescind-trust"]);
    assert!(paths(&seen["spec"]["containers"][0]).iter().any(|path| path.contains("serviceaccount")));

    assert!(has_sidecar(&injector.created(&labelled(pod("asks", "plain"), "enabled"))));
    assert!(!has_sidecar(&injector.created(&pod("does-not", "plain"))));
    assert!(!has_sidecar(&injector.created(&labelled(pod("refuses", "enabled"), "disabled"))));
    for namespace in ["kube-system", "rescind-system"] {
        injector.namespace(namespace, &["rescind.dev/inject=enabled"]);
        assert!(!has_sidecar(&injector.created(&labelled(pod("own", namespace), "enabled"))));
    }

    // The same by the command, in a namespace whose pods are not injected.
    let mut command = Command::new(env!("CARGO_BIN_EXE_rescind"));
    let manifest = injector.lab.path("pod.json");
    std::fs::write(&manifest, pod("by-hand", "plain").to_string()).unwrap();
    command.args(["inject", "--filename"]).arg(&manifest).arg("--injection").arg(&injector.settings);
    let shown = done(&command.output().unwrap());
    let by_hand = injector.created(&serde_json::from_str(&shown).unwrap());
    let mut sidecar = sidecar.clone();
    sidecar["args"][1] = json!("--list=plain/shop");
    let mut own = by_hand["spec"]["initContainers"][0].clone();
    // Nobody has taken this one away again.
    own["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["mountPath"].as_str().unwrap().contains("secrets"));
    assert_eq!(own, sidecar);
}

/// Of a namespace without the label only the webhook knows that a pod there mounts the ConfigMap. Namespaces go and come
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_whose_pods_ask_for_sidecars_has_the_authorities_each_time() {
    let injector = Injector::start().await;
    injector.namespace("plain", &[]);
    let config_map = ["configmap", "rescind-ca", "--namespace=plain"];
    for name in ["first", "second"] {
        injector.until_injected(&labelled(pod(name, "plain"), "enabled"));
        block_in_place(|| {
            crate::cluster::wait_until("the authorities are there", || {
                let get = [&["get"], &config_map[..]].concat();
                injector.lab.plane.kubectl(&get).status.success()
            });
            injector.lab.kubectl(&[&["delete"], &config_map[..]].concat());
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_changed_afterwards_is_asked_about_again_and_a_wrong_one_is_refused() {
    let injector = Injector::start().await;
    injector.namespace("shop", &["rescind.dev/inject=enabled"]);
    injector.lab.apply(&json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits", "namespace": "shop"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}}]},
    }));
    let seen = injector.until_injected(&pod("web", "shop"));
    let init = seen["spec"]["initContainers"].as_array().unwrap();
    assert_eq!((init.len(), &init[0]["name"]), (1, &json!(SIDECAR)));
    assert_eq!(init[0]["resources"]["limits"], json!({"cpu": "500m", "memory": "256Mi"}));
    assert_eq!(seen["spec"]["volumes"].as_array().unwrap().len(), 4);
    let log = injector.log();
    let asked = |line: &&str| line.contains(r#""pod":"web""#) && line.contains(r#""dry_run":false"#);
    assert_eq!(log.lines().filter(asked).count(), 2, "{log}");

    let again = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "again", "namespace": "shop", "annotations": seen["metadata"]["annotations"]},
        "spec": seen["spec"],
    });
    assert_eq!(injector.created(&again)["spec"], seen["spec"]);

    let wrong = annotated(pod("wrong", "shop"), "rescind.dev/list", "shop");
    assert_eq!(
        refused(&injector.create(&wrong, &[])),
        "The request is invalid: error when creating \"STDIN\": admission webhook \"namespace.injector.rescind.dev\" denied \
         the request: annotation rescind.dev/list is not known: rescind.dev/lists, rescind.dev/bound, \
         rescind.dev/log-level, rescind.dev/mount-socket, rescind.dev/forward-auth-port, rescind.dev/sidecar-cpu-request, \
         rescind.dev/sidecar-cpu-limit, rescind.dev/sidecar-memory-request, rescind.dev/sidecar-memory-limit are; see \
         the spelling, or leave it out"
    );
    let foreign = annotated(pod("foreign", "shop"), "rescind.dev/bound", "0");
    assert!(
        refused(&injector.create(&foreign, &["--dry-run=server"]))
            .contains("write whole seconds from 2 to 3600")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_webhook_is_away_its_failure_policy_decides() {
    let mut injector = Injector::start().await;
    injector.namespace("shop", &["rescind.dev/inject=enabled"]);
    injector.until_injected(&pod("before", "shop"));
    injector.controller.take().unwrap().child.kill().await.unwrap();
    assert!(!has_sidecar(&injector.created(&pod("ignored", "shop"))));
    let fail: Vec<Value> = (0..2)
        .map(|index| json!({"op": "replace", "path": format!("/webhooks/{index}/failurePolicy"), "value": "Fail"}))
        .collect();
    let patch = format!("--patch={}", Value::Array(fail));
    let kind = "mutatingwebhookconfiguration";
    injector.lab.kubectl(&["patch", kind, CONFIGURATION, "--type=json", &patch]);
    let mut said = String::new();
    block_in_place(|| {
        crate::cluster::wait_until("pods are refused", || {
            let output = injector.create(&pod("refused", "shop"), &["--dry-run=server"]);
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            !output.status.success()
        });
    });
    assert!(said.contains("failed calling webhook \"namespace.injector.rescind.dev\""), "{said}");
    assert!(!has_sidecar(&injector.created(&labelled(pod("goes-on", "shop"), "disabled"))));
}
