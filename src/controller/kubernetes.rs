//! The controller on Kubernetes: the store is the cluster's, and one of the replicas writes what became of each object.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::watch;

use crate::controller::audit::Audit;
use crate::distribution::hub::Hub;
use crate::runtime::environment::Environment;
use crate::runtime::random::bytes;
use crate::runtime::supervisor::Supervisor;
use crate::store::kubernetes::KubernetesStore;

use events::Events;
use lease::{Leadership, Timing};
use writer::StatusWriter;

mod acts;
mod conditions;
mod enforced;
mod events;
mod lease;
mod list_writer;
mod lists;
mod quota;
mod told;
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

/// Competes for the lease, and writes what became of each object while it is held.
pub(super) fn lead(
    supervisor: &mut Supervisor,
    store: &KubernetesStore,
    hub: &Arc<Hub>,
    environment: &Environment,
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
    let writer =
        StatusWriter::new(store.clone(), Arc::clone(hub), Arc::clone(&environment.clock), events, audit);
    supervisor.spawn("status", writer.run(leads, supervisor.shutdown()));
}
