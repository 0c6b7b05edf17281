//! The shared control plane with the definitions in place, namespaces for tests, and what `kubectl` says.

use std::fmt::Write;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::control_plane::ControlPlane;

/// Returns the shared control plane, with the definitions of the kinds in use.
pub(crate) fn cluster() -> &'static ControlPlane {
    static DEFINED: OnceLock<()> = OnceLock::new();
    let plane = ControlPlane::shared();
    DEFINED.get_or_init(|| {
        done(&plane.kubectl(&["apply", "--server-side", "--filename", &in_project("crds")]));
        for definition in ["revocations.rescind.dev", "tokenrevocationlists.rescind.dev"] {
            let arguments = ["wait", "--for=condition=Established", "customresourcedefinition", definition];
            done(&plane.kubectl(&arguments));
        }
        // Both are listed without "storage is (re)initializing" from here on.
        wait_until("the kinds are served", || {
            plane.kubectl(&["get", "revocations,tokenrevocationlists", "--all-namespaces"]).status.success()
        });
    });
    plane
}

/// Makes a namespace for one test.
pub(crate) fn namespace() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    done(&cluster().kubectl(&["create", "namespace", &name]));
    name
}

/// Returns the path of a file of the project.
pub(crate) fn in_project(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// Returns the blocks of commands of a page that a test is named for.
pub(crate) fn blocks(page: &str, test: &str) -> Vec<String> {
    let text = std::fs::read_to_string(in_project(page)).unwrap();
    let mark = format!("<!-- tested: {test} -->");
    text.split(&mark)
        .skip(1)
        .map(|rest| rest.split("```").nth(1).unwrap().trim_start_matches("sh\n").to_owned())
        .collect()
}

/// Returns what a successful command has printed.
///
/// # Panics
/// With what it said if it has failed.
pub(crate) fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns what a refused command has said, in an order that does not change.
///
/// # Panics
/// With what it printed if it was not refused.
pub(crate) fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "not refused: {}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let (mut causes, head): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("* "));
    causes.sort_unstable();
    [head, causes].concat().iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    let started = Instant::now();
    while !probe() {
        assert!(started.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A valid revocation, of a subject.
pub(crate) fn revocation(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1",
        "kind": "Revocation",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"listName": "shop", "issuer": "https://id.example.com", "target": {"subject": "alice"}},
    })
}

/// A valid list.
pub(crate) fn list(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1",
        "kind": "TokenRevocationList",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "issuers": [{
                "issuer": "https://id.example.com",
                "audiences": ["shop-api"],
                "maxTokenLifetimeSeconds": 3600,
                "verification": {"keys": [{
                    "kid": "k1", "kty": "EC", "crv": "P-256", "alg": "ES256",
                    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                }]},
            }],
            "selectors": [{"name": "subject-on-client", "claims": ["sub", "client_id"]}],
        },
    })
}

/// In place of a value: the member is taken away.
pub(crate) const ABSENT: &str = "(absent)";

/// Changes a member of an object, by its path with dots.
pub(crate) fn set(object: &mut Value, path: &str, value: &Value) {
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let parents = parents.split('.').filter(|name| !name.is_empty());
    let parent = parents.fold(object, |inner, name| match name.parse::<usize>() {
        Ok(index) => &mut inner[index],
        Err(_) => &mut inner[name],
    });
    match (value.as_str(), parent) {
        (Some(ABSENT), parent) => drop(parent.as_object_mut().unwrap().remove(last)),
        (_, Value::Array(items)) => items.insert(last.parse().unwrap(), value.clone()),
        (_, parent) => parent[last] = value.clone(),
    }
}

/// What was refused, with which words; kept beside the tests.
#[derive(Default)]
pub(crate) struct Refusals(String);

impl Refusals {
    /// Adds one.
    pub(crate) fn add(&mut self, title: &str, attempt: &str, output: &Output) {
        let shown: String = attempt.chars().take(300).collect();
        let cut = if shown.len() < attempt.len() { "..." } else { "" };
        writeln!(self.0, "## {title}\n{shown}{cut}\n\n{}\n", refused(output)).unwrap();
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
