//! More checks than a sidecar takes on: every path says so at once, and goes on as before when there is room.

use rescind::proto::envoy::config::core::v3::HeaderValueOption;
use rescind::proto::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
use rescind::proto::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use rescind::proto::envoy::service::auth::v3::check_response::HttpResponse;
use rescind::proto::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use rescind::proto::v1;
use rescind::proto::v1::claims_check_client::ClaimsCheckClient;
use rescind::proto::v1::revocation_check_client::RevocationCheckClient;
use rescind::proto::v1::target::Target;
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::held::{Held, until_in_flight, while_held};
use crate::support::http1::{Ask, ask_unix};
use crate::support::issue::claims;
use crate::support::lab::Lab;
use crate::support::metrics::get;

const LIMIT: u8 = 2;

async fn start() -> Lab {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let claims = format!("--claims-socket={}", lab.path("claims.sock").display());
    lab.start_sidecar(&[&format!("--max-concurrent-checks={LIMIT}"), &claims]).await;
    lab.until_fresh().await;
    lab
}

/// What a path answers: a status or a decision, and the reason if it tells one.
type Answer = (&'static str, String);

fn of_wire(path: &'static str, answer: &v1::CheckResponse) -> Answer {
    (path, format!("{:?} {:?} {}", answer.decision(), answer.verdict(), answer.reason))
}

async fn revocation_check(lab: &Lab, token: &str) -> [Answer; 3] {
    let question = v1::CheckRequest { token: token.to_owned(), ..v1::CheckRequest::default() };
    let mut client = RevocationCheckClient::new(lab.channel("check.sock"));
    let one = client.check(question.clone()).await.unwrap().into_inner();
    let batch = v1::CheckBatchRequest { requests: vec![question.clone(), question.clone()] };
    let batch = client.check_batch(batch).await.unwrap().into_inner().responses;
    let batch: Vec<_> = batch.iter().map(|answer| of_wire("batch", answer)).collect();
    assert_eq!((batch.len(), &batch[0]), (2, &batch[1]));
    let explained = client.explain(question).await.unwrap().into_inner().response.unwrap();
    [of_wire("check", &one), batch[0].clone(), of_wire("explain", &explained)]
}

async fn claims_check(lab: &Lab, claims: &Value) -> [Answer; 2] {
    let claims = claims.to_string().into_bytes().into();
    let question = v1::CheckClaimsRequest { claims, ..v1::CheckClaimsRequest::default() };
    let mut client = ClaimsCheckClient::new(lab.channel("claims.sock"));
    let one = client.check_claims(question.clone()).await.unwrap().into_inner();
    let batch = v1::CheckClaimsBatchRequest { requests: vec![question] };
    let batch = client.check_claims_batch(batch).await.unwrap().into_inner().responses;
    [of_wire("claims", &one), of_wire("batch of claims", &batch[0])]
}

async fn ext_authz(lab: &Lab, token: &str) -> Answer {
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))].into();
    let http = Some(HttpRequest { headers, ..HttpRequest::default() });
    let request = Some(attribute_context::Request { http, ..attribute_context::Request::default() });
    let attributes = Some(AttributeContext { request, ..AttributeContext::default() });
    let mut client = AuthorizationClient::new(lab.channel("check.sock"));
    let answer = client.check(CheckRequest { attributes }).await.unwrap().into_inner();
    let line = |set: &HeaderValueOption| {
        set.header.as_ref().map(|line| format!("{}: {}", line.key, line.value)).unwrap_or_default()
    };
    let said = match answer.http_response.unwrap() {
        HttpResponse::OkResponse(_) => "passes".to_owned(),
        HttpResponse::DeniedResponse(denied) => {
            let lines: Vec<_> = denied.headers.iter().map(line).collect();
            format!("{} {}", denied.status.unwrap().code, lines.join(", "))
        }
        HttpResponse::ErrorResponse(_) => "an error".to_owned(),
    };
    ("ext_authz", said)
}

async fn forward_auth(lab: &Lab, token: &str) -> Answer {
    let reply = ask_unix(&lab.path("auth.sock"), &Ask::get("/auth").bearer(token)).await.unwrap();
    let names = ["cache-control", "x-rescind-status", "retry-after"];
    let lines = names.map(|name| format!("{name}: {}", reply.all(name).concat()));
    ("forward auth", format!("{} {}", reply.status, lines.join(", ")))
}

async fn every_path(lab: &Lab, changes: Value) -> Vec<Answer> {
    let token = lab.keys.token(&changes);
    let mut answers = vec![ext_authz(lab, &token).await, forward_auth(lab, &token).await];
    answers.extend(revocation_check(lab, &token).await);
    answers.extend(claims_check(lab, &claims(&changes)).await);
    answers
}

const UNAVAILABLE: &str = "503 cache-control: no-store, x-rescind-status: 503, retry-after: 1";
const OVERLOADED: &str = "Deny Unknown OVERLOADED";
const PATHS: [&str; 5] = ["check", "batch", "explain", "claims", "batch of claims"];

fn overloaded() -> Vec<Answer> {
    let http = ["ext_authz", "forward auth"].map(|path| (path, UNAVAILABLE.to_owned()));
    http.into_iter().chain(PATHS.map(|path| (path, OVERLOADED.to_owned()))).collect()
}

fn active() -> Vec<Answer> {
    let forward = "200 cache-control: no-store, x-rescind-status: , retry-after: ".to_owned();
    let http = [("ext_authz", "passes".to_owned()), ("forward auth", forward)];
    http.into_iter().chain(PATHS.map(|path| (path, "Allow Active ".to_owned()))).collect()
}

/// Returns the transports that have counted a reason.
async fn counted(lab: &Lab, reason: &str) -> Vec<&'static str> {
    let (_, text) = get(lab.sidecar.as_ref().unwrap().address("health"), "/metrics", &[]).await;
    let label = |name: &str, value: &str| format!("{name}=\"{value}\"");
    let has = |transport: &&str| {
        let mut lines = text.lines().filter(|line| line.starts_with("rescind_checks_total"));
        lines.any(|line| {
            line.contains(&label("reason", reason)) && line.contains(&label("transport", transport))
        })
    };
    ["ext_authz", "forward_auth", "check", "claims"].into_iter().filter(has).collect()
}

/// Invariant 19: the table's row for a sidecar that is asked more than it takes on, on every path that asks.
#[tokio::test]
async fn beyond_the_limit_every_path_answers_503_and_decides_again_when_there_is_room() {
    let lab = start().await;
    let revoked = lab.ban(Target::Subject("mallory".to_owned())).await;
    lab.until_enforced(&revoked.version).await;
    assert_eq!(counted(&lab, "OVERLOADED").await, [""; 0]);
    let (answers, held) = while_held(&lab, LIMIT, async || every_path(&lab, json!({})).await).await;
    assert_eq!(answers, overloaded());
    assert_eq!(counted(&lab, "OVERLOADED").await, ["ext_authz", "forward_auth", "check", "claims"]);
    let token = lab.keys.token(&json!({}));
    for one in held {
        assert_eq!(one.finish(&token).await.unwrap().verdict(), v1::VerdictKind::Active);
    }
    until_in_flight(&lab, 0).await;
    assert_eq!(every_path(&lab, json!({})).await, active());
    // Nothing is looked at: what is revoked is refused as everything is.
    let mallory = async || every_path(&lab, json!({"sub": "mallory"})).await;
    assert_eq!(while_held(&lab, LIMIT, mallory).await.0, overloaded());
    until_in_flight(&lab, 0).await;
    let answer = lab.check(&lab.keys.token(&json!({"sub": "mallory"}))).await.unwrap();
    assert_eq!((answer.decision(), answer.reason.as_str()), (v1::Decision::Deny, "REVOKED"));
}

/// A sidecar that is busy is not ill: who asks for its health, or for its status, is not sent away.
#[tokio::test]
async fn beyond_the_limit_probes_and_status_are_answered() {
    let lab = start().await;
    let health = lab.sidecar.as_ref().unwrap().address("health").to_owned();
    let ask = async || {
        let request = HealthCheckRequest { service: String::new() };
        let grpc = HealthClient::new(lab.channel("check.sock")).check(request).await;
        let mut client = RevocationCheckClient::new(lab.channel("check.sock"));
        let lists = client.status(v1::StatusRequest {}).await.map(|status| status.into_inner().lists.len());
        (grpc.unwrap().into_inner().status, lists.unwrap(), get(&health, "/readyz", &[]).await.0)
    };
    assert_eq!(while_held(&lab, LIMIT, ask).await.0, (1, 1, 200));
}

/// Neither for as long as its peer likes, nor after its peer is gone.
#[tokio::test]
async fn a_question_that_is_never_finished_does_not_count_for_ever() {
    let lab = start().await;
    let (_, held) = while_held(&lab, LIMIT, async || ()).await;
    let answers = futures::future::join_all(held.into_iter().map(Held::unfinished)).await;
    for answer in answers {
        assert_eq!(answer.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    }
    until_in_flight(&lab, 0).await;
    let (_, held) = while_held(&lab, LIMIT, async || ()).await;
    drop(held);
    until_in_flight(&lab, 0).await;
}
