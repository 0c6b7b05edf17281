use super::*;
use crate::api::document::ListDocument;
use crate::api::manifest::{Object, parse};

/// The document of the example.
pub(crate) fn document() -> ListDocument {
    let objects = parse("lists.yaml", include_str!("../../../examples/lists.yaml")).unwrap();
    let Some(Object::List(document)) = objects.into_iter().next() else { panic!("no list") };
    *document
}

/// The configuration of the example.
pub(crate) fn config() -> ListConfig {
    document().config().unwrap()
}

#[test]
fn the_example_compiles_to_what_it_says() {
    let config = config();
    let issuer = config.issuer("https://id.example.com").unwrap();
    assert_eq!(issuer.audiences, Audiences::OneOf(vec!["shop-api".to_owned()]));
    assert_eq!(
        issuer.maxima,
        Maxima { token_lifetime_seconds: 3600, session_lifetime_seconds: 86_400, clock_skew_seconds: 1 }
    );
    assert_eq!(config.freshness, Bounds::default());
    assert_eq!(config.selector("tenant").unwrap().claims, ["/tenant/id".parse().unwrap()]);
    assert_eq!(config.enforcement, Enforcement::Enforce);
}

#[test]
fn what_is_declared_twice_or_clashes_is_refused() {
    let refuse = |change: fn(&mut api::TokenRevocationListSpec)| {
        let mut spec = document().spec;
        change(&mut spec);
        compile(&"shop".parse().unwrap(), &spec).unwrap_err().to_string()
    };
    let check = |change, expected: &str| assert!(refuse(change).starts_with(expected), "{}", refuse(change));
    check(|s| s.issuers.push(s.issuers[0].clone()), "spec.issuers[1].issuer: is declared twice");
    check(|s| s.selectors.push(s.selectors[0].clone()), "spec.selectors[2].name: is declared twice");
    check(|s| s.selectors[0].name = "token".into(), "spec.selectors[0].name: token is built in");
    check(|s| s.selectors[0].claims = vec!["sub".into(), "/sub".into()], "spec.selectors[0].claims[1]");
    check(|s| s.selectors = vec![s.selectors[0].clone(); 17], "spec.selectors: has 17 items");
    check(|s| s.token_sources.push(s.token_sources[1].clone()), "spec.tokenSources[2]: is declared twice");
    check(|s| s.token_sources[0].header = Some("X-Token".into()), "spec.tokenSources[0].header: the only");
    check(
        |s| s.token_sources[1].kind = Some(api::TokenKind::Opaque),
        "spec.tokenSources[1].issuer: kind Opaque",
    );
    check(
        |s| {
            s.token_sources[1].kind = Some(api::TokenKind::Opaque);
            s.token_sources[1].issuer = Some("https://else".into());
        },
        "spec.tokenSources[1].issuer: is not declared",
    );
    check(|s| s.issuers[0].any_audience = Some(true), "spec.issuers[0].audiences: name the audiences");
    check(|s| s.issuers[0].max_token_lifetime_seconds = 0, "spec.issuers[0].maxTokenLifetimeSeconds: is 0");
    check(|s| s.issuers[0].verification.keys = None, "spec.issuers[0].verification: name exactly one");
    check(|s| s.issuers.clear(), "spec.issuers: has 0 items");
}
