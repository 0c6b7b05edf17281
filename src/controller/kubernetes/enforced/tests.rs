use super::*;
use crate::api::revocation::ListReport;
use crate::distribution::pump::moment;
use crate::revocation::version::{Epoch, Revisions};

/// W, for the list of these tests.
const WINDOW_SECONDS: u64 = 10;
/// When the history began: so long ago that no sidecar of one before allows anything.
const SINCE: u64 = 1;
/// When the revocation was observed, at revision 5.
const OBSERVED: u64 = 100;
/// The name of the list's hash key.
const HASH_KEY: &str = "00000000000000aa";
/// The declaration that has to be in force.
const GENERATION: i64 = 3;

fn version(counter: u64, revision: u64) -> Version {
    let epoch = Epoch { counter, id: 7 };
    Version { epoch, revisions: Revisions { revocations: revision, segments: 0 } }
}

fn needed() -> Needed {
    let list = "shop".parse().unwrap();
    let (hash_key, observed) = (Some(HASH_KEY.to_owned()), moment(OBSERVED));
    Needed { list, version: version(1, 5), generation: GENERATION, hash_key, observed }
}

/// What one replica reports: sidecars, and what all of them have at least.
fn of_list(subscribers: i64, lowest: Option<&str>, generation: Option<i64>) -> ListReport {
    let list = needed().list;
    ListReport {
        namespace: list.namespace().to_owned(),
        name: list.name().to_owned(),
        subscribers,
        connected: subscribers,
        lowest: lowest.map(ToOwned::to_owned),
        generation,
        hash_key: generation.map(|_| HASH_KEY.to_owned()),
    }
}

fn report(list: ListReport, changed: u64) -> MirroredReport {
    MirroredReport { lists: vec![list], changed: moment(changed), objects: BTreeMap::new() }
}

/// W, by a look that began at this second.
fn window(as_of: u64) -> Window {
    Window { nanos: WINDOW_SECONDS * 1_000_000_000, as_of: moment(as_of) }
}

fn progress_at(reports: &[MirroredReport], since: u64, seconds: u64) -> Progress {
    let by_replica = (0..).zip(reports).map(|(n, report)| (format!("{n:016x}"), report.clone())).collect();
    let reports = Reports { by_replica: &by_replica, since: moment(since) };
    progress(&needed(), reports, window(seconds), moment(seconds))
}

/// How far the revocation has come a second after it was observed.
fn check(reports: &[MirroredReport], expected: Progress) {
    assert_eq!(progress_at(reports, SINCE, OBSERVED + 1), expected);
}

const fn told(enforced: bool, subscribers: u32, applied: u32, away: u32) -> Progress {
    Progress { enforced, subscribers, applied, away }
}

#[test]
fn without_reports_a_revocation_is_enforced_at_once() {
    check(&[], told(true, 0, 0, 0));
}

#[test]
fn it_is_enforced_when_the_sidecars_of_every_replica_have_it() {
    let has = report(of_list(2, Some("1/5"), Some(GENERATION)), OBSERVED);
    let has_not = report(of_list(3, Some("1/4"), Some(GENERATION)), OBSERVED);
    let later = report(of_list(3, Some("1/9"), Some(GENERATION + 1)), OBSERVED);
    check(&[has.clone(), has_not], told(false, 5, 2, 0));
    check(&[has, later], told(true, 5, 5, 0));
}

#[test]
fn other_lists_do_not_count() {
    let mut other = of_list(3, None, None);
    "other".clone_into(&mut other.name);
    let mut elsewhere = of_list(3, None, None);
    "elsewhere".clone_into(&mut elsewhere.namespace);
    check(&[report(other, OBSERVED), report(elsewhere, OBSERVED)], told(true, 0, 0, 0));
}

/// Invariant 1: a sidecar whose session has ended may allow until W after its last ping, so its replica goes on
/// counting it by what it had.
#[test]
fn a_session_that_has_ended_counts_as_long_as_a_report_has_it() {
    let ended = ListReport { connected: 0, ..of_list(1, Some("1/4"), Some(GENERATION)) };
    check(&[report(ended, OBSERVED)], told(false, 1, 0, 0));
}

/// Invariant 1: a container that is started again bears the name of the one before, not its number: what the one
/// before had told its sidecars is not undone by a report without sidecars.
#[test]
fn a_replica_that_is_started_again_does_not_take_its_predecessors_report_away() {
    let before = report(of_list(2, Some("1/4"), Some(GENERATION)), OBSERVED - 2);
    let again = report(of_list(1, Some("1/5"), Some(GENERATION)), OBSERVED);
    check(&[before, again], told(false, 3, 1, 0));
}

/// Invariant 1: whom a replica that is gone had told to be fresh may allow until W after its last sign of life.
#[test]
fn a_replica_that_is_gone_counts_until_the_window_after_its_report_was_last_seen_to_change() {
    let gone = [report(of_list(2, Some("1/4"), Some(GENERATION)), OBSERVED - 3)];
    let at = |seconds| progress_at(&gone, SINCE, seconds);
    assert_eq!(at(OBSERVED - 3 + WINDOW_SECONDS), told(false, 2, 0, 0));
    assert_eq!(at(OBSERVED - 3 + WINDOW_SECONDS + 1), told(true, 2, 0, 2));
}

/// Invariant 1: a leader that has just come to be, or that stood still, counts from when it observed the object
/// itself, and not from when others may have.
#[test]
fn the_window_counts_from_when_this_process_observed_the_revocation() {
    let behind = [report(of_list(1, Some("1/4"), Some(GENERATION)), OBSERVED + WINDOW_SECONDS)];
    let at = |seconds| progress_at(&behind, SINCE, seconds);
    assert_eq!(at(OBSERVED + WINDOW_SECONDS), told(false, 1, 0, 0));
    assert_eq!(at(OBSERVED + WINDOW_SECONDS + 1), told(true, 1, 0, 0));
}

/// Invariant 1: the list's bound may have been raised just before the revocation, and a sidecar that does not know of the
/// one may know of the other.
#[test]
fn nobody_is_taken_for_stale_by_a_look_from_before_the_revocation() {
    let silent = BTreeMap::from([(
        "00000000000000aa".to_owned(),
        report(of_list(1, Some("1/4"), Some(GENERATION)), OBSERVED),
    )]);
    let reports = Reports { by_replica: &silent, since: moment(SINCE) };
    let late = moment(OBSERVED + WINDOW_SECONDS + 1);
    assert_eq!(progress(&needed(), reports, window(OBSERVED), late), told(false, 1, 0, 0));
    assert_eq!(progress(&needed(), reports, window(OBSERVED + 1), late), told(true, 1, 0, 1));
    // Where all are counted, and have it, no window is needed; unless the history is young.
    let applied = BTreeMap::from([(
        "00000000000000aa".to_owned(),
        report(of_list(1, Some("1/5"), Some(GENERATION)), OBSERVED),
    )]);
    let reports = |since| Reports { by_replica: &applied, since: moment(since) };
    assert!(progress(&needed(), reports(SINCE), window(SINCE + 1), moment(OBSERVED)).enforced);
    assert!(!progress(&needed(), reports(SINCE), window(SINCE), moment(OBSERVED)).enforced);
}

/// Invariant 1: a heartbeat that comes late is a sign of life of that moment.
#[test]
fn a_late_heartbeat_makes_a_replica_that_was_taken_for_gone_count_again() {
    let at = OBSERVED + 1;
    let silent = report(of_list(1, Some("1/4"), Some(GENERATION)), at - WINDOW_SECONDS - 1);
    assert_eq!(progress_at(std::slice::from_ref(&silent), SINCE, at), told(true, 1, 0, 1));
    let late = MirroredReport { changed: moment(at), ..silent };
    assert_eq!(progress_at(&[late], SINCE, at), told(false, 1, 0, 0));
}

/// Invariant 1: a report from before a sidecar was there does not speak for it. One that has nothing in use yet makes
/// the lowest of its replica absent.
#[test]
fn a_report_in_which_somebody_has_nothing_yet_is_not_enough() {
    check(&[report(of_list(4, None, None), OBSERVED)], told(false, 4, 0, 0));
    check(&[report(of_list(4, None, Some(GENERATION)), OBSERVED)], told(false, 4, 0, 0));
}

/// Invariant 1: a sidecar under an older declaration may not look up what is revoked by a selector of the newer one.
#[test]
fn a_sidecar_that_has_not_adopted_the_declaration_has_not_applied_it() {
    check(&[report(of_list(1, Some("1/5"), Some(GENERATION - 1)), OBSERVED)], told(false, 1, 0, 0));
    check(&[report(of_list(1, Some("1/5"), None), OBSERVED)], told(false, 1, 0, 0));
}

/// Invariant 1: a list that was deleted and declared anew counts from one again, and a sidecar may still go by the one before.
#[test]
fn a_declaration_of_another_list_of_the_same_name_does_not_count() {
    let of_this = of_list(1, Some("1/5"), Some(GENERATION));
    check(&[report(of_this.clone(), OBSERVED)], told(true, 1, 1, 0));
    for hash_key in [None, Some("00000000000000bb".to_owned())] {
        check(&[report(ListReport { hash_key, ..of_this.clone() }, OBSERVED)], told(false, 1, 0, 0));
    }
    let unknown = Needed { hash_key: None, ..needed() };
    let none = ListReport { hash_key: None, ..of_this };
    let by_replica = BTreeMap::from([("00000000000000aa".to_owned(), report(none, OBSERVED))]);
    let reports = Reports { by_replica: &by_replica, since: moment(SINCE) };
    assert_eq!(progress(&unknown, reports, window(OBSERVED), moment(OBSERVED)), told(false, 1, 0, 0));
}

#[test]
fn a_version_of_an_earlier_history_is_not_enough_and_of_a_later_one_it_is() {
    let needed_in = |counter, lowest| {
        let needed = Needed { version: version(counter, 5), ..needed() };
        let by_replica = BTreeMap::from([(
            "00000000000000aa".to_owned(),
            report(of_list(1, Some(lowest), Some(GENERATION)), OBSERVED),
        )]);
        let reports = Reports { by_replica: &by_replica, since: moment(SINCE) };
        progress(&needed, reports, window(OBSERVED), moment(OBSERVED + 1)).enforced
    };
    assert!(!needed_in(2, "1/9"));
    assert!(needed_in(2, "2/5"));
    assert!(needed_in(2, "3/1"));
    assert!(!needed_in(2, "garbage"));
}

/// Invariant 1: a store that was made anew, or that is an older copy, has lost reports of sidecars that still allow.
#[test]
fn a_history_that_is_younger_than_the_window_says_nothing_of_who_is_in_no_report() {
    let has = [report(of_list(1, Some("1/5"), Some(GENERATION)), OBSERVED)];
    let at = OBSERVED + 1;
    for reports in [&[][..], &has] {
        assert!(!progress_at(reports, at - WINDOW_SECONDS, at).enforced);
        assert!(progress_at(reports, at - WINDOW_SECONDS - 1, at).enforced);
    }
}
