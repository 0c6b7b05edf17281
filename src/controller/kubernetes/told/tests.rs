use serde_json::json;

use super::*;
use crate::api::compile::tests::{config, document};
use crate::controller::kubernetes::conditions;
use crate::controller::kubernetes::conditions::tests::mirrored;
use crate::controller::kubernetes::lists::{self, Known};
use crate::distribution::enforcement::Progress;
use crate::revocation::time::UnixSeconds;
use crate::store::contract::subject;

const ALL: Progress = Progress { enforced: true, subscribers: 2, applied: 2, away: 0 };

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(1_700_000_000 + seconds).unwrap()
}

/// The events as `reason: text`.
fn shown(notes: &[Note]) -> Vec<String> {
    notes.iter().map(|note| format!("{}: {}", note.reason.word(), note.text)).collect()
}

#[test]
fn a_revocation_tells_once_that_it_is_enforced_and_how_far() {
    let mut object = mirrored(subject("alice"));
    let mut step = |progress, seconds| {
        let after = conditions::status(&object, Some(&config()), progress, at(seconds));
        let notes = of_revocation(&object, &after);
        object.status = after;
        notes
    };
    assert_eq!(step(None, 0), []);
    assert_eq!(step(Some((Progress { enforced: false, applied: 1, ..ALL }, 100)), 1), []);
    let told = step(Some((ALL, 240)), 2);
    assert_eq!(shown(&told), ["Enforced: 2 of 2 sidecars have it in use. 240 ms after it was seen."]);
    assert_eq!((told[0].kind, told[0].regarding.kind), (Kind::Normal, "Revocation"));
    assert_eq!(step(Some((ALL, 900)), 3), []);
}

#[test]
fn a_revocation_without_effect_tells_why_and_again_only_for_another_reason() {
    let mut object = mirrored(subject("alice"));
    let refused = conditions::status(&object, None, None, at(0));
    let told = of_revocation(&object, &refused);
    assert_eq!(told.len(), 1);
    assert!(shown(&told)[0].starts_with("Refused: UnknownList: No list "), "{told:?}");
    assert_eq!(told[0].kind, Kind::Warning);
    // Nobody learns from an event what the object does not show.
    assert!(!shown(&told)[0].contains("alice"));
    object.status = refused;
    assert_eq!(of_revocation(&object, &conditions::status(&object, None, None, at(5))), []);
    object.read = Err("unknown field".to_owned());
    let told = of_revocation(&object, &conditions::status(&object, None, None, at(6)));
    assert!(shown(&told)[0].starts_with("Refused: Unreadable: "), "{told:?}");
}

#[test]
fn a_list_tells_when_something_comes_that_somebody_should_look_into() {
    let declared = Declared {
        name: document().name().unwrap(),
        uid: "uid".to_owned(),
        resource_version: "5".to_owned(),
        generation: 3,
        status: json!({}),
        document: Ok(document()),
    };
    let good = Known { entries: Some(2), ..Known::default() };
    let bad = Known { lost: 1, live: 10, gone_lately: 90, unreadable: 1, ..good.clone() };
    let status = |known: &Known, seconds| lists::status(&declared, known, at(seconds));
    let reasons = |before: &Known, after: &Known| -> Vec<&str> {
        let notes = of_list(&declared, &status(before, 0), &status(after, 1));
        notes.iter().map(|note| note.reason.word()).collect()
    };
    assert_eq!(reasons(&good, &bad), ["LargeShareGone", "StoreDeleted", "Unreadable"]);
    assert_eq!(reasons(&bad, &bad), [""; 0]);
    assert_eq!(reasons(&bad, &good), [""; 0]);
    assert_eq!(reasons(&Known::default(), &good), [""; 0]);
}
