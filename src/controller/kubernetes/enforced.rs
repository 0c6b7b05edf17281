//! Since when no sidecar allows anything any more without knowing a revocation, over all replicas.
//!
//! Pure: the reports and the time are arguments. A sidecar turns fresh only after a report that counts it is in the
//! log, so who is in no report allows nothing.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::controller::admin::Enforcing;
use crate::distribution::enforcement::Progress;
use crate::revocation::names::ListName;
use crate::revocation::time::Moment;
use crate::revocation::version::{ToldVersion, Version};
use crate::store::kubernetes::KubernetesStore;
use crate::store::kubernetes::mirror::MirroredReport;

use super::writer::DeclaredList;

/// What every sidecar of a list must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    pub(super) list: ListName,
    /// Of the revocation's own object.
    pub(super) version: Version,
    /// The declaration by which the revocation was accepted.
    pub(super) generation: i64,
    /// Of which list of that name: as in the reports. None, and nobody has it, while that is not known.
    pub(super) hash_key: Option<String>,
    /// When this process saw both.
    pub(super) observed: Moment,
}

/// How long a sidecar of a list may go on without news, at the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) nanos: u64,
    /// When the look at the list began that showed it.
    pub(super) as_of: Moment,
}

impl Window {
    /// Tells whether nothing can be missing in it that was declared before.
    pub(super) const fn is_of_after(self, moment: Moment) -> bool {
        self.as_of.boot_nanos > moment.boot_nanos
    }
}

/// What is known of the reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reports<'a> {
    pub(super) by_replica: &'a BTreeMap<String, MirroredReport>,
    /// When the history that they are of began. A store that went back, or was made anew, has lost reports.
    pub(super) since: Moment,
}

/// Returns how far the enforcement has come.
///
/// A sidecar that does not know the revocation goes by a declaration of before it, which may be wider than what was seen
/// before it. So nobody is taken for stale by a look that began earlier.
pub(super) fn progress(needed: &Needed, reports: Reports<'_>, window: Window, now: Moment) -> Progress {
    let over = |since: Moment| elapsed_nanos(since, now) > window.nanos;
    let is_known = window.is_of_after(needed.observed);
    let mut progress = Progress::default();
    for report in reports.by_replica.values() {
        let of_list = report
            .lists
            .iter()
            .filter(|of| of.namespace == needed.list.namespace() && of.name == needed.list.name());
        for of in of_list {
            let subscribers = u32::try_from(of.subscribers).unwrap_or(u32::MAX);
            progress.subscribers = progress.subscribers.saturating_add(subscribers);
            let lowest: Option<ToldVersion> = of.lowest.as_deref().and_then(|lowest| lowest.parse().ok());
            let has_version = lowest.is_some_and(|lowest| lowest.reaches(&needed.version));
            let is_of_list = needed.hash_key.is_some() && of.hash_key == needed.hash_key;
            if has_version && is_of_list && of.generation >= Some(needed.generation) {
                progress.applied = progress.applied.saturating_add(subscribers);
            } else if is_known && over(report.changed) {
                // The replica is gone, and whom it had told to be fresh is so no more.
                progress.away = progress.away.saturating_add(subscribers);
            }
        }
    }
    let all_applied = progress.applied + progress.away == progress.subscribers;
    // After the window, the bound itself says so: whoever allows has a proof that includes the version.
    let all_counted = window.is_of_after(reports.since) && over(reports.since);
    progress.enforced = (all_applied && all_counted) || (is_known && over(needed.observed));
    progress
}

/// The reports of all replicas, for whoever waits for a version.
pub(in crate::controller) struct OverReports(pub(in crate::controller) KubernetesStore);

impl Enforcing for OverReports {
    fn progress(&self, list: &ListName, version: Version, observed: Moment, now: Moment) -> Progress {
        let looked = self.0.looked();
        let declared = looked.lists.iter().find(|declared| declared.name == *list);
        let read = declared.and_then(|list| DeclaredList::read(&self.0, &looked, list, now.wall().floor()));
        // Of a list that is not declared nothing is known, and nothing is enforced.
        let Some(of) = read else { return Progress::default() };
        let needed = of.needed(list, version, observed);
        self.0.with_mirror(|mirror| {
            let reports = Reports { by_replica: &mirror.reports, since: mirror.since };
            progress(&needed, reports, of.window, now)
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }
}

pub(super) const fn elapsed_nanos(since: Moment, now: Moment) -> u64 {
    now.boot_nanos.saturating_sub(since.boot_nanos)
}

#[cfg(test)]
mod tests;
