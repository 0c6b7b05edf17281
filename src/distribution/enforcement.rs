//! Which sidecars are known, what each has in use, and since when a version is enforced by all of them.
//!
//! Pure: the time is an argument. A sidecar is counted before it can turn fresh: its session is entered when it
//! subscribes, and a proof is sent only afterwards.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::sync::watch;

use crate::api::revocation::MAX_REPORTED_LISTS;
use crate::revocation::names::ListName;
use crate::revocation::time::Moment;
use crate::revocation::version::Version;

/// How many sessions are counted, those that have ended lately included.
const MAX_SESSIONS: usize = 100_000;
/// How many lists of one namespace are followed where reports are written: nobody takes all places.
pub const MAX_REPORTED_OF_NAMESPACE: usize = 256;

/// There is no place in the report for another list: what is in none must not make a sidecar fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "sidecars follow as many lists at this controller as it can report, {MAX_REPORTED_LISTS} and of one namespace \
     {MAX_REPORTED_OF_NAMESPACE}: it is tried again"
)]
pub struct TooManyLists;

/// Whether sidecars may live that an earlier process of this controller has told that they are fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// The caller knows that no sidecar has ever followed a store in this place.
    None,
    /// There may have been one, until this process started.
    Possible {
        /// When this process started.
        started: Moment,
    },
}

/// Names a session within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

/// What a sidecar has in use of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// Everything up to here.
    pub version: Version,
    /// The declaration in force; none while it is not known.
    pub declaration: Option<Declaration>,
}

/// Which declaration of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The name of the list's hash key. A list that is deleted and declared anew counts from one again, and has another key.
    pub hash_key: u64,
    /// Its generation.
    pub generation: u64,
}

/// How far the enforcement of a version has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether no sidecar allows anything any more without knowing the version.
    pub enforced: bool,
    /// Sidecars that are known.
    pub subscribers: u32,
    /// Of them, those that have it in use.
    pub applied: u32,
    /// Of them, those that were not heard of for so long that they allow nothing.
    pub away: u32,
}

/// The sidecars that follow a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Sidecars that are known.
    pub subscribers: u32,
    /// Of them, those whose stream is open.
    pub connected: u32,
    /// What all of them have in use at least; none while one of them has nothing.
    pub lowest: Option<InUse>,
}

/// A session as status reports show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// What the sidecar calls itself.
    pub identity: String,
    /// The replica that serves it.
    pub replica: String,
    /// The list.
    pub list: ListName,
    /// What it has in use.
    pub acknowledged: Option<Version>,
    /// How long ago its last ping came, in nanoseconds.
    pub last_ping_age_nanos: u64,
    /// Whether its stream is open.
    pub connected: bool,
}

impl InUse {
    /// Returns what two sidecars both have in use; of versions that are not ordered, neither, and of declarations of two
    /// lists none.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let version = match self.version.partial_cmp(&other.version)? {
            Ordering::Less | Ordering::Equal => self.version,
            Ordering::Greater => other.version,
        };
        let both = self.declaration.zip(other.declaration);
        let both = both.filter(|(one, other)| one.hash_key == other.hash_key);
        let older = |(one, other): (Declaration, Declaration)| Declaration {
            generation: one.generation.min(other.generation),
            ..one
        };
        Some(Self { version, declaration: both.map(older) })
    }
}

/// All sessions of a process, over all its replicas.
#[derive(Debug)]
pub struct Sessions {
    predecessor: Predecessor,
    /// Whether what is followed has to fit into a report.
    reported: AtomicBool,
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
    propagation: Histogram,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    sessions: BTreeMap<SessionId, Session>,
    places: Places,
    windows: HashMap<ListName, u64>,
}

#[derive(Debug)]
struct Session {
    identity: String,
    /// None if no later session tells more of what this one knew.
    instance: Option<u128>,
    replica: String,
    lists: HashMap<ListName, Option<InUse>>,
    last_ping: Moment,
    connected: bool,
}

impl Sessions {
    /// Starts without sessions.
    #[must_use]
    pub fn new(predecessor: Predecessor) -> Self {
        Self {
            predecessor,
            reported: AtomicBool::new(false),
            inner: Mutex::default(),
            changes: watch::Sender::new(0),
            propagation: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
        }
    }

    /// Returns a receiver that wakes when a sidecar has acknowledged, or gone.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the times from when a change was known to a replica until a sidecar had it in use, in seconds.
    #[must_use]
    pub const fn propagation(&self) -> &Histogram {
        &self.propagation
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how long a sidecar that follows a list may go on without news. It never shrinks: an old
    /// declaration may still be held somewhere.
    pub fn note_window(&self, list: &ListName, window_nanos: u64) {
        let mut inner = self.lock();
        let window = inner.windows.entry(list.clone()).or_default();
        *window = (*window).max(window_nanos);
    }

    /// Enters a session. `instance` is random and known to that sidecar process and to controllers alone.
    pub fn open(&self, identity: &str, instance: u128, replica: &str, now: Moment) -> SessionId {
        let mut inner = self.lock();
        inner.prune(now);
        inner.next += 1;
        let id = SessionId(inner.next);
        let (identity, replica) = (identity.to_owned(), replica.to_owned());
        let (instance, lists) = (Some(instance), HashMap::new());
        let session = Session { identity, instance, replica, lists, last_ping: now, connected: true };
        inner.sessions.insert(id, session);
        id
    }

    /// Tells whether no more sessions can be counted. None is ever forgotten for a new one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().sessions.len() >= MAX_SESSIONS
    }

    /// Returns the number of open sessions.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.lock().sessions.values().filter(|session| session.connected).count()
    }

    /// Says that what is followed has to fit into a report.
    pub fn are_reported(&self) {
        self.reported.store(true, Relaxed);
    }

    /// Says that a session follows a list.
    ///
    /// # Errors
    /// [`TooManyLists`] if it can't be counted: it must not be proven anything of the list.
    pub fn follow(&self, id: SessionId, list: &ListName) -> Result<(), TooManyLists> {
        let mut inner = self.lock();
        let Inner { sessions, places, .. } = &mut *inner;
        let Some(session) = sessions.get_mut(&id) else { return Ok(()) };
        if !session.lists.contains_key(list) {
            places.take(list, self.reported.load(Relaxed))?;
            session.lists.insert(list.clone(), None);
        }
        Ok(())
    }

    /// Says what a session has in use.
    pub fn acknowledge(&self, id: SessionId, list: &ListName, in_use: InUse) {
        if let Some(acknowledged) = self.lock().sessions.get_mut(&id).and_then(|s| s.lists.get_mut(list)) {
            *acknowledged = Some(in_use);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Notes a ping.
    pub fn ping(&self, id: SessionId, now: Moment) {
        if let Some(session) = self.lock().sessions.get_mut(&id) {
            session.last_ping = now;
        }
    }

    /// Says that a proof of these lists was sent: for them, sessions that the same sidecar process had before are over. Of a
    /// list that it proves nothing of, the sidecar may still be as fresh as the session before has made it.
    pub fn proven(&self, id: SessionId, lists: &[ListName]) {
        let mut inner = self.lock();
        let Inner { sessions, places, .. } = &mut *inner;
        let Some(instance) = sessions.get(&id).and_then(|session| session.instance) else { return };
        sessions.retain(|other, session| {
            if *other >= id || session.connected || session.instance != Some(instance) {
                return true;
            }
            session.lists.retain(|list, _| {
                let is_over = lists.contains(list);
                if is_over {
                    places.release(list);
                }
                !is_over
            });
            !session.lists.is_empty()
        });
    }

    /// Says that the sidecar of a session gets nothing of a list any more. It stays counted until it can allow nothing.
    pub fn part(&self, id: SessionId, list: &ListName, now: Moment) {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get_mut(&id) else { return };
        let Some(in_use) = session.lists.remove(list) else { return };
        let parted = Session {
            identity: session.identity.clone(),
            instance: None,
            replica: session.replica.clone(),
            lists: HashMap::from([(list.clone(), in_use)]),
            last_ping: now,
            connected: false,
        };
        inner.next += 1;
        let id = SessionId(inner.next);
        inner.sessions.insert(id, parted);
    }

    /// Says that the sidecar uses this session for a list no more.
    pub fn bye(&self, id: SessionId, list: &ListName) {
        let mut inner = self.lock();
        let Inner { sessions, places, .. } = &mut *inner;
        if sessions.get_mut(&id).and_then(|session| session.lists.remove(list)).is_some() {
            places.release(list);
        }
        drop(inner);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Ends a session. It stays counted until its sidecar can allow nothing any more.
    pub fn close(&self, id: SessionId, now: Moment) {
        let mut inner = self.lock();
        if let Some(session) = inner.sessions.get_mut(&id) {
            session.connected = false;
        }
        inner.prune(now);
    }

    /// Returns how far the enforcement of a version has come. `observed` is when it was first known here.
    #[must_use]
    pub fn progress(&self, list: &ListName, version: Version, observed: Moment, now: Moment) -> Progress {
        let mut inner = self.lock();
        inner.prune(now);
        let window = inner.windows.get(list).copied();
        let over = |since: Moment| window.is_some_and(|window| elapsed(since, now) > window);
        let mut progress = Progress::default();
        for session in inner.sessions.values() {
            let Some(acknowledged) = session.lists.get(list) else { continue };
            progress.subscribers += 1;
            if acknowledged.is_some_and(|acknowledged| acknowledged.version >= version) {
                progress.applied += 1;
            } else if over(session.last_ping) {
                progress.away += 1;
            }
        }
        let all_known = match self.predecessor {
            Predecessor::None => true,
            Predecessor::Possible { started } => over(started),
        };
        let all_applied = progress.applied + progress.away == progress.subscribers;
        // After the window, the bound itself says so: whoever allows has a proof that includes the version.
        progress.enforced = (all_known && all_applied) || over(observed);
        progress
    }

    /// Returns a summary of the sessions of each list that has any.
    #[must_use]
    pub fn summary(&self, now: Moment) -> BTreeMap<ListName, Summary> {
        let mut inner = self.lock();
        inner.prune(now);
        let mut summary: BTreeMap<ListName, Summary> = BTreeMap::new();
        for session in inner.sessions.values() {
            for (list, acknowledged) in &session.lists {
                let first = Summary { subscribers: 0, connected: 0, lowest: *acknowledged };
                let of = summary.entry(list.clone()).or_insert(first);
                of.subscribers += 1;
                of.connected += u32::from(session.connected);
                of.lowest = of.lowest.zip(*acknowledged).and_then(|(one, other)| one.and(other));
            }
        }
        summary
    }

    /// Returns all sessions, for status reports.
    #[must_use]
    pub fn report(&self, now: Moment) -> Vec<SessionReport> {
        let mut inner = self.lock();
        inner.prune(now);
        let of = |session: &Session| {
            let reports = session.lists.iter().map(|(list, acknowledged)| SessionReport {
                identity: session.identity.clone(),
                replica: session.replica.clone(),
                list: list.clone(),
                acknowledged: acknowledged.map(|in_use| in_use.version),
                last_ping_age_nanos: elapsed(session.last_ping, now),
                connected: session.connected,
            });
            reports.collect::<Vec<_>>()
        };
        let mut reports: Vec<SessionReport> = inner.sessions.values().flat_map(of).collect();
        reports.sort_by(|a, b| (&a.list, &a.identity).cmp(&(&b.list, &b.identity)));
        reports
    }
}

impl Inner {
    /// Forgets sessions that have ended so long ago that their sidecars allow nothing any more.
    fn prune(&mut self, now: Moment) {
        let largest = self.windows.values().copied().max();
        let Self { sessions, places, .. } = self;
        sessions.retain(|_, session| {
            let over = largest.is_some_and(|window| elapsed(session.last_ping, now) > window);
            let stays = session.connected || !(session.lists.is_empty() || over);
            if !stays {
                session.lists.keys().for_each(|list| places.release(list));
            }
            stays
        });
    }
}

/// By how many sessions each list is followed, and how many lists of each namespace are.
#[derive(Debug, Default)]
struct Places {
    lists: HashMap<ListName, usize>,
    namespaces: HashMap<String, usize>,
}

impl Places {
    fn take(&mut self, list: &ListName, reported: bool) -> Result<(), TooManyLists> {
        if let Some(sessions) = self.lists.get_mut(list) {
            *sessions += 1;
            return Ok(());
        }
        let of_namespace = self.namespaces.get(list.namespace()).copied().unwrap_or_default();
        if reported && (self.lists.len() >= MAX_REPORTED_LISTS || of_namespace >= MAX_REPORTED_OF_NAMESPACE) {
            return Err(TooManyLists);
        }
        self.lists.insert(list.clone(), 1);
        self.namespaces.insert(list.namespace().to_owned(), of_namespace + 1);
        Ok(())
    }

    fn release(&mut self, list: &ListName) {
        let Some(sessions) = self.lists.get_mut(list) else { return };
        *sessions -= 1;
        if *sessions > 0 {
            return;
        }
        self.lists.remove(list);
        if let Some(of_namespace) = self.namespaces.get_mut(list.namespace()) {
            *of_namespace -= 1;
        }
        self.namespaces.retain(|_, lists| *lists > 0);
    }
}

fn elapsed(since: Moment, now: Moment) -> u64 {
    now.boot_nanos.saturating_sub(since.boot_nanos)
}

#[cfg(test)]
mod tests;
