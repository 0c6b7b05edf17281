use std::collections::HashSet;

use super::*;
use crate::revocation::selector::ClaimMatch;

const HASH_KEY: HashKey = HashKey::new([1; 16]);

fn path(text: &str) -> ClaimPath {
    text.parse().unwrap()
}

fn number(text: &str) -> TypedValue {
    TypedValue::Number(text.parse().unwrap())
}

fn string(text: &str) -> TypedValue {
    TypedValue::String(text.to_owned())
}

fn declared(values: &[(&str, TypedValue)]) -> Key {
    let values =
        values.iter().map(|(claim, value)| ClaimMatch { claim: path(claim), value: value.clone() }).collect();
    key(Selection::Declared { name: "any".to_owned(), values })
}

fn key(selection: Selection) -> Key {
    HASH_KEY.target_key(&Target { issuer: "https://id.example.com".to_owned(), selection })
}

/// Rows 12 and 14 of the regression list: names and issuers are inside the key.
/// Failures 12 and 14: the claim's name and the issuer are inside the key.
#[test]
fn no_two_targets_share_a_key() {
    let text = "alice".to_owned();
    let elsewhere =
        Target { issuer: "https://id.example.org".to_owned(), selection: Selection::Token(text.clone()) };
    let keys = [
        key(Selection::Token(text.clone())),
        key(Selection::Session(text.clone())),
        key(Selection::Subject(text.clone())),
        key(Selection::Client(text.clone())),
        key(Selection::Key(text.clone())),
        key(Selection::Everything),
        key(Selection::Opaque([0; 32])),
        HASH_KEY.target_key(&elsewhere),
        declared(&[("sub", string("alice"))]),
        declared(&[("/a/sub", string("alice"))]),
        declared(&[("a", string("7"))]),
        declared(&[("a", number("7"))]),
        declared(&[("a", TypedValue::Boolean(true))]),
        declared(&[("a", string("true"))]),
        declared(&[("a", string("x")), ("b", string("y"))]),
        declared(&[("a", string("xb")), ("b", string("y"))]),
        declared(&[("a", string("y")), ("b", string("x"))]),
    ];
    assert_eq!(keys.iter().map(|key| key.to_bytes()).collect::<HashSet<_>>().len(), keys.len());
}

#[test]
fn the_order_and_spelling_of_claims_does_not_matter() {
    let one = declared(&[("sub", string("alice")), ("client_id", string("web"))]);
    assert_eq!(one, declared(&[("client_id", string("web")), ("/sub", string("alice"))]));
    assert_eq!(declared(&[("level", number("10"))]), declared(&[("level", number("1e1"))]));
}

#[test]
fn the_name_under_which_a_list_declares_a_selector_is_not_in_the_key() {
    let values = vec![ClaimMatch { claim: path("sub"), value: string("alice") }];
    let named = |name: &str| key(Selection::Declared { name: name.to_owned(), values: values.clone() });
    assert_eq!(named("one"), named("two"));
}

#[test]
fn another_hash_key_gives_another_key() {
    let target = Target { issuer: String::new(), selection: Selection::Everything };
    assert_ne!(HASH_KEY.target_key(&target), HashKey::new([2; 16]).target_key(&target));
}

#[test]
fn the_encoding_is_the_golden_one() {
    let keys = [
        key(Selection::Subject("alice".to_owned())),
        declared(&[("groups", string("ops")), ("level", number("7"))]),
    ];
    insta::assert_snapshot!(format!("{keys:?}"));
}
