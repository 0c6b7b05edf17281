//! A real control plane: etcd and one or more API servers, in a folder and on ports of their own.
//!
//! The library's own tests include this file too, so it uses nothing of the project and of the other support.
//!
//! No controller-manager runs: namespaces are not emptied, quotas are not counted, and no ServiceAccount is made by
//! itself.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test binary has its own copy, uses a part of it, and fails by panicking"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use super::tools::provided;

/// How often a server is asked whether it is ready, and how many times: longer than it takes on a busy machine.
const POLL: Duration = Duration::from_millis(100);
const POLLS: u32 = 1800;
/// The token of the administrator.
pub(crate) const TOKEN: &str = "administrator";
/// Starts a program, prints its process id, and kills it when the standard input ends: when its owner drops it, and
/// also when the owner's process dies in whatever way, statics included.
const GUARD: &str =
    r#"log=$1; shift; "$@" >>"$log" 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; wait"#;
/// Removes a folder when the standard input ends. Programs that still write there are just being killed.
const SWEEPER: &str =
    r#"cat >/dev/null; for _ in 1 2 3 4 5 6 7 8 9; do rm -rf -- "$1" && break; sleep 0.2; done"#;

/// A control plane. Dropping it ends its programs and removes its folder, and so does the end of the process.
pub(crate) struct ControlPlane {
    // Dropped in this order: the folder goes when nobody writes there any more.
    api_server: ApiServer,
    etcd: Server,
    folder: PathBuf,
    sweeper: Guard,
}

/// Whether what etcd has acknowledged is on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// It is.
    Synced,
    /// It is with the system, which is enough where nothing pulls the plug, and faster.
    Unsynced,
}

impl ControlPlane {
    /// Starts etcd and an API server, and waits until they are ready.
    pub(crate) fn start() -> Self {
        Self::start_with(Durability::Synced)
    }

    /// The same, for what writes much and pulls no plug: what etcd has acknowledged is with the system alone.
    pub(crate) fn start_unsynced() -> Self {
        Self::start_with(Durability::Unsynced)
    }

    /// Returns the control plane that all tests of the process share: each takes a namespace of its own, and none
    /// stops a server.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_with(Durability::Unsynced))
    }

    fn start_with(durability: Durability) -> Self {
        let folder = tempfile::Builder::new().prefix("rescind-control-plane-").tempdir().unwrap().keep();
        let sweeper = Guard::new(Command::new("sh").args(["-c", SWEEPER, "sh"]).arg(&folder));
        write_credentials(&folder);
        let etcd = start_etcd(&folder, durability);
        let api_server = ApiServer::start_new(&folder, &etcd.url, 1);
        Self { api_server, etcd, folder, sweeper }
    }

    /// Returns the URL of the API server.
    pub(crate) fn url(&self) -> &str {
        &self.api_server.url
    }

    /// Returns the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.api_server.kubeconfig
    }

    /// Writes a kubeconfig for a user. A ServiceAccount's user (`system:serviceaccount:<namespace>:<name>`) is in
    /// the groups of all ServiceAccounts by itself.
    pub(crate) fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> PathBuf {
        self.write_kubeconfig(self.url(), Some((user, groups)))
    }

    /// Writes the administrator's kubeconfig for another address of an API server, like that of a proxy in between.
    pub(crate) fn kubeconfig_at(&self, url: &str) -> PathBuf {
        self.write_kubeconfig(url, None)
    }

    fn write_kubeconfig(&self, url: &str, user: Option<(&str, &[&str])>) -> PathBuf {
        let path = self.folder.join(format!("kubeconfig-{}", unique()));
        write(&path, &kubeconfig(&self.folder, url, user).to_string());
        path
    }

    /// Starts another API server on the same etcd, and waits until it is ready.
    pub(crate) fn add_api_server(&self) -> ApiServer {
        ApiServer::start_new(&self.folder, &self.etcd.url, unique() + 1)
    }

    /// Returns etcd.
    pub(crate) fn etcd(&self) -> &Server {
        &self.etcd
    }

    /// Returns the API server.
    pub(crate) fn api_server(&self) -> &ApiServer {
        &self.api_server
    }

    /// Returns the folder of etcd's data. Copy it, or put another in its place, while etcd is killed.
    pub(crate) fn etcd_data(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    /// Returns the private key (PEM) with which the API server signs tokens of ServiceAccounts.
    pub(crate) fn accounts_key(&self) -> String {
        std::fs::read_to_string(self.folder.join("accounts-key.pem")).unwrap()
    }

    /// Runs `kubectl` as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(self.kubeconfig(), arguments, "")
    }

    /// Runs a script as the administrator, in a folder whose programs are found before those of the system; it ends with
    /// the first command that fails.
    pub(crate) fn shell(&self, folder: &Path, script: &str) -> Output {
        let programs = program("kubectl").parent().unwrap().to_owned();
        Command::new("sh")
            .args(["-ec", script])
            .current_dir(folder)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.folder)
            .env("PATH", format!("{}:{}:/usr/bin:/bin", folder.display(), programs.display()))
            .output()
            .unwrap()
    }

    /// Runs `kubectl` with a kubeconfig and an input.
    pub(crate) fn kubectl_with(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Output {
        run_kubectl(&self.folder, kubeconfig, arguments, input)
    }
}

/// One API server.
pub(crate) struct ApiServer {
    server: Server,
    kubeconfig: PathBuf,
}

impl ApiServer {
    fn start_new(folder: &Path, etcd: &str, number: u32) -> Self {
        let port = Port::reserve();
        let url = format!("https://127.0.0.1:{}", port.number);
        let name = format!("kube-apiserver-{number}");
        let path = folder.join(format!("{name}.kubeconfig"));
        write(&path, &kubeconfig(folder, &url, None).to_string());
        let file = |name: &str| folder.join(name).display().to_string();
        let arguments = vec![
            format!("--etcd-servers={etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", port.number),
            // A loopback address can't be an endpoint of the service "kubernetes", and nobody needs one.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--tls-cert-file={}", file("server.pem")),
            format!("--tls-private-key-file={}", file("server-key.pem")),
            format!("--cert-dir={}", file(&name)),
            "--authorization-mode=Node,RBAC".to_owned(),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("accounts.pem")),
            format!("--service-account-signing-key-file={}", file("accounts-key.pem")),
            "--service-cluster-ip-range=10.96.0.0/24".to_owned(),
        ];
        let ready = Readiness::Kubernetes { kubeconfig: path.clone() };
        let program = program("kube-apiserver");
        let log = folder.join(format!("{name}.log"));
        let running = Mutex::new(None);
        let folder = folder.to_owned();
        let server =
            Server { name, program, arguments, folder, log, url, ready, running, _ports: vec![port] };
        server.start();
        Self { server, kubeconfig: path }
    }

    /// Returns the administrator's kubeconfig for this server.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs `kubectl` against this server, as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        run_kubectl(&self.folder, &self.kubeconfig, arguments, "")
    }
}

impl Deref for ApiServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// One program of a control plane. It keeps its port and its data while it is killed.
pub(crate) struct Server {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    log: PathBuf,
    url: String,
    ready: Readiness,
    running: Mutex<Option<Guard>>,
    _ports: Vec<Port>,
}

/// How one learns that a server is ready.
enum Readiness {
    /// etcd says so on its port.
    Etcd { port: u16 },
    /// An API server says so, and has made the namespace `default`.
    Kubernetes { kubeconfig: PathBuf },
}

impl Server {
    /// Returns its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> Pid {
        self.running.lock().unwrap().as_ref().and_then(|guard| guard.pid).unwrap()
    }

    /// Stops it as a paused machine is stopped: connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    pub(crate) fn kill(&self) {
        drop(self.running.lock().unwrap().take());
    }

    /// Starts it again on the same port and data, and waits until it is ready.
    pub(crate) fn start(&self) {
        self.begin();
        self.wait_until_ready();
    }

    /// Starts it again on the same port and data, and does not wait.
    pub(crate) fn begin(&self) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "{} runs", self.name);
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(&self.log).arg(&self.program).args(&self.arguments);
        let mut guard = Guard::new(command.current_dir(&self.folder).env("HOME", &self.folder));
        guard.read_pid();
        *running = Some(guard);
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// With the end of its log, if it ends or is not ready in time.
    pub(crate) fn wait_until_ready(&self) {
        for _ in 0..POLLS {
            if self.is_ready() {
                return;
            }
            let ended = test_kill_process(self.pid()).is_err();
            assert!(!ended, "{} has ended; its log ends with:\n{}", self.name, self.log_tail());
            std::thread::sleep(POLL);
        }
        panic!("{} is not ready; its log ends with:\n{}", self.name, self.log_tail());
    }

    fn is_ready(&self) -> bool {
        match &self.ready {
            Readiness::Etcd { port } => etcd_is_healthy(*port).unwrap_or(false),
            Readiness::Kubernetes { kubeconfig } => {
                let address = self.url.trim_start_matches("https://");
                let asks = [&["get", "--raw=/readyz"][..], &["get", "namespace", "default"]];
                TcpStream::connect(address).is_ok()
                    && asks.iter().all(|ask| run_kubectl(&self.folder, kubeconfig, ask, "").status.success())
            }
        }
    }

    /// Returns the end of what it has printed.
    pub(crate) fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

fn start_etcd(folder: &Path, durability: Durability) -> Server {
    let (client, peer) = (Port::reserve(), Port::reserve());
    let url = format!("http://127.0.0.1:{}", client.number);
    let peer_url = format!("http://127.0.0.1:{}", peer.number);
    let mut arguments = vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster=default={peer_url}"),
        "--log-level=warn".to_owned(),
    ];
    if durability == Durability::Unsynced {
        arguments.push("--unsafe-no-fsync".to_owned());
    }
    let server = Server {
        name: "etcd".to_owned(),
        program: program("etcd"),
        arguments,
        folder: folder.to_owned(),
        log: folder.join("etcd.log"),
        url,
        ready: Readiness::Etcd { port: client.number },
        running: Mutex::new(None),
        _ports: vec![client, peer],
    };
    server.start();
    server
}

fn etcd_is_healthy(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains(r#""health":"true""#))
}

/// A shell that does something when its standard input ends.
struct Guard {
    shell: Child,
    pid: Option<Pid>,
}

impl Guard {
    fn new(command: &mut Command) -> Self {
        // In a process group of its own, so that an interrupt from the terminal leaves it time to do so.
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        Self { shell: piped.spawn().unwrap(), pid: None }
    }

    fn read_pid(&mut self) {
        let mut line = String::new();
        BufReader::new(self.shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.pid = Pid::from_raw(line.trim().parse().unwrap());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}

/// A port of the loopback interface that no other control plane takes, also while nothing listens there.
struct Port {
    number: u16,
    // The name goes with the process, in whatever way it ends.
    _reservation: UnixListener,
}

impl Port {
    /// Takes a port below those that the system chooses for outgoing connections: a server that is started again
    /// must find it free.
    fn reserve() -> Self {
        let first = std::process::id().wrapping_mul(31).wrapping_add(unique());
        (0..10_000)
            .find_map(|step| {
                let number = u16::try_from(20_000 + first.wrapping_add(step) % 10_000).unwrap();
                let name = SocketAddr::from_abstract_name(format!("rescind-test-port-{number}")).unwrap();
                let _reservation = UnixListener::bind_addr(&name).ok()?;
                // It is free again at once, for nobody has connected.
                drop(TcpListener::bind(("127.0.0.1", number)).ok()?);
                Some(Self { number, _reservation })
            })
            .unwrap()
    }
}

fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn write_credentials(folder: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(parameters, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    write(&folder.join("ca.pem"), &authority);
    write(&folder.join("server.pem"), &certificate.pem());
    write(&folder.join("server-key.pem"), &key.serialize_pem());
    let accounts = KeyPair::generate().unwrap();
    write(&folder.join("accounts-key.pem"), &accounts.serialize_pem());
    write(&folder.join("accounts.pem"), &accounts.public_key_pem());
    write(&folder.join("tokens.csv"), &format!("{TOKEN},administrator,administrator,system:masters\n"));
}

/// A kubeconfig is YAML, and JSON is YAML.
fn kubeconfig(folder: &Path, url: &str, user: Option<(&str, &[&str])>) -> Value {
    let mut account = json!({"token": TOKEN});
    if let Some((user, groups)) = user {
        account["as"] = json!(user);
        account["as-groups"] = json!(groups);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": folder.join("ca.pem")}}],
        "users": [{"name": "test", "user": account}],
    })
}

fn write(path: &Path, content: &str) {
    File::create(path).unwrap().write_all(content.as_bytes()).unwrap();
}

fn run_kubectl(folder: &Path, kubeconfig: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program("kubectl"))
        .args(arguments)
        .current_dir(folder)
        .env("KUBECONFIG", kubeconfig)
        // It keeps what it has discovered there.
        .env("HOME", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads no input may be gone before it is written.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

/// Returns the path of a program that `scripts/setup-control-plane` has built.
///
/// # Panics
/// As [`provided`].
pub(crate) fn program(name: &str) -> PathBuf {
    provided("setup-control-plane", name)
}
