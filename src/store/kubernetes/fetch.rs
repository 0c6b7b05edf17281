//! A complete list of objects, put together with what explains it: for a replica, which follows the log from there, and
//! for those who only look.

use std::collections::HashSet;
use std::sync::Arc;

use kube::Client;

use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Epoch;
use crate::store::{Fetched, StoreError};

use super::call::Object;
use super::deletion::DEFINITION;
use super::epoch::Reason;
use super::object::{self, Says};
use super::{Shared, call, deletion, epoch, heartbeat, lists};

/// How often everything is listed again because it changed while it was put together.
const MAX_FETCH_ATTEMPTS: u32 = 5;

impl Shared {
    /// Returns everything live, and makes it what is known. Whoever follows the log must not do so meanwhile: what the
    /// watch shows during the call would be lost.
    pub(super) async fn fetch(&self) -> Result<Fetched, StoreError> {
        self.client.store(Arc::new(call::connect(&self.config)?));
        self.fetch_with(self.client()).await
    }

    pub(super) async fn fetch_with(&self, client: Client) -> Result<Fetched, StoreError> {
        let Some(definition) = self.look_at_definition(&client).await? else {
            let why = format!("the CustomResourceDefinition {DEFINITION} is not there: apply it");
            return Err(StoreError::Unavailable { why });
        };
        for _ in 0..MAX_FETCH_ATTEMPTS {
            let beaten = self.heartbeats.lock().await.revisions();
            let (revision, objects) = call::list_all(&self.api(), call::stripped_revocation).await?;
            // It was there before the list was: what is absent now may have gone with it.
            if self.look_at_definition(&client).await?.as_ref() != Some(&definition) {
                let why =
                    format!("the CustomResourceDefinition {DEFINITION} went while its objects were listed");
                return Err(StoreError::Unavailable { why });
            }
            let Some(epoch) = epoch_of(&objects, &self.own) else {
                let above = self.mirror().epoch.map(|epoch| epoch.counter);
                self.begin_epoch(above, Reason::First).await?;
                continue;
            };
            let is_older =
                heartbeat::shows_a_way_back(&beaten, &objects) || self.mirror().is_ahead_of(&objects);
            if self.is_of_what_was_seen(epoch) && is_older {
                return Err(StoreError::WentBack);
            }
            *self.known_epoch() = Some(epoch);
            if self.is_below_what_was_seen(epoch, revision) {
                // Who asked sees that, and begins another history; what is known of this one is still needed.
                return Ok(self.assemble(epoch, revision, &objects));
            }
            if self.restore_lost(&client, epoch, &definition, &objects).await? > 0 {
                continue;
            }
            self.look_at_namespaces(&client).await?;
            if !self.is_of_what_was_seen(epoch) {
                // They may be as they were in an older copy, and that is known by now.
                self.heartbeats.lock().await.forget();
            }
            self.observe(|mirror, now| {
                mirror.replace(epoch, revision, &objects, &self.own, now);
                mirror.definition.clone_from(&definition);
            });
            return Ok(self.assemble(epoch, revision, &objects));
        }
        Err(StoreError::Unavailable { why: "the store changed again and again while it was read".to_owned() })
    }

    /// Returns everything live. What is known stays as it is: only the watch, and who starts it, know what is the newest.
    pub(super) async fn read(&self) -> Result<Fetched, StoreError> {
        let (revision, objects) = call::list_all(&self.api(), call::stripped_revocation).await?;
        let epoch = epoch_of(&objects, &self.own).ok_or_else(|| {
            let why = "no controller has begun its history yet".to_owned();
            StoreError::Unavailable { why }
        })?;
        Ok(self.assemble(epoch, revision, &objects))
    }

    fn is_below_what_was_seen(&self, epoch: Epoch, revision: u64) -> bool {
        self.is_of_what_was_seen(epoch) && revision < self.mirror().revision
    }

    fn is_of_what_was_seen(&self, epoch: Epoch) -> bool {
        self.mirror().epoch == Some(epoch)
    }

    fn assemble(&self, epoch: Epoch, revision: u64, objects: &[Object]) -> Fetched {
        let mut fetched = Fetched {
            version: object::version(epoch, revision),
            revocations: Vec::new(),
            unreadable: Vec::new(),
            horizon: UnixSeconds::MIN,
        };
        for object in objects {
            match object::read(object, epoch, &self.own) {
                Says::Live(revocation) => fetched.revocations.push(*revocation),
                Says::Unreadable(unreadable) => fetched.unreadable.push(unreadable),
                Says::Horizon(Some(horizon)) => fetched.horizon = horizon,
                Says::Expired { .. }
                | Says::Pulse(_)
                | Says::Report { .. }
                | Says::Epoch(_)
                | Says::Horizon(None)
                | Says::Nothing => {}
            }
        }
        fetched.revocations.sort_by_key(|revocation| revocation.version.revisions.revocations);
        fetched
    }

    /// A list whose namespace is about to go may have lost revocations already that nobody has lifted.
    async fn look_at_namespaces(&self, client: &Client) -> Result<(), StoreError> {
        let declared = lists::fetch(client, &self.seen_lists, self.wall()).await?;
        let namespaces: HashSet<String> =
            declared.iter().map(|list| list.name.namespace().to_owned()).collect();
        let explained = deletion::look(client, namespaces.clone()).await?;
        let mut mirror = self.mirror();
        for namespace in namespaces {
            match explained.alive.get(&namespace).map(|living| &living.uid) {
                Some(uid) if mirror.gone.get(&namespace) != Some(uid) => {
                    mirror.gone.remove(&namespace);
                    mirror.namespaces.insert(namespace, uid.clone());
                }
                _ => {
                    let before = mirror.namespaces.get(&namespace).cloned().unwrap_or_default();
                    mirror.gone.insert(namespace, before);
                }
            }
        }
        Ok(())
    }
}

fn epoch_of(objects: &[Object], own: &str) -> Option<Epoch> {
    objects.iter().find_map(|object| epoch::read(object, own))
}
