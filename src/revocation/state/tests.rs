use proptest::prelude::*;

use super::*;
use crate::revocation::row::tests::any_rows;

pub(crate) const HASH_KEY: HashKey = HashKey::new([3; 16]);

/// A small space of origins and keys, so that records meet under one key.
pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let record = (0u128..12, 0u8..5, any_rows()).prop_filter_map("a record has a row", |(id, key, rows)| {
        let record = Record { id: RecordId(id), key: Key::from_bytes([key; 16]), rows };
        (!rows.is_empty()).then_some(Step::Put(record))
    });
    prop_oneof![3 => record, 1 => (0u128..12).prop_map(|id| Step::Remove(RecordId(id)))]
}

fn rows(always: bool, issued: Option<u64>) -> Rows {
    use crate::revocation::{row::End, time::UnixSeconds};
    Rows {
        always: always.then_some(End::NEVER),
        issued: issued.map(|s| UnixSeconds::new(s).unwrap()),
        session_started: None,
    }
}

fn record(id: u128, rows: Rows) -> Record {
    Record { id: RecordId(id), key: Key::from_bytes([1; 16]), rows }
}

/// Invariant 16: lifting one of two leaves the other.
#[test]
fn lifting_one_of_two_records_leaves_exactly_what_the_other_covers() {
    let key = Key::from_bytes([1; 16]);
    let mut state = State::new(HASH_KEY);
    state.apply(Step::Put(record(1, rows(true, None))));
    state.apply(Step::Put(record(2, rows(false, Some(10)))));
    state.apply(Step::Put(record(3, rows(false, Some(20)))));
    assert_eq!(state.rows(key), Some(rows(true, Some(20))));
    state.apply(Step::Remove(RecordId(1)));
    assert_eq!(state.rows(key), Some(rows(false, Some(20))));
    state.apply(Step::Remove(RecordId(3)));
    assert_eq!(state.rows(key), Some(rows(false, Some(10))));
    let last = state.apply(Step::Remove(RecordId(2)));
    assert_eq!(last.iter().collect::<Vec<_>>(), [(key, None)]);
    assert_eq!(state.digest(), Digest::default());
}

#[test]
fn a_step_that_is_known_changes_nothing() {
    let mut state = State::new(HASH_KEY);
    let put = Step::Put(record(1, rows(true, None)));
    assert_eq!(state.apply(put).len(), 1);
    assert!(state.apply(put).is_empty());
    assert!(state.apply(Step::Remove(RecordId(99))).is_empty());
}

proptest! {
    /// Invariant 14: equal sets of live records have equal rows and digests, whatever the order of arrival.
    #[test]
    fn the_state_is_a_function_of_the_set_of_live_records(steps in proptest::collection::vec(any_step(), 0..60)) {
        let mut state = State::new(HASH_KEY);
        let mut live = std::collections::BTreeMap::new();
        for step in steps {
            state.apply(step);
            match step {
                Step::Put(record) => live.insert(record.id, record),
                Step::Remove(id) => live.remove(&id),
            };
        }
        let again = State::of(HASH_KEY, live.into_values().rev());
        let version = crate::revocation::list::tests::version(1);
        prop_assert_eq!(again.digest(), state.digest());
        prop_assert_eq!(again.snapshot(version), state.snapshot(version));
    }
}
