//! The sidecar's container and volumes, as they are in every pod.
//!
//! Defaults of Kubernetes are written out, so that a pod that the API server has completed is still what was made here.

use serde_json::{Map, Value, json};

use super::annotations::Asked;
use super::settings::{Amounts, Settings};
use super::{CONTAINER, DATA, PROBE_PORT, PROBE_PORT_NAME, SOCKET, TRUST, TRUST_CONFIG_MAP, Volume};

/// The user and group of the image.
const USER: u32 = 65532;
/// How many times, a second apart, the sidecar may fail to be fresh before it is started again: a day, since a new one
/// would have to wait for the same controller.
const STARTUP_FAILURES: u32 = 86_400;

/// Makes the container. What others have set about resources that it does not set itself is left: defaults and limits of
/// a namespace are put in after a webhook has been asked.
pub(super) fn sidecar(asked: &Asked, settings: &Settings, before: Option<&Value>) -> Value {
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": PROBE_PORT, "scheme": "HTTP"},
            "periodSeconds": period,
            "failureThreshold": failures,
            "successThreshold": 1,
            "timeoutSeconds": 2,
        })
    };
    json!({
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        // With this, an init container is a sidecar: it goes on while the others run, and ends after them.
        "restartPolicy": "Always",
        "args": arguments(asked, settings),
        "env": environment(asked, settings),
        "ports": [{"name": PROBE_PORT_NAME, "containerPort": PROBE_PORT, "protocol": "TCP"}],
        "resources": resources(asked, before),
        "volumeMounts": [mount(SOCKET, Access::Write), mount(DATA, Access::Write), mount(TRUST, Access::Read)],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsGroup": USER,
            "runAsNonRoot": true,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        // Met once every list was proven: until then no other container starts.
        "startupProbe": probe("/startupz", 1, STARTUP_FAILURES),
        // Once met it stays met: that the controllers are away must not empty every Service.
        "readinessProbe": probe("/readyz", 5, 3),
        "livenessProbe": probe("/livez", 10, 6),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

fn environment(asked: &Asked, settings: &Settings) -> Vec<Value> {
    let mut variables = vec![
        json!({"name": "RUST_LOG", "value": asked.log_level.name()}),
        of_pod("POD_NAMESPACE", "metadata.namespace"),
        of_pod("POD_NAME", "metadata.name"),
    ];
    variables.extend(settings.extra_env.iter().map(|variable| json!(variable)));
    variables
}

fn of_pod(name: &str, field: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}})
}

fn arguments(asked: &Asked, settings: &Settings) -> Vec<String> {
    let mut arguments: Vec<String> =
        settings.controllers.iter().map(|uri| format!("--controller={uri}")).collect();
    arguments.extend(asked.lists.iter().map(|list| format!("--list={list}")));
    let (socket, trust) = (SOCKET.path, TRUST.path);
    arguments.extend([
        format!("--socket={socket}/check.sock"),
        format!("--http={socket}/auth.sock"),
        format!("--data={}", DATA.path),
        format!("--health={}:{PROBE_PORT}", settings.probe_address.text()),
        format!("--tls-ca={trust}/{}", TRUST_CONFIG_MAP.1),
        format!("--token-file={trust}/token"),
        "--identity=$(POD_NAMESPACE)/$(POD_NAME)".to_owned(),
    ]);
    arguments.extend(asked.forward_auth_port.map(|port| format!("--http=127.0.0.1:{port}")));
    arguments.extend(asked.bound_seconds.map(|seconds| format!("--bound={seconds}")));
    arguments.extend(settings.extra_args.iter().cloned());
    arguments
}

fn resources(asked: &Asked, before: Option<&Value>) -> Value {
    let amounts = |member: &str, ours: &Amounts| {
        let before = before.and_then(|container| container.get("resources")?.get(member)?.as_object());
        let mut amounts: Map<String, Value> = before.cloned().unwrap_or_default();
        for (name, amount) in [("cpu", &ours.cpu), ("memory", &ours.memory)] {
            if let Some(amount) = amount {
                amounts.insert(name.to_owned(), json!(amount));
            }
        }
        amounts
    };
    let mut resources = Map::new();
    for (member, ours) in [("requests", &asked.resources.requests), ("limits", &asked.resources.limits)] {
        let amounts = amounts(member, ours);
        if !amounts.is_empty() {
            resources.insert(member.to_owned(), Value::Object(amounts));
        }
    }
    Value::Object(resources)
}

enum Access {
    Read,
    Write,
}

fn mount(volume: Volume, access: Access) -> Value {
    let mut mount = json!({"name": volume.name, "mountPath": volume.path});
    if let (Access::Read, Some(members)) = (access, mount.as_object_mut()) {
        members.insert("readOnly".to_owned(), Value::Bool(true));
    }
    mount
}

/// Makes the mount that the other containers get: read-only, or they could put a socket of their own in its place.
pub(super) fn socket_mount() -> Value {
    mount(SOCKET, Access::Read)
}

/// Makes the volumes.
pub(super) fn volumes(settings: &Settings) -> [Value; 3] {
    let (config_map, key) = TRUST_CONFIG_MAP;
    [
        // On no disk, and with room for sockets alone.
        json!({"name": SOCKET.name, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        json!({"name": DATA.name, "emptyDir": {}}),
        json!({"name": TRUST.name, "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {
                    "audience": settings.audience,
                    "expirationSeconds": settings.token_expiration_seconds,
                    "path": "token",
                }},
                {"configMap": {"name": config_map, "items": [{"key": key, "path": key}]}},
            ],
        }}),
    ]
}
