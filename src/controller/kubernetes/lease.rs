//! A lease that says which replica writes the status of objects.
//!
//! It saves work and no more: a status is written under the revision that was observed, so two replicas that both
//! believe they hold the lease can't overwrite each other.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::kubernetes::KubernetesStore;

const NAME: &str = "rescind-controller";
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The times of a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// For how long a holder that is silent is believed to be there.
    duration: Duration,
    /// How often the holder renews, and the others look.
    renew: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { duration: Duration::from_secs(6), renew: Duration::from_secs(2) }
    }
}

/// Whether this replica is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leadership {
    Leader,
    Follower,
}

/// What is known of the lease.
#[derive(Debug, Default)]
struct Observed {
    /// Its revision, and since when it has been that one, by the own clock: those of the holders may be wrong.
    revision: Option<(String, Instant)>,
    /// When the own last renewal was started.
    renewed: Option<Instant>,
}

/// Competes for the lease until `shutdown`, then gives it away.
pub(super) async fn compete(
    store: KubernetesStore,
    identity: String,
    timing: Timing,
    leadership: watch::Sender<Leadership>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut observed = Observed::default();
    loop {
        let started = Instant::now();
        let api: Api<Lease> = Api::namespaced(store.client(), store.namespace());
        match timeout(CALL_TIMEOUT, round(&api, &identity, timing, &mut observed)).await {
            Ok(Ok(Leadership::Leader)) => observed.renewed = Some(started),
            Ok(Ok(Leadership::Follower)) => observed.renewed = None,
            Ok(Err(error)) => tracing::debug!(%error, "the lease can't be renewed"),
            Err(_) => tracing::debug!("the lease can't be renewed in time"),
        }
        // Nobody else takes it before it has been silent for the whole duration.
        let leads = observed.renewed.is_some_and(|renewed| renewed.elapsed() < timing.duration);
        let now = if leads { Leadership::Leader } else { Leadership::Follower };
        leadership.send_if_modified(|was| {
            let changed = *was != now;
            if changed {
                tracing::info!(identity, ?now, "the lease has changed");
            }
            *was = now;
            changed
        });
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(timing.renew) => {}
        }
    }
    if *leadership.borrow() == Leadership::Leader {
        give_away(store.client(), store.namespace(), &identity).await;
    }
    Ok(())
}

async fn round(
    api: &Api<Lease>,
    identity: &str,
    timing: Timing,
    observed: &mut Observed,
) -> Result<Leadership, kube::Error> {
    let Some(lease) = api.get_opt(NAME).await? else {
        let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(spec(identity, timing, None)) };
        let created = api.create(&PostParams::default(), &lease).await;
        return outcome(created.map(drop));
    };
    let held = lease.spec.clone().unwrap_or_default();
    let holder = held.holder_identity.clone().unwrap_or_default();
    let revision = lease.metadata.resource_version.clone().unwrap_or_default();
    let since = match &observed.revision {
        Some((known, since)) if *known == revision => *since,
        _ => {
            let now = Instant::now();
            observed.revision = Some((revision, now));
            now
        }
    };
    let ours = holder == identity;
    if !ours && !holder.is_empty() && since.elapsed() < timing.duration {
        return Ok(Leadership::Follower);
    }
    // Under the revision that was read: of two that take it, one does.
    let next = Lease { metadata: lease.metadata, spec: Some(spec(identity, timing, Some(&held))) };
    outcome(api.replace(NAME, &PostParams::default(), &next).await.map(drop))
}

fn outcome(written: Result<(), kube::Error>) -> Result<Leadership, kube::Error> {
    match written {
        Ok(()) => Ok(Leadership::Leader),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Leadership::Follower),
        Err(error) => Err(error),
    }
}

/// Returns what the lease says once it is held, after what it said before.
fn spec(identity: &str, timing: Timing, before: Option<&LeaseSpec>) -> LeaseSpec {
    let now = Timestamp::now();
    let renewed = before.filter(|before| before.holder_identity.as_deref() == Some(identity));
    let transitions = before.map_or(0, |before| before.lease_transitions.unwrap_or_default());
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(timing.duration.as_secs()).ok(),
        renew_time: Some(MicroTime(now)),
        acquire_time: renewed.map_or(Some(MicroTime(now)), |before| before.acquire_time.clone()),
        lease_transitions: Some(transitions + i32::from(before.is_some() && renewed.is_none())),
        ..LeaseSpec::default()
    }
}

/// So that another need not wait.
async fn give_away(client: Client, namespace: &str, identity: &str) {
    let api: Api<Lease> = Api::namespaced(client, namespace);
    let giving = async {
        let mut lease = api.get(NAME).await?;
        let held = lease.spec.get_or_insert_default();
        if held.holder_identity.as_deref() == Some(identity) {
            held.holder_identity = Some(String::new());
            api.replace(NAME, &PostParams::default(), &lease).await?;
        }
        Ok::<(), kube::Error>(())
    };
    match timeout(CALL_TIMEOUT, giving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "the lease could not be given away"),
        Err(_) => tracing::info!("the lease could not be given away in time"),
    }
}

#[cfg(test)]
mod tests;
