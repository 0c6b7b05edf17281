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

/// Enforced is a fact: a sidecar may hold the wider window of a declaration that has just been narrowed.
#[test]
fn a_wider_window_counts_until_nobody_can_hold_it_any_more() {
    let later = |seconds: u64| UnixSeconds::new(1_000_000 + seconds).unwrap();
    let bound = |seconds| {
        let mut document = document();
        document.spec.freshness.bound_seconds = seconds;
        document
    };
    let nanos = |document: &ListDocument| document.window_nanos().unwrap() / 1_000_000_000;
    let narrowed = bound(100).followed_by(&bound(10), now()).unwrap().unwrap();
    assert_eq!(nanos(&narrowed), 100);
    let soon = narrowed.followed_by(&bound(11), later(100)).unwrap().unwrap();
    assert_eq!(nanos(&soon), 100);
    let late = narrowed.followed_by(&bound(11), later(200)).unwrap().unwrap();
    assert_eq!(nanos(&late), 11);
    assert_eq!(narrowed.followed_by(&bound(10), later(300)), Ok(None));
    let widened = bound(10).followed_by(&bound(100), now()).unwrap().unwrap();
    assert!(!widened.metadata.annotations.contains_key(WINDOW_ANNOTATION));
}
