//! Revocations that the store has lost and nobody has lifted: they are written again.
//!
//! A store that was restored from a backup, or made anew after its definition or a namespace was deleted, has
//! forgotten what it had acknowledged; this process has not.

use std::collections::HashSet;

use kube::Client;
use kube::api::Api;

use crate::revocation::names::RecordId;
use crate::revocation::version::Epoch;
use crate::runtime::random;
use crate::store::{Revocation, StoreError};

use super::Shared;
use super::call::{CallError, Object, timed};
use super::mirror::MirroredRevocation;
use super::mirror::again::{names, turn, with_its_cutoff};
use super::object::{self, Says};
use super::{append, deletion};

/// How many are tried again at a time that could not be written before.
const MAX_RETRIED: usize = 64;

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
            match self.write_again(id, &revocation).await {
                Ok(Outcome::Written) => written += 1,
                Ok(Outcome::Kept) => {}
                Err(error) if error.is_undecided() || error.is_busy() => return Err(error.into()),
                Err(error) => {
                    let name = revocation.metadata.name.as_deref().unwrap_or_default();
                    tracing::error!(list = %revocation.list, name, %error, "a lost revocation can't be written again");
                }
            }
        }
        Ok(written)
    }

    /// Tries once more to write some of what could not be written again, where that may be possible by now: an API server
    /// whose policies can't judge yet refuses, and so does a quota. What it writes comes as an event of the watch.
    pub(super) async fn retry_lost(&self) {
        for (id, revocation) in self.some_lost() {
            // Another replica may have been faster meanwhile, and somebody may have lifted it.
            if !self.mirror().lost.contains_key(&id) {
                continue;
            }
            let Err(error) = self.write_again(id, &revocation).await else { continue };
            // It was told when everything was fetched.
            tracing::debug!(list = %revocation.list, %error, "a lost revocation still can't be written again");
            // What was refused to one may be allowed to another; who does not answer would not answer then.
            if error.is_undecided() || error.is_busy() {
                return;
            }
        }
    }

    /// Returns lost revocations that may be written again, by turns: those that are refused for good must not keep others
    /// from being tried.
    fn some_lost(&self) -> Vec<(RecordId, MirroredRevocation)> {
        let mirror = self.mirror();
        let possible: Vec<_> = mirror
            .lost
            .iter()
            .filter(|(_, lost)| mirror.gone_holder(lost.list.namespace()).is_none())
            .collect();
        let first = u64::from_le_bytes(random::bytes(&*self.environment.random));
        let some = turn(possible.len(), first, MAX_RETRIED).filter_map(|place| possible.get(place));
        some.map(|(id, lost)| (**id, (*lost).clone())).collect()
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
            let absent: Vec<_> = absent
                .map(|(id, of)| (*id, of.list.namespace().to_owned(), object::created(&of.metadata)))
                .collect();
            let same_store = mirror.epoch == Some(epoch) && mirror.definition == definition;
            (absent, same_store, mirror.namespaces.clone())
        };
        let namespaces: HashSet<String> = absent.iter().map(|(_, namespace, _)| namespace.clone()).collect();
        let explained = deletion::look(client, namespaces).await?;
        self.observe(|mirror, now| {
            for (id, namespace, created) in absent {
                let uid = before.get(&namespace);
                let is_same = explained.is_same(&namespace, uid, created);
                if same_store && is_same {
                    mirror.depart(id, now);
                } else {
                    mirror.lose(id, (!is_same).then(|| explained.gone_uid(&namespace, uid)));
                }
            }
        });
        Ok(())
    }

    async fn write_again(&self, id: RecordId, lost: &MirroredRevocation) -> Result<Outcome, CallError> {
        let outcome = self.write_as_it_was(lost).await?;
        if outcome == Outcome::Written {
            self.observe(|mirror, _| drop(mirror.lost.remove(&id)));
        }
        Ok(outcome)
    }

    async fn write_as_it_was(&self, lost: &MirroredRevocation) -> Result<Outcome, CallError> {
        let Ok(revocation) = &lost.read else { return Ok(Outcome::Kept) };
        let again = with_its_cutoff(revocation);
        let api = self.api_in(lost.list.namespace());
        for name in names(revocation) {
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    Kept,
}
