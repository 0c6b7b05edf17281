//! Forgets revocations whose last token has surely expired, as steps of the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::distribution::hub::Hub;
use crate::revocation::expiry::forgotten_from;
use crate::revocation::names::RecordId;
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Version;
use crate::runtime::clock::Clock;
use crate::store::{NewStep, Revocation, Store, StoreError, StoredList};
use crate::token::list_config::ListConfig;

use super::audit::{Audit, Deed, ITSELF, Told, Via};

/// How often due expiries are looked for.
const INTERVAL: Duration = Duration::from_secs(5);
/// How many are carried out in one step.
const MAX_PER_STEP: usize = 1024;
/// After everything was read, it is not read again for this many times as long as that took.
const REST_FACTOR: u32 = 20;

/// What may be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Now.
    pub now: Vec<RecordId>,
    /// The first second in which another one may be, of those that are known.
    pub next: Option<UnixSeconds>,
}

/// Returns which revocations may be forgotten now, and when the next may be.
///
/// One that names a list or an issuer that is not declared (any more) stays: nobody knows how long its tokens live.
#[must_use]
pub fn due(revocations: &[Revocation], lists: &[ListConfig], now: UnixSeconds) -> Due {
    let mut due = Due::default();
    for revocation in revocations {
        let list = lists.iter().find(|list| list.name == revocation.list);
        let issuer = list.and_then(|list| list.issuer(&revocation.spec.target.issuer));
        let largest = issuer.map(|issuer| issuer.largest_since(revocation.created));
        let from = largest.and_then(|largest| forgotten_from(&revocation.spec, revocation.created, &largest));
        match from {
            Some(from) if now >= from => due.now.push(revocation.id),
            Some(from) => due.next = Some(due.next.map_or(from, |next| next.min(from))),
            None => {}
        }
    }
    due
}

/// Forgets what is due.
pub struct Expiry {
    store: Arc<dyn Store>,
    /// They tell when something was added, which may be due before all else.
    hubs: Arc<[Arc<Hub>]>,
    clock: Arc<dyn Clock>,
    audit: Audit,
    known: Option<Known>,
}

/// What is known since everything was read last.
struct Known {
    version: Version,
    lists: Vec<StoredList>,
    next: Option<UnixSeconds>,
}

impl Known {
    /// Tells whether nothing can be due: the time has not come, and nothing has changed that could bring it forward.
    fn rules_out(
        &self,
        lists: &[StoredList],
        added: impl Iterator<Item = Version>,
        now: UnixSeconds,
    ) -> bool {
        let is_known = |added: Version| added <= self.version;
        self.next.is_none_or(|next| now < next) && self.lists == lists && { added }.all(is_known)
    }
}

impl Expiry {
    /// Starts without knowledge of what is due.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, hubs: Arc<[Arc<Hub>]>, clock: Arc<dyn Clock>, audit: Audit) -> Self {
        Self { store, hubs, clock, audit, known: None }
    }

    /// Carries out what is due, again and again.
    ///
    /// # Errors
    /// The store's, if it failed for good.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut rest = INTERVAL;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(rest) => {}
            }
            let began = Instant::now();
            match self.carry_out().await {
                Ok(()) => {}
                Err(error @ StoreError::Failed { .. }) => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "expiries have to wait"),
            }
            rest = INTERVAL.max(began.elapsed() * REST_FACTOR);
        }
    }

    pub(super) async fn carry_out(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now().wall().floor();
        let lists = self.store.lists().await?;
        let added = self.hubs.iter().filter_map(|hub| hub.news().borrow().added);
        if self.known.as_ref().is_some_and(|known| known.rules_out(&lists, added, now)) {
            return Ok(());
        }
        // Whatever fails now is tried again.
        self.known = None;
        let configs: Vec<ListConfig> = lists.iter().filter_map(|list| list.document.config().ok()).collect();
        let fetched = self.store.fetch().await?;
        let due = due(&fetched.revocations, &configs, now);
        let is_due: HashSet<RecordId> = due.now.iter().copied().collect();
        let judged = fetched.revocations.iter().filter(|revocation| is_due.contains(&revocation.id));
        let judged: Vec<Revocation> = judged.cloned().collect();
        for judged in judged.chunks(MAX_PER_STEP) {
            let step = NewStep::Expire { judged: judged.to_vec(), horizon: now };
            let ids = self.store.append(step).await?.expired;
            tracing::info!(count = ids.len(), "forgot revocations whose last token has expired");
            self.audit.write_all(expired(&self.audit, judged, &lists, &ids)).await;
        }
        self.known = Some(Known { version: fetched.version, lists, next: due.next });
        Ok(())
    }
}

/// Returns what is told of revocations that have expired.
fn expired(audit: &Audit, revocations: &[Revocation], lists: &[StoredList], ids: &[RecordId]) -> Vec<Told> {
    let ids: HashSet<&RecordId> = ids.iter().collect();
    let gone = revocations.iter().filter(|revocation| ids.contains(&revocation.id));
    let told = gone.map(|revocation| {
        let list = lists.iter().find(|list| list.document.name().as_ref() == Ok(&revocation.list));
        let mut told = audit.told(Deed::Expire, Via::Expiry, ITSELF.to_owned());
        told.revocation(revocation, list.map(|list| &list.hash_key));
        told
    });
    told.collect()
}

#[cfg(test)]
pub(super) mod tests;
