//! What a list vouches for that denies nothing.

use super::freshness::{Freshness, Policy};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assurance {
    /// Proven complete within the bound.
    Fresh,
    /// Decided by a stale list, as its policy allows: to be marked and counted.
    BestEffort,
}

/// Tells whether a list without a row against a token vouches for that: the table of states and policies.
///
/// Only FRESH does, and STALE under `BestEffort`. A row denies in every state: nobody needs to vouch for it.
///
/// # Errors
/// [`Doubt`]: the token may be revoked.
pub const fn vouch(freshness: Freshness, policy: Policy) -> Result<Assurance, Doubt> {
    match (freshness, policy) {
        (Freshness::Fresh { .. }, _) => Ok(Assurance::Fresh),
        (Freshness::Stale { .. }, Policy::BestEffort) => Ok(Assurance::BestEffort),
        (Freshness::Stale { .. }, Policy::Strict) => Err(Doubt::Stale),
        (Freshness::Expired { .. }, _) => Err(Doubt::Expired),
        (Freshness::NeverFresh, _) => Err(Doubt::NeverFresh),
        (Freshness::Corrupt, _) => Err(Doubt::Corrupt),
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
    fn without_a_hit_the_table_decides() {
        let strict = [
            Ok(Assurance::Fresh),
            Err(Doubt::Stale),
            Err(Doubt::Expired),
            Err(Doubt::NeverFresh),
            Err(Doubt::Corrupt),
        ];
        let best_effort = [strict[0], Ok(Assurance::BestEffort), strict[2], strict[3], strict[4]];
        for (policy, expected) in [(Policy::Strict, strict), (Policy::BestEffort, best_effort)] {
            assert_eq!(STATES.map(|state| vouch(state, policy)), expected, "{policy:?}");
        }
    }
}
