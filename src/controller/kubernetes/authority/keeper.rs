//! Keeps the authorities, and the certificate of this replica. Every replica does: of two that change the authorities at
//! one time, one does, and the other reads what it has done.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controller::kubernetes::publication::Trusted;
use crate::runtime::clock::Clock;
use crate::runtime::failing::Failing;
use crate::runtime::tls::ServerCertificate;

use super::issue::{self, IssueError};
use super::secret::{self, SecretError, Stored};
use super::{Authorities, Due, Issued, Told, is_renewal_due};

/// How often the Secret is read. A replica signs under what it has just read, and never by an authority that it only
/// remembers; so a promotion is known to all within this time.
const PERIOD: Duration = Duration::from_secs(10);
/// Until there is a certificate nobody is served.
const FIRST_PERIOD: Duration = Duration::from_secs(1);
/// How often a rotation that is held up is told.
const SAY_EVERY: Duration = Duration::from_secs(3600);
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
    trusted: watch::Sender<Option<Trusted>>,
    /// The successor that this replica has published everywhere.
    published: watch::Receiver<Option<Arc<str>>>,
    issued: Option<Issued>,
    held_up: Failing<()>,
}

impl Keeper {
    /// Makes one that shows its certificates by `certificate`, and whom to trust by `trusted`; by `published` it is told
    /// which successor everybody can read of.
    pub(in crate::controller::kubernetes) fn new(
        api: Api<Secret>,
        names: Vec<String>,
        clock: Arc<dyn Clock>,
        certificate: Arc<ServerCertificate>,
        trusted: watch::Sender<Option<Trusted>>,
        published: watch::Receiver<Option<Arc<str>>>,
    ) -> Self {
        let held_up = Failing::said_every(SAY_EVERY);
        Self { api, names, clock, certificate, trusted, published, issued: None, held_up }
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
        let successor = authorities.next.as_ref().map(|next| next.name.as_str().into());
        let trusted = Some(Trusted { bundle: authorities.bundle().into(), successor });
        self.trusted.send_if_modified(|known| {
            let is_new = *known != trusted;
            *known = trusted;
            is_new
        });
        self.tell_if_held_up(&authorities, now);
        let signing = &authorities.signing;
        if is_renewal_due(self.issued.as_ref(), signing, now) {
            self.certificate.replace(issue::serving(signing, &self.names, now)?);
            self.issued = Some(Issued::new(signing, now));
            tracing::info!(authority = signing.name, "this replica has a new certificate");
        }
        Ok(())
    }

    fn tell_if_held_up(&mut self, authorities: &Authorities, now: Timestamp) {
        let Some(until) = authorities.held_up(now) else {
            self.held_up.is_over(&());
            return;
        };
        let (signing, successor) =
            (&authorities.signing.name, authorities.next.as_ref().map(|next| &next.name));
        if self.held_up.is_news(&(), signing, tokio::time::Instant::now()) {
            tracing::warn!(
                signing,
                successor,
                %until,
                "the successor of the authority is not published everywhere, so the one before it signs on for as long as \
                 it can: see what the leader says about the ConfigMaps and the webhook"
            );
        }
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
            let published = self.published.borrow().clone();
            let told = Told { asked: stored.asked, published: published.as_deref() };
            match stored.authorities.due(now, told) {
                None => return Ok(stored.authorities),
                Some(due) => self.carry_out(due, stored, now).await?,
            }
        }
        Err(KeeperError::Contended)
    }

    async fn carry_out(&self, due: Due, stored: Stored, now: Timestamp) -> Result<(), KeeperError> {
        let is_published = stored.authorities.next_published.is_some();
        let authorities = stored.authorities.clone().after(due, now, || issue::authority(now))?;
        if secret::replace(&self.api, stored, &authorities).await?.is_none() {
            return Ok(());
        }
        let signing = &authorities.signing.name;
        match due {
            Due::Promotion if !is_published => tracing::error!(
                signing,
                "the authority has no time left, so its successor signs although it is not published everywhere: sidecars \
                 of namespaces without it can't connect until it is"
            ),
            Due::Successor | Due::Note | Due::Promotion | Due::Removal => {
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
