//! Injection: what a pod becomes that is to have a sidecar.
//!
//! [`pod::inject`] is a function of the pod, the settings and the place where the pod is to run. The webhook and
//! `rescind inject` both call it, so that what a cluster does can be read beforehand.
//!
//! **Shape**: pods are JSON values and not types, for a field that this program does not know must come out as it went in.

pub mod annotations;
mod container;
pub mod extra;
pub mod patch;
pub mod pod;
pub mod quantity;
pub mod refusal;
pub mod settings;
pub mod workload;

#[cfg(test)]
mod tests;

/// The label of namespaces and pods that says whether pods are injected.
pub const LABEL: &str = "rescind.dev/inject";
/// The annotation that an injected pod has; its value is the version that has injected it.
pub const MARK: &str = "rescind.dev/injected";
/// The name of the sidecar's container.
pub const CONTAINER: &str = "rescind-sidecar";
/// The namespace of Kubernetes' own parts, in which no pod is ever injected: a cluster must come up without us.
pub const SYSTEM_NAMESPACE: &str = "kube-system";
/// Where the sidecar tells of itself: probes and metrics.
pub const PROBE_PORT: u16 = 7404;
/// What that port is called in the sidecar's container.
pub const PROBE_PORT_NAME: &str = "rescind-probes";
/// The `ConfigMap` with the authorities that the sidecar trusts, and its key.
pub const TRUST_CONFIG_MAP: (&str, &str) = ("rescind-ca", "ca.crt");
/// The most lists that one sidecar follows.
pub const MAX_LISTS: usize = 64;

/// A volume that injection adds, and where it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Volume {
    name: &'static str,
    path: &'static str,
}

/// The sockets of the sidecar.
const SOCKET: Volume = Volume { name: "rescind-socket", path: "/run/rescind" };
/// Snapshots and hash keys; for the sidecar alone.
const DATA: Volume = Volume { name: "rescind-data", path: "/var/lib/rescind" };
/// The sidecar's token and whom it trusts; for the sidecar alone.
const TRUST: Volume = Volume { name: "rescind-trust", path: "/run/rescind-trust" };
const VOLUMES: [Volume; 3] = [SOCKET, DATA, TRUST];
