//! Why a pod is not injected although it asks for it: such a pod must not run without a sidecar, either.

use super::{CONTAINER, LABEL, MARK, PROBE_PORT};

/// Says why a pod is refused, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The label is there and says nothing that is known.
    #[error("label {LABEL} is {given:?}: write enabled or disabled, or leave it out")]
    Label {
        /// Its value.
        given: String,
    },
    /// An annotation of our own that does not exist.
    #[error("annotation {name} is not known: {allowed} are; see the spelling, or leave it out")]
    UnknownAnnotation {
        /// Its name.
        name: String,
        /// Those that are known.
        allowed: String,
    },
    /// The value of an annotation can't be used.
    #[error("annotation {name} is {given:?}: {problem}")]
    Annotation {
        /// Its name.
        name: &'static str,
        /// Its value, cut to what people can read.
        given: String,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// Nobody says which lists the sidecar is to follow.
    #[error(
        "annotation rescind.dev/lists is missing, and the settings of the injection name no defaultLists: name the lists \
         that the sidecar is to follow, as NAMESPACE/NAME, or NAME in the pod's namespace, with commas in between"
    )]
    NoLists,
    /// The pod shares the network of its node.
    #[error(
        "spec.hostNetwork is true, and of all pods of a node only one could have port {PROBE_PORT} then: give the pod a \
         network of its own, or label it {LABEL}: disabled, and run a sidecar for it by other means"
    )]
    HostNetwork,
    /// The pod is for another system.
    #[error(
        "spec.os.name is {given:?}, and the sidecar runs on linux alone: label the pod {LABEL}: disabled"
    )]
    System {
        /// The system.
        given: String,
    },
    /// Something of the pod has a name that is ours.
    #[error(
        "{what} has a name that is kept for the sidecar, and the pod has no annotation {MARK}: rename it, or label the \
         pod {LABEL}: disabled"
    )]
    Foreign {
        /// What it is, with its name.
        what: String,
        /// Where it is.
        path: Vec<String>,
    },
    /// A container is mounted where the sidecar's sockets go.
    #[error(
        "container {container} mounts volume {volume} at {at}, where the sidecar's sockets go: mount it elsewhere"
    )]
    PathTaken {
        /// The container.
        container: String,
        /// What it mounts.
        volume: String,
        /// Where.
        at: String,
        /// Where it is.
        path: Vec<String>,
    },
    /// A container has the sidecar's port.
    #[error(
        "container {container} has port {PROBE_PORT}, which the sidecar needs for its probes: choose another"
    )]
    PortTaken {
        /// The container.
        container: String,
        /// Where it is.
        path: Vec<String>,
    },
    /// The pod is none.
    #[error("{field} is missing, or is not what a pod has there")]
    Malformed {
        /// The field.
        field: &'static str,
    },
}

impl Refusal {
    pub(super) fn foreign(what: impl Into<String>, path: &[&str]) -> Self {
        Self::Foreign { what: what.into(), path: path.iter().map(ToString::to_string).collect() }
    }

    /// Returns where in the pod it is.
    #[must_use]
    pub fn path(&self) -> Vec<String> {
        let below = |path: &[&str]| path.iter().map(ToString::to_string).collect();
        match self {
            Self::Label { .. } => below(&["metadata", "labels", LABEL]),
            Self::UnknownAnnotation { name, .. } => below(&["metadata", "annotations", name]),
            Self::Annotation { name, .. } => below(&["metadata", "annotations", name]),
            Self::NoLists => below(&["metadata"]),
            Self::HostNetwork => below(&["spec", "hostNetwork"]),
            Self::System { .. } => below(&["spec", "os", "name"]),
            Self::Foreign { path, .. } | Self::PathTaken { path, .. } | Self::PortTaken { path, .. } => {
                path.clone()
            }
            Self::Malformed { field } => field.split('.').map(ToOwned::to_owned).collect(),
        }
    }
}

/// Returns what is said of a container that stands where no sidecar of ours is.
pub(super) fn named_like_ours(kind: &str) -> String {
    format!("{kind} {CONTAINER}")
}
