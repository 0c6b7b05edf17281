use super::*;
use crate::api::compile::tests::config;
use crate::token::list_config::{TokenKind, Verification};

fn spec(target: serde_json::Value) -> api::RevocationSpec {
    serde_json::from_value(serde_json::json!({
        "listName": "shop", "issuer": "https://id.example.com", "target": target,
    }))
    .unwrap()
}

fn problem(spec: &api::RevocationSpec) -> String {
    read(spec).unwrap_err().to_string()
}

#[test]
fn every_target_is_read_and_written_back() {
    for target in [
        serde_json::json!({"token": "t1"}),
        serde_json::json!({"session": "s1"}),
        serde_json::json!({"subject": "alice"}),
        serde_json::json!({"client": "web"}),
        serde_json::json!({"key": "k1"}),
        serde_json::json!({"opaqueTokenSha256": "ab".repeat(32)}),
        serde_json::json!({"selector": {"name": "tenant", "values": [
            {"claim": "/tenant/id", "value": "7", "type": "Number"}, {"claim": "vip", "value": "true", "type": "Boolean"},
        ]}}),
    ] {
        let spec = spec(target);
        assert_eq!(write("shop", &read(&spec).unwrap(), None, None), spec);
    }
    let mut everything = spec(serde_json::json!({"everything": true}));
    assert!(problem(&everything).starts_with("spec.cutoff: a revocation of everything needs a cutoff"));
    everything.cutoff = Some("Always".to_owned());
    assert_eq!(write("shop", &read(&everything).unwrap(), None, None), everything);
}

#[test]
fn values_keep_their_type() {
    let selection = |type_: Option<&str>| {
        let value = serde_json::json!({"claim": "n", "value": "7", "type": type_});
        read(&spec(serde_json::json!({"selector": {"name": "n", "values": [value]}}))).map(|spec| spec.target)
    };
    assert_ne!(selection(None), selection(Some("Number")));
    assert!(selection(Some("Boolean")).unwrap_err().problem.contains("neither"));
}

#[test]
fn nonsense_is_refused_with_the_field() {
    assert!(problem(&spec(serde_json::json!({}))).starts_with("spec.target: name exactly one of"));
    assert!(
        problem(&spec(serde_json::json!({"everything": false})))
            .starts_with("spec.target.everything: can only")
    );
    assert!(
        problem(&spec(serde_json::json!({"opaqueTokenSha256": "AB".repeat(32)}))).contains("64 lower-case")
    );
    assert!(problem(&spec(serde_json::json!({"subject": "a\u{7}"}))).contains("control character"));
    let good = spec(serde_json::json!({"subject": "alice"}));
    let with = |change: fn(&mut api::RevocationSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        problem(&spec)
    };
    assert!(with(|s| s.cutoff = Some("yesterday".into())).starts_with("spec.cutoff: is not a time"));
    assert!(
        with(|s| s.cutoff = Some("1969-12-31T23:59:59Z".into())).starts_with("spec.cutoff: is not a time")
    );
    assert!(with(|s| s.expires_at = Some("Always".into())).starts_with("spec.expiresAt: is not a time"));
    assert!(
        with(|s| s.reason = Some("lost device".into())).starts_with("spec.reason: is not one CamelCase word")
    );
    assert!(with(|s| s.message = Some("x".repeat(257))).starts_with("spec.message: has 257 characters"));
    assert!(with(|s| s.list_name = Some("a/b".into())).starts_with("spec.listName: is not a name"));
    assert!(with(|s| s.issuer = Some(String::new())).starts_with("spec.issuer: is empty"));
    assert_eq!(with(|s| s.list_name = None), "spec.listName: is missing");
    assert_eq!(with(|s| s.issuer = None), "spec.issuer: is missing");
    let internal = with(|s| s.target.epoch = Some(api::Marker {}));
    assert_eq!(
        internal,
        "spec.target: heartbeat, epoch and horizon are the controller's own: name another target"
    );
}

#[test]
fn what_a_list_does_not_declare_is_refused_and_what_may_not_reach_is_a_warning() {
    let config = config();
    let check = |spec: &api::RevocationSpec| check_declared(&read(spec).unwrap(), &config);
    assert_eq!(check(&spec(serde_json::json!({"subject": "alice"}))), Ok(vec![]));
    let warnings = check(&spec(serde_json::json!({"session": "s"}))).unwrap();
    assert!(warnings[0].starts_with("MayNotReach: ") && warnings[0].contains("sid"), "{warnings:?}");
    let selector = |name: &str, claims: &[&str]| {
        let values: Vec<_> = claims.iter().map(|c| serde_json::json!({"claim": c, "value": "x"})).collect();
        spec(serde_json::json!({"selector": {"name": name, "values": values}}))
    };
    assert!(check(&selector("subject-on-client", &["client_id", "sub"])).is_ok());
    assert!(check(&selector("unknown", &["sub"])).unwrap_err().field.ends_with("selector.name"));
    assert!(check(&selector("subject-on-client", &["sub"])).unwrap_err().field.ends_with("selector.values"));
    let mut other = spec(serde_json::json!({"subject": "alice"}));
    other.compare_with = api::CompareWith::SessionStart;
    assert!(check(&other).unwrap_err().problem.contains("auth_time"));
    other.issuer = Some("https://else.example.com".to_owned());
    assert!(check(&other).unwrap_err().problem.contains("it declares https://id.example.com"));
}

#[test]
fn a_revocation_of_a_key_needs_keys_that_the_list_knows() {
    let warnings = |key: &str, config: &ListConfig| {
        check_declared(&read(&spec(serde_json::json!({"key": key}))).unwrap(), config)
    };
    let mut config = config();
    let Verification::Keys(keys) = &config.issuers[0].verification else { panic!("no keys") };
    let thumbprint = keys[0].thumbprint.clone();
    assert_eq!(warnings("k1", &config), Ok(vec![]));
    assert_eq!(warnings(&thumbprint, &config), Ok(vec![]));
    let unknown = warnings("k2", &config).unwrap();
    assert_eq!(
        unknown,
        [
            "MayNotReach: no key of this issuer has this kid or thumbprint in list default/shop, and tokens of other \
             keys are refused there anyhow"
        ],
    );
    config.issuers[0].verification = Verification::EnvoyMetadata { payload_key: "jwt".to_owned() };
    let refused = warnings("k1", &config).unwrap_err();
    assert_eq!(refused.field, "spec.target.key");
    assert!(refused.problem.starts_with("can't be revoked for this issuer: Envoy verifies"), "{refused}");
}

#[test]
fn a_revocation_of_an_opaque_token_warns_where_no_source_carries_one_of_the_issuer() {
    let opaque = read(&spec(serde_json::json!({"opaqueTokenSha256": "ab".repeat(32)}))).unwrap();
    let mut config = config();
    let warnings = check_declared(&opaque, &config).unwrap();
    assert_eq!(
        warnings,
        [
            "MayNotReach: list default/shop has no token source of kind Opaque for this issuer, so no sidecar looks \
             for such a token; add one to tokenSources"
        ],
    );
    for (issuer, expected) in [("https://else.example.com", 1), ("https://id.example.com", 0)] {
        config.sources[1].kind = TokenKind::Opaque { issuer: issuer.to_owned() };
        assert_eq!(check_declared(&opaque, &config).unwrap().len(), expected, "{issuer}");
    }
}

#[test]
fn a_description_is_short() {
    assert_eq!(describe(&Selection::Subject("alice".into())), "subject alice");
    assert_eq!(describe(&Selection::Subject("x".repeat(1000))).chars().count(), 256);
}

#[test]
fn every_time_is_written_so_that_it_reads_back() {
    for seconds in [0, 1, 951_782_400, 1_700_000_000, 253_402_214_400, 253_402_300_799] {
        let time = UnixSeconds::new(seconds).unwrap();
        assert_eq!(read_time(&write_time(time)), Some(time));
    }
    assert_eq!(write_time(UnixSeconds::MAX), "9999-12-31T23:59:59Z");
    let read = |text| read_time(text).map(UnixSeconds::get);
    assert_eq!(read("2026-11-21T10:00:00.9Z"), read("2026-11-21T12:00:00+02:00"));
    assert_eq!(["2026-11-21", "2026-11-21T10:00:00", "1969-12-31T23:59:59.5Z", "now"].map(read), [None; 4]);
}
