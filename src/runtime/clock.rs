//! The only home of the machine's clocks; everything else takes the time as an argument.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::revocation::time::Moment;

/// Tells the time.
///
/// Share it as `Arc<dyn Clock>`; readings of one clock may be compared across threads.
pub trait Clock: Send + Sync + 'static {
    /// Reads both clocks of the machine.
    fn now(&self) -> Moment;
}

/// Reads `CLOCK_BOOTTIME`, which counts suspended time, and `CLOCK_REALTIME`.
///
/// **Cost**: two calls into the vDSO, tens of nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { boot_nanos: read(ClockId::Boottime), wall_nanos: read(ClockId::Realtime) }
    }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // A wall clock set before 1970 reads as 1970: no token was issued by then.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// A clock that moves only when a test tells it to.
#[derive(Debug)]
pub struct ManualClock {
    boot_nanos: AtomicU64,
    wall_nanos: AtomicU64,
}

impl ManualClock {
    /// Starts at the given reading.
    #[must_use]
    pub const fn new(start: Moment) -> Self {
        Self { boot_nanos: AtomicU64::new(start.boot_nanos), wall_nanos: AtomicU64::new(start.wall_nanos) }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        self.advance_boot(by);
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.wall_nanos.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Lets time pass on the boot clock alone, as when the wall clock is stepped back.
    pub fn advance_boot(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.boot_nanos.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Steps the wall clock; the boot clock goes on.
    pub fn set_wall(&self, wall_nanos: u64) {
        self.wall_nanos.store(wall_nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment {
            boot_nanos: self.boot_nanos.load(Ordering::SeqCst),
            wall_nanos: self.wall_nanos.load(Ordering::SeqCst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_goes_back_and_its_wall_time_is_of_this_century() {
        let (first, second) = (SystemClock.now(), SystemClock.now());
        assert!(first.boot_nanos > 0 && second.boot_nanos >= first.boot_nanos);
        assert!(first.wall_nanos > 1_700_000_000_000_000_000);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Moment { boot_nanos: 5, wall_nanos: 100 });
        assert_eq!(clock.now(), Moment { boot_nanos: 5, wall_nanos: 100 });
        clock.advance(Duration::from_nanos(7));
        assert_eq!(clock.now(), Moment { boot_nanos: 12, wall_nanos: 107 });
        clock.advance_boot(Duration::from_nanos(1));
        clock.set_wall(3);
        assert_eq!(clock.now(), Moment { boot_nanos: 13, wall_nanos: 3 });
    }
}
