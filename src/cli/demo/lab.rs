//! The processes of the demonstration, and the issuer whose tokens it is about.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value};

use crate::api::compile::public_key;
use crate::api::document::ListDocument;
use crate::api::token_revocation_list as api;
use crate::proto::v1::revocation_admin_client::RevocationAdminClient;
use crate::revocation::names::ListName;
use crate::runtime::child::Child;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::dial;
use crate::runtime::random::{SystemRandomness, bytes};
use crate::token::issuer::Issuer;
use crate::token::keys::Algorithm;

/// The list of the demonstration.
pub(super) const LIST: &str = "demo/shop";
/// The issuer of its tokens.
pub(super) const ISSUER: &str = "https://id.example.com";
/// Its bound: short, so that nobody waits for long.
pub(super) const BOUND: Duration = Duration::from_secs(3);
const START_DEADLINE: Duration = Duration::from_secs(20);
const TOKEN_LIFETIME_SECONDS: u64 = 3600;

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is left to the system's own cleaning.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Everything that runs.
pub(super) struct Lab {
    controller: Child,
    sidecar: Child,
    /// Where the sidecar is asked.
    pub(super) sidecar_http: SocketAddr,
    issuer: Issuer,
    folder: Folder,
    program: PathBuf,
}

/// Declares a list for an issuer with a fresh key.
///
/// # Errors
/// A sentence if the key can't be written.
pub(in crate::cli) fn declare(name: &ListName, issuer: &Issuer, bound: Duration) -> anyhow::Result<ListDocument> {
    let key = public_key(&issuer.jwk()).context("the key has no JWK")?;
    let seconds = u32::try_from(bound.as_secs()).unwrap_or(u32::MAX);
    let spec = serde_json::json!({
        "issuers": [{
            "issuer": issuer.url(),
            "audiences": ["shop-api"],
            "maxTokenLifetimeSeconds": TOKEN_LIFETIME_SECONDS,
            "maxSessionLifetimeSeconds": 86_400,
            "requiredClaims": ["jti", "sub", "sid"],
            "verification": {"keys": [serde_json::to_value(key)?]},
        }],
        "selectors": [{"name": "subject-on-client", "claims": ["sub", "client_id"]}],
        "freshness": {"boundSeconds": seconds, "maximumSeconds": 300},
    });
    let spec: api::TokenRevocationListSpec = serde_json::from_value(spec)?;
    Ok(ListDocument::new(name, spec))
}

/// Signs a token of a subject in a session, issued now.
///
/// # Errors
/// The library's.
pub(in crate::cli) fn token(issuer: &Issuer, subject: &str, session: &str) -> anyhow::Result<String> {
    let now = SystemClock.now().wall().floor().get();
    let id: [u8; 16] = bytes(&SystemRandomness::new());
    Ok(issuer.sign(&serde_json::json!({
        "iss": issuer.url(), "sub": subject, "aud": "shop-api", "client_id": "web", "sid": session,
        "jti": format!("{:032x}", u128::from_be_bytes(id)), "iat": now, "exp": now + TOKEN_LIFETIME_SECONDS,
    }))?)
}

impl Lab {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("can't find this program")?;
        let name: [u8; 8] = bytes(&SystemRandomness::new());
        let path = std::env::temp_dir().join(format!("rescind-demo-{:016x}", u64::from_be_bytes(name)));
        std::fs::create_dir(&path).with_context(|| format!("can't make {}", path.display()))?;
        let folder = Folder(path);
        let issuer = Issuer::generate(ISSUER, "k1", Algorithm::Es256)?;
        let document = declare(&LIST.parse()?, &issuer, BOUND)?;
        std::fs::write(folder.0.join("lists.yaml"), document.encode())?;
        let (controller, stream) = start_controller(&program, &folder.0).await?;
        let (sidecar, sidecar_http) = start_sidecar(&program, &folder.0, &stream).await?;
        Ok(Self { controller, sidecar, sidecar_http, issuer, folder, program })
    }

    /// Returns a client of the admin API.
    pub(super) fn admin(&self) -> anyhow::Result<RevocationAdminClient<tonic::transport::Channel>> {
        let uri = format!("unix:{}", self.folder.0.join("admin.sock").display());
        let channel = dial::channel(&uri, None, |endpoint| endpoint.timeout(Duration::from_secs(30)))?;
        Ok(RevocationAdminClient::new(channel))
    }

    pub(super) fn token(&self, subject: &str, session: &str) -> anyhow::Result<String> {
        token(&self.issuer, subject, session)
    }

    pub(super) const fn controller(&self) -> &Child {
        &self.controller
    }

    /// Kills both processes at once, and starts them again over what is on the disk.
    pub(super) async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.controller.kill().await?;
        self.sidecar.kill().await?;
        let (controller, stream) = start_controller(&self.program, &self.folder.0).await?;
        self.controller = controller;
        (self.sidecar, self.sidecar_http) = start_sidecar(&self.program, &self.folder.0, &stream).await?;
        Ok(())
    }

    pub(super) fn logs(&self) -> String {
        format!("log of the controller:\n{}log of the sidecar:\n{}", self.controller.log(), self.sidecar.log())
    }
}

async fn start_controller(program: &std::path::Path, folder: &std::path::Path) -> anyhow::Result<(Child, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "controller".to_owned(),
        format!("--data={}", path("store")),
        "--listen=127.0.0.1:0".to_owned(),
        format!("--admin={}", path("admin.sock")),
        format!("--filename={}", path("lists.yaml")),
    ];
    let mut child = Child::start("controller", program, arguments)?;
    let fields = child.listening(START_DEADLINE).await?;
    let stream = text(&fields, "streams")?.to_owned();
    Ok((child, stream))
}

async fn start_sidecar(
    program: &std::path::Path,
    folder: &std::path::Path,
    stream: &str,
) -> anyhow::Result<(Child, SocketAddr)> {
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
