//! What a replica shares with its streams: the lists that it publishes, and news of them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::api::revocation::ListReport;
use crate::revocation::names::ListName;
use crate::revocation::time::Moment;
use crate::revocation::version::Version;
use crate::store::SealKey;

use super::enforcement::{Sessions, Summary};
use super::publisher::ListPublisher;

/// Changes whose time is kept, to measure how long they take to a sidecar.
const MAX_RECENT: usize = 1024;
/// Published lists by name.
pub(super) type Lists = HashMap<ListName, Arc<Mutex<ListPublisher>>>;

/// The lists of a replica, and news of them.
pub struct Hub {
    pub(super) name: String,
    pub(super) lists: RwLock<Lists>,
    pub(super) news: watch::Sender<News>,
    pings: AtomicU64,
    pub(super) wanted: Notify,
    seal_key: SealKey,
    sessions: Arc<Sessions>,
    pub(super) rounds: AtomicU64,
    recent: Mutex<VecDeque<(Version, Moment)>>,
    pub(super) went_back: watch::Sender<Option<Version>>,
    moves: watch::Sender<u64>,
}

/// What the streams wait for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct News {
    /// Grows with every change.
    pub serial: u64,
    /// How many pings the last proof covers.
    pub proven: u64,
    /// The state is complete up to here; none before the first fetch.
    pub complete: Option<Version>,
    /// When it was found to be.
    pub observed: Moment,
    /// The newest version at which a revocation was added, or at which everything was fetched.
    pub added: Option<Version>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("name", &self.name)
            .field("news", &*self.news.borrow())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Makes the hub of a replica that has fetched nothing yet.
    #[must_use]
    pub fn new(name: &str, seal_key: SealKey, sessions: Arc<Sessions>) -> Arc<Self> {
        let never = Moment { boot_nanos: 0, wall_nanos: 0 };
        let news = News { serial: 0, proven: 0, complete: None, observed: never, added: None };
        let (news, _) = watch::channel(news);
        Arc::new(Self {
            name: name.to_owned(),
            lists: RwLock::default(),
            news,
            pings: AtomicU64::new(0),
            wanted: Notify::new(),
            seal_key,
            sessions,
            rounds: AtomicU64::new(0),
            recent: Mutex::default(),
            went_back: watch::Sender::new(None),
            moves: watch::Sender::new(0),
        })
    }

    /// Returns the name of the replica.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the sessions of the process.
    #[must_use]
    pub const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Returns the key under which versions are sealed.
    #[must_use]
    pub fn seal_key(&self) -> SealKey {
        self.seal_key.clone()
    }

    /// Returns a receiver of news.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Counts a ping and asks for a round of proof; returns the number of pings so far.
    pub fn ping(&self) -> u64 {
        let serial = self.pings.fetch_add(1, Ordering::SeqCst) + 1;
        self.wanted.notify_one();
        serial
    }

    /// Returns the number of pings so far.
    #[must_use]
    pub fn pings(&self) -> u64 {
        self.pings.load(Ordering::SeqCst)
    }

    /// Returns the number of rounds of proof that were completed.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Notes that a sidecar has a version in use.
    pub fn acknowledged(&self, version: Version, now: Moment) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.iter().rev().find(|(change, _)| *change == version).map(|(_, known)| *known);
        drop(recent);
        if let Some(known) = known {
            let nanos = now.boot_nanos.saturating_sub(known.boot_nanos);
            self.sessions.propagation().observe(Duration::from_nanos(nanos).as_secs_f64());
        }
    }

    pub(super) fn changed(&self, version: Version, now: Moment) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back((version, now));
    }

    /// Says that a sidecar has a version which the store had not reached afterwards.
    pub fn went_back(&self, version: Version) {
        self.went_back.send_replace(Some(version));
    }

    /// Returns what the sidecars of this process have in use of each list.
    #[must_use]
    pub fn report(&self, now: Moment) -> Vec<ListReport> {
        let of = |(list, summary): (ListName, Summary)| {
            let declaration = summary.lowest.and_then(|lowest| lowest.declaration);
            let mut lowest = summary.lowest.map(|lowest| lowest.version);
            self.with(&list, &mut |publisher| {
                lowest = lowest.map(|lowest| publisher.has_steps_up_to(lowest))
            });
            ListReport {
                namespace: list.namespace().to_owned(),
                name: list.name().to_owned(),
                subscribers: i64::from(summary.subscribers),
                connected: i64::from(summary.connected),
                lowest: lowest.map(|lowest| lowest.to_string()),
                generation: declaration.and_then(|declared| i64::try_from(declared.generation).ok()),
                hash_key: declaration.map(|declared| ListReport::named(declared.hash_key)),
            }
        };
        self.sessions.summary(now).into_iter().map(of).collect()
    }

    /// Asks all sidecars to go to another replica: this one does not get on.
    pub(super) fn ask_to_move(&self) {
        self.moves.send_modify(|moves| *moves += 1);
    }

    /// Returns a receiver that wakes when sidecars should go to another replica.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    /// Lends a list's publisher; tells whether there is one.
    pub fn with(&self, list: &ListName, use_it: &mut dyn FnMut(&mut ListPublisher)) -> bool {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let found = lists.get(list).cloned();
        drop(lists);
        found.is_some_and(|publisher| {
            use_it(&mut lock(&publisher));
            true
        })
    }

    /// Lends every list's publisher, in the order of their names.
    pub fn for_each(&self, mut use_it: impl FnMut(&ListName, &ListPublisher)) {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = lists.iter().map(|(name, list)| (name.clone(), Arc::clone(list))).collect();
        drop(lists);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, publisher) in all {
            use_it(&name, &lock(&publisher));
        }
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut News)) {
        self.news.send_modify(|news| {
            news.serial += 1;
            change(news);
        });
    }
}

/// What is guarded is replaced as a whole, so it is good even if another holder panicked.
pub(super) fn lock(publisher: &Mutex<ListPublisher>) -> MutexGuard<'_, ListPublisher> {
    publisher.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
