use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::distribution::convert::{digest_to_wire, version_to_wire};
use crate::distribution::enforcement::InUse;
use crate::distribution::pump::{
    Ended, Pump, Replica, decode, encode, lift, moment, name, publisher, put, seal_key,
};
use crate::revocation::digest::Digest;
use crate::revocation::freshness::Knowledge;
use crate::revocation::list::tests::version;
use crate::revocation::state::State;
use crate::revocation::state::tests::HASH_KEY;

mod admission;

fn say(message: In) -> v1::SubscriberMessage {
    v1::SubscriberMessage { message: Some(message) }
}

fn hello() -> In {
    In::Hello(v1::Hello { identity: "shop-1#ab".to_owned(), ..v1::Hello::default() })
}

fn subscribe(reference: u32) -> v1::Subscribe {
    let (namespace, name) = ("default".to_owned(), format!("list-{reference}"));
    v1::Subscribe {
        r#ref: reference,
        namespace,
        name,
        mode: v1::Mode::Exact.into(),
        ..v1::Subscribe::default()
    }
}

fn sealed(revision: u64) -> v1::Version {
    let version = version(revision);
    version_to_wire(&Sealed { version, seal: seal_key().seal(&version) })
}

fn forged(revision: u64) -> v1::Version {
    v1::Version { mac: Bytes::from(vec![0; 16]), ..sealed(revision) }
}

fn ack(reference: u32, version: v1::Version) -> v1::Ack {
    v1::Ack { r#ref: reference, version: Some(version), config_generation: 1 }
}

fn nack(reason: v1::NackReason) -> In {
    In::Nack(v1::Nack { r#ref: 1, reason: reason.into(), detail: "why\n".to_owned(), ..v1::Nack::default() })
}

fn ping(nonce: u8, acknowledged: Vec<v1::Ack>) -> In {
    In::Ping(v1::Ping { nonce: Bytes::from(vec![nonce; 16]), acknowledged })
}

/// A state with one row.
fn with(n: u8) -> State {
    let mut state = State::new(HASH_KEY);
    state.apply(put(n));
    state
}

/// A stream of a sidecar that follows list 1.
fn following(subscribe: v1::Subscribe, highest: Option<v1::Version>) -> Subscriber {
    let mut subscriber = Subscriber::new(seal_key());
    let hello =
        v1::Hello { identity: "shop-1#ab".to_owned(), highest_version: highest, ..v1::Hello::default() };
    subscriber.receive(say(In::Hello(hello)), 0).unwrap();
    subscriber.receive(say(In::Subscribe(subscribe)), 0).unwrap();
    subscriber
}

fn frames(subscriber: &mut Subscriber, proven: u64, list: &mut ListPublisher) -> Vec<Out> {
    subscriber.next_frames(proven, &mut |_, use_it| use_it(list)).iter().map(decode).collect()
}

fn kinds(frames: &[Out]) -> String {
    let kind = |frame: &Out| match frame {
        Out::Config(_) => "config",
        Out::SnapshotHeader(_) => "header",
        Out::SnapshotFilter(_) => "filter",
        Out::SnapshotEntries(_) => "entries",
        Out::SnapshotEnd(_) => "end",
        Out::Delta(_) => "delta",
        Out::Pong(_) => "pong",
        Out::Behind(_) => "behind",
        Out::Draining(_) => "draining",
        Out::NotAdmitted(_) => "not-admitted",
    };
    frames.iter().map(kind).collect::<Vec<_>>().join(" ")
}

fn check_refused(messages: Vec<In>, expected: &ProtocolError) {
    let mut subscriber = Subscriber::new(seal_key());
    let last = messages.len() - 1;
    for (n, message) in messages.into_iter().enumerate() {
        let outcome = subscriber.receive(say(message), 0);
        if n == last {
            assert_eq!(outcome.as_ref(), Err(expected));
        } else {
            outcome.unwrap();
        }
    }
}

#[test]
fn what_breaks_the_protocol_ends_the_stream() {
    let check = |messages, expected| check_refused(messages, &expected);
    let subscribed = |message| vec![hello(), In::Subscribe(subscribe(1)), message];
    let value = |field| ProtocolError::Convert(ConvertError::Value { field });
    check(vec![ping(1, vec![])], ProtocolError::Hello);
    check(vec![hello(), hello()], ProtocolError::Hello);
    for identity in ["no-instance", "a\n#1", "a#xyz", &format!("{}#1", "x".repeat(255))] {
        let hello = In::Hello(v1::Hello { identity: identity.to_owned(), ..v1::Hello::default() });
        check(vec![hello], value("hello.identity"));
    }
    let again = In::Subscribe(subscribe(1));
    check(subscribed(again), ProtocolError::Reference { reference: 1 });
    check(vec![hello(), In::Subscribe(subscribe(0))], ProtocolError::Reference { reference: 0 });
    check(subscribed(In::Ack(ack(2, sealed(1)))), ProtocolError::Reference { reference: 2 });
    check(subscribed(In::Bye(v1::Bye { r#ref: 7 })), ProtocolError::Reference { reference: 7 });
    let of_mode = |mode| vec![hello(), In::Subscribe(v1::Subscribe { mode, ..subscribe(1) })];
    check(of_mode(v1::Mode::Compact.into()), ProtocolError::Compact);
    check(of_mode(v1::Mode::Unspecified.into()), ProtocolError::NotUnderstood);
    check(of_mode(77), ProtocolError::NotUnderstood);
    let nameless = v1::Subscribe { name: "A B".to_owned(), ..subscribe(1) };
    let why = ListName::new("default", "A B").unwrap_err();
    check(vec![hello(), In::Subscribe(nameless)], ProtocolError::Name(why));
    let short = In::Ping(v1::Ping { nonce: Bytes::from_static(b"short"), acknowledged: vec![] });
    let length = ConvertError::Length { field: "ping.nonce", found: 5, expected: 16 };
    check(subscribed(short), ProtocolError::Convert(length));
    let missing = ConvertError::Missing { field: "ack.version" };
    check(
        subscribed(In::Ack(v1::Ack { r#ref: 1, version: None, config_generation: 1 })),
        ProtocolError::Convert(missing),
    );
}

/// Invariant 18: bounded memory.
#[test]
fn more_lists_or_acknowledgements_than_a_stream_carries_are_refused() {
    let most = u32::try_from(MAX_LISTS).unwrap();
    let lists = (1..=most + 1).map(|reference| In::Subscribe(subscribe(reference)));
    check_refused(std::iter::once(hello()).chain(lists).collect(), &ProtocolError::TooManyLists);
    let many = vec![ack(1, sealed(1)); MAX_LISTS + 1];
    let messages = vec![hello(), In::Subscribe(subscribe(1)), ping(1, many)];
    check_refused(messages, &ProtocolError::TooManyLists);
}

#[test]
fn an_unset_message_is_not_understood() {
    let unset = v1::SubscriberMessage { message: None };
    let refused = following(subscribe(1), None).receive(unset, 0);
    assert_eq!(refused, Err(ProtocolError::NotUnderstood));
}

#[test]
fn a_newcomer_gets_the_declaration_then_a_snapshot_then_deltas() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    list.apply(put(1), version(2));
    let mut subscriber = following(subscribe(1), None);
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "config header filter entries end");
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "");
    list.apply(put(2), version(3));
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "delta");
}

/// Invariant 18: a subscriber that never reads costs a bounded number of frames, and skips what it missed.
#[test]
fn one_that_reads_late_gets_one_delta_over_the_whole_range() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    (2..1000).for_each(|n| _ = list.apply(if n % 2 == 0 { put(1) } else { lift(1) }, version(n)));
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "delta");
    (1000..4000).for_each(|n| _ = list.apply(if n % 2 == 0 { put(1) } else { lift(1) }, version(n)));
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "header filter end");
}

/// Invariant 1: a proof that did not begin after the ping answers nothing.
#[test]
fn a_ping_is_answered_only_by_a_round_that_began_after_it() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    subscriber.receive(say(ping(1, vec![ack(1, sealed(1))])), 5).unwrap();
    assert_eq!(kinds(&frames(&mut subscriber, 4, &mut list)), "");
    let answered = frames(&mut subscriber, 5, &mut list);
    let [Out::Pong(pong)] = &answered[..] else { panic!("{answered:?}") };
    assert_eq!((&pong.nonce[..], pong.proofs.len()), (&[1; 16][..], 1));
    assert_eq!(kinds(&frames(&mut subscriber, 9, &mut list)), "");
}

#[test]
fn one_answer_serves_all_pings_before_its_round() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    (1..=3).for_each(|n| drop(subscriber.receive(say(ping(n, vec![ack(1, sealed(1))])), n.into()).unwrap()));
    let answered = frames(&mut subscriber, 2, &mut list);
    assert!(matches!(&answered[..], [Out::Pong(pong)] if pong.nonce[..] == [2; 16]));
    assert!(
        matches!(&frames(&mut subscriber, 3, &mut list)[..], [Out::Pong(pong)] if pong.nonce[..] == [3; 16])
    );
}

/// A subscriber that is slow to apply goes stale instead of blocking the report of enforcement.
#[test]
fn no_ping_is_answered_before_what_was_sent_earlier_is_acknowledged() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    list.apply(put(1), version(2));
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "delta");
    subscriber.receive(say(ping(1, vec![ack(1, sealed(1))])), 1).unwrap();
    assert_eq!(kinds(&frames(&mut subscriber, 1, &mut list)), "");
    let acknowledged = subscriber.receive(say(In::Ack(ack(1, sealed(2)))), 1).unwrap();
    let list_name = ListName::new("default", "list-1").unwrap();
    assert_eq!(
        acknowledged,
        Reaction::Acknowledged(vec![(list_name, InUse { version: version(2), declaration: None })])
    );
    assert_eq!(kinds(&frames(&mut subscriber, 1, &mut list)), "pong");
}

/// What came after the ping travels before its answer in the same stream.
#[test]
fn deltas_that_are_sent_with_the_answer_come_before_it() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    subscriber.receive(say(ping(1, vec![ack(1, sealed(1))])), 1).unwrap();
    list.apply(put(1), version(2));
    assert_eq!(kinds(&frames(&mut subscriber, 1, &mut list)), "delta pong");
}

/// Invariant 18: bounded memory, and the oldest open ping is the one that a slow round answers.
#[test]
fn pings_above_the_limit_replace_the_newest() {
    let mut subscriber = following(subscribe(1), None);
    (0..100).for_each(|n| drop(subscriber.receive(say(ping(n, vec![])), u64::from(n) + 1).unwrap()));
    let open: Vec<u8> = subscriber.pings.iter().map(|ping| ping.nonce[0]).collect();
    assert_eq!(open, [0, 1, 2, 3, 4, 5, 6, 99]);
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    assert_eq!(subscriber.receive(say(In::Ack(ack(1, sealed(9)))), 0), Ok(Reaction::Acknowledged(vec![])));
    frames(&mut subscriber, 0, &mut list);
    let refused = subscriber.receive(say(In::Ack(ack(1, sealed(9)))), 0);
    assert_eq!(refused, Err(ProtocolError::NeverSent { version: version(9) }));
}

/// A sidecar that outlived the store whose versions it holds is no enemy: it starts anew.
#[test]
fn a_version_under_a_foreign_seal_counts_for_nothing() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let held = v1::Subscribe {
        version: Some(forged(90)),
        digest: digest_to_wire(Digest::default()),
        ..subscribe(1)
    };
    let mut subscriber = following(held, Some(forged(90)));
    subscriber.receive(say(ping(1, vec![ack(1, forged(90))])), 1).unwrap();
    assert_eq!(kinds(&frames(&mut subscriber, 1, &mut list)), "config header filter end pong");
    let reaction = subscriber.receive(say(ping(2, vec![ack(1, forged(1))])), 2);
    assert_eq!(reaction, Ok(Reaction::Ping(vec![])));
    assert_eq!(kinds(&frames(&mut subscriber, 2, &mut list)), "");
}

#[test]
fn behind_is_said_once_and_only_after_a_round_that_began_after_the_subscription() {
    let mut list = publisher(with(7), 3);
    let digest = digest_to_wire(list.state().digest());
    let held = v1::Subscribe { version: Some(sealed(5)), digest, ..subscribe(1) };
    let mut subscriber = following(held, None);
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "");
    subscriber.receive(say(ping(1, vec![ack(1, sealed(5))])), 1).unwrap();
    let told = frames(&mut subscriber, 1, &mut list);
    assert_eq!(kinds(&told), "behind pong");
    assert!(matches!(&told[1], Out::Pong(pong) if pong.proofs.is_empty()));
    assert_eq!(kinds(&frames(&mut subscriber, 2, &mut list)), "");
    list.advance(version(6));
    assert_eq!(kinds(&frames(&mut subscriber, 2, &mut list)), "config");
}

/// Invariant 5: a replica that is late sends nothing that the sidecar would have to refuse.
#[test]
fn a_replica_below_the_highest_version_held_sends_no_snapshot() {
    let mut list = publisher(State::new(HASH_KEY), 3);
    let mut subscriber = following(subscribe(1), Some(sealed(5)));
    subscriber.receive(say(ping(1, vec![])), 1).unwrap();
    assert_eq!(kinds(&frames(&mut subscriber, 1, &mut list)), "behind pong");
    list.advance(version(5));
    let caught_up = frames(&mut subscriber, 1, &mut list);
    assert_eq!(kinds(&caught_up), "config header filter end");
    assert!(matches!(caught_up.last(), Some(Out::SnapshotEnd(end)) if end.version == Some(sealed(5))));
}

#[test]
fn a_refusal_is_answered_with_the_declaration_and_a_snapshot_and_three_in_a_row_end_the_stream() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    for _ in 0..2 {
        let reaction = subscriber.receive(say(nack(v1::NackReason::Digest)), 0).unwrap();
        let list_name = ListName::new("default", "list-1").unwrap();
        assert_eq!(reaction, Reaction::Refused { list: list_name, detail: "why".to_owned() });
        assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "config header filter end");
    }
    let refused = subscriber.receive(say(nack(v1::NackReason::Digest)), 0);
    assert_eq!(refused, Err(ProtocolError::Refused { detail: "why".to_owned() }));
}

/// Invariant 21: no storm. A declaration that is refused is refused again, however many snapshots come with it.
#[test]
fn a_declaration_that_is_refused_again_and_again_ends_the_stream() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    let mut round = || {
        subscriber.receive(say(nack(v1::NackReason::Config)), 0)?;
        frames(&mut subscriber, 0, &mut list);
        subscriber.receive(say(In::Ack(ack(1, sealed(1)))), 0)
    };
    assert!(round().is_ok() && round().is_ok());
    assert_eq!(round(), Err(ProtocolError::Refused { detail: "why".to_owned() }));
}

#[test]
fn a_list_of_which_the_sidecar_has_taken_leave_is_sent_no_more() {
    let mut list = publisher(State::new(HASH_KEY), 1);
    let mut subscriber = following(subscribe(1), None);
    frames(&mut subscriber, 0, &mut list);
    let reaction = subscriber.receive(say(In::Bye(v1::Bye { r#ref: 1 })), 0).unwrap();
    assert_eq!(reaction, Reaction::Bye(ListName::new("default", "list-1").unwrap()));
    subscriber.receive(say(ping(1, vec![])), 1).unwrap();
    list.apply(put(1), version(2));
    let frames = frames(&mut subscriber, 1, &mut list);
    assert!(matches!(&frames[..], [Out::Pong(pong)] if pong.proofs.is_empty()));
}

#[test]
fn a_list_that_the_replica_does_not_have_is_not_proven_and_holds_up_nothing() {
    let mut subscriber = following(subscribe(1), None);
    subscriber.receive(say(ping(1, vec![])), 1).unwrap();
    let frames = subscriber.next_frames(1, &mut |_, _| {});
    assert!(matches!(decode(&frames[0]), Out::Pong(pong) if pong.proofs.is_empty()));
}

/// Invariant 22: a sidecar moves between replicas that have fetched at different times, without a snapshot.
#[test]
fn a_sidecar_moves_to_a_replica_that_names_the_same_state_by_an_earlier_version() {
    let mut late = Replica::fetched(with(7), 8);
    let mut pump = Pump::new();
    pump.prove(&mut late, moment(1)).unwrap();
    assert_eq!(pump.list().version(), version(8));
    let mut early = Replica::fetched(with(7), 1);
    (0..9).for_each(|_| early.pass());
    pump.connect();
    pump.prove(&mut early, moment(2)).unwrap();
    assert_eq!(early.list.counts().snapshots, 0);
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(2)));
    early.step(put(1));
    pump.prove(&mut early, moment(3)).unwrap();
    assert_eq!(early.list.counts().snapshots, 0);
    pump.check_equal(&early);
    assert_eq!(pump.knowledge(), Knowledge::FreshAsOf(moment(3)));
}

#[test]
fn a_message_of_this_stream_alone_and_a_shared_one_decode_alike() {
    let shared = publisher(State::new(HASH_KEY), 1).config().frame.clone();
    let frame = Frame::Shared { reference: 7, message: shared };
    assert!(matches!(decode(&frame), Out::Config(config) if config.r#ref == 7));
    assert_eq!(encode(&own(Out::Behind(v1::Behind { r#ref: 1 })))[..], [0x42, 2, 8, 1]);
}

proptest! {
    /// Invariant 18: any bytes, no panic.
    #[test]
    fn random_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), tag in 1u8..7) {
        let mut list = publisher(State::new(HASH_KEY), 1);
        let mut subscriber = following(subscribe(1), None);
        let length = u8::try_from(bytes.len()).unwrap();
        let framed = [&[tag << 3 | 2, length][..], &bytes].concat();
        for bytes in [&bytes[..], &framed] {
            if let Ok(message) = v1::SubscriberMessage::decode(bytes) {
                drop(subscriber.receive(message, 1));
                frames(&mut subscriber, 1, &mut list);
            }
        }
    }

    /// Invariant 18: also with fields that make sense each by itself.
    #[test]
    fn messages_in_any_order_never_panic_and_never_confuse(
        choices in proptest::collection::vec((0u8..7, 0u32..3, 0u64..6), 0..40),
    ) {
        let mut list = publisher(State::new(HASH_KEY), 1);
        let mut subscriber = Subscriber::new(seal_key());
        for (n, (kind, reference, revision)) in choices.into_iter().enumerate() {
            let message = match kind {
                0 => hello(),
                1 => In::Subscribe(subscribe(reference)),
                2 => In::Ack(ack(reference, sealed(revision))),
                3 => In::Nack(v1::Nack { r#ref: reference, ..v1::Nack::default() }),
                4 => In::Bye(v1::Bye { r#ref: reference }),
                5 => In::Subscribe(v1::Subscribe {
                    version: Some(sealed(revision)),
                    digest: digest_to_wire(Digest::default()),
                    ..subscribe(reference)
                }),
                _ => ping(1, vec![ack(reference, sealed(revision))]),
            };
            drop(subscriber.receive(say(message), n as u64));
            list.apply(put(u8::try_from(n).unwrap()), version(n as u64 + 2));
            let sent = frames(&mut subscriber, n as u64, &mut list);
            prop_assert!(sent.len() < 40, "{}", kinds(&sent));
        }
    }
}

/// What the stream ends with is for the log of both sides.
#[test]
fn a_stream_that_a_replica_ends_says_why() {
    let mut replica = Replica::new();
    let mut pump = Pump::new();
    pump.settle(&mut replica).unwrap();
    pump.to_replica.push_back(say(In::Ack(ack(1, sealed(77)))));
    let ended = pump.settle(&mut replica).unwrap_err();
    assert_eq!(ended, Ended::ByReplica(ProtocolError::NeverSent { version: version(77) }));
    assert_eq!(pump.view().name, name());
}
