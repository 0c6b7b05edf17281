//! The metrics of both processes: names, units and labels in one place. Labels are bounded.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// What all our metrics start with.
pub const PREFIX: &str = "rescind";

/// A list. Lists are declared by operators, so they are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListLabels {
    /// `namespace/name`.
    pub list: String,
}

/// Makes a registry that says what runs.
#[must_use]
pub fn registry(component: &'static str) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION")), ("component", component)]);
    registry.register("build", "What runs", build);
    registry
}
