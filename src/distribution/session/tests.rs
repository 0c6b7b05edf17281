use std::sync::Arc;

use super::*;
use crate::distribution::convert::{Proof, delta_to_wire, proof_to_wire, snapshot_end_to_wire};
use crate::distribution::enforcement::{Declaration, InUse};
use crate::distribution::publisher::{ListPublisher, PublishedConfig};
use crate::distribution::pump::{Ended, Pump, Replica, config, lift, moment, name, put, seal_key};
use crate::distribution::subscriber::Reaction;
use crate::distribution::{KEY_SCHEME, MAX_ENTRIES};
use crate::proto::v1::NackReason;
use crate::revocation::delta::Delta;
use crate::revocation::digest::Digest;
use crate::revocation::freshness::Knowledge;
use crate::revocation::key::{HashKey, Key};
use crate::revocation::list::tests::version;
use crate::revocation::list::{Found, RevocationList};
use crate::revocation::state::State;
use crate::revocation::state::tests::HASH_KEY;
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Version;
use crate::store::StoredList;

mod declarations;
mod faults;
mod histories;

/// A sidecar that is fresh as of the first second, with records 1 and 2.
fn fresh() -> (Pump, Replica) {
    let (mut pump, mut replica) = (Pump::new(), Replica::new());
    replica.step(put(1));
    replica.step(put(2));
    pump.prove(&mut replica, moment(1)).unwrap();
    check_fresh(&pump, &replica, 1);
    (pump, replica)
}

fn check_fresh(pump: &Pump, replica: &Replica, seconds: u64) {
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(seconds)));
    pump.check_equal(replica);
}

fn receive(pump: &mut Pump, message: In) -> Result<Received, SessionError> {
    let received = pump.session.receive(v1::PublisherMessage { message: Some(message) })?;
    pump.to_replica.extend(received.replies.iter().cloned());
    Ok(received)
}

/// The message is refused with this reason, nothing changes but the integrity, and a resync leads out of it.
fn check_refused(mut pump: Pump, mut replica: Replica, message: In, reason: NackReason, after: Knowledge) {
    let before = pump.view().list.clone();
    let received = receive(&mut pump, message).unwrap();
    let [v1::SubscriberMessage { message: Some(Out::Nack(nack)) }] = &received.replies[..] else {
        panic!("{:?}", received.replies);
    };
    assert_eq!(nack.reason(), reason, "{}", nack.detail);
    assert_eq!(pump.knowledge(), after);
    assert_eq!(pump.list().snapshot(), before.unwrap().snapshot());
    pump.prove(&mut replica, moment(9)).unwrap();
    check_fresh(&pump, &replica, 9);
}

fn sealed(revision: u64) -> Sealed {
    let version = version(revision);
    Sealed { version, seal: seal_key().seal(&version) }
}

/// The delta that a replica would send for a change, between versions of one's choice.
fn delta(pump: &Pump, from: u64, to: u64, change: impl FnOnce(&mut v1::Delta)) -> In {
    delta_to(pump, from, to, |digest| digest, change)
}

/// The same, with another digest.
fn delta_to(
    pump: &Pump,
    from: u64,
    to: u64,
    digest: impl FnOnce(Digest) -> Digest,
    change: impl FnOnce(&mut v1::Delta),
) -> In {
    let mut state = State::of(HASH_KEY, []);
    [put(1), put(2)].into_iter().for_each(|step| drop(state.apply(step)));
    assert_eq!(state.digest(), pump.list().digest());
    let difference = state.apply(put(3));
    let delta = Delta { from: version(from), to: version(to), difference, digest: digest(state.digest()) };
    let wire = delta_to_wire(&delta, &sealed(from), &sealed(to), UnixSeconds::MIN);
    let mut wire = v1::Delta { r#ref: 1, ..wire };
    change(&mut wire);
    In::Delta(wire)
}

fn found(pump: &Pump, n: u8) -> bool {
    matches!(pump.list().find(Key::from_bytes([n; 16])), Found::Rows(_))
}

fn nacks(received: &[Received]) -> Vec<NackReason> {
    let replies = received.iter().flat_map(|received| &received.replies);
    let reason = |reply: &v1::SubscriberMessage| match &reply.message {
        Some(Out::Nack(nack)) => Some(nack.reason()),
        _ => None,
    };
    replies.filter_map(reason).collect()
}

/// Returns the declaration that a replica takes to be in force by an acknowledgement.
fn declaration(reaction: &Reaction) -> Option<Declaration> {
    match reaction {
        Reaction::Acknowledged(in_use) | Reaction::Ping(in_use) => in_use.first()?.1.declaration,
        Reaction::Hello { .. } | Reaction::Subscribed(_) | Reaction::Refused { .. } | Reaction::Bye(_) => {
            None
        }
    }
}

#[test]
fn a_snapshot_and_then_deltas_are_applied_and_acknowledged() {
    let (mut pump, mut replica) = fresh();
    assert!(pump.reactions.iter().all(|reaction| declaration(reaction).is_none()), "{:?}", pump.reactions);
    replica.step(put(3));
    replica.step(lift(1));
    let received = pump.settle(&mut replica).unwrap();
    assert!(matches!(&received[..], [Received { notes, changed, .. }]
        if notes[..] == [Note::Delta { index: 0 }] && changed[..] == [0]));
    assert_eq!((found(&pump, 1), found(&pump, 2), found(&pump, 3)), (false, true, true));
    let declaration = Some(Declaration { hash_key: HASH_KEY.name(), generation: 1 });
    let in_use = InUse { version: version(replica.newest), declaration };
    let acknowledged = Reaction::Acknowledged(vec![(name(), in_use)]);
    assert!(pump.reactions.contains(&acknowledged), "{:?}", pump.reactions);
    assert_eq!(replica.list.counts().snapshots, 1);
}

/// Failure 10: a sidecar that resumes gets what it missed, and no snapshot.
#[test]
fn a_stream_is_resumed_by_version_and_digest() {
    let (mut pump, mut replica) = fresh();
    replica.step(put(3));
    pump.connect();
    pump.prove(&mut replica, moment(5)).unwrap();
    check_fresh(&pump, &replica, 5);
    assert_eq!(replica.list.counts().snapshots, 1);
}

/// Invariant 11: fresh as of the moment at which the ping was sent, however late the answer comes.
#[test]
fn a_proof_makes_fresh_as_of_the_sending_of_its_ping() {
    let (mut pump, mut replica) = fresh();
    for sent in [10, 20, 30] {
        pump.ping(moment(sent));
    }
    pump.settle(&mut replica).unwrap();
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(1)));
    replica.prove();
    let received = pump.settle(&mut replica).unwrap();
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(30)));
    assert_eq!(received[0].notes, [Note::Proven { sent: moment(30), lists: 1 }]);
    assert_eq!(pump.session.waiting_nanos(moment(40)), 0);
}

/// Invariant 11: neither a snapshot nor a delta, nor any number of them.
#[test]
fn nothing_but_a_proof_makes_fresh() {
    let (mut pump, mut replica) = (Pump::new(), Replica::new());
    replica.step(put(1));
    pump.settle(&mut replica).unwrap();
    replica.step(put(2));
    pump.settle(&mut replica).unwrap();
    pump.check_equal(&replica);
    assert_eq!(pump.knowledge(), Knowledge::NeverProven);
    assert_eq!(pump.view().proven, None);
}

/// Invariant 11: a Pong of another stream, of nobody, or for the second time.
#[test]
fn a_pong_that_answers_no_open_ping_of_this_stream_is_refused() {
    let (mut pump, mut replica) = fresh();
    pump.ping(moment(5));
    pump.settle(&mut replica).unwrap();
    replica.prove();
    while pump.receive_one(&mut replica).unwrap() {}
    pump.fill(&mut replica);
    let earlier = pump.to_sidecar.clone();
    pump.connect();
    pump.ping(moment(6));
    pump.to_sidecar = earlier.clone();
    assert_eq!(pump.deliver_one().unwrap_err(), Ended::BySidecar(SessionError::ForeignPong));
    let foreign = v1::Pong { nonce: vec![0xff; 16].into(), proofs: vec![] };
    assert_eq!(receive(&mut pump, In::Pong(foreign)).unwrap_err(), SessionError::ForeignPong);
    let empty = v1::Pong { nonce: Bytes::new(), proofs: vec![] };
    assert_eq!(receive(&mut pump, In::Pong(empty)).unwrap_err(), SessionError::ForeignPong);
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(1)));
    pump.to_sidecar.clear();
    pump.settle(&mut replica).unwrap();
    replica.prove();
    pump.fill(&mut replica);
    let pong = pump.to_sidecar.clone();
    pump.settle(&mut replica).unwrap();
    check_fresh(&pump, &replica, 6);
    pump.to_sidecar = pong;
    assert_eq!(pump.deliver_one().unwrap_err(), Ended::BySidecar(SessionError::ForeignPong));
}

/// Invariant 18: bounded memory.
#[test]
fn no_more_than_a_few_pings_are_open() {
    let mut pump = Pump::new();
    let sent = (0..20u8).filter(|n| pump.session.ping([*n; 16], moment(1)).is_some());
    assert_eq!(sent.count(), MAX_OPEN_PINGS);
    assert_eq!(pump.session.waiting_nanos(moment(3)), 2_000_000_000);
}

/// Invariant 6: a delta that does not start at the last change applied is refused, and a snapshot asked for.
#[test]
fn a_gap_is_refused() {
    let (pump, replica) = fresh();
    let gap = delta(&pump, 8, 9, |_| {});
    check_refused(pump, replica, gap, NackReason::Gap, Knowledge::Corrupt);
}

/// Invariant 5: a sidecar's version never goes back.
#[test]
fn a_delta_that_leads_back_is_refused() {
    let (pump, replica) = fresh();
    let back = delta(&pump, 3, 2, |_| {});
    check_refused(pump, replica, back, NackReason::Gap, Knowledge::Corrupt);
}

/// Invariant 5: a snapshot below what is held is refused, and what is held stays in use, and fresh.
#[test]
fn an_older_snapshot_is_refused() {
    let (mut pump, _) = fresh();
    let old = Replica::new().list.plan(None, None);
    let crate::distribution::publisher::Plan::Send { frames, .. } = old else { panic!("no snapshot") };
    let mut received = Vec::new();
    for message in frames.iter() {
        let frame = crate::distribution::frame::Frame::Shared { reference: 1, message: message.clone() };
        received.push(receive(&mut pump, crate::distribution::pump::decode(&frame)).unwrap());
    }
    assert_eq!(nacks(&received), [NackReason::Gap]);
    assert_eq!((pump.list().version(), found(&pump, 2)), (version(3), true));
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(1)));
}

/// Invariant 14: a row that differs from the publisher's is found by the digest.
#[test]
fn a_delta_with_another_digest_is_refused() {
    let (pump, replica) = fresh();
    let wrong = delta_to(&pump, 3, 9, |_| Digest::from_u128(1), |_| {});
    check_refused(pump, replica, wrong, NackReason::Digest, Knowledge::Corrupt);
}

/// A list with a hole is worse than an old list.
#[test]
fn a_malformed_delta_is_refused_as_a_whole() {
    let fresh_as_of = Knowledge::FreshAsOf(moment(1));
    let check = |change: fn(&mut v1::Delta), reason| {
        let (pump, replica) = fresh();
        let malformed = delta(&pump, 3, 9, change);
        check_refused(pump, replica, malformed, reason, fresh_as_of);
    };
    check(|wire| wire.set.as_mut().unwrap().always.clear(), NackReason::Malformed);
    check(|wire| wire.to = None, NackReason::Malformed);
    check(|wire| wire.horizon = u64::MAX, NackReason::Malformed);
    check(|wire| wire.horizon += 1, NackReason::Malformed);
    check(|wire| wire.to.as_mut().unwrap().revocations += 1, NackReason::Malformed);
    check(|wire| wire.checksum.clear(), NackReason::Malformed);
    check(|wire| wire.required_features = vec!["relay".to_owned()], NackReason::NotUnderstood);
}

/// Invariant 14: what differs at an equal version is found within one round.
#[test]
fn a_list_that_differs_at_an_equal_version_is_corrupt_until_a_snapshot_and_a_proof() {
    let (mut pump, mut replica) = fresh();
    let mut state = State::of(HASH_KEY, []);
    [put(1), put(77)].into_iter().for_each(|step| drop(state.apply(step)));
    let wrong = RevocationList::from_snapshot(HASH_KEY, &state.snapshot(version(3))).unwrap();
    pump.session.followed[0].view.list = Some(Arc::new(wrong));
    pump.ping(moment(5));
    pump.settle(&mut replica).unwrap();
    replica.prove();
    while pump.receive_one(&mut replica).unwrap() {}
    pump.fill(&mut replica);
    let received = pump.deliver_one().unwrap().unwrap();
    assert_eq!(nacks(std::slice::from_ref(&received)), [NackReason::Digest]);
    assert_eq!((pump.knowledge(), &received.changed[..]), (Knowledge::Corrupt, &[0][..]));
    pump.settle(&mut replica).unwrap();
    assert_eq!(pump.knowledge(), Knowledge::NeverProven);
    pump.check_equal(&replica);
    pump.prove(&mut replica, moment(6)).unwrap();
    check_fresh(&pump, &replica, 6);
}

/// The answer to the second ping of a stream, with these versions.
fn proof(pump: &mut Pump, complete: u64, last_change: u64) -> In {
    pump.ping(moment(5));
    pump.to_replica.clear();
    let proof = Proof {
        complete: sealed(complete),
        last_change: sealed(last_change),
        digest: pump.list().digest(),
        config_generation: 1,
        horizon: UnixSeconds::MIN,
    };
    In::Pong(v1::Pong { nonce: vec![2; 16].into(), proofs: vec![proof_to_wire(1, &proof)] })
}

/// Invariant 6: a proof of changes that never came.
#[test]
fn a_proof_over_another_last_change_is_refused_also_with_an_equal_digest() {
    let (mut pump, replica) = fresh();
    let other = proof(&mut pump, 9, 8);
    check_refused(pump, replica, other, NackReason::Gap, Knowledge::Corrupt);
}

/// Invariant 5: also what is proven never goes back.
#[test]
fn a_proof_below_an_earlier_one_is_refused() {
    let (mut pump, replica) = fresh();
    let below = proof(&mut pump, 3, 3);
    check_refused(pump, replica, below, NackReason::Gap, Knowledge::FreshAsOf(moment(1)));
}

/// Invariant 14: what no digest of rows covers has a checksum. Damage to a proof is refused, and mends itself.
#[test]
fn a_proof_whose_versions_or_numbers_were_damaged_is_refused() {
    let check = |damage: fn(&mut v1::ListProof)| {
        let (mut pump, replica) = fresh();
        let In::Pong(mut pong) = proof(&mut pump, 4, 3) else { panic!("no pong") };
        damage(&mut pong.proofs[0]);
        check_refused(pump, replica, In::Pong(pong), NackReason::Malformed, Knowledge::FreshAsOf(moment(1)));
    };
    check(|proof| proof.version.as_mut().unwrap().revocations |= 1 << 40);
    check(|proof| proof.version.as_mut().unwrap().mac = vec![0; 16].into());
    check(|proof| proof.last_change.as_mut().unwrap().epoch ^= 1);
    check(|proof| proof.horizon |= 1 << 30);
    check(|proof| proof.config_generation ^= 2);
    check(|proof| proof.digest = vec![1; 16].into());
    check(|proof| proof.checksum.clear());
}

#[test]
fn a_list_in_doubt_is_no_place_to_resume_from() {
    let (mut pump, mut replica) = fresh();
    let gap = delta(&pump, 8, 9, |_| {});
    receive(&mut pump, gap).unwrap();
    let subscribed = pump.session.connect();
    assert!(matches!(&subscribed[1].message, Some(Out::Subscribe(s)) if s.version.is_none()));
    pump.connect();
    pump.prove(&mut replica, moment(5)).unwrap();
    check_fresh(&pump, &replica, 5);
    let subscribed = pump.session.connect();
    assert!(matches!(&subscribed[1].message, Some(Out::Subscribe(s)) if s.version.is_some()));
}

/// What was under way when something was refused says nothing of what will come.
#[test]
fn between_a_refusal_and_the_snapshot_neither_deltas_nor_proofs_count() {
    let (mut pump, mut replica) = fresh();
    pump.ping(moment(5));
    pump.settle(&mut replica).unwrap();
    let gap = delta(&pump, 8, 9, |_| {});
    receive(&mut pump, gap).unwrap();
    let unsent: Vec<_> = pump.to_replica.drain(..).collect();
    replica.step(put(3));
    replica.prove();
    pump.fill(&mut replica);
    let skipped = pump.deliver_one().unwrap().unwrap();
    assert!(skipped.notes.is_empty() && skipped.replies.is_empty());
    let received = pump.deliver_one().unwrap().unwrap();
    assert_eq!(received.notes, [Note::Proven { sent: moment(5), lists: 0 }]);
    assert!(received.changed.is_empty() && received.replies.is_empty());
    assert_eq!(pump.knowledge(), Knowledge::Corrupt);
    pump.to_replica.extend(unsent);
    pump.prove(&mut replica, moment(6)).unwrap();
    check_fresh(&pump, &replica, 6);
}

#[test]
fn what_is_not_understood_ends_the_stream_and_the_last_good_state_stays() {
    let (mut pump, replica) = fresh();
    let unset = v1::PublisherMessage { message: None };
    assert_eq!(pump.session.receive(unset).unwrap_err(), SessionError::NotUnderstood);
    for reference in [0, 2, u32::MAX] {
        let behind = In::Behind(v1::Behind { r#ref: reference });
        assert_eq!(receive(&mut pump, behind).unwrap_err(), SessionError::Reference { reference });
    }
    check_fresh(&pump, &replica, 1);
}

fn header(entries: u64, filter_bytes: u64) -> v1::SnapshotHeader {
    v1::SnapshotHeader {
        r#ref: 1,
        key_scheme: KEY_SCHEME,
        entries,
        filter_bytes,
        ..v1::SnapshotHeader::default()
    }
}

/// Invariant 18: over a limit the last good state stays.
#[test]
fn a_snapshot_that_announces_too_much_or_what_is_not_known_is_refused() {
    let check = |header: v1::SnapshotHeader, reason| {
        let (pump, replica) = fresh();
        check_refused(pump, replica, In::SnapshotHeader(header), reason, Knowledge::FreshAsOf(moment(1)));
    };
    check(header(MAX_ENTRIES + 1, 0), NackReason::Malformed);
    check(header(1, 64 * 1024 + 1), NackReason::Malformed);
    check(header(1, u64::MAX), NackReason::Malformed);
    check(v1::SnapshotHeader { key_scheme: 2, ..header(0, 0) }, NackReason::NotUnderstood);
    let required_features = vec!["relay".to_owned()];
    check(v1::SnapshotHeader { required_features, ..header(0, 0) }, NackReason::NotUnderstood);
}

/// Invariant 18: no more memory than announced.
#[test]
fn a_snapshot_that_is_not_as_announced_is_refused() {
    let check = |header, message| {
        let (mut pump, replica) = fresh();
        receive(&mut pump, In::SnapshotHeader(header)).unwrap();
        check_refused(pump, replica, message, NackReason::Malformed, Knowledge::FreshAsOf(moment(1)));
    };
    let chunk = |length| In::SnapshotFilter(v1::SnapshotFilter { r#ref: 1, chunk: vec![0; length].into() });
    check(header(0, 10), chunk(11));
    let rows = crate::revocation::row::Rows { issued: Some(UnixSeconds::MIN), ..Default::default() };
    let entries = crate::distribution::convert::entries_to_wire(
        [(Key::from_bytes([1; 16]), rows), (Key::from_bytes([2; 16]), rows)].into_iter(),
    );
    check(header(1, 0), In::SnapshotEntries(v1::SnapshotEntries { r#ref: 1, entries: Some(entries) }));
    check(header(1, 0), In::SnapshotEntries(v1::SnapshotEntries { r#ref: 1, entries: None }));
    let end = snapshot_end_to_wire(&sealed(9), Digest::default(), UnixSeconds::MIN);
    let end = v1::SnapshotEnd { r#ref: 1, ..end };
    check(header(1, 0), In::SnapshotEnd(end.clone()));
    check(header(0, 10), In::SnapshotEnd(end.clone()));
    check(header(0, 0), In::SnapshotEnd(end));
}

#[test]
fn a_controller_that_is_behind_or_about_to_end_is_left() {
    let mut pump = Pump::new();
    let behind = receive(&mut pump, In::Behind(v1::Behind { r#ref: 1 })).unwrap();
    assert_eq!(behind.leave, Some(Leave::Behind));
    let draining = receive(&mut pump, In::Draining(v1::Draining { within_milliseconds: 7 })).unwrap();
    assert_eq!(draining.leave, Some(Leave::Draining { within_milliseconds: 7 }));
    let goodbye = pump.session.goodbye();
    assert_eq!(goodbye, [message(Out::Bye(v1::Bye { r#ref: 1 }))]);
}

/// Invariant 1: of a list that the new stream proves nothing of, the sidecar is as fresh as the old one has made it: there it
/// has to stay counted.
#[test]
fn goodbye_is_said_for_what_the_new_stream_has_proven_alone() {
    let (mut pump, _) = fresh();
    let goodbye = [message(Out::Bye(v1::Bye { r#ref: 1 }))];
    assert_eq!(pump.session.goodbye_to_the_one_before(), goodbye);
    pump.session.connect();
    assert_eq!(pump.session.goodbye_to_the_one_before(), []);
    assert_eq!(pump.session.goodbye(), goodbye);
}

/// Invariant 4: who may not have a list any more goes on denying what it holds of it, and no longer than before vouches.
#[test]
fn what_is_held_of_a_list_stays_when_a_controller_gives_it_no_more() {
    let (mut pump, replica) = fresh();
    let detail = "not\nyou".to_owned();
    let told = In::NotAdmitted(v1::NotAdmitted { r#ref: 1, reason: 1, detail });
    let received = receive(&mut pump, told).unwrap();
    assert_eq!(received.notes, [Note::NotAdmitted { index: 0, why: "notyou".to_owned() }]);
    assert!(received.changed.is_empty() && received.replies.is_empty() && received.leave.is_none());
    pump.check_equal(&replica);
    let unknown = In::NotAdmitted(v1::NotAdmitted { r#ref: 7, ..v1::NotAdmitted::default() });
    assert_eq!(receive(&mut pump, unknown).map(drop), Err(SessionError::Reference { reference: 7 }));
}

/// A revocation of what is revoked already changes no row, and is enforced once a later state is proven.
#[test]
fn a_ping_acknowledges_what_was_proven_last() {
    let (mut pump, mut replica) = fresh();
    replica.step(put(2));
    let repeated = version(replica.newest);
    pump.prove(&mut replica, moment(5)).unwrap();
    assert_eq!(pump.list().version(), version(3));
    pump.reactions.clear();
    pump.ping(moment(6));
    pump.settle(&mut replica).unwrap();
    let [Reaction::Ping(acknowledged)] = &pump.reactions[..] else { panic!("{:?}", pump.reactions) };
    assert!(matches!(&acknowledged[..], [(_, in_use)] if in_use.version >= repeated), "{acknowledged:?}");
    // Another replica has vouched for nothing yet: there, what is held is acknowledged.
    pump.connect();
    pump.ping(moment(7));
    pump.prove(&mut replica, moment(8)).unwrap();
    check_fresh(&pump, &replica, 8);
}
