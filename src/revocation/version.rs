//! Versions: which state of the log something was computed from.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// One history of the store. A store that went back in time starts a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Grows with every epoch.
    pub counter: u64,
    /// Random; tells two histories apart that were started with one counter.
    pub id: u128,
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:08x})", self.counter, self.id >> 96)
    }
}

/// A revision per watched type; revisions of different types are not comparable with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Revisions {
    /// The revision of the revocations.
    pub revocations: u64,
    /// The revision of the segments.
    pub segments: u64,
}

/// A point in the log: epochs compare first, then each revision with its like.
///
/// Two versions of one counter with different ids, or with one revision ahead and the other behind, are not
/// ordered: neither holds what the other does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// The history that the revisions belong to.
    pub epoch: Epoch,
    /// How far the history had come.
    pub revisions: Revisions,
}

impl PartialOrd for Revisions {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let by_type = [self.revocations.cmp(&other.revocations), self.segments.cmp(&other.segments)];
        match by_type {
            [a, b] if a == b => Some(a),
            [Ordering::Equal, other] | [other, Ordering::Equal] => Some(other),
            _ => None,
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.epoch.counter.cmp(&other.epoch.counter) {
            Ordering::Equal if self.epoch.id == other.epoch.id => {
                self.revisions.partial_cmp(&other.revisions)
            }
            Ordering::Equal => None,
            unequal @ (Ordering::Less | Ordering::Greater) => Some(unequal),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch.counter, self.revisions.revocations)?;
        if self.revisions.segments > 0 {
            write!(f, "+{}", self.revisions.segments)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A version as somebody was told it, in the words in which [`Version`] prints.
///
/// It does not say which of two histories with one counter it belongs to. Told versions compare by counter, then each
/// revision with its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct ToldVersion {
    epoch_counter: u64,
    revisions: Revisions,
}

/// Says that a text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version: write it as it was told, like 1/184467 or 1/184467+12")]
pub struct ToldVersionError;

impl FromStr for ToldVersion {
    type Err = ToldVersionError;

    fn from_str(text: &str) -> Result<Self, ToldVersionError> {
        let (epoch, revisions) = text.split_once('/').ok_or(ToldVersionError)?;
        let (revocations, segments) = revisions.split_once('+').unwrap_or((revisions, "0"));
        let revisions = Revisions { revocations: number(revocations)?, segments: number(segments)? };
        Ok(Self { epoch_counter: number(epoch)?, revisions })
    }
}

impl ToldVersion {
    /// Tells whether this is at or above a version.
    #[must_use]
    pub fn reaches(&self, version: &Version) -> bool {
        match self.epoch_counter.cmp(&version.epoch.counter) {
            Ordering::Equal => self.revisions >= version.revisions,
            Ordering::Greater => true,
            Ordering::Less => false,
        }
    }
}

fn number(text: &str) -> Result<u64, ToldVersionError> {
    // `u64` would take a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(ToldVersionError)
}

impl ToldVersion {
    /// Tells whether this is at or above another one. Two histories of one counter are not told apart.
    #[must_use]
    pub fn is_at_least(&self, other: &Self) -> bool {
        match self.epoch_counter.cmp(&other.epoch_counter) {
            Ordering::Equal => self.revisions >= other.revisions,
            Ordering::Greater => true,
            Ordering::Less => false,
        }
    }

    /// Tells whether a version reaches it. One of a later epoch does: whoever starts one carries over what it holds.
    #[must_use]
    pub const fn reached_by(self, version: &Version) -> bool {
        let counter = version.epoch.counter;
        counter > self.epoch_counter
            || (counter == self.epoch_counter
                && version.revisions.revocations >= self.revisions.revocations
                && version.revisions.segments >= self.revisions.segments)
    }

    /// Returns it as a version of a history; none if it can't be of that one.
    #[must_use]
    pub fn in_history(self, epoch: Epoch) -> Option<Version> {
        (self.epoch_counter == epoch.counter).then_some(Version { epoch, revisions: self.revisions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(counter: u64, id: u128, revocations: u64, segments: u64) -> Version {
        Version { epoch: Epoch { counter, id }, revisions: Revisions { revocations, segments } }
    }

    #[test]
    fn a_later_epoch_is_later_whatever_its_revisions() {
        assert!(version(2, 9, 1, 0) > version(1, 8, 100, 100));
    }

    #[test]
    fn equal_counters_of_different_histories_are_not_ordered() {
        assert_eq!(version(1, 1, 5, 0).partial_cmp(&version(1, 2, 4, 0)), None);
    }

    #[test]
    fn every_component_must_be_at_least_as_high() {
        assert_eq!(version(1, 1, 5, 1).partial_cmp(&version(1, 1, 4, 2)), None);
        assert!(version(1, 1, 5, 2) > version(1, 1, 5, 1));
        assert!(version(1, 1, 6, 2) > version(1, 1, 5, 1));
        assert_eq!(version(1, 1, 5, 1).partial_cmp(&version(1, 1, 5, 1)), Some(Ordering::Equal));
    }

    #[test]
    fn it_prints_as_epoch_and_revision() {
        assert_eq!(version(1, 7, 184_467, 0).to_string(), "1/184467");
        assert_eq!(version(1, 7, 5, 3).to_string(), "1/5+3");
    }

    fn told_version(text: &str) -> ToldVersion {
        text.parse().unwrap()
    }

    #[test]
    fn a_told_version_reaches_what_is_not_above_it() {
        let needed = version(2, 7, 5, 3);
        for (text, reaches) in
            [("2/5+3", true), ("2/6+3", true), ("2/5+2", false), ("2/4+9", false), ("2/9", false)]
        {
            assert_eq!(told_version(text).reaches(&needed), reaches, "{text}");
        }
        assert!(told_version("3/1").reaches(&needed));
        assert!(!told_version("1/900+900").reaches(&needed));
    }

    #[test]
    fn told_versions_compare_by_counter_and_then_each_revision_with_its_like() {
        let compare = |one: &str, other: &str| told_version(one).partial_cmp(&told_version(other));
        assert_eq!(compare("2/1", "1/900+900"), Some(Ordering::Greater));
        assert_eq!(compare("1/5+3", "1/5+3"), Some(Ordering::Equal));
        assert_eq!(compare("1/5", "1/5+3"), Some(Ordering::Less));
        assert_eq!(compare("1/6", "1/5+3"), None);
    }

    fn check_reached(min: &str, counter: u64, revocations: u64, segments: u64, expected: bool) {
        let proven =
            Version { epoch: Epoch { counter, id: 9 }, revisions: Revisions { revocations, segments } };
        assert_eq!(min.parse::<ToldVersion>().unwrap().reached_by(&proven), expected, "{min} {proven}");
    }

    #[test]
    fn every_component_of_what_was_told_must_be_reached() {
        check_reached("1/5", 1, 5, 0, true);
        check_reached("1/5", 1, 4, 9, false);
        check_reached("1/5+2", 1, 9, 1, false);
        check_reached("1/5+2", 1, 5, 2, true);
        check_reached("1/5+2", 2, 1, 0, true);
        check_reached("2/1", 1, 9, 9, false);
    }

    #[test]
    fn what_a_version_prints_is_read_back_and_nothing_else() {
        for text in ["1/184467", "1/5+3"] {
            assert!(text.parse::<ToldVersion>().is_ok(), "{text}");
        }
        for text in [
            "",
            "1",
            "1/",
            "/1",
            "1/+1",
            "+1/2",
            "1/-2",
            "1/2+",
            "1/2+3+4",
            "1/2 ",
            "a/b",
            "1/99999999999999999999",
        ] {
            assert_eq!(text.parse::<ToldVersion>(), Err(ToldVersionError), "{text}");
        }
    }

    #[test]
    fn what_was_told_is_a_version_of_a_history_with_its_counter() {
        let told: ToldVersion = "1/5+3".parse().unwrap();
        assert_eq!(told.in_history(Epoch { counter: 1, id: 7 }), Some(version(1, 7, 5, 3)));
        assert_eq!(told.in_history(Epoch { counter: 2, id: 7 }), None);
    }
}
