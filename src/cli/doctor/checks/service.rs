//! The Service at which the API server asks the webhook: is it there, and does a controller answer behind it?

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, ServiceReference};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::super::facts::Facts;
use super::super::finding::{Finding, count, some};

const CHECK: &str = "webhook-service";
/// The API server's, where a configuration names none.
const PORT: i32 = 443;

/// Says nothing where no webhook is, or where it is no Service of the cluster.
pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    let configuration = facts.webhook.as_ref().ok().and_then(Option::as_ref);
    let webhooks = configuration.and_then(|found| found.webhooks.as_deref()).unwrap_or_default();
    let asked: Vec<(&MutatingWebhook, &ServiceReference)> = webhooks
        .iter()
        .filter_map(|webhook| Some((webhook, webhook.client_config.service.as_ref()?)))
        .collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let elsewhere: Vec<String> = asked
        .iter()
        .filter(|(_, service)| {
            service.name != super::super::read::WEBHOOK || service.namespace != facts.controllers
        })
        .map(|(webhook, service)| format!("{} asks {}/{}", webhook.name, service.namespace, service.name))
        .collect();
    if !elsewhere.is_empty() {
        let seen =
            format!("the webhook is not at the controllers of {}: {}", facts.controllers, some(&elsewhere));
        return vec![Finding::failure(
            CHECK,
            seen,
            "upgrade the chart, or give --controllers another namespace",
        )];
    }
    let ports = asked.iter().map(|(_, service)| service.port.unwrap_or(PORT));
    vec![service(facts, ports)]
}

fn service(facts: &Facts, asked: impl Iterator<Item = i32>) -> Finding {
    let what = format!("Service {}/{}", facts.controllers, super::super::read::WEBHOOK);
    let found = match &facts.webhook_service {
        Ok(Some(found)) => found,
        Ok(None) => {
            let seen = format!("{what} is not there: the API server can't ask the webhook");
            return Finding::failure(CHECK, seen, "upgrade the chart");
        }
        Err(error) => return Finding::unread(CHECK, error),
    };
    let missing: Vec<String> =
        asked.filter(|port| !has_port(found, *port)).map(|port| port.to_string()).collect();
    if !missing.is_empty() {
        let seen = format!("{what} has no port {}, at which the webhook is asked", some(&missing));
        return Finding::failure(CHECK, seen, "upgrade the chart");
    }
    let ready = match &facts.webhook_endpoints {
        Ok(slices) => slices.iter().map(ready).sum(),
        Err(error) => return Finding::unread(CHECK, error),
    };
    if ready == 0 {
        return Finding::failure(
            CHECK,
            format!("no controller is ready behind {what}: pods start without a sidecar, or not at all"),
            "kubectl get pods of the controllers, and look at their logs; compare their labels with the Service's selector",
        );
    }
    Finding::ok(CHECK, format!("{} ready behind {what}", count(ready, "address is", "addresses are")))
}

fn has_port(service: &Service, port: i32) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.ports.as_ref()).is_some_and(|ports| ports.iter().any(|one| one.port == port))
}

/// Counts the addresses that are asked. One that says nothing of itself counts as ready, as it does for the cluster.
fn ready(slice: &EndpointSlice) -> usize {
    let is_ready = |ready: Option<bool>| ready.unwrap_or(true);
    slice
        .endpoints
        .iter()
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)))
        .map(|endpoint| endpoint.addresses.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::finding::Level;
    use super::super::tests::facts;
    use super::*;

    fn asking(service: &Value) -> Facts {
        let webhooks = json!([{
            "name": "pods", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {"service": service},
        }]);
        let configuration = serde_json::from_value(json!({"metadata": {}, "webhooks": webhooks})).unwrap();
        Facts { webhook: Ok(Some(configuration)), ..facts() }
    }

    fn asking_ours() -> Facts {
        asking(&json!({"name": "rescind-webhook", "namespace": "rescind-system"}))
    }

    fn of_port(port: i32) -> Option<Service> {
        Some(serde_json::from_value(json!({"spec": {"ports": [{"port": port}]}})).unwrap())
    }

    fn slice(ready: &Value) -> EndpointSlice {
        let endpoints = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]);
        serde_json::from_value(json!({"addressType": "IPv4", "metadata": {}, "endpoints": endpoints}))
            .unwrap()
    }

    fn found(facts: &Facts, level: Level, expected: &str) {
        let found = check(facts).remove(0);
        assert!(found.level == level && found.seen.contains(expected), "{found:?}");
    }

    #[test]
    fn the_service_of_the_webhook_needs_its_port_and_a_controller_that_is_ready() {
        found(&asking_ours(), Level::Failure, "Service rescind-system/rescind-webhook is not there");
        let with = |service, endpoints| Facts {
            webhook_service: Ok(service),
            webhook_endpoints: Ok(endpoints),
            ..asking_ours()
        };
        found(&with(of_port(8443), vec![slice(&json!(true))]), Level::Failure, "has no port 443");
        found(&with(of_port(443), Vec::new()), Level::Failure, "no controller is ready");
        found(&with(of_port(443), vec![slice(&json!(false))]), Level::Failure, "no controller is ready");
        found(
            &with(of_port(443), vec![slice(&json!(true)), slice(&json!(false))]),
            Level::Ok,
            "1 address is ready",
        );
        found(&with(of_port(443), vec![slice(&Value::Null)]), Level::Ok, "1 address is ready");
    }

    #[test]
    fn a_webhook_that_is_asked_elsewhere_is_told_and_one_at_a_url_is_not_looked_at() {
        let other = json!({"name": "rescind-webhook", "namespace": "other"});
        found(&asking(&other), Level::Failure, "pods asks other/rescind-webhook");
        assert_eq!(check(&asking(&Value::Null)), []);
        assert_eq!(check(&facts()), []);
    }
}
