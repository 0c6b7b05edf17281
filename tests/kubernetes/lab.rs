//! Controllers and sidecars as processes over a control plane of their own.
//!
//! Everything of a lab may be killed, paused and started again. What a lab has started ends with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::cluster::{done, in_project, wait_until};
use crate::objects::{list, of, revocation};
use crate::support::control_plane::{ApiServer, ControlPlane};
use crate::support::http1::{Ask, ask_unix};
use crate::support::issue::{Keys, now};
use crate::support::lab::{CONTROLLER, Process, SIDECAR};
use crate::support::wait::wait_for;

/// How old a sidecar's knowledge may be: short, for tests that wait until it is too old.
pub(crate) const BOUND: Duration = Duration::from_secs(5);
/// The same for tests that no sidecar may be in doubt in, also on a machine that is busy with other things.
pub(crate) const RELAXED_BOUND: Duration = Duration::from_secs(20);
/// The same with the error of clock rates: nobody is allowed for longer.
pub(crate) const WINDOW: Duration = Duration::from_millis(5005);
/// Longer than anything takes when all is well, also on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The namespace of the lists. Its name is before that of the controllers: what goes away with its kind goes first.
pub(crate) const NAMESPACE: &str = "apps";
/// The controllers' ServiceAccount, and the groups that every such account is in.
pub(crate) const ACCOUNT: &str = "system:serviceaccount:rescind-system:rescind-controller";
pub(crate) const ACCOUNT_GROUPS: [&str; 3] =
    ["system:serviceaccounts", "system:serviceaccounts:rescind-system", "system:authenticated"];
/// The list that sidecars follow unless told otherwise.
pub(crate) const LIST: &str = "apps/shop";

/// A program of ours that may be killed and started again.
pub(crate) struct Node {
    name: String,
    program: &'static str,
    arguments: Vec<String>,
    process: Option<Process>,
    socket: PathBuf,
}

impl Node {
    /// Starts it, with the arguments that it always has.
    pub(crate) async fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        self.process = Some(Process::start(&self.name, self.program, &self.arguments).await.unwrap());
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.process.take().unwrap().child.kill().await.unwrap();
    }

    /// Tells it to stop, and waits until it has ended well.
    pub(crate) async fn end(&mut self) {
        let mut process = self.process.take().unwrap();
        process.child.signal(Signal::TERM).unwrap();
        let ended = process.child.ended(PATIENCE).await.unwrap();
        assert!(ended.success(), "{}", process.child.log());
    }

    /// Stops it as a paused machine is stopped: connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        self.process.as_ref().unwrap().child.signal(Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.process.as_ref().unwrap().child.signal(Signal::CONT).unwrap();
    }

    /// Returns the last lines that it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(|process| process.child.log()).unwrap_or_default()
    }

    /// Returns its process id: another one tells that it was started anew.
    pub(crate) fn id(&self) -> i32 {
        self.process.as_ref().unwrap().child.id()
    }

    /// Returns an address that it said it listens at.
    pub(crate) fn address(&self, name: &str) -> String {
        self.process.as_ref().unwrap().address(name).to_owned()
    }

    /// Returns its socket: a controller's for streams, a sidecar's for forward auth.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

/// A control plane with our kinds and the list `apps/shop`, and what runs there.
pub(crate) struct Lab {
    pub(crate) controllers: Vec<Node>,
    pub(crate) sidecars: Vec<Node>,
    pub(crate) keys: Keys,
    pub(crate) client: Client,
    /// API servers beside that of the control plane.
    pub(crate) servers: Vec<ApiServer>,
    pub(crate) plane: ControlPlane,
    // The last: it goes when nobody uses it any more.
    folder: TempDir,
}

impl Lab {
    /// Makes a lab in which neither a controller nor a sidecar runs yet.
    pub(crate) async fn new() -> Self {
        Self::on(block_in_place(ControlPlane::start)).await
    }

    /// The same on a control plane that nothing was done with.
    pub(crate) async fn on(plane: ControlPlane) -> Self {
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let lab = Self {
            controllers: Vec::new(),
            sidecars: Vec::new(),
            keys: Keys::generate(),
            client: Client::try_from(config).unwrap(),
            servers: Vec::new(),
            plane,
            folder: tempfile::Builder::new().prefix("rescind-").tempdir().unwrap(),
        };
        lab.define();
        for manifest in ["namespace.yaml", "rbac.yaml"] {
            let manifest = in_project(&format!("examples/kubernetes/{manifest}"));
            lab.kubectl(&["apply", "--filename", &manifest]);
        }
        lab.kubectl(&["create", "namespace", NAMESPACE]);
        lab.declare("shop");
        lab
    }

    /// Makes a lab with so many of each, where every sidecar knows every controller, and waits until all is well: the
    /// sidecars are fresh, and revocations are enforced without waiting for a bound.
    pub(crate) async fn start(controllers: usize, sidecars: usize) -> Self {
        Self::start_with_bound(controllers, sidecars, BOUND).await
    }

    /// The same, with another bound.
    pub(crate) async fn start_with_bound(controllers: usize, sidecars: usize, bound: Duration) -> Self {
        let mut lab = Self::new().await;
        lab.declare_with_bound("shop", bound);
        lab.add(controllers, sidecars).await;
        lab.until_steady().await;
        lab
    }

    /// Starts so many of each, where every sidecar knows every controller.
    pub(crate) async fn add(&mut self, controllers: usize, sidecars: usize) {
        let mut numbers = Vec::new();
        for _ in 0..controllers {
            // With the permissions of the examples, and no more.
            let kubeconfig = self.plane.kubeconfig_as(ACCOUNT, &ACCOUNT_GROUPS);
            numbers.push(self.add_controller(&kubeconfig).await);
        }
        for _ in 0..sidecars {
            self.add_sidecar(&numbers, LIST).await;
        }
    }

    /// Applies our kinds, and waits until they are served.
    pub(crate) fn define(&self) {
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &in_project("crds")]);
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        let list = ["get", "revocations,tokenrevocationlists", "--all-namespaces"];
        block_in_place(|| {
            wait_until("the kinds are served", || self.plane.kubectl(&list).status.success());
        });
    }

    /// Declares a list in the namespace of the lists.
    pub(crate) fn declare(&self, name: &str) {
        self.declare_with_bound(name, BOUND);
    }

    /// The same, with another bound.
    pub(crate) fn declare_with_bound(&self, name: &str, bound: Duration) {
        let mut list = list(name, &self.keys);
        list["spec"]["freshness"]["boundSeconds"] = json!(bound.as_secs());
        self.apply(&list);
    }

    /// Starts a controller that reaches the cluster as a kubeconfig says; returns its number.
    pub(crate) async fn add_controller(&mut self, kubeconfig: &Path) -> usize {
        self.add_controller_with(kubeconfig, &[]).await
    }

    /// The same, with more arguments.
    pub(crate) async fn add_controller_with(&mut self, kubeconfig: &Path, more: &[String]) -> usize {
        let socket = self.path(&format!("stream-{}.sock", self.controllers.len()));
        let listen = format!("--listen={}", socket.display());
        let arguments = std::iter::once(listen).chain(more.iter().cloned()).collect();
        self.start_controller(kubeconfig, socket, arguments).await
    }

    /// Starts a controller on loopback TCP that its own authority certifies for `rescind-controller.localhost`, with the
    /// permissions of the examples; returns its number.
    pub(crate) async fn add_certified_controller(&mut self) -> usize {
        self.add_controller_over_tcp(
            &["--listen=127.0.0.1:0", "--service-domain=localhost"].map(ToOwned::to_owned),
        )
        .await
    }

    /// Starts a controller with these arguments, where it listens among them, and the permissions of the examples; returns its
    /// number.
    pub(crate) async fn add_controller_over_tcp(&mut self, arguments: &[String]) -> usize {
        let kubeconfig = self.plane.kubeconfig_as(ACCOUNT, &ACCOUNT_GROUPS);
        self.start_controller(&kubeconfig, PathBuf::new(), arguments.to_vec()).await
    }

    async fn start_controller(&mut self, kubeconfig: &Path, socket: PathBuf, more: Vec<String>) -> usize {
        let number = self.controllers.len();
        let mut arguments = vec![
            "--kubernetes".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            "--health=127.0.0.1:0".to_owned(),
            format!("--audit-log={}", self.path(&format!("audit-{number}.log")).display()),
        ];
        arguments.extend(more);
        let name = format!("controller {number}");
        let mut node = Node { name, program: CONTROLLER, arguments, process: None, socket };
        node.start().await;
        self.controllers.push(node);
        number
    }

    /// Starts a sidecar that follows a list and knows these controllers; returns its number.
    pub(crate) async fn add_sidecar(&mut self, controllers: &[usize], list: &str) -> usize {
        self.add_sidecar_with(controllers, list, &[]).await
    }

    /// The same, with more arguments.
    pub(crate) async fn add_sidecar_with(
        &mut self,
        controllers: &[usize],
        list: &str,
        more: &[String],
    ) -> usize {
        let streams = controllers.iter().map(|number| self.controllers[*number].socket().display());
        let arguments: Vec<String> = streams.map(|path| format!("--controller=unix:{path}")).collect();
        self.add_sidecar_that_dials(arguments.into_iter().chain(more.iter().cloned()).collect(), list).await
    }

    /// Starts a sidecar that follows a list, with arguments that say whom; returns its number.
    pub(crate) async fn add_sidecar_that_dials(&mut self, mut arguments: Vec<String>, list: &str) -> usize {
        let number = self.sidecars.len();
        let socket = self.path(&format!("auth-{number}.sock"));
        // The first one's checks are where the proxies of the examples look for them.
        let check = if number == 0 { "check.sock".to_owned() } else { format!("check-{number}.sock") };
        arguments.extend([
            format!("--list={list}"),
            format!("--socket={}", self.path(&check).display()),
            format!("--http={}", socket.display()),
        ]);
        if !arguments.iter().any(|argument| argument.starts_with("--health=")) {
            arguments.push("--health=127.0.0.1:0".to_owned());
        }
        let name = format!("sidecar {number}");
        let mut node = Node { name, program: SIDECAR, arguments, process: None, socket };
        node.start().await;
        self.sidecars.push(node);
        number
    }

    /// Returns a path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `kubectl` as the administrator, and returns what it has printed.
    ///
    /// # Panics
    /// With what it said if it has failed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        block_in_place(|| done(&self.plane.kubectl(arguments)))
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, manifest: &Value) {
        self.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], manifest);
    }

    /// Runs `kubectl` with a manifest as its input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], manifest: &Value) -> String {
        let (kubeconfig, input) = (self.plane.kubeconfig(), manifest.to_string());
        block_in_place(|| done(&self.plane.kubectl_with(kubeconfig, arguments, &input)))
    }

    /// Creates revocations, several at a time; returns their objects.
    ///
    /// # Panics
    /// If one of them is not acknowledged.
    pub(crate) async fn create(&self, manifests: Vec<Value>) -> Vec<Value> {
        use futures::StreamExt;
        let created = futures::stream::iter(manifests).map(|manifest| async move {
            let namespace = manifest["metadata"]["namespace"].as_str().unwrap();
            let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{namespace}/revocations");
            self.request("POST", &path, &manifest).await.unwrap()
        });
        created.buffered(32).collect().await
    }

    /// Revokes all tokens of a subject, in an object of its name; returns the object.
    pub(crate) async fn revoke(&self, subject: &str) -> Value {
        self.create(vec![revocation(subject, &json!({"subject": subject}))]).await.remove(0)
    }

    /// Lifts a revocation.
    pub(crate) async fn lift(&self, name: &str) {
        let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations/{name}");
        self.request("DELETE", &path, &Value::Null).await.unwrap();
    }

    /// Sends a request to the API server.
    pub(crate) async fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content);
        let answer = self.client.request(request.body(body).unwrap());
        match tokio::time::timeout(Duration::from_secs(20), answer).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Returns a revocation as it is now.
    pub(crate) async fn get(&self, name: &str) -> Result<Value, String> {
        let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations/{name}");
        self.request("GET", &path, &Value::Null).await
    }

    /// Returns a list as it is now.
    pub(crate) async fn list(&self, name: &str) -> Result<Value, String> {
        let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/tokenrevocationlists/{name}");
        self.request("GET", &path, &Value::Null).await
    }

    /// Returns all revocations of the lists.
    pub(crate) async fn all(&self) -> Result<Vec<Value>, String> {
        let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations");
        let list = self.request("GET", &path, &Value::Null).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a condition of a revocation has this status; returns the object.
    pub(crate) async fn until(&self, name: &str, condition: &str, status: &str) -> Value {
        let what = format!("{name} has {condition}={status}");
        wait_for(&what, PATIENCE, async || {
            let object = self.get(name).await?;
            if of(&object, condition)["status"] == status {
                return Ok(object);
            }
            Err(format!("{}\n{}", object["status"], self.logs()))
        })
        .await
    }

    /// Signs a good token of a subject, issued before whatever is revoked after this.
    pub(crate) fn token(&self, subject: &str) -> String {
        let issued = now() - 1800;
        self.keys.token(&json!({"sub": subject, "iat": issued, "auth_time": issued}))
    }

    /// Asks a sidecar about a token; returns the status of the answer.
    pub(crate) async fn ask(&self, sidecar: usize, token: &str) -> Result<u16, String> {
        let ask = Ask::get("/auth").bearer(token);
        ask_unix(self.sidecars[sidecar].socket(), &ask).await.map(|reply| reply.status)
    }

    /// Asks all sidecars about a token.
    pub(crate) async fn ask_all(&self, token: &str) -> Vec<u16> {
        let mut answers = Vec::new();
        for sidecar in 0..self.sidecars.len() {
            answers.push(self.ask(sidecar, token).await.unwrap());
        }
        answers
    }

    /// Asks a sidecar until it vouches for nobody any more.
    ///
    /// # Panics
    /// If it allows what is asked later than a bound after `since`.
    pub(crate) async fn until_doubted(&self, sidecar: usize, token: &str, since: Instant) {
        let mut last_allowed = since;
        wait_for(&format!("sidecar {sidecar} answers 503"), PATIENCE, async || {
            let asked = Instant::now();
            match self.ask(sidecar, token).await {
                Ok(503) => Ok(()),
                Ok(200) => {
                    last_allowed = asked;
                    Err("allowed".to_owned())
                }
                answer => Err(format!("{answer:?}\n{}", self.logs())),
            }
        })
        .await;
        let late = last_allowed - since;
        assert!(late < WINDOW, "sidecar {sidecar} allowed after {late:?}\n{}", self.logs());
    }

    /// Waits until a sidecar answers so.
    pub(crate) async fn until_answer(&self, sidecar: usize, token: &str, status: u16) {
        let what = format!("sidecar {sidecar} answers {status}");
        wait_for(&what, PATIENCE, async || match self.ask(sidecar, token).await {
            Ok(seen) if seen == status => Ok(()),
            seen => Err(format!("{seen:?}\n{}", self.logs())),
        })
        .await;
    }

    /// Asks a sidecar how old its knowledge is, and allows for the time that the answer took; none if it allows
    /// nothing.
    pub(crate) async fn proven(&self, sidecar: usize, token: &str) -> Result<Instant, String> {
        let asked = Instant::now();
        let reply = ask_unix(self.sidecars[sidecar].socket(), &Ask::get("/auth").bearer(token)).await?;
        let age = reply.all("x-rescind-age-ms").first().and_then(|age| age.parse().ok());
        match (reply.status, age) {
            (200, Some(age)) => Ok(asked - Duration::from_millis(age)),
            _ => Err(format!("{reply:?}")),
        }
    }

    /// Waits until a sidecar vouches by a proof that was asked for after a moment.
    pub(crate) async fn until_proven_after(&self, sidecar: usize, token: &str, moment: Instant) {
        let what = format!("sidecar {sidecar} has a newer proof");
        wait_for(&what, PATIENCE, async || match self.proven(sidecar, token).await {
            Ok(proven) if proven > moment => Ok(()),
            seen => Err(format!("{seen:?}\n{}", self.logs())),
        })
        .await;
    }

    /// Waits until all sidecars answer so.
    pub(crate) async fn until_all(&self, token: &str, status: u16) {
        for sidecar in 0..self.sidecars.len() {
            self.until_answer(sidecar, token, status).await;
        }
    }

    /// Waits until all sidecars vouch for a good token.
    pub(crate) async fn until_fresh(&self) {
        self.until_all(&self.token("nobody"), 200).await;
    }

    /// Waits until all sidecars are fresh, and a revocation is enforced because all have it.
    pub(crate) async fn until_steady(&self) {
        self.until_fresh().await;
        for number in 0.. {
            let name = format!("steady-{number}");
            self.revoke(&name).await;
            let object = self.until(&name, "Enforced", "True").await;
            let applied = &object["status"]["enforcement"]["applied"];
            self.kubectl(&["delete", "revocation", &name, "--namespace", NAMESPACE]);
            if applied.as_u64() == Some(self.sidecars.len() as u64) {
                return;
            }
            assert!(number < 10, "{object}\n{}", self.logs());
        }
    }

    /// Returns what all have logged.
    pub(crate) fn logs(&self) -> String {
        let nodes = self.controllers.iter().chain(&self.sidecars);
        nodes.map(|node| format!("{}:\n{}", node.name, node.log())).collect()
    }
}
