//! The paths through which the table is run.

use axum::body::Body;
use tower::ServiceExt;

use super::*;
use crate::proto::envoy::config::core::v3::{HeaderMap, HeaderValue};
use crate::proto::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as EnvoyRequest};
use crate::proto::envoy::service::auth::v3::check_response::HttpResponse;
use crate::proto::envoy::service::auth::v3::{AttributeContext, CheckResponse};
use crate::proto::v1;
use crate::proto::v1::claims_check_server::ClaimsCheck;
use crate::proto::v1::revocation_check_server::RevocationCheck;
use crate::sidecar::answer::Style;
use crate::sidecar::check_service::CheckService;
use crate::sidecar::claims_service::ClaimsService;
use crate::sidecar::ext_authz::ExtAuthz;
use crate::sidecar::forward_auth;
use crate::sidecar::outcome::{Outcome, Transport};
use crate::sidecar::request::{Credential, Request};
use crate::token::route::RoutePolicy;

fn expected_of(outcome: &Outcome, status: u16) -> Expected {
    Expected { word: outcome.verdict.word(), decision: outcome.decision, reason: outcome.reason, status }
}

fn the_one_seen(seen: &Seen, transport: Transport) -> Outcome {
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].0, transport);
    seen[0].1.clone()
}

#[test]
fn the_checker_runs_every_case() {
    for case in cases() {
        let (checker, _) = checker(&case.views);
        let (authorization, cookies) = case.presents.lines();
        let outcome = match RoutePolicy::parse(case.policy.iter().copied()) {
            Ok(policy) => {
                let credential = Credential::read_if(case.admission, || Credential::Lines {
                    authorization: authorization.iter().map(Vec::as_slice).collect(),
                    cookies: cookies.iter().map(Vec::as_slice).collect(),
                });
                let min_version = Some(case.min_version).filter(|text| !text.is_empty());
                let min_version = min_version.map(|text| text.parse().unwrap());
                let request = Request { policy, min_version, ..Request::new(credential) };
                checker.check(Transport::ForwardAuth, &request)
            }
            Err(_) => Outcome::bad_policy(),
        };
        assert_eq!(expected_of(&outcome, case.expected.status), case.expected, "{}", case.name);
    }
}

/// What Envoy sends about a request, with every line apart.
pub(super) fn envoy_request(case: &Case) -> AttributeContext {
    let (authorization, cookies) = case.presents.lines();
    let header =
        |key: &str, raw_value| HeaderValue { key: key.to_owned(), raw_value, ..HeaderValue::default() };
    let lines = authorization.into_iter().map(|line| header("authorization", line));
    let headers = lines.chain(cookies.into_iter().map(|line| header("cookie", line))).collect();
    let http = HttpRequest { header_map: Some(HeaderMap { headers }), ..HttpRequest::default() };
    AttributeContext {
        request: Some(EnvoyRequest { http: Some(http), time: None }),
        context_extensions: case.policy.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..AttributeContext::default()
    }
}

pub(super) fn status_of(response: &CheckResponse) -> u16 {
    match response.http_response.as_ref().unwrap() {
        HttpResponse::OkResponse(_) => 200,
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(response.status.as_ref().unwrap().code, 0);
            u16::try_from(denied.status.as_ref().unwrap().code).unwrap()
        }
        HttpResponse::ErrorResponse(_) => panic!("never an error"),
    }
}

/// What a proxy can ask: no version is among it.
fn cases_of_proxies() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| case.min_version.is_empty())
}

#[test]
fn ext_authz_runs_every_case() {
    for case in cases_of_proxies() {
        let (checker, seen) = checker(&case.views);
        let response = ExtAuthz::new(checker, Style::default()).answer(&envoy_request(&case), case.admission);
        let outcome = the_one_seen(&seen, Transport::ExtAuthz);
        assert_eq!(expected_of(&outcome, status_of(&response)), case.expected, "{}", case.name);
    }
}

#[tokio::test]
async fn forward_auth_runs_every_case() {
    for case in cases_of_proxies() {
        let (checker, seen) = checker(&case.views);
        let query: Vec<_> = case.policy.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut request =
            http::Request::builder().uri(format!("/auth?{}", query.join("&"))).extension(case.admission);
        let (authorization, cookies) = case.presents.lines();
        for line in authorization {
            request = request.header("authorization", line);
        }
        for line in cookies {
            request = request.header("cookie", line);
        }
        let router = forward_auth::router(checker, Style::default());
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let outcome = the_one_seen(&seen, Transport::ForwardAuth);
        assert_eq!(expected_of(&outcome, response.status().as_u16()), case.expected, "{}", case.name);
    }
}

/// The case as a gRPC caller would put it, if it can be: one token by itself, and no policy but options.
fn as_token(case: &Case) -> Option<v1::CheckRequest> {
    let (token, source) = match &case.presents {
        Presents::Nothing => (String::new(), String::new()),
        Presents::Bearer(token) => (token.clone(), "Authorization".to_owned()),
        Presents::Cookie(name, value) => (value.clone(), (*name).to_owned()),
        Presents::Lines(..) => return None,
    };
    let min_version = case.min_version.to_owned();
    let mut options = v1::CheckOptions { min_version, ..v1::CheckOptions::default() };
    for (key, value) in &case.policy {
        match *key {
            "audience" => options.audience = (*value).to_owned(),
            "lists" => options.lists = value.split(',').map(str::to_owned).collect(),
            "max_age" => {
                options.max_age_milliseconds = match *value {
                    "3s" => 3000,
                    "1500ms" => 1500,
                    other => panic!("{other}"),
                }
            }
            _ => return None,
        }
    }
    Some(v1::CheckRequest { token, options: Some(options), source })
}

fn kind_of(word: &str) -> v1::VerdictKind {
    match word {
        "active" => v1::VerdictKind::Active,
        "not-listed" => v1::VerdictKind::NotListed,
        "revoked" => v1::VerdictKind::Revoked,
        "unknown" => v1::VerdictKind::Unknown,
        _ => v1::VerdictKind::Rejected,
    }
}

fn check_wire(response: &v1::CheckResponse, expected: &Expected, name: &str) {
    let decision = match expected.decision {
        Decision::Allow => v1::Decision::Allow,
        Decision::Deny => v1::Decision::Deny,
    };
    assert_eq!(response.decision(), decision, "{name}");
    assert_eq!(response.verdict(), kind_of(expected.word), "{name}");
    assert_eq!(response.reason, expected.reason, "{name}");
    assert_eq!(response.shadow, decision == v1::Decision::Allow && !response.reason.is_empty(), "{name}");
}

#[tokio::test]
async fn revocation_check_runs_every_case_that_it_can_express() {
    let mut ran = 0;
    for case in cases() {
        let Some(request) = as_token(&case) else { continue };
        let (checker, seen) = checker(&case.views);
        let service = CheckService::new(checker, tokio::sync::watch::channel(None).1);
        let one = service.check(call(request.clone(), case.admission)).await.unwrap().into_inner();
        check_wire(&one, &case.expected, &case.name);
        let outcome = the_one_seen(&seen, Transport::Check);
        assert_eq!(expected_of(&outcome, case.expected.status), case.expected, "{}", case.name);
        let batch = v1::CheckBatchRequest { requests: vec![request.clone(), request.clone()] };
        let batch = service.check_batch(call(batch, case.admission)).await.unwrap().into_inner();
        assert_eq!(batch.responses, [one.clone(), one.clone()], "{}", case.name);
        let explained = service.explain(call(request, case.admission)).await.unwrap().into_inner();
        assert_eq!(explained.response, Some(one), "{}", case.name);
        ran += 1;
    }
    assert!(ran > 140, "{ran}");
}

/// The claims of a token that a caller has verified: whatever is about the token's spelling is its own business.
#[tokio::test]
async fn claims_check_runs_every_case_of_a_signed_token() {
    let mut ran = 0;
    for case in cases() {
        let Some(v1::CheckRequest { token, options, source }) = as_token(&case) else { continue };
        let Ok(jws) = crate::token::jws::Jws::parse(&token) else { continue };
        if source == "session"
            || matches!(
                case.expected.reason,
                "BAD_SIGNATURE" | "WRONG_ALGORITHM" | "UNKNOWN_KEY" | "WRONG_TYPE" | "SOURCE_CONFLICT"
            )
        {
            continue;
        }
        let (_, payload) = std::str::from_utf8(jws.signed).unwrap().split_once('.').unwrap();
        let claims =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
        let request = v1::CheckClaimsRequest { claims: claims.into(), options, key_id: "k1".to_owned() };
        let (checker, seen) = checker(&case.views);
        let service = ClaimsService::new(checker);
        let response = service.check_claims(call(request, case.admission)).await.unwrap().into_inner();
        check_wire(&response, &case.expected, &case.name);
        the_one_seen(&seen, Transport::Claims);
        ran += 1;
    }
    assert!(ran > 100, "{ran}");
}
