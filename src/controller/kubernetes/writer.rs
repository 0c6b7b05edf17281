//! Writes the status of revocations and lists, forgets what has expired, and cleans up, while this replica leads.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::revocation::RevocationStatus;
use crate::api::target::read_time;
use crate::distribution::enforcement::Progress;
use crate::distribution::hub::Hub;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::runtime::clock::Clock;
use crate::store::kubernetes::lists::Declared;
use crate::store::kubernetes::mirror::{Mirror, MirroredRevocation};
use crate::store::kubernetes::{KubernetesStore, Written};
use crate::store::{Entry, Revocation, Store, StoreError};
use crate::token::list_config::ListConfig;

use super::conditions::{self, Acceptance};
use super::enforced::{self, Needed, Reports, elapsed_nanos};
use super::lease::Leadership;
use super::lists::{self, Known};
use crate::controller::expiry;

/// How often everything is looked at, also when nothing has changed: bounds end by themselves.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often due expiries, and what is left over, are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How many writes are under way at a time.
const PARALLEL_WRITES: usize = 8;
/// How many expiries are carried out in one step.
const MAX_EXPIRIES: usize = 256;
/// How long an object that has expired stays for people to see.
const KEPT_SECONDS: u64 = 86_400;

/// Writes what became of each object.
pub(super) struct StatusWriter {
    store: KubernetesStore,
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    /// Revocations that are not enforced yet, with what their sidecars must have.
    pending: HashMap<RecordId, Needed>,
    /// Those to look at once more: a write failed.
    again: BTreeSet<RecordId>,
    /// The generations of the lists by which everything was judged.
    judged_by: HashMap<ListName, i64>,
}

/// A status to be written.
struct Write {
    id: RecordId,
    metadata: ObjectMeta,
    status: RevocationStatus,
}

/// A list as it is declared, with what follows from it.
struct DeclaredList {
    config: ListConfig,
    generation: i64,
    window_nanos: u64,
}

impl StatusWriter {
    pub(super) fn new(store: KubernetesStore, hub: Arc<Hub>, clock: Arc<dyn Clock>) -> Self {
        Self { store, hub, clock, pending: HashMap::new(), again: BTreeSet::new(), judged_by: HashMap::new() }
    }

    /// Writes while this replica leads, until `shutdown`.
    pub(super) async fn run(
        mut self,
        mut leads: watch::Receiver<Leadership>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut changes = self.store.changes();
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        loop {
            let leader = *leads.borrow_and_update() == Leadership::Leader;
            if leader {
                changes.mark_unchanged();
                self.write_revocations().await;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = leads.changed() => self.start_over(),
                Ok(()) = changes.changed(), if leader => {}
                () = tokio::time::sleep(INTERVAL), if leader => {}
                _ = housekeeping.tick(), if leader => self.keep_house().await,
            }
        }
    }

    /// Who led before may have written anything since: everything is looked at.
    fn start_over(&mut self) {
        self.pending.clear();
        self.again = self.store.with_mirror(|mirror| mirror.revocations.keys().copied().collect());
    }

    async fn write_revocations(&mut self) {
        let lists = self.declared();
        let now = self.clock.now();
        let ids = self.to_judge(&lists);
        let store = self.store.clone();
        let writes: Vec<Write> = store.with_mirror(|mirror| {
            ids.into_iter().filter_map(|id| self.judge(mirror, &lists, id, now)).collect()
        });
        let written = futures::stream::iter(writes).map(|write| {
            let store = self.store.clone();
            async move {
                let status = json!(write.status);
                (write.id, store.write_status(&write.metadata, status).await)
            }
        });
        let outcomes: Vec<(RecordId, Written)> = written.buffer_unordered(PARALLEL_WRITES).collect().await;
        // What changed meanwhile comes as an event; what failed is tried again.
        let failed = outcomes.into_iter().filter(|(_, written)| *written == Written::Failed);
        self.again.extend(failed.map(|(id, _)| id));
    }

    /// Returns the revocations that have changed, those whose list has, and those that were not done before.
    fn to_judge(&mut self, lists: &HashMap<ListName, DeclaredList>) -> BTreeSet<RecordId> {
        let generations: HashMap<ListName, i64> =
            lists.iter().map(|(name, list)| (name.clone(), list.generation)).collect();
        let before = std::mem::replace(&mut self.judged_by, generations);
        let has_changed = |list: &ListName| before.get(list) != self.judged_by.get(list);
        let mut ids = self.store.with_mirror(|mirror| {
            let mut ids = std::mem::take(&mut mirror.dirty);
            if before != self.judged_by {
                let of_changed = mirror.revocations.iter().filter(|(_, of)| has_changed(&of.list));
                ids.extend(of_changed.map(|(id, _)| *id));
            }
            ids
        });
        ids.append(&mut self.again);
        ids.extend(self.pending.keys());
        ids
    }

    /// Returns the status of a revocation, if it is not what its object bears.
    fn judge(
        &mut self,
        mirror: &Mirror,
        lists: &HashMap<ListName, DeclaredList>,
        id: RecordId,
        now: Moment,
    ) -> Option<Write> {
        let Some(mirrored) = mirror.revocations.get(&id) else {
            self.pending.remove(&id);
            return None;
        };
        let list = lists.get(&mirrored.list);
        let progress = self.progress(mirror, mirrored, list, id, now);
        let elapsed_milliseconds = elapsed_nanos(mirrored.first_seen.1, now) / 1_000_000;
        let progress = progress.map(|progress| (progress, elapsed_milliseconds));
        let config = list.map(|list| &list.config);
        let mut status = conditions::status(mirrored, config, progress, now.wall().floor());
        if conditions::is_true(&status.conditions, "Enforced") {
            self.pending.remove(&id);
        }
        let before = &mirrored.status;
        // The time alone is no news.
        let same_counts = match (&before.enforcement, &status.enforcement) {
            (Some(before), Some(after)) => {
                (before.subscribers, before.applied, before.away)
                    == (after.subscribers, after.applied, after.away)
            }
            (before, after) => before.is_none() == after.is_none(),
        };
        if same_counts && before.conditions == status.conditions {
            status.enforcement = before.enforcement;
        }
        (*before != status).then(|| Write { id, metadata: mirrored.metadata.clone(), status })
    }

    /// Returns how far a revocation has come that is accepted, not over, and not known to be enforced.
    fn progress(
        &mut self,
        mirror: &Mirror,
        mirrored: &MirroredRevocation,
        list: Option<&DeclaredList>,
        id: RecordId,
        now: Moment,
    ) -> Option<Progress> {
        let done = mirrored.expired || conditions::is_true(&mirrored.status.conditions, "Enforced");
        let accepted = conditions::judge(mirrored, list.map(|list| &list.config));
        let revocation = mirrored.read.as_ref().ok()?;
        let (false, Acceptance::Accepted { .. }, Some(list)) = (done, accepted, list) else {
            self.pending.remove(&id);
            return None;
        };
        let needed = self.pending.entry(id).or_insert_with(|| needed(mirrored, revocation, list, now));
        let reports = Reports { by_replica: &mirror.reports, since: mirror.since };
        Some(enforced::progress(needed, reports, list.window_nanos, now))
    }

    fn declared(&self) -> HashMap<ListName, DeclaredList> {
        let now = self.clock.now();
        let read = |list: Declared| {
            let document = list.document.ok()?;
            let config = document.config().ok()?;
            let past = document.past_window().and_then(|past| past.window_nanos(now.wall().floor()));
            let window_nanos = past.unwrap_or(0).max(config.freshness.window_nanos());
            Some((list.name, DeclaredList { config, generation: list.generation, window_nanos }))
        };
        self.store.declared().into_iter().filter_map(read).collect()
    }

    async fn keep_house(&mut self) {
        // Without sidecars there are no rounds, and nobody else looks at the lists.
        if let Err(error) = self.store.lists().await {
            tracing::warn!(%error, "the lists can't be read");
        }
        self.write_lists().await;
        if let Err(error) = self.expire().await {
            tracing::warn!(%error, "expiries have to wait");
        }
        self.clean_up().await;
    }

    async fn write_lists(&self) {
        let now = self.clock.now().wall().floor();
        for list in self.store.declared() {
            let before = lists::before(&list);
            let after = lists::status(&list, &self.known(&list.name), now);
            if lists::is_news(&before, &after) {
                self.store.write_list_status(&list, json!(after)).await;
            }
        }
    }

    fn known(&self, list: &ListName) -> Known {
        let mut known = Known::default();
        self.hub.with(list, &mut |publisher| {
            known.entries = Some(publisher.state().key_count() as u64);
            known.bytes = publisher.snapshot_bytes();
            known.version = Some(publisher.standing().last_change.to_string());
        });
        self.store.with_mirror(|mirror| {
            let reports = mirror.reports.values().flat_map(|report| &report.lists);
            let of_list = reports.filter(|of| of.namespace == list.namespace() && of.name == list.name());
            known.subscribers = of_list.map(|of| of.subscribers).sum();
            known.lost = mirror.lost.values().filter(|lost| lost.list == *list).count();
            let of_list = mirror.revocations.values().filter(|revocation| revocation.list == *list);
            known.unreadable = of_list.filter(|of| of.read.is_err() && !of.expired).count();
        });
        known
    }

    async fn expire(&self) -> Result<(), StoreError> {
        let now = self.clock.now().wall().floor();
        let configs: Vec<ListConfig> = self.declared().into_values().map(|list| list.config).collect();
        let live: Vec<Revocation> = self.store.with_mirror(|mirror| {
            let read = mirror.revocations.values().filter_map(|mirrored| mirrored.read.as_ref().ok());
            read.map(|revocation| Revocation::clone(revocation)).collect()
        });
        for ids in expiry::due(&live, &configs, now).chunks(MAX_EXPIRIES) {
            self.store.append(Entry::Expire { ids: ids.to_vec(), horizon: now }).await?;
            tracing::info!(count = ids.len(), "forgot revocations whose last token has expired");
        }
        Ok(())
    }

    /// Removes what this program has made and nobody needs any more. What others have made stays: they would make it
    /// again.
    async fn clean_up(&self) {
        let now = self.clock.now();
        let longest = self.declared().values().map(|list| list.window_nanos).max().unwrap_or(0);
        let gone: Vec<ObjectMeta> = self.store.with_mirror(|mirror| {
            let expired =
                mirror.revocations.values().filter(|mirrored| is_left_over(mirrored, now.wall().floor()));
            let expired = expired.map(|mirrored| mirrored.metadata.clone());
            // Whom a replica had told to be fresh is counted until it can allow nothing any more.
            let silent = mirror.reports.values();
            let silent =
                silent.filter(|report| elapsed_nanos(report.changed, now) > longest.saturating_mul(2));
            let silent = silent.filter(|report| elapsed_nanos(report.changed, now) > GONE_NANOS);
            expired.chain(silent.flat_map(|report| report.objects.values().cloned())).collect()
        });
        for metadata in gone {
            self.store.remove(&metadata).await;
        }
    }
}

/// A replica without sidecars writes no heartbeat, and is not gone for that.
const GONE_NANOS: u64 = 3600 * 1_000_000_000;

fn needed(
    mirrored: &MirroredRevocation,
    revocation: &Revocation,
    list: &DeclaredList,
    now: Moment,
) -> Needed {
    let mut version = revocation.version;
    version.revisions.revocations = mirrored.first_seen.0;
    Needed { list: mirrored.list.clone(), version, generation: list.generation, observed: now }
}

fn is_left_over(mirrored: &MirroredRevocation, now: UnixSeconds) -> bool {
    let expired = mirrored.status.conditions.iter().find(|condition| condition.type_ == "Expired");
    let since = expired.and_then(|condition| read_time("Expired", &condition.last_transition_time, "").ok());
    let ours = mirrored.metadata.labels.as_ref().is_some_and(|labels| {
        let (key, value) = KubernetesStore::MANAGED;
        labels.get(key).is_some_and(|found| found == value)
    });
    mirrored.expired && ours && since.is_some_and(|since| now >= since.saturating_add(KEPT_SECONDS))
}
