//! Envoy verifies tokens itself, by `jwt_authn`, and the sidecar checks the claims that it left in its metadata.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rescind::proto::v1::target::Target;
use serde_json::json;

use crate::decision_table::check;
use crate::doubt::{freeze, until};
use crate::expected::Knowledge;
use crate::fronts::{Fronts, Proxy};
use crate::paths::check_tricks;
use crate::presented::{self, Meaning, Presented, in_cookie};
use crate::sidecar_down::check_closed;
use crate::support::http1::Ask;
use crate::support::issue::claims;
use crate::support::lab::Lab;
use crate::support::metrics::metric_where;

const ENVOY: Proxy = Proxy::EnvoyJwtAuthn;

/// Starts Envoy with the issuer's keys, and a sidecar that has none.
async fn start() -> Fronts {
    let upstream = json!({"trustUpstream": {"envoyMetadata": {"payloadKey": "payload"}}});
    let mut lab = Lab::declaring(|spec| spec["issuers"][0]["verification"] = upstream);
    std::fs::write(lab.path("jwks.json"), json!({"keys": lab.keys.public()}).to_string()).unwrap();
    lab.start_controller(&[]).await;
    lab.start_sidecar(&[]).await;
    let fronts = Fronts::start_these(lab, &[ENVOY]).await;
    until(&fronts, &good(&fronts.lab), 200).await;
    fronts
}

fn good(lab: &Lab) -> Presented {
    Presented::bearer("active", Meaning::Active, &lab.keys.token(&json!({})))
}

/// Failures 4 and 5, where the sidecar holds no keys: what Envoy has not verified is refused, and what it has is
/// checked as ever.
#[tokio::test]
async fn what_envoy_has_verified_is_checked_and_all_else_is_refused() {
    let mut fronts = start().await;
    check(&fronts, Knowledge::Fresh, &presented::all(&fronts.lab.keys)).await;

    let lab = &fronts.lab;
    let token = |changes| lab.keys.token(&changes);
    let (one, hers) = (token(json!({"jti": "the-one"})), token(json!({"sub": "mallory"})));
    lab.revoke(Target::Token("the-one".to_owned())).await;
    let last = lab.revoke(Target::Subject("mallory".to_owned())).await;
    lab.until_enforced(&last.version).await;
    let table = [
        good(lab),
        Presented::bearer("revoked by a token", Meaning::Revoked, &one),
        Presented::bearer("revoked by a subject", Meaning::Revoked, &hers),
        in_cookie("revoked by a subject, in the cookie", Meaning::Revoked, &hers),
        Presented::bearer("another subject", Meaning::Active, &token(json!({"sub": "bob"}))),
    ];
    check(&fronts, Knowledge::Fresh, &table).await;
    freeze(&mut fronts.lab);
    until(&fronts, &table[0], 503).await;
    check(&fronts, Knowledge::Stale, &table).await;
}

/// What Envoy can't verify goes on to the sidecar: all depends on its answer.
#[tokio::test]
async fn without_a_sidecar_and_by_no_spelling_of_a_path_does_anything_pass() {
    let mut fronts = start().await;
    check_tricks(&fronts).await;
    fronts.lab.sidecar().child.kill().await.unwrap();
    check_closed(&fronts).await;
}

/// Envoy hands numbers on as floats: beyond 2^53 one may stand for another.
#[tokio::test]
async fn a_number_that_envoy_can_not_hand_on_exactly_is_refused() {
    let mut fronts = start().await;
    let exact = (1_u64 << 53) - 1;
    let row = |name, meaning, number: u64| {
        Presented::bearer(name, meaning, &fronts.lab.keys.token(&json!({"account": {"id": number}})))
    };
    let table = [
        row("below 2^53", Meaning::Active, exact),
        row("2^53, which one more becomes, too", Meaning::Rejected, exact + 1),
        row("above 2^53", Meaning::Rejected, exact + 2),
    ];
    check(&fronts, Knowledge::Fresh, &table).await;
    let health = fronts.lab.sidecar().address("health").to_owned();
    let labels = [("transport", "ext_authz"), ("decision", "deny"), ("reason", "INEXACT_NUMBER")];
    assert!(metric_where(&health, "rescind_checks_total", &labels).await > 0.0);
}

/// Metadata is of Envoy's making: no header of a request becomes any, nor what is where no list looks.
#[tokio::test]
async fn claims_that_a_request_header_names_are_ignored() {
    let fronts = start().await;
    let claims = claims(&json!({}));
    let nested = json!({"payload": claims}).to_string();
    let in_all =
        json!({"filter_metadata": {"envoy.filters.http.jwt_authn": {"payload": claims}}}).to_string();
    let encoded = URL_SAFE_NO_PAD.encode(claims.to_string());
    let forge = |ask: Ask| {
        ask.line("envoy.filters.http.jwt_authn", &nested)
            .line("x-envoy-metadata", &in_all)
            .line("x-envoy-dynamic-metadata", &in_all)
            .line("payload", claims.to_string())
            .line("x-jwt-payload", &encoded)
            .line("x-forwarded-payload", &encoded)
    };
    let unverified = fronts.lab.keys.stranger.sign(&claims).unwrap();
    let in_query = format!("/?access_token={}", fronts.lab.keys.token(&json!({})));
    let rows = [
        ("no token", forge(Ask::get("/")), "Bearer realm=\"rescind\""),
        ("a good token, in the query", forge(Ask::get(&in_query)), "Bearer realm=\"rescind\""),
        ("a stranger's token", forge(Ask::get("/").bearer(&unverified)), INVALID),
        ("a stranger's token, optional", forge(Ask::get("/optional/").bearer(&unverified)), INVALID),
        ("an unsigned token", forge(Ask::get("/").bearer(&fronts.lab.keys.unsigned(&json!({})))), INVALID),
    ];
    for (name, ask, challenge) in rows {
        let reply = fronts.ask(ENVOY, &ask).await;
        assert_eq!(
            (reply.status, reply.all("www-authenticate")),
            (401, vec![challenge]),
            "{name}: {reply:?}"
        );
    }
    assert!(fronts.upstream.paths().iter().all(|path| path == "/" || path == "/healthz"));
}

const INVALID: &str = "Bearer realm=\"rescind\", error=\"invalid_token\", error_description=\"the access token is not \
                       accepted\"";
