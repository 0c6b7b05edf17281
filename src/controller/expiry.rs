//! Forgets revocations whose last token has surely expired, as steps of the log.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::revocation::expiry::forgotten_from;
use crate::revocation::names::RecordId;
use crate::revocation::time::UnixSeconds;
use crate::runtime::clock::Clock;
use crate::store::{Entry, Revocation, Store, StoreError};
use crate::token::list_config::ListConfig;

/// How often due expiries are looked for.
const INTERVAL: Duration = Duration::from_secs(5);
/// How many are carried out in one step.
const MAX_PER_STEP: usize = 1024;

/// Returns the revocations that may be forgotten now.
///
/// One that names a list or an issuer that is not declared (any more) stays: nobody knows how long its tokens live.
#[must_use]
pub fn due(revocations: &[Revocation], lists: &[ListConfig], now: UnixSeconds) -> Vec<RecordId> {
    let is_due = |revocation: &&Revocation| {
        let list = lists.iter().find(|list| list.name == revocation.list);
        let issuer = list.and_then(|list| list.issuer(&revocation.spec.target.issuer));
        let largest = issuer.map(|issuer| issuer.largest_since(revocation.created));
        let from = largest.and_then(|largest| forgotten_from(&revocation.spec, revocation.created, &largest));
        from.is_some_and(|from| now >= from)
    };
    revocations.iter().filter(is_due).map(|revocation| revocation.id).collect()
}

/// Carries out what is due, again and again.
///
/// # Errors
/// The store's, if it failed for good.
pub async fn run(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        match carry_out(&*store, clock.now().wall().floor()).await {
            Ok(()) => {}
            Err(error @ StoreError::Failed { .. }) => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "expiries have to wait"),
        }
    }
}

pub(super) async fn carry_out(store: &dyn Store, now: UnixSeconds) -> Result<(), StoreError> {
    let lists = store.lists().await?;
    let configs: Vec<ListConfig> = lists.iter().filter_map(|list| list.document.config().ok()).collect();
    let fetched = store.fetch().await?;
    let due = due(&fetched.revocations, &configs, now);
    for ids in due.chunks(MAX_PER_STEP) {
        store.append(Entry::Expire { ids: ids.to_vec(), horizon: now }).await?;
        tracing::info!(count = ids.len(), "forgot revocations whose last token has expired");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::compile::tests::config;
    use crate::revocation::expiry::{MARGIN_SECONDS, MAX_LEEWAY_SECONDS};
    use crate::revocation::version::{Epoch, Revisions, Version};
    use crate::store::contract::{list, subject};
    use crate::token::list_config::Maxima;

    fn at(seconds: u64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    fn revocation() -> Revocation {
        let epoch = Epoch { counter: 1, id: 1 };
        Revocation {
            id: RecordId(1),
            list: list(),
            name: "r".to_owned(),
            spec: subject("alice"),
            created: at(1_000_000),
            reason: None,
            message: None,
            version: Version { epoch, revisions: Revisions::default() },
        }
    }

    const LAST: u64 = 1_000_001 + 3600 + MAX_LEEWAY_SECONDS + MARGIN_SECONDS;

    /// Invariant 7: expiry is never early.
    #[test]
    fn a_revocation_is_due_when_the_last_token_that_it_covers_has_expired() {
        let due_at = |now| due(&[revocation()], &[config()], at(now));
        assert_eq!(due_at(LAST), []);
        assert_eq!(due_at(LAST + 1), [RecordId(1)]);
    }

    /// Invariant 7: the largest maximum in force since the commit counts.
    #[test]
    fn a_lowered_maximum_does_not_bring_an_expiry_forward() {
        let mut lowered = config();
        let before = lowered.issuers[0].maxima;
        lowered.issuers[0].maxima = Maxima { token_lifetime_seconds: 60, ..before };
        lowered.issuers[0].history.push((at(1_000_100), before));
        assert_eq!(due(&[revocation()], &[lowered.clone()], at(LAST)), []);
        // Maxima of before the commit do not count.
        lowered.issuers[0].history[0].0 = at(999_999);
        assert_eq!(due(&[revocation()], &[lowered], at(LAST)), [RecordId(1)]);
    }

    #[test]
    fn what_names_an_undeclared_issuer_or_list_stays() {
        let mut other = revocation();
        other.spec.target.issuer = "https://else".to_owned();
        assert_eq!(due(&[other], &[config()], UnixSeconds::MAX), []);
        assert_eq!(due(&[revocation()], &[], UnixSeconds::MAX), []);
    }

    /// Failure 16: every entry expires or is a declared ban; what is held stays flat over days of churn.
    #[test]
    fn days_of_churn_leave_no_more_than_what_is_live() {
        const STEP_SECONDS: u64 = 600;
        const PER_STEP: u128 = 20;
        // A cutoff is kept for a token's lifetime, the largest leeway and the margin: 3,962 s, less than 7 steps.
        const MOST: usize = 8 * 20;
        let mut live: Vec<Revocation> = Vec::new();
        let mut forgotten = 0;
        for step in 0..(3 * 24 * 6) {
            let now = at(1_000_000 + step * STEP_SECONDS);
            for n in 0..PER_STEP {
                let id = RecordId(u128::from(step) * PER_STEP + n);
                live.push(Revocation { id, created: now, ..revocation() });
            }
            let due = due(&live, &[config()], now);
            forgotten += due.len();
            live.retain(|revocation| !due.contains(&revocation.id));
            assert!(live.len() <= MOST, "{} are live after {step} steps", live.len());
        }
        assert!(forgotten > 8000);
    }
}
