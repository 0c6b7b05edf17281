use serde_json::json;

use super::*;
use crate::api::compile::tests::document;

const NOW: u64 = 1_700_000_000;

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(NOW + seconds).unwrap()
}

fn declared() -> Declared {
    Declared {
        name: document().name().unwrap(),
        uid: "uid".to_owned(),
        resource_version: "5".to_owned(),
        generation: 3,
        status: json!({}),
        document: Ok(document()),
    }
}

fn published() -> Known {
    Known {
        entries: Some(2),
        bytes: Some(4096),
        version: Some("1/5".to_owned()),
        subscribers: 4,
        ..Known::default()
    }
}

/// The conditions as `type=status: reason`.
fn check(list: &Declared, known: &Known, expected: &[&str]) -> TokenRevocationListStatus {
    let status = status(list, known, at(0));
    let shown = status.conditions.iter();
    let shown: Vec<String> = shown
        .map(|condition| format!("{}={:?}: {}", condition.type_, condition.status, condition.reason))
        .collect();
    assert_eq!(shown, expected);
    status
}

#[test]
fn a_list_that_is_published_is_ready_and_says_what_it_holds() {
    let status = check(&declared(), &published(), &["Ready=True: Published"]);
    assert_eq!((status.entries, status.bytes, status.subscribers), (Some(2), Some(4096), Some(4)));
    assert_eq!((status.version.as_deref(), status.observed_generation), (Some("1/5"), Some(3)));
    assert_eq!(status.conditions[0].observed_generation, Some(3));
}

#[test]
fn what_keeps_a_list_from_being_published_is_named() {
    check(&declared(), &Known::default(), &["Ready=False: NotPublished"]);
    check(&declared(), &Known { unreadable: 1, ..published() }, &["Ready=False: Unreadable"]);
    let unusable = Declared { document: Err("unknown field `colour`".to_owned()), ..declared() };
    let status = check(&unusable, &published(), &["Ready=False: Invalid"]);
    assert!(status.conditions[0].message.contains("unknown field `colour`"));
    let mut contradictory = document();
    contradictory.spec.issuers.clear();
    check(&Declared { document: Ok(contradictory), ..declared() }, &published(), &["Ready=False: Invalid"]);
}

/// Invariant 20: that the store has forgotten something is said, as long as it could not be written again.
#[test]
fn what_the_store_has_lost_is_a_condition() {
    let lost = Known { lost: 3, ..published() };
    let status = check(&declared(), &lost, &["Ready=True: Published", "StoreDeleted=True: RevocationsLost"]);
    assert!(status.conditions[1].message.contains("lost 3 revocations"));
}

/// Invariant 20: that what held the revocations is gone is said, and nobody vouches for the list.
#[test]
fn what_is_gone_with_all_revocations_is_named() {
    for (holder, reason, named) in [
        (Holder::Definition, "DefinitionGone", "CustomResourceDefinition revocations.rescind.dev"),
        (Holder::Namespace, "NamespaceGone", "The namespace"),
    ] {
        let gone = Known { gone: Some(holder), lost: 3, unreadable: 1, ..published() };
        let condition = format!("StoreDeleted=True: {reason}");
        let status = check(&declared(), &gone, &["Ready=False: StoreDeleted", &condition]);
        assert!(status.conditions.iter().all(|condition| condition.message.contains(named)), "{status:?}");
    }
}

#[test]
fn a_condition_keeps_the_time_of_its_change() {
    let first = status(&declared(), &Known::default(), at(0));
    let list = |status: &TokenRevocationListStatus| Declared { status: json!(status), ..declared() };
    let later = status(&list(&first), &Known::default(), at(9));
    assert_eq!(later.conditions, first.conditions);
    let ready = status(&list(&later), &published(), at(20));
    assert_ne!(ready.conditions[0].last_transition_time, first.conditions[0].last_transition_time);
}

/// The version moves with every change of any list: a write for it alone would be one more change.
#[test]
fn the_version_alone_is_no_news() {
    let before = status(&declared(), &published(), at(0));
    let moved = Known { version: Some("1/6".to_owned()), ..published() };
    assert!(!is_news(&before, &status(&declared(), &moved, at(0))));
    let more = Known { subscribers: 5, ..published() };
    assert!(is_news(&before, &status(&declared(), &more, at(0))));
}

#[test]
fn a_status_that_is_not_understood_is_written_anew() {
    let list = Declared { status: json!({ "conditions": 7 }), ..declared() };
    assert_eq!(before(&list), TokenRevocationListStatus::default());
}

/// Invariant 20: what nobody can know any more, a condition says.
#[test]
fn that_the_store_went_back_is_told_for_a_month() {
    let told = |seconds| Known { went_back: Some(at(0).saturating_sub(seconds)), ..published() };
    let both = ["Ready=True: Published", "StoreWentBack=True: OlderCopy"];
    let status = check(&declared(), &told(60), &both);
    assert!(
        status.conditions[1].message.contains("On 2023-11-14T22:12:20Z"),
        "{}",
        status.conditions[1].message
    );
    check(&declared(), &told(WAY_BACK_SHOWN_SECONDS - 1), &both);
    check(&declared(), &told(WAY_BACK_SHOWN_SECONDS), &both[..1]);
}

/// The message of a condition, if it is among them.
fn message_of(known: &Known, type_: &str) -> Option<String> {
    let status = status(&declared(), known, at(0));
    let found = status.conditions.into_iter().find(|condition| condition.type_ == type_);
    found.map(|condition| condition.message)
}

#[test]
fn that_a_large_share_has_gone_is_told_from_a_fifth_and_from_a_number_on() {
    let told = |live, gone_lately| {
        message_of(&Known { live, gone_lately, ..published() }, "LargeShareGone").is_some()
    };
    assert_eq!(
        [(101, 25), (100, 25), (0, 25), (0, 24)].map(|(live, gone)| told(live, gone)),
        [false, true, true, false]
    );
    assert!(told(8_000, 2_000) && !told(8_001, 2_000));
    let known = Known { live: 60, gone_lately: 40, ..published() };
    let status =
        check(&declared(), &known, &["Ready=True: Published", "LargeShareGone=True: LiftedOrExpired"]);
    assert!(status.conditions[1].message.starts_with("40 of 100 revocations"), "{status:?}");
    // Nothing else has changed.
    assert_eq!((status.entries, status.subscribers), (Some(2), Some(4)));
}

#[test]
fn that_a_quota_is_nearly_used_up_is_told_without_a_count() {
    let with = |used| Known {
        quota: Some(Quota { name: "revocations".to_owned(), used, hard: 10_000 }),
        ..published()
    };
    assert_eq!(message_of(&with(7_999), "NearQuota"), None);
    let message = message_of(&with(8_000), "NearQuota").unwrap();
    assert!(message.contains("10000 objects") && message.contains("ResourceQuota revocations"), "{message}");
    // One revocation more is no write more.
    let [before, after] = [8_000, 8_001].map(|used| status(&declared(), &with(used), at(0)));
    assert!(!is_news(&before, &after));
}
