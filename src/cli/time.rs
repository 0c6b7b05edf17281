//! Times and durations as people write and read them.

use std::time::Duration;

pub(super) use crate::api::duration::parse as parse_duration;
use crate::api::target;
use crate::revocation::time::UnixSeconds;

/// A cutoff as it stands on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutoffArgument {
    /// Tokens issued later are refused too.
    Always,
    /// The second in which the server takes the revocation.
    Now,
    /// A second.
    At(UnixSeconds),
}

/// Says what is wrong with a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeError {
    #[error("write a time like 2026-11-21T10:00:00Z or 2026-11-21T11:00:00+01:00")]
    Time,
    #[error("write a time like 2026-11-21T10:00:00Z, now, or Always")]
    Cutoff,
}

/// Reads a time. A fraction of a second is cut off: cutoffs are whole seconds.
pub(super) fn parse_time(text: &str) -> Result<UnixSeconds, TimeError> {
    target::read_time(text).ok_or(TimeError::Time)
}

pub(super) fn parse_cutoff(text: &str) -> Result<CutoffArgument, TimeError> {
    match text {
        "Always" | "always" => Ok(CutoffArgument::Always),
        "Now" | "now" => Ok(CutoffArgument::Now),
        _ => parse_time(text).map(CutoffArgument::At).map_err(|_| TimeError::Cutoff),
    }
}

/// Writes how long ago something was, in its largest unit, as `kubectl` does.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Writes a measured time.
pub(super) fn elapsed(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => age(milliseconds / 1_000),
    }
}

/// Writes a time that was given as a duration.
pub(super) fn duration(given: Duration) -> String {
    elapsed(u64::try_from(given.as_millis()).unwrap_or(u64::MAX)).replace(".0 s", " s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    #[test]
    fn times_need_an_offset_and_lose_their_fraction() {
        assert_eq!(parse_time("1970-01-01T00:00:07Z"), Ok(seconds(7)));
        assert_eq!(parse_time("1970-01-01T01:00:07.9+01:00"), Ok(seconds(7)));
        assert_eq!(parse_time("9999-12-31T23:59:59Z"), Ok(seconds(253_402_300_799)));
        for text in ["", "2026-11-21", "2026-11-21T10:00:00", "10:00", "1969-12-31T23:00:00Z", "1700000000"] {
            assert_eq!(parse_time(text), Err(TimeError::Time), "{text}");
        }
    }

    #[test]
    fn cutoffs_are_times_or_one_of_two_words() {
        assert_eq!(parse_cutoff("Always"), Ok(CutoffArgument::Always));
        assert_eq!(parse_cutoff("now"), Ok(CutoffArgument::Now));
        assert_eq!(parse_cutoff("1970-01-01T00:00:07Z"), Ok(CutoffArgument::At(seconds(7))));
        assert_eq!(parse_cutoff("ALWAYS"), Err(TimeError::Cutoff));
        assert_eq!(parse_cutoff("yesterday"), Err(TimeError::Cutoff));
    }

    #[test]
    fn ages_and_measured_times_keep_their_largest_unit() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(age);
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
        let measured = [0, 999, 1_000, 2_345, 59_999, 125_000].map(elapsed);
        assert_eq!(measured, ["0 ms", "999 ms", "1.0 s", "2.3 s", "59.9 s", "2m"]);
        assert_eq!(duration(Duration::from_secs(5)), "5 s");
    }
}
