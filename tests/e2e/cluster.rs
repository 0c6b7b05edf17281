//! The cluster that all tests of the process use, one after another, with our images in it.

use std::io::{BufRead, BufReader, Write};
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::control_plane::program;
use crate::support::tools::tool;

/// The version of the images.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The image of Envoy, which holds nothing else.
pub(crate) const ENVOY: &str = "envoy:test";
/// The command line.
const RESCIND: &str = env!("CARGO_BIN_EXE_rescind");
/// A folder of archives that `scripts/images` made. Without it, images are made of the programs that the tests were
/// built with.
const IMAGES: &str = "RESCIND_IMAGES";
/// What `scripts/setup-node --able` says where no node can run.
const UNABLE: i32 = 69;

/// A cluster that runs. It ends with the process, in whatever way that ends.
pub(crate) struct Cluster {
    // Its input is the life of the cluster.
    _holder: Child,
    folder: PathBuf,
}

/// The cluster, while no other test uses it.
pub(crate) struct Turn {
    /// For what outlives a borrow, and not the turn.
    pub(crate) cluster: &'static Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Turn {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

impl Cluster {
    /// Waits until no other test uses the cluster, and returns it, or nothing where the machine can't run one.
    ///
    /// # Panics
    /// If the machine can run one and something is missing or fails: a test that can run and does not has not passed.
    pub(crate) async fn take_turn() -> Option<Turn> {
        static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let cluster = CLUSTER.get_or_init(|| is_able().then(Self::start)).as_ref()?;
        Some(Turn { cluster, _turn: turn })
    }

    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("rescind-e2e-{}", std::process::id()));
        let mut holder = script("cluster")
            .arg("hold")
            .env("RESCIND_CLUSTER", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // An interrupt from the terminal leaves it time to end.
            .process_group(0)
            .spawn()
            .unwrap();
        // While it starts.
        let images = TempDir::with_prefix("rescind-images-").unwrap();
        let archives = archives(images.path());
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "scripts/cluster says above what is wrong");
        let cluster = Self { _holder: holder, folder };
        let mut load = script("cluster");
        succeed(load.arg("load").args(archives).env("RESCIND_CLUSTER", &cluster.folder));
        cluster
    }

    /// Runs `kubectl` as the administrator, and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        succeed(self.command(&program("kubectl")).args(arguments))
    }

    /// Returns `kubectl`, to be started.
    pub(crate) fn kubectl_command(&self) -> Command {
        self.command(&program("kubectl"))
    }

    /// Runs `kubectl`, and returns the objects that it prints.
    pub(crate) fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let printed = self.kubectl(&[arguments, &["--output=json"]].concat());
        let printed: Value = serde_json::from_str(&printed).unwrap();
        printed["items"].as_array().cloned().unwrap_or_else(|| vec![printed])
    }

    /// Returns the address of the node for this machine.
    pub(crate) fn address(&self) -> String {
        let path = "--output=jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}";
        self.kubectl(&["get", "nodes", path])
    }

    /// Returns the port of the node that leads to a Service of type NodePort.
    pub(crate) fn node_port(&self, namespace: &str, name: &str) -> String {
        let path = "--output=jsonpath={.spec.ports[0].nodePort}";
        format!("{}:{}", self.address(), self.kubectl(&["get", "service", name, "-n", namespace, path]))
    }

    /// Kills a program of the cluster, like `kube-apiserver`. It is started again when what is returned goes.
    pub(crate) fn kill(&self, program: &'static str) -> Killed<'_> {
        succeed(script("cluster").args(["kill", program]).env("RESCIND_CLUSTER", &self.folder));
        Killed { cluster: self, program }
    }

    /// Returns the path of the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Runs Helm.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Output {
        self.command(&tool("helm")).args(arguments).output().unwrap()
    }

    /// Runs commands as a user types them: with `kubectl`, its plugin `rescind`, and `helm` in the path.
    pub(crate) fn shell(&self, script: &str) -> Output {
        let folder = TempDir::with_prefix("rescind-path-").unwrap();
        let link = |program: &Path, name: &str| symlink(program, folder.path().join(name)).unwrap();
        link(&program("kubectl"), "kubectl");
        link(&tool("helm"), "helm");
        for name in ["rescind", "kubectl-rescind"] {
            link(Path::new(RESCIND), name);
        }
        let mut path = folder.path().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = self.command(Path::new("sh"));
        command.args(["-euc", script]).env("PATH", path).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.output().unwrap()
    }

    /// Runs our command line.
    pub(crate) fn rescind(&self, arguments: &[&str]) -> Output {
        self.command(Path::new(RESCIND)).args(arguments).output().unwrap()
    }

    /// Applies objects.
    pub(crate) fn apply(&self, objects: &[Value]) {
        let input: String = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        let applied = self.pipe(&["apply", "-f", "-"], &input);
        assert!(applied.status.success(), "{}", text(&applied.stderr));
    }

    /// Runs `kubectl` with an input.
    pub(crate) fn pipe(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.kubectl_command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kubectl = command.spawn().unwrap();
        kubectl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        kubectl.wait_with_output().unwrap()
    }

    /// Waits until a pod or Deployment of a namespace is ready or available.
    ///
    /// # Panics
    /// With what is to be seen of the namespace, if that takes longer than two minutes.
    pub(crate) fn wait(&self, namespace: &str, what: &str, condition: &str) {
        let condition = format!("--for=condition={condition}");
        let arguments = ["wait", "--namespace", namespace, what, &condition, "--timeout=120s"];
        let output = self.command(&program("kubectl")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{what}: {}\n{}", text(&output.stderr), self.seen(namespace));
    }

    /// Returns what is to be seen of a namespace: its pods, events and logs.
    pub(crate) fn seen(&self, namespace: &str) -> String {
        let asks: [&[&str]; 3] = [
            &["get", "pods", "--output=wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "--all-containers", "--prefix", "--tail=20", "--selector=!nobody-has-this"],
        ];
        let answers = asks.map(|ask| {
            let output = self
                .command(&program("kubectl"))
                .args(["--namespace", namespace])
                .args(ask)
                .output()
                .unwrap();
            format!("{}{}", text(&output.stdout), text(&output.stderr))
        });
        answers.join("\n")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.folder);
        command
    }
}

/// A program of the cluster that does not run.
pub(crate) struct Killed<'a> {
    cluster: &'a Cluster,
    program: &'static str,
}

impl Drop for Killed<'_> {
    fn drop(&mut self) {
        succeed(script("cluster").args(["start", self.program]).env("RESCIND_CLUSTER", &self.cluster.folder));
    }
}

/// Asks whether this machine can run a node. The answer no is written past the capture of output, so that it is seen.
pub(crate) fn is_able() -> bool {
    let output = script("setup-node").arg("--able").output().unwrap();
    if output.status.code() == Some(UNABLE) {
        let said = text(&output.stderr);
        drop(writeln!(std::io::stderr(), "\nSKIPPED, THE TESTS OF A WHOLE CLUSTER: {said}"));
        return false;
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    true
}

/// Returns the archives of all images; those that are made are in a folder.
fn archives(folder: &Path) -> Vec<PathBuf> {
    let ours = match std::env::var_os(IMAGES) {
        Some(ready) => Path::new(env!("CARGO_MANIFEST_DIR")).join(ready),
        None => {
            let programs = Path::new(RESCIND).parent().unwrap();
            succeed(script("images").arg("--programs").args([programs, folder]));
            folder.to_owned()
        }
    };
    succeed(script("images").args(["--pack", ENVOY]).args([&tool("envoy"), folder]));
    let images = ["rescind-controller", "rescind-sidecar", "rescind-cli"];
    let mut archives: Vec<PathBuf> = images.iter().map(|name| ours.join(format!("{name}.tar"))).collect();
    archives.push(folder.join("envoy.tar"));
    archives
}

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name))
}

/// Runs a command and returns what it prints.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
