//! The controllers' authority, and the webhook that sidecars are injected by, which is called under it.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;

use super::super::certificate::{Validity, shares, validity};
use super::super::facts::Facts;
use super::super::finding::{Finding, some};

const AUTHORITY: &str = "authority";
const WEBHOOK: &str = "webhook";
const LOG: &str = "look at the logs of the controllers, which keep it up to date";

pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    vec![authority(facts), webhook(facts)]
}

fn authority(facts: &Facts) -> Finding {
    let namespace = &facts.controllers;
    match (&facts.authority_secret, &facts.authority) {
        (_, Ok(Some(pem))) => {
            let what = format!("ConfigMap {namespace}/rescind-ca");
            // Without a Secret of the controllers' own, somebody else keeps it, like cert-manager.
            judge(AUTHORITY, &what, pem, facts.now)
        }
        (Ok(false), Ok(None)) => Finding::ok(
            AUTHORITY,
            format!(
                "namespace {namespace} has no rescind-ca: controllers serve this machine only, or with certificates of your own"
            ),
        ),
        (Ok(true), Ok(None)) => {
            let seen = format!(
                "Secret {namespace}/rescind-ca is there; sidecars are given it by the ConfigMaps of their namespaces"
            );
            Finding::ok(AUTHORITY, seen)
        }
        (_, Err(error)) | (Err(error), Ok(None)) => Finding::unread(AUTHORITY, error),
    }
}

/// Judges certificates of which a sentence is about.
fn judge(check: &'static str, what: &str, pem: &str, now: i64) -> Finding {
    match validity(pem, now) {
        Validity::Malformed => Finding::failure(check, format!("{what} holds no certificate"), LOG),
        Validity::Over(at) => Finding::failure(check, format!("{what}: the certificate ended on {at}"), LOG),
        Validity::NotYet(at) => Finding::failure(
            check,
            format!("{what}: the certificate begins on {at}"),
            "compare the clocks of the nodes",
        ),
        Validity::Ending(at) => {
            Finding::warning(check, format!("{what}: the certificate ends on {at}, and was not renewed"), LOG)
        }
        Validity::Good(at) => Finding::ok(check, format!("{what}: the certificate lasts until {at}")),
    }
}

fn webhook(facts: &Facts) -> Finding {
    let configuration = match &facts.webhook {
        Ok(Some(configuration)) => configuration,
        Ok(None) => return without_webhook(facts),
        Err(error) => return Finding::unread(WEBHOOK, error),
    };
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    let what = "MutatingWebhookConfiguration rescind-injector";
    if webhooks.is_empty() {
        return Finding::failure(
            WEBHOOK,
            format!("{what} names no webhook: nothing is injected"),
            "upgrade the chart",
        );
    }
    let bundle = |webhook: &MutatingWebhook| {
        let bytes =
            webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.clone()).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    let without: Vec<String> = webhooks
        .iter()
        .filter(|webhook| bundle(webhook).is_empty())
        .map(|webhook| webhook.name.clone())
        .collect();
    if !without.is_empty() {
        let seen = format!("{what} has no caBundle ({}): the API server can't call it", some(&without));
        return Finding::failure(WEBHOOK, seen, LOG);
    }
    let told = facts.authority.as_ref().ok().and_then(Option::as_deref);
    let strangers: Vec<String> = webhooks
        .iter()
        .filter(|webhook| told.is_some_and(|told| !shares(told, &bundle(webhook))))
        .map(|webhook| webhook.name.clone())
        .collect();
    if !strangers.is_empty() {
        let seen = format!("{what} trusts another authority than rescind-ca ({})", some(&strangers));
        return Finding::failure(WEBHOOK, seen, LOG);
    }
    let worst = webhooks.iter().map(|webhook| judge(WEBHOOK, what, &bundle(webhook), facts.now));
    worst.max_by_key(|found| found.level).unwrap_or_else(|| Finding::skipped(WEBHOOK, "nothing to look at"))
}

fn without_webhook(facts: &Facts) -> Finding {
    let wanting: Vec<String> = facts
        .namespaces
        .as_ref()
        .map(|namespaces| namespaces.iter().filter_map(|one| one.metadata.name.clone()).collect())
        .unwrap_or_default();
    if wanting.is_empty() {
        return Finding::ok(
            WEBHOOK,
            "nothing is injected: there is no webhook, and no namespace asks for one",
        );
    }
    Finding::failure(
        WEBHOOK,
        format!(
            "there is no MutatingWebhookConfiguration rescind-injector, and namespaces ask for sidecars: {}",
            some(&wanting)
        ),
        "install the chart with injection, or take the label rescind.dev/inject off",
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, WebhookClientConfig};
    use k8s_openapi::api::core::v1::Namespace;

    use super::super::super::certificate::pem;
    use super::super::super::finding::Level;
    use super::super::tests::{NOW, facts};
    use super::*;

    fn configuration(bundle: &str) -> MutatingWebhookConfiguration {
        let client_config = WebhookClientConfig {
            ca_bundle: Some(ByteString(bundle.as_bytes().to_vec())),
            ..WebhookClientConfig::default()
        };
        let webhook =
            MutatingWebhook { name: "pods".to_owned(), client_config, ..MutatingWebhook::default() };
        MutatingWebhookConfiguration {
            webhooks: Some(vec![webhook]),
            ..MutatingWebhookConfiguration::default()
        }
    }

    #[test]
    fn an_authority_is_judged_by_its_certificate_and_may_be_missing() {
        let check = |secret, map: Option<String>, level, expected: &str| {
            let found = authority(&Facts { authority_secret: Ok(secret), authority: Ok(map), ..facts() });
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.seen.contains(expected), "{found:?}");
        };
        check(false, None, Level::Ok, "has no rescind-ca");
        check(true, Some(pem(NOW - 10, NOW + 90)), Level::Ok, "lasts until 2026-11-21T10:01:30Z");
        check(true, Some(pem(NOW - 95, NOW + 5)), Level::Warning, "was not renewed");
        check(true, Some(pem(NOW - 95, NOW - 5)), Level::Failure, "ended on 2026-11-21T09:59:55Z");
        check(true, Some(String::new()), Level::Failure, "holds no certificate");
        check(false, Some(pem(NOW - 10, NOW + 90)), Level::Ok, "lasts until 2026-11-21T10:01:30Z");
    }

    #[test]
    fn a_webhook_needs_a_bundle_of_the_same_authority() {
        let good = pem(NOW - 10, NOW + 90);
        let check = |bundle: &str, told: Option<String>, level, expected: &str| {
            let found =
                webhook(&Facts { webhook: Ok(Some(configuration(bundle))), authority: Ok(told), ..facts() });
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.seen.contains(expected), "{found:?}");
        };
        check(&good, Some(good.clone()), Level::Ok, "lasts until");
        check(&good, None, Level::Ok, "lasts until");
        check("", Some(good.clone()), Level::Failure, "has no caBundle (pods)");
        check(
            &pem(NOW - 10, NOW + 90),
            Some(good.clone()),
            Level::Failure,
            "trusts another authority than rescind-ca (pods)",
        );
        check(&pem(NOW - 90, NOW), None, Level::Failure, "ended on");
    }

    #[test]
    fn without_a_webhook_nobody_may_ask_for_injection() {
        assert_eq!(webhook(&facts()).level, Level::Ok);
        let mut shop = Namespace::default();
        shop.metadata.name = Some("shop".to_owned());
        let found = webhook(&Facts { namespaces: Ok(vec![shop]), ..facts() });
        assert_eq!(found.level, Level::Failure);
        assert!(found.seen.ends_with("namespaces ask for sidecars: shop"), "{found:?}");
    }
}
