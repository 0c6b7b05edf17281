//! Waits until a version is enforced, and tells how far it has come.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::distribution::enforcement::{Progress, Sessions};
use crate::distribution::hub::Hub;
use crate::proto::v1;
use crate::revocation::names::ListName;
use crate::revocation::time::Moment;
use crate::revocation::version::Version;
use crate::runtime::clock::Clock;

/// Knows how far the enforcement of a version has come.
pub trait Enforcing: Send + Sync + 'static {
    /// Returns that. `observed` is when the version was first known here.
    fn progress(&self, list: &ListName, version: Version, observed: Moment, now: Moment) -> Progress;

    /// Returns a receiver that wakes when it may have come further.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Where a process serves all sidecars, its sessions say it.
impl Enforcing for Sessions {
    fn progress(&self, list: &ListName, version: Version, observed: Moment, now: Moment) -> Progress {
        Self::progress(self, list, version, observed, now)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }
}

/// What is waited for.
pub(super) struct Waiting {
    pub(super) list: ListName,
    pub(super) version: Version,
    pub(super) hubs: Arc<[Arc<Hub>]>,
    pub(super) enforcing: Arc<dyn Enforcing>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: CancellationToken,
}

/// Where a wait stands between two answers.
struct Wait {
    waiting: Waiting,
    started: Moment,
    observed: Moment,
    told: Option<Progress>,
}

impl Waiting {
    /// Tells the progress when it changes and at every interval; ends when the version is enforced, or this process.
    pub(super) fn progress(
        self,
        interval: Duration,
    ) -> impl Stream<Item = Result<v1::EnforcementProgress, Status>> + Send {
        let started = self.clock.now();
        let wait = Wait { waiting: self, started, observed: started, told: None };
        futures::stream::unfold(Some(wait), move |wait| async move {
            let mut wait = wait?;
            let shutdown = wait.waiting.shutdown.clone();
            let answer = tokio::select! {
                answer = wait.answer(interval) => answer,
                () = shutdown.cancelled() => {
                    Err(Status::unavailable("this controller is about to end: ask again"))
                }
            };
            let goes_on = answer.as_ref().is_ok_and(|answer| !answer.enforced);
            Some((answer, goes_on.then_some(wait)))
        })
    }
}

impl Wait {
    async fn answer(&mut self, interval: Duration) -> Result<v1::EnforcementProgress, Status> {
        if self.told.is_none() {
            self.observe().await?;
        }
        let progress = self.next(interval).await;
        self.told = Some(progress);
        Ok(v1::EnforcementProgress {
            enforced: progress.enforced,
            subscribers: progress.subscribers,
            applied: progress.applied,
            away: progress.away,
            elapsed_milliseconds: nanos_between(self.started, self.waiting.clock.now()) / 1_000_000,
        })
    }

    /// Waits until every replica of this process has the version: only then does the window begin.
    async fn observe(&mut self) -> Result<(), Status> {
        for hub in self.waiting.hubs.iter() {
            let version = self.waiting.version;
            let mut news = hub.news();
            let reached =
                news.wait_for(|news| news.complete.is_some_and(|complete| complete >= version)).await;
            reached.map_err(|_| Status::unavailable("a replica has ended: ask again"))?;
        }
        self.observed = self.waiting.clock.now();
        Ok(())
    }

    async fn next(&self, interval: Duration) -> Progress {
        let mut changes = self.waiting.enforcing.changes();
        let deadline = tokio::time::sleep(interval);
        tokio::pin!(deadline);
        loop {
            changes.mark_unchanged();
            let progress = self.compute();
            if progress.enforced || self.told != Some(progress) {
                return progress;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut deadline => return self.compute(),
            }
        }
    }

    fn compute(&self) -> Progress {
        let waiting = &self.waiting;
        waiting.enforcing.progress(&waiting.list, waiting.version, self.observed, waiting.clock.now())
    }
}

fn nanos_between(earlier: Moment, later: Moment) -> u64 {
    later.boot_nanos.saturating_sub(earlier.boot_nanos)
}
