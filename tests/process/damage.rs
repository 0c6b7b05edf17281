//! Damage to the messages that a controller sends: gRPC in HTTP/2 in the clear, taken apart as far as needed.

use std::sync::{Mutex, MutexGuard};

/// The byte with which a message of the protocol begins that is a delta: field 6.
pub(crate) const DELTA: u8 = 0x32;
/// The same of an answer to a ping: field 7.
pub(crate) const PONG: u8 = 0x3a;

const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const MESSAGE_HEADER: usize = 5;

/// What becomes of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// So many pass; before the next, the connection is cut.
    CutAfter(usize),
    /// The next one of this kind does not come, and what follows does.
    Lose(u8),
    /// In the next one of this kind, the bit at this place is flipped, in percent of its length.
    Flip(u8, usize),
    /// In each one a bit is flipped in the middle.
    FlipEach,
}

/// What the relay damages at the moment.
#[derive(Debug, Default)]
pub(crate) struct Damage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    passed: usize,
    damaged: usize,
    /// What these tests can't do with what came.
    confused: Option<&'static str>,
}

/// Whether anything comes after what was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    On,
    NoMore,
}

impl Damage {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn start(&self, fault: Fault) {
        *self.lock() = State { fault: Some(fault), ..State::default() };
    }

    pub(crate) fn damaged(&self) -> usize {
        let state = self.lock();
        assert_eq!(state.confused, None);
        state.damaged
    }

    pub(crate) fn end(&self) -> usize {
        let state = std::mem::take(&mut *self.lock());
        assert_eq!(state.confused, None);
        state.damaged
    }

    /// The connection ends with it; the test hears of it when it asks what was damaged.
    fn confuse(&self, why: &'static str) -> Passes {
        self.lock().confused = Some(why);
        Passes::NoMore
    }

    /// Adds what becomes of a message, with its header.
    fn judge(&self, message: &[u8], passes: &mut Vec<u8>) -> Passes {
        let mut state = self.lock();
        let (is_kind, at) = (|kind| message.get(MESSAGE_HEADER) == Some(&kind), passes.len());
        let happens = match state.fault {
            Some(Fault::CutAfter(count)) => state.passed == count,
            Some(Fault::Lose(kind) | Fault::Flip(kind, _)) => state.damaged == 0 && is_kind(kind),
            Some(Fault::FlipEach) => true,
            None => false,
        };
        state.passed += 1;
        if !happens {
            passes.extend(message);
            return Passes::On;
        }
        state.damaged += 1;
        let percent = match state.fault {
            Some(Fault::CutAfter(_)) => {
                // The next connection is a good one.
                state.fault = None;
                return Passes::NoMore;
            }
            Some(Fault::Lose(_)) | None => return Passes::On,
            Some(Fault::Flip(_, percent)) => percent,
            Some(Fault::FlipEach) => 50,
        };
        passes.extend(message);
        let bits = (message.len() - MESSAGE_HEADER) * 8;
        let bit = (bits * percent / 100).min(bits - 1);
        passes[at + MESSAGE_HEADER + bit / 8] ^= 1 << (bit % 8);
        Passes::On
    }
}

/// The frames of one connection, as they come.
#[derive(Debug, Default)]
pub(crate) struct Frames(Vec<u8>);

impl Frames {
    /// Takes what was read; returns what passes of it.
    pub(crate) fn take(&mut self, read: &[u8], damage: &Damage) -> (Vec<u8>, Passes) {
        self.0.extend(read);
        let mut passes = Vec::new();
        while let Some(header) = self.0.first_chunk::<FRAME_HEADER>().copied() {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            if self.0.len() < FRAME_HEADER + length {
                break;
            }
            let frame: Vec<u8> = self.0.drain(..FRAME_HEADER + length).collect();
            if header[3] != DATA {
                passes.extend(frame);
                continue;
            }
            let (content, last) = messages(&frame[FRAME_HEADER..], damage);
            passes.extend(&u32::try_from(content.len()).unwrap().to_be_bytes()[1..]);
            passes.extend(&header[3..]);
            passes.extend(content);
            if last == Passes::NoMore {
                return (passes, last);
            }
        }
        (passes, Passes::On)
    }
}

/// The lists of these tests are small: no message is in two frames.
fn messages(mut content: &[u8], damage: &Damage) -> (Vec<u8>, Passes) {
    let mut passes = Vec::new();
    while let Some(header) = content.first_chunk::<MESSAGE_HEADER>() {
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let Some((message, rest)) = content.split_at_checked(MESSAGE_HEADER + length) else { break };
        if length == 0 {
            return (passes, damage.confuse("a message is empty"));
        }
        content = rest;
        if damage.judge(message, &mut passes) == Passes::NoMore {
            return (passes, Passes::NoMore);
        }
    }
    if content.is_empty() {
        (passes, Passes::On)
    } else {
        (passes, damage.confuse("a message is in two frames"))
    }
}
