//! Durations as people write them.

use std::time::Duration;

/// Says what is wrong with a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not written as one.
    #[error("write a duration like 30m, 12h, 7d or 1h30m (units: ms, s, m, h, d, w)")]
    Form,
    /// It overflows.
    #[error("that is longer than can be counted")]
    TooLong,
}

/// Reads a duration: whole numbers with a unit each, e.g. `1h30m`.
///
/// # Errors
/// [`DurationError`], which says how to write one.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (digits, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        let milliseconds = unit_milliseconds(unit).ok_or(DurationError::Form)?;
        let number: u64 = match digits.parse() {
            Ok(number) => number,
            Err(_) if digits.is_empty() => return Err(DurationError::Form),
            Err(_) => return Err(DurationError::TooLong),
        };
        let part =
            number.checked_mul(milliseconds).map(Duration::from_millis).ok_or(DurationError::TooLong)?;
        sum = sum.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = after;
    }
    if text.is_empty() { Err(DurationError::Form) } else { Ok(sum) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let check = |text, milliseconds| {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        };
        check("30m", 1_800_000);
        check("12h", 43_200_000);
        check("7d", 604_800_000);
        check("1w", 604_800_000);
        check("1h30m", 5_400_000);
        check("250ms", 250);
        check("0s", 0);
        for text in ["", "5", "m", "-5m", "1.5h", "5 m", "5y", "5M", "h5", "1h-3m", "5mm"] {
            assert_eq!(parse(text), Err(DurationError::Form), "{text}");
        }
        for text in ["99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text}");
        }
    }
}
