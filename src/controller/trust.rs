//! On Kubernetes: where the certificate comes from, and who publishes whom to trust.

use std::sync::Arc;

use tokio::sync::watch;

use crate::runtime::environment::Environment;
use crate::runtime::readiness::{Readiness, State};
use crate::runtime::supervisor::Supervisor;
use crate::runtime::tls::ServerCertificate;
use crate::store::kubernetes::KubernetesStore;

use super::kubernetes;
use super::kubernetes::publication::Publication;
use super::kubernetes::webhook::Webhook;
use super::metrics::Trust;
use super::transport::{Certificates, Transports};

/// Where a pod is injected, its sidecar needs to know whom to trust; and the API server whom to trust that injects it, which
/// the probes wait for.
pub(super) fn publish_for_webhook(
    supervisor: &mut Supervisor,
    readiness: &Readiness,
    publication: Option<&Publication>,
    webhook: Option<&Webhook>,
) {
    let (Some(publication), Some(webhook)) = (publication, webhook) else { return };
    let publishing = publication.clone().publish_wanted(webhook.namespaces(), supervisor.shutdown());
    supervisor.spawn("publication for the webhook", publishing);
    let (awaited, is_over) = watch::channel(false);
    let awaiting = publication.clone().await_api_server(awaited, supervisor.shutdown());
    supervisor.spawn("trust of the API server", awaiting);
    readiness.checked("webhook", move || match *is_over.borrow() {
        true => State::Met,
        false => State::NotMet("the API server does not trust the webhook yet".to_owned()),
    });
}

/// Keeps the controllers' own authority, if the certificate is to be from there. Returns who publishes whom to trust, be it
/// that authority or given ones.
pub(super) fn certify(
    supervisor: &mut Supervisor,
    cluster: &KubernetesStore,
    (certificates, transports): (&Certificates, &Transports),
    trust: &Trust,
    environment: &Environment,
) -> Option<Publication> {
    let certificate = trust.certificate.clone()?;
    let unpublished = trust.unpublished.clone();
    match certificates {
        Certificates::Authority { domain } => Some(kubernetes::certify(
            supervisor,
            cluster,
            domain,
            certificate,
            &environment.clock,
            unpublished,
        )),
        Certificates::Files { .. } => {
            Some(kubernetes::publish_given(cluster, transports.published()?, unpublished))
        }
        Certificates::None => None,
    }
}

/// The probes wait until there is a certificate.
pub(super) fn await_certificate(readiness: &Readiness, certificate: Option<Arc<ServerCertificate>>) {
    let Some(certificate) = certificate else { return };
    readiness.checked("certificate", move || match certificate.not_after() {
        Some(_) => State::Met,
        None => State::NotMet("there is no certificate of the controllers' authority yet".to_owned()),
    });
}
