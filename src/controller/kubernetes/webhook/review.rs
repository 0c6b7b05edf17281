//! One admission review: what the API server asks, and what it is answered. Pure.
//!
//! **Source**: the API group `admission.k8s.io/v1`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::injection::patch::patch;
use crate::injection::pod::{self, Asks, Outcome, Place, Why};
use crate::injection::refusal::Refusal;
use crate::injection::settings::Settings;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// More values than any pod has. Each takes up to 700 bytes of memory, a hundred times as much as in the body.
const MAX_VALUES: usize = 20_000;

/// Says why a request is not answered as a review: then the webhook's `failurePolicy` decides.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReviewed {
    #[error("the body is no AdmissionReview: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the review has more than {MAX_VALUES} values, which no pod has")]
    TooManyValues,
    #[error("expected {API_VERSION} {KIND} with a request, got {api_version:?} {kind:?}")]
    Another { api_version: String, kind: String },
    #[error(
        "pods are injected when they are created, and this is {operation} of {kind:?}, group {group:?}, version \
         {version:?}: correct the rules of the webhook's configuration"
    )]
    NotAPod { operation: String, group: String, version: String, kind: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: String,
    operation: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    dry_run: bool,
    object: Value,
}

#[derive(Deserialize)]
struct Kind {
    group: String,
    version: String,
    kind: String,
}

/// What became of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Injected,
    Left(Why),
    Refused(Refusal),
}

/// A review that was answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reviewed {
    pub(super) verdict: Verdict,
    pub(super) namespace: String,
    /// The pod's name, or what it begins with.
    pub(super) pod: String,
    /// Nothing will come of it.
    pub(super) is_dry_run: bool,
    /// The review with its response.
    pub(super) answer: Value,
}

/// Answers a review. The pods that the API server asks about are those that its configuration has selected, so the
/// namespace's label is not looked at again.
///
/// # Errors
/// [`NotReviewed`].
pub(super) fn review(body: &[u8], settings: &Settings, controllers: &str) -> Result<Reviewed, NotReviewed> {
    if count_values(body) > MAX_VALUES {
        return Err(NotReviewed::TooManyValues);
    }
    let review: Review = serde_json::from_slice(body)?;
    let request = match review {
        Review { api_version, kind, request: Some(request) }
            if api_version == API_VERSION && kind == KIND =>
        {
            request
        }
        Review { api_version, kind, .. } => return Err(NotReviewed::Another { api_version, kind }),
    };
    let Kind { group, version, kind } = request.kind;
    let is_pod = group.is_empty() && version == "v1" && kind == "Pod" && request.sub_resource.is_empty();
    if !is_pod || request.operation != "CREATE" {
        return Err(NotReviewed::NotAPod { operation: request.operation, group, version, kind });
    }
    let place = Place { namespace: &request.namespace, asks: Asks::ForAll, controllers };
    let (verdict, response) = match pod::inject(&request.object, place, settings) {
        Ok(Outcome::Injected(injected)) => {
            let operations = serde_json::to_vec(&patch(&request.object, &injected))?;
            let patch = STANDARD.encode(operations);
            let response =
                json!({"uid": request.uid, "allowed": true, "patchType": "JSONPatch", "patch": patch});
            (Verdict::Injected, response)
        }
        Ok(Outcome::Left(why)) => (Verdict::Left(why), json!({"uid": request.uid, "allowed": true})),
        Err(refusal) => {
            let status = Status { code: 422, reason: "Invalid", message: refusal.to_string() };
            let response = json!({"uid": request.uid, "allowed": false, "status": status});
            (Verdict::Refused(refusal), response)
        }
    };
    let named = |path: &str| request.object.pointer(path).and_then(Value::as_str);
    let name = named("/metadata/name").or(named("/metadata/generateName"));
    Ok(Reviewed {
        verdict,
        pod: name.unwrap_or_default().to_owned(),
        namespace: request.namespace,
        is_dry_run: request.dry_run,
        answer: json!({"apiVersion": API_VERSION, "kind": KIND, "response": response}),
    })
}

/// Counts what begins a value of JSON, outside strings. Of what is no JSON it counts something.
fn count_values(body: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[derive(Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_strings() {
        for (text, expected) in
            [(r#"{"a":1,"b":[2,3]}"#, 4), (r#"{"a":"[,,{"}"#, 1), (r#"{"a":"\",,\\",":"x"}"#, 2), ("", 0)]
        {
            assert_eq!(count_values(text.as_bytes()), expected, "{text}");
        }
    }
}
