//! Writes the status of revocations and lists, forgets what has expired, and cleans up, while this replica leads.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::condition::ConditionType;
use crate::api::revocation::{ListReport, RevocationStatus};
use crate::distribution::enforcement::Progress;
use crate::distribution::hub::Hub;
use crate::revocation::key::HashKey;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::revocation::version::{ToldVersion, Version};
use crate::runtime::clock::Clock;
use crate::store::kubernetes::lists::Declared;
use crate::store::kubernetes::looked::{Looked, window_nanos};
use crate::store::kubernetes::mirror::{Mirror, MirroredRevocation};
use crate::store::kubernetes::{KubernetesStore, Written};
use crate::store::{NewStep, Revocation, Store, StoreError};
use crate::token::list_config::ListConfig;

use super::acts::Acts;
use super::conditions::{self, Acceptance};
use super::enforced::{self, Needed, Reports, Window, elapsed_nanos};
use super::events::{Events, Note};
use super::lease::Leadership;
use super::leftovers::{is_gone, is_left_over};
use super::list_writer::ListWriter;
use super::told;
use crate::controller::audit::Audit;
use crate::controller::expiry;

/// How often everything is looked at, also when nothing has changed: bounds end by themselves.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often due expiries, and what is left over, are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How many revocations are looked at in one pass.
const MAX_PER_PASS: usize = 512;
/// How many writes are under way at a time.
const PARALLEL_WRITES: usize = 8;
/// How many expiries are carried out in one step.
const MAX_EXPIRIES: usize = 256;

/// Writes what became of each object.
pub(super) struct StatusWriter {
    store: KubernetesStore,
    clock: Arc<dyn Clock>,
    hub: Arc<Hub>,
    lists: ListWriter,
    events: Events,
    acts: Acts,
    /// Revocations that are not enforced yet, with what their sidecars must have.
    pending: HashMap<RecordId, Needed>,
    /// Those to look at once more.
    again: BTreeSet<RecordId>,
    declared: HashMap<ListName, DeclaredList>,
    /// When the last look at the lists began that this leader has made.
    looked: Option<Moment>,
    /// Refused by lists that may be older than the revocation: not before another look.
    doubtful: Vec<RecordId>,
    /// The last that had its turn.
    turn: Option<RecordId>,
}

/// A status to be written.
struct Write {
    id: RecordId,
    metadata: ObjectMeta,
    status: RevocationStatus,
    /// What is told of it once it is written.
    notes: Vec<Note>,
}

/// A list as it is declared, with what follows from it.
pub(super) struct DeclaredList {
    /// Of the object that it was read from.
    resource_version: String,
    config: ListConfig,
    generation: i64,
    hash_key: Option<String>,
    own_window_nanos: u64,
    pub(super) window: Window,
}

impl StatusWriter {
    pub(super) fn new(
        store: KubernetesStore,
        hub: Arc<Hub>,
        clock: Arc<dyn Clock>,
        events: Events,
        audit: Audit,
    ) -> Self {
        Self {
            lists: ListWriter::new(store.clone(), Arc::clone(&hub)),
            hub,
            acts: Acts::new(audit),
            store,
            clock,
            events,
            pending: HashMap::new(),
            again: BTreeSet::new(),
            declared: HashMap::new(),
            looked: None,
            doubtful: Vec::new(),
            turn: None,
        }
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
                if self.look_for_doubtful().await {
                    self.write_revocations().await;
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = leads.changed() => self.start_over(),
                Ok(()) = changes.changed(), if leader => {}
                () = tokio::time::sleep(self.rest()), if leader => {}
                _ = housekeeping.tick() => {
                    // Each replica has seen what others may not have. Nothing else is done meanwhile, so not for long;
                    // what is cut off is found by its name.
                    drop(tokio::time::timeout(HOUSEKEEPING, self.store.retry_lost()).await);
                    if leader { self.keep_house().await } else { _ = self.look().await }
                },
            }
        }
    }

    /// Who led before may have written anything since: everything is looked at.
    fn start_over(&mut self) {
        self.pending.clear();
        self.looked = None;
        self.again = self.store.with_mirror(|mirror| mirror.revocations.keys().copied().collect());
    }

    /// Looks at the lists for those that they would refuse, now and then. Whoever applies a list and its revocations at
    /// once must not be told that there is no such list.
    async fn look_for_doubtful(&mut self) -> bool {
        let doubtful = std::mem::take(&mut self.doubtful);
        let now = self.clock.now();
        let lately = |looked| u128::from(elapsed_nanos(looked, now)) < INTERVAL.as_nanos();
        self.again.extend(&doubtful);
        !doubtful.is_empty() && !self.looked.is_some_and(lately) && self.look().await
    }

    /// Looks at the lists: where no sidecar asks for rounds of proof, nobody else does. Returns whether it succeeded.
    async fn look(&mut self) -> bool {
        let began = self.clock.now();
        match self.store.lists().await {
            Ok(stored) => {
                self.looked = Some(began);
                self.lists.ask_for_round(&stored);
            }
            Err(error) => tracing::warn!(%error, "the lists can't be read"),
        }
        self.looked == Some(began)
    }

    /// Returns how long to wait if nothing changes: what did not fit into one pass does not wait.
    fn rest(&self) -> Duration {
        if self.again.len() >= MAX_PER_PASS { Duration::ZERO } else { INTERVAL }
    }

    async fn write_revocations(&mut self) {
        let changed = self.read_lists();
        let now = self.clock.now();
        let mut ids = self.store.with_mirror(|mirror| {
            let of_changed = mirror.revocations.iter().filter(|(_, of)| changed.contains(&of.list));
            let of_changed: Vec<RecordId> = of_changed.map(|(id, _)| *id).collect();
            let mut ids = std::mem::take(&mut mirror.dirty);
            ids.extend(of_changed);
            ids
        });
        ids.append(&mut self.again);
        ids.extend(self.pending.keys().copied());
        let ids = self.next_in_turn(ids);
        let store = self.store.clone();
        let (writes, lifts, untold) = store.with_mirror(|mirror| {
            let writes: Vec<Write> = ids.into_iter().filter_map(|id| self.judge(mirror, id, now)).collect();
            let (lifts, untold) = mirror.departures.take_lifts(now);
            (writes, lifts, untold)
        });
        if untold > 0 {
            tracing::warn!(untold, "lifts were too many for the audit log");
        }
        let hub = Arc::clone(&self.hub);
        self.acts.lifted(&lifts, &|list| hash_key(&hub, list));
        // Before the status that says that it was told.
        self.acts.write().await;
        let written = futures::stream::iter(writes).map(|write| {
            let store = self.store.clone();
            async move {
                let status = json!(write.status);
                let written = store.write_status(&write.metadata, status).await;
                (write, written)
            }
        });
        let outcomes: Vec<(Write, Written)> = written.buffer_unordered(PARALLEL_WRITES).collect().await;
        for (write, written) in outcomes {
            match written {
                Written::Done => {
                    write.notes.into_iter().for_each(|note| self.events.of_revocation(note, now));
                }
                // What it is now comes as an event of the watch.
                Written::Superseded => {}
                Written::Failed => _ = self.again.insert(write.id),
            }
        }
    }

    /// Takes so many that the watch, which waits as long as the mirror is held, does not wait for long; each has its
    /// turn.
    fn next_in_turn(&mut self, mut ids: BTreeSet<RecordId>) -> Vec<RecordId> {
        let first = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let in_turn = ids.range((first, Bound::Unbounded)).chain(ids.iter()).copied();
        let taken: Vec<RecordId> = in_turn.take(MAX_PER_PASS.min(ids.len())).collect();
        self.turn = taken.last().copied();
        taken.iter().for_each(|id| _ = ids.remove(id));
        self.again = ids;
        taken
    }

    /// Returns the status of a revocation, if it is not what its object bears.
    fn judge(&mut self, mirror: &Mirror, id: RecordId, now: Moment) -> Option<Write> {
        let Some(mirrored) = mirror.revocations.get(&id) else {
            self.pending.remove(&id);
            return None;
        };
        let progress = self.progress(mirror, mirrored, id, now);
        let list = self.declared.get(&mirrored.list);
        let accepted = conditions::judge(mirrored, list.map(|list| &list.config));
        let is_older = |looked: Moment| looked.boot_nanos < mirrored.first_seen.1.boot_nanos;
        if accepted.is_refused_by_lists() && self.looked.is_none_or(is_older) {
            self.doubtful.push(id);
            return None;
        }
        self.acts.judged(id, mirrored, &accepted, &|list| hash_key(&self.hub, list));
        let elapsed_milliseconds = elapsed_nanos(mirrored.first_seen.1, now) / 1_000_000;
        let progress = progress.map(|progress| (progress, elapsed_milliseconds));
        let config = list.map(|list| &list.config);
        let mut status = conditions::status(mirrored, config, progress, now.wall().floor());
        if conditions::is_true(&status.conditions, ConditionType::Enforced) {
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
        (*before != status).then(|| Write {
            id,
            metadata: mirrored.metadata.clone(),
            notes: told::of_revocation(mirrored, &status),
            status,
        })
    }

    /// Returns how far a revocation has come that is accepted, not over, and not known to be enforced.
    fn progress(
        &mut self,
        mirror: &Mirror,
        mirrored: &MirroredRevocation,
        id: RecordId,
        now: Moment,
    ) -> Option<Progress> {
        let list = self.declared.get(&mirrored.list);
        let done =
            mirrored.expired || conditions::is_true(&mirrored.status.conditions, ConditionType::Enforced);
        let accepted = conditions::judge(mirrored, list.map(|list| &list.config));
        let revocation = mirrored.read.as_ref().ok()?;
        let (false, Acceptance::Accepted { .. }, Some(list)) = (done, accepted, list) else {
            self.pending.remove(&id);
            return None;
        };
        // What has to be in force is a declaration of the list that is there now.
        if self.pending.get(&id).is_some_and(|needed| needed.hash_key != list.hash_key) {
            self.pending.remove(&id);
        }
        let needed = self.pending.entry(id).or_insert_with(|| needed(mirrored, revocation, list, now));
        let reports = Reports { by_replica: &mirror.reports, since: mirror.since };
        Some(enforced::progress(needed, reports, list.window, now))
    }

    /// Reads the lists that have changed, and returns those by which revocations are to be judged anew. What a
    /// declaration before this one allowed counts until it is surely over; an hour more or less does not matter there.
    fn read_lists(&mut self) -> HashSet<ListName> {
        let now = self.clock.now().wall().floor();
        let mut before = std::mem::take(&mut self.declared);
        let mut changed = HashSet::new();
        let looked = self.store.looked();
        for list in &looked.lists {
            let known = before.remove(&list.name);
            let generation = known.as_ref().map(|known| known.generation);
            let is_current = |known: &DeclaredList| {
                known.resource_version == list.resource_version && known.hash_key.is_some()
            };
            let known = known.filter(is_current);
            let read = known
                .and_then(|known| known.seen_again(&looked, &list.name))
                .or_else(|| DeclaredList::read(&self.store, &looked, list, now));
            if read.as_ref().map(|read| read.generation) != generation {
                changed.insert(list.name.clone());
            }
            self.declared.extend(read.map(|read| (list.name.clone(), read)));
        }
        changed.extend(before.into_keys());
        changed
    }

    async fn keep_house(&mut self) {
        self.look().await;
        let now = self.clock.now();
        let windows = self.declared.iter().map(|(name, list)| (name.clone(), list.window.nanos)).collect();
        self.lists.write(&windows, &mut self.events, now).await;
        let left_out = self.events.left_out();
        if left_out > 0 {
            tracing::info!(left_out, "events were too many; statuses say the same");
        }
        if let Err(error) = self.expire().await {
            tracing::warn!(%error, "expiries have to wait");
        }
        self.clean_up().await;
    }

    async fn expire(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now().wall().floor();
        let configs: Vec<ListConfig> = self.declared.values().map(|list| list.config.clone()).collect();
        let live: Vec<Revocation> = self.store.with_mirror(|mirror| {
            let read = mirror.revocations.values().filter_map(|mirrored| mirrored.read.as_ref().ok());
            read.map(|revocation| Revocation::clone(revocation)).collect()
        });
        let due: HashSet<RecordId> = expiry::due(&live, &configs, now).now.into_iter().collect();
        let judged: Vec<Revocation> =
            live.into_iter().filter(|revocation| due.contains(&revocation.id)).collect();
        for judged in judged.chunks(MAX_EXPIRIES) {
            let step = NewStep::Expire { judged: judged.to_vec(), horizon: now };
            let expired = self.store.append(step).await?.expired;
            tracing::info!(count = expired.len(), "forgot revocations whose last token has expired");
            let gone = judged.iter().filter(|revocation| expired.contains(&revocation.id));
            gone.for_each(|revocation| self.acts.expired(revocation, &|list| hash_key(&self.hub, list)));
            self.acts.write().await;
        }
        Ok(())
    }

    /// Removes what this program has made and nobody needs any more. What others have made stays: they would make it
    /// again.
    async fn clean_up(&self) {
        let now = self.clock.now();
        let windows: HashMap<_, _> =
            self.declared.iter().map(|(name, list)| (name.clone(), list.window)).collect();
        let (expired, silent) = self.store.with_mirror(|mirror| {
            let expired =
                mirror.revocations.values().filter(|mirrored| is_left_over(mirrored, now.wall().floor()));
            let expired: Vec<ObjectMeta> = expired.map(|mirrored| mirrored.metadata.clone()).collect();
            let silent = mirror.reports.values().filter(|report| is_gone(report, &windows, now));
            let silent: Vec<_> = silent.map(|report| report.objects.clone()).collect();
            (expired, silent)
        });
        for metadata in expired {
            self.store.remove(&metadata).await;
        }
        for objects in silent {
            // By their names the pulse comes first. Who has written one meanwhile is not gone, and needs its report.
            for metadata in objects.values() {
                if self.store.remove(metadata).await != Written::Done {
                    break;
                }
            }
        }
    }
}

fn hash_key(hub: &Hub, list: &ListName) -> Option<HashKey> {
    let mut key = None;
    hub.with(list, &mut |publisher| key = Some(*publisher.state().hash_key()));
    key
}

impl DeclaredList {
    pub(super) fn read(
        store: &KubernetesStore,
        looked: &Looked,
        list: &Declared,
        now: UnixSeconds,
    ) -> Option<Self> {
        let config = list.document.as_ref().ok()?.config().ok()?;
        let own_window_nanos = window_nanos(list, now)?;
        let window = Window { nanos: own_window_nanos, as_of: looked.began? };
        let resource_version = list.resource_version.clone();
        let hash_key = store.hash_key(&list.uid).map(|hash_key| ListReport::named(hash_key.name()));
        let generation = list.generation;
        let read = Self { resource_version, config, generation, hash_key, own_window_nanos, window };
        read.seen_again(looked, &list.name)
    }

    /// Returns what the sidecars of this list must have.
    pub(super) fn needed(&self, list: &ListName, version: Version, observed: Moment) -> Needed {
        let hash_key = self.hash_key.clone();
        Needed { list: list.clone(), version, generation: self.generation, hash_key, observed }
    }

    /// Returns the same, as a later look has shown it. A sidecar may still go by a list that had its name.
    fn seen_again(mut self, looked: &Looked, list: &ListName) -> Option<Self> {
        let nanos = self.own_window_nanos.max(looked.former_window_nanos(list));
        self.window = Window { nanos, as_of: looked.began? };
        Some(self)
    }
}

fn needed(
    mirrored: &MirroredRevocation,
    revocation: &Revocation,
    list: &DeclaredList,
    now: Moment,
) -> Needed {
    let mut version = revocation.version;
    version.revisions.revocations = mirrored.first_seen.0;
    // A process that started after the status was written has seen the object at a later revision only.
    let told = mirrored.status.version.as_deref().and_then(|told| told.parse::<ToldVersion>().ok());
    let version = told.and_then(|told| told.in_history(version.epoch)).unwrap_or(version);
    list.needed(&mirrored.list, version, now)
}

#[cfg(test)]
mod tests;
