//! Revocations that the store has lost and nobody has lifted: they are written again.
//!
//! A store that was restored from a backup, or made anew after its definition or a namespace was deleted, has
//! forgotten what it had acknowledged; this process has not.

use std::collections::HashSet;

use kube::Client;
use kube::api::Api;

use crate::revocation::names::RecordId;
use crate::revocation::record::Cutoff;
use crate::revocation::version::Epoch;
use crate::store::written::generated_name;
use crate::store::{Revocation, StoreError};

use super::Shared;
use super::call::{CallError, Object, timed};
use super::mirror::MirroredRevocation;
use super::object::{self, Says};
use super::{append, deletion};

impl Shared {
    /// Finds what a list should have shown and does not, and writes it again where that can be. Returns how many were
    /// written: what was listed is old then.
    pub(super) async fn restore_lost(
        &self,
        client: &Client,
        epoch: Epoch,
        definition: &str,
        objects: &[Object],
    ) -> Result<usize, StoreError> {
        let found: HashSet<RecordId> = objects.iter().filter_map(object::id).collect();
        self.find_lost(client, epoch, definition, &found).await?;
        let lost: Vec<(RecordId, MirroredRevocation)> =
            self.mirror().lost.iter().map(|(id, lost)| (*id, lost.clone())).collect();
        let mut written = 0;
        for (id, revocation) in lost {
            match self.write_again(&revocation).await {
                Ok(Outcome::Written) => written += 1,
                Ok(Outcome::Kept) => continue,
                Err(error) if error.is_undecided() => return Err(error.into()),
                Err(error) => {
                    let name = revocation.metadata.name.as_deref().unwrap_or_default();
                    tracing::error!(list = %revocation.list, name, %error, "a lost revocation can't be written again");
                    continue;
                }
            }
            self.observe(|mirror, _| drop(mirror.lost.remove(&id)));
        }
        Ok(written)
    }

    /// A complete list explains what it does not show, if it is of the same history, and what held the object still
    /// stands.
    async fn find_lost(
        &self,
        client: &Client,
        epoch: Epoch,
        definition: &str,
        found: &HashSet<RecordId>,
    ) -> Result<(), CallError> {
        let (absent, same_store, before) = {
            let mirror = self.mirror();
            let absent = mirror.revocations.iter().filter(|(id, _)| !found.contains(id));
            let absent: Vec<(RecordId, String)> =
                absent.map(|(id, revocation)| (*id, revocation.list.namespace().to_owned())).collect();
            let same_store = mirror.epoch == Some(epoch) && mirror.definition == definition;
            (absent, same_store, mirror.namespaces.clone())
        };
        let namespaces: HashSet<String> = absent.iter().map(|(_, namespace)| namespace.clone()).collect();
        let explained = deletion::look(client, namespaces).await?;
        self.observe(|mirror, now| {
            for (id, namespace) in absent {
                if same_store && explained.is_same(&namespace, before.get(&namespace)) {
                    mirror.depart(id, now);
                } else {
                    let uid = before.get(&namespace).cloned().unwrap_or_default();
                    let alive = explained.is_same(&namespace, before.get(&namespace));
                    mirror.lose(id, (!alive).then_some(uid));
                }
            }
        });
        Ok(())
    }

    async fn write_again(&self, lost: &MirroredRevocation) -> Result<Outcome, CallError> {
        let Ok(revocation) = &lost.read else { return Ok(Outcome::Kept) };
        let again = with_its_cutoff(revocation);
        let api = self.api_in(lost.list.namespace());
        // Its own name may be another's by now.
        for name in [again.name.clone(), generated_name(again.id)] {
            let again = Revocation { name, ..again.clone() };
            match append::create(&api, &again).await {
                Ok(_) => return Ok(Outcome::Written),
                Err(error) if error.is_conflict() => {
                    if self.says_the_same(&api, &again).await? {
                        return Ok(Outcome::Written);
                    }
                }
                // Its namespace is gone: perhaps it comes back, and its list with it.
                Err(error) if error.is_not_found() || error.is_terminating() => return Ok(Outcome::Kept),
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::Kept)
    }

    /// Another replica may have been faster.
    async fn says_the_same(&self, api: &Api<Object>, again: &Revocation) -> Result<bool, CallError> {
        let found = timed(api.get(&again.name)).await?;
        let says = object::read(&found, again.version.epoch, &self.own);
        Ok(matches!(says, Says::Live(found) if found.list == again.list && found.spec == again.spec))
    }
}

enum Outcome {
    Written,
    Kept,
}

/// The default of a cutoff is the time of creation, which would be another now.
fn with_its_cutoff(revocation: &Revocation) -> Revocation {
    let mut again = revocation.clone();
    if again.spec.cutoff.is_none()
        && let Ok(cutoff @ Cutoff::At(_)) = again.spec.effective_cutoff(again.created)
    {
        again.spec.cutoff = Some(cutoff);
    }
    again
}
