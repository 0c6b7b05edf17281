//! Verdicts: what one list says of a token, and what several lists say together.

use super::freshness::{Freshness, Policy};
use super::row::RowKind;

/// Why a list can't vouch for a token that it does not deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The proof is older than the bound.
    Stale,
    /// The proof is older than the maximum.
    Expired,
    /// No proof has arrived since start.
    NeverFresh,
    /// A digest or sequence did not match.
    Corrupt,
}

impl Doubt {
    /// Returns the reason code, as answers and metrics carry it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stale => "STALE",
            Self::Expired => "EXPIRED_LIST",
            Self::NeverFresh => "NEVER_FRESH",
            Self::Corrupt => "CORRUPT",
        }
    }
}

/// How far a list's word can be trusted when it vouches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Assurance {
    /// Proven complete within the bound.
    Fresh,
    /// Decided by a stale list, as its policy allows: to be marked and counted.
    BestEffort,
}

/// What a list says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListVerdict {
    /// A row denies it.
    Revoked(RowKind),
    /// No row denies it, and the list can't vouch for being complete.
    Unknown(Doubt),
    /// No row denies it, and the list vouches.
    Vouched(Assurance),
}

/// Judges one list: the table of states, policies and hits.
///
/// A hit denies in every state. Without one, only FRESH vouches, and STALE under `BestEffort`.
#[must_use]
pub const fn judge(freshness: Freshness, policy: Policy, hit: Option<RowKind>) -> ListVerdict {
    if let Some(row) = hit {
        return ListVerdict::Revoked(row);
    }
    match (freshness, policy) {
        (Freshness::Fresh { .. }, _) => ListVerdict::Vouched(Assurance::Fresh),
        (Freshness::Stale { .. }, Policy::BestEffort) => ListVerdict::Vouched(Assurance::BestEffort),
        (Freshness::Stale { .. }, Policy::Strict) => ListVerdict::Unknown(Doubt::Stale),
        (Freshness::Expired { .. }, _) => ListVerdict::Unknown(Doubt::Expired),
        (Freshness::NeverFresh, _) => ListVerdict::Unknown(Doubt::NeverFresh),
        (Freshness::Corrupt, _) => ListVerdict::Unknown(Doubt::Corrupt),
    }
}

impl ListVerdict {
    /// Combines with another list's verdict: a hit in any denies, and an allow needs every list to vouch.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revoked(row), _) | (_, Self::Revoked(row)) => Self::Revoked(row),
            (Self::Unknown(doubt), _) | (_, Self::Unknown(doubt)) => Self::Unknown(doubt),
            (Self::Vouched(one), Self::Vouched(two)) => Self::Vouched(one.max(two)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [Freshness; 5] = [
        Freshness::Fresh { age_nanos: 1 },
        Freshness::Stale { age_nanos: 1 },
        Freshness::Expired { age_nanos: 1 },
        Freshness::NeverFresh,
        Freshness::Corrupt,
    ];

    /// Invariant 19: for each (state, policy, hit) the decision is the table's.
    #[test]
    fn a_hit_denies_in_every_state_under_every_policy() {
        for state in STATES {
            for policy in [Policy::Strict, Policy::BestEffort] {
                let verdict = judge(state, policy, Some(RowKind::Issued));
                assert_eq!(verdict, ListVerdict::Revoked(RowKind::Issued), "{state:?} {policy:?}");
            }
        }
    }

    /// Invariant 19: for each (state, policy, hit) the decision is the table's.
    #[test]
    fn without_a_hit_the_table_decides() {
        use ListVerdict::{Unknown, Vouched};
        let strict = [
            Vouched(Assurance::Fresh),
            Unknown(Doubt::Stale),
            Unknown(Doubt::Expired),
            Unknown(Doubt::NeverFresh),
            Unknown(Doubt::Corrupt),
        ];
        let best_effort = [strict[0], Vouched(Assurance::BestEffort), strict[2], strict[3], strict[4]];
        for (policy, expected) in [(Policy::Strict, strict), (Policy::BestEffort, best_effort)] {
            assert_eq!(STATES.map(|state| judge(state, policy, None)), expected, "{policy:?}");
        }
    }

    #[test]
    fn one_list_that_denies_or_doubts_is_enough() {
        use ListVerdict::{Revoked, Unknown, Vouched};
        let fresh = Vouched(Assurance::Fresh);
        let unknown = Unknown(Doubt::Stale);
        let revoked = Revoked(RowKind::Always);
        assert_eq!(fresh.and(unknown), unknown);
        assert_eq!(unknown.and(revoked), revoked);
        assert_eq!(revoked.and(fresh), revoked);
        assert_eq!(fresh.and(Vouched(Assurance::BestEffort)), Vouched(Assurance::BestEffort));
    }
}
