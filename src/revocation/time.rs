//! Points in time as tokens, revocations and clocks write them.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z, within the range that RFC 3339 can write.
///
/// **Shape**: stored as its value plus one, so that an absent time takes no more room than a present one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct UnixSeconds(NonZeroU64);

/// Says that a number of seconds lies after the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{seconds} s is after the year 9999")]
pub struct TimeOutOfRange {
    /// The number that was given.
    pub seconds: u64,
}

impl UnixSeconds {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(NonZeroU64::MIN);
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(NonZeroU64::MIN.saturating_add(253_402_300_799));

    /// Makes a time from its number of seconds.
    ///
    /// # Errors
    /// [`TimeOutOfRange`] if it lies after the year 9999.
    pub fn new(seconds: u64) -> Result<Self, TimeOutOfRange> {
        if seconds > Self::MAX.get() {
            return Err(TimeOutOfRange { seconds });
        }
        Ok(Self(NonZeroU64::MIN.saturating_add(seconds)))
    }

    /// Returns the number of seconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get() - 1
    }

    /// Adds seconds; the sum stops at the end of the year 9999.
    #[must_use]
    pub fn saturating_add(self, seconds: u64) -> Self {
        Self::new(self.get().saturating_add(seconds)).unwrap_or(Self::MAX)
    }

    /// Subtracts seconds; the difference stops at 1970.
    #[must_use]
    pub fn saturating_sub(self, seconds: u64) -> Self {
        Self::new(self.get().saturating_sub(seconds)).unwrap_or(Self::MIN)
    }
}

impl fmt::Debug for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.get())
    }
}

impl TryFrom<u64> for UnixSeconds {
    type Error = TimeOutOfRange;

    fn try_from(seconds: u64) -> Result<Self, TimeOutOfRange> {
        Self::new(seconds)
    }
}

impl From<UnixSeconds> for u64 {
    fn from(time: UnixSeconds) -> Self {
        time.get()
    }
}

/// A time in a token: seconds since 1970 with a fraction.
///
/// **Source**: RFC 7519, section 2. Digits beyond the ninth of the fraction are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NumericDate {
    seconds: UnixSeconds,
    nanos: u32,
}

impl NumericDate {
    /// Makes a time from whole seconds and a fraction, in nanoseconds below 1,000,000,000.
    #[must_use]
    pub fn new(seconds: UnixSeconds, nanos: u32) -> Option<Self> {
        (nanos < 1_000_000_000).then_some(Self { seconds, nanos })
    }

    /// Returns the whole seconds: the fraction is cut off.
    #[must_use]
    pub const fn floor(self) -> UnixSeconds {
        self.seconds
    }

    /// Returns the nanoseconds since 1970.
    #[must_use]
    pub fn as_nanos(self) -> u128 {
        u128::from(self.seconds.get()) * 1_000_000_000 + u128::from(self.nanos)
    }
}

impl From<UnixSeconds> for NumericDate {
    fn from(seconds: UnixSeconds) -> Self {
        Self { seconds, nanos: 0 }
    }
}

/// One reading of the machine's two clocks, taken together.
///
/// **Units**: nanoseconds. `boot` counts from the start of the machine and goes on while it is suspended
/// (`CLOCK_BOOTTIME`); `wall` counts from 1970 and may be stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the machine started, suspended time included.
    pub boot_nanos: u64,
    /// Nanoseconds since 1970, as the wall clock says.
    pub wall_nanos: u64,
}

impl Moment {
    /// Returns the wall clock's time.
    #[must_use]
    pub fn wall(self) -> NumericDate {
        let nanos = u32::try_from(self.wall_nanos % 1_000_000_000).unwrap_or(0);
        let seconds = UnixSeconds::new(self.wall_nanos / 1_000_000_000).unwrap_or(UnixSeconds::MAX);
        NumericDate { seconds, nanos }
    }
}
