//! Keeps the last state on the disk, so that a restart denies what was revoked before a controller answers.

use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::distribution::view::{ListView, Views};
use crate::revocation::freshness::Knowledge;
use crate::revocation::names::ListName;
use crate::revocation::version::Version;

use super::snapshot_file::{self, SnapshotFileError, path_in};

/// How often it is looked whether there is something new to write.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was written last: the list's version and the generation of its declaration.
type Written = HashMap<ListName, (Version, u64)>;

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
/// A failure is logged, and tried again: a full disk takes nothing from what is in memory.
pub(super) async fn keep(folder: PathBuf, views: Views, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut written = Written::new();
    loop {
        let last = tokio::select! {
            () = shutdown.cancelled() => true,
            () = tokio::time::sleep(INTERVAL) => false,
        };
        for view in views.load() {
            write_if_new(&folder, view, &mut written).await;
        }
        if last {
            return Ok(());
        }
    }
}

async fn write_if_new(folder: &Path, view: Arc<ListView>, written: &mut Written) {
    // Only what was proven is worth keeping: anything else may be half of a story.
    let (Some(list), Knowledge::FreshAsOf(_)) = (&view.list, view.knowledge) else { return };
    let state = (list.version(), view.generation);
    if written.get(&view.name) == Some(&state) {
        return;
    }
    let (path, name) = (path_in(folder, &view.name), view.name.clone());
    let writing = tokio::task::spawn_blocking(move || snapshot_file::save(&path, &view)).await;
    match writing {
        Ok(Ok(_)) => _ = written.insert(name, state),
        Ok(Err(error)) => tracing::warn!(list = %name, %error, "the snapshot was not written; trying again"),
        Err(error) => tracing::warn!(list = %name, %error, "the snapshot was not written"),
    }
}
