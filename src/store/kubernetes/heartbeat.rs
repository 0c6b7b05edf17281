//! Heartbeats: a pulse and a report for each replica's process, written under the revision of the one before, so that
//! a write that was late can't land over a newer one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use serde_json::{Value, json};

use crate::api::revocation::{HeartbeatKind, ListReport};
use crate::store::Beat;

use super::call::{CallError, Object, create, patch_status, revision, timed};
use super::object::{heartbeat_name, replica_name, status};

/// Of how many attempts the outcome may be unknown at one time.
const MAX_NONCES: usize = 1024;

/// The heartbeat objects that this process writes.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    pulses: HashMap<u64, Pulse>,
    reports: HashMap<u64, Report>,
}

#[derive(Debug)]
struct Pulse {
    metadata: ObjectMeta,
    /// The nonces that the object may bear: that of the last success, and those of attempts since whose outcome is
    /// not known.
    nonces: Vec<String>,
}

#[derive(Debug)]
struct Report {
    metadata: ObjectMeta,
    lists: Vec<ListReport>,
}

/// Says why a pulse proves nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum PulseError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// The object bears a nonce from before the last one that was acknowledged: the store is an older copy of itself.
    #[error("the replica's own heartbeat is older than what was acknowledged")]
    WentBack,
}

impl Heartbeats {
    /// Writes a pulse; returns its revision.
    pub(super) async fn beat(&mut self, api: &Api<Object>, beat: Beat) -> Result<u64, PulseError> {
        let nonce = format!("{:032x}", beat.nonce);
        let pulse = match self.pulses.entry(beat.replica) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let object = ensure(api, HeartbeatKind::Pulse, beat.replica).await?;
                let nonces = status(&object).heartbeat.and_then(|heartbeat| heartbeat.nonce).into_iter();
                unknown.insert(Pulse { metadata: object.metadata, nonces: nonces.collect() })
            }
        };
        let status = json!({ "heartbeat": { "nonce": nonce } });
        // Before: who waits for the answer no more does not know what became of it.
        if pulse.nonces.len() >= MAX_NONCES {
            // The oldest of those that are not decided; before it is what was acknowledged last.
            pulse.nonces.remove(1);
        }
        pulse.nonces.push(nonce.clone());
        match patch_status(api, &pulse.metadata, status).await {
            Ok(written) => {
                let revision = revision(&written.metadata)?;
                *pulse = Pulse { metadata: written.metadata, nonces: vec![nonce] };
                Ok(revision)
            }
            Err(error) => {
                self.settle(api, beat.replica, &error).await?;
                Err(error.into())
            }
        }
    }

    /// After a failure, finds out what the object is now, so that the next attempt is made under its revision.
    async fn settle(&mut self, api: &Api<Object>, replica: u64, error: &CallError) -> Result<(), PulseError> {
        if error.is_not_found() {
            self.pulses.remove(&replica);
            // Who took this process for gone has removed its report as well, and nobody may be fresh who is in none.
            self.reports.remove(&replica);
            return Ok(());
        }
        if !error.is_conflict() {
            return Ok(());
        }
        let found = timed(api.get(&heartbeat_name(HeartbeatKind::Pulse, &replica_name(replica)))).await?;
        let nonce = status(&found).heartbeat.and_then(|heartbeat| heartbeat.nonce);
        let Some(pulse) = self.pulses.get_mut(&replica) else { return Ok(()) };
        let known = match &nonce {
            Some(nonce) => pulse.nonces.contains(nonce),
            None => pulse.nonces.is_empty(),
        };
        if !known {
            return Err(PulseError::WentBack);
        }
        *pulse = Pulse { metadata: found.metadata, nonces: nonce.into_iter().collect() };
        Ok(())
    }

    /// Writes a report, if it says something else than the one before. `nonce` is another one each time: a write that
    /// changes nothing has no revision of its own, and who removes what an older revision says would not see it.
    pub(super) async fn report(
        &mut self,
        api: &Api<Object>,
        replica: u64,
        nonce: u128,
        lists: Vec<ListReport>,
    ) -> Result<(), CallError> {
        let known = self.reports.remove(&replica);
        if let Some(known) = known.as_ref().filter(|known| known.lists == lists) {
            let (metadata, lists) = (known.metadata.clone(), lists);
            self.reports.insert(replica, Report { metadata, lists });
            return Ok(());
        }
        // After a failure the object is read again: what it says, and under which revision, is not known.
        let metadata = match known {
            Some(known) => known.metadata,
            None => ensure(api, HeartbeatKind::Report, replica).await?.metadata,
        };
        let status = json!({ "heartbeat": { "nonce": format!("{nonce:032x}"), "lists": lists } });
        let written = patch_status(api, &metadata, status).await?;
        self.reports.insert(replica, Report { metadata: written.metadata, lists });
        Ok(())
    }

    /// As if this beat had been written.
    #[cfg(test)]
    pub(super) fn know(&mut self, beat: Beat, object: Object) {
        let nonces = vec![format!("{:032x}", beat.nonce)];
        self.pulses.insert(beat.replica, Pulse { metadata: object.metadata, nonces });
    }

    /// Returns at which revision each pulse is at least, by the name of its object.
    pub(super) fn revisions(&self) -> HashMap<String, u64> {
        let of = |(replica, pulse): (&u64, &Pulse)| {
            let name = heartbeat_name(HeartbeatKind::Pulse, &replica_name(*replica));
            Some((name, revision(&pulse.metadata).ok()?))
        };
        self.pulses.iter().filter_map(of).collect()
    }

    /// Forgets what is known of the objects: the store is another one, or an older copy of itself.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Tells whether a list that began later shows a pulse as it was before: the store is an older copy of itself, also if its
/// revisions have gone on above all that was seen.
pub(super) fn shows_a_way_back(before: &HashMap<String, u64>, objects: &[Object]) -> bool {
    objects.iter().any(|object| {
        let known = object.metadata.name.as_ref().and_then(|name| before.get(name));
        known.is_some_and(|known| revision(&object.metadata).is_ok_and(|found| found < *known))
    })
}

/// Returns a heartbeat object; makes it if it is not there.
async fn ensure(api: &Api<Object>, kind: HeartbeatKind, replica: u64) -> Result<Object, CallError> {
    let replica = replica_name(replica);
    let name = heartbeat_name(kind, &replica);
    match timed(api.get(&name)).await {
        Err(error) if error.is_not_found() => {}
        found => return found,
    }
    let spec: Value = json!({ "target": { "heartbeat": { "replica": replica, "kind": kind } } });
    match create(api, &name, spec).await {
        Err(error) if error.is_conflict() => timed(api.get(&name)).await,
        created => created,
    }
}
