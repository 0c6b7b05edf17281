//! Cut streams, flipped bits, late replicas, and whatever else may come.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::revocation::state::Step;
use crate::revocation::state::tests::any_step;

/// Moves messages until none is left; the stream breaks after `left` of them.
fn settle_until_cut(pump: &mut Pump, replica: &mut Replica, left: &mut usize) {
    loop {
        if *left == 0 {
            pump.connect();
            *left = usize::MAX;
        }
        let received = pump.receive_one(replica).unwrap();
        if !received {
            pump.fill(replica);
            if pump.deliver_one().unwrap().is_none() {
                return;
            }
        }
        *left -= 1;
    }
}

/// Failure 6: no boundary between two messages loses anything for ever.
#[test]
fn a_stream_that_is_cut_at_any_message_boundary_and_resumed_converges() {
    let mut messages = 0;
    for cut in 0.. {
        let (mut pump, mut replica, mut left) = (Pump::new(), Replica::new(), cut);
        replica.step(put(1));
        let steps = [put(2), lift(1), put(3), put(1), lift(2)];
        for (n, step) in (1..).zip(steps) {
            settle_until_cut(&mut pump, &mut replica, &mut left);
            pump.ping(moment(n));
            settle_until_cut(&mut pump, &mut replica, &mut left);
            replica.step(step);
            replica.prove();
            settle_until_cut(&mut pump, &mut replica, &mut left);
        }
        pump.prove(&mut replica, moment(100)).unwrap();
        check_fresh(&pump, &replica, 100);
        if left < 1_000_000 {
            messages = cut;
            break;
        }
    }
    assert!(messages > 25, "{messages} boundaries were tried");
}

/// Everything that a replica sends to one sidecar, from the first message to the last proof.
fn conversation(steps: &[Step]) -> Vec<Bytes> {
    let (mut pump, mut replica) = (Pump::new(), Replica::new());
    let mut sent = Vec::new();
    for (n, step) in (1..).zip(steps) {
        pump.ping(moment(n));
        replica.step(*step);
        while pump.receive_one(&mut replica).unwrap() {}
        replica.prove();
        while pump.receive_one(&mut replica).unwrap() || {
            pump.fill(&mut replica);
            !pump.to_sidecar.is_empty()
        } {
            sent.extend(pump.to_sidecar.front().cloned());
            pump.deliver_one().unwrap();
        }
    }
    sent
}

proptest! {
    /// Invariants 14 and 21: a flipped bit in any message is refused, or changes nothing; never a wrong list, and never
    /// one that does not mend itself.
    #[test]
    fn a_flipped_bit_never_makes_a_wrong_list(
        steps in proptest::collection::vec(any_step(), 1..8),
        at in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
    ) {
        let sent = conversation(&steps);
        let (which, bit) = (at.index(sent.len()), bit.index(sent[at.index(sent.len())].len() * 8));
        let (mut pump, mut replica) = (Pump::new(), Replica::new());
        let mut states = vec![replica.list.state().snapshot(version(0))];
        for step in &steps {
            replica.step(*step);
            states.push(replica.list.state().snapshot(version(0)));
        }
        (1..=steps.len() as u64).for_each(|n| pump.ping(moment(n)));
        for (n, original) in sent.iter().enumerate() {
            let mut bytes = original.to_vec();
            if n == which {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            pump.to_sidecar = [Bytes::from(bytes)].into();
            let outcome = pump.deliver_one();
            if let Some(list) = &pump.view().list {
                let held = crate::revocation::snapshot::Snapshot { version: version(0), ..list.snapshot() };
                prop_assert!(states.contains(&held));
            }
            if outcome.is_err() {
                break;
            }
        }
        pump.connect();
        (0..steps.len()).for_each(|_| replica.pass());
        pump.prove(&mut replica, moment(100)).unwrap();
        pump.prove(&mut replica, moment(101)).unwrap();
        check_fresh(&pump, &replica, 101);
        prop_assert_eq!(pump.view().horizon, Some(UnixSeconds::MIN));
    }

    /// Invariant 18: any bytes, no panic, and nothing that is in use changes for the worse.
    #[test]
    fn random_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), tag in 1u8..10) {
        let (mut pump, _) = fresh();
        let length = u8::try_from(bytes.len()).unwrap();
        let framed = [&[tag << 3 | 2, length][..], &bytes].concat();
        for bytes in [&bytes[..], &framed] {
            if let Ok(message) = v1::PublisherMessage::decode(bytes) {
                drop(pump.session.receive(message));
            }
        }
        prop_assert!(found(&pump, 1) && found(&pump, 2));
    }
}

/// Two replicas that follow one log at their own pace, and a sidecar that moves between them.
struct World {
    log: Vec<Option<Step>>,
    states: Vec<State>,
    replicas: [Replica; 2],
    /// Each replica's round: how many pings it covers, and the version of its heartbeat.
    rounds: [Option<(u64, u64)>; 2],
    pump: Pump,
    at: usize,
    /// The newest version when each second's ping was sent.
    acknowledged: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Revoke(Step),
    Follow(usize),
    Relist(usize),
    Round(usize),
    Ping,
    ToReplica,
    ToSidecar,
    Connect(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any_step().prop_map(Op::Revoke),
        6 => (0usize..2).prop_map(Op::Follow),
        1 => (0usize..2).prop_map(Op::Relist),
        3 => (0usize..2).prop_map(Op::Round),
        3 => Just(Op::Ping),
        8 => Just(Op::ToReplica),
        8 => Just(Op::ToSidecar),
        1 => (0usize..2).prop_map(Op::Connect),
    ]
}

impl World {
    fn new() -> Self {
        Self {
            log: Vec::new(),
            states: vec![State::new(HASH_KEY)],
            replicas: [Replica::new(), Replica::new()],
            rounds: [None; 2],
            pump: Pump::new(),
            at: 0,
            acknowledged: Vec::new(),
        }
    }

    fn newest(&self) -> u64 {
        self.log.len() as u64 + 1
    }

    fn write(&mut self, step: Option<Step>) {
        let mut state = self.states.last().unwrap().clone();
        step.into_iter().for_each(|step| drop(state.apply(step)));
        self.log.push(step);
        self.states.push(state);
    }

    fn follow(&mut self, which: usize) {
        let replica = &mut self.replicas[which];
        let Some(step) = self.log.get(usize::try_from(replica.newest).unwrap() - 1) else { return };
        match step {
            Some(step) => replica.step(*step),
            None => replica.pass(),
        }
        if let Some((pings, _)) = self.rounds[which].take_if(|(_, written)| replica.newest >= *written) {
            replica.proven = pings;
        }
    }

    /// Tells whether the stream is still open.
    fn run(&mut self, op: Op) -> Result<(), Ended> {
        let replica = &mut self.replicas[self.at];
        match op {
            Op::Revoke(step) => self.write(Some(step)),
            Op::Follow(which) => self.follow(which),
            Op::Relist(which) => {
                let newest = self.newest();
                let replica = &mut self.replicas[which];
                let state = self.states.last().unwrap().clone();
                replica.list = crate::distribution::pump::publisher(state, newest);
                replica.newest = newest;
                // The heartbeat of a round that was open will not come again.
                self.rounds[which] = None;
            }
            Op::Round(which) => {
                if self.rounds[which].is_none() {
                    let pings = self.replicas[which].pings;
                    self.write(None);
                    self.rounds[which] = Some((pings, self.newest()));
                }
            }
            Op::Ping => {
                let second = self.acknowledged.len() as u64;
                self.acknowledged.push(self.newest());
                self.pump.ping(moment(second));
            }
            Op::ToReplica => _ = self.pump.receive_one(replica)?,
            Op::ToSidecar => {
                self.pump.fill(replica);
                drop(self.pump.deliver_one()?);
            }
            Op::Connect(which) => {
                self.at = which;
                self.pump.connect();
            }
        }
        Ok(())
    }

    /// Invariant 1, for one process: what was acknowledged when the ping was sent is in the list.
    fn check(&self) {
        let Knowledge::FreshAsOf(sent) = self.pump.knowledge() else { return };
        let second = usize::try_from(sent.boot_nanos / 1_000_000_000).unwrap();
        let proven = self.pump.view().proven.unwrap().revisions.revocations;
        assert!(proven >= self.acknowledged[second], "{proven} < {}", self.acknowledged[second]);
        let held = self.pump.list();
        let reached = held.version().revisions.revocations.max(proven);
        let state = &self.states[usize::try_from(reached).unwrap() - 1];
        assert_eq!(held.digest(), state.digest());
        assert_eq!(held.snapshot(), state.snapshot(held.version()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Invariants 1, 5, 11, 13 and 21, in any order of steps, rounds, pings, lags, cuts and moves.
    #[test]
    fn fresh_includes_all_that_was_acknowledged_and_everything_converges(
        ops in proptest::collection::vec(any_op(), 0..150),
    ) {
        let mut world = World::new();
        let mut highest = None;
        for op in ops {
            if world.run(op).is_err() {
                world.pump.connect();
            }
            world.check();
            let held = world.pump.view().list.as_ref().map(|list| list.version());
            prop_assert!(held >= highest, "Invariant 5: {highest:?} then {held:?}");
            highest = held;
        }
        while world.replicas[world.at].newest < world.newest() {
            world.follow(world.at);
        }
        let last = world.acknowledged.len() as u64;
        world.acknowledged.push(world.newest());
        world.pump.connect();
        let World { pump, replicas, at, .. } = &mut world;
        replicas[*at].newest += 10;
        pump.prove(&mut replicas[*at], moment(last)).unwrap();
        check_fresh(pump, &replicas[*at], last);
    }
}
