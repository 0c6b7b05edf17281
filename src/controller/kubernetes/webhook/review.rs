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

/// Says why a request is not answered as a review: then the webhook's `failurePolicy` decides.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReviewed {
    #[error("the body is no AdmissionReview: {0}")]
    Unreadable(#[from] serde_json::Error),
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

#[derive(Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}
