//! The Kubernetes store: revocations are objects, and etcd is the log.
//!
//! A create that the API server acknowledged is an acknowledged revocation, a delete lifts it, and the
//! resourceVersion of the type is the revision. Heartbeats, the epoch and the horizon are objects of the same type, so
//! one watch delivers everything in one order.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::watch;

use crate::api::revocation::ListReport;
use crate::revocation::key::HashKey;
use crate::revocation::time::{Moment, UnixSeconds};
use crate::revocation::version::{Epoch, Version};
use crate::runtime::environment::Environment;
use crate::runtime::random::bytes;

use super::{Appended, Beat, Fetched, Follow, FollowError, NewStep, SealKey, Store, StoreError, StoredList};
use call::{CallError, Object};
use deletion::Living;
use epoch::Reason;
use follower::Follower;
use heartbeat::{Heartbeats, PulseError};
use keys::HashKeys;
use lists::{Declared, Seen};
use looked::Looked;
use mirror::Mirror;

mod append;
mod call;
mod deletion;
mod epoch;
mod expire;
mod fetch;
mod follower;
mod heartbeat;
mod keys;
pub mod lists;
pub mod looked;
mod lost;
pub mod mirror;
mod object;
mod others;

/// The namespace of the controllers, unless told otherwise.
pub const DEFAULT_NAMESPACE: &str = "rescind-system";
/// Each round of proof writes an object; more than one a second push out the history that watches resume from. Where a
/// list has a small bound, that is the price.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);

/// Says why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be reached now, or refuses what is needed.
    #[error("can't use the store: {0}")]
    Store(#[from] StoreError),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the store.
    Done,
    /// The object has changed, or is gone: what it is now comes as an event.
    Superseded,
    /// It may be in the store, or not.
    Failed,
}

impl Written {
    fn of(outcome: Result<(), CallError>) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(error) if error.is_conflict() || error.is_not_found() => Self::Superseded,
            Err(error) => {
                tracing::warn!(%error, "a write failed");
                Self::Failed
            }
        }
    }
}

/// A store on Kubernetes. Clones share it.
#[derive(Clone)]
pub struct KubernetesStore {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    /// The connections in use; new ones with every fetch, for those before may be dead.
    client: ArcSwap<Client>,
    /// The namespace of the controllers.
    own: String,
    environment: Environment,
    seal_key: SealKey,
    epoch: Mutex<Option<Epoch>>,
    mirror: Mutex<Mirror>,
    /// Grows with every change of the mirror.
    changes: watch::Sender<u64>,
    heartbeats: tokio::sync::Mutex<Heartbeats>,
    hash_keys: HashKeys,
    seen_lists: Seen,
    looked: Mutex<Looked>,
}

impl fmt::Debug for KubernetesStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesStore").field("namespace", &self.shared.own).finish_non_exhaustive()
    }
}

impl Shared {
    fn client(&self) -> Client {
        Client::clone(&self.client.load())
    }

    /// All objects of the watched type.
    fn api(&self) -> Api<Object> {
        Api::all_with(self.client(), &call::resource())
    }

    /// Those of the controllers' namespace.
    fn own_api(&self) -> Api<Object> {
        self.api_in(&self.own)
    }

    fn api_in(&self, namespace: &str) -> Api<Object> {
        Api::namespaced_with(self.client(), namespace, &call::resource())
    }

    fn now(&self) -> Moment {
        self.environment.clock.now()
    }

    fn wall(&self) -> UnixSeconds {
        self.now().wall().floor()
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, change: impl FnOnce(&mut Mirror, Moment)) {
        change(&mut self.mirror(), self.now());
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn known_epoch(&self) -> MutexGuard<'_, Option<Epoch>> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the history of the store; begins one if there is none.
    async fn epoch(&self) -> Result<Epoch, CallError> {
        if let Some(epoch) = *self.known_epoch() {
            return Ok(epoch);
        }
        self.begin_epoch(None, Reason::First).await
    }

    async fn begin_epoch(&self, above: Option<u64>, reason: Reason) -> Result<Epoch, CallError> {
        let begun = epoch::ensure_above(&self.own_api(), &self.own, above, reason, &self.environment).await?;
        *self.known_epoch() = Some(begun);
        Ok(begun)
    }

    async fn lists(&self) -> Result<Vec<StoredList>, StoreError> {
        let (client, began) = (self.client(), self.now());
        // Nobody follows meanwhile who would see that it is back.
        if self.mirror().definition_is_gone {
            self.look_at_definition(&client).await?;
        }
        let declared = lists::fetch(&client, &self.seen_lists, self.wall()).await?;
        self.look_at_new_namespaces(&client, &declared).await?;
        let stored = self.with_hash_keys(&client, &declared).await?;
        self.looked().take(began, declared, self.now());
        self.changes.send_modify(|changes| *changes += 1);
        Ok(stored)
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the keys of the hashes to the declarations that can be used.
    async fn with_hash_keys(
        &self,
        client: &Client,
        declared: &[Declared],
    ) -> Result<Vec<StoredList>, StoreError> {
        let mut usable = Vec::new();
        for list in declared {
            match &list.document {
                Ok(document) if !self.is_gone(list.name.namespace()) => {
                    usable.push((list.name.clone(), list.uid.clone(), document.clone()));
                }
                Ok(_) => {}
                Err(why) => tracing::debug!(list = %list.name, why, "a declaration can't be used"),
            }
        }
        let stored = stream::iter(usable).map(|(name, uid, document)| async move {
            let random = &*self.environment.random;
            let hash_key = self.hash_keys.of(client, &self.own, &name, &uid, random).await?;
            Ok::<_, CallError>(StoredList { document, hash_key })
        });
        let stored = stored.buffered(lists::PARALLEL_CALLS).try_collect().await?;
        self.hash_keys.keep_only(declared);
        Ok(stored)
    }

    fn is_gone(&self, namespace: &str) -> bool {
        self.mirror().gone_holder(namespace).is_some()
    }

    /// Which namespace it was has to be known before it may go; and one that was gone may be back, as another.
    async fn look_at_new_namespaces(&self, client: &Client, declared: &[Declared]) -> Result<(), StoreError> {
        let new: HashSet<String> = {
            let mirror = self.mirror();
            let namespaces = declared.iter().map(|list| list.name.namespace());
            let is_new =
                |name: &&str| mirror.gone.contains_key(*name) || !mirror.namespaces.contains_key(*name);
            namespaces.filter(is_new).map(ToOwned::to_owned).collect()
        };
        let explained = deletion::look(client, new).await?;
        let mut mirror = self.mirror();
        for (name, Living { uid, .. }) in explained.alive {
            if mirror.gone.get(&name) != Some(&uid) {
                mirror.gone.remove(&name);
                mirror.namespaces.insert(name, uid);
            }
        }
        Ok(())
    }

    async fn beat(&self, beat: Beat) -> Result<Version, StoreError> {
        let epoch = self.epoch().await?;
        let mut heartbeats = self.heartbeats.lock().await;
        match heartbeats.beat(&self.own_api(), beat).await {
            Ok(revision) => Ok(object::version(epoch, revision)),
            Err(PulseError::Call(error)) => Err(error.into()),
            // What shows it is kept until another history has begun.
            Err(PulseError::WentBack) => Err(StoreError::WentBack),
        }
    }

    async fn report(&self, replica: u64, lists: Vec<ListReport>) -> Result<(), StoreError> {
        let nonce = u128::from_le_bytes(bytes(&*self.environment.random));
        let mut heartbeats = self.heartbeats.lock().await;
        Ok(heartbeats.report(&self.own_api(), replica, nonce, lists).await?)
    }

    async fn start_epoch(&self, above: Version) -> Result<(), StoreError> {
        // Also if its revisions are above by now: an older copy goes on counting, and has lost what it has lost.
        self.begin_epoch(Some(above.epoch.counter), Reason::WentBack).await?;
        self.heartbeats.lock().await.forget();
        Ok(())
    }
}

impl KubernetesStore {
    /// Opens the store of a cluster. `namespace` is that of the controllers.
    ///
    /// # Errors
    /// [`OpenError`]: ask again, or say so and end.
    pub async fn open(config: Config, namespace: &str, environment: Environment) -> Result<Self, OpenError> {
        let client = call::connect(&config).map_err(StoreError::from)?;
        let seal_key = keys::seal_key(&client, namespace, &*environment.random).await;
        let seal_key = SealKey::new(&seal_key.map_err(StoreError::from)?);
        Ok(Self::over(client, config, namespace, seal_key, environment))
    }

    fn over(
        client: Client,
        config: Config,
        namespace: &str,
        seal_key: SealKey,
        environment: Environment,
    ) -> Self {
        let shared = Shared {
            config,
            client: ArcSwap::from_pointee(client),
            own: namespace.to_owned(),
            environment,
            seal_key,
            epoch: Mutex::default(),
            mirror: Mutex::default(),
            changes: watch::Sender::new(0),
            heartbeats: tokio::sync::Mutex::default(),
            hash_keys: HashKeys::default(),
            seen_lists: Seen::default(),
            looked: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lends what the watch has shown.
    pub fn with_mirror<T>(&self, look: impl FnOnce(&mut Mirror) -> T) -> T {
        look(&mut self.shared.mirror())
    }

    /// Returns a receiver that wakes when the watch, or a look at the lists, has shown something.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Returns the objects of the lists, as they were when they were looked at last.
    #[must_use]
    pub fn declared(&self) -> Vec<Declared> {
        self.looked().lists
    }

    /// Returns the last look at the lists.
    #[must_use]
    pub fn looked(&self) -> Looked {
        self.shared.looked().clone()
    }

    /// Returns the key of the hashes of a list that was looked at, by the UID of its object.
    #[must_use]
    pub fn hash_key(&self, uid: &str) -> Option<HashKey> {
        self.shared.hash_keys.known(uid)
    }

    /// Returns a client with the connections in use.
    #[must_use]
    pub fn client(&self) -> Client {
        self.shared.client()
    }

    /// Writes the status of a revocation, if its object is still the one that was observed.
    pub async fn write_status(&self, metadata: &ObjectMeta, status: Value) -> Written {
        let api = self.shared.api_in(metadata.namespace.as_deref().unwrap_or_default());
        Written::of(call::patch_status(&api, metadata, status).await.map(drop))
    }

    /// Writes the status of a list, if its object is still the one that was observed.
    pub async fn write_list_status(&self, list: &Declared, status: Value) -> Written {
        let api: Api<Object> = Api::namespaced_with(self.client(), list.name.namespace(), &lists::resource());
        let metadata = ObjectMeta {
            name: Some(list.name.name().to_owned()),
            uid: Some(list.uid.clone()),
            resource_version: Some(list.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Written::of(call::patch_status(&api, &metadata, status).await.map(drop))
    }

    /// Tries once more to write again what the store has lost.
    pub async fn retry_lost(&self) {
        self.shared.retry_lost().await;
    }

    /// Removes an object, if it is still the one that was observed.
    pub async fn remove(&self, metadata: &ObjectMeta) -> Written {
        let api = self.shared.api_in(metadata.namespace.as_deref().unwrap_or_default());
        let preconditions =
            Preconditions { uid: metadata.uid.clone(), resource_version: metadata.resource_version.clone() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = metadata.name.as_deref().unwrap_or_default();
        Written::of(call::timed(api.delete(name, &parameters)).await.map(drop))
    }

    /// Returns the namespace of the controllers.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.shared.own
    }
}

impl Store for KubernetesStore {
    fn append(&self, step: NewStep) -> BoxFuture<'_, Result<Appended, StoreError>> {
        Box::pin(async move {
            match step {
                NewStep::Revoke(new) => append::revoke(&self.shared, *new).await,
                NewStep::Lift { list, name, id } => append::lift(&self.shared, list, name, id).await,
                NewStep::Expire { judged, horizon } => expire::expire(&self.shared, judged, horizon).await,
            }
        })
    }

    fn follow(&self, from: Version) -> BoxFuture<'_, Result<Box<dyn Follow>, FollowError>> {
        Box::pin(async move {
            let follower = Follower::start(Arc::clone(&self.shared), from).await?;
            Ok(Box::new(follower) as Box<dyn Follow>)
        })
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, StoreError>> {
        Box::pin(self.shared.fetch())
    }

    fn read(&self) -> BoxFuture<'_, Result<Fetched, StoreError>> {
        Box::pin(self.shared.read())
    }

    fn lists(&self) -> BoxFuture<'_, Result<Vec<StoredList>, StoreError>> {
        Box::pin(self.shared.lists())
    }

    fn beat(&self, beat: Beat) -> BoxFuture<'_, Result<Version, StoreError>> {
        Box::pin(self.shared.beat(beat))
    }

    fn report(&self, replica: u64, lists: Vec<ListReport>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.report(replica, lists))
    }

    fn keeps_reports(&self) -> bool {
        true
    }

    fn start_epoch(&self, above: Version) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.start_epoch(above))
    }

    fn seal_key(&self) -> SealKey {
        self.shared.seal_key.clone()
    }

    fn round_interval(&self) -> Duration {
        ROUND_INTERVAL
    }
}

#[cfg(test)]
pub(crate) mod tests;
