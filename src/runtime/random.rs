//! Randomness, passed in like the time, so that a test can replay it.

use std::sync::Mutex;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Fills bytes at random.
pub trait Random: Send + Sync + 'static {
    /// Overwrites all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Returns random bytes.
pub fn bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// Returns a number below `bound`; zero if the bound is zero. The bias is below `bound / 2^64`.
pub fn below(random: &dyn Random, bound: u64) -> u64 {
    u64::from_le_bytes(bytes(random)).checked_rem(bound).unwrap_or(0)
}

/// The generator of the operating system.
#[derive(Debug, Default)]
pub struct SystemRandomness(SystemRandom);

impl SystemRandomness {
    /// Makes one.
    #[must_use]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Random for SystemRandomness {
    #[allow(
        clippy::panic,
        reason = "without randomness a process could repeat nonces: nothing safe is left to do"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        if self.0.fill(bytes).is_err() {
            panic!("the operating system gives no randomness");
        }
    }
}

/// Repeats itself for the same seed (`SplitMix64`). Not for secrets.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, random)| *byte = random);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_the_system_does_not() {
        let [one, two] = [7, 7].map(SeededRandom::new);
        assert_eq!(bytes::<20>(&one), bytes::<20>(&two));
        let system = SystemRandomness::new();
        assert_ne!(bytes::<16>(&system), bytes::<16>(&system));
        assert!((0..100).all(|_| below(&one, 3) < 3));
        assert_eq!(below(&one, 0), 0);
    }
}
