//! What a stream gets while it is decided whether its sidecar may have a list, and after.

use super::*;
use crate::distribution::admission::Admission;

fn guarded() -> Subscriber {
    let mut subscriber = Subscriber::guarded(seal_key());
    subscriber.receive(say(hello()), 0).unwrap();
    subscriber.receive(say(In::Subscribe(subscribe(1))), 0).unwrap();
    subscriber
}

fn followed() -> ListName {
    "default/list-1".parse().unwrap()
}

fn refused() -> Admission {
    Admission::Refused { why: "not you".to_owned() }
}

fn list() -> ListPublisher {
    Replica::new().list
}

fn told(frames: &[Out]) -> Vec<&str> {
    let mut all = Vec::new();
    for frame in frames {
        let Out::NotAdmitted(told) = frame else { panic!("{}", kinds(frames)) };
        all.push(told.detail.as_str());
    }
    all
}

/// Invariant 24: what is not decided is not given.
#[test]
fn until_it_is_decided_nothing_of_a_list_is_sent_and_nothing_proven() {
    let (mut subscriber, mut list) = (guarded(), list());
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "");
    subscriber.receive(say(ping(1, vec![])), 1).unwrap();
    let answer = frames(&mut subscriber, 1, &mut list);
    let [Out::Pong(pong)] = answer.as_slice() else { panic!("{}", kinds(&answer)) };
    assert_eq!(pong.proofs, []);
    assert!(subscriber.take_answered().is_empty());
}

#[test]
fn a_refusal_is_told_once_and_ends_nothing_else() {
    let (mut subscriber, mut list) = (guarded(), list());
    assert_eq!(subscriber.decide(&followed(), &refused(), 0), Some(Admission::Pending));
    assert_eq!(told(&frames(&mut subscriber, 0, &mut list)), ["not you"]);
    assert_eq!(subscriber.decide(&followed(), &refused(), 0), None);
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "");
    subscriber.receive(say(ping(1, vec![])), 1).unwrap();
    assert_eq!(kinds(&frames(&mut subscriber, 1, &mut list)), "pong");
}

#[test]
fn who_is_admitted_later_gets_the_list_then() {
    let (mut subscriber, mut list) = (guarded(), list());
    subscriber.decide(&followed(), &refused(), 0);
    frames(&mut subscriber, 0, &mut list);
    assert_eq!(subscriber.decide(&followed(), &Admission::Admitted, 0), Some(refused()));
    assert!(kinds(&frames(&mut subscriber, 0, &mut list)).starts_with("config header"));
}

/// Invariant 1: a report without the sidecar may have been written for a round that answers an older ping.
#[test]
fn a_ping_from_before_the_admission_proves_nothing_of_the_list() {
    let (mut subscriber, mut list) = (guarded(), list());
    subscriber.receive(say(ping(1, vec![])), 1).unwrap();
    subscriber.decide(&followed(), &Admission::Admitted, 1);
    let sent = frames(&mut subscriber, 1, &mut list);
    let Some(Out::Pong(pong)) = sent.last() else { panic!("{}", kinds(&sent)) };
    assert_eq!(pong.proofs, []);
    assert!(subscriber.take_answered().is_empty());
    subscriber.receive(say(ping(2, vec![ack(1, sealed(1))])), 2).unwrap();
    let sent = frames(&mut subscriber, 2, &mut list);
    let [Out::Pong(pong)] = sent.as_slice() else { panic!("{}", kinds(&sent)) };
    assert_eq!(pong.proofs.len(), 1);
    assert_eq!(subscriber.take_answered(), [followed()]);
}

/// Invariant 24: a right that is taken away is gone while the stream runs, too.
#[test]
fn who_is_admitted_no_more_gets_nothing_more_and_what_it_still_says_does_no_harm() {
    let (mut subscriber, mut list) = (guarded(), list());
    subscriber.decide(&followed(), &Admission::Admitted, 0);
    frames(&mut subscriber, 0, &mut list);
    assert_eq!(subscriber.decide(&followed(), &refused(), 1), Some(Admission::Admitted));
    assert_eq!(told(&frames(&mut subscriber, 0, &mut list)), ["not you"]);
    let late = subscriber.receive(say(In::Ack(ack(1, sealed(1)))), 1);
    assert_eq!(late, Ok(Reaction::Acknowledged(Vec::new())));
    list.apply(put(7), version(2));
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "");
    // What was decided stays while it is being found out again.
    assert_eq!(subscriber.decide(&followed(), &Admission::Pending, 1), None);
    assert_eq!(kinds(&frames(&mut subscriber, 0, &mut list)), "");
}
