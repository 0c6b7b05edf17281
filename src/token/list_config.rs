//! What a list declares, validated and ready for use: issuers, selectors, sources, bounds.

use crate::revocation::claims::ClaimPath;
use crate::revocation::expiry::Largest;
use crate::revocation::freshness::Bounds;
use crate::revocation::names::ListName;
use crate::revocation::record::CompareWith;
use crate::revocation::row::{TokenTimes, admits_from};
use crate::revocation::selector::BuiltIn;
use crate::revocation::time::UnixSeconds;

use super::keys::VerifyingKey;

/// How many selectors a list may declare beside the built-in ones.
pub const MAX_SELECTORS: usize = 16;

/// A list's declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListConfig {
    /// The list.
    pub name: ListName,
    /// Whose tokens it is about; no issuer twice.
    pub issuers: Vec<IssuerConfig>,
    /// The selectors beside the built-in ones.
    pub selectors: Vec<DeclaredSelector>,
    /// The bounds on the age of what sidecars know.
    pub freshness: Bounds,
    /// Whether denials have an effect.
    pub enforcement: Enforcement,
    /// Where requests carry their tokens; exhaustive.
    pub sources: Vec<TokenSource>,
}

impl ListConfig {
    /// Returns the declaration of an issuer, by the exact string.
    #[must_use]
    pub fn issuer(&self, issuer: &str) -> Option<&IssuerConfig> {
        self.issuers.iter().find(|declared| declared.issuer == issuer)
    }

    /// Returns the largest maxima that any issuer has, or had; none without an issuer.
    #[must_use]
    pub fn largest(&self) -> Option<Largest> {
        self.issuers.iter().map(|issuer| issuer.largest_since(UnixSeconds::MIN)).reduce(Largest::max)
    }

    /// Returns a declared selector by name.
    #[must_use]
    pub fn selector(&self, name: &str) -> Option<&DeclaredSelector> {
        self.selectors.iter().find(|declared| declared.name == name)
    }
}

/// Whether a list's denials refuse requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// They do.
    #[default]
    Enforce,
    /// Everything is computed and counted, and nothing is refused.
    Shadow,
}

/// A selector that a list declares: claims that must all match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredSelector {
    /// The name that revocations use.
    pub name: String,
    /// The claims; at least one, none twice.
    pub claims: Vec<ClaimPath>,
}

/// What one issuer's tokens must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// The exact `iss`.
    pub issuer: String,
    /// Whom tokens must be meant for.
    pub audiences: Audiences,
    /// The header's `typ` that is accepted, without `application/`, in lower case.
    pub types: Vec<String>,
    /// The maxima in force now.
    pub maxima: Maxima,
    /// Maxima that were in force before, each from its time on, in ascending order.
    pub history: Vec<(UnixSeconds, Maxima)>,
    /// The claim that tells when the session started.
    pub session_start_claim: ClaimPath,
    /// How long after `exp` and before `nbf` a token is still accepted.
    pub leeway_seconds: u64,
    /// Claims that every token must have.
    pub required_claims: Vec<ClaimPath>,
    /// Claims that built-in selectors read under another name.
    pub claim_names: ClaimNames,
    /// Who verifies the signature.
    pub verification: Verification,
}

impl IssuerConfig {
    /// Returns the largest clock skew in force since a token's issue, and since its session began: what a cutoff has
    /// denied must not pass because the skew was lowered.
    #[must_use]
    pub fn clock_skew_of(&self, times: TokenTimes) -> u64 {
        let Some(first) = [times.issued, times.session_started].into_iter().flatten().min() else {
            return self.maxima.clock_skew_seconds;
        };
        let ever = self.largest_since(UnixSeconds::MIN).clock_skew_seconds;
        self.largest_since(first.floor().saturating_sub(ever)).clock_skew_seconds
    }

    /// Returns the first time that a cutoff lets pass, whatever else is true of the token. A token that is issued then
    /// may be of the longest session.
    #[must_use]
    pub fn admits_from(&self, cutoff: UnixSeconds, compare_with: CompareWith) -> UnixSeconds {
        let session = match compare_with {
            CompareWith::IssueTime => self.largest_since(UnixSeconds::MIN).session_lifetime_seconds,
            CompareWith::SessionStart => 0,
        };
        let first = cutoff.saturating_sub(session);
        let times = TokenTimes { issued: Some(cutoff.into()), session_started: Some(first.into()) };
        admits_from(cutoff, self.clock_skew_of(times))
    }

    /// Returns the largest maxima that were in force at any time since a second.
    #[must_use]
    pub fn largest_since(&self, since: UnixSeconds) -> Largest {
        let past = self.history.iter().filter(|(until, _)| *until >= since).map(|(_, maxima)| *maxima);
        past.chain([self.maxima]).fold(
            Largest { token_lifetime_seconds: 0, session_lifetime_seconds: 0, clock_skew_seconds: 0 },
            |largest, maxima| Largest {
                token_lifetime_seconds: largest.token_lifetime_seconds.max(maxima.token_lifetime_seconds),
                session_lifetime_seconds: largest
                    .session_lifetime_seconds
                    .max(maxima.session_lifetime_seconds),
                clock_skew_seconds: largest.clock_skew_seconds.max(maxima.clock_skew_seconds),
            },
        )
    }
}

/// Limits that bound how long a revocation must be kept.
///
/// **Units**: seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maxima {
    /// The longest `exp - iat`.
    pub token_lifetime_seconds: u64,
    /// The longest time from the session's start to `iat`.
    pub session_lifetime_seconds: u64,
    /// How far the issuer's clock may run ahead.
    pub clock_skew_seconds: u64,
}

/// Whom tokens must be meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audiences {
    /// Any audience, by the operator's word.
    Any,
    /// One of these.
    OneOf(Vec<String>),
}

/// The claims that the built-in selectors read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// For `token`; `jti` unless renamed.
    pub token: ClaimPath,
    /// For `session`; `sid` unless renamed.
    pub session: ClaimPath,
    /// For `subject`; `sub` unless renamed.
    pub subject: ClaimPath,
    /// For `client`; `client_id` unless renamed.
    pub client: ClaimPath,
}

impl ClaimNames {
    /// Returns the claim of a built-in selector that reads one.
    #[must_use]
    pub const fn of(&self, selector: BuiltIn) -> Option<&ClaimPath> {
        match selector {
            BuiltIn::Token => Some(&self.token),
            BuiltIn::Session => Some(&self.session),
            BuiltIn::Subject => Some(&self.subject),
            BuiltIn::Client => Some(&self.client),
            BuiltIn::Key | BuiltIn::Everything | BuiltIn::Opaque => None,
        }
    }
}

/// Who verifies an issuer's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The sidecar, with pinned keys.
    Keys(Vec<VerifyingKey>),
    /// Envoy's `jwt_authn`, which leaves the claims in its filter metadata under this key.
    EnvoyMetadata {
        /// The key of the payload.
        payload_key: String,
    },
}

/// One place where a request may carry a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenSource {
    /// The place.
    pub place: Place,
    /// What the token is.
    pub kind: TokenKind,
    /// What happens to a cookie whose token was refused.
    pub when_refused: WhenRefused,
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `Authorization: Bearer <token>`.
    AuthorizationBearer,
    /// A cookie of this name.
    Cookie(String),
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A signed JWT.
    Jwt,
    /// An opaque string of this issuer: it can be listed or not, and nothing else is known of it.
    Opaque {
        /// The issuer under which it is revoked.
        issuer: String,
    },
}

/// What happens to the place of a refused token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenRefused {
    /// Nothing.
    #[default]
    Keep,
    /// The answer asks the browser to drop the cookie.
    Clear,
}
