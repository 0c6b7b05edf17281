//! What the API server is told of whom to trust: the configuration of the webhook. It is the operator's, and nothing else
//! in it is written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::{PublicationError, timed};

pub(super) const NAME: &str = "rescind-injector";
/// How annotations begin by which cert-manager is asked to write whom to trust.
const INJECTED: &str = "cert-manager.io/inject-";

/// Who decides what the API server trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// The controllers: authorities that are gone must go there too.
    Controllers,
    /// Somebody else: what else they tell is theirs, and cert-manager may write it.
    Operator,
}

impl Keeper {
    fn is_enough(self, told: &str, bundle: &str) -> bool {
        match self {
            Self::Controllers => told == bundle,
            Self::Operator => covers(told, bundle),
        }
    }
}

/// The configuration of the webhook, at the API server.
#[derive(Clone)]
pub(super) struct WebhookConfiguration {
    api: Api<DynamicObject>,
    keeper: Keeper,
}

impl WebhookConfiguration {
    pub(super) fn new(client: Client, keeper: Keeper) -> Self {
        let kind =
            GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration");
        // As it is, and not as our version of the kind: a field that we don't know must not get lost.
        Self { api: Api::all_with(client, &ApiResource::from_gvk(&kind)), keeper }
    }

    /// Whether the API server trusts all of a bundle. There is nothing to tell where nothing is configured.
    pub(super) async fn is_told(&self, bundle: &str) -> Result<bool, PublicationError> {
        let found = timed(self.api.get_opt(NAME)).await?;
        Ok(found.is_none_or(|mut found| !put_ca_bundle(&mut found.data, bundle, self.keeper)))
    }

    /// Tells the API server, unless cert-manager does.
    pub(super) async fn tell(&self, bundle: &str) -> Result<(), PublicationError> {
        let Some(mut found) = timed(self.api.get_opt(NAME)).await? else { return Ok(()) };
        // Of two who write, each would undo what the other does.
        if self.keeper == Keeper::Operator && is_injected(&found) {
            return Ok(());
        }
        if !put_ca_bundle(&mut found.data, bundle, self.keeper) {
            return Ok(());
        }
        // Under the revision that was read: of two changes none gets lost.
        timed(self.api.replace(NAME, &PostParams::default(), &found)).await?;
        tracing::info!("the API server was told whom to trust");
        Ok(())
    }
}

fn is_injected(configuration: &DynamicObject) -> bool {
    let annotations = configuration.metadata.annotations.iter().flatten();
    annotations.into_iter().any(|(key, _)| key.starts_with(INJECTED))
}

/// Writes whom to trust into those webhooks of a configuration that are not told enough; returns whether that is a change.
fn put_ca_bundle(configuration: &mut Value, bundle: &str, keeper: Keeper) -> bool {
    let is_told = |told: Option<&Value>| {
        let told = told.and_then(Value::as_str).and_then(|encoded| STANDARD.decode(encoded).ok());
        told.is_some_and(|told| keeper.is_enough(&String::from_utf8_lossy(&told), bundle))
    };
    let webhooks = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    let mut is_changed = false;
    for webhook in webhooks.into_iter().flatten() {
        if let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut)
            && !is_told(client.get("caBundle"))
        {
            client.insert("caBundle".to_owned(), Value::String(STANDARD.encode(bundle)));
            is_changed = true;
        }
    }
    is_changed
}

/// Whether all certificates of a bundle are among those that are told: an operator may have told more, or laid them out
/// otherwise.
fn covers(told: &str, bundle: &str) -> bool {
    let told: Vec<_> = CertificateDer::pem_slice_iter(told.as_bytes()).filter_map(Result::ok).collect();
    let mut wanted = CertificateDer::pem_slice_iter(bundle.as_bytes());
    wanted.all(|one| one.is_ok_and(|one| told.contains(&one)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whom_to_trust_is_written_into_all_webhooks_and_nothing_else_is() {
        let client = |port| json!({"service": {"name": "rescind-webhook", "port": port}});
        let mut configuration = json!({"webhooks": [
            {"name": "a", "clientConfig": client(443), "later": {"field": 1}},
            {"name": "b", "clientConfig": {"caBundle": "b2xk", "url": "https://a"}},
        ]});
        assert!(put_ca_bundle(&mut configuration, "new", Keeper::Controllers));
        let mut expected = client(443);
        expected["caBundle"] = json!("bmV3");
        let webhooks = json!([
            {"name": "a", "clientConfig": expected, "later": {"field": 1}},
            {"name": "b", "clientConfig": {"caBundle": "bmV3", "url": "https://a"}},
        ]);
        assert_eq!(configuration["webhooks"], webhooks);
        assert!(!put_ca_bundle(&mut configuration, "new", Keeper::Controllers), "written once");
        assert!(!put_ca_bundle(&mut json!({}), "new", Keeper::Controllers));
    }

    #[test]
    fn what_an_operator_tells_the_api_server_is_kept_if_it_has_the_given_authorities() {
        let [one, other] = [1, 2].map(|_| {
            let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        });
        let both = [one.as_str(), &other].concat();
        assert!(covers(&both, &one) && covers(&both, &other) && covers(&one.replace('\n', "\r\n"), &one));
        assert!(!covers(&other, &one) && !covers(&one, &both) && !covers("", &one));
    }
}
