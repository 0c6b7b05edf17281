//! Times and durations as people write and read them.

use std::time::Duration;

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

/// Says what is wrong with a time or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeError {
    #[error("write a time like 2026-11-21T10:00:00Z or 2026-11-21T11:00:00+01:00")]
    Time,
    #[error("write a time like 2026-11-21T10:00:00Z, now, or Always")]
    Cutoff,
    #[error("write a duration like 30m, 12h, 7d or 1h30m (units: ms, s, m, h, d, w)")]
    Duration,
    #[error("that is longer than can be counted")]
    TooLong,
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

/// Reads a duration: whole numbers with a unit each, e.g. `1h30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, TimeError> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (digits, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        let milliseconds = unit_milliseconds(unit).ok_or(TimeError::Duration)?;
        let number: u64 = match digits.parse() {
            Ok(number) => number,
            Err(_) if digits.is_empty() => return Err(TimeError::Duration),
            Err(_) => return Err(TimeError::TooLong),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or(TimeError::TooLong)?;
        sum = sum.checked_add(part).ok_or(TimeError::TooLong)?;
        rest = after;
    }
    if text.is_empty() { Err(TimeError::Duration) } else { Ok(sum) }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn unit_milliseconds(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        "w" => Some(604_800_000),
        _ => None,
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
    fn durations_are_numbers_with_units() {
        let check = |text, milliseconds| {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        };
        check("30m", 1_800_000);
        check("12h", 43_200_000);
        check("7d", 604_800_000);
        check("1w", 604_800_000);
        check("1h30m", 5_400_000);
        check("250ms", 250);
        check("0s", 0);
        for text in ["", "5", "m", "-5m", "1.5h", "5 m", "5y", "5M", "h5", "1h-3m", "5mm"] {
            assert_eq!(parse_duration(text), Err(TimeError::Duration), "{text}");
        }
        for text in ["99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(parse_duration(text), Err(TimeError::TooLong), "{text}");
        }
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
