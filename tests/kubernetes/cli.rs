//! The command line against a cluster: what it creates, what it waits for, and what it says when that fails.
//!
//! In most of them no controller runs: what one would write into the status, the tests write.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::PATIENCE;
use crate::support::control_plane::ControlPlane;
use crate::support::issue::{ISSUER, Keys};

mod doctor;
mod effects;
mod objects;
mod plugin;
mod refusals;
mod sidecars;
mod transcript;
mod transcripts;
mod waiting;

/// A namespace of its own in the control plane that all tests share, with the list `shop`.
struct Place {
    plane: &'static ControlPlane,
    namespace: String,
    keys: Keys,
    home: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
struct Seen {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Seen {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Seen {
    /// Returns the standard output of a command that has succeeded.
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Fails unless the command was refused with this on standard error.
    #[track_caller]
    fn refused(&self, expected: &str) {
        assert_eq!((self.code, self.out.as_str()), (1, ""), "{self:?}");
        assert_eq!(self.err, expected);
    }
}

fn crds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")
}

/// Returns the shared control plane, which knows our objects.
fn plane() -> &'static ControlPlane {
    static READY: OnceLock<&'static ControlPlane> = OnceLock::new();
    READY.get_or_init(|| {
        let plane = ControlPlane::shared();
        let folder = crds();
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", folder.to_str().unwrap()];
        Seen::from(plane.kubectl(&apply)).done();
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        Seen::from(plane.kubectl(&wait)).done();
        plane
    })
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("cli-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let place =
            Self { plane: plane(), namespace, keys: Keys::generate(), home: tempfile::tempdir().unwrap() };
        Seen::from(place.plane.kubectl(&["create", "namespace", &place.namespace])).done();
        place.declare("shop");
        place
    }

    fn declare(&self, name: &str) {
        self.apply(&json!({
            "apiVersion": "rescind.dev/v1alpha1", "kind": "TokenRevocationList",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"issuers": [{
                "issuer": ISSUER, "anyAudience": true, "maxTokenLifetimeSeconds": 3600,
                "requiredClaims": ["jti", "sub", "sid"],
                "verification": {"keys": self.keys.public()},
            }]},
        }));
    }

    fn apply(&self, object: &Value) {
        let kubeconfig = self.plane.kubeconfig();
        let applied = self.plane.kubectl_with(kubeconfig, &["create", "-f", "-"], &object.to_string());
        Seen::from(applied).done();
    }

    fn kubectl(&self, arguments: &str) -> String {
        let arguments: Vec<&str> = ["-n", &self.namespace].into_iter().chain(arguments.split(' ')).collect();
        Seen::from(self.plane.kubectl(&arguments)).done()
    }

    /// Reads an object, as a machine.
    fn get(&self, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&format!("get revocation {name} -o json"))).unwrap()
    }

    /// The names of all revocations.
    fn names(&self) -> Vec<String> {
        let names = self.kubectl("get revocations -o jsonpath={.items[*].metadata.name}");
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// Writes conditions as a controller would.
    fn say(&self, name: &str, conditions: &[(&str, &str, &str)], enforcement: &Value) {
        let condition = |(type_, status, message): &(&str, &str, &str)| {
            json!({
                "type": type_, "status": status, "reason": "Test", "message": message,
                "lastTransitionTime": "2026-11-21T10:00:00Z", "observedGeneration": 1,
            })
        };
        let conditions: Vec<Value> = conditions.iter().map(condition).collect();
        let patch = json!({"status": {"conditions": conditions, "enforcement": enforcement}}).to_string();
        let arguments = [
            "-n",
            &self.namespace,
            "patch",
            "revocation",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        Seen::from(self.plane.kubectl(&arguments)).done();
    }

    fn command(&self, kubeconfig: &Path, arguments: &str) -> Command {
        let mut command = rescind(self.home.path());
        command.env("KUBECONFIG", kubeconfig).args(arguments.split(' '));
        command.args(["--namespace", &self.namespace]);
        command
    }

    /// Runs a command to its end, as the administrator.
    fn run(&self, arguments: &str) -> Seen {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &str, input: &str) -> Seen {
        finish(self.command(self.plane.kubeconfig(), arguments), input)
    }

    /// Starts a command, and reads its object's name as soon as it is there.
    fn start(&self, arguments: &str) -> (Child, String) {
        let mut command = self.command(self.plane.kubeconfig(), arguments);
        let before = self.names();
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let name =
            until("an object is created", || self.names().into_iter().find(|name| !before.contains(name)));
        (child, name)
    }
}

/// The program, with no settings but its own.
fn rescind(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rescind"));
    command.env_clear().env("HOME", home).stdin(Stdio::null());
    command
}

fn finish(mut command: Command, input: &str) -> Seen {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that reads no input may be gone before it is written.
    drop(std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()));
    child.wait_with_output().unwrap().into()
}

/// Asks until there is something.
fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < 2 * PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}
