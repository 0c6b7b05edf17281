//! Quantities of processors and memory, as Kubernetes writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A positive quantity, such as `100m` or `64Mi`. It is written as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity {
    text: String,
    thousandths: u128,
}

/// Says that a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a quantity above zero like 100m, 0.5 or 2 (processors), or 64Mi or 1Gi (memory)")]
pub struct QuantityError;

/// More than any machine has, and far from an overflow.
const MAX_DIGITS: usize = 15;

impl Quantity {
    /// Returns `true` if it is more than another one.
    #[must_use]
    pub const fn exceeds(&self, other: &Self) -> bool {
        self.thousandths > other.thousandths
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let ends_in_point = number.ends_with('.') || number.starts_with('.');
        if ends_in_point || fraction.contains('.') || whole.len() > MAX_DIGITS || fraction.len() > 3 {
            return Err(QuantityError);
        }
        let thousandths: u128 = format!("{whole}{fraction:0<3}").parse().map_err(|_| QuantityError)?;
        let thousandths = match factor(unit).ok_or(QuantityError)? {
            Factor::Thousandth if fraction.is_empty() => thousandths / 1000,
            Factor::Thousandth => return Err(QuantityError),
            Factor::Times(factor) => thousandths * factor,
        };
        if thousandths == 0 {
            return Err(QuantityError);
        }
        Ok(Self { text: text.to_owned(), thousandths })
    }
}

enum Factor {
    Thousandth,
    Times(u128),
}

fn factor(unit: &str) -> Option<Factor> {
    let factor = match unit {
        "m" => return Some(Factor::Thousandth),
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    Some(Factor::Times(factor))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Quantity {
    type Error = QuantityError;

    fn try_from(text: String) -> Result<Self, QuantityError> {
        text.parse()
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_what_they_mean_and_kept_as_they_were_written() {
        let read = |text: &str| text.parse::<Quantity>().unwrap();
        for (less, more) in
            [("999m", "1"), ("0.5", "501m"), ("64M", "64Mi"), ("1023Mi", "1Gi"), ("1.5Gi", "2Gi")]
        {
            assert!(read(more).exceeds(&read(less)) && !read(less).exceeds(&read(more)), "{less} {more}");
        }
        assert!(!read("1").exceeds(&read("1000m")) && !read("1000m").exceeds(&read("1")));
        assert_eq!(read("0.10").to_string(), "0.10");
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in
            ["", "0", "0m", "-1", "1.", ".5", "1.2.3", "1.5m", "1 Gi", "1gi", "Mi", "1e3", "+1", "1.2345"]
        {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError), "{text}");
        }
        assert_eq!("9".repeat(16).parse::<Quantity>(), Err(QuantityError));
    }
}
