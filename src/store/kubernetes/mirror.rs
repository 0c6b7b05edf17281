//! What the watch has shown, kept for those who report on it and for the day when the store has lost it.
//!
//! Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::revocation::{ListReport, RevocationStatus};
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::revocation::version::Epoch;
use crate::store::Revocation;

use super::call::{Object, revision};
use super::epoch;
use super::object::{self, Says};

pub(super) mod again;
pub mod departures;

use again::is_again;
use departures::{Departures, Lift};

/// A revocation's object.
#[derive(Clone, Debug)]
pub struct MirroredRevocation {
    /// The list that it is for.
    pub list: ListName,
    /// Its metadata, with the revision that a write has to name.
    pub metadata: ObjectMeta,
    /// What it says, or why that is not understood.
    pub read: Result<Box<Revocation>, String>,
    /// Whether it has expired: it revokes nothing any more.
    pub expired: bool,
    /// Its status.
    pub status: RevocationStatus,
    /// The revision at which this process saw it first, and when; a write of its status does not change them.
    pub first_seen: (u64, Moment),
}

/// What held revocations and went away with them: that lifts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The definition of the type, and with it every object.
    Definition,
    /// A namespace.
    Namespace,
}

/// A replica's report, with its pulse.
#[derive(Clone, Debug)]
pub struct MirroredReport {
    /// What its sidecars have in use.
    pub lists: Vec<ListReport>,
    /// When either of its objects changed last, as seen here.
    pub changed: Moment,
    /// Its objects: what is needed to remove them.
    pub objects: BTreeMap<String, ObjectMeta>,
}

/// What the watch has shown.
#[derive(Debug)]
pub struct Mirror {
    /// The history that all this is of; none before the first fetch.
    pub epoch: Option<Epoch>,
    /// All of it up to this revision.
    pub revision: u64,
    /// When the history began, as far as it is known here.
    pub since: Moment,
    /// When the history began, if it did because the store was found to be an older copy of itself.
    pub went_back: Option<UnixSeconds>,
    /// The UID of the type's definition, as it was when everything was fetched.
    pub definition: String,
    /// Whether the definition was gone when it was looked at last.
    pub definition_is_gone: bool,
    /// The revocations by origin.
    pub revocations: HashMap<RecordId, MirroredRevocation>,
    /// The reports by the name of the replica's process.
    pub reports: BTreeMap<String, MirroredReport>,
    /// Namespaces by name, with the UID that they had.
    pub namespaces: HashMap<String, String>,
    /// Namespaces that went away with all that they held, with their UIDs.
    pub gone: HashMap<String, String>,
    /// Revocations that the store has lost, and nobody has lifted.
    pub lost: HashMap<RecordId, MirroredRevocation>,
    /// Revocations that changed since somebody looked.
    pub dirty: BTreeSet<RecordId>,
    /// Revocations that were lifted or have expired lately.
    pub departures: Departures,
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            epoch: None,
            revision: 0,
            since: Moment { boot_nanos: 0, wall_nanos: 0 },
            went_back: None,
            definition: String::new(),
            definition_is_gone: false,
            revocations: HashMap::new(),
            reports: BTreeMap::new(),
            namespaces: HashMap::new(),
            gone: HashMap::new(),
            lost: HashMap::new(),
            dirty: BTreeSet::new(),
            departures: Departures::default(),
        }
    }
}

impl Mirror {
    /// Takes everything that a list shows, in place of what was known. What is not among it is the caller's to explain.
    pub(super) fn replace(
        &mut self,
        epoch: Epoch,
        revision: u64,
        objects: &[Object],
        own: &str,
        now: Moment,
    ) {
        let before = std::mem::take(&mut self.revocations);
        let reports = std::mem::take(&mut self.reports);
        if self.epoch != Some(epoch) {
            // Of one that begins before our eyes, nobody else's clock has to be asked.
            self.since = if self.epoch.is_none() { begun(epoch, now) } else { now };
        }
        (self.epoch, self.revision) = (Some(epoch), revision);
        for object in objects {
            self.put(object, &object::read(object, epoch, own), now);
        }
        for (id, revocation) in &mut self.revocations {
            if let Some(before) = before.get(id) {
                revocation.first_seen = before.first_seen;
                if revocation.expired && !before.expired {
                    self.departures.count(&revocation.list, now);
                }
            }
        }
        for (replica, report) in &mut self.reports {
            if let Some(before) =
                reports.get(replica).filter(|before| before.revisions() == report.revisions())
            {
                report.changed = before.changed;
            }
        }
    }

    /// Returns what is gone that held the revocations of a namespace: nobody vouches for its lists until it is back.
    #[must_use]
    pub fn gone_holder(&self, namespace: &str) -> Option<Holder> {
        if self.definition_is_gone {
            return Some(Holder::Definition);
        }
        self.gone.contains_key(namespace).then_some(Holder::Namespace)
    }

    /// Takes an object as the watch shows it. A lost revocation that is there again is lost no more: it may be lifted from
    /// now on, and nobody else writes it then.
    pub(super) fn watched(&mut self, object: &Object, says: &Says, now: Moment) {
        if let Says::Live(found) = says {
            self.lost.retain(|_, lost| !lost.read.as_ref().is_ok_and(|lost| is_again(lost, found)));
        }
        self.put(object, says, now);
    }

    /// Takes an object as it is now.
    pub(super) fn put(&mut self, object: &Object, says: &Says, now: Moment) {
        let Some(id) = object::id(object) else { return };
        let (list, read, expired) = match says {
            Says::Live(revocation) => (&revocation.list, Ok(revocation.clone()), false),
            Says::Expired { list, .. } => (list, Err("it has expired".to_owned()), true),
            Says::Unreadable(unreadable) => (&unreadable.list, Err(unreadable.why.clone()), false),
            Says::Pulse(_) => return self.put_heartbeat(object, "pulse-", None, now),
            Says::Report { lists, .. } => return self.put_heartbeat(object, "report-", Some(lists), now),
            Says::Epoch(epoch) => {
                self.went_back =
                    epoch.filter(|_| epoch::began_after_a_way_back(object)).and_then(epoch::begun);
                return;
            }
            Says::Horizon(_) | Says::Nothing => return,
        };
        let at = revision(&object.metadata).unwrap_or_default();
        let known = self.revocations.get(&id);
        let first_seen = known.map_or((at, now), |known| known.first_seen);
        if expired && known.is_some_and(|known| !known.expired) {
            self.departures.count(list, now);
        }
        let revocation = MirroredRevocation {
            list: list.clone(),
            metadata: object.metadata.clone(),
            read,
            expired,
            status: object::status(object),
            first_seen,
        };
        self.revocations.insert(id, revocation);
        self.dirty.insert(id);
    }

    fn put_heartbeat(&mut self, object: &Object, prefix: &str, lists: Option<&Vec<ListReport>>, now: Moment) {
        let Some(name) = object.metadata.name.as_deref() else { return };
        let Some(replica) = name.strip_prefix(prefix) else { return };
        let report = self.reports.entry(replica.to_owned()).or_insert_with(|| MirroredReport {
            lists: Vec::new(),
            changed: now,
            objects: BTreeMap::new(),
        });
        report.changed = now;
        report.objects.insert(name.to_owned(), object.metadata.clone());
        if let Some(lists) = lists {
            report.lists.clone_from(lists);
        }
    }

    /// Tells whether a heartbeat of this name is known that is another object, and was not seen to be deleted.
    pub(super) fn has_namesake(&self, heartbeat: &Object) -> bool {
        self.heartbeat(heartbeat).is_some_and(|known| known.uid != heartbeat.metadata.uid)
    }

    /// Tells whether a list shows something as it was before what is known of it: it is of an older copy of the store, also if
    /// that has gone on counting above all that was seen.
    pub(super) fn is_ahead_of(&self, objects: &[Object]) -> bool {
        objects.iter().any(|object| {
            let revocation = object::id(object).and_then(|id| self.revocations.get(&id));
            let known = revocation.map(|known| &known.metadata).or_else(|| self.heartbeat(object));
            let known = known.filter(|known| known.uid == object.metadata.uid);
            let known = known.and_then(|known| revision(known).ok());
            known.is_some_and(|known| revision(&object.metadata).is_ok_and(|found| found < known))
        })
    }

    fn heartbeat(&self, object: &Object) -> Option<&ObjectMeta> {
        let name = object.metadata.name.as_deref()?;
        let (_, replica) = name.split_once('-')?;
        self.reports.get(replica)?.objects.get(name)
    }

    /// Forgets an object that was deleted: a lift, an expired revocation, or a heartbeat.
    pub(super) fn remove(&mut self, object: &Object, now: Moment) {
        if let Some(id) = object::id(object) {
            self.depart(id, now);
        }
        let name = object.metadata.name.as_deref().unwrap_or_default();
        for report in self.reports.values_mut() {
            let same = |known: &ObjectMeta| known.uid == object.metadata.uid;
            if report.objects.get(name).is_some_and(same) {
                report.objects.remove(name);
            }
        }
        self.reports.retain(|_, report| !report.objects.is_empty());
    }

    /// Forgets a revocation whose object is gone: it was lifted, or had expired before.
    pub(super) fn depart(&mut self, id: RecordId, now: Moment) {
        let Some(revocation) = self.revocations.remove(&id) else { return };
        self.dirty.insert(id);
        if !revocation.expired {
            self.departures.count(&revocation.list, now);
            self.departures.keep(Lift { id, revocation, at: now });
        }
    }

    /// Keeps a revocation whose object went away and was not lifted. `namespace` is the UID of its namespace if that
    /// went away with it.
    pub(super) fn lose(&mut self, id: RecordId, namespace: Option<String>) {
        if let Some(lost) = self.revocations.remove(&id) {
            self.dirty.insert(id);
            if let Some(uid) = namespace {
                self.gone.insert(lost.list.namespace().to_owned(), uid);
            }
            if !lost.expired {
                self.lost.insert(id, lost);
            }
        }
    }
}

/// The counter of an epoch is the time of its beginning, by the clock of who began it, unless it had to be higher.
fn begun(epoch: Epoch, now: Moment) -> Moment {
    let milliseconds = (now.wall_nanos / 1_000_000).saturating_sub(epoch.counter);
    let age_nanos = milliseconds.saturating_mul(1_000_000);
    Moment { boot_nanos: now.boot_nanos.saturating_sub(age_nanos), ..now }
}

impl MirroredReport {
    fn revisions(&self) -> Vec<Option<&String>> {
        self.objects.values().map(|metadata| metadata.resource_version.as_ref()).collect()
    }
}

#[cfg(test)]
mod tests;
