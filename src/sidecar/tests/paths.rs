//! The paths through which the table is run.

use axum::body::Body;
use tower::ServiceExt;

use super::*;
use crate::proto::envoy::config::core::v3::{HeaderMap, HeaderValue};
use crate::proto::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as EnvoyRequest};
use crate::proto::envoy::service::auth::v3::check_response::HttpResponse;
use crate::proto::envoy::service::auth::v3::{AttributeContext, CheckResponse};
use crate::sidecar::answer::Style;
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
                let credential = Credential::Lines {
                    authorization: authorization.iter().map(Vec::as_slice).collect(),
                    cookies: cookies.iter().map(Vec::as_slice).collect(),
                };
                let request = Request { policy, ..Request::new(credential) };
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

#[test]
fn ext_authz_runs_every_case() {
    for case in cases() {
        let (checker, seen) = checker(&case.views);
        let response = ExtAuthz::new(checker, Style::default()).answer(&envoy_request(&case));
        let outcome = the_one_seen(&seen, Transport::ExtAuthz);
        assert_eq!(expected_of(&outcome, status_of(&response)), case.expected, "{}", case.name);
    }
}

#[tokio::test]
async fn forward_auth_runs_every_case() {
    for case in cases() {
        let (checker, seen) = checker(&case.views);
        let query: Vec<_> = case.policy.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut request = http::Request::builder().uri(format!("/auth?{}", query.join("&")));
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
