//! When a record may be forgotten: once the last token that it can cover has surely expired.

use super::record::{CompareWith, Cutoff, RevocationSpec};
use super::row::Rows;
use super::selector::BuiltIn;
use super::time::UnixSeconds;

/// How far the clocks of the fleet may differ before an expiry comes too early. An expiry is carried out this
/// much later, and sidecars take a horizon for passed only this much before it.
pub const MARGIN_SECONDS: u64 = 60;

/// The largest leeway that an issuer can declare. Every expiry counts on it: a leeway that is raised later must
/// not bring a forgotten token back to life.
pub const MAX_LEEWAY_SECONDS: u64 = 300;

/// The largest limits of an issuer in force from the commit of a record until now.
///
/// **Units**: seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Largest {
    /// The longest `exp - iat`.
    pub token_lifetime_seconds: u64,
    /// The longest time from the session's start to `iat`.
    pub session_lifetime_seconds: u64,
    /// How far the issuer's clock may run ahead.
    pub clock_skew_seconds: u64,
}

impl Largest {
    /// Returns the larger of each limit.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            token_lifetime_seconds: self.token_lifetime_seconds.max(other.token_lifetime_seconds),
            session_lifetime_seconds: self.session_lifetime_seconds.max(other.session_lifetime_seconds),
            clock_skew_seconds: self.clock_skew_seconds.max(other.clock_skew_seconds),
        }
    }
}

/// Returns the first second in which a record may be forgotten; none if it has to stay until it is lifted.
///
/// `committed` is the second in which the store took it.
#[must_use]
pub fn forgotten_from(
    spec: &RevocationSpec,
    committed: UnixSeconds,
    largest: &Largest,
) -> Option<UnixSeconds> {
    let cutoff = spec.effective_cutoff(committed).ok()?;
    match cutoff {
        Cutoff::Always => {
            let covered = last_covered_always(spec, committed, largest).map(with_margins);
            match (covered, spec.expires_at) {
                (Some(covered), Some(end)) => Some(covered.min(end)),
                (covered, end) => covered.or(end),
            }
        }
        Cutoff::At(time) => {
            let last_issued = committed.max(time.saturating_add(largest.clock_skew_seconds));
            // An author's end can only prolong a cutoff.
            let covered = last_covered_by_cutoff(last_issued, spec.compare_with, largest);
            Some(spec.expires_at.map_or(covered, |end| covered.max(end)))
        }
    }
}

/// One token, or the tokens of one session, end by themselves; what also refuses later ones does not.
fn last_covered_always(
    spec: &RevocationSpec,
    committed: UnixSeconds,
    largest: &Largest,
) -> Option<UnixSeconds> {
    let token = largest.token_lifetime_seconds.saturating_add(largest.clock_skew_seconds);
    match spec.target.selection.built_in()? {
        BuiltIn::Token => Some(committed.saturating_add(token)),
        BuiltIn::Session => {
            Some(committed.saturating_add(token).saturating_add(largest.session_lifetime_seconds))
        }
        BuiltIn::Subject | BuiltIn::Client | BuiltIn::Key | BuiltIn::Everything | BuiltIn::Opaque => None,
    }
}

fn last_covered_by_cutoff(
    last_issued: UnixSeconds,
    compare_with: CompareWith,
    largest: &Largest,
) -> UnixSeconds {
    let session = match compare_with {
        CompareWith::IssueTime => 0,
        CompareWith::SessionStart => largest.session_lifetime_seconds,
    };
    with_margins(last_issued.saturating_add(session).saturating_add(largest.token_lifetime_seconds))
}

/// Returns what is left of rows whose records are not known any more, when expiries have been carried out up to
/// `horizon`.
///
/// A cutoff is given up when every token that it reaches has expired under the longest limits. An *always* row without
/// an end stays: whether it bans a subject or names one token can't be told from it.
#[must_use]
pub fn left_of(rows: Rows, horizon: UnixSeconds, longest: &Largest) -> Rows {
    let is_needed = |cutoff: &UnixSeconds, compare_with| {
        let last_issued = cutoff.saturating_add(longest.clock_skew_seconds);
        last_covered_by_cutoff(last_issued, compare_with, longest) > horizon
    };
    Rows {
        always: rows.always.filter(|end| end.time().is_none_or(|end| end > horizon)),
        issued: rows.issued.filter(|cutoff| is_needed(cutoff, CompareWith::IssueTime)),
        session_started: rows.session_started.filter(|start| is_needed(start, CompareWith::SessionStart)),
    }
}

fn with_margins(last: UnixSeconds) -> UnixSeconds {
    last.saturating_add(MAX_LEEWAY_SECONDS).saturating_add(MARGIN_SECONDS).saturating_add(1)
}

/// Returns the time that has surely passed everywhere when a horizon was announced.
#[must_use]
pub fn floor_of(horizon: UnixSeconds) -> UnixSeconds {
    horizon.saturating_sub(MARGIN_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::row::End;
    use crate::revocation::selector::{ClaimMatch, Selection, Target, TypedValue};

    const LARGEST: Largest =
        Largest { token_lifetime_seconds: 3600, session_lifetime_seconds: 86_400, clock_skew_seconds: 2 };
    const MARGINS: u64 = MAX_LEEWAY_SECONDS + MARGIN_SECONDS + 1;

    fn at(seconds: u64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    fn spec(selection: Selection, cutoff: Option<Cutoff>) -> RevocationSpec {
        let target = Target { issuer: "i".to_owned(), selection };
        RevocationSpec { target, cutoff, compare_with: CompareWith::IssueTime, expires_at: None }
    }

    fn check(spec: &RevocationSpec, expected: Option<u64>) {
        assert_eq!(forgotten_from(spec, at(1_000_000), &LARGEST).map(UnixSeconds::get), expected);
    }

    /// Invariant 7: expiry is never early.
    #[test]
    fn one_token_is_forgotten_when_the_longest_token_of_its_issuer_has_expired() {
        check(&spec(Selection::Token("t".into()), None), Some(1_000_000 + 3602 + MARGINS));
    }

    /// Invariant 7: expiry is never early.
    #[test]
    fn a_session_is_kept_for_as_long_as_it_can_be_renewed_and_its_last_token_lives() {
        check(&spec(Selection::Session("s".into()), None), Some(1_000_000 + 3602 + 86_400 + MARGINS));
    }

    /// Invariant 7: expiry is never early.
    #[test]
    fn a_cutoff_counts_from_the_later_of_commit_and_cutoff() {
        let subject = |time| spec(Selection::Subject("a".into()), Some(Cutoff::At(at(time))));
        check(&subject(1), Some(1_000_000 + 3600 + MARGINS));
        check(&subject(2_000_000), Some(2_000_002 + 3600 + MARGINS));
        let mut session_start = subject(2_000_000);
        session_start.compare_with = CompareWith::SessionStart;
        check(&session_start, Some(2_000_002 + 3600 + 86_400 + MARGINS));
    }

    #[test]
    fn a_ban_stays_until_its_author_ends_it() {
        let value = ClaimMatch { claim: "sub".parse().unwrap(), value: TypedValue::Boolean(true) };
        for selection in [
            Selection::Subject("a".into()),
            Selection::Client("c".into()),
            Selection::Key("k".into()),
            Selection::Everything,
            Selection::Opaque([0; 32]),
            Selection::Declared { name: "d".into(), values: vec![value] },
        ] {
            let mut ban = spec(selection, Some(Cutoff::Always));
            check(&ban, None);
            ban.expires_at = Some(at(5));
            check(&ban, Some(5));
        }
    }

    /// Invariant 7: also of what is kept without its record, for as long as its own record would be.
    #[test]
    fn a_row_without_its_record_is_given_up_when_no_token_that_it_covers_can_live() {
        let never = Rows { always: Some(End::NEVER), ..Rows::default() };
        let rows = Rows {
            always: Some(End::at(at(2_000_000))),
            issued: Some(at(1_000_000)),
            session_started: Some(at(1_000_000)),
        };
        let check = |horizon, expected: Rows| assert_eq!(left_of(rows, at(horizon), &LARGEST), expected);
        let issued_until = 1_000_002 + 3600 + MARGINS;
        check(issued_until - 1, rows);
        check(issued_until, Rows { issued: None, ..rows });
        let session_until = issued_until + 86_400;
        check(session_until - 1, Rows { issued: None, ..rows });
        check(session_until, Rows { issued: None, session_started: None, ..rows });
        check(1_999_999, Rows { issued: None, session_started: None, ..rows });
        check(2_000_000, Rows::default());
        assert_eq!(left_of(never, UnixSeconds::MAX, &LARGEST), never);
    }

    /// Invariant 7: an author's end shortens an always row only.
    #[test]
    fn an_end_prolongs_a_cutoff_and_never_shortens_it() {
        let mut cutoff = spec(Selection::Subject("a".into()), Some(Cutoff::At(at(1_000_000))));
        let covered = 1_000_002 + 3600 + MARGINS;
        for (end, expected) in [(5, covered), (9_000_000, 9_000_000)] {
            cutoff.expires_at = Some(at(end));
            check(&cutoff, Some(expected));
        }
        let mut token = spec(Selection::Token("t".into()), None);
        token.expires_at = Some(at(1_000_100));
        check(&token, Some(1_000_100));
    }
}
