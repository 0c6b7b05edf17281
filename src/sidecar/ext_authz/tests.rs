use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::distribution::view::ListView;
use crate::proto::envoy::config::core::v3::{HeaderMap, Metadata};
use crate::proto::envoy::service::auth::v3::attribute_context;
use crate::sidecar::test_support::*;
use crate::token::list_config::{IssuerConfig, ListConfig, Verification};

fn attributes(method: &str, lines: &[(&str, &[u8])], policy: &[(&str, &str)]) -> AttributeContext {
    let header = |(key, value): &(&str, &[u8])| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.to_vec(),
        ..HeaderValue::default()
    };
    let http = HttpRequest {
        method: method.to_owned(),
        header_map: Some(HeaderMap { headers: lines.iter().map(header).collect() }),
        ..HttpRequest::default()
    };
    AttributeContext {
        request: Some(attribute_context::Request { http: Some(http), time: None }),
        context_extensions: policy.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..AttributeContext::default()
    }
}

fn ask(views: &[ListView], attributes: &AttributeContext) -> CheckResponse {
    ExtAuthz::new(checker(views).0, Style::default()).answer(attributes, Admission::Granted)
}

fn ok(response: CheckResponse) -> OkHttpResponse {
    match response.http_response {
        Some(HttpResponse::OkResponse(ok)) => ok,
        other => panic!("not allowed: {other:?}"),
    }
}

fn refused(response: CheckResponse) -> (i32, DeniedHttpResponse) {
    match response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => (denied.status.as_ref().unwrap().code, denied),
        other => panic!("not denied: {other:?}"),
    }
}

fn set(ok: &OkHttpResponse) -> HashMap<String, String> {
    let overwrite = i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd);
    assert!(ok.headers.iter().all(|set| set.append_action == overwrite));
    ok.headers
        .iter()
        .map(|set| set.header.clone().unwrap())
        .map(|header| (header.key, header.value))
        .collect()
}

fn bearer() -> Vec<u8> {
    format!("Bearer {}", token()).into_bytes()
}

#[test]
fn headers_that_a_client_forged_are_overwritten_or_removed() {
    let bearer = bearer();
    let lines: [(&str, &[u8]); 4] = [
        ("authorization", &bearer),
        ("x-rescind-verdict", b"revoked"),
        ("X-Rescind-Status", b"200"),
        ("x-rescind-future", b"1"),
    ];
    let ok = ok(ask(&[shop(&[])], &attributes("GET", &lines, &[])));
    let expected =
        [("x-rescind-verdict", "active"), ("x-rescind-age-ms", "2000"), ("x-rescind-version", "1/9")];
    assert_eq!(set(&ok), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(ok.headers_to_remove, ["x-rescind-future", "x-rescind-status"]);
}

#[test]
fn a_refused_token_is_taken_off_on_a_lenient_route_and_other_cookies_stay() {
    let cookie = format!("a=1; access_token={}; b=2", token());
    let lines: [(&str, &[u8]); 2] = [("cookie", cookie.as_bytes()), ("authorization", b"Basic abc")];
    let listed = [shop(&[(alice(), always())])];
    let ok = ok(ask(&listed, &attributes("GET", &lines, &[("token", "lenient")])));
    assert_eq!(set(&ok)["cookie"], "a=1; b=2");
    assert_eq!(set(&ok)["x-rescind-verdict"], "none");
    assert_eq!(ok.headers_to_remove, ["authorization"]);
    assert!(ok.response_headers_to_add.is_empty(), "a login on this route sets the cookie itself");
}

#[test]
fn a_cookie_header_of_which_nothing_is_left_is_removed() {
    let cookie = format!("access_token={}", token());
    let lines: [(&str, &[u8]); 1] = [("cookie", cookie.as_bytes())];
    let listed = [shop(&[(alice(), always())])];
    let ok = ok(ask(&listed, &attributes("GET", &lines, &[("token", "lenient")])));
    assert_eq!(ok.headers_to_remove, ["authorization", "cookie"]);
}

#[test]
fn an_accepted_token_goes_through_untouched() {
    let cookie = format!("access_token={}", token());
    let lines: [(&str, &[u8]); 1] = [("cookie", cookie.as_bytes())];
    let ok = ok(ask(&[shop(&[])], &attributes("GET", &lines, &[("token", "lenient")])));
    assert!(ok.headers_to_remove.is_empty() && !set(&ok).contains_key("cookie"));
}

#[test]
fn a_token_that_a_folded_cookie_line_hides_is_taken_off_too() {
    let cookie = format!("theme=a,access_token={}", token());
    let lines: [(&str, &[u8]); 1] = [("cookie", cookie.as_bytes())];
    let (status, _) = refused(ask(&[shop(&[])], &attributes("GET", &lines, &[])));
    assert_eq!(status, 400);
    let ok = ok(ask(&[shop(&[])], &attributes("GET", &lines, &[("token", "lenient")])));
    assert_eq!(set(&ok)["cookie"], "theme=a");
}

#[test]
fn a_refusal_clears_the_cookie_that_asks_for_it() {
    let cookie = format!("access_token={}", token());
    let lines: [(&str, &[u8]); 1] = [("cookie", cookie.as_bytes())];
    let cleared = |views: &[ListView]| {
        let (_, denied) = refused(ask(views, &attributes("GET", &lines, &[])));
        let names = denied.headers.into_iter().map(|set| set.header.unwrap().key);
        names.filter(|name| name == "set-cookie").count()
    };
    assert_eq!(cleared(&[shop(&[(alice(), always())])]), 1);
    // The token may be good.
    assert_eq!(cleared(&[view(config("shop"), State::Stale, &[])]), 0);
}

#[test]
fn ambiguous_is_unauthenticated_for_a_grpc_workload() {
    let lines: [(&str, &[u8]); 3] = [
        ("authorization", b"Bearer a"),
        ("authorization", b"Bearer b"),
        ("content-type", b"application/grpc"),
    ];
    let response = ask(&[shop(&[])], &attributes("POST", &lines, &[]));
    assert_eq!(response.status.as_ref().unwrap().code, i32::from(tonic::Code::Unauthenticated));
    assert_eq!(refused(response).0, 401);
}

#[test]
fn a_preflight_passes_where_the_route_says_so_and_loses_what_it_carries() {
    let lines: [(&str, &[u8]); 4] = [
        ("origin", b"https://app.example"),
        ("access-control-request-method", b"PUT"),
        ("authorization", b"Bearer forged"),
        ("cookie", b"a=1"),
    ];
    let policy = [("preflight", "allow")];
    let stale = [view(config("shop"), State::Expired, &[])];
    let ok = ok(ask(&stale, &attributes("OPTIONS", &lines, &policy)));
    assert_eq!(set(&ok)["x-rescind-verdict"], "none");
    assert_eq!(ok.headers_to_remove, ["authorization", "cookie"]);
    let status = |method, lines: &[(&str, &[u8])], policy: &[(&str, &str)]| {
        refused(ask(&[shop(&[])], &attributes(method, lines, policy))).0
    };
    assert_eq!(status("OPTIONS", &lines, &[]), 401);
    assert_eq!(status("PUT", &lines, &policy), 401);
    assert_eq!(status("OPTIONS", &lines[..1], &policy), 401);
    assert_eq!(status("OPTIONS", &lines[1..], &policy), 401);
}

#[test]
fn headers_that_envoy_has_merged_are_read_too() {
    let merged = |authorization: String| {
        let mut attributes = attributes("GET", &[], &[]);
        let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
        http.header_map = None;
        http.headers = [("authorization".to_owned(), authorization)].into();
        ask(&[shop(&[])], &attributes)
    };
    assert_eq!(set(&ok(merged(format!("Bearer {}", token()))))["x-rescind-verdict"], "active");
    assert_eq!(refused(merged(format!("Bearer {0},Bearer {0}", token()))).0, 400);
}

#[test]
fn a_request_without_attributes_is_refused() {
    assert_eq!(refused(ask(&[shop(&[])], &AttributeContext::default())).0, 401);
}

/// A list that trusts Envoy's claims under `jwt`.
fn trusting() -> ListView {
    let verification = Verification::EnvoyMetadata { payload_key: "jwt".to_owned() };
    let issuers = vec![IssuerConfig { verification, ..issuer() }];
    view(ListConfig { issuers, ..config("shop") }, State::Fresh, &[])
}

fn to_struct(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        other @ (Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => panic!("{other}"),
    };
    prost_types::Value { kind: Some(kind) }
}

fn with_payloads(mut attributes: AttributeContext, payloads: &[(&str, Value)]) -> AttributeContext {
    let payload = |claims: &Value| {
        let fields = claims.as_object().unwrap().iter();
        let fields = fields.map(|(name, value)| (name.clone(), to_struct(value))).collect();
        prost_types::Value { kind: Some(Kind::StructValue(prost_types::Struct { fields })) }
    };
    let fields = payloads.iter().map(|(key, claims)| ((*key).to_owned(), payload(claims))).collect();
    let namespace = "envoy.filters.http.jwt_authn".to_owned();
    let filter_metadata = [(namespace, prost_types::Struct { fields })].into();
    attributes.metadata_context = Some(Metadata { filter_metadata, ..Metadata::default() });
    attributes
}

/// The reason with which claims from the proxy are refused; empty if they are not.
fn trusted(lines: &[(&str, &[u8])], payloads: &[(&str, Value)]) -> &'static str {
    let attributes = with_payloads(attributes("GET", lines, &[]), payloads);
    let (checker, seen) = checker(&[trusting()]);
    let _response = ExtAuthz::new(checker, Style::default()).answer(&attributes, Admission::Granted);
    let seen = seen.0.lock().unwrap();
    seen[0].1.reason
}

#[test]
fn claims_that_the_proxy_has_verified_are_judged_by_our_rules() {
    let jwt = |changes| [("jwt", claims_with(changes))];
    assert_eq!(trusted(&[], &jwt(json!({}))), "");
    assert_eq!(trusted(&[], &jwt(json!({"exp": 999_999}))), "EXPIRED");
    assert_eq!(trusted(&[], &jwt(json!({"aud": "else"}))), "WRONG_AUDIENCE");
    assert_eq!(trusted(&[], &jwt(json!({"iss": "https://else"}))), "UNKNOWN_ISSUER");
    assert_eq!(trusted(&[], &jwt(json!({"n": 1e17}))), "INEXACT_NUMBER");
    assert_eq!(trusted(&[], &[("other", claims())]), "NO_TOKEN");
}

#[test]
fn the_token_that_we_see_must_be_the_one_that_the_proxy_has_verified() {
    let line = bearer();
    let lines: [(&str, &[u8]); 1] = [("authorization", &line)];
    assert_eq!(trusted(&lines, &[("jwt", claims())]), "");
    assert_eq!(trusted(&lines, &[("jwt", claims_with(json!({"sub": "bob"})))]), "AMBIGUOUS_TOKEN");
    assert_eq!(trusted(&lines, &[]), "NO_UPSTREAM_CLAIMS");
    let opaque: [(&str, &[u8]); 1] = [("cookie", b"session=abc")];
    assert_eq!(trusted(&opaque, &[("jwt", claims())]), "AMBIGUOUS_TOKEN");
}

#[test]
fn claims_in_a_request_header_are_nothing() {
    let lines: [(&str, &[u8]); 1] = [("x-jwt-payload", b"e30")];
    assert_eq!(trusted(&lines, &[]), "NO_TOKEN");
}
