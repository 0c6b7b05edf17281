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

/// Invariant 10: every replica and every sidecar computes keys, and one that computes another finds nothing that is revoked.
/// Computed by another SipHash-2-4, in Python, with which the vectors of its authors agree.
#[test]
fn the_encoding_is_the_golden_one() {
    let check = |key: Key, expected: &str| assert_eq!(format!("{key:?}"), format!("Key({expected})"));
    let alice = || "alice".to_owned();
    check(key(Selection::Token(alice())), "b67b9c6d035a5757a96c2de006e5d259");
    check(key(Selection::Session(alice())), "04aee7b8b81944e0b59b7a9a04ec4497");
    check(key(Selection::Subject(alice())), "803ed9b1c68a7f768a36e6e30eafaea5");
    check(key(Selection::Client(alice())), "689e8c4bfaeaa190beabb909d27ddcd8");
    check(key(Selection::Key(alice())), "eb9caf5426788927128b277dff117bfa");
    check(key(Selection::Everything), "b3d51734e591d1538c19664ddf3a992e");
    let hash = std::array::from_fn(|at| u8::try_from(at).unwrap());
    check(key(Selection::Opaque(hash)), "8243091783bd0f727c103119c4a45143");
    let truth = |truth| declared(&[("admin", TypedValue::Boolean(truth))]);
    check(truth(true), "0b32c14ae68a2e05758b27a7ae376d74");
    check(truth(false), "4c84b0506a60d3290632198bd0a008b0");
    check(declared(&[("level", number("-1.5"))]), "ebf9b1e27d8f445783ab35f20f0d5a9c");
    check(declared(&[("/realm/roles", string("ops"))]), "2885e9e624b9475477e658cce804974f");
    let two = [("groups", string("ops")), ("level", number("7"))];
    check(declared(&two), "4b0fda339ac1fa06a7ab8a4e52e1b708");
}
