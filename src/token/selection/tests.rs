use super::*;
use crate::revocation::freshness::Bounds;
use crate::revocation::selector::{ClaimMatch, Selection, Target, TypedValue};
use crate::token::issuer::Issuer;
use crate::token::keys::Algorithm;
use crate::token::list_config::{DeclaredSelector, Enforcement};
use crate::token::rules::tests::issuer_config;

const HASH_KEY: HashKey = HashKey::new([5; 16]);

fn list(selectors: &[(&str, &[&str])]) -> ListConfig {
    let declared = |(name, claims): &(&str, &[&str])| DeclaredSelector {
        name: (*name).to_owned(),
        claims: claims.iter().map(|claim| claim.parse().unwrap()).collect(),
    };
    ListConfig {
        name: "shop".parse().unwrap(),
        issuers: vec![issuer_config()],
        selectors: selectors.iter().map(declared).collect(),
        freshness: Bounds::default(),
        enforcement: Enforcement::Enforce,
        sources: Vec::new(),
    }
}

fn target(selection: Selection) -> Key {
    HASH_KEY.target_key(&Target { issuer: issuer_config().issuer, selection })
}

fn declared(values: &[(&str, TypedValue)]) -> Key {
    let values = values.iter().map(|(c, v)| ClaimMatch { claim: c.parse().unwrap(), value: v.clone() });
    target(Selection::Declared { name: "any".to_owned(), values: values.collect() })
}

fn keys(list: &ListConfig, json: &str, key: Option<&VerifyingKey>) -> Result<Vec<Key>, SelectionError> {
    let claims = Claims::parse(json.as_bytes()).unwrap();
    let selected = select(list, &list.issuers[0], &claims, key, &HASH_KEY)?;
    Ok(selected.into_iter().map(|selected| selected.key).collect())
}

fn looked_up(list: &ListConfig, json: &str) -> Result<Vec<Key>, SelectionError> {
    keys(list, json, None)
}

/// Rows 9 and 11 of the regression list: all shapes are looked up, with their types, arrays by element.
/// Failure 11: numbers, truth values and arrays count, each with its type.
#[test]
fn every_target_that_covers_a_token_is_looked_up() {
    let list = list(&[("pair", &["sub", "client_id"]), ("group", &["groups"]), ("tier", &["/account/tier"])]);
    let json =
        r#"{"jti":"t","sid":"s","sub":"alice","client_id":"web","groups":["a","b"],"account":{"tier":7}}"#;
    let found = looked_up(&list, json).unwrap();
    let text = |s: &str| TypedValue::String(s.to_owned());
    let expected = [
        target(Selection::Token("t".to_owned())),
        target(Selection::Session("s".to_owned())),
        target(Selection::Subject("alice".to_owned())),
        target(Selection::Client("web".to_owned())),
        target(Selection::Everything),
        declared(&[("client_id", text("web")), ("sub", text("alice"))]),
        declared(&[("groups", text("a"))]),
        declared(&[("groups", text("b"))]),
        declared(&[("/account/tier", TypedValue::Number("7".parse().unwrap()))]),
    ];
    assert!(expected.iter().all(|key| found.contains(key)));
    assert_eq!(found.len(), expected.len());
    assert!(!found.contains(&declared(&[("/account/tier", text("7"))])));
}

#[test]
fn a_claim_that_is_absent_null_or_an_object_matches_nothing() {
    let list = list(&[("pair", &["sub", "client_id"])]);
    for json in ["{}", r#"{"sub":null,"client_id":{}}"#] {
        assert_eq!(looked_up(&list, json), Ok(vec![target(Selection::Everything)]), "{json}");
    }
    assert_eq!(looked_up(&list, r#"{"sub":"a"}"#).unwrap().len(), 2);
}

#[test]
fn the_verifying_key_is_looked_up_by_name_and_thumbprint_whatever_the_header_says() {
    let issuer = Issuer::generate("https://id.example.com", "k1", Algorithm::Es256).unwrap();
    let key = VerifyingKey::from_jwk(&issuer.jwk()).unwrap();
    let list = list(&[]);
    let found = keys(&list, "{}", Some(&key)).unwrap();
    assert!(found.contains(&target(Selection::Key("k1".to_owned()))));
    assert!(found.contains(&target(Selection::Key(key.thumbprint.clone()))));
}

/// Invariant 18: never partly checked.
#[test]
fn more_keys_than_can_be_checked_are_an_error() {
    let list = list(&[("cross", &["a", "b"])]);
    let array = |n: usize| format!("[{}]", (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
    let json = |a: usize, b: usize| format!(r#"{{"a":{},"b":{}}}"#, array(a), array(b));
    assert_eq!(looked_up(&list, &json(31, 33)).unwrap().len(), 1024);
    assert_eq!(looked_up(&list, &json(32, 32)), Err(SelectionError::TooManyKeys));
    assert_eq!(looked_up(&list, &json(256, 256)), Err(SelectionError::TooManyKeys));
    assert_eq!(looked_up(&list, &json(257, 1)), Err(SelectionError::TooManyElements));
}

#[test]
fn an_opaque_token_is_found_by_its_hash() {
    check_spelling("secret", "secret");
}

fn check_spelling(presented: &str, revoked: &str) {
    let found = opaque_keys("https://id.example.com", presented, &HASH_KEY);
    let revoked = target(Selection::Opaque(sha256(revoked.as_bytes())));
    assert!(found.iter().any(|selected| selected.key == revoked), "{presented}");
}

/// Invariant 4: another spelling of a revoked token, which an application reads as the same, is revoked too.
#[test]
fn an_opaque_token_is_found_in_every_spelling_that_applications_read() {
    for presented in ["s:a+b%", "s%3Aa%2Bb%25", "s%3aa%2bb%", "%73:%61+b%25", "\"s:a+b%\"", "\"s%3Aa+%62%\""]
    {
        check_spelling(presented, "s:a+b%");
        check_spelling(presented, "s%3Aa%2Bb%25");
    }
    check_spelling("%zz", "%zz");
}

#[test]
fn spellings_of_one_token_are_few() {
    assert_eq!(opaque_keys("i", "abc", &HASH_KEY).len(), 2);
    assert_eq!(opaque_keys("i", "\"%61\"", &HASH_KEY).len(), 4);
}
