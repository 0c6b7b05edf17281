//! Knows a lost revocation that was written again. Pure.

use crate::revocation::record::Cutoff;
use crate::store::Revocation;
use crate::store::written::generated_name;

/// Returns a lost revocation as it is written again: the default of a cutoff is the time of creation, which would be
/// another now.
pub(in super::super) fn with_its_cutoff(lost: &Revocation) -> Revocation {
    let mut again = lost.clone();
    if again.spec.cutoff.is_none()
        && let Ok(cutoff @ Cutoff::At(_)) = again.spec.effective_cutoff(again.created)
    {
        again.spec.cutoff = Some(cutoff);
    }
    again
}

/// Returns the names under which a lost revocation may be written again: its own may be another's by now.
pub(in super::super) fn names(lost: &Revocation) -> [String; 2] {
    [lost.name.clone(), generated_name(lost.id)]
}

/// Whether an object is a lost revocation, written again by some replica.
pub(super) fn is_again(lost: &Revocation, found: &Revocation) -> bool {
    // The cheap part first: many may be lost.
    lost.list == found.list
        && lost.spec.target == found.spec.target
        && with_its_cutoff(lost).spec == found.spec
        && names(lost).contains(&found.name)
}

/// Returns the places of those whose turn it is: at most so many of `count`, from a first one on that is picked at random,
/// and around.
pub(in super::super) fn turn(count: usize, random: u64, at_most: usize) -> impl Iterator<Item = usize> {
    let length = u64::try_from(count).unwrap_or(u64::MAX);
    let first = random.checked_rem(length).and_then(|first| usize::try_from(first).ok()).unwrap_or_default();
    (0..count).cycle().skip(first).take(count.min(at_most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_turn_and_none_has_two_at_once() {
        let taken = |count, random, at_most| turn(count, random, at_most).collect::<Vec<_>>();
        assert_eq!(taken(0, 7, 64), [0; 0]);
        assert_eq!(taken(3, 7, 64), [1, 2, 0]);
        assert_eq!(taken(5, 4, 2), [4, 0]);
        assert_eq!(taken(5, u64::MAX, 2), [0, 1]);
        let begun: Vec<usize> = (0..100).flat_map(|random| taken(100, random, 64)).collect();
        assert!((0..100).all(|place| begun.iter().filter(|taken| **taken == place).count() == 64));
    }
}
