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
    use std::io::Write;

    use super::*;

    #[test]
    fn the_system_clock_never_goes_back_and_its_wall_time_is_of_this_century() {
        let (first, second) = (SystemClock.now(), SystemClock.now());
        assert!(first.boot_nanos > 0 && second.boot_nanos >= first.boot_nanos);
        assert!(first.wall_nanos > 1_700_000_000_000_000_000);
    }

    fn uptime_millis() -> u64 {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let (seconds, hundredths) = text.split(' ').next().unwrap().split_once('.').unwrap();
        seconds.parse::<u64>().unwrap() * 1000 + hundredths.parse::<u64>().unwrap() * 10
    }

    #[test]
    fn the_boot_clock_is_the_uptime_of_the_machine() {
        let before = uptime_millis();
        let read = SystemClock.now().boot_nanos / 1_000_000;
        // The kernel tells hundredths.
        assert!(
            (before..=uptime_millis() + 10).contains(&read),
            "{before} ms of uptime, {read} ms on the clock"
        );
    }

    /// Invariant 1: knowledge ages while the machine sleeps. A time namespace is to a process as if the machine had been
    /// suspended for a day, so the test above is run in one.
    #[test]
    fn the_boot_clock_counts_the_time_in_which_the_machine_was_suspended() {
        let suspended = |program: &str, arguments: &[&str]| {
            std::process::Command::new("unshare")
                .args(["--user", "--map-root-user", "--time", "--boottime", "86400", "--fork", "--", program])
                .args(arguments)
                .output()
        };
        let possible = suspended("true", &[]).map(|done| (done.status.success(), done.stderr));
        if !matches!(possible, Ok((true, _))) {
            // Straight to standard error, past what the harness takes: nobody may miss it.
            let said = possible.map(|(_, said)| String::from_utf8_lossy(&said).into_owned());
            drop(writeln!(std::io::stderr(), "\nSKIPPED, THE CLOCK OF A SUSPENDED MACHINE: {said:?}"));
            return;
        }
        let this = std::env::current_exe().unwrap();
        let test = "runtime::clock::tests::the_boot_clock_is_the_uptime_of_the_machine";
        let done = suspended(this.to_str().unwrap(), &["--exact", test]).unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
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
