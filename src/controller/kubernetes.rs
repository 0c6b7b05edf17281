//! The controller on Kubernetes: the store is the cluster's, and one of the replicas writes what became of each object.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::watch;

use crate::controller::audit::Audit;
use crate::distribution::admission::Authenticator;
use crate::distribution::hub::Hub;
use crate::runtime::clock::Clock;
use crate::runtime::environment::Environment;
use crate::runtime::listen::Address;
use crate::runtime::random::bytes;
use crate::runtime::supervisor::Supervisor;
use crate::runtime::tls::ServerCertificate;
use crate::store::kubernetes::KubernetesStore;

use super::access::Access;
use super::domain::Domain;
use super::metrics::Unpublished;
use authority::keeper::Keeper;
pub(super) use enforced::OverReports;
use events::Events;
use issuer_keys::NewestKeys;
use lease::{Leadership, Timing};
use publication::{Publication, Source};
use reviews::{ClusterAccess, Reviews};
use subscribers::Subscribers;
use writer::StatusWriter;

mod acts;
mod authority;
mod conditions;
mod enforced;
mod events;
mod issuer_keys;
mod lease;
mod leftovers;
mod list_writer;
mod lists;
pub mod publication;
mod quota;
mod reviews;
mod subscribers;
mod told;
pub mod webhook;
mod writer;

/// How long to wait before the store is tried again that is not there at the start.
const OPEN_PAUSE: Duration = Duration::from_secs(2);

/// Which cluster is used, and how.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// A kubeconfig; without it the one of the environment, or what a pod is given.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig.
    pub context: Option<String>,
    /// The namespace of the controllers.
    pub namespace: String,
    /// For whom the tokens of sidecars must be meant; without it, sidecars show none and may follow every list.
    pub subscribers: Option<Audience>,
    /// Where the admin API is, if anywhere, and for whom the tokens of its callers may be meant.
    pub admin: Option<(Address, Audience)>,
}

/// For whom a token is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(pub String);

/// What answers who somebody is, and what they may do.
#[derive(Default)]
pub(super) struct Rights {
    pub(super) subscribers: Option<Arc<dyn Authenticator>>,
    pub(super) access: Option<Arc<dyn Access>>,
}

/// Prepares to ask the API server about sidecars and callers.
pub(super) fn rights(
    supervisor: &mut Supervisor,
    cluster: &Cluster,
    store: &KubernetesStore,
    environment: &Environment,
) -> Rights {
    // Each has its own: who floods the streams does not shut people out.
    let reviews = || Arc::new(Reviews::new(store.clone(), environment.clone()));
    let subscribers = cluster.subscribers.clone().map(|Audience(audience)| {
        let reviews = reviews();
        let keys = Arc::new(NewestKeys::default());
        let subscribers = Subscribers::new(Arc::clone(&reviews), Arc::clone(&keys), audience);
        let shutdown = supervisor.shutdown();
        supervisor.spawn("cluster keys", async move {
            keys.keep_up(&reviews, shutdown).await;
            Ok(())
        });
        Arc::new(subscribers) as Arc<dyn Authenticator>
    });
    let access = cluster.admin.clone().map(|(_, Audience(audience))| {
        Arc::new(ClusterAccess { reviews: reviews(), audience }) as Arc<dyn Access>
    });
    Rights { subscribers, access }
}

/// Opens the store; waits for an API server that is not there.
///
/// # Errors
/// A sentence about a kubeconfig that can't be used.
pub(super) async fn open(cluster: &Cluster, environment: &Environment) -> anyhow::Result<KubernetesStore> {
    let config = config(cluster).await?;
    loop {
        match KubernetesStore::open(config.clone(), &cluster.namespace, environment.clone()).await {
            Ok(store) => return Ok(store),
            Err(error) => tracing::warn!(%error, namespace = cluster.namespace, "trying again"),
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

async fn config(cluster: &Cluster) -> anyhow::Result<kube::Config> {
    let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    let Some(path) = &cluster.kubeconfig else {
        if cluster.context.is_some() {
            return kube::Config::from_kubeconfig(&options)
                .await
                .context("can't use the kubeconfig of the environment: give one with --kubeconfig");
        }
        return kube::Config::infer()
            .await
            .context("there is no kubeconfig and this is no pod: give a kubeconfig with --kubeconfig");
    };
    let shown = path.display();
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("can't use {shown}"))?;
    kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .with_context(|| format!("can't use {shown}"))
}

/// Keeps the controllers' own authority, and the certificate of this replica for its services in a domain. Returns who
/// publishes whom to trust.
pub(super) fn certify(
    supervisor: &mut Supervisor,
    store: &KubernetesStore,
    domain: &Domain,
    certificate: Arc<ServerCertificate>,
    clock: &Arc<dyn Clock>,
    unpublished: Unpublished,
) -> Publication {
    let (trusted, to_publish) = watch::channel(None);
    let (published, known) = watch::channel(None);
    let api = Api::namespaced(store.client(), store.namespace());
    let keeper = Keeper::new(api, domain.names(), Arc::clone(clock), certificate, trusted, known);
    supervisor.spawn("authority", keeper.run(supervisor.shutdown()));
    let source = Source::Own { trusted: to_publish, published };
    Publication::new(store.client(), store.namespace().to_owned(), source, unpublished)
}

/// Returns who publishes authorities that were given.
pub(super) fn publish_given(
    store: &KubernetesStore,
    bundle: watch::Receiver<Option<Arc<str>>>,
    unpublished: Unpublished,
) -> Publication {
    Publication::new(store.client(), store.namespace().to_owned(), Source::Given(bundle), unpublished)
}

/// Competes for the lease, and while it is held, writes what became of each object, and publishes whom to trust.
pub(super) fn lead(
    supervisor: &mut Supervisor,
    store: &KubernetesStore,
    hub: &Arc<Hub>,
    environment: &Environment,
    publication: Option<Publication>,
    audit: Audit,
) {
    let number = u32::from_le_bytes(bytes(&*environment.random));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let identity = format!("{host}_{number:08x}");
    let (events, told) = Events::new();
    let sending = events::send(store.clone(), identity.clone(), told, supervisor.shutdown());
    supervisor.spawn("events", sending);
    let (leadership, leads) = watch::channel(Leadership::Follower);
    let competing =
        lease::compete(store.clone(), identity, Timing::default(), leadership, supervisor.shutdown());
    supervisor.spawn("lease", competing);
    if let Some(publication) = publication {
        supervisor.spawn("publication", publication.run(leads.clone(), supervisor.shutdown()));
    }
    let writer =
        StatusWriter::new(store.clone(), Arc::clone(hub), Arc::clone(&environment.clock), events, audit);
    supervisor.spawn("status", writer.run(leads, supervisor.shutdown()));
}
