//! When a declaration comes into force, and when it is refused.

use super::*;

/// Invariant 1: a policy can't arrive before the revocations that it would expose.
#[test]
fn a_declaration_takes_effect_with_the_proof_that_names_it() {
    let (mut pump, mut replica) = fresh();
    assert_eq!(pump.view().generation, 1);
    let in_force = pump.view().config.clone().unwrap();
    replica.list.set_config(config(2));
    let received = pump.settle(&mut replica).unwrap();
    assert_eq!(received[0].notes, [Note::Config { index: 0, generation: 2 }]);
    assert_eq!(pump.view().generation, 1);
    // The very same: what comes with it may be published by a delta before the proof.
    assert!(Arc::ptr_eq(pump.view().config.as_ref().unwrap(), &in_force));
    pump.prove(&mut replica, moment(5)).unwrap();
    assert_eq!(pump.view().generation, 2);
    check_fresh(&pump, &replica, 5);
}

#[test]
fn what_a_sidecar_accepts_at_most_outlives_every_declaration() {
    let ceiling_seconds = Some(4);
    let mut pump = Pump::with(ListView { ceiling_seconds, ..ListView::empty(name()) });
    let mut replica = Replica::new();
    assert_eq!(pump.session.shortest_bound_seconds(), None);
    for (generation, second) in [(1, 1), (2, 5)] {
        replica.list.set_config(config(generation));
        pump.prove(&mut replica, moment(second)).unwrap();
        assert_eq!(pump.view().bounds().bound_seconds, 4);
        assert_eq!(pump.session.shortest_bound_seconds(), Some(4));
    }
}

fn wire_config(generation: u64) -> v1::Config {
    let frame = crate::distribution::frame::Frame::Shared { reference: 1, message: config(generation).frame };
    let In::Config(config) = crate::distribution::pump::decode(&frame) else { panic!("no config") };
    config
}

#[test]
fn a_declaration_that_is_not_what_it_says_is_refused_and_the_old_one_stays() {
    let check = |change: fn(&mut v1::Config), reason| {
        let (pump, replica) = fresh();
        let mut config = wire_config(2);
        change(&mut config);
        check_refused(pump, replica, In::Config(config), reason, Knowledge::FreshAsOf(moment(1)));
    };
    check(|config| config.document_sha256 = vec![0; 32].into(), NackReason::Config);
    check(|config| config.document = b"{}"[..].into(), NackReason::Config);
    check(|config| config.generation = 3, NackReason::Config);
    check(|config| config.hash_key.truncate(3), NackReason::Malformed);
    check(|config| config.key_scheme = KEY_SCHEME + 1, NackReason::NotUnderstood);
}

/// Invariant 22: a replica that had nobody to serve has not read the newest declaration before its first round.
#[test]
fn an_older_declaration_is_passed_over_and_a_proof_under_it_is_refused() {
    let (mut pump, mut replica) = fresh();
    replica.list.set_config(config(3));
    pump.prove(&mut replica, moment(2)).unwrap();
    let mut idle = Replica::fetched(replica.list.state().clone(), replica.newest);
    idle.list.set_config(config(2));
    pump.connect();
    let received = pump.settle(&mut idle).unwrap();
    assert_eq!(nacks(&received), []);
    pump.ping(moment(3));
    pump.settle(&mut idle).unwrap();
    idle.list.set_config(config(3));
    idle.prove();
    pump.settle(&mut idle).unwrap();
    check_fresh(&pump, &idle, 3);
    assert_eq!(pump.view().generation, 3);
    let mut old = Replica::fetched(idle.list.state().clone(), idle.newest);
    old.list.set_config(config(2));
    pump.connect();
    pump.ping(moment(4));
    pump.settle(&mut old).unwrap();
    old.prove();
    while pump.receive_one(&mut old).unwrap() {}
    pump.fill(&mut old);
    let received = pump.deliver_one().unwrap().unwrap();
    assert_eq!(nacks(&[received]), [NackReason::Config]);
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(3)));
    assert_eq!(pump.view().generation, 3);
}
