//! A replica: follows the store, keeps a publisher per list, and proves freshness by its own heartbeats.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockWriteGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::revocation::key::HashKey;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::record::Record;
use crate::revocation::state::{State, Step};
use crate::revocation::version::Version;
use crate::runtime::environment::Environment;
use crate::runtime::random::bytes;
use crate::store::{
    Beat, Event, Fetched, Follow, FollowError, Revocation, Store, StoreError, StoredList, What,
};

use super::hub::{Hub, Lists, lock};
use super::publisher::{ListPublisher, PublishedConfig};
use proof::Round;
use rounds::{Done, Finished, Next, Rounds};

mod proof;
mod rounds;

/// The pause before everything is fetched anew; it doubles with every failure.
const FETCH_PAUSE: Duration = Duration::from_millis(200);
const MAX_FETCH_PAUSE: Duration = Duration::from_secs(2);
/// A process that is about to end waits no longer for its store.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Says why a replica stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

/// Follows a store until it is told to stop.
pub struct Replica {
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    environment: Environment,
    id: u64,
    /// Lists with a revocation that can't be read or has no row: they are not published until it is gone.
    withheld: Mutex<Withheld>,
}

/// By list, what can't be read of it.
type Withheld = BTreeMap<ListName, BTreeSet<RecordId>>;

impl Replica {
    /// Makes a replica for a hub.
    #[must_use]
    pub fn new(hub: Arc<Hub>, store: Arc<dyn Store>, environment: Environment) -> Self {
        let id = u64::from_le_bytes(bytes(&*environment.random));
        if store.keeps_reports() {
            hub.sessions().are_reported();
        }
        Self { hub, store, environment, id, withheld: Mutex::default() }
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`ReplicaError`] if the store fails: nothing can be vouched for any more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ReplicaError> {
        tokio::select! {
            () = shutdown.cancelled() => {}
            error = self.keep_following() => return Err(error),
        }
        self.report_at_the_end().await;
        Ok(())
    }

    /// Sidecars that have moved are counted elsewhere: nobody has to wait for them here.
    async fn report_at_the_end(&self) {
        match tokio::time::timeout(LAST_REPORT_TIMEOUT, self.report()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::info!(%error, "the last report could not be written"),
            Err(_) => tracing::info!("the last report could not be written in time"),
        }
    }

    async fn keep_following(&self) -> ReplicaError {
        let mut went_back = self.hub.went_back.subscribe();
        let mut pause = FETCH_PAUSE;
        loop {
            let again = match self.fetch().await {
                Ok(mut follow) => {
                    pause = FETCH_PAUSE;
                    tokio::select! {
                        again = self.follow(&mut follow) => again,
                        seen = told(&mut went_back) => self.start_epoch(seen).await,
                    }
                }
                Err(again) => again,
            };
            let seen = self.hub.news.borrow().complete;
            let again = match (again, seen) {
                (Again::WentBack, Some(seen)) => self.start_epoch(seen).await,
                (again, _) => again,
            };
            match again {
                Again::Stop(error) => return error,
                Again::Fetch(why) => {
                    tracing::warn!(replica = self.hub.name, why, "fetching everything anew");
                }
                Again::Changed(why) => {
                    tracing::info!(replica = self.hub.name, why, "fetching everything anew");
                }
                Again::WentBack => tracing::warn!(replica = self.hub.name, "fetching everything anew"),
            }
            // What is wrong with a store may last: it is asked again, and not without a pause.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_FETCH_PAUSE);
        }
    }

    /// The store is an older copy of itself. Sidecars keep what they know of the history that is lost, beside the one
    /// that begins. Nothing is fetched before it has begun: what the store has lost would seem to be lifted.
    async fn start_epoch(&self, seen: Version) -> Again {
        tracing::error!(
            replica = self.hub.name,
            %seen,
            "the store does not have what was seen of it: it went back in time, perhaps restored from a backup; \
             another history begins, and what was revoked since the backup has to be revoked again"
        );
        let mut pause = FETCH_PAUSE;
        loop {
            match self.store.start_epoch(seen).await {
                Ok(()) => return Again::Changed("another history has begun"),
                Err(error @ StoreError::Failed { .. }) => return Again::Stop(error.into()),
                Err(error) => {
                    tracing::warn!(replica = self.hub.name, %error, "another history can't be begun yet");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_FETCH_PAUSE);
        }
    }

    /// Builds everything aside, then swaps it in.
    async fn fetch(&self) -> Result<Box<dyn Follow>, Again> {
        // Also while the rest can't be fetched.
        let before = self.store.lists().await.map_err(refused)?;
        keep_only(&mut self.published(), &before);
        let fetched = self.store.fetch().await.map_err(refused)?;
        // A proof that was given stands for at least what was seen then: an earlier state would break it.
        let seen = self.hub.news.borrow().complete;
        if seen.is_some_and(|seen| !at_or_above(fetched.version, seen)) {
            return Err(Again::WentBack);
        }
        // A namespace that was about to go may have lost some already of what was fetched.
        let lists = self.store.lists().await.map_err(refused)?;
        self.withheld().clear();
        fetched
            .unreadable
            .iter()
            .for_each(|unreadable| self.withhold(&unreadable.list, unreadable.id, &unreadable.why));
        let built = lists.iter().filter_map(|list| self.build(list, &fetched)).collect();
        let follow = self.store.follow(fetched.version).await.map_err(after)?;
        self.publish(built);
        let observed = self.environment.clock.now();
        self.hub.tell(|news| {
            (news.complete, news.added) = (Some(fetched.version), Some(fetched.version));
            news.observed = observed;
        });
        Ok(follow)
    }

    fn published(&self) -> RwLockWriteGuard<'_, Lists> {
        self.hub.lists.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a list has not changed, its streams go on: else each of them would take the whole of it again.
    fn publish(&self, built: Vec<(ListName, ListPublisher)>) {
        let mut lists = self.published();
        let mut known = std::mem::take(&mut *lists);
        lists.extend(built.into_iter().map(|(name, fetched)| match known.remove(&name) {
            Some(publisher) if lock(&publisher).stands_as(&fetched) => {
                lock(&publisher).go_on_from(fetched);
                (name, publisher)
            }
            _ => (name, Arc::new(Mutex::new(fetched))),
        }));
    }

    fn build(&self, list: &StoredList, fetched: &Fetched) -> Option<(ListName, ListPublisher)> {
        let name = list.document.name().ok().filter(|name| !self.withheld().contains_key(name))?;
        let config = match PublishedConfig::new(list) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(list = %name, %error, "the list's declaration can't be used; nothing is published");
                return None;
            }
        };
        self.hub.sessions().note_window(&name, config.window_nanos(self.environment.clock.now()));
        let own = fetched.revocations.iter().filter(|revocation| revocation.list == name);
        let records: Option<Vec<Record>> =
            own.map(|revocation| self.derive(revocation, &list.hash_key)).collect();
        let state = State::of(list.hash_key, records?);
        let publisher =
            ListPublisher::new(state, fetched.version, fetched.horizon, config, self.hub.seal_key());
        Some((name, publisher))
    }

    async fn follow(&self, follow: &mut Box<dyn Follow>) -> Again {
        let mut rounds = Rounds::new(self.hub.news.borrow().proven);
        let mut acknowledged = self.hub.sessions().changes();
        loop {
            let wanted = self.hub.pings() > rounds.proven();
            // One thing is written at a time.
            let may_report = self.store.keeps_reports() && rounds.is_idle();
            tokio::select! {
                event = follow.next() => match event {
                    Ok(event) => {
                        rounds.observe(&event);
                        if self.apply(&event) == Applied::MayBeWhole {
                            return Again::Changed("a list that is withheld has changed");
                        }
                    }
                    Err(error) => return after(error),
                },
                () = self.hub.wanted.notified(), if !wanted => {}
                Ok(()) = acknowledged.changed(), if may_report => rounds.report(self.report()),
                next = rounds.next(wanted) => match next {
                    Next::Written(outcome) => {
                        if let Err(error) = rounds.worked(outcome) {
                            return refused(error);
                        }
                    }
                    Next::TimedOut => {}
                    Next::Start => self.start(&mut rounds),
                },
            }
            match rounds.finish() {
                Finished::No => {}
                Finished::Proven { serial, lists } => {
                    if self.complete(serial, lists) == Adopted::NewList {
                        return Again::Changed("a list was declared");
                    }
                }
                Finished::WentBack => return Again::WentBack,
                Finished::GivenUp => {
                    // Others may get on: their watch is another one.
                    self.hub.ask_to_move();
                    return Again::Fetch("several rounds of proof failed".to_owned());
                }
            }
        }
    }

    /// Whoever has pinged is counted in a report that is taken after this, and in the log before the heartbeat.
    fn start(&self, rounds: &mut Rounds) {
        let (beat, serial, seen) = (self.beat(), self.hub.pings(), self.hub.news.borrow().complete);
        let interval = rounds::interval(self.store.round_interval(), self.smallest_bound());
        rounds.start(Round::start(beat, serial, seen), interval, self.prove(beat));
    }

    /// Returns the smallest bound that a published list declares.
    fn smallest_bound(&self) -> Option<Duration> {
        let lists = self.hub.lists.read().unwrap_or_else(PoisonError::into_inner);
        let bounds = lists.values().map(|publisher| lock(publisher).config().bounds.bound_seconds);
        bounds.min().map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Takes what a proven round has read, then lets the streams answer its pings.
    fn complete(&self, serial: u64, lists: Vec<StoredList>) -> Adopted {
        let adopted = self.adopt(lists);
        self.hub.rounds.fetch_add(1, Ordering::Relaxed);
        self.hub.tell(|news| news.proven = serial);
        adopted
    }

    fn beat(&self) -> Beat {
        Beat { replica: self.id, nonce: u128::from_le_bytes(bytes(&*self.environment.random)) }
    }

    /// The list of declarations begins after the nonce was made, as the heartbeat does.
    fn prove(&self, beat: Beat) -> BoxFuture<'static, Result<Done, StoreError>> {
        let (store, report) = (Arc::clone(&self.store), self.report());
        Box::pin(async move {
            report.await?;
            let lists = store.lists().await?;
            Ok(Done::Beaten { lists, version: store.beat(beat).await? })
        })
    }

    fn report(&self) -> BoxFuture<'static, Result<Done, StoreError>> {
        let (store, replica) = (Arc::clone(&self.store), self.id);
        let lists = store.keeps_reports().then(|| self.hub.report(self.environment.clock.now()));
        Box::pin(async move {
            if let Some(lists) = lists {
                store.report(replica, lists).await?;
            }
            Ok(Done::Reported)
        })
    }

    fn apply(&self, event: &Event) -> Applied {
        let withheld = self.withheld().clone();
        self.unpublish(event);
        self.advance(event);
        let observed = self.environment.clock.now();
        if matches!(event.what, What::Added(_) | What::Removed { .. }) {
            self.hub.changed(event.version, observed);
        }
        self.hub.tell(|news| {
            news.complete = Some(event.version);
            news.observed = observed;
            if matches!(event.what, What::Added(_)) {
                news.added = Some(event.version);
            }
        });
        let about = match &event.what {
            What::Added(revocation) => revocation.id,
            What::Removed { id, .. } => *id,
            What::Unreadable(_) | What::Horizon(_) | What::Heartbeat(_) => return Applied::Taken,
        };
        let was_withheld = withheld.values().any(|ids| ids.contains(&about));
        if was_withheld { Applied::MayBeWhole } else { Applied::Taken }
    }

    /// Nobody vouches for a list without one of its revocations: it is published no more, and the others are.
    fn unpublish(&self, event: &Event) {
        let list = match &event.what {
            What::Added(revocation) => {
                let lists = self.hub.lists.read().unwrap_or_else(PoisonError::into_inner);
                let publisher = lists.get(&revocation.list);
                let hash_key = publisher.map(|publisher| *lock(publisher).state().hash_key());
                if hash_key.is_none_or(|hash_key| self.derive(revocation, &hash_key).is_some()) {
                    return;
                }
                &revocation.list
            }
            What::Unreadable(unreadable) => {
                self.withhold(&unreadable.list, unreadable.id, &unreadable.why);
                &unreadable.list
            }
            What::Removed { .. } | What::Horizon(_) | What::Heartbeat(_) => return,
        };
        self.published().remove(list);
    }

    fn withheld(&self) -> MutexGuard<'_, Withheld> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn withhold(&self, list: &ListName, id: RecordId, why: &str) {
        tracing::error!(%list, %id, why, "a revocation can't be read: its list is not published until it is gone");
        self.withheld().entry(list.clone()).or_default().insert(id);
    }

    /// Derives the record of a revocation; none if it has no row, and then its list is withheld.
    fn derive(&self, revocation: &Revocation, hash_key: &HashKey) -> Option<Record> {
        let record = Record::derive(revocation.id, &revocation.spec, revocation.created, hash_key);
        record.map_err(|error| self.withhold(&revocation.list, revocation.id, &error.to_string())).ok()
    }

    fn advance(&self, event: &Event) {
        let lists = self.hub.lists.read().unwrap_or_else(PoisonError::into_inner);
        for (name, publisher) in lists.iter() {
            let mut publisher = lock(publisher);
            match &event.what {
                What::Added(revocation) if revocation.list == *name => {
                    let hash_key = *publisher.state().hash_key();
                    if let Some(record) = self.derive(revocation, &hash_key) {
                        publisher.apply(Step::Put(record), event.version);
                    }
                }
                What::Removed { id, list } if list == name => {
                    _ = publisher.apply(Step::Remove(*id), event.version)
                }
                What::Horizon(horizon) => publisher.raise_horizon(*horizon),
                What::Added(_) | What::Removed { .. } | What::Unreadable(_) | What::Heartbeat(_) => {}
            }
            publisher.advance(event.version);
        }
    }

    /// Takes the declarations that a round has read.
    fn adopt(&self, stored: Vec<StoredList>) -> Adopted {
        let mut adopted = Adopted::Known;
        let mut lists = self.published();
        keep_only(&mut lists, &stored);
        for list in stored {
            let Ok(name) = list.document.name() else { continue };
            let mut publisher = lists.get(&name).map(|publisher| lock(publisher));
            // A list that was deleted and declared anew between two rounds has another hash key.
            if publisher.as_ref().is_some_and(|publisher| *publisher.state().hash_key() != list.hash_key) {
                adopted = Adopted::NewList;
                continue;
            }
            let generation = publisher.as_ref().map(|publisher| publisher.config().generation);
            if generation >= Some(list.document.metadata.generation) {
                continue;
            }
            match (PublishedConfig::new(&list), &mut publisher) {
                (Ok(config), Some(publisher)) => {
                    self.hub.sessions().note_window(&name, config.window_nanos(self.environment.clock.now()));
                    publisher.set_config(config);
                }
                (Ok(_), None) if self.withheld().contains_key(&name) => {}
                (Ok(_), None) => adopted = Adopted::NewList,
                (Err(error), _) => tracing::error!(list = %name, %error, "a new declaration can't be used"),
            }
        }
        adopted
    }
}

/// A list that is gone, or that has lost what it held, is published no more: its sidecars go stale, and nothing is lifted.
fn keep_only(lists: &mut Lists, stored: &[StoredList]) {
    let names: BTreeSet<ListName> = stored.iter().filter_map(|list| list.document.name().ok()).collect();
    lists.retain(|name, _| names.contains(name));
}

/// What an event did.
#[derive(PartialEq, Eq)]
enum Applied {
    Taken,
    /// It may have taken away what a list was withheld for.
    MayBeWhole,
}

/// Whether a round has read a list that is not published yet.
#[derive(PartialEq, Eq)]
enum Adopted {
    Known,
    NewList,
}

/// Waits until a stream tells that the store went back.
async fn told(went_back: &mut watch::Receiver<Option<Version>>) -> Version {
    loop {
        if went_back.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(seen) = *went_back.borrow_and_update() {
            return seen;
        }
    }
}

/// Why following ended.
enum Again {
    /// Something went wrong.
    Fetch(String),
    /// Somebody changed what there is to follow, as they may.
    Changed(&'static str),
    /// The store does not have what had been seen of it.
    WentBack,
    Stop(ReplicaError),
}

fn at_or_above(version: Version, seen: Version) -> bool {
    matches!(version.partial_cmp(&seen), Some(std::cmp::Ordering::Equal | std::cmp::Ordering::Greater))
}

fn refused(error: StoreError) -> Again {
    if error == StoreError::WentBack {
        return Again::WentBack;
    }
    if matches!(error, StoreError::Failed { .. }) {
        return Again::Stop(error.into());
    }
    Again::Fetch(error.to_string())
}

fn after(error: FollowError) -> Again {
    if error == FollowError::WentBack {
        return Again::WentBack;
    }
    if matches!(error, FollowError::Failed { .. }) {
        return Again::Stop(error.into());
    }
    Again::Fetch(error.to_string())
}

#[cfg(test)]
mod tests;
