//! The labels and annotations by which pods are injected.

use std::collections::BTreeMap;

/// Of namespaces and pods.
pub(super) const INJECT: &str = "rescind.dev/inject";
pub(super) const ENABLED: &str = "enabled";
pub(super) const DISABLED: &str = "disabled";
/// The annotation of a pod that has a sidecar.
pub(super) const INJECTED: &str = "rescind.dev/injected";

/// Returns what is wanted.
pub(super) fn of(labels: Option<&BTreeMap<String, String>>) -> Option<&str> {
    labels?.get(INJECT).map(String::as_str)
}
