//! Writes the status of lists, and tells of what has changed about them, while this replica leads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::distribution::hub::Hub;
use crate::revocation::key::HashKey;
use crate::revocation::names::ListName;
use crate::revocation::time::Moment;
use crate::store::StoredList;
use crate::store::kubernetes::lists::Declared;
use crate::store::kubernetes::mirror::MirroredReport;
use crate::store::kubernetes::{KubernetesStore, Written};

use super::enforced::elapsed_nanos;
use super::events::Events;
use super::lists::{self, Known};
use super::quota::{self, Quota};
use super::told;

/// How often quotas are read: one call for each namespace with lists.
const QUOTAS_EVERY: Duration = Duration::from_secs(30);

/// Writes the status of lists.
pub(super) struct ListWriter {
    store: KubernetesStore,
    hub: Arc<Hub>,
    quotas: HashMap<String, Quota>,
    quotas_read: Option<Moment>,
    complained: bool,
    /// Replicas of which it was told that they stand still, each with a list.
    still: HashSet<(String, ListName)>,
    /// Declarations that are not published here, for which a round of proof was asked: generation and hash key.
    asked: HashMap<ListName, (u64, HashKey)>,
}

impl ListWriter {
    pub(super) fn new(store: KubernetesStore, hub: Arc<Hub>) -> Self {
        let (quotas, still, asked) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { store, hub, quotas, quotas_read: None, complained: false, still, asked }
    }

    /// Writes what has changed. `windows` are those of the lists that can be used.
    pub(super) async fn write(&mut self, windows: &HashMap<ListName, u64>, events: &mut Events, now: Moment) {
        let declared = self.store.declared();
        self.read_quotas(&declared, now).await;
        for list in &declared {
            let before = lists::before(list);
            let after = lists::status(list, &self.known(&list.name, now), now.wall().floor());
            if lists::is_news(&before, &after)
                && self.store.write_list_status(list, json!(after)).await == Written::Done
            {
                for note in told::of_list(list, &before, &after) {
                    events.of_list(note, now);
                }
            }
        }
        self.tell_of_replicas(&declared, windows, events, now);
    }

    /// A replica learns in a round of proof what was declared, and where no sidecar asks for one, there is none. So it is
    /// asked for once for each declaration that is not the published one: else a list would be ready only when its first
    /// sidecar is there, and a sidecar that comes would be told what was declared long ago.
    pub(super) fn ask_for_round(&mut self, stored: &[StoredList]) {
        let mut news = HashMap::new();
        for StoredList { document, hash_key } in stored {
            let Ok(name) = document.name() else { continue };
            let declaration = (document.metadata.generation, *hash_key);
            let mut published = None;
            self.hub.with(&name, &mut |publisher| {
                published = Some((publisher.config().generation, *publisher.state().hash_key()));
            });
            if published != Some(declaration) {
                news.insert(name, declaration);
            }
        }
        if news.iter().any(|(name, declaration)| self.asked.get(name) != Some(declaration)) {
            self.hub.ping();
        }
        self.asked = news;
    }

    fn known(&self, list: &ListName, now: Moment) -> Known {
        let mut known = Known { quota: self.quotas.get(list.namespace()).cloned(), ..Known::default() };
        self.hub.with(list, &mut |publisher| {
            known.entries = Some(publisher.state().key_count() as u64);
            known.bytes = publisher.snapshot_bytes();
            known.version = Some(publisher.standing().last_change.to_string());
        });
        self.store.with_mirror(|mirror| {
            known.went_back = mirror.went_back;
            known.gone = mirror.gone_holder(list.namespace());
            let reports = mirror.reports.values().flat_map(|report| &report.lists);
            let of_list = reports.filter(|of| of.namespace == list.namespace() && of.name == list.name());
            known.subscribers = of_list.map(|of| of.subscribers).sum();
            known.lost = mirror.lost.values().filter(|lost| lost.list == *list).count();
            known.gone_lately = mirror.departures.lately(list, now);
            let of_list = mirror.revocations.values().filter(|revocation| revocation.list == *list);
            for revocation in of_list.filter(|revocation| !revocation.expired) {
                known.live += 1;
                known.unreadable += usize::from(revocation.read.is_err());
            }
        });
        known
    }

    /// Reads the quotas of the namespaces with lists, now and then. What can't be read is as it was.
    async fn read_quotas(&mut self, declared: &[Declared], now: Moment) {
        let is_known = |read: Moment| u128::from(elapsed_nanos(read, now)) < QUOTAS_EVERY.as_nanos();
        if self.quotas_read.is_some_and(is_known) {
            return;
        }
        self.quotas_read = Some(now);
        let namespaces: HashSet<&str> = declared.iter().map(|list| list.name.namespace()).collect();
        self.quotas.retain(|namespace, _| namespaces.contains(namespace.as_str()));
        for namespace in namespaces {
            let quotas = match self.store.quotas(namespace).await {
                Ok(quotas) => quotas,
                Err(why) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(
                            namespace,
                            why,
                            "quotas can't be read: no list says that one is nearly used up"
                        );
                    }
                    return;
                }
            };
            let counted = self.store.with_mirror(|mirror| {
                mirror.revocations.values().filter(|of| of.list.namespace() == namespace).count() as u64
            });
            match quota::tightest(&quotas, counted) {
                Some(quota) => drop(self.quotas.insert(namespace.to_owned(), quota)),
                None => drop(self.quotas.remove(namespace)),
            }
        }
        self.complained = false;
    }

    /// Tells of replicas that have sidecars of a list and have proven nothing for as long as a sidecar may go on.
    fn tell_of_replicas(
        &mut self,
        declared: &[Declared],
        windows: &HashMap<ListName, u64>,
        events: &mut Events,
        now: Moment,
    ) {
        let found = self.store.with_mirror(|mirror| standing_still(&mirror.reports, windows, now));
        let is_still = |key: &(String, ListName)| {
            found.iter().any(|still| (&still.replica, &still.list) == (&key.0, &key.1))
        };
        self.still.retain(is_still);
        for Still { replica, list, subscribers, pulse } in found {
            let declared = declared.iter().find(|declared| declared.name == list);
            if let Some(declared) = declared
                && self.still.insert((replica.clone(), list))
            {
                events.of_list(told::stale_replica(declared, &replica, subscribers, &pulse), now);
            }
        }
    }
}

/// A replica that proves nothing any more.
#[derive(Debug, PartialEq, Eq)]
struct Still {
    replica: String,
    list: ListName,
    subscribers: i64,
    /// The revision of its last pulse.
    pulse: String,
}

fn standing_still(
    reports: &BTreeMap<String, MirroredReport>,
    windows: &HashMap<ListName, u64>,
    now: Moment,
) -> Vec<Still> {
    let mut found = Vec::new();
    for (replica, report) in reports {
        let silent_nanos = elapsed_nanos(report.changed, now);
        for of in report.lists.iter().filter(|of| of.subscribers > 0) {
            let Ok(list) = ListName::new(&of.namespace, &of.name) else { continue };
            if windows.get(&list).is_none_or(|window| silent_nanos <= *window) {
                continue;
            }
            let pulse = report.objects.get(&format!("pulse-{replica}"));
            let pulse = pulse.and_then(|pulse| pulse.resource_version.clone()).unwrap_or_default();
            let (replica, subscribers) = (replica.clone(), of.subscribers);
            found.push(Still { replica, list, subscribers, pulse });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::revocation::ListReport;
    use crate::distribution::pump::moment;
    use crate::store::contract::list;

    #[test]
    fn a_replica_stands_still_when_its_sidecars_have_nothing_to_go_on_with() {
        let report = |subscribers| {
            let of = list();
            let list = ListReport {
                namespace: of.namespace().to_owned(),
                name: of.name().to_owned(),
                subscribers,
                connected: 0,
                lowest: None,
                generation: None,
                hash_key: None,
            };
            let report = MirroredReport { lists: vec![list], changed: moment(10), objects: BTreeMap::new() };
            BTreeMap::from([("aa".to_owned(), report)])
        };
        let windows = HashMap::from([(list(), 5_000_000_000)]);
        let found = |subscribers, seconds| standing_still(&report(subscribers), &windows, moment(seconds));
        assert_eq!(found(2, 15), []);
        let still = Still { replica: "aa".to_owned(), list: list(), subscribers: 2, pulse: String::new() };
        assert_eq!(found(2, 16), [still]);
        // Without sidecars a replica writes no pulse.
        assert_eq!(found(0, 16), []);
        // Of a list that is none, nothing is told.
        assert_eq!(standing_still(&report(2), &HashMap::new(), moment(16)), []);
    }
}
