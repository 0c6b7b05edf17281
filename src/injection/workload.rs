//! Objects with pods in them: a manifest's, as people write them.

use serde_json::Value;

use super::pod::{self, Asks, Outcome, Place, Why};
use super::refusal::Refusal;
use super::settings::Settings;

/// Where objects go that name no namespace, and who the controllers are.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The namespace of objects that name none.
    pub namespace: &'a str,
    /// The namespace of the controllers.
    pub controllers: &'a str,
}

/// What became of one pod, or of the template of pods, of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The object: its kind, namespace and name.
    pub object: String,
    /// Why it was left as it is; none if it was injected.
    pub left: Option<Why>,
}

/// Says which object is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {refusal}")]
pub struct Refused {
    /// The object: its kind, namespace and name.
    pub object: String,
    /// Why.
    pub refusal: Box<Refusal>,
    /// Where in the document.
    pub path: Vec<String>,
}

/// Gives every pod and every template of pods in an object its sidecar. Returns what it has seen; an object without
/// pods is left as it is, and nothing is seen there. How deep lists may be within lists is bounded by whoever has parsed
/// the object.
///
/// # Errors
/// [`Refused`] for the first pod that can't be injected.
pub fn inject(
    object: &mut Value,
    destination: Destination<'_>,
    settings: &Settings,
) -> Result<Vec<Seen>, Refused> {
    let mut seen = Vec::new();
    visit(object, &mut Vec::new(), &mut seen, destination, settings)?;
    Ok(seen)
}

fn visit(
    object: &mut Value,
    path: &mut Vec<String>,
    seen: &mut Vec<Seen>,
    destination: Destination<'_>,
    settings: &Settings,
) -> Result<(), Refused> {
    let text = |member: &str| object[member].as_str().unwrap_or_default();
    if text("kind").ends_with("List") && object["items"].is_array() {
        let items = object["items"].as_array_mut().into_iter().flatten();
        for (index, item) in items.enumerate() {
            path.extend(["items".to_owned(), index.to_string()]);
            visit(item, path, seen, destination, settings)?;
            path.truncate(path.len() - 2);
        }
        return Ok(());
    }
    let Some(below) = template(text("apiVersion"), text("kind")) else { return Ok(()) };
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or(destination.namespace).to_owned();
    let name = metadata["name"].as_str().or(metadata["generateName"].as_str()).unwrap_or_default();
    let shown = format!("{} {namespace}/{name}", text("kind"));
    let pod = below.iter().try_fold(&mut *object, |object, member| object.get_mut(*member));
    // The API server says what is missing.
    let Some(pod) = pod else { return Ok(()) };
    // A template may leave it out, and whoever runs this asks for all.
    if let Some(pod) = pod.as_object_mut() {
        pod.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    let place = Place { namespace: &namespace, asks: Asks::ForAll, controllers: destination.controllers };
    match pod::inject(pod, place, settings) {
        Ok(Outcome::Injected(injected)) => *pod = injected,
        Ok(Outcome::Left(why)) => {
            seen.push(Seen { object: shown, left: Some(why) });
            return Ok(());
        }
        Err(refusal) => {
            let within = below.iter().map(ToString::to_string).chain(refusal.path());
            let path = path.iter().cloned().chain(within).collect();
            return Err(Refused { object: shown, refusal: Box::new(refusal), path });
        }
    }
    seen.push(Seen { object: shown, left: None });
    Ok(())
}

/// Where a kind has its pod.
fn template(api_version: &str, kind: &str) -> Option<&'static [&'static str]> {
    match (api_version, kind) {
        ("v1", "Pod") => Some(&[]),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch/v1", "Job")
        | ("v1", "ReplicationController") => Some(&["spec", "template"]),
        ("batch/v1", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}
