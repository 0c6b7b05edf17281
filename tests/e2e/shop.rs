//! The workload: Envoy as in the examples, before an application that says yes.

use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{Cluster, ENVOY, VERSION};
use crate::support::issue::{AUDIENCE, ISSUER, Keys, LIFETIME_SECONDS};

/// The port of Envoy.
pub(crate) const PORT: u16 = 8080;
/// What the application says.
pub(crate) const WELCOME: &str = "welcome to the shop";

/// Returns the name of one of our images.
pub(crate) fn image(name: &str) -> String {
    format!("rescind-{name}:{VERSION}")
}

/// Returns what the policy "restricted" wants of a pod.
pub(crate) fn pod_security() -> Value {
    json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
}

/// Returns what the policy "restricted" wants of a container, and nothing to write to.
pub(crate) fn container_security() -> Value {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

/// Returns a namespace in which only pods run that the policy "restricted" lets pass.
pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    })
}

/// Returns such a namespace whose pods get sidecars.
pub(crate) fn injected_namespace(name: &str) -> Value {
    let mut namespace = namespace(name);
    namespace["metadata"]["labels"]["rescind.dev/inject"] = json!("enabled");
    namespace
}

/// Returns a list without anything that has a default.
pub(crate) fn list(namespace: &str, name: &str, keys: &Keys) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "TokenRevocationList",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"issuers": [{
            "issuer": ISSUER, "audiences": [AUDIENCE], "maxTokenLifetimeSeconds": LIFETIME_SECONDS,
            "verification": {"keys": keys.public()},
        }]},
    })
}

/// Returns the ConfigMap `envoy`: the configurations of Envoy and of the application, which is another Envoy.
pub(crate) fn configuration(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "envoy", "namespace": namespace},
        "data": {"envoy.yaml": example(), "application.yaml": application(8081).to_string()},
    })
}

/// Returns the same with an Envoy that asks nobody.
pub(crate) fn configuration_without_check(namespace: &str) -> Value {
    let mut configuration = configuration(namespace);
    configuration["data"]["envoy.yaml"] = json!(application(PORT).to_string());
    configuration
}

/// Returns a Deployment of Envoy and the application, whose pods follow a list.
pub(crate) fn deployment(namespace: &str, name: &str, list: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"rescind.dev/lists": list}},
                "spec": {
                    "securityContext": pod_security(), "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": containers(&[]),
                    "volumes": [volume()],
                },
            },
        },
    })
}

/// Returns the Service `name-port` for such a Deployment, on a port of the node: a way that leads past the API server.
pub(crate) fn service(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("{name}-{port}"), "namespace": namespace},
        "spec": {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": port}]},
    })
}

/// Runs such a Deployment `shop`, which follows a list of that name, and its Service; returns where the node leads to it.
pub(crate) fn run(cluster: &Cluster, namespace: &str, keys: &Keys, replicas: u32) -> String {
    cluster.apply(&[injected_namespace(namespace)]);
    cluster.apply(&[
        list(namespace, "shop", keys),
        configuration(namespace),
        deployment(namespace, "shop", "shop", replicas),
        service(namespace, "shop", PORT),
    ]);
    cluster.wait(namespace, "deployment/shop", "Available");
    cluster.node_port(namespace, &format!("shop-{PORT}"))
}

/// Returns good tokens of two users.
pub(crate) fn alice_and_bob(keys: &Keys) -> [String; 2] {
    ["alice", "bob"].map(|subject| keys.token(&json!({"sub": subject, "sid": subject})))
}

/// Returns the containers of Envoy and of the application. They need the volume `envoy`.
pub(crate) fn containers(mounts: &[Value]) -> Value {
    let container = |name: &str, port: u16, more: &[Value]| {
        let mut mounts = vec![json!({"name": "envoy", "mountPath": "/etc/envoy"})];
        mounts.extend_from_slice(more);
        json!({
            "name": name, "image": ENVOY, "imagePullPolicy": "Never",
            "args": ["-c", format!("/etc/envoy/{name}.yaml"), "--concurrency", "1", "--disable-hot-restart"],
            "ports": [{"containerPort": port}],
            "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
            "securityContext": container_security(), "volumeMounts": mounts,
        })
    };
    json!([container("envoy", PORT, mounts), container("application", 8081, &[])])
}

/// Returns the volume `envoy`.
pub(crate) fn volume() -> Value {
    json!({"name": "envoy", "configMap": {"name": "envoy"}})
}

/// Returns the example of the documentation, with the addresses that it has in a pod.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy/envoy.yaml");
    let mut text = std::fs::read_to_string(path).unwrap();
    let socket =
        |host: &str, port: u16| format!("{{ socket_address: {{ address: {host}, port_value: {port} }} }}");
    for (from, to) in [
        ("{ pipe: { path: envoy.sock } }", socket("0.0.0.0", PORT)),
        ("{ pipe: { path: upstream.sock } }", socket("127.0.0.1", 8081)),
        ("path: check.sock", "path: /run/rescind/check.sock".to_owned()),
    ] {
        assert!(text.contains(from), "the example has no {from} any more");
        text = text.replace(from, &to);
    }
    text
}

/// An application that says what it was told of the token.
fn application(port: u16) -> Value {
    let extension = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let heard = |name: &str| json!({"header": {"key": format!("heard-{name}"), "value": format!("%REQ(x-rescind-{name})%")}});
    let route = json!({
        "match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": WELCOME}},
        "response_headers_to_add": [heard("verdict"), heard("age-ms")],
    });
    json!({"static_resources": {"listeners": [{
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
        "filter_chains": [{"filters": [{
            "name": "http",
            "typed_config": {
                "@type": extension("network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": "application",
                "http_filters": [{"name": "router", "typed_config": {"@type": extension("http.router.v3.Router")}}],
                "route_config": {"virtual_hosts": [{"name": "application", "domains": ["*"], "routes": [route]}]},
            },
        }]}],
    }]}})
}
