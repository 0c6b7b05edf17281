//! Injection: do pods that should have a sidecar have one, and can it trust the controllers?

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::super::certificate::shares;
use super::super::facts::{Facts, Injected};
use super::super::finding::{Finding, count, some};
use super::super::labels::{self, INJECTED};

const TRUST: &str = "trust";
const PODS: &str = "pods";

pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    let injected = match &facts.injected {
        Ok(injected) if injected.is_empty() => {
            return vec![Finding::ok(PODS, "no namespace and no pod asks for a sidecar")];
        }
        Ok(injected) => injected,
        Err(error) => return vec![Finding::unread(PODS, error)],
    };
    let told = facts.authority.as_ref().ok().and_then(Option::as_deref);
    vec![trust(injected, told), pods(facts, injected)]
}

/// Every namespace needs the authority's certificates, or its sidecars do not start.
fn trust(injected: &BTreeMap<String, Injected>, told: Option<&str>) -> Finding {
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for (namespace, found) in injected {
        match (&found.authority, told) {
            (None, _) => missing.push(namespace.clone()),
            (Some(theirs), Some(told)) if !shares(told, theirs) => other.push(namespace.clone()),
            (Some(_), _) => {}
        }
    }
    let next = "look at the logs of the controllers, which write it into every namespace that injects";
    if !missing.is_empty() {
        let seen = format!("no ConfigMap rescind-ca in {}: pods there wait for it", some(&missing));
        return Finding::failure(TRUST, seen, next);
    }
    if !other.is_empty() {
        let seen = format!("ConfigMap rescind-ca is of another authority in {}", some(&other));
        return Finding::failure(TRUST, seen, next);
    }
    let who = count(injected.len(), "namespace has", "namespaces have");
    Finding::ok(TRUST, format!("{who} the ConfigMap rescind-ca"))
}

fn pods(facts: &Facts, injected: &BTreeMap<String, Injected>) -> Finding {
    let asking: Vec<&str> = facts
        .namespaces
        .iter()
        .flatten()
        .filter_map(|namespace| namespace.metadata.name.as_deref())
        .collect();
    let (mut with, mut without) = (0, Vec::new());
    for (namespace, found) in injected {
        let is_asking = asking.contains(&namespace.as_str());
        for pod in found.pods.iter().filter(|pod| wants(pod, is_asking)) {
            let is_injected = pod.metadata.annotations.iter().flatten().any(|(name, _)| name == INJECTED);
            if is_injected {
                with += 1;
            } else {
                without.push(format!("{namespace}/{}", pod.metadata.name.as_deref().unwrap_or_default()));
            }
        }
    }
    if without.is_empty() {
        let who = count(with, "pod has", "pods have");
        return Finding::ok(PODS, format!("{who} a sidecar, as their labels want it"));
    }
    let who = count(without.len(), "pod has", "pods have");
    Finding::failure(
        PODS,
        format!("{who} no sidecar although the label wants it: {}", some(&without)),
        "they were made before the label, or while the webhook was away: kubectl rollout restart",
    )
}

/// Tells whether a pod should have a sidecar: one that is over needs none.
fn wants(pod: &Pod, namespace_asks: bool) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let is_over = matches!(phase, "Succeeded" | "Failed") || pod.metadata.deletion_timestamp.is_some();
    let asked = match labels::of(pod.metadata.labels.as_ref()) {
        Some(labels::ENABLED) => true,
        Some(labels::DISABLED) => false,
        Some(_) | None => namespace_asks,
    };
    asked && !is_over
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::{Value, json};

    use super::super::super::certificate::pem;
    use super::super::super::finding::Level;
    use super::super::tests::{NOW, facts};
    use super::*;

    fn pod(label: Option<&str>, is_injected: bool, phase: &str) -> Pod {
        let labels = label.map_or(json!({}), |label| json!({"rescind.dev/inject": label}));
        let annotations: Value =
            if is_injected { json!({"rescind.dev/injected": "0.1.0"}) } else { json!({}) };
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop", "labels": labels, "annotations": annotations},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn in_shop(is_asking: bool, authority: Option<String>, pods: Vec<Pod>) -> Facts {
        let mut shop = Namespace::default();
        shop.metadata.name = Some("shop".to_owned());
        Facts {
            namespaces: Ok(if is_asking { vec![shop] } else { Vec::new() }),
            injected: Ok([("shop".to_owned(), Injected { authority, pods })].into()),
            ..facts()
        }
    }

    #[test]
    fn pods_have_a_sidecar_where_a_label_wants_it() {
        let check = |is_asking, of: Pod, expected: &str| {
            let found = check(&in_shop(is_asking, Some(String::new()), vec![of]));
            assert_eq!(found[1].seen, expected);
        };
        let none = "0 pods have a sidecar, as their labels want it";
        let good = "1 pod has a sidecar, as their labels want it";
        let bad = "1 pod has no sidecar although the label wants it: shop/p";
        check(true, pod(None, true, "Running"), good);
        check(true, pod(None, false, "Running"), bad);
        check(true, pod(Some("disabled"), false, "Running"), none);
        check(true, pod(None, false, "Succeeded"), none);
        check(false, pod(None, false, "Running"), none);
        check(false, pod(Some("enabled"), false, "Pending"), bad);
    }

    #[test]
    fn every_namespace_needs_the_certificates_of_the_authority() {
        let own = pem(NOW - 10, NOW + 90);
        let look = |authority: Option<String>| {
            let facts = Facts { authority: Ok(Some(own.clone())), ..in_shop(true, authority, Vec::new()) };
            super::check(&facts).remove(0)
        };
        assert_eq!(look(Some(own.clone())).level, Level::Ok);
        assert_eq!(look(None).seen, "no ConfigMap rescind-ca in shop: pods there wait for it");
        assert_eq!(
            look(Some(pem(NOW - 10, NOW + 90))).seen,
            "ConfigMap rescind-ca is of another authority in shop"
        );
        assert_eq!(super::check(&facts())[0].level, Level::Ok);
    }
}
