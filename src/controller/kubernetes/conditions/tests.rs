use super::*;
use crate::api::compile::tests::config;
use crate::api::token_revocation_list::ConditionStatus::{False, True, Unknown};
use crate::distribution::pump::moment;
use crate::revocation::names::RecordId;
use crate::revocation::record::RevocationSpec;
use crate::revocation::version::{Epoch, Revisions, Version};
use crate::store::contract::{list, subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// When the object was made, and when its status is written for the first time.
const CREATED: u64 = 1_700_000_000;
const APPLIED: Progress = Progress { enforced: true, subscribers: 2, applied: 2, away: 0 };

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds).unwrap()
}

pub(in crate::controller::kubernetes) fn mirrored(spec: RevocationSpec) -> MirroredRevocation {
    let version = Version {
        epoch: Epoch { counter: 1, id: 7 },
        // That of a write of the status.
        revisions: Revisions { revocations: 30, segments: 0 },
    };
    let revocation = Revocation {
        id: RecordId(1),
        list: list(),
        name: "ticket-4711".to_owned(),
        spec,
        created: at(CREATED),
        reason: None,
        message: None,
        version,
    };
    MirroredRevocation {
        list: list(),
        metadata: ObjectMeta { generation: Some(1), ..ObjectMeta::default() },
        read: Ok(Box::new(revocation)),
        expired: false,
        status: RevocationStatus::default(),
        first_seen: (20, moment(0)),
    }
}

/// Writes the status, and returns the object as it is then.
fn written(
    mut object: MirroredRevocation,
    list: Option<&ListConfig>,
    progress: Option<Progress>,
    seconds: u64,
) -> MirroredRevocation {
    object.status = status(&object, list, progress.map(|progress| (progress, 240)), at(CREATED + seconds));
    object
}

/// The conditions: type, status, reason, and how long after the creation it last changed.
fn conditions_of(object: &MirroredRevocation) -> Vec<(&str, ConditionStatus, &str, u64)> {
    let seconds = |condition: &Condition| {
        let time = target::read_time(&condition.last_transition_time).unwrap();
        time.get() - CREATED
    };
    let conditions = object.status.conditions.iter();
    let shown = conditions.map(|condition| {
        let Condition { type_, status, reason, .. } = condition;
        (type_.as_str(), *status, reason.as_str(), seconds(condition))
    });
    shown.collect()
}

#[test]
fn a_revocation_is_accepted_then_enforced_and_each_condition_keeps_the_time_of_its_change() {
    let config = config();
    let applying = Progress { enforced: false, applied: 1, ..APPLIED };
    let first = written(mirrored(subject("alice")), Some(&config), Some(applying), 1);
    let accepted = ("Accepted", True, "Declared", 1);
    assert_eq!(
        conditions_of(&first),
        [accepted, ("Enforced", False, "Applying", 1), ("Ready", False, "Applying", 1)]
    );
    let done = written(first, Some(&config), Some(APPLIED), 3);
    assert_eq!(
        conditions_of(&done),
        [accepted, ("Enforced", True, "AllApplied", 3), ("Ready", True, "AllApplied", 3)]
    );
    let again = written(done.clone(), Some(&config), Some(APPLIED), 9);
    assert_eq!(again.status, done.status);
}

#[test]
fn the_status_says_what_follows_from_the_declaration() {
    let written = written(mirrored(subject("alice")), Some(&config()), Some(APPLIED), 1);
    let status = written.status;
    assert_eq!(status.target.as_deref(), Some("subject alice"));
    assert_eq!(status.cutoff, Some(target::write_time(at(CREATED))));
    // The cutoff, the skew of a second, and the next second.
    assert_eq!(status.admits_from, Some(target::write_time(at(CREATED + 2))));
    assert!(status.expires_at > Some(target::write_time(at(CREATED + 3600))));
    let counts = EnforcementCounts { subscribers: 2, applied: 2, away: 0, elapsed_milliseconds: 240 };
    assert_eq!(status.enforcement, Some(counts));
}

/// A write of the status moves the object's revision, and not the version at which it revokes.
#[test]
fn the_version_is_that_at_which_the_object_was_first_seen() {
    let first = written(mirrored(subject("alice")), Some(&config()), None, 1);
    assert_eq!(first.status.version.as_deref(), Some("1/20"));
    let later = MirroredRevocation { first_seen: (31, moment(9)), ..first };
    assert_eq!(written(later, Some(&config()), None, 2).status.version.as_deref(), Some("1/20"));
}

#[test]
fn every_condition_names_the_generation_that_it_is_about() {
    let mut object = mirrored(subject("alice"));
    object.metadata.generation = Some(4);
    let object = written(object, Some(&config()), Some(APPLIED), 1);
    let generations: Vec<_> = object.status.conditions.iter().map(|c| c.observed_generation).collect();
    assert_eq!(generations, [Some(4); 3]);
}

fn check_refused(object: MirroredRevocation, list: Option<&ListConfig>, reason: &str, says: &str) {
    let object = written(object, list, Some(APPLIED), 1);
    let not_accepted = |type_| (type_, False, "NotAccepted", 1);
    assert_eq!(
        conditions_of(&object),
        [("Accepted", False, reason, 1), not_accepted("Enforced"), not_accepted("Ready")]
    );
    let message = &object.status.conditions[0].message;
    assert!(message.contains(says), "{message}");
}

#[test]
fn what_has_no_effect_says_why() {
    let mut unreadable = mirrored(subject("alice"));
    unreadable.read = Err("unknown field `colour`".to_owned());
    check_refused(unreadable, Some(&config()), "Unreadable", "unknown field `colour`");
    check_refused(mirrored(subject("alice")), None, "UnknownList", "default/shop");
    let mut foreign = subject("alice");
    "https://other.example.com".clone_into(&mut foreign.target.issuer);
    check_refused(
        mirrored(foreign),
        Some(&config()),
        "Undeclared",
        "spec.issuer: is not declared by list default/shop",
    );
}

#[test]
fn what_is_accepted_later_is_enforced_later() {
    let config = config();
    let refused = written(mirrored(subject("alice")), None, None, 1);
    let accepted = written(refused, Some(&config), Some(APPLIED), 5);
    assert_eq!(
        conditions_of(&accepted),
        [
            ("Accepted", True, "Declared", 5),
            ("Enforced", True, "AllApplied", 5),
            ("Ready", True, "AllApplied", 5)
        ]
    );
}

/// What every sidecar knows, none forgets; and a sidecar that comes later gets everything before it turns fresh.
#[test]
fn enforced_stays_true_when_sidecars_come_and_when_nothing_is_known_of_them() {
    let config = config();
    let done = written(mirrored(subject("alice")), Some(&config), Some(APPLIED), 1);
    let more = Progress { enforced: false, subscribers: 3, ..APPLIED };
    for progress in [Some(more), None] {
        let later = written(done.clone(), Some(&config), progress, 9);
        assert_eq!(conditions_of(&later), conditions_of(&done));
        assert_eq!(later.status.conditions[1].message, done.status.conditions[1].message);
    }
}

#[test]
fn who_is_away_is_named_and_the_bound_alone_is_another_reason() {
    let config = config();
    let message = |progress| {
        let object = written(mirrored(subject("alice")), Some(&config), Some(progress), 1);
        let Condition { reason, message, .. } = object.status.conditions[1].clone();
        format!("{reason}: {message}")
    };
    assert_eq!(
        message(Progress { applied: 1, away: 1, ..APPLIED }),
        "AllApplied: 1 of 2 sidecars have it in use, 1 are away and allow nothing."
    );
    assert_eq!(
        message(Progress { applied: 1, ..APPLIED }),
        "BoundIsOver: 1 of 2 sidecars have it in use; whoever has not allows nothing any more."
    );
}

#[test]
fn what_has_expired_is_ready_and_keeps_what_was_said_before() {
    let config = config();
    let mut object = written(mirrored(subject("alice")), Some(&config), Some(APPLIED), 1);
    object.expired = true;
    object.read = Err("it has expired".to_owned());
    let over = written(object, Some(&config), None, 9);
    let expected = [
        ("Accepted", True, "Declared", 1),
        ("Enforced", True, "AllApplied", 1),
        // It was ready before, too.
        ("Ready", True, "NothingLeftToDeny", 1),
        ("Expired", True, "NothingLeftToDeny", 9),
    ];
    assert_eq!(conditions_of(&over), expected);
    assert_eq!(conditions_of(&written(over, Some(&config), None, 20)), expected);
}

/// The schema's defaults are no statements of a controller: their time is not kept.
#[test]
fn a_default_of_the_schema_is_replaced() {
    let mut object = mirrored(subject("alice"));
    object.status = serde_json::from_str("{}").unwrap();
    assert!(object.status.conditions.iter().all(|condition| condition.status == Unknown));
    let object = written(object, Some(&config()), Some(APPLIED), 2);
    assert_eq!(conditions_of(&object).len(), 3);
    assert!(conditions_of(&object).iter().all(|(_, status, _, seconds)| (*status, *seconds) == (True, 2)));
}

#[test]
fn a_message_is_cut_to_what_the_schema_takes() {
    let mut object = mirrored(subject("alice"));
    object.read = Err("ü".repeat(5000));
    let object = written(object, Some(&config()), None, 1);
    assert_eq!(object.status.conditions[0].message.chars().count(), MAX_MESSAGE);
}
