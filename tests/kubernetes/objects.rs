//! The objects of a lab: what is created, and what is looked for in what is there.

use serde_json::{Value, json};

use crate::lab::{BOUND, NAMESPACE};
use crate::support::issue::{AUDIENCE, ISSUER, Keys, LIFETIME_SECONDS};

/// Returns a condition of an object; null if it has none.
pub(crate) fn of(object: &Value, condition: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|found| found["type"] == condition).cloned().unwrap_or_default()
}

/// A revocation for `apps/shop`.
pub(crate) fn revocation(name: &str, target: &Value) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1",
        "kind": "Revocation",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"listName": "shop", "issuer": ISSUER, "target": target},
    })
}

/// The list as a manifest.
pub(crate) fn list(name: &str, keys: &Keys) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1",
        "kind": "TokenRevocationList",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "issuers": [{
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "maxTokenLifetimeSeconds": LIFETIME_SECONDS,
                "requiredClaims": ["jti", "sub", "sid"],
                "verification": {"keys": keys.public()},
            }],
            "freshness": {"boundSeconds": BOUND.as_secs(), "maximumSeconds": 300},
        },
    })
}
