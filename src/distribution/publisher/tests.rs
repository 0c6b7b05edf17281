use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::distribution::assembly::Assembly;
use crate::distribution::convert::{ReadDelta, delta_from_wire};
use crate::distribution::frame::Frame;
use crate::distribution::pump::{config, decode, lift, publisher, put, seal_key};
use crate::proto::v1::publisher_message::Message;
use crate::revocation::list::RevocationList;
use crate::revocation::list::tests::version;
use crate::revocation::state::tests::{HASH_KEY, any_step};

fn empty() -> ListPublisher {
    publisher(State::new(HASH_KEY), 1)
}

/// With records 1 to `n`, put at the versions 2 to `n` + 1.
fn with(n: u8) -> ListPublisher {
    let mut list = empty();
    (1..=n).for_each(|n| assert!(list.apply(put(n), version(u64::from(n) + 1))));
    list
}

fn sent(plan: Plan) -> (Arc<[Shared]>, Version) {
    let Plan::Send { frames, reaches } = plan else { panic!("up to date") };
    (frames, reaches)
}

fn read_delta(frames: &[Shared]) -> ReadDelta {
    let [frame] = frames else { panic!("{} frames", frames.len()) };
    let frame = Frame::Shared { reference: 1, message: frame.clone() };
    let Message::Delta(delta) = decode(&frame) else { panic!("no delta") };
    delta_from_wire(delta).unwrap()
}

#[test]
fn whoever_stands_at_the_same_position_shares_the_bytes_of_one_delta() {
    let mut list = with(4);
    let (one, _) = sent(list.plan(Some(version(2)), None));
    let (two, _) = sent(list.plan(Some(version(2)), None));
    assert_eq!(one, two);
    assert_eq!(list.counts(), Counts { snapshots: 0, deltas: 1 });
    list.apply(put(9), version(9));
    assert_ne!(sent(list.plan(Some(version(2)), None)).0, one);
}

#[test]
fn who_skipped_changes_gets_one_delta_over_all_of_them() {
    let mut list = with(3);
    list.apply(lift(2), version(5));
    let (frames, reaches) = sent(list.plan(Some(version(2)), None));
    assert_eq!(reaches, version(5));
    let read = read_delta(&frames);
    assert_eq!((read.delta.from, read.delta.to), (version(2), version(5)));
    assert_eq!(read.delta.digest, list.state().digest());
    let changed: Vec<(u8, bool)> =
        read.delta.difference.iter().map(|(key, rows)| (key.to_bytes()[0], rows.is_some())).collect();
    assert_eq!(changed, [(2, false), (3, true)]);
    assert_eq!(list.plan(Some(reaches), None), Plan::UpToDate);
}

#[test]
fn a_step_that_changes_no_row_is_no_change_and_is_complete_all_the_same() {
    let mut list = with(1);
    assert!(!list.apply(put(1), version(7)));
    assert_eq!(list.plan(Some(version(2)), None), Plan::UpToDate);
    let standing = list.standing();
    assert_eq!((standing.last_change, standing.complete), (version(2), version(7)));
}

#[test]
fn one_snapshot_serves_newcomers_with_a_delta_after_it() {
    let mut list = with(2);
    let (first, reaches) = sent(list.plan(None, None));
    assert_eq!(reaches, version(3));
    list.apply(put(3), version(4));
    let (again, reaches) = sent(list.plan(None, None));
    assert_eq!((&again, reaches), (&first, version(3)));
    assert!(Arc::ptr_eq(&again, &first));
    assert_eq!(sent(list.plan(Some(reaches), None)).1, version(4));
    assert_eq!(list.counts(), Counts { snapshots: 1, deltas: 1 });
}

/// Invariant 5: a sidecar that may have held more gets no older snapshot.
#[test]
fn a_snapshot_is_not_below_what_the_sidecar_may_have_held() {
    let mut list = with(2);
    sent(list.plan(None, None));
    list.apply(put(3), version(4));
    assert_eq!(sent(list.plan(None, Some(version(4)))).1, version(4));
    assert_eq!(list.counts().snapshots, 2);
    // Nothing changed since, and the replica has seen all that the sidecar has: the same state, under a later name.
    list.advance(version(8));
    assert!(sent(list.plan(None, Some(version(6)))).1 >= version(6));
}

/// Invariant 18: bounded memory.
#[test]
fn the_history_is_bounded_and_who_is_further_behind_gets_a_snapshot() {
    let mut list = empty();
    let last = MAX_HISTORY as u64 + 2;
    (2..=last).for_each(|n| {
        list.apply(if n % 2 == 0 { put(1) } else { lift(1) }, version(n));
    });
    assert_eq!(list.history.len(), MAX_HISTORY);
    let oldest = list.history.front().unwrap().from.version;
    assert_eq!(oldest, version(2));
    assert!(matches!(sent(list.plan(Some(oldest), None)), (frames, _) if frames.len() == 1));
    assert!(sent(list.plan(Some(version(1)), None)).0.len() > 1);
    assert_eq!(list.history_keys, MAX_HISTORY);
}

/// Invariant 18: bounded memory.
#[test]
fn encoded_deltas_are_bounded_however_many_positions_ask() {
    let mut list = empty();
    (0..200u64).for_each(|n| {
        list.apply(put(u8::try_from(n).unwrap()), version(n + 2));
    });
    (1..200).for_each(|n| assert!(matches!(list.plan(Some(version(n)), None), Plan::Send { .. })));
    assert!(list.deltas.len() <= MAX_ENCODED_DELTAS, "{}", list.deltas.len());
}

fn check_resume(list: &ListPublisher, held: u64, digest: Digest, expected: bool) {
    assert_eq!(list.resume(version(held), digest).is_some(), expected, "held {held}");
}

/// Failure 10: who resumes holds what a snapshot would give it.
#[test]
fn a_position_in_the_history_is_resumed_only_with_its_digest() {
    let mut list = empty();
    let mut digests = vec![list.state().digest()];
    for n in 1..=3 {
        list.apply(put(n), version(u64::from(n) * 10));
        digests.push(list.state().digest());
    }
    let at = [1, 10, 20, 30];
    // The digest of an empty list is that of any other, whatever its hash key.
    check_resume(&list, at[0], digests[0], false);
    for (held, digest) in at.iter().zip(&digests).skip(1) {
        assert_eq!(list.resume(version(*held), *digest), Some(Plan::UpToDate));
        check_resume(&list, *held, Digest::from_u128(1), false);
    }
    let mut other_history = version(10);
    other_history.epoch.id ^= 1;
    assert_eq!(list.resume(other_history, digests[1]), None);
}

/// A replica that fetched later names a quiet list's state by a later version.
#[test]
fn a_version_between_two_changes_is_resumed_if_its_digest_is_that_of_the_change_below() {
    let mut list = with(1);
    let digest = list.state().digest();
    list.advance(version(9));
    check_resume(&list, 5, digest, true);
    check_resume(&list, 5, Digest::from_u128(1), false);
    check_resume(&list, 10, digest, false);
    list.apply(put(2), version(12));
    check_resume(&list, 5, digest, true);
    check_resume(&list, 5, list.state().digest(), false);
    let read = read_delta(&sent(list.plan(Some(version(5)), None)).0);
    assert_eq!((read.delta.from, read.delta.to), (version(5), version(12)));
    assert_eq!(read.delta.difference.len(), 1);
}

#[test]
fn the_gap_before_the_fetch_is_bridged_only_with_an_equal_digest() {
    let mut state = State::of(HASH_KEY, []);
    state.apply(put(2));
    let digest = state.digest();
    let mut list = publisher(state, 10);
    list.apply(put(1), version(11));
    let (frames, reaches) = sent(list.resume(version(4), digest).unwrap());
    let read = read_delta(&frames);
    assert_eq!((read.delta.from, read.delta.to, reaches), (version(4), version(10), version(10)));
    assert!(read.delta.difference.is_empty());
    check_resume(&list, 4, list.state().digest(), false);
}

#[test]
fn a_declaration_is_replaced_only_by_a_later_one() {
    let mut list = empty();
    list.set_config(config(3));
    list.set_config(config(2));
    assert_eq!((list.config().generation, list.standing().config_generation), (3, 3));
}

#[test]
fn a_horizon_never_goes_back() {
    let mut list = empty();
    let at = |seconds| UnixSeconds::new(seconds).unwrap();
    list.raise_horizon(at(9));
    list.raise_horizon(at(5));
    assert_eq!(list.standing().horizon, at(9));
}

#[test]
fn a_version_is_sealed_under_the_key_of_the_store() {
    let list = empty();
    let sealed = list.seal(version(4));
    assert!(seal_key().verifies(&sealed.version, &sealed.seal));
    assert!(!SealKey::new(&[5; 32]).verifies(&sealed.version, &sealed.seal));
}

/// A subscriber that reads, or does not, and holds what it was sent.
struct Reader {
    held: Option<RevocationList>,
}

impl Reader {
    fn catch_up(&mut self, list: &mut ListPublisher) {
        let mut position = self.held.as_ref().map(RevocationList::version);
        while let Plan::Send { frames, reaches } = list.plan(position, None) {
            self.take(&frames);
            position = Some(reaches);
            assert_eq!(self.held.as_ref().unwrap().version(), reaches);
        }
        let mut snapshot = self.held.as_ref().unwrap().snapshot();
        snapshot.version = version(0);
        assert_eq!(snapshot, list.state().snapshot(version(0)));
    }

    fn take(&mut self, frames: &[Shared]) {
        let mut assembly = None;
        for frame in frames {
            match decode(&Frame::Shared { reference: 1, message: frame.clone() }) {
                Message::SnapshotHeader(header) => assembly = Some(Assembly::start(&header).unwrap()),
                Message::SnapshotFilter(part) => assembly.as_mut().unwrap().add_filter(&part.chunk).unwrap(),
                Message::SnapshotEntries(part) => {
                    assembly.as_mut().unwrap().add_entries(part.entries.as_ref()).unwrap();
                }
                Message::SnapshotEnd(end) => {
                    let (snapshot, _, _) = assembly.take().unwrap().finish(end).unwrap();
                    self.held = Some(match &self.held {
                        Some(held) => held.replace(HASH_KEY, &snapshot).unwrap(),
                        None => RevocationList::from_snapshot(HASH_KEY, &snapshot).unwrap(),
                    });
                }
                Message::Delta(delta) => {
                    let delta = delta_from_wire(delta).unwrap().delta;
                    self.held = Some(self.held.as_ref().unwrap().apply(&delta).unwrap());
                }
                other @ (Message::Config(_)
                | Message::Pong(_)
                | Message::Behind(_)
                | Message::Draining(_)
                | Message::NotAdmitted(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }
}

proptest! {
    /// Failures 2, 3 and 10: a snapshot is the fold of all deltas, and whoever joined or lagged at any points
    /// ends at the state.
    #[test]
    fn whoever_joins_and_reads_at_any_points_folds_to_the_state(
        steps in proptest::collection::vec((any_step(), 0u8..16), 1..50),
    ) {
        let mut list = empty();
        let mut readers: [Reader; 4] = std::array::from_fn(|_| Reader { held: None });
        for (n, (step, who_reads)) in steps.iter().enumerate() {
            list.apply(*step, version(n as u64 + 2));
            for (bit, reader) in readers.iter_mut().enumerate() {
                if who_reads >> bit & 1 == 1 {
                    reader.catch_up(&mut list);
                }
            }
        }
        readers.iter_mut().for_each(|reader| reader.catch_up(&mut list));
        prop_assert!(list.counts().snapshots <= 1);
    }

    /// Failure 10: resuming at another replica, which has fetched at another time, leads to the same list.
    #[test]
    fn who_resumes_at_another_replica_folds_to_the_same_state(
        steps in proptest::collection::vec(any_step(), 1..40),
        fetched_at in 0usize..40,
        left_at in 0usize..40,
    ) {
        let mut one = empty();
        let mut two = None;
        let mut reader = Reader { held: None };
        for (n, step) in steps.iter().enumerate() {
            let version = version(n as u64 + 2);
            one.apply(*step, version);
            match &mut two {
                Some(list) => _ = ListPublisher::apply(list, *step, version),
                None if n >= fetched_at => two = Some(publisher(one.state().clone(), n as u64 + 2)),
                None => {}
            }
            if n == left_at {
                reader.catch_up(&mut one);
            }
        }
        let mut two = two.unwrap_or_else(|| publisher(one.state().clone(), steps.len() as u64 + 1));
        if let Some(held) = &reader.held {
            match two.resume(held.version(), held.digest()) {
                Some(Plan::Send { frames, .. }) => reader.take(&frames),
                Some(Plan::UpToDate) => {}
                None => {
                    let (frames, _) = sent(two.plan(None, Some(held.version())));
                    reader.take(&frames);
                }
            }
        }
        reader.catch_up(&mut two);
        let live: BTreeSet<_> = two.state().snapshot(version(0)).entries.iter().map(|(key, _)| *key).collect();
        prop_assert_eq!(live.len(), two.state().key_count());
    }
}
