//! One pod: whether it is injected, and what it is then.

use serde_json::{Map, Value, json};

use super::annotations::{self, Asked};
use super::refusal::{Refusal, named_like_ours};
use super::settings::Settings;
use super::{CONTAINER, LABEL, MARK, PROBE_PORT, SOCKET, SYSTEM_NAMESPACE, VOLUMES, container};

/// The kubelet's mark of a pod that it runs from a file of its own.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Where a pod is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// What the namespace says about its pods.
    pub asks: Asks,
    /// The namespace of the controllers, in which no pod is injected: they must start without themselves.
    pub controllers: &'a str,
}

/// Whether a namespace, or whoever speaks for it, wants its pods injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// All pods but those that are labelled otherwise.
    ForAll,
    /// Those alone that are labelled so.
    ForLabelled,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is left as it is.
    Left(Why),
    /// It has the sidecar. It may be the same as before.
    Injected(Value),
}

/// Why a pod is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Of its namespace.
    #[error("no pod is injected in kube-system and in the controllers' own namespace")]
    Namespace,
    /// Its label says so.
    #[error("its label {LABEL} is disabled")]
    Disabled,
    /// Nobody asks for it.
    #[error("neither its own label {LABEL} nor that of its namespace is enabled")]
    NotAsked,
    /// It shows what a kubelet runs from a file, and a change would be one of the picture alone.
    #[error("it is the mirror of a static pod, which no API server changes")]
    Mirror,
}

/// Gives a pod its sidecar, if it is to have one. A pod that was injected before gets what it should have now.
///
/// # Errors
/// [`Refusal`]: the pod asks for a sidecar and must not run without one, and can't have it as it is.
pub fn inject(pod: &Value, place: Place<'_>, settings: &Settings) -> Result<Outcome, Refusal> {
    if let Some(why) = left(pod, place)? {
        return Ok(Outcome::Left(why));
    }
    let annotations = members(pod, "metadata", "annotations");
    let names: Vec<&str> = others(pod).filter_map(|(_, container)| container["name"].as_str()).collect();
    let asked = annotations::read(&annotations, place.namespace, &names, settings)?;
    fits(pod, annotations.contains_key(MARK))?;
    injected(pod, annotations, &asked, settings).map(Outcome::Injected)
}

fn left(pod: &Value, place: Place<'_>) -> Result<Option<Why>, Refusal> {
    let label = pod.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL));
    if place.namespace == SYSTEM_NAMESPACE || place.namespace == place.controllers {
        return Ok(Some(Why::Namespace));
    }
    let is_asked = match label.map(|label| label.as_str().unwrap_or_default()) {
        Some("enabled") => true,
        Some("disabled") => return Ok(Some(Why::Disabled)),
        Some(other) => return Err(Refusal::Label { given: other.chars().take(64).collect() }),
        None => place.asks == Asks::ForAll,
    };
    if !is_asked {
        return Ok(Some(Why::NotAsked));
    }
    let annotations = pod.pointer("/metadata/annotations");
    Ok(annotations.and_then(|annotations| annotations.get(MIRROR)).map(|_| Why::Mirror))
}

/// Returns the members of an object within an object of the pod; none if it is not there.
fn members(pod: &Value, outer: &str, inner: &str) -> Map<String, Value> {
    let found = pod.get(outer).and_then(|object| object.get(inner)?.as_object());
    found.cloned().unwrap_or_default()
}

fn items<'a>(pod: &'a Value, member: &'static str) -> impl Iterator<Item = &'a Value> {
    pod.get("spec").and_then(|spec| spec.get(member)?.as_array()).into_iter().flatten()
}

/// The containers that are not ours, each with where it is.
fn others(pod: &Value) -> impl Iterator<Item = ([String; 3], &Value)> {
    let of = |member: &'static str| {
        let at = move |index: usize| ["spec".to_owned(), member.to_owned(), index.to_string()];
        (0..).zip(items(pod, member)).map(move |(index, container)| (at(index), container))
    };
    let of_init = of("initContainers").filter(|(_, container)| container["name"] != CONTAINER);
    of_init.chain(of("containers"))
}

/// Checks that nothing of the pod is in the way of what is to be added.
fn fits(pod: &Value, is_marked: bool) -> Result<(), Refusal> {
    if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
        return Err(Refusal::HostNetwork);
    }
    let system = pod.pointer("/spec/os/name").and_then(Value::as_str);
    if let Some(system) = system.filter(|system| *system != "linux") {
        return Err(Refusal::System { given: system.to_owned() });
    }
    // Ours is an init container; one that is not can't have been made here.
    if let Some(index) = items(pod, "containers").position(|container| container["name"] == CONTAINER) {
        return Err(Refusal::foreign(
            named_like_ours("container"),
            &["spec", "containers", &index.to_string()],
        ));
    }
    if !is_marked {
        nothing_is_named_like_ours(pod)?;
    }
    for (path, container) in others(pod) {
        let name = || container["name"].as_str().unwrap_or_default().to_owned();
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let taken = mounts.into_iter().find(|mount| {
            let at = mount["mountPath"].as_str().unwrap_or_default();
            !is_ours(mount) && at.trim_end_matches('/') == SOCKET.path
        });
        if let Some(mount) = taken {
            let text = |member: &str| mount[member].as_str().unwrap_or_default().to_owned();
            let (volume, at) = (text("name"), text("mountPath"));
            return Err(Refusal::PathTaken { container: name(), volume, at, path: path.to_vec() });
        }
        let mut ports = container["ports"].as_array().into_iter().flatten();
        if ports.any(|port| port["containerPort"] == PROBE_PORT && port["protocol"] != "UDP") {
            return Err(Refusal::PortTaken { container: name(), path: path.to_vec() });
        }
    }
    Ok(())
}

fn nothing_is_named_like_ours(pod: &Value) -> Result<(), Refusal> {
    if let Some(index) = items(pod, "initContainers").position(|container| container["name"] == CONTAINER) {
        let path = ["spec", "initContainers", &index.to_string()];
        return Err(Refusal::foreign(named_like_ours("init container"), &path));
    }
    if let Some(index) = items(pod, "volumes").position(is_ours) {
        let name = items(pod, "volumes").nth(index).and_then(|volume| volume["name"].as_str());
        let what = format!("volume {}", name.unwrap_or_default());
        return Err(Refusal::foreign(what, &["spec", "volumes", &index.to_string()]));
    }
    Ok(())
}

/// Tells whether a volume, or a mount of one, has a name that is ours.
fn is_ours(named: &Value) -> bool {
    VOLUMES.iter().any(|volume| named["name"] == volume.name)
}

fn injected(
    pod: &Value,
    mut annotations: Map<String, Value>,
    asked: &Asked,
    settings: &Settings,
) -> Result<Value, Refusal> {
    let mut pod = pod.clone();
    annotations.insert(MARK.to_owned(), json!(env!("CARGO_PKG_VERSION")));
    let metadata = pod.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.ok_or(Refusal::Malformed { field: "metadata" })?;
    metadata.insert("annotations".to_owned(), Value::Object(annotations));
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut);
    let spec = spec.ok_or(Refusal::Malformed { field: "spec" })?;
    let mut containers = take(spec, "containers");
    if containers.is_empty() {
        return Err(Refusal::Malformed { field: "spec.containers" });
    }
    let mut before = take(spec, "initContainers");
    for container in before.iter_mut().chain(&mut containers) {
        mount(container, asked)?;
    }
    let old = before.iter().find(|container| container["name"] == CONTAINER);
    // The first: whatever starts later, init containers among it, starts with a list.
    let mut init = vec![container::sidecar(asked, settings, old)];
    init.extend(before.into_iter().filter(|container| container["name"] != CONTAINER));
    let mut volumes = take(spec, "volumes");
    put(&mut volumes, container::volumes(settings));
    for (member, items) in [("containers", containers), ("initContainers", init), ("volumes", volumes)] {
        spec.insert(member.to_owned(), Value::Array(items));
    }
    Ok(pod)
}

fn take(spec: &mut Map<String, Value>, member: &str) -> Vec<Value> {
    match spec.remove(member) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// Gives a container the sockets, or takes them away: read-only, once, and no other volume of ours.
fn mount(container: &mut Value, asked: &Asked) -> Result<(), Refusal> {
    let wanted = asked.mounted.has(container["name"].as_str().unwrap_or_default());
    let container = container.as_object_mut().ok_or(Refusal::Malformed { field: "spec.containers" })?;
    let had_mounts = container.contains_key("volumeMounts");
    let mut mounts = take(container, "volumeMounts");
    let socket = container::socket_mount();
    let mut is_there = false;
    mounts.retain(|mount| {
        let keep = !is_ours(mount) || (wanted && !is_there && *mount == socket);
        is_there |= *mount == socket;
        keep
    });
    if wanted && !is_there {
        mounts.push(socket);
    }
    if had_mounts || !mounts.is_empty() {
        container.insert("volumeMounts".to_owned(), Value::Array(mounts));
    }
    Ok(())
}

/// Puts volumes in the place of those of their names, or at the end.
fn put(volumes: &mut Vec<Value>, ours: [Value; 3]) {
    for volume in ours {
        match volumes.iter_mut().find(|other| other.get("name") == volume.get("name")) {
            Some(other) => *other = volume,
            None => volumes.push(volume),
        }
    }
}
