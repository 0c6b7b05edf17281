//! When every list is fresh and nobody can vouch all the same: lists contradict each other, or a token says too much.

use serde_json::{Value, json};

use crate::doubt::until;
use crate::expected::{Expected, Knowledge, Route, Tokens, judge};
use crate::fronts::Fronts;
use crate::presented::{Meaning, Presented};
use crate::support::PATIENCE;
use crate::support::issue::{AUDIENCE, ISSUER};
use crate::support::lab::Lab;
use crate::support::metrics::{get, metric_where};
use crate::support::wait::wait_for;

/// The one of the narrow route is among the audiences.
fn token(lab: &Lab, changes: Value) -> Presented {
    let mut claims = json!({"aud": [AUDIENCE, "narrow"]});
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Presented::bearer("good", Meaning::Active, &lab.keys.token(&claims))
}

/// Every route that asks is 503, or reports that nobody can vouch; and the reason is counted on both paths.
async fn check(fronts: &mut Fronts, presented: &Presented, reason: &str) {
    let health = fronts.lab.sidecar().address("health").to_owned();
    let mut wrong = Vec::new();
    for proxy in fronts.proxies() {
        for route in Route::of(proxy) {
            let expected = match route {
                Route::Unasked => Expected::Unasked,
                Route::Report => Expected::Passes { verdict: "unknown", tokens: Tokens::Kept },
                Route::Required
                | Route::Optional
                | Route::Lenient
                | Route::Narrow
                | Route::Cors
                | Route::Bad => Expected::Unavailable,
            };
            let reply = fronts.ask(proxy, &presented.ask(route.path())).await;
            let found = judge(expected, Knowledge::Fresh, presented, proxy, &reply);
            wrong.extend(found.iter().map(|what| format!("{reason} {proxy:?} {route:?}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{} deviations:\n{}\n{}", wrong.len(), wrong.join("\n"), fronts.lab.logs());
    for transport in ["ext_authz", "forward_auth"] {
        let labels = [("transport", transport), ("decision", "deny"), ("reason", reason)];
        assert!(metric_where(&health, "rescind_checks_total", &labels).await > 0.0, "{transport} {reason}");
    }
}

/// Starts a sidecar that follows the lab's list and one that differs from it.
async fn start_with_another(change: impl FnOnce(&mut Value, &Lab)) -> Fronts {
    let mut lab = Lab::new();
    let first = std::fs::read_to_string(lab.path("lists.yaml")).unwrap();
    let mut second: Value = serde_json::from_str(&first).unwrap();
    second["metadata"]["name"] = "second".into();
    change(&mut second["spec"], &lab);
    std::fs::write(lab.path("lists.yaml"), format!("{first}\n---\n{second}\n")).unwrap();
    lab.start_controller(&[]).await;
    lab.start_sidecar(&["--list=default/second"]).await;
    Fronts::start(lab).await
}

async fn check_lists_that_differ(mut fronts: Fronts, reason: &str, about: &str) {
    let good = token(&fronts.lab, json!({}));
    // Both are there once nobody says any more that one is missing.
    let health = fronts.lab.sidecar().address("health").to_owned();
    wait_for("both lists are proven", PATIENCE, async || match get(&health, "/readyz", &[]).await {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    check(&mut fronts, &good, reason).await;
    let said = format!("lists default/second and default/shop differ about {about}");
    let log = fronts.lab.sidecar().child.log();
    assert!(log.contains(&said), "{log}");
}

#[tokio::test]
async fn lists_that_differ_about_a_source_make_every_proxy_answer_503() {
    let opaque = json!([{"cookie": "access_token", "kind": "Opaque", "issuer": ISSUER}]);
    let fronts = start_with_another(|spec, _| spec["tokenSources"] = opaque).await;
    check_lists_that_differ(
        fronts,
        "SOURCE_CONFLICT",
        "what kind of token a source that both declare carries",
    )
    .await;
}

#[tokio::test]
async fn lists_that_differ_about_an_issuers_keys_make_every_proxy_answer_503() {
    let fronts = start_with_another(|spec, lab| {
        spec["issuers"][0]["verification"]["keys"] = json!([lab.keys.public()[0]]);
    })
    .await;
    check_lists_that_differ(
        fronts,
        "ISSUER_CONFLICT",
        "who verifies the tokens of an issuer that both declare",
    )
    .await;
}

#[tokio::test]
async fn a_token_that_says_more_than_can_be_checked_makes_every_proxy_answer_503() {
    let selectors = json!([
        {"name": "group", "claims": ["groups"]},
        {"name": "role", "claims": ["groups", "roles"]},
    ]);
    let lab = Lab::declaring(|spec| spec["selectors"] = selectors).started().await;
    let mut fronts = Fronts::start(lab).await;
    let member = |groups: u32, roles: u32| {
        let all = |count: u32| (0..count).collect::<Vec<_>>();
        token(&fronts.lab, json!({"groups": all(groups), "roles": all(roles)}))
    };
    let [most, elements, keys] = [member(256, 1), member(257, 0), member(33, 32)];
    until(&fronts, &most, 200).await;
    check(&mut fronts, &elements, "TOO_MANY_ELEMENTS").await;
    check(&mut fronts, &keys, "TOO_MANY_KEYS").await;
}
