//! A controller and a sidecar as processes, in a folder of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rescind::proto::v1::revocation_admin_client::RevocationAdminClient;
use rescind::proto::v1::revocation_check_client::RevocationCheckClient;
use rescind::proto::v1::target::Target;
use rescind::proto::v1::{self, cutoff::Cutoff};
use rescind::runtime::child::Child;
use rescind::runtime::dial;
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::PATIENCE;
use super::issue::{AUDIENCE, ISSUER, Keys, LIFETIME_SECONDS};
use super::wait::wait_for;

/// The program of the controller.
pub(crate) const CONTROLLER: &str = env!("CARGO_BIN_EXE_rescind-controller");
/// The program of the sidecar.
pub(crate) const SIDECAR: &str = env!("CARGO_BIN_EXE_rescind-sidecar");

/// The list that a lab declares.
pub(crate) const LIST: &str = "default/shop";
/// How old the sidecar's knowledge may be.
pub(crate) const BOUND: Duration = Duration::from_secs(3);
/// How long after the acknowledgement a token may pass, by the clock of the test: it may run faster than that of the
/// sidecar by the allowance.
pub(crate) const WINDOW: Duration = Duration::from_millis(3003);

/// A process of ours, with what it said of its addresses.
pub(crate) struct Process {
    pub(crate) child: Child,
    fields: Map<String, Value>,
}

impl Process {
    /// Starts a program and waits until it listens.
    pub(crate) async fn start(name: &str, program: &str, arguments: &[String]) -> anyhow::Result<Self> {
        let mut child = Child::start(name, Path::new(program), arguments)?;
        let fields = child.listening(PATIENCE).await?;
        Ok(Self { child, fields })
    }

    /// Returns an address that it said it listens at: `streams` (apart by spaces), `admin`, `grpc`, `http`, `claims`
    /// or `health`.
    pub(crate) fn address(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.fields))
    }
}

/// A folder with a declared list, an issuer, and the processes that were started in it.
pub(crate) struct Lab {
    pub(crate) keys: Keys,
    pub(crate) controller: Option<Process>,
    pub(crate) sidecar: Option<Process>,
    /// Whether a controller was started here before: the first one is told that its store is new. A store that a
    /// later one does not find was lost.
    was_started: bool,
    // The last: it goes when nobody uses it any more.
    folder: TempDir,
}

impl Lab {
    /// Makes a lab in which nothing runs yet.
    pub(crate) fn new() -> Self {
        Self::declaring(|_| ())
    }

    /// The same, with changes to the list's `spec`.
    pub(crate) fn declaring(change: impl FnOnce(&mut Value)) -> Self {
        let keys = Keys::generate();
        let folder = tempfile::Builder::new().prefix("rescind-").tempdir().unwrap();
        let lab = Self { keys, controller: None, sidecar: None, was_started: false, folder };
        let mut list = list(&lab.keys);
        change(&mut list["spec"]);
        std::fs::write(lab.path("lists.yaml"), list.to_string()).unwrap();
        lab
    }

    /// Makes a lab with a controller and a sidecar that is fresh.
    pub(crate) async fn start() -> Self {
        Self::new().started().await
    }

    /// Starts a controller and a sidecar, and waits until that is fresh.
    pub(crate) async fn started(mut self) -> Self {
        self.start_controller(&[]).await;
        self.start_sidecar(&[]).await;
        self.until_fresh().await;
        self
    }

    /// Returns a path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the arguments of the controller: store in `store`, streams at `stream.sock`, admin API at
    /// `admin.sock`, probes at a port that the system chooses.
    pub(crate) fn controller_arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        vec![
            format!("--data={}", path("store")),
            format!("--listen={}", path("stream.sock")),
            format!("--admin={}", path("admin.sock")),
            format!("--filename={}", path("lists.yaml")),
            "--health=127.0.0.1:0".to_owned(),
        ]
    }

    /// Returns the arguments of the sidecar: checks at `check.sock`, forward auth at `auth.sock`, snapshots in
    /// `sidecar`, probes at a port that the system chooses.
    pub(crate) fn sidecar_arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        vec![
            format!("--controller=unix:{}", path("stream.sock")),
            format!("--list={LIST}"),
            format!("--socket={}", path("check.sock")),
            format!("--http={}", path("auth.sock")),
            format!("--data={}", path("sidecar")),
            "--health=127.0.0.1:0".to_owned(),
        ]
    }

    /// Starts the controller, with arguments beside its usual ones. One that was started before is dropped first.
    pub(crate) async fn start_controller(&mut self, more: &[&str]) {
        self.controller = None;
        let mut arguments = with(self.controller_arguments(), more);
        let was_started = std::mem::replace(&mut self.was_started, true);
        if !was_started && !self.path("store").exists() {
            arguments.push("--new-store".to_owned());
        }
        self.controller = Some(Process::start("controller", CONTROLLER, &arguments).await.unwrap());
    }

    /// Starts the sidecar, with arguments beside its usual ones. One that was started before is dropped first.
    pub(crate) async fn start_sidecar(&mut self, more: &[&str]) {
        self.sidecar = None;
        let arguments = with(self.sidecar_arguments(), more);
        self.sidecar = Some(Process::start("sidecar", SIDECAR, &arguments).await.unwrap());
    }

    /// Returns the arguments of the sidecar with these controllers.
    pub(crate) fn sidecar_arguments_to(&self, controllers: &[String]) -> Vec<String> {
        let mut arguments = self.sidecar_arguments();
        arguments.retain(|argument| !argument.starts_with("--controller="));
        arguments.extend(controllers.iter().map(|uri| format!("--controller={uri}")));
        arguments
    }

    /// Starts the sidecar with exactly these arguments.
    pub(crate) async fn start_sidecar_with(&mut self, arguments: &[String]) {
        self.sidecar = None;
        self.sidecar = Some(Process::start("sidecar", SIDECAR, arguments).await.unwrap());
    }

    /// Starts a controller or sidecar with these arguments only, and leaves it to the caller.
    pub(crate) async fn start_other(
        &self,
        program: Program,
        arguments: &[String],
    ) -> anyhow::Result<Process> {
        let (name, path) = match program {
            Program::Controller => ("another controller", CONTROLLER),
            Program::Sidecar => ("another sidecar", SIDECAR),
        };
        Process::start(name, path, arguments).await
    }

    /// Returns the controller that runs.
    pub(crate) fn controller(&mut self) -> &mut Process {
        self.controller.as_mut().unwrap()
    }

    /// Returns the sidecar that runs.
    pub(crate) fn sidecar(&mut self) -> &mut Process {
        self.sidecar.as_mut().unwrap()
    }

    /// Ends the sidecar in order.
    pub(crate) async fn end_sidecar(&mut self) {
        self.sidecar().child.signal(Signal::TERM).unwrap();
        let ended = self.sidecar().child.ended(PATIENCE).await.unwrap();
        assert!(ended.success(), "{}", self.logs());
    }

    /// Waits until the sidecar vouches for a good token.
    pub(crate) async fn until_fresh(&self) {
        let token = self.keys.token(&json!({"sub": "nobody", "sid": "none"}));
        wait_for("the sidecar is fresh", PATIENCE, async || match self.check(&token).await {
            Ok(answer) if answer.verdict() == v1::VerdictKind::Active => Ok(()),
            answer => Err(format!("{answer:?}")),
        })
        .await;
    }

    /// Asks the sidecar about a token, over gRPC.
    pub(crate) async fn check(&self, token: &str) -> Result<v1::CheckResponse, tonic::Status> {
        let request = v1::CheckRequest { token: token.to_owned(), ..v1::CheckRequest::default() };
        let mut client = RevocationCheckClient::new(self.channel("check.sock"));
        client.check(request).await.map(tonic::Response::into_inner)
    }

    /// Returns a client of the admin API.
    pub(crate) fn admin(&self) -> RevocationAdminClient<Channel> {
        RevocationAdminClient::new(self.channel("admin.sock"))
    }

    /// Returns a connection of its own to a socket in the folder.
    pub(crate) fn channel(&self, socket: &str) -> Channel {
        let uri = format!("unix:{}", self.path(socket).display());
        dial::channel(&uri, None, |endpoint| endpoint.timeout(PATIENCE)).unwrap()
    }

    /// Revokes a target with its selector's default cutoff.
    pub(crate) async fn revoke(&self, target: Target) -> v1::Revocation {
        self.try_revoke(revoke_request(target)).await.unwrap()
    }

    /// Revokes a target always: also tokens that are issued later.
    pub(crate) async fn ban(&self, target: Target) -> v1::Revocation {
        let cutoff = Some(v1::Cutoff { cutoff: Some(Cutoff::Always(true)) });
        self.try_revoke(v1::RevokeRequest { cutoff, ..revoke_request(target) }).await.unwrap()
    }

    /// Sends a request to revoke.
    pub(crate) async fn try_revoke(
        &self,
        request: v1::RevokeRequest,
    ) -> Result<v1::Revocation, tonic::Status> {
        Ok(self.admin().revoke(request).await?.into_inner().revocation.unwrap())
    }

    /// Returns the UIDs of all live revocations.
    pub(crate) async fn live(&self) -> Vec<String> {
        let mut live = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListRequest { list: LIST.to_owned(), page_token, ..v1::ListRequest::default() };
            let page = self.admin().list(request).await.unwrap().into_inner();
            live.extend(page.revocations.into_iter().map(|revocation| revocation.uid));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return live;
            }
        }
    }

    /// Waits until every sidecar that the controller knows enforces a version.
    pub(crate) async fn until_enforced(&self, version: &str) {
        let request = v1::WaitEnforcedRequest { list: LIST.to_owned(), version: version.to_owned() };
        let wait = async {
            let mut progress = self.admin().wait_enforced(request).await.unwrap().into_inner();
            while let Some(step) = progress.message().await.unwrap() {
                if step.enforced && step.applied > 0 {
                    return;
                }
            }
            panic!("the wait ended before {version} was enforced by a sidecar");
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{version} is not enforced");
    }

    /// Waits until the sidecar has a proof up to a version; it comes after the version is enforced.
    pub(crate) async fn until_proven(&self, version: &str) {
        let token = self.keys.token(&json!({"sub": "nobody", "sid": "none"}));
        wait_for("the version is proven", PATIENCE, async || match self.check(&token).await {
            Ok(answer) if !answer.version.is_empty() && parts(&answer.version) >= parts(version) => Ok(()),
            answer => Err(format!("{answer:?}")),
        })
        .await;
    }

    /// Returns what the processes have logged, to be shown when something fails.
    pub(crate) fn logs(&self) -> String {
        let log = |process: &Option<Process>| process.as_ref().map(|process| process.child.log());
        let (controller, sidecar) = (log(&self.controller), log(&self.sidecar));
        format!("controller:\n{}sidecar:\n{}", controller.unwrap_or_default(), sidecar.unwrap_or_default())
    }
}

/// Reads a version as answers give it: epoch and revision.
pub(crate) fn parts(version: &str) -> (u64, u64) {
    let (epoch, revision) = version.split_once('/').unwrap_or_else(|| panic!("{version} is no version"));
    (epoch.parse().unwrap(), revision.parse().unwrap())
}

/// A program of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Controller,
    Sidecar,
}

/// Returns a request to revoke a target of the lab's list and issuer.
pub(crate) fn revoke_request(target: Target) -> v1::RevokeRequest {
    v1::RevokeRequest {
        list: LIST.to_owned(),
        issuer: ISSUER.to_owned(),
        target: Some(v1::Target { target: Some(target) }),
        reason: "Test".to_owned(),
        ..v1::RevokeRequest::default()
    }
}

fn with(mut arguments: Vec<String>, more: &[&str]) -> Vec<String> {
    arguments.extend(more.iter().map(ToString::to_string));
    arguments
}

/// The list as a manifest.
fn list(keys: &Keys) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1",
        "kind": "TokenRevocationList",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "issuers": [{
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "maxTokenLifetimeSeconds": LIFETIME_SECONDS,
                "maxSessionLifetimeSeconds": 86_400,
                "requiredClaims": ["jti", "sub", "sid", "auth_time"],
                "verification": {"keys": keys.public()},
            }],
            "selectors": [{"name": "subject-on-client", "claims": ["sub", "client_id"]}],
            "freshness": {"boundSeconds": BOUND.as_secs(), "maximumSeconds": 300},
            "tokenSources": [
                {"header": "Authorization", "scheme": "Bearer"},
                {"cookie": "access_token", "clearWhenRefused": true},
            ],
        },
    })
}
