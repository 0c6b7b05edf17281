use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds).unwrap()
}

fn date(seconds: u64, nanos: u32) -> NumericDate {
    NumericDate::new(at(seconds), nanos).unwrap()
}

fn issued(time: NumericDate) -> TokenTimes {
    TokenTimes { issued: Some(time), session_started: Some(date(0, 0)) }
}

/// Invariant 17: cutoffs are exact at the boundary.
#[test]
fn a_cutoff_is_inclusive_to_the_last_nanosecond_of_its_last_second() {
    let rows = Rows { issued: Some(at(1000)), ..Rows::default() };
    assert_eq!(rows.denies(issued(date(1000, 0)), 0), Some(RowKind::Issued));
    assert_eq!(rows.denies(issued(date(1000, 999_999_999)), 0), Some(RowKind::Issued));
    assert_eq!(rows.denies(issued(date(1001, 0)), 0), None);
    assert_eq!(rows.denies(issued(date(1001, 999_999_999)), 1), Some(RowKind::Issued));
    assert_eq!(rows.denies(issued(date(1002, 0)), 1), None);
    assert_eq!(admits_from(at(1000), 1), at(1002));
}

/// Invariant 17: cutoffs are exact at the boundary.
#[test]
fn a_cutoff_at_the_end_of_time_reaches_every_token() {
    let rows = Rows { issued: Some(UnixSeconds::MAX), ..Rows::default() };
    let last = NumericDate::new(UnixSeconds::MAX, 999_999_999).unwrap();
    assert_eq!(rows.denies(issued(last), u64::MAX), Some(RowKind::Issued));
}

/// Failure 22: a renewed token does not escape a cutoff that is compared with the session's start.
#[test]
fn a_session_cutoff_ignores_the_issue_time_of_a_renewed_token() {
    let rows = Rows { session_started: Some(at(1000)), ..Rows::default() };
    let renewed = TokenTimes { issued: Some(date(9000, 0)), session_started: Some(date(900, 0)) };
    assert_eq!(rows.denies(renewed, 0), Some(RowKind::SessionStarted));
    let later = TokenTimes { session_started: Some(date(1001, 0)), ..renewed };
    assert_eq!(rows.denies(later, 0), None);
}

#[test]
fn a_token_without_the_needed_time_matches() {
    let none = TokenTimes::default();
    assert!(Rows { issued: Some(at(1)), ..Rows::default() }.denies(none, 0).is_some());
    assert!(Rows { session_started: Some(at(1)), ..Rows::default() }.denies(none, 0).is_some());
    assert_eq!(Rows::default().denies(none, 0), None);
}

#[test]
fn rows_take_24_bytes() {
    assert_eq!(size_of::<Rows>(), 24);
}

pub(crate) fn any_rows() -> impl Strategy<Value = Rows> {
    let time = || proptest::option::of((0u64..5000).prop_map(at));
    let end = proptest::option::of(prop_oneof![Just(End::NEVER), (0u64..5000).prop_map(|s| End::at(at(s)))]);
    (end, time(), time()).prop_map(|(always, issued, session_started)| Rows {
        always,
        issued,
        session_started,
    })
}

proptest! {
    /// Invariant 16, failure 8: revoking twice keeps the later cutoff and end of each kind.
    #[test]
    fn combining_is_commutative_associative_and_idempotent(a in any_rows(), b in any_rows(), c in any_rows()) {
        prop_assert_eq!(a.combine(b), b.combine(a));
        prop_assert_eq!(a.combine(b).combine(c), a.combine(b.combine(c)));
        prop_assert_eq!(a.combine(a), a);
    }

    /// Invariant 16: nothing that one record denies is allowed after another joins it.
    #[test]
    fn combining_never_lets_a_denied_token_pass(a in any_rows(), b in any_rows(), iat in 0u64..5000, start in 0u64..5000) {
        let times = TokenTimes { issued: Some(date(iat, 0)), session_started: Some(date(start, 0)) };
        let either = a.denies(times, 1).is_some() || b.denies(times, 1).is_some();
        prop_assert_eq!(a.combine(b).denies(times, 1).is_some(), either);
    }
}
