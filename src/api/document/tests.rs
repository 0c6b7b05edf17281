use std::collections::BTreeSet;

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

/// Invariant 1: a controller that starts anew waits for sidecars under a wider bound of before.
#[test]
fn a_narrowed_bound_leaves_the_wider_one_until_nobody_goes_by_it() {
    let bound = |seconds| {
        let mut document = document();
        document.spec.freshness.bound_seconds = seconds;
        document
    };
    let narrowed = bound(120).followed_by(&bound(15), now()).unwrap().unwrap();
    let window_of = |document: &ListDocument, now| document.past_window()?.window_nanos(now);
    let wide = Some(120_120_000_000);
    assert_eq!(window_of(&narrowed, now()), wide);
    let later = |seconds| now().saturating_add(seconds);
    assert_eq!(window_of(&narrowed, later(120 + 3600)), wide);
    assert_eq!(window_of(&narrowed, later(120 + 3601)), None);
    // The file that it was declared by does not name it, and does not end it.
    assert_eq!(narrowed.followed_by(&bound(15), later(60)), Ok(None));
    let again = narrowed.followed_by(&bound(10), later(60)).unwrap().unwrap();
    assert_eq!(window_of(&again, later(120 + 3601)), wide);
    let widened = narrowed.followed_by(&bound(130), later(60)).unwrap().unwrap();
    assert_eq!(window_of(&widened, later(60)), None);
    let mut broken = narrowed;
    broken.metadata.annotations.insert(window::ANNOTATION.to_owned(), "{".to_owned());
    assert_eq!(window_of(&broken, UnixSeconds::MAX), Some(86_486_400_000_000));
}

/// Invariant 4: where others change the declaration, what was in force before is in the annotations, also when they
/// changed it more than once, and a controller looked only in between.
#[test]
fn what_was_in_force_is_recorded_whoever_changed_the_declaration() {
    let first = document().recorded(now()).unwrap().unwrap();
    assert_eq!(first.recorded(now()), Ok(None));
    assert_eq!(first.config().unwrap().issuers[0].history, []);
    let mut changed = first.clone();
    changed.spec.issuers[0].max_token_lifetime_seconds = 7200;
    changed.spec.freshness.bound_seconds = 5;
    let second = changed.recorded(now()).unwrap().unwrap();
    assert_eq!(second.recorded(now()), Ok(None));
    let history = &second.config().unwrap().issuers[0].history;
    assert_eq!((history[0].0, history[0].1.token_lifetime_seconds), (now(), 3600));
    assert_eq!(second.past_window().unwrap().seconds, 15);
    let mut broken = first;
    broken.metadata.annotations.insert(recorded::ANNOTATION.to_owned(), "{".to_owned());
    assert!(broken.recorded(now()).unwrap_err().field.contains("in-force"));
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

/// A declaration in which every field says something, as the store keeps it and the stream carries it.
const FULL: &[u8] = include_bytes!("fixtures/full.json");
/// One in which only what is needed is said, as it is written by hand.
const LEAST: &[u8] = include_bytes!("fixtures/least.json");
/// What the least one is on the wire: an absent field has the value that it always had.
const LEAST_ON_THE_WIRE: &str = include_str!("fixtures/least-on-the-wire.json");

/// Whoever renames a field, or writes it otherwise, makes running sidecars refuse the declaration, and a stored one
/// unreadable.
#[test]
fn the_bytes_of_a_full_declaration_are_the_golden_ones() {
    let golden = ListDocument::parse(FULL).unwrap();
    let mut earlier = golden.clone();
    earlier.metadata.annotations.clear();
    earlier.spec.issuers[0].max_token_lifetime_seconds = 1800;
    earlier.spec.freshness.maximum_seconds = 600;
    let mut changed = earlier.recorded(now()).unwrap().unwrap();
    changed.spec = golden.spec;
    let written = changed.recorded(now()).unwrap().unwrap();
    assert_eq!(String::from_utf8(written.encode()).unwrap(), String::from_utf8_lossy(FULL));
    let history = &written.config().unwrap().issuers[0].history;
    assert_eq!((history[0].0, history[0].1.token_lifetime_seconds), (now(), 1800));
    assert_eq!(written.past_window().unwrap().seconds, 600);
}

#[test]
fn what_a_declaration_leaves_out_has_the_golden_values() {
    let read = ListDocument::parse(LEAST).unwrap();
    assert_eq!(String::from_utf8(read.encode()).unwrap(), LEAST_ON_THE_WIRE);
    assert_eq!(ListDocument::parse(LEAST_ON_THE_WIRE.as_bytes()), Ok(read));
}

/// A new field has to be said there, too: else nothing holds what it looks like.
#[test]
fn the_golden_declaration_says_something_with_every_field_that_there_is() {
    fn properties(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
        let fields = schema.get("properties").and_then(serde_json::Value::as_object);
        found.extend(fields.into_iter().flat_map(|fields| fields.keys().cloned()));
        let inner = schema.as_object().into_iter().flat_map(|object| object.values());
        let items = schema.as_array().into_iter().flatten();
        inner.chain(items).for_each(|value| properties(value, found));
    }
    fn said(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        found.extend(value.as_object().into_iter().flat_map(|object| object.keys().cloned()));
        let inner = value.as_object().into_iter().flat_map(|object| object.values());
        inner.chain(value.as_array().into_iter().flatten()).for_each(|value| said(value, found));
    }
    let (mut fields, mut golden) = (BTreeSet::new(), BTreeSet::new());
    properties(schemars::schema_for!(TokenRevocationListSpec).as_value(), &mut fields);
    said(&serde_json::from_slice(FULL).unwrap(), &mut golden);
    assert!(fields.len() > 40, "{fields:?}");
    assert_eq!(fields.difference(&golden).collect::<Vec<_>>(), Vec::<&String>::new());
}
