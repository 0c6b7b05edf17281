//! A controller and sidecars as processes, in a folder of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use rescind::proto::v1::StatusRequest;
use rescind::proto::v1::revocation_admin_client::RevocationAdminClient;
use rescind::proto::v1::revocation_check_client::RevocationCheckClient;
use rescind::runtime::child::Child;
use rescind::runtime::dial;
use rescind::token::issuer::Issuer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::peers;
use crate::sample::{self, LIST};

const CONTROLLER: &str = env!("CARGO_BIN_EXE_rescind-controller");
const SIDECAR: &str = env!("CARGO_BIN_EXE_rescind-sidecar");
const DEADLINE: Duration = Duration::from_secs(60);

/// The controller with its list, and the issuer of the list's tokens.
pub(crate) struct Lab<'r> {
    pub(crate) runtime: &'r Runtime,
    pub(crate) folder: TempDir,
    pub(crate) issuer: Issuer,
    /// Where sidecars connect.
    pub(crate) streams: String,
    entries: u64,
    _controller: Child,
}

/// How the list is declared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verifier {
    /// The sidecar verifies signatures.
    Sidecar,
    /// Envoy does, and leaves the claims under this key.
    Envoy(&'static str),
}

impl<'r> Lab<'r> {
    /// Starts a controller whose list has this many entries.
    pub(crate) fn start(runtime: &'r Runtime, verifier: Verifier, entries: u64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let issuer = sample::issuer();
        let verification = match verifier {
            Verifier::Sidecar => json!({"keys": [sample::jwk(&issuer)]}),
            Verifier::Envoy(key) => json!({"trustUpstream": {"envoyMetadata": {"payloadKey": key}}}),
        };
        let manifest = folder.path().join("lists.yaml");
        std::fs::write(&manifest, sample::declare(&verification).encode())?;
        let store = folder.path().join("store");
        if entries > 0 {
            let filled = Command::new(std::env::current_exe()?)
                .args([peers::FILL.as_ref(), store.as_os_str(), entries.to_string().as_ref()])
                .status()?;
            anyhow::ensure!(filled.success(), "can't fill the store");
        }
        let arguments = [
            format!("--data={}", store.display()),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--admin={}", folder.path().join("admin.sock").display()),
            format!("--filename={}", manifest.display()),
        ];
        let _guard = runtime.enter();
        let mut controller = Child::start("controller", Path::new(CONTROLLER), arguments)?;
        let fields = runtime.block_on(controller.listening(DEADLINE))?;
        let streams = fields.get("streams").and_then(Value::as_str).context("no address")?;
        Ok(Self {
            runtime,
            issuer,
            streams: format!("http://{streams}"),
            entries,
            _controller: controller,
            folder,
        })
    }

    /// Returns a path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a token of a subject.
    pub(crate) fn token(&self, subject: &str) -> anyhow::Result<String> {
        Ok(self.issuer.sign(&sample::claims(subject))?)
    }

    /// Returns a client of the admin API.
    pub(crate) fn admin(&self) -> anyhow::Result<RevocationAdminClient<Channel>> {
        let uri = format!("unix:{}", self.path("admin.sock").display());
        Ok(RevocationAdminClient::new(dial::channel(&uri, None, |endpoint| endpoint.timeout(DEADLINE))?))
    }

    /// Starts a sidecar with sockets `check.sock` and `claims.sock`, and waits until its list is fresh.
    pub(crate) fn sidecar(&self) -> anyhow::Result<Child> {
        self.sidecar_with(&[])
    }

    /// Starts a sidecar as [`Self::sidecar`] does, with these environment variables (`NAME=value`).
    pub(crate) fn sidecar_with(&self, variables: &[&str]) -> anyhow::Result<Child> {
        let path = |name: &str| self.path(name).display().to_string();
        let arguments = [
            format!("--controller={}", self.streams),
            format!("--list={LIST}"),
            format!("--socket={}", path("check.sock")),
            format!("--claims-socket={}", path("claims.sock")),
            format!("--data={}", path("sidecar")),
        ];
        let _guard = self.runtime.enter();
        let command = variables.iter().copied().chain([SIDECAR]).map(ToOwned::to_owned);
        // It becomes the sidecar, and keeps its id.
        let mut child = Child::start("sidecar", Path::new("/usr/bin/env"), command.chain(arguments))?;
        self.runtime.block_on(child.listening(DEADLINE))?;
        let fresh = self.runtime.block_on(self.await_fresh());
        fresh.with_context(|| child.log())?;
        Ok(child)
    }

    async fn await_fresh(&self) -> anyhow::Result<()> {
        let uri = format!("unix:{}", self.path("check.sock").display());
        let mut client = RevocationCheckClient::new(dial::channel(&uri, None, |endpoint| endpoint)?);
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            let status = client.status(StatusRequest {}).await?.into_inner();
            let is_fresh =
                |list: &rescind::proto::v1::ListStatus| list.state == "FRESH" && list.entries == self.entries;
            if status.lists.iter().all(is_fresh) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("the sidecar is not fresh with {} entries after {DEADLINE:?}", self.entries)
    }
}

/// Starts this program in a role that serves a socket.
pub(crate) fn peer(runtime: &Runtime, role: &str, socket: &Path) -> anyhow::Result<Child> {
    let _guard = runtime.enter();
    let mut child = Child::start(role, &std::env::current_exe()?, [role.as_ref(), socket.as_os_str()])?;
    runtime.block_on(child.listening(DEADLINE))?;
    Ok(child)
}
