use proptest::prelude::*;

use super::*;
use crate::revocation::row::{End, RowKind, TokenTimes};
use crate::revocation::state::tests::{HASH_KEY, any_step};
use crate::revocation::state::{State, Step};
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::{Epoch, Revisions};

pub(crate) fn version(revocations: u64) -> Version {
    Version { epoch: Epoch { counter: 1, id: 7 }, revisions: Revisions { revocations, segments: 0 } }
}

fn key(n: u64) -> Key {
    let spread = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Key::from_bytes(spread.to_le_bytes())
}

fn always() -> Rows {
    Rows { always: Some(End::NEVER), ..Rows::default() }
}

fn snapshot(version: Version, keys: impl Iterator<Item = u64>) -> Snapshot {
    let mut entries: Vec<_> = keys.map(|n| (key(n), always())).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let filter = Prefilter::build(&HASH_KEY, entries.iter().map(|(key, _)| *key)).to_bytes();
    Snapshot { version, digest: digest_of(&HASH_KEY, &entries), entries, filter }
}

fn delta(list: &RevocationList, to: u64, changes: &[(u64, Rows)]) -> Delta {
    let mut difference = Difference::default();
    changes.iter().for_each(|(n, rows)| difference.put(key(*n), *rows));
    let digest = digest_after(list.digest(), &HASH_KEY, &difference, |key| list.exact(key));
    Delta { from: list.version(), to: version(to), difference, digest }
}

fn list(keys: u64) -> RevocationList {
    RevocationList::from_snapshot(HASH_KEY, &snapshot(version(1), 0..keys)).unwrap()
}

/// Invariant 6: no gap.
#[test]
fn a_delta_that_does_not_start_at_the_last_change_is_refused() {
    let list = list(3);
    let gap = Delta { from: version(2), ..delta(&list, 4, &[(9, always())]) };
    assert_eq!(list.apply(&gap).unwrap_err(), ListError::Gap { delta_from: version(2), held: version(1) });
}

/// Invariant 5: a sidecar's version never goes back.
#[test]
fn neither_a_delta_nor_a_snapshot_takes_a_list_back() {
    let list = list(3);
    let same = delta(&list, 1, &[(9, always())]);
    assert_eq!(
        list.apply(&same).unwrap_err(),
        ListError::Backwards { offered: version(1), held: version(1) }
    );
    let list = list.apply(&delta(&list, 5, &[(9, always())])).unwrap();
    let old = snapshot(version(4), 0..3);
    assert_eq!(
        list.replace(HASH_KEY, &old).unwrap_err(),
        ListError::Backwards { offered: version(4), held: version(5) }
    );
    let mut other_history = snapshot(version(9), 0..3);
    other_history.version.epoch.id = 8;
    assert!(matches!(list.replace(HASH_KEY, &other_history), Err(ListError::Backwards { .. })));
}

/// Invariant 14: a flipped bit is found.
#[test]
fn a_row_that_differs_from_the_publishers_is_found_by_the_digest() {
    let list = list(3);
    let mut flipped = delta(&list, 2, &[(9, always())]);
    flipped.difference.put(key(10), always());
    assert!(matches!(list.apply(&flipped), Err(ListError::DigestMismatch { .. })));
    let mut snapshot = snapshot(version(1), 0..3);
    snapshot.entries[1].1.issued = Some(crate::revocation::time::UnixSeconds::MIN);
    let refused = RevocationList::from_snapshot(HASH_KEY, &snapshot);
    assert!(matches!(refused, Err(ListError::DigestMismatch { .. })));
}

#[test]
fn a_snapshot_with_a_malformed_entry_is_refused_as_a_whole() {
    let mut unordered = snapshot(version(1), 0..3);
    unordered.entries.swap(0, 1);
    let refused = RevocationList::from_snapshot(HASH_KEY, &unordered).unwrap_err();
    assert_eq!(refused, ListError::MalformedEntry { index: 1 });
    let mut empty = snapshot(version(1), 0..3);
    empty.entries[2].1 = Rows::default();
    let refused = RevocationList::from_snapshot(HASH_KEY, &empty).unwrap_err();
    assert_eq!(refused, ListError::MalformedEntry { index: 2 });
}

/// Invariant 10: a filter with a false negative never comes into use.
#[test]
fn a_filter_that_misses_an_entry_is_refused() {
    let mut snapshot = snapshot(version(1), 0..3);
    snapshot.filter = Prefilter::with_capacity(&HASH_KEY, 3).to_bytes();
    let refused = RevocationList::from_snapshot(HASH_KEY, &snapshot).unwrap_err();
    assert_eq!(refused, ListError::FilterMisses { index: 0 });
}

/// Invariant 9: a false positive never denies.
#[test]
fn a_hit_in_the_filter_alone_is_no_row() {
    let list = list(1000);
    let found: Vec<Found> = (1000..60_000).map(|n| list.find(key(n))).collect();
    assert!(found.contains(&Found::FalsePositive), "the sample has false positives");
    assert!(!found.iter().any(|found| matches!(found, Found::Rows(_))));
}

/// Invariant 10: also after the filter has grown.
#[test]
fn the_filter_grows_with_the_list_and_misses_nothing() {
    let mut list = list(1);
    for round in 0..8 {
        let changes: Vec<_> = (0..700).map(|n| (round * 700 + n, always())).collect();
        list = list.apply(&delta(&list, round + 2, &changes)).unwrap();
    }
    assert_eq!(list.len(), 5600);
    assert!(list.base.filter.capacity() >= 4200, "{}", list.base.filter.capacity());
    assert!((0..5600).all(|n| list.find(key(n)) == Found::Rows(always())));
}

/// Invariant 20, and 4: what an old epoch denied stays denied until it is lifted in the new one.
#[test]
fn a_new_epoch_keeps_what_the_old_one_denied() {
    let list = list(3);
    let mut new = snapshot(version(1), 10..12);
    new.version.epoch = Epoch { counter: 2, id: 9 };
    let list = list.replace(HASH_KEY, &new).unwrap();
    assert_eq!(list.digest(), new.digest);
    assert_eq!(list.len(), 2);
    assert_eq!(list.find(key(1)), Found::Rows(always()));
    let put = |list: &RevocationList, revision, rows| {
        let mut delta = delta(list, revision, &[(1, rows)]);
        delta.to.epoch = new.version.epoch;
        list.apply(&delta).unwrap()
    };
    let list = put(&list, 2, always());
    let list = put(&list, 3, Rows::default());
    assert_eq!(list.find(key(1)), Found::Nothing);
    assert_eq!(list.find(key(2)), Found::Rows(always()));
}

/// Invariant 4, and 20: a removal may be an expiry, and ends only what it covers.
#[test]
fn what_expires_in_a_new_epoch_takes_no_ban_of_the_old_one_with_it() {
    let mut new = snapshot(version(1), 10..12);
    new.version.epoch = Epoch { counter: 2, id: 9 };
    let list = list(3).replace(HASH_KEY, &new).unwrap();
    let put = |list: &RevocationList, revision, rows| {
        let mut delta = delta(list, revision, &[(1, rows)]);
        delta.to.epoch = new.version.epoch;
        list.apply(&delta).unwrap()
    };
    let at = |seconds| UnixSeconds::new(seconds).unwrap();
    let cutoff = Rows { issued: Some(at(5)), ..Rows::default() };
    let ended = Rows { always: Some(End::at(at(9))), ..Rows::default() };
    let list = put(&put(&list, 2, cutoff), 3, Rows::default());
    assert_eq!(list.find(key(1)), Found::Rows(always()));
    let list = put(&put(&list, 4, ended), 5, Rows::default());
    assert_eq!(list.find(key(1)), Found::Rows(always()));
}

#[test]
fn what_is_written_to_the_disk_reads_back() {
    let list = list(50);
    let list = list.apply(&delta(&list, 2, &[(3, Rows::default()), (99, always())])).unwrap();
    let read = RevocationList::from_snapshot(HASH_KEY, &list.snapshot()).unwrap();
    assert_eq!(read.find(key(3)), Found::Nothing);
    assert_eq!(read.find(key(99)), Found::Rows(always()));
    assert_eq!((read.len(), read.digest(), read.version()), (50, list.digest(), list.version()));
}

proptest! {
    /// Invariant 6, and rows 2, 3 and 10 of the regression list: a snapshot is the fold of all deltas, and a
    /// subscriber that resumes from any point over any longer delta ends at the same list.
    #[test]
    fn snapshot_and_deltas_lead_to_the_same_list(
        steps in proptest::collection::vec(any_step(), 1..60),
        start in 0usize..60,
        chunk in 1usize..7,
    ) {
        let start = start.min(steps.len());
        let mut state = State::of(HASH_KEY, []);
        steps.iter().take(start).for_each(|step| { state.apply(*step); });
        let mut list = RevocationList::from_snapshot(HASH_KEY, &state.snapshot(version(0))).unwrap();
        for (n, steps) in steps.get(start..).unwrap().chunks(chunk).enumerate() {
            let difference = steps.iter().fold(Difference::default(), |sum, step| sum.then(&state.apply(*step)));
            let to = version(n as u64 + 1);
            list = list.apply(&Delta { from: list.version(), to, difference, digest: state.digest() }).unwrap();
            prop_assert_eq!(list.len(), state.key_count());
        }
        prop_assert_eq!(list.snapshot(), state.snapshot(list.version()));
    }

    /// Invariant 4: once denied, never allowed again but by a lift.
    #[test]
    fn no_delta_without_a_removal_lets_a_denied_token_pass(steps in proptest::collection::vec(any_step(), 1..40)) {
        let mut state = State::new(HASH_KEY);
        let mut denied = Vec::<Key>::new();
        let late = TokenTimes { issued: None, session_started: None };
        for step in &steps {
            // Replacing a record may shrink it (an author who lifts and revokes anew); only new ones count here.
            let new = matches!(step, Step::Put(record) if state.record(record.id).is_none());
            if !new {
                continue;
            }
            let changed = state.apply(*step);
            denied.extend(changed.iter().map(|(key, _)| key));
            for key in &denied {
                let kind: Option<RowKind> = state.rows(*key).and_then(|rows| rows.denies(late, 1));
                prop_assert!(kind.is_some());
            }
        }
    }
}
