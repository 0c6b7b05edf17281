//! The sidecar as a whole: [`start`] binds every address, says which, and leaves the tasks to a supervisor.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use http::Uri;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

use crate::distribution::client::{self, Client, Controllers};
use crate::distribution::session::Session;
use crate::distribution::view::{ListView, Views};
use crate::proto::DESCRIPTORS;
use crate::proto::envoy::service::auth::v3::authorization_server;
use crate::proto::v1::{claims_check_server, revocation_check_server};
use crate::revocation::freshness::Knowledge;
use crate::revocation::names::ListName;
use crate::runtime::admin_http;
use crate::runtime::environment::Environment;
use crate::runtime::gate::Gate;
use crate::runtime::grpc_serve::{self, Transport};
use crate::runtime::host_guard::{HostGuard, Literals};
use crate::runtime::http_serve::{self, Limits};
use crate::runtime::listen::{self, Address, Listener};
use crate::runtime::metrics::Exposition;
use crate::runtime::random::{Random, bytes};
use crate::runtime::readiness::{Readiness, State};
use crate::runtime::supervisor::Supervisor;
use crate::runtime::tls::{self, ClientFiles, Identity};

use super::answer::{Reveal, Style};
use super::check_service::CheckService;
use super::checker::Checker;
use super::claims_service::ClaimsService;
use super::disk;
use super::ext_authz::ExtAuthz;
use super::forward_auth;
use super::metrics::Metrics;

/// What a sidecar is told to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// URIs of controllers.
    pub controllers: Vec<String>,
    /// Authorities that are trusted for `https`.
    pub tls_authorities: Option<PathBuf>,
    /// What is shown to controllers.
    pub tls_identity: Option<Identity>,
    /// Where the token is that is shown to controllers.
    pub token_file: Option<PathBuf>,
    /// The lists to follow; none twice.
    pub lists: Vec<ListName>,
    /// Where checks over gRPC are served.
    pub grpc: Vec<Address>,
    /// Where forward auth is served.
    pub http: Vec<Address>,
    /// Where checks by bare claims are served, if anywhere.
    pub claims: Option<Address>,
    /// The largest bound that is accepted, in seconds, whatever the lists say.
    pub bound_seconds: Option<u32>,
    /// The folder for snapshots.
    pub data: Option<PathBuf>,
    /// Where probes and metrics are, if anywhere.
    pub health: Option<Address>,
    /// Names by which the probes may be asked for, beside addresses.
    pub health_hosts: Vec<String>,
    /// What the sidecar calls itself.
    pub identity: Option<String>,
    /// Threads for checks.
    pub threads: Option<usize>,
    /// The most checks at one time, of all paths together.
    pub max_concurrent_checks: u32,
    /// Whether the outside may know that a token was revoked.
    pub reveal: bool,
}

/// The addresses that were bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Checks over gRPC.
    pub grpc: Vec<Address>,
    /// Forward auth.
    pub http: Vec<Address>,
    /// Checks by bare claims.
    pub claims: Option<Address>,
    /// Probes and metrics.
    pub health: Option<Address>,
    /// What is told there, and wherever else metrics go.
    pub exposition: Exposition,
}

/// The most checks at one time, unless told otherwise. So many take one core 0.1 s, and proxies wait a few times as
/// long: nobody gives up on a check that is taken on. It is also more than one connection can ask at one time.
pub const DEFAULT_MAX_CONCURRENT_CHECKS: u32 = 1024;
/// How long a check's question may be on its way: proxies have given up long before.
pub const BODY_PATIENCE: Duration = Duration::from_secs(5);
/// Whoever shares the pod may ask.
const CHECK_MODE: u32 = 0o666;
/// Who asks by claims learns who is revoked.
const CLAIMS_MODE: u32 = 0o600;
const RETRY_AFTER_SECONDS: u32 = 1;
/// How long calls in flight may take when the sidecar ends.
const DRAIN: Duration = Duration::from_secs(2);

/// Binds everything, reads what is on the disk, then hands the tasks over.
///
/// # Errors
/// A sentence about the first thing that can't be had; nothing runs then.
pub fn start(config: Config, environment: Environment, supervisor: &mut Supervisor) -> anyhow::Result<Bound> {
    let sockets = bind(&config)?;
    let mut bound = sockets.bound();
    let controllers = controllers(&config)?;
    let mut found: Vec<ListView> = match &config.data {
        Some(folder) => disk::load(folder, &config.lists)?,
        None => config.lists.iter().cloned().map(ListView::empty).collect(),
    };
    found.iter_mut().for_each(|view| view.ceiling_seconds = config.bound_seconds);
    let views = Views::new(&config.lists);
    for (index, view) in found.iter().enumerate() {
        views.publish(index, view.clone());
    }
    let metrics = Metrics::default();
    let gate = Gate::new(usize::try_from(config.max_concurrent_checks)?, BODY_PATIENCE);
    let readiness = readiness(&views);
    bound.exposition = metrics.exposition(views.clone(), Arc::clone(&environment.clock), gate.clone());
    if let Some(listener) = sockets.health {
        let exposition = bound.exposition.clone();
        serve_health(supervisor, listener, admin_http::router(readiness, exposition, config.health_hosts));
    }
    let session = Session::new(identity(config.identity, &*environment.random), found);
    let checks = Checks {
        checker: Checker::new(views.clone(), Arc::clone(&environment.clock), Arc::new(metrics.clone())),
        style: Style::new(
            "rescind",
            if config.reveal { Reveal::Reason } else { Reveal::Nothing },
            RETRY_AFTER_SECONDS,
        ),
        controller: metrics.controller(),
        gate,
        sockets: sockets.checks,
    };
    let served = serve_checks(supervisor, &checks, threads(config.threads))?;
    if let Some(folder) = config.data {
        let keeping = disk::keep(folder, views.clone(), metrics.clone(), supervisor.shutdown());
        supervisor.spawn("snapshots", keeping);
    }
    if let Some(files) = &controllers.tls {
        let clock = Arc::clone(&environment.clock);
        supervisor.spawn("certificates", tls::follow(Arc::clone(files), clock, supervisor.shutdown()));
    }
    let environment = client::Environment {
        clock: environment.clock,
        random: environment.random,
        resolver: environment.resolver,
        observer: Arc::new(metrics),
    };
    let client = Client::new(session, views, controllers, environment);
    supervisor.spawn("stream", async move {
        // Only after the last check was answered do controllers stop counting this sidecar.
        client.run(served).await;
        Ok(())
    });
    Ok(bound)
}

/// Everything that was bound.
struct Sockets {
    checks: CheckSockets,
    health: Option<Listener>,
}

struct CheckSockets {
    grpc: Vec<Listener>,
    http: Vec<Listener>,
    claims: Option<Listener>,
}

impl Sockets {
    fn bound(&self) -> Bound {
        let address = |listener: &Listener| listener.address().clone();
        Bound {
            grpc: self.checks.grpc.iter().map(address).collect(),
            http: self.checks.http.iter().map(address).collect(),
            claims: self.checks.claims.as_ref().map(address),
            health: self.health.as_ref().map(address),
            exposition: Exposition::default(),
        }
    }
}

fn bind(config: &Config) -> anyhow::Result<Sockets> {
    for address in config.grpc.iter().chain(&config.http) {
        anyhow::ensure!(
            address.is_local(),
            "{address} can be reached from other machines, and checks are in the clear: bind to loopback or a Unix socket"
        );
    }
    let bind = |address: &Address| listen::bind(address, CHECK_MODE);
    let grpc = config.grpc.iter().map(bind).collect::<Result<_, _>>()?;
    let http = config.http.iter().map(bind).collect::<Result<_, _>>()?;
    let claims = config.claims.as_ref().map(|address| listen::bind(address, CLAIMS_MODE)).transpose()?;
    let health = config.health.as_ref().map(bind).transpose()?;
    Ok(Sockets { checks: CheckSockets { grpc, http, claims }, health })
}

/// In the clear, only a controller on this machine is followed.
fn controllers(config: &Config) -> anyhow::Result<Controllers> {
    for text in &config.controllers {
        // A path is no URI of a server, but that of a socket on this machine.
        if text.starts_with("unix:/") {
            continue;
        }
        let uri: Uri = text.parse().with_context(|| format!("--controller {text} is no URI"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => {
                anyhow::ensure!(config.tls_authorities.is_some(), "{text} needs --tls-ca: whom to trust")
            }
            Some("http") => {
                anyhow::ensure!(
                    is_loopback,
                    "{text} is on another machine: use https, for lists must not be read or changed on the way"
                );
            }
            _ => anyhow::bail!(
                "--controller {text}: write https://host:port, or http://ip:port or unix:/path on this machine"
            ),
        }
    }
    let files = |ca: &PathBuf| ClientFiles::read(ca.clone(), config.tls_identity.clone()).map(Arc::new);
    let tls = config.tls_authorities.as_ref().map(files).transpose()?;
    Ok(Controllers { uris: config.controllers.clone(), tls, token_file: config.token_file.clone() })
}

/// A name for people, and a random part that tells this process from every other.
fn identity(name: Option<String>, random: &dyn Random) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(host).unwrap_or_else(|| "sidecar".to_owned());
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(128).collect();
    format!("{name}#{:032x}", u128::from_le_bytes(bytes(random)))
}

fn threads(asked: Option<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or_else(cores).clamp(1, 256)
}

/// Ready when every list was proven once, and from then on: that a controller is away must not take every workload
/// out of service, which is what the answers themselves are for.
fn readiness(views: &Views) -> Readiness {
    let readiness = Readiness::new();
    let (views, was_ready) = (views.clone(), AtomicBool::new(false));
    readiness.checked("lists", move || {
        let unproven =
            views.load().into_iter().find(|view| !matches!(view.knowledge, Knowledge::FreshAsOf(_)));
        if unproven.is_none() {
            was_ready.store(true, Ordering::Relaxed);
        }
        match unproven {
            Some(view) if !was_ready.load(Ordering::Relaxed) => State::NotMet(format!(
                "list {} was not proven yet: is it declared, and is a controller reachable?",
                view.name
            )),
            _ => State::Met,
        }
    });
    readiness
}

fn serve_health(supervisor: &mut Supervisor, listener: Listener, router: axum::Router) {
    let shutdown = supervisor.shutdown();
    supervisor.spawn("probes and metrics", async move {
        http_serve::serve(listener, router, Limits::default(), shutdown, DRAIN).await;
        Ok(())
    });
}

/// What each thread of checks needs.
struct Checks {
    checker: Checker,
    style: Style,
    controller: watch::Receiver<Option<String>>,
    gate: Gate,
    sockets: CheckSockets,
}

/// Starts a single-threaded runtime per thread, each with a handle of every socket. Returns a token that is
/// cancelled when the last of them has answered its last check.
fn serve_checks(
    supervisor: &mut Supervisor,
    checks: &Checks,
    threads: usize,
) -> anyhow::Result<CancellationToken> {
    let served = CancellationToken::new();
    let guard: Arc<DropGuard> = Arc::new(served.clone().drop_guard());
    for thread in 0..threads {
        let part = checks.part()?;
        let (shutdown, guard) = (supervisor.shutdown(), Arc::clone(&guard));
        supervisor.spawn_runtime(format!("checks-{thread}"), move || async move {
            let outcome = part.serve(shutdown).await;
            drop(guard);
            outcome
        })?;
    }
    Ok(served)
}

impl Checks {
    fn part(&self) -> std::io::Result<Self> {
        let share =
            |listeners: &[Listener]| listeners.iter().map(Listener::share).collect::<Result<Vec<_>, _>>();
        let sockets = CheckSockets {
            grpc: share(&self.sockets.grpc)?,
            http: share(&self.sockets.http)?,
            claims: self.sockets.claims.as_ref().map(Listener::share).transpose()?,
        };
        Ok(Self {
            checker: self.checker.clone(),
            style: self.style.clone(),
            controller: self.controller.clone(),
            gate: self.gate.clone(),
            sockets,
        })
    }

    async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let grpc = self.sockets.grpc.into_iter().map(|listener| {
            let routes = Routes::new(ExtAuthz::new(self.checker.clone(), self.style.clone()).into_server());
            let routes = routes
                .add_service(CheckService::new(self.checker.clone(), self.controller.clone()).into_server());
            serve_grpc(listener, &self.gate, routes, CHECKS, shutdown.clone())
        });
        let claims = self.sockets.claims.into_iter().map(|listener| {
            let routes = Routes::new(ClaimsService::new(self.checker.clone()).into_server());
            serve_grpc(listener, &self.gate, routes, &[claims_check_server::SERVICE_NAME], shutdown.clone())
        });
        let grpc = grpc.chain(claims);
        let http = self.sockets.http.into_iter().map(|listener| {
            let router =
                self.gate.in_front_of(forward_auth::router(self.checker.clone(), self.style.clone()));
            let shutdown = shutdown.clone();
            async move {
                http_serve::serve(listener.rehome()?, router, LIMITS, shutdown, DRAIN).await;
                anyhow::Ok(())
            }
        });
        let http = futures::future::try_join_all(http);
        futures::future::try_join(futures::future::try_join_all(grpc), http).await?;
        Ok(())
    }
}

/// What the check socket offers.
const CHECKS: &[&str] = &[authorization_server::SERVICE_NAME, revocation_check_server::SERVICE_NAME];

/// Proxies keep connections open between questions.
const LIMITS: Limits =
    Limits { header_timeout: Duration::from_secs(75), max_header_bytes: 128 * 1024, max_connections: 4096 };

async fn serve_grpc(
    listener: Listener,
    gate: &Gate,
    routes: Routes,
    services: &[&str],
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let guard = listener.address().ip().map(|_| HostGuard::new(Literals::Loopback, Vec::new()));
    // Health and reflection are added behind its back: that a sidecar is busy does not make it ill.
    let routes = Routes::from(gate.in_front_of(routes.into_axum_router()));
    let routes = grpc_serve::described(routes, DESCRIPTORS, services);
    let (listener, transport) = (listener.rehome()?, Transport::Plain(guard));
    grpc_serve::serve(listener, transport, routes, LIMITS.max_connections, shutdown, DRAIN).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::test_support::{self, config, view};

    fn check(controller: &str, expected: Result<(), &str>) {
        let config = Config {
            token_file: None,
            controllers: vec![controller.to_owned()],
            tls_authorities: None,
            tls_identity: None,
            lists: Vec::new(),
            grpc: Vec::new(),
            http: Vec::new(),
            claims: None,
            bound_seconds: None,
            data: None,
            health: None,
            health_hosts: Vec::new(),
            identity: None,
            threads: None,
            max_concurrent_checks: DEFAULT_MAX_CONCURRENT_CHECKS,
            reveal: false,
        };
        match (controllers(&config).map(|taken| taken.uris), expected) {
            (Ok(uris), Ok(())) => assert_eq!(uris, [controller]),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{controller}: {error}"),
            (taken, _) => panic!("{controller}: {taken:?}"),
        }
    }

    #[test]
    fn in_the_clear_only_a_controller_on_this_machine_is_followed() {
        check("http://127.0.0.1:7401", Ok(()));
        check("http://[::1]:7401", Ok(()));
        check("unix:/run/rescind/stream.sock", Ok(()));
        check("unix:///run/rescind/stream.sock", Ok(()));
        check("http://192.0.2.1:7401", Err("use https"));
        check("https://192.0.2.1:7401", Err("--tls-ca"));
        check("unix:stream.sock", Err("write https://host:port"));
        check("ftp://127.0.0.1", Err("write https://host:port"));
        check("", Err("is no URI"));
    }

    /// A sidecar that can't vouch says so in its answers; taken out of service, it would take its workload with it.
    #[test]
    fn once_ready_it_stays_ready_when_a_list_is_stale_or_corrupt() {
        let published = Views::new(&["aa".parse().unwrap(), "bb".parse().unwrap()]);
        let publish = |index, name, state| published.publish(index, view(config(name), state, &[]));
        let readiness = readiness(&published);
        publish(0, "aa", test_support::State::Fresh);
        publish(1, "bb", test_support::State::NeverFresh);
        let report = readiness.report();
        assert!(!report.is_ready() && report.to_string().contains("list default/bb was not proven yet"));
        publish(1, "bb", test_support::State::Fresh);
        assert!(readiness.report().is_ready());
        for state in test_support::State::ALL {
            publish(1, "bb", state);
            assert!(readiness.report().is_ready(), "{state:?}");
        }
    }
}
