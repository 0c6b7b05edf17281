//! What a sidecar lacks of its list.

use serde::Serialize;

use crate::revocation::version::ToldVersion;

/// What a sidecar lacks of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Lag {
    /// Nothing: it has the last change in use.
    Current,
    /// The last change, or more.
    Behind,
    /// Everything: it has nothing yet.
    Empty,
}

impl Lag {
    /// Judges by versions in the words in which they were told.
    pub(super) fn new(has: &str, last_change: Option<&str>) -> Self {
        let read = |text: &str| text.parse::<ToldVersion>().ok();
        match (read(has), last_change.and_then(read)) {
            (None, _) => Self::Empty,
            (Some(has), Some(last_change)) if has >= last_change => Self::Current,
            (Some(_), _) => Self::Behind,
        }
    }

    /// Says it for a table.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Current => "none",
            Self::Behind => "behind",
            Self::Empty => "everything",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_lags_by_what_it_does_not_have() {
        let check = |has, last_change, expected| {
            assert_eq!(Lag::new(has, last_change), expected, "{has} {last_change:?}");
        };
        check("1/7", Some("1/7"), Lag::Current);
        check("2/1", Some("1/7"), Lag::Current);
        check("1/6", Some("1/7"), Lag::Behind);
        check("1/6", None, Lag::Behind);
        check("", Some("1/7"), Lag::Empty);
    }
}
