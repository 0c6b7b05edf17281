//! What an earlier process has left, and what another history of the store leaves in force.

use super::*;

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
    let [kept] = &next.view().denials[..] else { panic!("{:?}", next.view().denials) };
    assert!(matches!(kept.find(Key::from_bytes([2; 16])), Found::Rows(_)));
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
    let document = crate::api::compile::tests::document();
    let config = PublishedConfig::new(&StoredList { document, hash_key }).unwrap();
    let mut replica = made_anew(config, hash_key);
    prove_anew(&mut pump, &mut replica);
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(5)));
    assert_eq!(pump.list().hash_key(), &hash_key);
    let [kept] = &pump.view().denials[..] else { panic!("{:?}", pump.view().denials) };
    assert_eq!(kept.snapshot(), held.snapshot());
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
