//! Rows about what nobody can vouch for though every list is fresh: contradictions, and limits.

use super::*;
use crate::token::keys::VerifyingKey;
use crate::token::list_config::{IssuerConfig, Verification};

/// The second list, which differs about what kind of token a cookie carries.
fn other_source() -> ListConfig {
    ListConfig { sources: vec![source(cookie("access_token"), opaque())], ..config("bb") }
}

/// The second list, which differs about who verifies the issuer.
fn other_issuer(verification: Verification) -> ListConfig {
    ListConfig { issuers: vec![IssuerConfig { verification, ..issuer() }], ..config("bb") }
}

/// A list with a selector that reads an array, and one that combines two.
fn combining() -> ListConfig {
    let selector = |name: &str, claims: &[&str]| DeclaredSelector {
        name: name.to_owned(),
        claims: claims.iter().map(|claim| claim.parse().unwrap()).collect(),
    };
    let selectors = vec![selector("group", &["groups"]), selector("role", &["groups", "roles"])];
    ListConfig { selectors, ..config("shop") }
}

/// A token with so many groups and roles.
fn member_of(groups: u32, roles: u32) -> Presents {
    let all = |count: u32| (0..count).collect::<Vec<_>>();
    Presents::Bearer(token_with(json!({"groups": all(groups), "roles": all(roles)})))
}

fn contradictions() -> Vec<Case> {
    let foreign = VerifyingKey::from_jwk(&FORGER.jwk()).unwrap();
    let by_envoy = Verification::EnvoyMetadata { payload_key: "jwt".to_owned() };
    let others = [
        ("source", "SOURCE_CONFLICT", other_source()),
        ("key of an issuer", "ISSUER_CONFLICT", other_issuer(Verification::Keys(vec![foreign]))),
        ("verifier of an issuer", "ISSUER_CONFLICT", other_issuer(by_envoy)),
    ];
    let mut cases = Vec::new();
    for (about, reason, other) in others {
        let first = |rows: &[_]| view(config("a"), State::Fresh, rows);
        let both = [first(&[]), view(other.clone(), State::Fresh, &[])];
        let beside = [first(&[(alice(), always())]), both[1].clone()];
        let shadowed = ListConfig { enforcement: shadow("bb").enforcement, ..other };
        let trial = [first(&[]), view(shadowed, State::Fresh, &[])];
        let mut row = |name: &str, views: &[ListView], policy: &[_], expected| {
            cases.push(case(
                format!("lists differ about the {about}: {name}"),
                views,
                bearer(),
                policy,
                expected,
            ));
        };
        row("good", &both, &[], unknown(reason));
        row("optional", &both, &[("token", "optional")], unknown(reason));
        row("lenient", &both, &[("token", "lenient")], unknown(reason));
        row("report", &both, &[("mode", "report")], in_spite_of("unknown", reason));
        row("a hit", &beside, &[], REVOKED);
        row("one is in shadow", &trial, &[], in_spite_of("unknown", reason));
        row("only one is asked", &both, &[("lists", "a")], allow("active"));
    }
    cases
}

fn limits() -> Vec<Case> {
    let clean = [view(combining(), State::Fresh, &[])];
    let listed = [view(combining(), State::Fresh, &[(alice(), always())])];
    let mut cases = Vec::new();
    for (what, presents, reason) in
        [("elements", member_of(257, 0), "TOO_MANY_ELEMENTS"), ("keys", member_of(33, 32), "TOO_MANY_KEYS")]
    {
        let mut row = |name: &str, views: &[ListView], policy: &[_], expected| {
            cases.push(case(format!("too many {what}: {name}"), views, presents.clone(), policy, expected));
        };
        row("good", &clean, &[], unknown(reason));
        row("optional", &clean, &[("token", "optional")], unknown(reason));
        row("lenient", &clean, &[("token", "lenient")], unknown(reason));
        row("report", &clean, &[("mode", "report")], in_spite_of("unknown", reason));
        // Never partly checked.
        row("a hit", &listed, &[], unknown(reason));
    }
    let most = |name: &str, presents| case(name, &clean, presents, &[], allow("active"));
    cases.extend([
        most("as many elements as may be", member_of(256, 1)),
        most("as many keys", member_of(30, 32)),
    ]);
    cases
}

fn versions() -> Vec<Case> {
    let clean = [shop(&[])];
    let listed = [shop(&[(alice(), always())])];
    let stale = [view(config("shop"), State::Stale, &[])];
    let behind = || unknown("BEHIND_MIN_VERSION");
    let asking = |name: &str, views: &[ListView], min_version, expected| {
        let case = case(format!("a version: {name}"), views, bearer(), &[], expected);
        Case { min_version, ..case }
    };
    vec![
        asking("proven", &clean, "1/9", allow("active")),
        asking("not yet proven", &clean, "1/10", behind()),
        asking("of a later epoch", &clean, "2/1", behind()),
        asking("not yet proven, and a hit", &listed, "1/10", REVOKED),
        asking("not yet proven, and stale", &stale, "1/10", unknown("STALE")),
    ]
}

/// Invariant 19: what lists contradict each other about, what is too much, and what has not come yet is in doubt.
pub(crate) fn table_of_doubts() -> Vec<Case> {
    [contradictions(), limits(), versions()].concat()
}
