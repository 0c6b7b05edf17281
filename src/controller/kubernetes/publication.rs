//! Publishes which authorities are to be trusted: as a ConfigMap in every namespace that injects sidecars, and to the API
//! server in the webhook's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::MANAGED_BY;
use crate::controller::metrics::Unpublished;
use crate::runtime::failing::Failing;

use super::lease::Leadership;
use webhook_configuration::{Keeper, WebhookConfiguration};

mod webhook_configuration;

/// The ConfigMap, which sidecars mount.
const NAME: &str = "rescind-ca";
/// Its key with the certificates, PEM.
const KEY: &str = "ca.crt";
/// Namespaces with this label have sidecars injected.
const INJECTING: &str = "rescind.dev/inject=enabled";
/// How often the leader looks at everything, also when nothing has changed: namespaces come, and people edit. The kubelet
/// waits for a ConfigMap that is not there yet.
const PERIOD: Duration = Duration::from_secs(10);
/// A webhook has a few seconds to answer in, and this is a part of them.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a replica waits at its start for the API server to trust the webhook. What hinders that must not take the
/// streams from the sidecars that there are, also if all replicas start at once: so less than the default of a list's bound.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const PARALLEL: usize = 8;
/// How soon what could not be published is tried again.
const RETRY: Duration = Duration::from_secs(5);
const PAGE: u32 = 500;
/// How often a place where nothing can be published is told.
const SAY_EVERY: Duration = Duration::from_secs(300);

/// Says why something is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// This replica has not read the authorities yet.
    #[error("the authorities of the controllers are not known yet; trying again helps")]
    NotKnown,
    /// The API server is slow, or away.
    #[error("the API server did not answer within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
    /// The API server refused, or was not reached.
    #[error("the API server: {0}")]
    Call(#[from] kube::Error),
}

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trusted {
    /// The certificates of the authorities, PEM.
    pub(super) bundle: Arc<str>,
    /// The name of the one among them that is to sign once everybody can read of it.
    pub(super) successor: Option<Arc<str>>,
}

/// Where it is known from whom to trust.
#[derive(Clone)]
pub(super) enum Source {
    /// The controllers' own authorities.
    Own {
        trusted: watch::Receiver<Option<Trusted>>,
        /// Told: the successor that is published everywhere.
        published: watch::Sender<Option<Arc<str>>>,
    },
    /// Authorities that somebody else keeps, PEM.
    Given(watch::Receiver<Option<Arc<str>>>),
}

impl Source {
    const fn keeper(&self) -> Keeper {
        match self {
            Self::Own { .. } => Keeper::Controllers,
            Self::Given(_) => Keeper::Operator,
        }
    }

    /// Returns what is known now.
    fn latest(&mut self) -> Option<Trusted> {
        match self {
            Self::Own { trusted, .. } => trusted.borrow_and_update().clone(),
            Self::Given(bundle) => {
                bundle.borrow_and_update().clone().map(|bundle| Trusted { bundle, successor: None })
            }
        }
    }

    fn bundle(&self) -> Option<Arc<str>> {
        match self {
            Self::Own { trusted, .. } => trusted.borrow().as_ref().map(|trusted| Arc::clone(&trusted.bundle)),
            Self::Given(bundle) => bundle.borrow().clone(),
        }
    }

    async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        match self {
            Self::Own { trusted, .. } => trusted.changed().await,
            Self::Given(bundle) => bundle.changed().await,
        }
    }

    fn told(&self, successor: Option<Arc<str>>) {
        if let Self::Own { published, .. } = self {
            published.send_if_modified(|known| {
                let is_new = *known != successor;
                *known = successor;
                is_new
            });
        }
    }
}

fn forget(wanted: &watch::Sender<BTreeSet<String>>, namespace: &str) {
    // Nobody waits for less.
    wanted.send_if_modified(|wanted| {
        wanted.remove(namespace);
        false
    });
}

/// Something that is to say whom to trust.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    /// The namespaces are not known.
    Namespaces,
    /// The ConfigMap of a namespace.
    Namespace(String),
    /// The webhook's configuration.
    Webhook,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaces => write!(f, "the namespaces that want the ConfigMap {NAME}"),
            Self::Namespace(namespace) => write!(f, "ConfigMap {NAME} of namespace {namespace}"),
            Self::Webhook => write!(f, "MutatingWebhookConfiguration {}", webhook_configuration::NAME),
        }
    }
}

/// Publishes which authorities are to be trusted. Clones share what they know.
#[derive(Clone)]
pub struct Publication {
    client: Client,
    /// The controllers' namespace.
    own: String,
    source: Source,
    configuration: WebhookConfiguration,
    unpublished: Unpublished,
}

impl Publication {
    pub(super) fn new(client: Client, own: String, source: Source, unpublished: Unpublished) -> Self {
        let configuration = WebhookConfiguration::new(client.clone(), source.keeper());
        Self { client, own, source, configuration, unpublished }
    }

    /// Sees to it that a namespace has the ConfigMap: a pod is about to mount it. Any replica may ask; the leader keeps it
    /// up to date from then on. It takes a few seconds at most.
    ///
    /// # Errors
    /// [`PublicationError`]: the pod waits for the ConfigMap then, and gets it if its namespace has the label.
    pub async fn wanted(&self, namespace: &str) -> Result<(), PublicationError> {
        let bundle = self.known()?;
        let api = self.config_maps(namespace);
        // What is there is the leader's, whose knowledge may be newer.
        if timed(api.get_opt(NAME)).await?.is_some() {
            return Ok(());
        }
        match timed(api.create(&PostParams::default(), &config_map(&bundle))).await {
            Err(PublicationError::Call(kube::Error::Api(status))) if status.code == 409 => Ok(()),
            created => created.map(drop),
        }
    }

    /// Publishes to the namespaces that the webhook names, and takes the names away: a pod there is about to mount the
    /// ConfigMap. A namespace may go, and come again.
    pub(in crate::controller) async fn publish_wanted(
        self,
        wanted: watch::Sender<BTreeSet<String>>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let (mut changes, mut failing) = (wanted.subscribe(), Failing::said_every(SAY_EVERY));
        loop {
            let due = changes.borrow_and_update().clone();
            for namespace in &due {
                match self.wanted(namespace).await {
                    Ok(()) => forget(&wanted, namespace),
                    // A name that anybody may have made up.
                    Err(PublicationError::Call(kube::Error::Api(status))) if status.code == 404 => {
                        forget(&wanted, namespace);
                    }
                    Err(error) if failing.is_news(namespace, &error.to_string(), Instant::now()) => {
                        tracing::warn!(%error, namespace, "can't publish the ConfigMap {NAME} there yet");
                    }
                    Err(_) => {}
                }
            }
            let is_done = wanted.borrow().is_disjoint(&due);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(RETRY), if !is_done => {}
                // This end keeps the other one open.
                _ = changes.changed() => {}
            }
        }
    }

    /// Tells when the API server trusts the webhook, or has been waited for long enough: pods are made without a sidecar
    /// until then.
    pub(in crate::controller) async fn await_api_server(
        self,
        awaited: watch::Sender<bool>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = self.until_told() => {}
            () = tokio::time::sleep(LONGEST_WAIT) => tracing::warn!(
                "the API server does not trust the webhook yet, so pods are made without a sidecar; this replica serves \
                 sidecars all the same. Who leads says why it can't be told"
            ),
        }
        awaited.send_replace(true);
        shutdown.cancelled().await;
        Ok(())
    }

    async fn until_told(&self) {
        loop {
            let told = match self.known() {
                Ok(bundle) => self.configuration.is_told(&bundle).await,
                Err(error) => Err(error),
            };
            match told {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "can't read yet whom the API server trusts"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Publishes while this replica leads.
    pub(super) async fn run(
        mut self,
        mut leads: watch::Receiver<Leadership>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut failing = Failing::said_every(SAY_EVERY);
        loop {
            let is_leader = *leads.borrow_and_update() == Leadership::Leader;
            let trusted = self.source.latest();
            if let (true, Some(trusted)) = (is_leader, trusted) {
                let failed = self.publish(&trusted.bundle).await;
                self.unpublished.set(failed.len());
                if failed.is_empty() {
                    self.source.told(trusted.successor);
                }
                complain(&mut failing, &failed);
            } else {
                self.unpublished.set(0);
            }
            // The senders live as long as the tasks that keep the lease and the authorities.
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(PERIOD) => {}
                Ok(()) = leads.changed() => {}
                Ok(()) = self.source.changed() => {}
            }
        }
    }

    fn known(&self) -> Result<Arc<str>, PublicationError> {
        self.source.bundle().ok_or(PublicationError::NotKnown)
    }

    fn config_maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Publishes everywhere; returns where it can't be done, and why.
    async fn publish(&self, bundle: &str) -> BTreeMap<Place, PublicationError> {
        let mut failed = BTreeMap::new();
        match self.targets().await {
            Ok((namespaces, known)) => {
                let current: BTreeSet<_> =
                    known.iter().filter(|map| is_current(map, bundle)).filter_map(namespace_of).collect();
                let due: Vec<String> = namespaces.difference(&current).cloned().collect();
                let put = async |namespace: String| match self.put(&namespace, bundle).await {
                    Ok(()) => None,
                    Err(error) => Some((Place::Namespace(namespace), error)),
                };
                let mut put = futures::stream::iter(due).map(put).buffer_unordered(PARALLEL);
                while let Some(outcome) = put.next().await {
                    failed.extend(outcome);
                }
            }
            Err(error) => drop(failed.insert(Place::Namespaces, error)),
        }
        if let Err(error) = self.configuration.tell(bundle).await {
            failed.insert(Place::Webhook, error);
        }
        failed
    }

    /// Returns the namespaces that are to have the ConfigMap, and the ConfigMaps that there are.
    async fn targets(&self) -> Result<(BTreeSet<String>, Vec<ConfigMap>), PublicationError> {
        let (all_namespaces, all_maps) = (Api::all(self.client.clone()), Api::all(self.client.clone()));
        let labelled = list::<Namespace>(&all_namespaces, ListParams::default().labels(INJECTING));
        let by_name = ListParams::default().fields(&format!("metadata.name={NAME}"));
        let named = list::<ConfigMap>(&all_maps, by_name);
        let (labelled, named) = futures::future::try_join(labelled, named).await?;
        let living = labelled.into_iter().filter(|found| found.metadata.deletion_timestamp.is_none());
        let mut namespaces: BTreeSet<_> = living.filter_map(|found| found.metadata.name).collect();
        namespaces.insert(self.own.clone());
        // Those that a webhook has asked for.
        namespaces.extend(named.iter().filter(|map| is_ours(map)).filter_map(namespace_of));
        Ok((namespaces, named))
    }

    async fn put(&self, namespace: &str, bundle: &str) -> Result<(), PublicationError> {
        let api = self.config_maps(namespace);
        let map = config_map(bundle);
        let patch = PatchParams::default();
        match timed(api.patch(NAME, &patch, &Patch::Merge(&map))).await {
            Err(PublicationError::Call(kube::Error::Api(status))) if status.code == 404 => {
                timed(api.create(&PostParams::default(), &map)).await.map(drop)?;
            }
            patched => drop(patched?),
        }
        tracing::info!(namespace, "the authorities were published");
        Ok(())
    }
}

/// Says where nothing can be published: when that is new, and then now and then.
fn complain(failing: &mut Failing<Place>, failed: &BTreeMap<Place, PublicationError>) {
    failing.keep(|place| failed.contains_key(place));
    for (place, error) in failed {
        if failing.is_news(place, &error.to_string(), Instant::now()) {
            tracing::warn!(
                %place,
                %error,
                "the authorities can't be published there, which is tried again: sidecars there trust what they know, and a \
                 successor of the authority does not sign until it is published everywhere"
            );
        }
    }
}

fn config_map(bundle: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(NAME.to_owned());
    let (label, value) = MANAGED_BY;
    map.metadata.labels.get_or_insert_default().insert(label.to_owned(), value.to_owned());
    map.data.get_or_insert_default().insert(KEY.to_owned(), bundle.to_owned());
    map
}

fn is_ours(map: &ConfigMap) -> bool {
    let label = map.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY.0));
    label.is_some_and(|value| value == MANAGED_BY.1)
}

fn is_current(map: &ConfigMap, bundle: &str) -> bool {
    is_ours(map) && map.data.as_ref().and_then(|data| data.get(KEY)).is_some_and(|found| found == bundle)
}

fn namespace_of(map: &ConfigMap) -> Option<String> {
    map.metadata.namespace.clone()
}

async fn list<K>(api: &Api<K>, params: ListParams) -> Result<Vec<K>, PublicationError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut found = Vec::new();
    let mut params = params.limit(PAGE);
    loop {
        let page = timed(api.list(&params)).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

async fn timed<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, PublicationError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(PublicationError::Call),
        Err(_) => Err(PublicationError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};

    use super::*;
    use crate::revocation::freshness::Bounds;

    /// What hinders the API server from trusting the webhook must not take the streams from sidecars.
    #[tokio::test(start_paused = true)]
    async fn the_api_server_is_waited_for_less_long_than_the_default_bound() {
        let silent = |_: Request<kube::client::Body>| {
            std::future::pending::<Result<Response<kube::client::Body>, Infallible>>()
        };
        let client = Client::new(tower::service_fn(silent), "rescind-system");
        let (_keep, bundle) = watch::channel(Some(Arc::from("bundle")));
        let own = "rescind-system".to_owned();
        let publication = Publication::new(client, own, Source::Given(bundle), Unpublished::default());
        let (awaited, mut is_over) = watch::channel(false);
        let begun = Instant::now();
        let shutdown = CancellationToken::new();
        let over = async {
            is_over.wait_for(|is_over| *is_over).await.unwrap();
            let waited = u64::try_from(begun.elapsed().as_nanos()).unwrap();
            assert!(waited < Bounds::default().window_nanos());
            shutdown.cancel();
        };
        let (awaited, ()) = tokio::join!(publication.await_api_server(awaited, shutdown.clone()), over);
        awaited.unwrap();
    }

    #[test]
    fn a_config_map_is_current_if_it_has_the_bundle_and_our_label() {
        let map = config_map("bundle");
        assert!(is_current(&map, "bundle") && !is_current(&map, "other"));
        let mut unlabelled = map;
        unlabelled.metadata.labels = None;
        assert!(!is_current(&unlabelled, "bundle") && !is_ours(&unlabelled));
    }
}
