//! The processes of the demonstration, and the issuer whose tokens it is about.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value};

use crate::cli::folder::TemporaryFolder;
use crate::cli::sample::{self, ISSUER, LIST};
use crate::proto::v1::revocation_admin_client::RevocationAdminClient;
use crate::runtime::child::Child;
use crate::runtime::dial;
use crate::token::issuer::Issuer;
use crate::token::keys::Algorithm;

/// Its bound: short, so that nobody waits for long.
pub(super) const BOUND: Duration = Duration::from_secs(3);
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Everything that runs.
pub(super) struct Lab {
    controller: Child,
    sidecar: Child,
    /// Where the sidecar is asked.
    pub(super) sidecar_http: SocketAddr,
    issuer: Issuer,
    folder: TemporaryFolder,
    program: PathBuf,
}

impl Lab {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("can't find this program")?;
        let folder = TemporaryFolder::new("demo")?;
        let issuer = Issuer::generate(ISSUER, "k1", Algorithm::Es256)?;
        let document = sample::declare(&LIST.parse()?, &issuer, BOUND)?;
        std::fs::write(folder.path().join("lists.yaml"), document.encode())?;
        let (controller, stream) = start_controller(&program, folder.path(), Some("--new-store")).await?;
        let (sidecar, sidecar_http) = start_sidecar(&program, folder.path(), &stream).await?;
        Ok(Self { controller, sidecar, sidecar_http, issuer, folder, program })
    }

    /// Returns a client of the admin API.
    pub(super) fn admin(&self) -> anyhow::Result<RevocationAdminClient<tonic::transport::Channel>> {
        let uri = format!("unix:{}", self.folder.path().join("admin.sock").display());
        let channel = dial::channel(&uri, None, |endpoint| endpoint.timeout(Duration::from_secs(30)))?;
        Ok(RevocationAdminClient::new(channel))
    }

    pub(super) fn token(&self, subject: &str, session: &str) -> anyhow::Result<String> {
        sample::token(&self.issuer, subject, session)
    }

    pub(super) const fn controller(&self) -> &Child {
        &self.controller
    }

    /// Kills both processes at once, and starts them again over what is on the disk.
    pub(super) async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.controller.kill().await?;
        self.sidecar.kill().await?;
        let (controller, stream) = start_controller(&self.program, self.folder.path(), None).await?;
        self.controller = controller;
        (self.sidecar, self.sidecar_http) = start_sidecar(&self.program, self.folder.path(), &stream).await?;
        Ok(())
    }

    /// Ends both processes, so that nothing is written any more when the folder goes.
    pub(super) async fn end(mut self) {
        for child in [&mut self.controller, &mut self.sidecar] {
            // One that has ended by itself is fine, too.
            drop(child.kill().await);
        }
    }

    pub(super) fn logs(&self) -> String {
        format!(
            "log of the controller:\n{}log of the sidecar:\n{}",
            self.controller.log(),
            self.sidecar.log()
        )
    }
}

async fn start_controller(
    program: &Path,
    folder: &Path,
    more: Option<&str>,
) -> anyhow::Result<(Child, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "controller".to_owned(),
        format!("--data={}", path("store")),
        "--listen=127.0.0.1:0".to_owned(),
        format!("--admin={}", path("admin.sock")),
        format!("--filename={}", path("lists.yaml")),
    ];
    let arguments = arguments.into_iter().chain(more.map(ToOwned::to_owned));
    let mut child = Child::start("controller", program, arguments)?;
    let fields = child.listening(START_DEADLINE).await?;
    let stream = text(&fields, "streams")?.to_owned();
    Ok((child, stream))
}

async fn start_sidecar(program: &Path, folder: &Path, stream: &str) -> anyhow::Result<(Child, SocketAddr)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "sidecar".to_owned(),
        format!("--controller=http://{stream}"),
        format!("--list={LIST}"),
        format!("--socket={}", path("check.sock")),
        "--http=127.0.0.1:0".to_owned(),
        format!("--data={}", path("sidecar")),
    ];
    let mut child = Child::start("sidecar", program, arguments)?;
    let fields = child.listening(START_DEADLINE).await?;
    let http = text(&fields, "http")?.parse().context("the sidecar's address")?;
    Ok((child, http))
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> anyhow::Result<&'a str> {
    fields.get(name).and_then(Value::as_str).with_context(|| format!("the process does not say its {name}"))
}
