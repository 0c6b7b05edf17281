//! Waits until a version is enforced, and tells how far it has come.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tonic::Status;

use crate::distribution::enforcement::{Progress, Sessions};
use crate::distribution::hub::Hub;
use crate::proto::v1;
use crate::revocation::names::ListName;
use crate::revocation::time::Moment;
use crate::revocation::version::Version;
use crate::runtime::clock::Clock;

/// What is waited for.
pub(super) struct Waiting {
    pub(super) list: ListName,
    pub(super) version: Version,
    pub(super) hubs: Arc<[Arc<Hub>]>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Where a wait stands between two answers.
struct Place {
    waiting: Waiting,
    started: Moment,
    observed: Moment,
    told: Option<Progress>,
}

impl Waiting {
    /// Tells the progress when it changes and at every interval; ends when the version is enforced.
    pub(super) fn progress(
        self,
        interval: Duration,
    ) -> impl Stream<Item = Result<v1::EnforcementProgress, Status>> + Send {
        let started = self.clock.now();
        let place = Place { waiting: self, started, observed: started, told: None };
        futures::stream::unfold(Some(place), move |place| async move {
            let mut place = place?;
            if place.told.is_none()
                && let Err(status) = place.observe().await
            {
                return Some((Err(status), None));
            }
            let progress = place.next(interval).await;
            let answer = v1::EnforcementProgress {
                enforced: progress.enforced,
                subscribers: progress.subscribers,
                applied: progress.applied,
                away: progress.away,
                elapsed_milliseconds: nanos_between(place.started, place.waiting.clock.now()) / 1_000_000,
            };
            place.told = Some(progress);
            Some((Ok(answer), (!progress.enforced).then_some(place)))
        })
    }
}

impl Place {
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
        let mut changes = self.waiting.sessions.changes();
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
        waiting.sessions.progress(&waiting.list, waiting.version, self.observed, waiting.clock.now())
    }
}

fn nanos_between(earlier: Moment, later: Moment) -> u64 {
    later.boot_nanos.saturating_sub(earlier.boot_nanos)
}
