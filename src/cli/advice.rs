//! What to do about a reason that a sidecar gives.

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
             controller (its log), and whether controllers prove (`rescind status`, `rescind doctor`)"
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
    Some(match reason {
        "MALFORMED" | "TOO_LARGE" | "FORBIDDEN_HEADER" => {
            "this is no signed token as the list takes them (a compact JWS of at most 16 KiB, without crit, embedded \
             keys and encryption): look at how the issuer makes it"
        }
        "WRONG_ALGORITHM" | "UNKNOWN_KEY" | "BAD_SIGNATURE" => {
            "compare the token's kid and alg with spec.issuers[].verification.keys of the list: the issuer may have \
             changed its keys"
        }
        "UNKNOWN_ISSUER" => {
            "compare the token's iss, as an exact string, with spec.issuers of the lists that the sidecar follows"
        }
        "WRONG_TYPE" => "add the token's typ to spec.issuers[].types of the list; many issuers send JWT",
        "WRONG_AUDIENCE" => {
            "compare the token's aud with spec.issuers[].audiences of the list, and with --audience"
        }
        "MISSING_CLAIM" => "let the issuer set iat and exp, as numbers",
        "UNREVOCABLE" => {
            "let the issuer set every claim of spec.issuers[].requiredClaims: without them, revocations would not reach \
             the token"
        }
        "EXPIRED" => "get a new token; if this one is new, compare the clocks of issuer and sidecar",
        "NOT_YET_VALID" | "ISSUED_IN_FUTURE" => {
            "compare the clocks of issuer and sidecar: the issuer's may run ahead by clockSkewSeconds of the list"
        }
        "TIME_OUT_OF_RANGE" | "EXPIRES_BEFORE_ISSUE" => "look at how the issuer sets iat, exp and nbf",
        "LIFETIME_TOO_LONG" => {
            "let the issuer shorten its tokens, or raise maxTokenLifetimeSeconds of the list"
        }
        "SESSION_TOO_LONG" => "sign in anew, or raise maxSessionLifetimeSeconds of the list",
        "INEXACT_NUMBER" => {
            "let the sidecar verify the token (verification.keys): Envoy hands numbers on as floats"
        }
        "NO_UPSTREAM_CLAIMS" => {
            "see that Envoy's jwt_authn verifies the token, under the payloadKey of the list"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::verdict::Doubt;
    use crate::token::rejection::Rejection;

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
