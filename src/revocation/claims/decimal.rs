//! Numbers as JSON writes them, compared by value without a float.

use std::fmt;
use std::str::FromStr;

/// A decimal number in canonical form: sign, digits without zeros at either end, exponent of the last digit.
///
/// `1`, `1.0` and `10e-1` are equal. Nothing is ever expanded, so `1e999999999` takes three digits of memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// Says that a text is not a JSON number, or that its exponent is beyond reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON number (RFC 8259), or an exponent of more than nine digits")]
pub struct DecimalError;

const MAX_EXPONENT_DIGITS: usize = 9;

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) =
            rest.split_once(['e', 'E']).map_or((rest, Ok(0)), |(m, e)| (m, exponent(e)));
        let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole)
            || (whole.len() > 1 && whole.starts_with('0'))
            || !fraction.is_none_or(all_digits)
        {
            return Err(DecimalError);
        }
        let fraction = fraction.unwrap_or_default();
        let all = format!("{whole}{fraction}");
        let kept = all.trim_end_matches('0');
        let digits = kept.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Ok(Self { negative: false, digits, exponent: 0 });
        }
        let length = |count: usize| i64::try_from(count).map_err(|_| DecimalError);
        let exponent = exponent? - length(fraction.len())? + length(all.len() - kept.len())?;
        Ok(Self { negative, digits, exponent })
    }
}

fn exponent(text: &str) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError);
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > MAX_EXPONENT_DIGITS {
        return Err(DecimalError);
    }
    let value = if digits.is_empty() { 0 } else { digits.parse::<i64>().map_err(|_| DecimalError)? };
    Ok(if negative { -value } else { value })
}

impl Decimal {
    /// Returns whole nanoseconds of a number of seconds, digits beyond the ninth of the fraction cut off.
    ///
    /// None if the number is negative or above `u64::MAX` seconds.
    #[must_use]
    pub fn as_nanos(&self) -> Option<u128> {
        if self.negative {
            return None;
        }
        let shift = self.exponent.checked_add(9)?;
        if let Ok(zeros) = u32::try_from(shift) {
            let digits: u128 = if self.digits.is_empty() { 0 } else { self.digits.parse().ok()? };
            return digits.checked_mul(10u128.checked_pow(zeros)?);
        }
        let dropped = usize::try_from(shift.unsigned_abs()).ok()?;
        let kept = self.digits.len().saturating_sub(dropped);
        self.digits
            .get(..kept)
            .map_or(Some(0), |digits| if digits.is_empty() { Some(0) } else { digits.parse().ok() })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        let sign = if self.negative { "-" } else { "" };
        write!(f, "{sign}{}", self.digits)?;
        if self.exponent != 0 {
            write!(f, "e{}", self.exponent)?;
        }
        Ok(())
    }
}
