//! What an earlier process has left, and what another history of the store leaves in force.

use super::*;
use crate::revocation::expiry::{MARGIN_SECONDS, MAX_LEEWAY_SECONDS};
use crate::revocation::names::RecordId;
use crate::revocation::record::Record;
use crate::revocation::row::Rows;
use crate::revocation::state::Step;

/// What a process leaves on the disk for the next.
fn denials_only(view: ListView) -> ListView {
    let denials = view.list.into_iter().chain(view.denials).collect();
    ListView { list: None, denials, knowledge: Knowledge::NeverProven, proven: None, ..view }
}

/// What is on the disk never makes fresh, and is given up once its own history is proven again.
#[test]
fn what_an_earlier_process_left_is_good_for_denials_until_the_first_proof() {
    let (pump, mut replica) = fresh();
    let left = denials_only(pump.view().clone());
    assert_eq!((left.knowledge, left.proven), (Knowledge::NeverProven, None));
    assert!(left.list.is_none() && left.config.is_some());
    let mut next = Pump::with(left);
    assert!(
        matches!(&next.to_replica[1].message, Some(Out::Subscribe(subscribe)) if subscribe.version.is_none())
    );
    next.settle(&mut replica).unwrap();
    assert_eq!(next.view().denials.len(), 1);
    next.prove(&mut replica, moment(9)).unwrap();
    check_fresh(&next, &replica, 9);
    assert!(next.view().denials.is_empty());
}

/// Invariant 20: however many streams fail in between, a store that went back is shown what had been proven.
#[test]
fn what_was_proven_is_told_to_every_later_stream() {
    let (mut pump, mut replica) = fresh();
    for _ in 0..9 {
        replica.pass();
    }
    pump.prove(&mut replica, moment(2)).unwrap();
    let highest = |pump: &Pump| match &pump.to_replica[0].message {
        Some(Out::Hello(hello)) => hello.highest_version.as_ref().map(|version| version.revocations),
        other => panic!("{other:?}"),
    };
    for _ in 0..3 {
        pump.connect();
        assert_eq!(highest(&pump), Some(replica.newest));
    }
}

/// Invariant 20: a store that was restored from a backup reaches the version again, and not what stood there.
#[test]
fn what_is_above_the_first_proof_denies_on() {
    let (pump, _) = fresh();
    let left = denials_only(pump.view().clone());
    let mut next = Pump::with(left);
    let mut restored = Replica::new();
    next.prove(&mut restored, moment(9)).unwrap();
    check_fresh(&next, &restored, 9);
    for n in 10..20 {
        restored.step(put(n));
    }
    next.prove(&mut restored, moment(10)).unwrap();
    check_fresh(&next, &restored, 10);
    assert!(found(&next, 2));
    assert!(next.view().denials.is_empty(), "it is kept beside the list, as it is of the same hash key");
}

/// The first declaration of the example, under a hash key.
fn declared(hash_key: HashKey) -> PublishedConfig {
    let mut document = crate::api::compile::tests::document();
    document.metadata.generation = 1;
    PublishedConfig::new(&StoredList { document, hash_key }).unwrap()
}

/// A replica of a store that was made anew, with a declaration and a hash key.
fn made_anew(config: PublishedConfig, hash_key: HashKey) -> Replica {
    let mut later: Version = version(1);
    later.epoch = crate::revocation::version::Epoch { counter: 2, id: 9 };
    let state = State::of(hash_key, []);
    let list = ListPublisher::new(state, later, UnixSeconds::MIN, config, seal_key());
    Replica { list, newest: 1, pings: 0, proven: 0 }
}

fn prove_anew(pump: &mut Pump, replica: &mut Replica) {
    pump.connect();
    pump.ping(moment(5));
    pump.settle(replica).unwrap();
    replica.proven = replica.pings;
    pump.settle(replica).unwrap();
}

/// Invariant 20: the keys of what is held are of the old hash key, and are looked up under it.
#[test]
fn a_store_made_anew_with_another_hash_key_takes_no_denial_away() {
    let (mut pump, _) = fresh();
    let held = pump.view().list.clone().unwrap();
    let hash_key = HashKey::new([5; 16]);
    let mut replica = made_anew(declared(hash_key), hash_key);
    prove_anew(&mut pump, &mut replica);
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(5)));
    assert_eq!(pump.list().hash_key(), &hash_key);
    let [kept] = &pump.view().denials[..] else { panic!("{:?}", pump.view().denials) };
    assert_eq!(kept.hash_key(), held.hash_key());
    for (key, rows) in held.entries() {
        assert_eq!(kept.find(key), Found::Rows(rows));
    }
}

const CUTOFF: u64 = 1_000_000;
/// When the last token has expired that a cutoff of an issuer with the example's limits can reach.
const GIVEN_UP: u64 = CUTOFF + 1 + 3600 + MAX_LEEWAY_SECONDS + MARGIN_SECONDS + 1;

/// Makes a sidecar fresh that holds a ban under key 1 and a cutoff under key 2.
fn with_a_ban_and_a_cutoff() -> Pump {
    let (mut pump, mut replica) = fresh();
    let rows = Rows { issued: Some(UnixSeconds::new(CUTOFF).unwrap()), ..Rows::default() };
    let record = Record { id: RecordId(2), key: Key::from_bytes([2; 16]), rows };
    replica.step(Step::Put(record));
    pump.prove(&mut replica, moment(2)).unwrap();
    pump
}

/// Whether a row stands under a key, in the list or beside it.
fn denies(pump: &Pump, n: u8) -> bool {
    let mut lists = pump.view().list.iter().chain(&pump.view().denials);
    lists.any(|list| matches!(list.find(Key::from_bytes([n; 16])), Found::Rows(_)))
}

/// Invariants 7 and 20: what is kept of another history is given up when no token lives that it could cover, and
/// not before; a ban stays.
#[test]
fn what_an_old_history_left_is_given_up_when_its_last_token_has_expired() {
    for hash_key in [HASH_KEY, HashKey::new([5; 16])] {
        let mut pump = with_a_ban_and_a_cutoff();
        let mut replica = made_anew(declared(hash_key), hash_key);
        let mut at = |seconds: u64, pump: &mut Pump| {
            replica.list.raise_horizon(UnixSeconds::new(seconds).unwrap());
            prove_anew(pump, &mut replica);
            assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(5)));
            (denies(pump, 1), denies(pump, 2))
        };
        assert_eq!(at(0, &mut pump), (true, true));
        assert_eq!(at(GIVEN_UP - 1, &mut pump), (true, true));
        assert_eq!(at(GIVEN_UP + 60, &mut pump), (true, false));
        let retained: usize = pump.view().denials.iter().map(|list| list.retained_len()).sum();
        assert_eq!(pump.list().retained_len() + retained, 1);
    }
}

/// Invariants 18 and 20: denials are kept by hash key, and where there are too many of them, nothing is forgotten: the
/// new history is refused, and the list goes stale.
#[test]
fn no_history_is_forgotten_for_a_newer_one() {
    let (mut pump, _) = fresh();
    let history = |counter: u64| {
        let hash_key = HashKey::new([u8::try_from(counter).unwrap(); 16]);
        let mut replica = made_anew(declared(hash_key), hash_key);
        let mut later = version(1);
        later.epoch = crate::revocation::version::Epoch { counter, id: 9 };
        let mut state = State::of(hash_key, []);
        state.apply(put(u8::try_from(counter).unwrap()));
        let config = declared(hash_key);
        replica.list = ListPublisher::new(state, later, UnixSeconds::MIN, config, seal_key());
        replica
    };
    for counter in 10..18 {
        prove_anew(&mut pump, &mut history(counter));
        assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(5)));
        assert_eq!(pump.view().generation, 1);
    }
    assert_eq!(pump.view().denials.len(), 8);
    let last = pump.list().hash_key().to_owned();
    pump.connect();
    let refused = pump.settle(&mut history(18)).unwrap_err();
    assert!(matches!(refused, Ended::ByReplica(_)), "{refused:?}");
    assert_eq!(pump.list().hash_key(), &last);
    for n in (10..18).chain([1, 2]) {
        assert!(denies(&pump, n), "{n} was forgotten");
    }
}

/// Invariant 20: histories of one hash key share one place.
#[test]
fn what_two_histories_of_one_hash_key_left_is_kept_together() {
    let (mut pump, _) = fresh();
    for (counter, byte, n) in [(10, 5, 3), (11, 6, 4), (12, 5, 7), (13, 6, 8), (14, 9, 9)] {
        let hash_key = HashKey::new([byte; 16]);
        let mut replica = made_anew(declared(hash_key), hash_key);
        let mut later = version(1);
        later.epoch = crate::revocation::version::Epoch { counter, id: 9 };
        let mut state = State::of(hash_key, []);
        state.apply(put(n));
        replica.list = ListPublisher::new(state, later, UnixSeconds::MIN, declared(hash_key), seal_key());
        prove_anew(&mut pump, &mut replica);
        assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(5)));
    }
    assert_eq!(pump.view().denials.len(), 3);
    for n in [1, 2, 3, 4, 7, 8, 9] {
        assert!(denies(&pump, n), "{n} was forgotten");
    }
}

/// A replica of the same store, whose list was deleted and declared anew.
fn declared_anew(state: State, complete: u64) -> Replica {
    let config = declared(*state.hash_key());
    let list = ListPublisher::new(state, version(complete), UnixSeconds::MIN, config, seal_key());
    Replica { list, newest: complete, pings: 0, proven: 0 }
}

/// Invariants 20 and 21: it counts its declarations from one, and what was denied stays so.
#[test]
fn a_list_that_is_deleted_and_declared_anew_is_followed_and_lifts_nothing() {
    let (mut pump, mut replica) = fresh();
    replica.list.set_config(config(5));
    pump.prove(&mut replica, moment(2)).unwrap();
    assert_eq!(pump.view().generation, 5);
    let hash_key = HashKey::new([5; 16]);
    let mut state = State::of(hash_key, []);
    state.apply(put(3));
    let mut anew = declared_anew(state, 40);
    pump.connect();
    pump.ping(moment(5));
    pump.settle(&mut anew).unwrap();
    assert_eq!(pump.knowledge(), Knowledge::NeverProven, "nobody has proven anything of this list");
    pump.prove(&mut anew, moment(6)).unwrap();
    check_fresh(&pump, &anew, 6);
    assert_eq!((pump.view().generation, pump.list().hash_key()), (1, &hash_key));
    assert_eq!([1, 2, 3, 4].map(|n| denies(&pump, n)), [true, true, true, false]);
}

/// How often the sidecar has refused something in this stream.
fn refusals(pump: &Pump) -> usize {
    pump.reactions.iter().filter(|reaction| matches!(reaction, Reaction::Refused { .. })).count()
}

/// An empty list has the digest of every empty list.
#[test]
fn an_empty_list_that_is_declared_anew_is_not_resumed_under_its_old_hash_key() {
    let (mut pump, mut replica) = (Pump::new(), Replica::new());
    pump.prove(&mut replica, moment(1)).unwrap();
    let hash_key = HashKey::new([5; 16]);
    let mut anew = declared_anew(State::of(hash_key, []), 40);
    pump.connect();
    pump.settle(&mut anew).unwrap();
    anew.step(put(3));
    pump.prove(&mut anew, moment(5)).unwrap();
    check_fresh(&pump, &anew, 5);
    assert_eq!((pump.list().hash_key(), refusals(&pump)), (&hash_key, 0));
}

/// Invariant 21: the stream goes on, and the first thing that it carries of the list is its declaration; also if that
/// counts from one again, and the version is the one that was sent last.
#[test]
fn a_list_that_is_declared_anew_under_a_running_stream_is_sent_whole_and_nothing_is_refused() {
    let hash_key = HashKey::new([5; 16]);
    for (rows, above) in [(vec![], 30), (vec![put(3)], 30), (vec![], 0), (vec![put(3)], 0)] {
        let (mut pump, mut replica) = fresh();
        replica.step(put(9));
        pump.settle(&mut replica).unwrap();
        let mut state = State::of(hash_key, []);
        for step in rows {
            state.apply(step);
        }
        let mut anew = declared_anew(state, replica.newest + above);
        (anew.pings, anew.proven) = (replica.pings, replica.proven);
        assert_eq!(anew.list.config().generation, pump.view().generation);
        pump.settle(&mut anew).unwrap();
        anew.step(put(4));
        pump.prove(&mut anew, moment(5)).unwrap();
        check_fresh(&pump, &anew, 5);
        assert_eq!((pump.list().hash_key(), refusals(&pump)), (&hash_key, 0));
        // What was denied stays so.
        assert_eq!([1, 2, 4].map(|n| denies(&pump, n)), [true; 3]);
    }
}

/// Invariant 1: what acknowledges the snapshot of the new list bears the generation of the old one, which is in force until
/// the first proof.
#[test]
fn a_declaration_counts_once_a_proof_was_taken_that_names_it() {
    let (mut pump, mut replica) = fresh();
    pump.reactions.clear();
    pump.prove(&mut replica, moment(2)).unwrap();
    let of = |hash_key: HashKey| Some(Declaration { hash_key: hash_key.name(), generation: 1 });
    assert_eq!(pump.reactions.iter().filter_map(declaration).next_back(), of(HASH_KEY));
    let hash_key = HashKey::new([5; 16]);
    let mut anew = declared_anew(State::of(hash_key, []), replica.newest + 30);
    (anew.pings, anew.proven) = (replica.pings, replica.proven);
    pump.reactions.clear();
    pump.settle(&mut anew).unwrap();
    anew.step(put(4));
    pump.prove(&mut anew, moment(5)).unwrap();
    check_fresh(&pump, &anew, 5);
    assert!(pump.reactions.len() > 2, "{:?}", pump.reactions);
    assert_eq!(pump.reactions.iter().find_map(declaration), None);
    pump.prove(&mut anew, moment(6)).unwrap();
    assert_eq!(pump.reactions.iter().find_map(declaration), of(hash_key));
}

/// Invariant 21: a store that was made anew counts its declarations from one.
#[test]
fn another_history_counts_its_declarations_anew() {
    let (mut pump, mut replica) = fresh();
    replica.list.set_config(config(3));
    pump.prove(&mut replica, moment(2)).unwrap();
    assert_eq!(pump.view().generation, 3);
    let mut replica = made_anew(config(1), HASH_KEY);
    prove_anew(&mut pump, &mut replica);
    check_fresh(&pump, &replica, 5);
    assert_eq!(pump.view().generation, 1);
}

/// Invariant 20: another history may have forgotten what was acknowledged; what is held denies on.
#[test]
fn a_later_epoch_keeps_the_old_entries_and_needs_a_proof_of_its_own() {
    let (mut pump, _) = fresh();
    let mut replica = made_anew(config(1), HASH_KEY);
    pump.connect();
    pump.ping(moment(5));
    pump.settle(&mut replica).unwrap();
    assert_eq!(pump.knowledge(), Knowledge::NeverProven);
    assert!(found(&pump, 1) && found(&pump, 2));
    replica.proven = replica.pings;
    pump.settle(&mut replica).unwrap();
    check_fresh(&pump, &replica, 5);
    assert!(found(&pump, 1) && found(&pump, 2));
}
