//! Keeps the authorities, and the certificate of this replica. Every replica does: of two that change the authorities at
//! one time, one does, and the other reads what it has done.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::runtime::clock::Clock;
use crate::runtime::tls::ServerCertificate;

use super::issue::{self, IssueError};
use super::secret::{self, SecretError, Stored};
use super::{Authorities, Due, Issued, is_renewal_due};

/// How often the Secret is read. A replica signs under what it has just read, and never by an authority that it only
/// remembers; so a promotion is known to all within this time.
const PERIOD: Duration = Duration::from_secs(10);
/// Until there is a certificate nobody is served.
const FIRST_PERIOD: Duration = Duration::from_secs(1);
/// How many changes one round makes; there are never more than three due at one time.
const MAX_STEPS: usize = 8;

#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("other replicas change the Secret all the time")]
    Contended,
    #[error("the time of this machine makes no sense")]
    Time,
}

/// Keeps the authorities, and the certificate of this replica.
pub(in crate::controller::kubernetes) struct Keeper {
    api: Api<Secret>,
    names: Vec<String>,
    clock: Arc<dyn Clock>,
    certificate: Arc<ServerCertificate>,
    bundle: watch::Sender<Option<Arc<str>>>,
    issued: Option<Issued>,
}

impl Keeper {
    /// Makes one that shows its certificates by `certificate`, and what is to be trusted by `bundle`.
    pub(in crate::controller::kubernetes) fn new(
        api: Api<Secret>,
        names: Vec<String>,
        clock: Arc<dyn Clock>,
        certificate: Arc<ServerCertificate>,
        bundle: watch::Sender<Option<Arc<str>>>,
    ) -> Self {
        Self { api, names, clock, certificate, bundle, issued: None }
    }

    /// Keeps them until `shutdown`.
    pub(in crate::controller::kubernetes) async fn run(
        mut self,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            if let Err(error) = self.round().await {
                self.complain(&error);
            }
            let pause = if self.issued.is_some() { PERIOD } else { FIRST_PERIOD };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn complain(&self, error: &KeeperError) {
        let now = self.now().map_or(0, Timestamp::as_second);
        match self.certificate.not_after() {
            Some(end) if end < now => tracing::error!(
                %error,
                seconds = now - end,
                "the certificate of this replica has expired and can't be renewed: nobody can connect to it"
            ),
            Some(_) => tracing::warn!(%error, "the authorities can't be looked at; the certificate is kept"),
            None => tracing::warn!(%error, "there is no certificate yet, and nobody is served; trying again"),
        }
    }

    fn now(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(self.clock.now().wall_nanos.into()).ok()
    }

    async fn round(&mut self) -> Result<(), KeeperError> {
        let now = self.now().ok_or(KeeperError::Time)?;
        let authorities = self.settle(now).await?;
        let bundle: Arc<str> = authorities.bundle().into();
        self.bundle.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&bundle);
            if is_new {
                *known = Some(bundle);
            }
            is_new
        });
        let signing = &authorities.signing;
        if is_renewal_due(self.issued.as_ref(), signing, now) {
            self.certificate.replace(issue::serving(signing, &self.names, now)?);
            self.issued = Some(Issued::new(signing, now));
            tracing::info!(authority = signing.name, "this replica has a new certificate");
        }
        Ok(())
    }

    /// Does what is due; returns what there is then.
    async fn settle(&self, now: Timestamp) -> Result<Authorities, KeeperError> {
        for _ in 0..MAX_STEPS {
            let Some(stored) = secret::read(&self.api).await? else {
                let first = Authorities::first(issue::authority(now)?);
                if let Some(created) = secret::create(&self.api, &first).await? {
                    tracing::info!(authority = first.signing.name, "the first authority was made");
                    return Ok(created.authorities);
                }
                continue;
            };
            match stored.authorities.due(now, stored.asked) {
                None => return Ok(stored.authorities),
                Some(due) => self.carry_out(due, stored, now).await?,
            }
        }
        Err(KeeperError::Contended)
    }

    async fn carry_out(&self, due: Due, stored: Stored, now: Timestamp) -> Result<(), KeeperError> {
        let authorities = stored.authorities.clone().after(due, now, || issue::authority(now))?;
        if secret::replace(&self.api, stored, &authorities).await?.is_none() {
            return Ok(());
        }
        let signing = &authorities.signing.name;
        match due {
            Due::Successor | Due::Promotion | Due::Removal => {
                tracing::info!(?due, signing, "the authorities were changed");
            }
            Due::Replacement => tracing::error!(
                signing,
                "the authority had ended, and a new one signs at once: sidecars refuse it until they have read the \
                 ConfigMap anew"
            ),
        }
        Ok(())
    }
}
