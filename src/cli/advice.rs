//! What to do about a reason that a sidecar gives.

use crate::token::rejection::Rejection;

/// Returns the next step for a reason code; none where there is nothing to do, or the code is of a newer sidecar.
pub(super) fn advice(reason: &str) -> Option<&'static str> {
    of_answer(reason).or_else(|| of_token(reason))
}

/// What is said of the entries, of how fresh they are, and of what was asked.
fn of_answer(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "REVOKED" => {
            "it was revoked: `rescind list` shows by what, in the namespace of the list whose lookup failed; get a new \
             token, or lift the revocation with `rescind undo`"
        }
        "STALE" | "EXPIRED_LIST" | "NEVER_FRESH" => {
            "the token may be good, but the sidecar has no proof that is young enough: see whether it reaches a \
             controller (its log, which also tells of a clock that has jumped), and whether controllers prove \
             (`rescind status`, `rescind doctor`)"
        }
        "CORRUPT" => {
            "wait for the next snapshot, which the sidecar has asked for; if it stays so, look at its log"
        }
        "BEHIND_MIN_VERSION" => {
            "ask again: the sidecar does not have the version yet that --min-version names"
        }
        "OVERLOADED" => "ask again later; if it stays so, raise --max-concurrent-checks of the sidecar",
        "NO_TOKEN" => "send a token in a place that the list's tokenSources name",
        "AMBIGUOUS_TOKEN" => "send exactly one token, in one place",
        "TOO_MANY_ELEMENTS" | "TOO_MANY_KEYS" => {
            "the token holds more values of selected claims than are looked up: shorten them at the issuer"
        }
        "SOURCE_CONFLICT" | "ISSUER_CONFLICT" => {
            "two lists that the sidecar follows contradict each other, and it does not choose: make them agree"
        }
        "KEY_NOT_TOLD" => {
            "the list has revocations by key, and nobody tells by which key the token was verified: let the sidecar \
             verify it"
        }
        "BAD_POLICY" => "look at --lists, and at what the route says: an unknown key or value is refused",
        _ => return None,
    })
}

/// What is said of the token itself.
fn of_token(reason: &str) -> Option<&'static str> {
    Rejection::ALL.into_iter().find(|rejection| rejection.code() == reason).map(Rejection::advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::verdict::Doubt;

    #[test]
    fn every_rejection_and_every_doubt_has_a_next_step() {
        let doubts = [Doubt::Stale, Doubt::Expired, Doubt::NeverFresh, Doubt::Corrupt].map(Doubt::code);
        let others = [
            "REVOKED",
            "NO_TOKEN",
            "AMBIGUOUS_TOKEN",
            "OVERLOADED",
            "BEHIND_MIN_VERSION",
            "TOO_MANY_ELEMENTS",
            "TOO_MANY_KEYS",
            "SOURCE_CONFLICT",
            "ISSUER_CONFLICT",
            "KEY_NOT_TOLD",
            "BAD_POLICY",
        ];
        for code in Rejection::ALL.map(Rejection::code).into_iter().chain(doubts).chain(others) {
            assert!(advice(code).is_some(), "{code}");
        }
        assert_eq!((advice(""), advice("OF_A_LATER_VERSION")), (None, None));
    }
}
