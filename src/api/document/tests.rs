use super::*;
use crate::api::compile::tests::document;

fn now() -> UnixSeconds {
    UnixSeconds::new(1_000_000).unwrap()
}

#[test]
fn an_unchanged_declaration_has_no_successor() {
    assert_eq!(document().followed_by(&document(), now()), Ok(None));
}

#[test]
fn a_raised_maximum_leaves_the_old_one_in_the_configuration() {
    let mut raised = document();
    raised.spec.issuers[0].max_token_lifetime_seconds = 7200;
    let next = document().followed_by(&raised, now()).unwrap().unwrap();
    assert_eq!(next.metadata.generation, 2);
    let history = &next.config().unwrap().issuers[0].history;
    assert_eq!((history[0].0, history[0].1.token_lifetime_seconds), (now(), 3600));
}

#[test]
fn a_declaration_that_does_not_compile_has_no_place() {
    let mut bad = document();
    bad.spec.issuers.clear();
    assert!(document().followed_by(&bad, now()).is_err());
}

#[test]
fn what_is_not_understood_as_a_whole_is_refused() {
    let json: serde_json::Value = serde_json::from_slice(&document().encode()).unwrap();
    let parse = |change: fn(&mut serde_json::Value)| {
        let mut json = json.clone();
        change(&mut json);
        ListDocument::parse(json.to_string().as_bytes())
    };
    assert!(parse(|_| ()).is_ok());
    assert!(parse(|json| json["spec"]["stricter"] = true.into()).is_err());
    assert!(parse(|json| json["metadata"]["labels"] = serde_json::json!({})).is_err());
    assert!(parse(|json| json["kind"] = "Revocation".into()).is_err());
    assert!(ListDocument::parse(b"{").is_err());
}
