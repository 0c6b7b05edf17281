//! Why a token is refused for what it is, apart from revocation.

/// The reasons, each with a code that answers and metrics carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Not a compact JWS, or not canonical.
    Malformed,
    /// Longer than 16 KiB.
    TooLarge,
    /// A header that asks for what is never done: `crit`, embedded keys, compression, nesting, encryption.
    ForbiddenHeader,
    /// `none`, an HMAC, or not the algorithm that is pinned for the key.
    WrongAlgorithm,
    /// No key of the issuer bears the token's `kid`, or it names none and several fit.
    UnknownKey,
    /// The signature does not match.
    BadSignature,
    /// No followed list declares the issuer.
    UnknownIssuer,
    /// The `typ` is not accepted.
    WrongType,
    /// Not meant for an accepted audience.
    WrongAudience,
    /// `iat` or `exp` is missing, or a claim has the wrong JSON type.
    MissingClaim,
    /// A claim that the list requires is missing: revocations by it would not reach the token.
    Unrevocable,
    /// A time lies outside [1970, 9999].
    TimeOutOfRange,
    /// After `exp`.
    Expired,
    /// Before `nbf`.
    NotYetValid,
    /// `iat` is further ahead than the clock skew.
    IssuedInFuture,
    /// `exp` before `iat`.
    ExpiresBeforeIssue,
    /// `exp - iat` above the smallest maximum since issue.
    LifetimeTooLong,
    /// `iat` too long after the session's start.
    SessionTooLong,
    /// A number from an upstream that passes numbers as floats is beyond 2^53.
    InexactNumber,
    /// The issuer's tokens are verified by the proxy, and it left no claims.
    NoUpstreamClaims,
}

impl Rejection {
    /// All of them, for metrics that exist before they count.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::TooLarge,
        Self::ForbiddenHeader,
        Self::WrongAlgorithm,
        Self::UnknownKey,
        Self::BadSignature,
        Self::UnknownIssuer,
        Self::WrongType,
        Self::WrongAudience,
        Self::MissingClaim,
        Self::Unrevocable,
        Self::TimeOutOfRange,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::ExpiresBeforeIssue,
        Self::LifetimeTooLong,
        Self::SessionTooLong,
        Self::InexactNumber,
        Self::NoUpstreamClaims,
    ];

    /// Returns the code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::TooLarge => "TOO_LARGE",
            Self::ForbiddenHeader => "FORBIDDEN_HEADER",
            Self::WrongAlgorithm => "WRONG_ALGORITHM",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::UnknownIssuer => "UNKNOWN_ISSUER",
            Self::WrongType => "WRONG_TYPE",
            Self::WrongAudience => "WRONG_AUDIENCE",
            Self::MissingClaim => "MISSING_CLAIM",
            Self::Unrevocable => "UNREVOCABLE",
            Self::TimeOutOfRange => "TIME_OUT_OF_RANGE",
            Self::Expired => "EXPIRED",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::IssuedInFuture => "ISSUED_IN_FUTURE",
            Self::ExpiresBeforeIssue => "EXPIRES_BEFORE_ISSUE",
            Self::LifetimeTooLong => "LIFETIME_TOO_LONG",
            Self::SessionTooLong => "SESSION_TOO_LONG",
            Self::InexactNumber => "INEXACT_NUMBER",
            Self::NoUpstreamClaims => "NO_UPSTREAM_CLAIMS",
        }
    }

    /// Returns what to do about it, for whoever issues or sends the token, or declares the list.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Malformed | Self::TooLarge | Self::ForbiddenHeader => {
                "this is no signed token as the list takes them (a compact JWS of at most 16 KiB, without crit, \
                 embedded keys and encryption): look at how the issuer makes it"
            }
            Self::WrongAlgorithm | Self::UnknownKey | Self::BadSignature => {
                "compare the token's kid and alg with spec.issuers[].verification.keys of the list: the issuer may have \
                 changed its keys"
            }
            Self::UnknownIssuer => {
                "compare the token's iss, as an exact string, with spec.issuers of the lists that are asked"
            }
            Self::WrongType => {
                "add the token's typ to spec.issuers[].types of the list; many issuers send JWT"
            }
            Self::WrongAudience => {
                "compare the token's aud with spec.issuers[].audiences of the list, and with --audience"
            }
            Self::MissingClaim => "let the issuer set iat and exp, as numbers",
            Self::Unrevocable => {
                "let the issuer set every claim of spec.issuers[].requiredClaims: without them, revocations would not \
                 reach the token"
            }
            Self::Expired => {
                "get a new token, for nobody accepts this one; if it is new, compare the clocks of issuer and sidecar"
            }
            Self::NotYetValid | Self::IssuedInFuture => {
                "compare the clocks of issuer and sidecar: the issuer's may run ahead by clockSkewSeconds of the list"
            }
            Self::TimeOutOfRange | Self::ExpiresBeforeIssue => "look at how the issuer sets iat, exp and nbf",
            Self::LifetimeTooLong => {
                "let the issuer shorten its tokens, or raise maxTokenLifetimeSeconds of the list"
            }
            Self::SessionTooLong => "sign in anew, or raise maxSessionLifetimeSeconds of the list",
            Self::InexactNumber => {
                "let the sidecar verify the token (verification.keys): Envoy hands numbers on as floats"
            }
            Self::NoUpstreamClaims => {
                "see that Envoy's jwt_authn verifies the token, under the payloadKey of the list"
            }
        }
    }
}
