//! Which controller to connect to next.
//!
//! A URI with a host name stands for all addresses of that host, and each address for a replica. They are chosen at
//! random, so that sidecars spread over the replicas, and one that was just left or did not answer comes last.

use std::collections::VecDeque;

use crate::runtime::random::{Random, below};

/// How many addresses are remembered. More replicas than that are few sidecars' worry: an address that was forgotten is
/// only tried again earlier.
const REMEMBERED: usize = 64;

/// Remembers which candidates were tried since something was last proven.
#[derive(Debug)]
pub(super) struct Choice<T> {
    /// The latest is the last.
    tried: VecDeque<T>,
}

impl<T: Copy + PartialEq> Choice<T> {
    pub(super) const fn new() -> Self {
        Self { tried: VecDeque::new() }
    }

    /// Chooses one of the candidates: at random among those that were not tried, else the one that was tried longest
    /// ago. It counts as tried from now on.
    pub(super) fn choose(&mut self, candidates: &[T], random: &dyn Random) -> Option<T> {
        let untried: Vec<T> =
            candidates.iter().filter(|candidate| !self.tried.contains(candidate)).copied().collect();
        let chosen = match usize::try_from(below(random, untried.len() as u64)) {
            Ok(index) if !untried.is_empty() => untried.get(index).copied(),
            _ => self.tried.iter().find(|tried| candidates.contains(tried)).copied(),
        }?;
        self.tried.retain(|tried| *tried != chosen);
        self.tried.push_back(chosen);
        if self.tried.len() > REMEMBERED {
            self.tried.pop_front();
        }
        Some(chosen)
    }

    /// This one has proven something: those that were tried before it may be tried again as if they never were.
    pub(super) fn settle(&mut self, proven: T) {
        if let Some(position) = self.tried.iter().position(|tried| *tried == proven) {
            self.tried.drain(..position);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::runtime::random::SeededRandom;

    use super::*;

    #[test]
    fn every_candidate_is_tried_before_one_is_tried_again() {
        let random = SeededRandom::new(1);
        let mut choice = Choice::new();
        let first: Vec<u8> = (0..3).map(|_| choice.choose(&[1, 2, 3], &random).unwrap()).collect();
        let second: Vec<u8> = (0..3).map(|_| choice.choose(&[1, 2, 3], &random).unwrap()).collect();
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3]);
        assert_eq!(first, second, "then the one that was tried longest ago");
    }

    #[test]
    fn one_that_was_left_is_not_the_next_unless_it_is_the_only_one() {
        for seed in 0..100 {
            let random = SeededRandom::new(seed);
            let mut choice = Choice::new();
            let left = choice.choose(&[1, 2], &random).unwrap();
            choice.settle(left);
            let other = choice.choose(&[1, 2], &random).unwrap();
            assert_ne!(other, left);
            // The one that is left proves something while the other is connected to: it stays behind it.
            choice.settle(left);
            assert_ne!(choice.choose(&[left, other, 3], &random), Some(left));
            choice.settle(other);
            assert_eq!(choice.choose(&[left], &random), Some(left));
        }
        assert_eq!(Choice::<u8>::new().choose(&[], &SeededRandom::new(0)), None);
    }

    #[test]
    fn after_a_proof_those_that_failed_before_may_be_chosen_again() {
        let random = SeededRandom::new(3);
        let mut choice = Choice::new();
        let tried: Vec<u8> = (0..3).filter_map(|_| choice.choose(&[1, 2, 3], &random)).collect();
        choice.settle(tried[2]);
        let mut chosen: Vec<u8> = (0..2).filter_map(|_| choice.choose(&[1, 2, 3], &random)).collect();
        chosen.dedup();
        assert_eq!(chosen.len(), 2);
    }

    #[test]
    fn sidecars_spread_over_the_candidates() {
        let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
        for seed in 0..300 {
            let chosen = Choice::new().choose(&[1, 2, 3], &SeededRandom::new(seed)).unwrap();
            *counts.entry(chosen).or_default() += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|count| (60..140).contains(count)), "{counts:?}");
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let (random, many) = (SeededRandom::new(4), (0..200).collect::<Vec<u32>>());
        let mut choice = Choice::new();
        for _ in 0..200 {
            choice.choose(&many, &random);
        }
        assert_eq!(choice.tried.len(), REMEMBERED);
    }
}
