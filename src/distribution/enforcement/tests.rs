use super::*;
use crate::distribution::pump::moment;
use crate::revocation::list::tests::version;

/// W, for the lists of these tests.
const WINDOW_SECONDS: u64 = 10;

fn list() -> ListName {
    "shop".parse().unwrap()
}

fn sessions(predecessor: Predecessor) -> Sessions {
    let sessions = Sessions::new(predecessor);
    sessions.note_window(&list(), WINDOW_SECONDS * 1_000_000_000);
    sessions
}

/// A sidecar that follows the list since a second.
fn follower(sessions: &Sessions, instance: u128, since: u64) -> SessionId {
    let id = sessions.open("sidecar", instance, "one", moment(since));
    sessions.follow(id, &list()).unwrap();
    id
}

/// What a sidecar has that holds a version under the first declaration.
const fn in_use(version: Version) -> InUse {
    InUse { version, declaration: Some(Declaration { hash_key: 7, generation: 1 }) }
}

const fn progress(enforced: bool, subscribers: u32, applied: u32, away: u32) -> Progress {
    Progress { enforced, subscribers, applied, away }
}

/// How far version 5, which was observed in second 0, has come at a second.
fn check(sessions: &Sessions, seconds: u64, expected: Progress) {
    assert_eq!(sessions.progress(&list(), version(5), moment(0), moment(seconds)), expected);
}

#[test]
fn without_sidecars_a_version_is_enforced_at_once() {
    check(&sessions(Predecessor::None), 0, progress(true, 0, 0, 0));
}

/// A sidecar is counted before it can turn fresh.
#[test]
fn a_sidecar_counts_from_its_subscription_and_applies_by_acknowledging_the_version_or_a_later_one() {
    let sessions = sessions(Predecessor::None);
    let id = follower(&sessions, 1, 0);
    check(&sessions, 1, progress(false, 1, 0, 0));
    sessions.acknowledge(id, &list(), in_use(version(4)));
    check(&sessions, 1, progress(false, 1, 0, 0));
    sessions.acknowledge(id, &list(), in_use(version(5)));
    check(&sessions, 1, progress(true, 1, 1, 0));
    sessions.acknowledge(id, &list(), in_use(version(6)));
    check(&sessions, 1, progress(true, 1, 1, 0));
    let mut other_history = version(9);
    other_history.epoch.id ^= 1;
    sessions.acknowledge(id, &list(), in_use(other_history));
    check(&sessions, 1, progress(false, 1, 0, 0));
}

#[test]
fn what_a_session_does_not_follow_it_does_not_acknowledge() {
    let sessions = sessions(Predecessor::None);
    let id = sessions.open("sidecar", 1, "one", moment(0));
    sessions.acknowledge(id, &list(), in_use(version(4)));
    check(&sessions, 1, progress(true, 0, 0, 0));
    sessions.follow(id, &list()).unwrap();
    sessions.acknowledge(id, &list(), in_use(version(5)));
    sessions.follow(id, &list()).unwrap();
    check(&sessions, 1, progress(true, 1, 1, 0));
}

/// Invariant 1: a sidecar whose stream has ended may allow until W after its last ping.
#[test]
fn a_session_that_has_ended_counts_until_the_window_after_its_last_ping() {
    let sessions = sessions(Predecessor::None);
    let id = follower(&sessions, 1, 0);
    sessions.ping(id, moment(4));
    sessions.close(id, moment(5));
    assert_eq!(sessions.connected(), 0);
    let late = |seconds| sessions.progress(&list(), version(5), moment(13), moment(seconds));
    assert_eq!(late(14), progress(false, 1, 0, 0));
    assert_eq!(late(15), progress(true, 0, 0, 0));
}

#[test]
fn a_sidecar_that_says_goodbye_counts_no_more() {
    let sessions = sessions(Predecessor::None);
    let id = follower(&sessions, 1, 0);
    sessions.bye(id, &list());
    check(&sessions, 1, progress(true, 0, 0, 0));
    sessions.close(id, moment(1));
    assert_eq!(sessions.report(moment(1)), []);
}

/// An open stream that is silent is no better than one that ended.
#[test]
fn a_session_without_pings_is_away_after_the_window() {
    let sessions = sessions(Predecessor::None);
    let id = follower(&sessions, 1, 0);
    sessions.ping(id, moment(3));
    let late = |seconds| sessions.progress(&list(), version(5), moment(12), moment(seconds));
    assert_eq!(late(13), progress(false, 1, 0, 0));
    assert_eq!(late(14), progress(true, 1, 0, 1));
    sessions.ping(id, moment(15));
    assert_eq!(late(16), progress(false, 1, 0, 0));
}

/// Invariant 1: an earlier process may have told sidecars that they are fresh, of whom this one knows nothing.
#[test]
fn after_a_restart_nothing_is_enforced_before_the_window_is_over() {
    let sessions = sessions(Predecessor::Possible { started: moment(100) });
    let id = follower(&sessions, 1, 101);
    sessions.acknowledge(id, &list(), in_use(version(5)));
    let at = |seconds| sessions.progress(&list(), version(5), moment(105), moment(seconds));
    assert_eq!(at(110), progress(false, 1, 1, 0));
    assert_eq!(at(111), progress(true, 1, 1, 0));
}

/// The bound itself says so: whoever allows anything by then has a proof that includes the version.
#[test]
fn at_the_latest_a_version_is_enforced_when_the_window_after_it_was_observed_is_over() {
    let sessions = sessions(Predecessor::Possible { started: moment(5) });
    let id = follower(&sessions, 1, 0);
    (1..12).for_each(|second| sessions.ping(id, moment(second)));
    check(&sessions, 10, progress(false, 1, 0, 0));
    check(&sessions, 11, progress(true, 1, 0, 0));
}

/// A sidecar that reconnects is one sidecar, once the new stream has proven something to it.
#[test]
fn the_same_instance_is_superseded_by_its_new_session_after_a_proof() {
    let sessions = sessions(Predecessor::None);
    let old = follower(&sessions, 1, 0);
    let stranger = follower(&sessions, 2, 0);
    sessions.close(old, moment(1));
    sessions.close(stranger, moment(1));
    let new = follower(&sessions, 1, 1);
    sessions.acknowledge(new, &list(), in_use(version(5)));
    check(&sessions, 2, progress(false, 3, 1, 0));
    sessions.proven(new, &[list()]);
    check(&sessions, 2, progress(false, 2, 1, 0));
    sessions.proven(old, &[list()]);
    check(&sessions, 2, progress(false, 2, 1, 0));
}

/// Invariant 1: what a stream does not prove, the one before may still have made fresh.
#[test]
fn a_list_that_the_new_session_proves_nothing_of_stays_counted() {
    let sessions = sessions(Predecessor::None);
    let old = follower(&sessions, 1, 0);
    sessions.close(old, moment(1));
    let new = sessions.open("a-sidecar", 1, "one", moment(1));
    sessions.proven(new, &["apps/another".parse().unwrap()]);
    check(&sessions, 2, progress(false, 1, 0, 0));
    check(&sessions, 11, progress(true, 0, 0, 0));
}

/// Invariant 1: a sidecar that a list admits no more has been told lately that it is fresh.
#[test]
fn a_sidecar_that_may_follow_no_more_stays_counted_until_it_allows_nothing() {
    let sessions = sessions(Predecessor::None);
    let id = follower(&sessions, 1, 0);
    sessions.part(id, &list(), moment(1));
    check(&sessions, 2, progress(false, 1, 0, 0));
    sessions.proven(id, &[list()]);
    let new = follower(&sessions, 1, 3);
    sessions.acknowledge(new, &list(), in_use(version(5)));
    sessions.proven(new, &[list()]);
    check(&sessions, 4, progress(false, 2, 1, 0));
}

/// While both streams are open either may have made it fresh.
#[test]
fn a_session_that_is_still_open_is_not_superseded() {
    let sessions = sessions(Predecessor::None);
    let _old = follower(&sessions, 1, 0);
    let new = follower(&sessions, 1, 1);
    sessions.proven(new, &[list()]);
    check(&sessions, 2, progress(false, 2, 0, 0));
    assert_eq!(sessions.connected(), 2);
}

#[test]
fn sessions_of_all_replicas_count_and_are_reported() {
    let sessions = sessions(Predecessor::None);
    let one = follower(&sessions, 1, 0);
    let two = sessions.open("a-sidecar", 2, "two", moment(1));
    sessions.follow(two, &list()).unwrap();
    sessions.acknowledge(one, &list(), in_use(version(5)));
    check(&sessions, 2, progress(false, 2, 1, 0));
    sessions.close(two, moment(2));
    let report = |identity: &str, replica: &str, acknowledged, age_seconds: u64, connected| SessionReport {
        identity: identity.to_owned(),
        replica: replica.to_owned(),
        list: list(),
        acknowledged,
        last_ping_age_nanos: age_seconds * 1_000_000_000,
        connected,
    };
    let expected =
        [report("a-sidecar", "two", None, 2, false), report("sidecar", "one", Some(version(5)), 3, true)];
    assert_eq!(sessions.report(moment(3)), expected);
    assert_eq!(sessions.report(moment(60)), [report("sidecar", "one", Some(version(5)), 60, true)]);
}

/// A list of which nobody has told the bound: nothing may be concluded from the passing of time.
#[test]
fn without_a_known_window_only_acknowledgements_count() {
    let sessions = Sessions::new(Predecessor::None);
    let id = follower(&sessions, 1, 0);
    check(&sessions, 1_000_000, progress(false, 1, 0, 0));
    sessions.close(id, moment(1));
    check(&sessions, 1_000_000, progress(false, 1, 0, 0));
}

/// W is the largest under any declaration that a sidecar may still hold.
#[test]
fn a_window_never_shrinks() {
    let sessions = sessions(Predecessor::None);
    follower(&sessions, 1, 0);
    sessions.note_window(&list(), 1);
    check(&sessions, 10, progress(false, 1, 0, 0));
    sessions.note_window(&list(), 20_000_000_000);
    check(&sessions, 20, progress(false, 1, 0, 0));
    check(&sessions, 21, progress(true, 1, 0, 1));
}

/// Invariant 18: bounded memory, whoever comes and goes.
#[test]
fn sessions_that_are_over_are_forgotten() {
    let sessions = sessions(Predecessor::None);
    for second in 0..1000 {
        let id = follower(&sessions, second.into(), second);
        sessions.close(id, moment(second));
    }
    assert!(sessions.report(moment(1000)).len() <= 10);
    assert_eq!(sessions.report(moment(1011)), []);
}

#[test]
fn a_summary_counts_those_that_are_known_and_names_what_all_of_them_have() {
    let sessions = sessions(Predecessor::None);
    assert_eq!(sessions.summary(moment(0)), BTreeMap::new());
    let summary = |subscribers, connected, lowest| {
        BTreeMap::from([(list(), Summary { subscribers, connected, lowest })])
    };
    let one = follower(&sessions, 1, 0);
    assert_eq!(sessions.summary(moment(1)), summary(1, 1, None));
    let of = |hash_key, revision, generation| InUse {
        version: version(revision),
        declaration: Some(Declaration { hash_key, generation }),
    };
    let held = |revision, generation| of(7, revision, generation);
    sessions.acknowledge(one, &list(), held(7, 2));
    assert_eq!(sessions.summary(moment(1)), summary(1, 1, Some(held(7, 2))));
    let two = follower(&sessions, 2, 0);
    assert_eq!(sessions.summary(moment(1)), summary(2, 2, None));
    // Each of the two is behind in something.
    sessions.acknowledge(two, &list(), held(5, 3));
    assert_eq!(sessions.summary(moment(1)), summary(2, 2, Some(held(5, 2))));
    // Of two lists that had the same name, one after the other.
    sessions.acknowledge(two, &list(), of(8, 5, 3));
    let version_alone = InUse { version: version(5), declaration: None };
    assert_eq!(sessions.summary(moment(1)), summary(2, 2, Some(version_alone)));
    sessions.acknowledge(two, &list(), held(5, 3));
    sessions.bye(one, &list());
    assert_eq!(sessions.summary(moment(1)), summary(1, 1, Some(held(5, 3))));
}

/// Invariant 1: a session that has ended goes on being counted by what it had, for its sidecar may go on allowing.
#[test]
fn a_summary_has_those_that_have_ended_until_the_window_after_their_last_ping() {
    let sessions = sessions(Predecessor::None);
    let id = follower(&sessions, 1, 0);
    sessions.acknowledge(id, &list(), in_use(version(4)));
    sessions.ping(id, moment(3));
    sessions.close(id, moment(4));
    let ended = Summary { subscribers: 1, connected: 0, lowest: Some(in_use(version(4))) };
    assert_eq!(sessions.summary(moment(13)), BTreeMap::from([(list(), ended)]));
    assert_eq!(sessions.summary(moment(14)), BTreeMap::new());
}

/// Two histories with one counter are not ordered: of such two sidecars nothing is what both have.
#[test]
fn a_summary_names_nothing_where_two_histories_meet() {
    let sessions = sessions(Predecessor::None);
    let (one, two) = (follower(&sessions, 1, 0), follower(&sessions, 2, 0));
    let mut other_history = version(9);
    other_history.epoch.id ^= 1;
    sessions.acknowledge(one, &list(), in_use(version(9)));
    sessions.acknowledge(two, &list(), in_use(other_history));
    let of_both = Summary { subscribers: 2, connected: 2, lowest: None };
    assert_eq!(sessions.summary(moment(1)), BTreeMap::from([(list(), of_both)]));
}
