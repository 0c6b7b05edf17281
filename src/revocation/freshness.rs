//! Freshness: what the age of a proof allows to be said.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Moment;

/// How far two clocks of one machine may drift apart in the time of a bound: 0.1 %.
const CLOCK_RATE_ERROR_PER_MILLE: u128 = 1;

/// How far the wall clock may jump against the boot clock before a new proof is needed.
const MAX_CLOCK_JUMP_NANOS: u64 = 1_000_000_000;

/// The bounds that can be kept, in seconds: below, rounds of proof that are a second apart would come too late.
pub const BOUND_SECONDS: RangeInclusive<u32> = 2..=3600;
/// The maxima that a list may declare, in seconds.
pub const MAXIMUM_SECONDS: RangeInclusive<u32> = 2..=86_400;

/// What a list does when it is stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Nothing is allowed that is not proven fresh.
    #[default]
    Strict,
    /// A stale list still decides, up to its maximum age.
    BestEffort,
}

/// The bounds that a list declares on the age of what its sidecars know.
///
/// **Units**: seconds, as declared; the clock-rate error is taken off when an age is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// D: at most this old is FRESH.
    pub bound_seconds: u32,
    /// Dmax: older than this is EXPIRED.
    pub maximum_seconds: u32,
    /// What happens between the two.
    pub policy: Policy,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bound_seconds: 15, maximum_seconds: 300, policy: Policy::Strict }
    }
}

impl Bounds {
    /// Returns the same bounds with a bound of at most this many seconds. Nothing else changes, so that under
    /// [`Policy::BestEffort`] a stale list still decides up to its maximum.
    #[must_use]
    pub const fn narrowed(self, ceiling_seconds: u32) -> Self {
        if ceiling_seconds < self.bound_seconds {
            Self { bound_seconds: ceiling_seconds, ..self }
        } else {
            self
        }
    }

    /// Returns how long a sidecar that was told nothing more may still allow, as declared.
    #[must_use]
    pub const fn window_seconds(&self) -> u32 {
        match self.policy {
            Policy::BestEffort if self.maximum_seconds > self.bound_seconds => self.maximum_seconds,
            Policy::Strict | Policy::BestEffort => self.bound_seconds,
        }
    }

    /// Returns W: the same, clock-rate error included.
    ///
    /// **Units**: nanoseconds.
    #[must_use]
    pub fn window_nanos(&self) -> u64 {
        let nanos = u128::from(self.window_seconds()) * 1_000_000_000;
        u64::try_from(nanos + nanos * CLOCK_RATE_ERROR_PER_MILLE / 1000).unwrap_or(u64::MAX)
    }
}

/// What is known of the integrity and the age of a list; age is computed at the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// No proof has arrived since the start.
    NeverProven,
    /// A digest or a sequence did not match; nothing may be concluded until a resync.
    Corrupt,
    /// Complete as of this moment: when the answered ping was *sent*.
    FreshAsOf(Moment),
}

/// The states of the table in the documentation of semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Proven complete as of at most D ago.
    Fresh {
        /// The age of the proof, in nanoseconds.
        age_nanos: u64,
    },
    /// The age lies between D and Dmax.
    Stale {
        /// The age of the proof, in nanoseconds.
        age_nanos: u64,
    },
    /// The age is above Dmax.
    Expired {
        /// The age of the proof, in nanoseconds.
        age_nanos: u64,
    },
    /// No proof yet since start.
    NeverFresh,
    /// A digest or sequence did not match.
    Corrupt,
}

impl Freshness {
    /// Returns the name, as the documentation of semantics has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh { .. } => "FRESH",
            Self::Stale { .. } => "STALE",
            Self::Expired { .. } => "EXPIRED",
            Self::NeverFresh => "NEVER_FRESH",
            Self::Corrupt => "CORRUPT",
        }
    }

    /// Returns the age of the proof, in nanoseconds; none without one.
    #[must_use]
    pub const fn age_nanos(self) -> Option<u64> {
        match self {
            Self::Fresh { age_nanos } | Self::Stale { age_nanos } | Self::Expired { age_nanos } => {
                Some(age_nanos)
            }
            Self::NeverFresh | Self::Corrupt => None,
        }
    }
}

/// Returns the state of a list at a moment that was read *after* the knowledge was loaded.
///
/// A caller may ask for a smaller bound than the list's; a larger one has no effect. A jump of the wall
/// clock against the boot clock needs a new proof: the state is STALE at best.
#[must_use]
pub fn freshness(knowledge: Knowledge, now: Moment, bounds: &Bounds, asked_nanos: Option<u64>) -> Freshness {
    let fresh_as_of = match knowledge {
        Knowledge::NeverProven => return Freshness::NeverFresh,
        Knowledge::Corrupt => return Freshness::Corrupt,
        Knowledge::FreshAsOf(moment) => moment,
    };
    let jumped = ClockJump::between(fresh_as_of, now).is_some();
    // A clock that went back says nothing about the age: it counts as a jump.
    let boot = now.boot_nanos.checked_sub(fresh_as_of.boot_nanos);
    let wall = now.wall_nanos.checked_sub(fresh_as_of.wall_nanos);
    let age_nanos = boot.unwrap_or(u64::MAX).max(wall.unwrap_or(0));
    let bound = nanos(bounds.bound_seconds).min(asked_nanos.map_or(u128::MAX, u128::from));
    if !within(age_nanos, nanos(bounds.maximum_seconds.max(bounds.bound_seconds))) {
        return Freshness::Expired { age_nanos };
    }
    if jumped || !within(age_nanos, bound) {
        return Freshness::Stale { age_nanos };
    }
    Freshness::Fresh { age_nanos }
}

/// A clock has jumped since a proof, by more than what needs a new one. Its text says which, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockJump {
    /// When the list was proven.
    pub since: Moment,
    /// When the jump was seen.
    pub seen: Moment,
}

impl ClockJump {
    /// Compares how much time has passed on both clocks since a proof. The boot clock is not set by anybody: if it goes
    /// back, that is a jump, and if the two differ, it was the wall clock that did.
    #[must_use]
    pub fn between(since: Moment, now: Moment) -> Option<Self> {
        let jump = Self { since, seen: now };
        let differs = jump.ahead_nanos().unsigned_abs() > u128::from(MAX_CLOCK_JUMP_NANOS);
        (differs || now.boot_nanos < since.boot_nanos).then_some(jump)
    }

    /// How much more time has passed on the wall clock than on the boot clock.
    fn ahead_nanos(&self) -> i128 {
        let passed = |now: u64, since: u64| i128::from(now) - i128::from(since);
        passed(self.seen.wall_nanos, self.since.wall_nanos)
            - passed(self.seen.boot_nanos, self.since.boot_nanos)
    }
}

impl fmt::Display for ClockJump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = self.since.boot_nanos.saturating_sub(self.seen.boot_nanos);
        let (clock, way, nanos) = match self.ahead_nanos() {
            _ if back > 0 => ("boot clock", "back", u128::from(back)),
            ahead @ 0.. => ("wall clock", "ahead", ahead.unsigned_abs()),
            behind => ("wall clock", "back", behind.unsigned_abs()),
        };
        let jump = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        write!(f, "the {clock} has jumped {way} by {:.1} s", jump.as_secs_f64())
    }
}

fn nanos(seconds: u32) -> u128 {
    u128::from(seconds) * 1_000_000_000
}

/// Tells whether age <= limit / (1 + rho), without a division that would round in the wrong direction.
fn within(age_nanos: u64, limit_nanos: u128) -> bool {
    u128::from(age_nanos) * (1000 + CLOCK_RATE_ERROR_PER_MILLE) <= limit_nanos * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const START: Moment = Moment { boot_nanos: 100 * SECOND, wall_nanos: 1_700_000_000 * SECOND };

    fn after(boot: u64, wall: u64) -> Moment {
        Moment { boot_nanos: START.boot_nanos + boot, wall_nanos: START.wall_nanos + wall }
    }

    fn check(now: Moment, expected: Freshness) {
        assert_eq!(freshness(Knowledge::FreshAsOf(START), now, &Bounds::default(), None), expected);
    }

    /// Invariant 1: the bound holds with the clock-rate error taken off.
    #[test]
    fn fresh_ends_at_the_bound_divided_by_one_plus_the_clock_rate_error() {
        let last = 15 * SECOND * 1000 / 1001;
        check(after(last, last), Freshness::Fresh { age_nanos: last });
        check(after(last + 1, last + 1), Freshness::Stale { age_nanos: last + 1 });
    }

    #[test]
    fn stale_ends_at_the_maximum() {
        let last = 300 * SECOND * 1000 / 1001;
        check(after(last, last), Freshness::Stale { age_nanos: last });
        check(after(last + 1, last + 1), Freshness::Expired { age_nanos: last + 1 });
    }

    #[test]
    fn the_larger_of_two_clock_differences_is_the_age() {
        check(after(SECOND, SECOND + 5), Freshness::Fresh { age_nanos: SECOND + 5 });
        check(after(SECOND + 5, SECOND), Freshness::Fresh { age_nanos: SECOND + 5 });
    }

    /// Invariant 1: a wall clock that jumps needs a new proof.
    #[test]
    fn a_jump_between_the_clocks_is_never_fresh() {
        check(after(SECOND, 3 * SECOND), Freshness::Stale { age_nanos: 3 * SECOND });
        check(after(3 * SECOND, SECOND), Freshness::Stale { age_nanos: 3 * SECOND });
        let back = Moment { wall_nanos: START.wall_nanos - 5 * SECOND, ..after(SECOND, 0) };
        check(back, Freshness::Stale { age_nanos: SECOND });
        let boot_back = Moment { boot_nanos: START.boot_nanos - 1, ..START };
        check(boot_back, Freshness::Expired { age_nanos: u64::MAX });
    }

    #[test]
    fn a_jump_says_which_clock_and_how_far_and_a_second_is_none() {
        let check = |now, expected: Option<&str>| {
            let jump = ClockJump::between(START, now).map(|jump| jump.to_string());
            assert_eq!(jump.as_deref(), expected);
        };
        check(after(5 * SECOND, 6 * SECOND), None);
        check(after(6 * SECOND, 5 * SECOND), None);
        check(after(SECOND, 3 * SECOND), Some("the wall clock has jumped ahead by 2.0 s"));
        check(after(3 * SECOND, SECOND), Some("the wall clock has jumped back by 2.0 s"));
        let back = Moment { wall_nanos: START.wall_nanos - 5 * SECOND, ..after(SECOND, 0) };
        check(back, Some("the wall clock has jumped back by 6.0 s"));
        let boot_back = Moment { boot_nanos: START.boot_nanos - SECOND / 2, ..START };
        check(boot_back, Some("the boot clock has jumped back by 0.5 s"));
    }

    #[test]
    fn a_caller_can_ask_for_less_but_not_for_more() {
        let at = after(2 * SECOND, 2 * SECOND);
        let ask = |nanos| freshness(Knowledge::FreshAsOf(START), at, &Bounds::default(), Some(nanos));
        assert_eq!(ask(SECOND), Freshness::Stale { age_nanos: 2 * SECOND });
        assert_eq!(ask(100 * SECOND), Freshness::Fresh { age_nanos: 2 * SECOND });
    }

    #[test]
    fn a_ceiling_makes_a_bound_smaller_and_never_larger_and_changes_nothing_else() {
        let declared = Bounds { policy: Policy::BestEffort, ..Bounds::default() };
        assert_eq!(declared.narrowed(5), Bounds { bound_seconds: 5, ..declared });
        assert_eq!(declared.narrowed(15), declared);
        assert_eq!(declared.narrowed(3600), declared);
    }

    #[test]
    fn nothing_proven_is_never_fresh_and_a_mismatch_is_corrupt() {
        let state = |knowledge| freshness(knowledge, START, &Bounds::default(), None);
        assert_eq!(state(Knowledge::NeverProven), Freshness::NeverFresh);
        assert_eq!(state(Knowledge::Corrupt), Freshness::Corrupt);
    }

    #[test]
    fn the_window_is_that_of_the_policy_with_the_clock_rate_error_added() {
        let strict = Bounds::default();
        assert_eq!(strict.window_nanos(), 15_015_000_000);
        assert_eq!(Bounds { policy: Policy::BestEffort, ..strict }.window_nanos(), 300_300_000_000);
    }
}
