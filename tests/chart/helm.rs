//! Helm with the chart, and what it renders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::tools::tool;

/// Returns the path of a file of the project.
pub(crate) fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the text of a file of the project.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(in_project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the text of a file of the chart.
pub(crate) fn read_chart(path: &str) -> String {
    read(&format!("charts/rescind/{path}"))
}

/// Runs Helm from the root of the project. What it keeps for itself goes into a folder that goes.
pub(crate) fn helm(kubeconfig: Option<&Path>, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool("helm"));
    command.args(arguments).current_dir(in_project("")).env("HOME", home.path());
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(folder, home.path());
    }
    command.env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")));
    command.output().unwrap()
}

/// Returns what a successful command has printed.
///
/// # Panics
/// With what it said if it has failed.
pub(crate) fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns what a refused command has said.
///
/// # Panics
/// With what it printed if it was not refused.
pub(crate) fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "not refused: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Renders the chart into the namespace `rescind-system`.
pub(crate) fn render(release: &str, arguments: &[&str]) -> String {
    let common = ["template", release, "charts/rescind", "--namespace=rescind-system"];
    done(&helm(None, &[&common, arguments].concat()))
}

/// Reads the objects of a text with several documents.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let read = serde_saphyr::from_multiple::<Value>(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    read.into_iter().filter(|object| !object.is_null()).collect()
}

/// Reads one document.
pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Returns the object of a kind and name.
///
/// # Panics
/// If it is not there exactly once.
pub(crate) fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut named =
        objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    match (named.next(), named.next()) {
        (Some(object), None) => object,
        (found, _) => panic!("{kind} {name}: {} found", if found.is_some() { "several" } else { "none" }),
    }
}
