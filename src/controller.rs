//! The controller: a store, replicas that publish it to sidecars, and the admin API.
//!
//! [`start`] binds every address, says which, and leaves the tasks to a supervisor; so a test runs the whole of
//! it on port 0.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::api::document::ListDocument;
use crate::distribution::enforcement::{Predecessor, Sessions};
use crate::distribution::hub::Hub;
use crate::distribution::replica::Replica;
use crate::distribution::server::{DistributionServer, MAX_STREAMS};
use crate::injection::settings::Settings;
use crate::proto::DESCRIPTORS;
use crate::proto::v1::distribution_server;
use crate::proto::v1::revocation_admin_server::{self, RevocationAdminServer};
use crate::runtime::admin_http;
use crate::runtime::environment::Environment;
use crate::runtime::grpc_serve::{self, Transport};
use crate::runtime::http_serve;
use crate::runtime::line_log::{self, LineLog};
use crate::runtime::listen::{self, Address, Listener};
use crate::runtime::metrics::Exposition;
use crate::runtime::readiness::{Readiness, State};
use crate::runtime::supervisor::Supervisor;
use crate::runtime::tls::Protocols;
use crate::store::Store;
use crate::store::embedded::{self, EmbeddedStore};
use crate::store::kubernetes::KubernetesStore;

use access::{Access, Gate};
use admin::Admin;
use audit::Audit;
use bearer::Bearer;
use expiry::Expiry;
use kubernetes::webhook::Webhook;
use kubernetes::{Cluster, OverReports, Rights};
use metrics::{Injections, Trust};
use transport::{Certificates, Transports, plain};
use trust::{await_certificate, certify, publish_for_webhook};

pub mod access;
pub mod admin;
pub mod args;
pub mod audit;
mod bearer;
pub mod domain;
pub mod expiry;
pub mod kubernetes;
pub mod metrics;
pub mod transport;
mod trust;

/// Sockets of the admin API are for their owner only.
const ADMIN_MODE: u32 = 0o600;
/// Sidecars of other users of this machine may connect to a stream's socket.
const STREAM_MODE: u32 = 0o666;

/// Above the number of streams: one too many is told so, instead of being left to wait.
const MAX_STREAM_CONNECTIONS: usize = MAX_STREAMS + 1024;
/// More people and programs than revoke at one time.
const MAX_ADMIN_CONNECTIONS: usize = 1024;
/// How long calls in flight may take once sidecars have moved, or there is nothing to wait for.
const DRAIN: Duration = Duration::from_secs(2);

/// What a controller is told to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where revocations are kept.
    pub store: StoreConfig,
    /// Where sidecars connect; each listener has a replica of its own.
    pub listeners: Vec<Address>,
    /// Where the injection webhook is, if anywhere.
    pub webhook: Option<WebhookListen>,
    /// How connections over TCP are protected.
    pub certificates: Certificates,
    /// Where probes and metrics are, if anywhere.
    pub health: Option<Address>,
    /// Names by which the probes may be asked for, beside addresses.
    pub health_hosts: Vec<String>,
    /// Where acts are told: who has revoked and lifted.
    pub audit: line_log::Place,
}

/// Where revocations are kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// In a file.
    Embedded(Embedded),
    /// In a cluster.
    Kubernetes(Cluster),
}

/// A store in a file, with the API to revoke in it.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The folder of the store.
    pub data: PathBuf,
    /// What the caller knows of that folder.
    pub past: Past,
    /// Where the admin API is.
    pub admin: AdminListen,
    /// Lists to declare at the start. Those in the store that are not among them stay.
    pub lists: Vec<ListDocument>,
    /// How many live revocations the store takes.
    pub limit: usize,
}

/// What is known of a store that turns out to be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Past {
    /// It may be one that was lost and made anew: sidecars may live that follow the one before.
    #[default]
    Unknown,
    /// The caller has made the folder for this controller, and no sidecar has ever followed a store there. One that is
    /// not empty is refused.
    None,
}

/// Where the API server asks about the pods of a cluster.
#[derive(Clone, Debug)]
pub struct WebhookListen {
    /// The address.
    pub address: Address,
    /// What sidecars are to be like.
    pub settings: Settings,
    /// The namespace of the controllers.
    pub namespace: String,
}

/// Where the admin API is.
#[derive(Clone, Debug)]
pub struct AdminListen {
    /// The address.
    pub address: Address,
    /// A file with the token that callers must show; needed on TCP.
    pub bearer_file: Option<PathBuf>,
}

/// The addresses that were bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Where sidecars connect.
    pub listeners: Vec<Address>,
    /// Where the admin API is, if anywhere.
    pub admin: Option<Address>,
    /// Where the injection webhook is.
    pub webhook: Option<Address>,
    /// Where probes and metrics are.
    pub health: Option<Address>,
    /// What is told there, and wherever else metrics go.
    pub exposition: Exposition,
}

/// Binds and opens everything, then hands the tasks over.
///
/// # Errors
/// A sentence about the first thing that can't be had; nothing runs then.
pub async fn start(
    config: Config,
    environment: Environment,
    supervisor: &mut Supervisor,
) -> anyhow::Result<Bound> {
    let readiness = Readiness::new();
    let transports = Transports::new(&config.certificates)?;
    let sockets = bind(&config, &transports)?;
    let mut bound = sockets.bound();
    let lines = open_audit(supervisor, config.audit.clone(), &environment)?;
    let audit = Audit::new(lines.clone(), Arc::clone(&environment.clock));
    let opened = Opened::open(&config.store, &environment).await?;
    let rights = match (&config.store, &opened.cluster) {
        (StoreConfig::Kubernetes(cluster), Some(store)) => {
            kubernetes::rights(supervisor, cluster, store, &environment)
        }
        _ => Rights::default(),
    };
    let sessions = Arc::new(Sessions::new(opened.predecessor));
    let hubs = hubs(sockets.streams.len(), &*opened.store, &sessions);
    // The replicas and their servers end after the sidecars have moved.
    let stopped = CancellationToken::new();
    let mut servers = Vec::new();
    for ((listener, transport), hub) in sockets.streams.into_iter().zip(hubs.iter()) {
        let server = streams(supervisor, hub, &environment, &rights);
        let replica = Replica::new(Arc::clone(hub), Arc::clone(&opened.store), environment.clone());
        serve_streams(supervisor, hub, server.clone(), replica, (listener, transport), &stopped);
        servers.push(server);
        await_fetch(&readiness, hub);
    }
    drain(supervisor, servers, stopped.clone());
    transports.follow(supervisor, &environment.clock);
    let injections = Injections::default();
    let trust = Trust { certificate: transports.certificate(), ..Trust::default() };
    let webhook = config.webhook.map(|it| Webhook::new(it.settings, it.namespace, injections.clone()));
    match (&opened.cluster, hubs.first()) {
        (Some(cluster), Some(hub)) => {
            let publication =
                certify(supervisor, cluster, (&config.certificates, &transports), &trust, &environment);
            await_certificate(&readiness, transports.certificate());
            publish_for_webhook(supervisor, &readiness, publication.as_ref(), webhook.as_ref());
            kubernetes::lead(supervisor, cluster, hub, &environment, publication, audit.clone());
        }
        _ => {
            let (store, clock) = (Arc::clone(&opened.store), environment.clock.clone());
            let expiry = Expiry::new(store, Arc::clone(&hubs), clock, audit.clone());
            supervisor.spawn("expiry", expiry.run(supervisor.shutdown()));
        }
    }
    if let Some((listener, transport, bearer)) = sockets.admin {
        let (clock, shutdown) = (environment.clock.clone(), supervisor.shutdown());
        let admin = Admin::new(opened.store, Arc::clone(&hubs), sessions, clock, shutdown, audit);
        let (admin, protection) = protect(admin, opened.cluster, rights.access, bearer);
        serve_admin(supervisor, (listener, transport), admin, protection);
    }
    if let (Some((listener, tls)), Some(webhook)) = (sockets.webhook, webhook) {
        supervisor.spawn("injection webhook", webhook.serve(listener, tls, supervisor.shutdown()));
    }
    bound.exposition = metrics::exposition(hubs, &injections, trust, &lines);
    if let Some(listener) = sockets.health {
        let router = admin_http::router(readiness, bound.exposition.clone(), config.health_hosts);
        serve_health(supervisor, listener, router);
    }
    Ok(bound)
}

/// In a cluster callers are asked who they are; elsewhere they have a token, or the socket.
fn protect(
    admin: Admin,
    cluster: Option<KubernetesStore>,
    access: Option<Arc<dyn Access>>,
    bearer: Option<Bearer>,
) -> (Admin, Protection) {
    match (cluster, access, bearer) {
        (Some(cluster), Some(access), _) => {
            let gate = Gate::asking(Arc::clone(&access));
            (admin.in_cluster(gate, Arc::new(OverReports(cluster))), Protection::Access(access))
        }
        (_, _, Some(bearer)) => (admin, Protection::Bearer(bearer)),
        (_, _, None) => (admin, Protection::Socket),
    }
}

/// A store that is ready for use.
struct Opened {
    store: Arc<dyn Store>,
    predecessor: Predecessor,
    /// The same store, where it is that of a cluster: its objects have a status.
    cluster: Option<KubernetesStore>,
}

impl Opened {
    async fn open(config: &StoreConfig, environment: &Environment) -> anyhow::Result<Self> {
        match config {
            StoreConfig::Embedded(embedded) => {
                let (store, predecessor) = open(embedded, environment).await?;
                Ok(Self { store, predecessor, cluster: None })
            }
            StoreConfig::Kubernetes(cluster) => {
                let store = kubernetes::open(cluster, environment).await?;
                let predecessor = Predecessor::Possible { started: environment.clock.now() };
                Ok(Self { store: Arc::new(store.clone()), predecessor, cluster: Some(store) })
            }
        }
    }
}

/// Everything that was bound.
struct Sockets {
    streams: Vec<(Listener, Transport)>,
    admin: Option<(Listener, Transport, Option<Bearer>)>,
    webhook: Option<(Listener, Arc<rustls::ServerConfig>)>,
    health: Option<Listener>,
}

impl Sockets {
    fn bound(&self) -> Bound {
        Bound {
            listeners: self.streams.iter().map(|(listener, _)| listener.address().clone()).collect(),
            admin: self.admin.as_ref().map(|(listener, ..)| listener.address().clone()),
            webhook: self.webhook.as_ref().map(|(listener, _)| listener.address().clone()),
            health: self.health.as_ref().map(|listener| listener.address().clone()),
            exposition: Exposition::default(),
        }
    }
}

fn bind(config: &Config, transports: &Transports) -> anyhow::Result<Sockets> {
    let streams = config.listeners.iter().map(|address| {
        let transport = transports.of(address, Protocols::Http2)?;
        Ok((listen::bind(address, STREAM_MODE)?, transport))
    });
    let streams = streams.collect::<anyhow::Result<_>>()?;
    let admin = match &config.store {
        StoreConfig::Embedded(embedded) => Some(bind_admin(&embedded.admin)?),
        // Callers show who they are, so whoever reaches the API may call.
        StoreConfig::Kubernetes(cluster) => match &cluster.admin {
            Some((address, _)) => {
                let transport = transports.of_callers(address, Protocols::Http2)?;
                Some((listen::bind(address, STREAM_MODE)?, transport, None))
            }
            None => None,
        },
    };
    let webhook = config.webhook.as_ref().map(|webhook| bind_webhook(webhook, transports)).transpose()?;
    let health = config.health.as_ref().map(|address| listen::bind(address, ADMIN_MODE)).transpose()?;
    Ok(Sockets { streams, admin, webhook, health })
}

fn bind_webhook(
    webhook: &WebhookListen,
    transports: &Transports,
) -> anyhow::Result<(Listener, Arc<rustls::ServerConfig>)> {
    let address = &webhook.address;
    match transports.of_callers(address, Protocols::Http2AndHttp1)? {
        Transport::Tls(tls) => Ok((listen::bind(address, ADMIN_MODE)?, tls)),
        Transport::Plain(_) => anyhow::bail!(
            "the webhook at {address} needs a certificate, for an API server asks by TLS alone: give an IP:PORT, and \
             --service-domain, or --tls-cert and --tls-key"
        ),
    }
}

fn bind_admin(admin: &AdminListen) -> anyhow::Result<(Listener, Transport, Option<Bearer>)> {
    let bearer = admin.bearer_file.as_deref().map(Bearer::read).transpose()?;
    if matches!(admin.address, Address::Tcp(_)) && bearer.is_none() {
        anyhow::bail!(
            "the admin API on TCP ({}) needs a token: give a file with one, or use a Unix socket",
            admin.address
        );
    }
    let transport = plain(&admin.address)?;
    Ok((listen::bind(&admin.address, ADMIN_MODE)?, transport, bearer))
}

async fn open(config: &Embedded, environment: &Environment) -> anyhow::Result<(Arc<dyn Store>, Predecessor)> {
    let store_environment = embedded::Environment {
        clock: Arc::clone(&environment.clock),
        random: Arc::clone(&environment.random),
        limit: config.limit,
    };
    let store = EmbeddedStore::open(&config.data, store_environment)?;
    // Read after the file was ours: until then a process before this one may have told sidecars that they are fresh.
    let started = environment.clock.now();
    let predecessor = match config.past {
        Past::Unknown => Predecessor::Possible { started },
        Past::None if store.lists().await?.is_empty() => Predecessor::None,
        Past::None => anyhow::bail!(
            "there is a store in {} already, and --new-store says that there was none: leave it out",
            config.data.display()
        ),
    };
    for document in &config.lists {
        let name = &document.metadata.name;
        store.put_list(document.clone()).await.with_context(|| format!("can't declare list {name}"))?;
    }
    Ok((Arc::new(store), predecessor))
}

fn open_audit(
    supervisor: &mut Supervisor,
    place: line_log::Place,
    environment: &Environment,
) -> anyhow::Result<LineLog> {
    let (lines, writer) =
        line_log::open(place.clone()).with_context(|| format!("can't write the audit log to {place}"))?;
    let lost = audit::lost(Arc::clone(&environment.clock));
    supervisor.spawn("audit log", writer.run(lost, supervisor.shutdown()));
    Ok(lines)
}

fn hubs(count: usize, store: &dyn Store, sessions: &Arc<Sessions>) -> Arc<[Arc<Hub>]> {
    (0..count)
        .map(|index| Hub::new(&format!("replica-{index}"), store.seal_key(), Arc::clone(sessions)))
        .collect()
}

fn streams(
    supervisor: &Supervisor,
    hub: &Arc<Hub>,
    environment: &Environment,
    rights: &Rights,
) -> DistributionServer {
    let (clock, draining) = (Arc::clone(&environment.clock), supervisor.shutdown());
    let server = DistributionServer::new(Arc::clone(hub), clock, draining, MAX_STREAMS);
    match &rights.subscribers {
        Some(authenticator) => server.guarded_by(Arc::clone(authenticator)),
        None => server,
    }
}

fn serve_streams(
    supervisor: &mut Supervisor,
    hub: &Arc<Hub>,
    server: DistributionServer,
    replica: Replica,
    (listener, transport): (Listener, Transport),
    stopped: &CancellationToken,
) {
    let stop = stopped.clone();
    supervisor.spawn(hub.name(), async move { Ok(replica.run(stop).await?) });
    let routes =
        grpc_serve::described(Routes::new(server), DESCRIPTORS, &[distribution_server::SERVICE_NAME]);
    let serving =
        grpc_serve::serve(listener, transport, routes, MAX_STREAM_CONNECTIONS, stopped.clone(), DRAIN);
    supervisor.spawn(format!("{} streams", hub.name()), serving);
}

fn await_fetch(readiness: &Readiness, hub: &Arc<Hub>) {
    let news = hub.news();
    readiness.checked(hub.name(), move || match news.borrow().complete {
        Some(_) => State::Met,
        None => State::NotMet("nothing was fetched from the store yet".to_owned()),
    });
}

fn drain(supervisor: &mut Supervisor, servers: Vec<DistributionServer>, stopped: CancellationToken) {
    let shutdown = supervisor.shutdown();
    supervisor.spawn("drain", async move {
        shutdown.cancelled().await;
        futures::future::join_all(servers.iter().map(DistributionServer::drain)).await;
        stopped.cancel();
        Ok(())
    });
}

/// Who may call the admin API.
enum Protection {
    /// Whoever may open the socket.
    Socket,
    /// Whoever shows the token.
    Bearer(Bearer),
    /// Whom the cluster knows; what they may do is asked for each call.
    Access(Arc<dyn Access>),
}

fn serve_admin(
    supervisor: &mut Supervisor,
    (listener, transport): (Listener, Transport),
    admin: Admin,
    protection: Protection,
) {
    let routes = grpc_serve::described(
        Routes::new(RevocationAdminServer::new(admin)),
        DESCRIPTORS,
        &[revocation_admin_server::SERVICE_NAME],
    );
    let routes = match protection {
        Protection::Socket => routes,
        Protection::Bearer(bearer) => bearer.protect(routes),
        Protection::Access(access) => access::authenticated(routes, access),
    };
    let shutdown = supervisor.shutdown();
    let serving = grpc_serve::serve(listener, transport, routes, MAX_ADMIN_CONNECTIONS, shutdown, DRAIN);
    supervisor.spawn("admin API", serving);
}

fn serve_health(supervisor: &mut Supervisor, listener: Listener, router: axum::Router) {
    let shutdown = supervisor.shutdown();
    supervisor.spawn("probes and metrics", async move {
        http_serve::serve(listener, router, http_serve::Limits::default(), shutdown, DRAIN).await;
        Ok(())
    });
}

#[cfg(test)]
mod tests;
