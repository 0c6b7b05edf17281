//! Keeps the last state on the disk, so that a restart denies what was revoked before a controller answers.

use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::distribution::view::{ListView, Views};
use crate::revocation::freshness::Knowledge;
use crate::revocation::names::ListName;
use crate::revocation::version::Version;
use crate::runtime::failing::Failing;

use super::metrics::Metrics;
use super::snapshot_file::{self, SnapshotFileError, path_in};

/// How often it is looked whether there is something new to write, at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// After something was written, nothing is for this many times as long as that took: a large list that changes all the
/// time must not keep a core and the disk busy.
const REST_FACTOR: u32 = 20;

/// Between two warnings about one failure that stays.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Reads what an earlier process has left of each list, good for denials only. What can't be read counts as
/// nothing: the sidecar then vouches for nobody, as without it.
///
/// # Errors
/// The operating system's, if the folder can't be made.
pub(super) fn load(folder: &Path, lists: &[ListName]) -> anyhow::Result<Vec<ListView>> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("can't make the folder {}", folder.display()))?;
    let load = |list: &ListName| match snapshot_file::load(&path_in(folder, list), list) {
        Ok(view) => view,
        Err(SnapshotFileError::Missing { .. }) => ListView::empty(list.clone()),
        Err(error) => {
            tracing::warn!(%list, %error, "the snapshot on the disk can't be used");
            ListView::empty(list.clone())
        }
    };
    Ok(lists.iter().map(load).collect())
}

/// Writes every list that has changed, now and then, and once more at the end.
///
/// A failure is logged, counted, and tried again: a full disk takes nothing from what is in memory.
pub(super) async fn keep(
    folder: PathBuf,
    views: Views,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let failing = Failing::said_every(SAY_EVERY);
    let mut keeper = Keeper { folder, metrics, written: HashMap::new(), failing };
    let mut rest = INTERVAL;
    loop {
        let last = tokio::select! {
            () = shutdown.cancelled() => true,
            () = tokio::time::sleep(rest) => false,
        };
        let began = Instant::now();
        for view in views.load() {
            keeper.write_if_new(view).await;
        }
        rest = rest_after(began.elapsed());
        if last {
            return Ok(());
        }
    }
}

fn rest_after(writing: Duration) -> Duration {
    INTERVAL.max(writing * REST_FACTOR)
}

/// The files of one folder.
struct Keeper {
    folder: PathBuf,
    metrics: Metrics,
    /// What was written last: the list's version and the generation of its declaration.
    written: HashMap<ListName, (Version, u64)>,
    /// The lists whose files can't be written.
    failing: Failing<ListName>,
}

impl Keeper {
    async fn write_if_new(&mut self, view: Arc<ListView>) {
        // Only what was proven is worth keeping: anything else may be half of a story.
        let (Some(list), Knowledge::FreshAsOf(_)) = (&view.list, view.knowledge) else { return };
        let state = (list.version(), view.generation);
        if self.written.get(&view.name) == Some(&state) {
            return;
        }
        let (path, name) = (path_in(&self.folder, &view.name), view.name.clone());
        let writing = tokio::task::spawn_blocking(move || snapshot_file::save(&path, &view)).await;
        match writing {
            Ok(Ok(_)) => {
                if self.failing.is_over(&name) {
                    tracing::info!(list = %name, "the snapshot is written again");
                }
                self.written.insert(name, state);
            }
            Ok(Err(error)) => self.failed(name, error.to_string()),
            Err(error) => self.failed(name, error.to_string()),
        }
    }

    fn failed(&mut self, list: ListName, error: String) {
        self.metrics.snapshot_not_written(&list);
        if self.failing.is_news(&list, &error, Instant::now()) {
            tracing::warn!(
                %list,
                error,
                "the snapshot can't be written and is tried again soon: make room for another one in the \
                 folder of --data, and let the sidecar write there. Checks go on; a restart would begin with the \
                 older snapshot"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_takes_no_more_than_a_twentieth_of_the_time() {
        let rests = [0, 50, 51, 3000].map(|writing| rest_after(Duration::from_millis(writing)).as_millis());
        assert_eq!(rests, [1000, 1000, 1020, 60_000]);
    }
}
