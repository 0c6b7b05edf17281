use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::controller::metrics::Trust;
use crate::injection::CONTAINER;
use crate::runtime::line_log;

mod wire;

fn webhook() -> Webhook {
    let settings = Settings::new("rescind-sidecar:1".to_owned(), vec!["https://c:7401".to_owned()]);
    Webhook::new(settings, "rescind-system".to_owned(), Injections::default())
}

fn pod() -> Value {
    json!({
        "metadata": {"generateName": "web-", "annotations": {"rescind.dev/lists": "shop"}},
        "spec": {"containers": [{"name": "app"}]},
    })
}

/// A review, with members of its request changed.
fn review_of(object: &Value, change: &[(&str, Value)]) -> Value {
    let mut request = json!({
        "uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": "shop",
        "userInfo": {"username": "alice"},
        "object": object,
        "oldObject": null,
        "dryRun": false,
    });
    change.iter().for_each(|(member, value)| request[*member] = value.clone());
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}

async fn send(webhook: &Webhook, content: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::post(PATH).header("content-type", content).body(body.into()).unwrap();
    let answer = webhook.clone().router().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

async fn ask(webhook: &Webhook, review: &Value) -> Value {
    let (status, text) = send(webhook, "application/json", review.to_string()).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_pod_is_answered_with_a_patch_and_its_namespace_is_told() {
    let webhook = webhook();
    let namespaces = webhook.namespaces();
    let answer = ask(&webhook, &review_of(&pod(), &[])).await;
    assert_eq!(
        (&answer["apiVersion"], &answer["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let init = patch.as_array().unwrap().iter().find(|operation| operation["path"] == "/spec/initContainers");
    assert_eq!(init.unwrap()["value"][0]["name"], CONTAINER);
    assert_eq!(*namespaces.borrow(), BTreeSet::from(["shop".to_owned()]));
}

#[tokio::test]
async fn a_dry_run_is_answered_the_same_and_nothing_else_comes_of_it() {
    let webhook = webhook();
    let dry = ask(&webhook, &review_of(&pod(), &[("dryRun", json!(true))])).await;
    assert!(webhook.namespaces().borrow().is_empty());
    assert_eq!(dry, ask(&webhook, &review_of(&pod(), &[])).await);
}

#[tokio::test]
async fn a_pod_that_can_not_be_injected_is_refused_with_the_sentence() {
    let webhook = webhook();
    let mut pod = pod();
    pod["metadata"]["annotations"]["rescind.dev/bound"] = json!("soon");
    let answer = ask(&webhook, &review_of(&pod, &[])).await;
    let message = "annotation rescind.dev/bound is \"soon\": write whole seconds from 2 to 3600, like 10, or a \
                   duration like 10s or 1m";
    let status = json!({"code": 422, "reason": "Invalid", "message": message});
    assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": false, "status": status}));
    assert!(webhook.namespaces().borrow().is_empty());
}

#[tokio::test]
async fn a_pod_that_is_left_is_allowed_without_a_patch() {
    for namespace in ["kube-system", "rescind-system"] {
        let answer = ask(&webhook(), &review_of(&pod(), &[("namespace", json!(namespace))])).await;
        assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
    }
}

#[tokio::test]
async fn what_is_no_review_of_a_new_pod_is_not_answered_as_one() {
    let check = async |content: &str, body: String, status: u16, expected: &str| {
        let (given, said) = send(&webhook(), content, body).await;
        assert!(given == status && said.contains(expected), "{given} {said}");
    };
    let json = "application/json";
    check("text/plain", review_of(&pod(), &[]).to_string(), 415, "application/json").await;
    check("application/json; charset=utf-8", review_of(&pod(), &[]).to_string(), 200, "JSONPatch").await;
    check(json, String::new(), 400, "the body is no AdmissionReview").await;
    check(json, "{}".to_owned(), 400, "expected admission.k8s.io/v1 AdmissionReview with a request").await;
    check(json, review_of(&pod(), &[]).to_string().replace("/v1\"", "/v1beta1\""), 400, "v1beta1").await;
    for change in [
        ("operation", json!("UPDATE")),
        ("subResource", json!("ephemeralcontainers")),
        ("kind", json!({"group": "apps", "version": "v1", "kind": "Deployment"})),
    ] {
        let said = "correct the rules of the webhook's configuration";
        check(json, review_of(&pod(), &[change]).to_string(), 400, said).await;
    }
    // A hundred times as large in memory as in the body.
    let mut bomb = review_of(&pod(), &[]);
    bomb["request"]["object"]["spec"]["containers"][0]["x"] = json!(vec![json!({"": 0}); 20_000]);
    check(json, bomb.to_string(), 400, "more than 20000 values").await;
    let large = "x".repeat(MAX_REVIEW_BYTES + 1);
    check(json, large, 413, "at most 3145728 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, said) = send(&webhook(), "application/json", body).await;
    assert!(status == 408 && said.contains("the body did not come within 4 s"), "{status} {said}");
}

#[tokio::test]
async fn what_was_answered_is_counted() {
    let webhook = webhook();
    ask(&webhook, &review_of(&pod(), &[])).await;
    send(&webhook, "application/json", "nonsense").await;
    let (audit, _writer) = line_log::open(line_log::Place::StandardError).unwrap();
    let injections = &webhook.inner.injections;
    let exposition =
        crate::controller::metrics::exposition(Arc::new([]), injections, Trust::default(), &audit);
    let text = exposition.encode(crate::runtime::metrics::Format::Prometheus).unwrap();
    for outcome in ["injected", "unanswered"] {
        let sample = format!("rescind_injections_total{{outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&sample), "{text}");
    }
}
