//! A replica: follows the store, keeps a publisher per list, and proves freshness by its own heartbeats.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::revocation::key::HashKey;
use crate::revocation::names::ListName;
use crate::revocation::record::Record;
use crate::revocation::state::{State, Step};
use crate::revocation::version::Version;
use crate::runtime::environment::Environment;
use crate::runtime::random::bytes;
use crate::store::{
    Beat, Event, Fetched, Follow, FollowError, Revocation, Store, StoreError, StoredList, What,
};

use super::hub::{Hub, lock};
use super::publisher::{ListPublisher, PublishedConfig};
use proof::{Outcome, Round};

mod proof;

/// The shortest time from the start of one round of proof to that of the next.
const ROUND_INTERVAL: Duration = Duration::from_millis(200);
/// A round that takes longer proves nothing, and another is tried.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before everything is fetched anew.
const FETCH_PAUSE: Duration = Duration::from_millis(200);
/// After so many rounds without a proof, everything is fetched anew.
const MAX_MISSED_ROUNDS: u32 = 3;

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
    /// Lists with a revocation that has no row: they are not published until it is gone.
    withheld: Mutex<BTreeSet<ListName>>,
}

impl Replica {
    /// Makes a replica for a hub.
    #[must_use]
    pub fn new(hub: Arc<Hub>, store: Arc<dyn Store>, environment: Environment) -> Self {
        let id = u64::from_le_bytes(bytes(&*environment.random));
        Self { hub, store, environment, id, withheld: Mutex::default() }
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`ReplicaError`] if the store fails: nothing can be vouched for any more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ReplicaError> {
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            error = self.keep_following() => Err(error),
        }
    }

    async fn keep_following(&self) -> ReplicaError {
        let mut went_back = self.hub.went_back.subscribe();
        loop {
            let again = match self.fetch().await {
                Ok(mut follow) => tokio::select! {
                    again = self.follow(&mut follow) => again,
                    seen = told(&mut went_back) => self.start_epoch(seen).await,
                },
                Err(again) => again,
            };
            match again {
                Again::Fetch(why) => {
                    tracing::warn!(replica = self.hub.name, why, "fetching everything anew");
                    // What is wrong with a store may last: it is asked again, and not without a pause.
                    tokio::time::sleep(FETCH_PAUSE).await;
                }
                Again::Stop(error) => return error,
            }
        }
    }

    /// The store is an older copy of itself. Sidecars keep what they know of the history that is lost, beside the one
    /// that begins.
    async fn start_epoch(&self, seen: Version) -> Again {
        tracing::error!(
            replica = self.hub.name,
            %seen,
            "the store has not reached what a sidecar has seen: it went back in time, perhaps restored from a backup; \
             another history begins, and what was revoked since the backup has to be revoked again"
        );
        match self.store.start_epoch(seen).await {
            Ok(()) => Again::Fetch("another history has begun"),
            Err(error) => refused(error),
        }
    }

    /// Builds everything aside, then swaps it in.
    async fn fetch(&self) -> Result<Box<dyn Follow>, Again> {
        let lists = self.store.lists().await.map_err(refused)?;
        let fetched = self.store.fetch().await.map_err(refused)?;
        // A proof that was given stands for at least what was seen then: an earlier state would break it.
        let seen = self.hub.news.borrow().complete;
        if seen.is_some_and(|seen| !at_or_above(fetched.version, seen)) {
            return Err(Again::Fetch("the store is below what had been seen"));
        }
        self.withheld().clear();
        let built = lists.iter().filter_map(|list| self.build(list, &fetched)).collect();
        let follow = self.store.follow(fetched.version).await.map_err(after)?;
        *self.hub.lists.write().unwrap_or_else(PoisonError::into_inner) = built;
        let observed = self.environment.clock.now();
        self.hub.tell(|news| {
            news.complete = Some(fetched.version);
            news.observed = observed;
        });
        Ok(follow)
    }

    fn build(&self, list: &StoredList, fetched: &Fetched) -> Option<(ListName, Arc<Mutex<ListPublisher>>)> {
        let name = list.document.name().ok()?;
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
        Some((name, Arc::new(Mutex::new(publisher))))
    }

    async fn follow(&self, follow: &mut Box<dyn Follow>) -> Again {
        let mut round: Option<Round> = None;
        let mut work = Work::None;
        let (mut next_start, mut deadline) = (Instant::now(), Instant::now());
        let mut missed = 0;
        let mut proven = self.hub.news.borrow().proven;
        loop {
            let open = self.hub.pings() > proven;
            tokio::select! {
                event = follow.next() => match event {
                    Ok(event) => {
                        if let Some(round) = &mut round {
                            round.observe(&event);
                        }
                        if self.apply(&event) == Applied::MayBeWhole {
                            return Again::Fetch("a revocation was removed from a list that is withheld");
                        }
                    }
                    Err(error) => return after(error),
                },
                outcome = &mut work => {
                    work = Work::None;
                    match (outcome, &mut round) {
                        (Ok((lists, version)), Some(round)) => round.written(lists, version),
                        (Err(error @ StoreError::Failed { .. }), _) => return Again::Stop(error.into()),
                        // A write that failed proves nothing: another round, with another nonce.
                        (outcome, _) => {
                            tracing::warn!(error = ?outcome.err(), "a round of proof failed");
                            (round, missed) = (None, missed + 1);
                        }
                    }
                }
                // Nor does one that was not answered, or that was not delivered, in time.
                () = tokio::time::sleep_until(deadline), if round.is_some() => {
                    tracing::warn!("a round of proof was not complete in time");
                    work = Work::None;
                    (round, missed) = (None, missed + 1);
                }
                () = self.hub.wanted.notified(), if !open => {}
                () = tokio::time::sleep_until(next_start), if open && round.is_none() => {
                    next_start = Instant::now() + ROUND_INTERVAL;
                    deadline = Instant::now() + ROUND_TIMEOUT;
                    let started = self.start_round();
                    work = self.write(started.beat());
                    round = Some(started);
                }
            }
            match round.as_ref().map(Round::outcome) {
                Some(Outcome::Proven { serial }) => {
                    (proven, missed) = (serial, 0);
                    if self.complete(round.take(), serial) == Adopted::NewList {
                        return Again::Fetch("a list was declared");
                    }
                }
                Some(Outcome::TimeTravel) => return Again::Fetch("a heartbeat was below what had been seen"),
                Some(Outcome::Open) | None => {}
            }
            if missed >= MAX_MISSED_ROUNDS {
                return Again::Fetch("several rounds of proof failed");
            }
        }
    }

    /// Takes what a proven round has read, then lets the streams answer its pings.
    fn complete(&self, round: Option<Round>, serial: u64) -> Adopted {
        let adopted = self.adopt(round.map(Round::into_lists).unwrap_or_default());
        self.hub.rounds.fetch_add(1, Ordering::Relaxed);
        self.hub.tell(|news| news.proven = serial);
        adopted
    }

    fn start_round(&self) -> Round {
        let seen = self.hub.news.borrow().complete;
        let beat = Beat { replica: self.id, nonce: u128::from_le_bytes(bytes(&*self.environment.random)) };
        Round::start(beat, self.hub.pings(), seen)
    }

    /// The list of declarations begins after the nonce was made, as the heartbeat does.
    fn write(&self, beat: Beat) -> Work {
        let store = Arc::clone(&self.store);
        Work::Running(Box::pin(async move {
            let lists = store.lists().await?;
            Ok((lists, store.beat(beat).await?))
        }))
    }

    fn apply(&self, event: &Event) -> Applied {
        self.withhold(event);
        self.advance(event);
        let observed = self.environment.clock.now();
        if matches!(event.what, What::Added(_) | What::Removed { .. }) {
            self.hub.changed(event.version, observed);
        }
        self.hub.tell(|news| {
            news.complete = Some(event.version);
            news.observed = observed;
        });
        match &event.what {
            What::Removed { list, .. } if self.withheld().contains(list) => Applied::MayBeWhole,
            What::Added(_) | What::Removed { .. } | What::Horizon(_) | What::Heartbeat(_) => Applied::Taken,
        }
    }

    /// Nobody vouches for a list without one of its revocations: it is published no more, and the others are.
    fn withhold(&self, event: &Event) {
        let What::Added(revocation) = &event.what else { return };
        let lists = self.hub.lists.read().unwrap_or_else(PoisonError::into_inner);
        let hash_key = lists.get(&revocation.list).map(|publisher| *lock(publisher).state().hash_key());
        drop(lists);
        if hash_key.is_some_and(|hash_key| self.derive(revocation, &hash_key).is_none()) {
            let mut lists = self.hub.lists.write().unwrap_or_else(PoisonError::into_inner);
            lists.remove(&revocation.list);
        }
    }

    fn withheld(&self) -> MutexGuard<'_, BTreeSet<ListName>> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Derives the record of a revocation; none if it has no row, and then its list is withheld.
    fn derive(&self, revocation: &Revocation, hash_key: &HashKey) -> Option<Record> {
        match Record::derive(revocation.id, &revocation.spec, revocation.created, hash_key) {
            Ok(record) => Some(record),
            Err(error) => {
                let (list, id) = (&revocation.list, revocation.id);
                tracing::error!(%list, %id, %error, "a revocation has no row: its list is not published until it is lifted");
                self.withheld().insert(list.clone());
                None
            }
        }
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
                What::Added(_) | What::Removed { .. } | What::Heartbeat(_) => {}
            }
            publisher.advance(event.version);
        }
    }

    /// Takes the declarations that a round has read. A list that is gone is published no more: its sidecars go
    /// stale, and nothing is lifted.
    fn adopt(&self, stored: Vec<StoredList>) -> Adopted {
        let mut adopted = Adopted::Known;
        let mut lists = self.hub.lists.write().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<ListName> = stored.iter().filter_map(|list| list.document.name().ok()).collect();
        lists.retain(|name, _| names.contains(name));
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
                (Ok(_), None) if self.withheld().contains(&name) => {}
                (Ok(_), None) => adopted = Adopted::NewList,
                (Err(error), _) => tracing::error!(list = %name, %error, "a new declaration can't be used"),
            }
        }
        adopted
    }
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
    Fetch(&'static str),
    Stop(ReplicaError),
}

type Written = Result<(Vec<StoredList>, Version), StoreError>;

fn at_or_above(version: Version, seen: Version) -> bool {
    matches!(version.partial_cmp(&seen), Some(std::cmp::Ordering::Equal | std::cmp::Ordering::Greater))
}

fn refused(error: StoreError) -> Again {
    if matches!(error, StoreError::Failed { .. }) {
        return Again::Stop(error.into());
    }
    Again::Fetch("the store refused a read")
}

fn after(error: FollowError) -> Again {
    match error {
        FollowError::Compacted { .. } => Again::Fetch("the log does not reach back"),
        FollowError::NotOfThisHistory { .. } => Again::Fetch("the store's history is another one"),
        FollowError::Failed { .. } => Again::Stop(error.into()),
    }
}

/// The write of a round, if there is one.
enum Work {
    None,
    Running(futures::future::BoxFuture<'static, Written>),
}

impl Future for Work {
    type Output = Written;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Written> {
        match &mut *self {
            Self::None => std::task::Poll::Pending,
            Self::Running(work) => work.as_mut().poll(context),
        }
    }
}

#[cfg(test)]
mod tests;
