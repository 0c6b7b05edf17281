//! `rescind dev`: controller and sidecar in one process, to try things out.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::api::document::ListDocument;
use crate::controller::args::read_lists;
use crate::controller::transport::Certificates;
use crate::controller::{self, AdminListen, Embedded, Past, StoreConfig};
use crate::revocation::names::ListName;
use crate::runtime::environment::Environment;
use crate::runtime::line_log::Place;
use crate::runtime::listen::Address;
use crate::runtime::signals::Signals;
use crate::runtime::supervisor::Supervisor;
use crate::runtime::telemetry::{self, Format};
use crate::sidecar::compose::{self, DEFAULT_MAX_CONCURRENT_CHECKS};
use crate::store::embedded::DEFAULT_LIMIT;
use crate::token::issuer::Issuer;
use crate::token::keys::Algorithm;

use super::folder::TemporaryFolder;
use super::sample::{self, ISSUER, LIST};

const BOUND: Duration = Duration::from_secs(15);
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Runs controller and sidecar in one process, until it is interrupted.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// Folder for the store, snapshots and sockets [default: a temporary one, which goes at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where other sidecars may connect: IP:PORT of this machine, or the path of a Unix socket. May be given several times
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: Vec<Address>,
    /// Where forward auth is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    http: Address,
    /// Where the probes and metrics of the sidecar are
    #[arg(long, value_name = "ADDR")]
    health: Option<Address>,
    /// Manifest with lists (TokenRevocationList). May be given several times [default: a list with an issuer of its own]
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs until a signal.
///
/// # Errors
/// A sentence about what can't be had, or what failed.
pub async fn run(args: DevArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut signals = Signals::take_up()?;
    let guard = telemetry::init("rescind-dev", Format::Text)?;
    let temporary = if args.data.is_none() { Some(TemporaryFolder::new("dev")?) } else { None };
    let data = match (&args.data, &temporary) {
        (Some(data), _) => std::path::absolute(data)?,
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => PathBuf::new(),
    };
    let issuer = Issuer::generate(ISSUER, "k1", Algorithm::Es256)?;
    let lists = if args.files.is_empty() {
        vec![sample::declare(&LIST.parse()?, &issuer, BOUND)?]
    } else {
        read_lists(&args.files)?
    };
    let names = lists.iter().map(ListDocument::name).collect::<Result<Vec<_>, _>>()?;
    let mut supervisor = Supervisor::default();
    let sample = args.files.is_empty().then_some(&issuer);
    let declared = lists.first().and_then(|list| list.spec.issuers.first()).map(|of| of.issuer.clone());
    let bound = tokio::select! {
        bound = start(args, &data, lists, names.clone(), &mut supervisor) => bound?,
        _ = signals.next() => return Ok(()),
    };
    // Who reads the lines may have gone; what runs is not for them alone.
    drop(tell(out, &bound, &names, sample, declared.as_deref()));
    let ended = supervisor.run_until_signal(DRAIN_DEADLINE, signals).await;
    guard.shutdown(FLUSH_DEADLINE).await;
    Ok(ended?)
}

struct Bound {
    controller: controller::Bound,
    sidecar: compose::Bound,
}

async fn start(
    args: DevArgs,
    data: &Path,
    lists: Vec<ListDocument>,
    names: Vec<ListName>,
    supervisor: &mut Supervisor,
) -> anyhow::Result<Bound> {
    let environment = Environment::of_machine();
    let controller = controller::Config {
        store: StoreConfig::Embedded(Embedded {
            data: data.join("store"),
            // A folder that was given may have been used before.
            past: if args.data.is_none() { Past::None } else { Past::Unknown },
            admin: AdminListen { address: Address::Unix(data.join("admin.sock")), bearer_file: None },
            lists,
            limit: DEFAULT_LIMIT,
        }),
        listeners: args.listen,
        webhook: None,
        certificates: Certificates::None,
        health: None,
        health_hosts: Vec::new(),
        audit: Place::StandardError,
    };
    make_private(data)?;
    let controller = controller::start(controller, environment.clone(), supervisor).await?;
    let sidecar = compose::Config {
        controllers: controller.listeners.iter().map(uri).collect(),
        tls_authorities: None,
        token_file: None,
        tls_identity: None,
        lists: names,
        grpc: vec![Address::Unix(data.join("check.sock"))],
        http: vec![args.http],
        claims: None,
        bound_seconds: None,
        data: Some(data.join("sidecar")),
        health: args.health,
        health_hosts: Vec::new(),
        identity: Some("dev".to_owned()),
        threads: None,
        max_concurrent_checks: DEFAULT_MAX_CONCURRENT_CHECKS,
        reveal: false,
    };
    let sidecar = compose::start(sidecar, environment, supervisor)?;
    Ok(Bound { controller, sidecar })
}

fn make_private(data: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    use anyhow::Context;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.with_context(|| format!("can't make the folder {}", data.display()))
}

fn uri(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn tell(
    out: &mut (dyn Write + Send),
    bound: &Bound,
    names: &[ListName],
    sample: Option<&Issuer>,
    declared: Option<&str>,
) -> anyhow::Result<()> {
    let admin = bound.controller.admin.as_ref().map(ToString::to_string).unwrap_or_default();
    let listed: Vec<String> = names.iter().map(ToString::to_string).collect();
    writeln!(out, "Lists:        {}", listed.join(", "))?;
    writeln!(out, "Admin API:    {admin}")?;
    for address in &bound.sidecar.grpc {
        writeln!(out, "Checks:       {address} (gRPC: Envoy ext_authz, rescind.v1.RevocationCheck)")?;
    }
    for address in &bound.sidecar.http {
        writeln!(out, "Forward auth: {}", forward_auth(address))?;
    }
    if let Some(health) = &bound.sidecar.health {
        writeln!(out, "Probes:       {} (/metrics, /livez, /readyz, /startupz)", uri(health))?;
    }
    for address in &bound.controller.listeners {
        writeln!(out, "Streams:      {}", uri(address))?;
    }
    let admin = quoted(&admin)?;
    if let Some(issuer) = sample {
        writeln!(out, "\nTokens to try, good for an hour:")?;
        writeln!(out, "\nALICE={}", sample::token(issuer, "alice", "alice-phone")?)?;
        writeln!(out, "\nBOB={}", sample::token(issuer, "bob", "bob-laptop")?)?;
        writeln!(out, "\nPaste them, then ask, revoke, and ask again:\n")?;
        tell_curl(out, bound, "ALICE")?;
        writeln!(out, "rescind subject alice --reason LostDevice --server {admin}")?;
        writeln!(out, "rescind list --server {admin}")?;
    } else {
        writeln!(out, "\nTake a token of yours as TOKEN, then ask, revoke, and ask again:\n")?;
        tell_curl(out, bound, "TOKEN")?;
        if let (Some(list), Some(issuer)) = (names.first(), declared) {
            let issuer = quoted(issuer)?;
            writeln!(out, "rescind subject SUB --list {list} --issuer {issuer} --server {admin}")?;
        }
        writeln!(out, "rescind status --server {admin}")?;
    }
    writeln!(out, "\nCtrl-C ends it.")?;
    out.flush()?;
    Ok(())
}

/// Where forward auth is, for people.
fn forward_auth(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address}/auth"),
        Address::Unix(_) => format!("{address} (/auth)"),
    }
}

fn tell_curl(out: &mut (dyn Write + Send), bound: &Bound, token: &str) -> anyhow::Result<()> {
    let place = match bound.sidecar.http.first() {
        Some(Address::Unix(path)) => {
            format!("--unix-socket {} http://localhost/auth", quoted(&path.to_string_lossy())?)
        }
        Some(Address::Tcp(address)) => format!("http://{address}/auth"),
        None => return Ok(()),
    };
    Ok(writeln!(out, "curl -i -H \"Authorization: Bearer ${token}\" {place}")?)
}

/// Writes a word so that a shell reads it as it is: these lines are there to be pasted.
fn quoted(word: &str) -> anyhow::Result<Cow<'_, str>> {
    Ok(shlex::try_quote(word)?)
}
