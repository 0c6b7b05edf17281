//! A store over a real one that fails in the ways that real ones do.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::*;
use crate::api::revocation::ListReport;
use crate::revocation::selector::Selection;
use crate::store::{Appended, NewStep};

/// What is wrong with the store.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    None,
    /// Writes succeed; what follows the log is delivered nothing for now.
    EventsWithheld,
    /// Writes succeed; whoever follows the log now is never delivered anything again.
    FollowersDead,
    BeatsRefused,
    BeatsBusy,
    /// They are written, and the answer does not come for now.
    BeatsUnanswered,
    /// They come back with a version from before the fetch.
    BeatsOfThePast,
    BeatsFail,
    /// Its heartbeats show that it is an older copy, and no other history can be begun.
    WentBackAndBusy,
    ReportsRefused,
    FetchHangs,
    /// A fetch answers what was true earlier, and nothing is delivered; beats are refused, so that the replica
    /// fetches.
    Stale(Box<Fetched>),
    /// The log does not reach back to what was just fetched.
    Compacted,
    ListsGone,
    /// They go while everything is fetched.
    ListsGoWithFetch,
    /// The same, and there is nothing to fetch, or to write to.
    StoreGone,
    /// Revocations that are added to the log, and those that are fetched, have no row.
    Rowless,
    /// Lists were deleted and declared anew: they count from one, under another hash key.
    DeclaredAnew,
}

pub(super) struct Faulty {
    inner: Arc<dyn Store>,
    fault: watch::Sender<Fault>,
    pub(super) beats: AtomicU64,
    pub(super) fetches: AtomicU64,
    /// The pause between heartbeats that is good for it.
    pub(super) interval: Mutex<Duration>,
    /// What was written while reports are kept, in this order; none if they are not.
    reports: Mutex<Option<Vec<Write>>>,
}

/// A write of a store that keeps reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    Report(Vec<ListReport>),
    Beat,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        let (fault, _) = watch::channel(Fault::None);
        Arc::new(Self {
            inner,
            fault,
            beats: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            reports: Mutex::default(),
            interval: Mutex::new(Duration::from_millis(200)),
        })
    }

    pub(super) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Keeps reports from now on, as a store does that several processes share.
    pub(super) fn keep_reports(&self) {
        *self.reports.lock().unwrap() = Some(Vec::new());
    }

    /// Returns what was written since it was asked last.
    pub(super) fn written(&self) -> Vec<Write> {
        self.reports.lock().unwrap().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&self, write: Write) {
        if let Some(written) = &mut *self.reports.lock().unwrap() {
            written.push(write);
        }
    }

    fn is(&self, fault: &Fault) -> bool {
        *self.fault.borrow() == *fault
    }
}

/// As a later version of this program may write it, or a hand in the store.
fn take_row(revocation: &mut Revocation) {
    revocation.spec.target.selection = Selection::Everything;
    revocation.spec.cutoff = None;
}

/// Paused time does not run ahead of the store's thread while a blocking task is under way.
async fn held<T>(work: impl Future<Output = T>) -> T {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let holding = tokio::task::spawn_blocking(move || wait.recv().is_ok());
    let outcome = work.await;
    drop(done);
    holding.await.unwrap();
    outcome
}

async fn passed(mut fault: watch::Receiver<Fault>, what: impl Fn(&Fault) -> bool) {
    drop(fault.wait_for(|fault| !what(fault)).await);
}

impl Store for Faulty {
    fn append(&self, step: NewStep) -> BoxFuture<'_, Result<Appended, StoreError>> {
        Box::pin(held(self.inner.append(step)))
    }

    fn follow(&self, from: Version) -> BoxFuture<'_, Result<Box<dyn Follow>, FollowError>> {
        Box::pin(async move {
            if self.is(&Fault::Compacted) {
                return Err(FollowError::Compacted { from });
            }
            let (inner, fault) = (self.inner.follow(from).await?, self.fault.subscribe());
            Ok(Box::new(FaultyFollow { inner, fault, dead: false }) as Box<dyn Follow>)
        })
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, StoreError>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            passed(self.fault.subscribe(), |fault| *fault == Fault::FetchHangs).await;
            if self.is(&Fault::StoreGone) {
                return Err(StoreError::Unavailable { why: "its definition is gone".to_owned() });
            }
            if let Fault::Stale(fetched) = &*self.fault.borrow() {
                return Ok((**fetched).clone());
            }
            let mut fetched = self.inner.fetch().await?;
            if self.is(&Fault::Rowless) {
                fetched.revocations.iter_mut().for_each(take_row);
            }
            Ok(fetched)
        })
    }

    fn lists(&self) -> BoxFuture<'_, Result<Vec<StoredList>, StoreError>> {
        let have_gone = self.is(&Fault::ListsGoWithFetch) && self.fetches.load(Ordering::SeqCst) > 0;
        if have_gone || self.is(&Fault::ListsGone) || self.is(&Fault::StoreGone) {
            return Box::pin(std::future::ready(Ok(vec![])));
        }
        let anew = self.is(&Fault::DeclaredAnew);
        Box::pin(async move {
            let mut lists = self.inner.lists().await?;
            for list in lists.iter_mut().filter(|_| anew) {
                list.document.metadata.generation = 1;
                list.hash_key = HashKey::new([0xaa; 16]);
            }
            Ok(lists)
        })
    }

    fn beat(&self, beat: Beat) -> BoxFuture<'_, Result<Version, StoreError>> {
        self.beats.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.borrow().clone();
        Box::pin(async move {
            if matches!(fault, Fault::BeatsRefused | Fault::StoreGone | Fault::Stale(_)) {
                return Err(StoreError::Unavailable { why: "the disk is away".to_owned() });
            }
            if fault == Fault::BeatsBusy {
                return Err(StoreError::Busy);
            }
            if fault == Fault::WentBackAndBusy {
                return Err(StoreError::WentBack);
            }
            if fault == Fault::BeatsFail {
                return Err(StoreError::Failed { why: "the disk is gone".to_owned() });
            }
            self.note(Write::Beat);
            let mut version = held(self.inner.beat(beat)).await?;
            passed(self.fault.subscribe(), |fault| *fault == Fault::BeatsUnanswered).await;
            if fault == Fault::BeatsOfThePast {
                version.revisions.revocations = 0;
            }
            Ok(version)
        })
    }

    fn report(&self, _replica: u64, lists: Vec<ListReport>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.note(Write::Report(lists));
        let refused = self.is(&Fault::ReportsRefused);
        Box::pin(async move { if refused { Err(StoreError::Busy) } else { Ok(()) } })
    }

    fn keeps_reports(&self) -> bool {
        self.reports.lock().unwrap().is_some()
    }

    fn round_interval(&self) -> Duration {
        *self.interval.lock().unwrap()
    }

    fn start_epoch(&self, above: Version) -> BoxFuture<'_, Result<(), StoreError>> {
        let busy = self.is(&Fault::WentBackAndBusy);
        Box::pin(async move {
            if busy { Err(StoreError::Busy) } else { held(self.inner.start_epoch(above)).await }
        })
    }

    fn seal_key(&self) -> SealKey {
        self.inner.seal_key()
    }
}

struct FaultyFollow {
    inner: Box<dyn Follow>,
    fault: watch::Receiver<Fault>,
    dead: bool,
}

impl Follow for FaultyFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Event, FollowError>> {
        Box::pin(async move {
            passed(self.fault.clone(), |fault| matches!(fault, Fault::EventsWithheld | Fault::Stale(_)))
                .await;
            if self.dead {
                return std::future::pending().await;
            }
            let event = self.inner.next().await;
            if *self.fault.borrow() == Fault::FollowersDead {
                self.dead = true;
                return std::future::pending().await;
            }
            match event {
                Ok(Event { version, what: What::Added(mut revocation) })
                    if *self.fault.borrow() == Fault::Rowless =>
                {
                    take_row(&mut revocation);
                    Ok(Event { version, what: What::Added(revocation) })
                }
                event => event,
            }
        })
    }
}
