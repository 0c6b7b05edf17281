//! What a check concludes, as a value: every transport says the same thing in its own words.

use crate::revocation::freshness::ClockJump;
use crate::revocation::names::ListName;
use crate::revocation::row::RowKind;
use crate::revocation::verdict::Doubt;
use crate::revocation::version::Version;
use crate::token::rejection::Rejection;
use crate::token::selection::SelectionError;

/// What is known of what a request presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A verified token that no list denies.
    Active,
    /// An opaque token that no list denies; nothing else is known of it.
    NotListed,
    /// Nothing is presented, or it was refused and counts as absent.
    NoToken,
    /// More than one token: which one the application would use can't be told.
    Ambiguous,
    /// A row denies it.
    Revoked(RowKind),
    /// Nobody can vouch.
    Unknown(Why),
    /// The token itself fails.
    Rejected(Rejection),
}

/// Why nobody can vouch. The answer is 503: the token may be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// A list can't vouch for being complete.
    List(Doubt),
    /// More is asked at one time than is taken on: nothing was looked at.
    Overloaded,
    /// A list is not proven up to the version that was asked for.
    BehindMinVersion,
    /// The token has more values than can be checked.
    TooMuch(SelectionError),
    /// Lists declare one token source with different kinds of token.
    SourceConflict,
    /// Lists declare the token's issuer with different keys, or different verifiers.
    IssuerConflict,
    /// What the route or the caller wants is not understood.
    BadPolicy,
    /// A key of the issuer is revoked, and the caller did not say which key verified the claims.
    KeyNotTold,
}

impl Why {
    /// Returns the reason code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::List(doubt) => doubt.code(),
            Self::Overloaded => "OVERLOADED",
            Self::BehindMinVersion => "BEHIND_MIN_VERSION",
            Self::TooMuch(error) => error.code(),
            Self::SourceConflict => "SOURCE_CONFLICT",
            Self::IssuerConflict => "ISSUER_CONFLICT",
            Self::BadPolicy => "BAD_POLICY",
            Self::KeyNotTold => "KEY_NOT_TOLD",
        }
    }
}

impl Verdict {
    /// Returns the reason code; empty where there is nothing to give a reason for.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active | Self::NotListed => "",
            Self::NoToken => "NO_TOKEN",
            Self::Ambiguous => "AMBIGUOUS_TOKEN",
            Self::Revoked(_) => "REVOKED",
            Self::Unknown(why) => why.code(),
            Self::Rejected(rejection) => rejection.code(),
        }
    }

    /// Returns the word that the verdict header carries.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NotListed => "not-listed",
            Self::NoToken => "none",
            Self::Ambiguous => "ambiguous",
            Self::Revoked(_) => "revoked",
            Self::Unknown(_) => "unknown",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// Whether the request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// What has to be taken off a request that passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strip {
    /// Nothing.
    #[default]
    Nothing,
    /// The `Authorization` header and all cookies that are token sources: the application must not take up a
    /// token that was not accepted.
    Tokens {
        /// What is left of the `Cookie` header; empty if it is to go.
        cookie: Vec<u8>,
    },
}

/// What a check looked at, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Keys that were looked up.
    pub keys: u64,
    /// Keys that the prefilter reported and the exact set refuted.
    pub false_positives: u64,
    /// Keys under which rows stand, whether they deny or not.
    pub hits: u64,
    /// How far ahead of our clock a verified token says that it was issued, in nanoseconds.
    pub issued_ahead_nanos: u64,
}

/// Two lists that say different things of one thing; which is right can't be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contradiction {
    /// About what.
    pub about: Subject,
    /// Which lists, in the order of their names.
    pub lists: [ListName; 2],
}

/// What lists can contradict each other about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Who verifies the tokens of an issuer, or with which keys.
    Issuer,
    /// What kind of token a source carries.
    Source,
}

impl Contradiction {
    /// Names two lists.
    #[must_use]
    pub fn new(about: Subject, one: &ListName, other: &ListName) -> Self {
        let mut lists = [one.clone(), other.clone()];
        lists.sort();
        Self { about, lists }
    }
}

impl std::fmt::Display for Contradiction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [one, other] = &self.lists;
        let what = match self.about {
            Subject::Issuer => "who verifies the tokens of an issuer that both declare, or with which keys",
            Subject::Source => "what kind of token a source that both declare carries",
        };
        write!(f, "lists {one} and {other} differ about {what}")
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is known.
    pub verdict: Verdict,
    /// What follows from it.
    pub decision: Decision,
    /// A stable code: why it is denied, or, on an allow, what would have denied it under [`shadow`](Self::shadow)
    /// or was taken off by a lenient route. Empty on a plain allow.
    pub reason: &'static str,
    /// The age of the oldest proof among the lists asked; none while one of them has no proof.
    pub age_nanos: Option<u64>,
    /// The lowest proven version among the lists asked; none while one of them has none.
    pub version: Option<Version>,
    /// It would be denied, and lists in shadow, or a route that only reports, have no effect.
    pub shadow: bool,
    /// A stale list took part, as its policy allows.
    pub best_effort: bool,
    /// What has to be taken off on the way to the application.
    pub strip: Strip,
    /// Cookies whose token was refused, and which their source wants dropped by the browser.
    pub clear_cookies: Vec<String>,
    /// Lists that contradict each other, for people.
    pub contradiction: Option<Box<Contradiction>>,
    /// A clock has jumped, and a list is not fresh until its next proof, for people.
    pub clock_jump: Option<ClockJump>,
    /// What it cost.
    pub effort: Effort,
}

impl Outcome {
    /// Makes the outcome of a check whose policy is not understood.
    #[must_use]
    pub fn bad_policy() -> Self {
        let verdict = Verdict::Unknown(Why::BadPolicy);
        Self { reason: verdict.code(), ..Self::unasked(verdict, Decision::Deny) }
    }

    /// Makes the outcome of a check that asks no list, without a reason.
    pub(super) fn unasked(verdict: Verdict, decision: Decision) -> Self {
        Self {
            verdict,
            decision,
            reason: "",
            age_nanos: None,
            version: None,
            shadow: false,
            best_effort: false,
            strip: Strip::Nothing,
            clear_cookies: Vec::new(),
            contradiction: None,
            clock_jump: None,
            effort: Effort::default(),
        }
    }

    /// Returns the age in milliseconds, rounded up: knowledge is never said to be younger than it is.
    #[must_use]
    pub fn age_milliseconds(&self) -> Option<u64> {
        self.age_nanos.map(|nanos| nanos.div_ceil(1_000_000))
    }
}

/// Through what a check was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Envoy's authorization service.
    ExtAuthz,
    /// A proxy's subrequest over HTTP.
    ForwardAuth,
    /// The service `rescind.v1.RevocationCheck`.
    Check,
    /// The service `rescind.v1.ClaimsCheck`.
    Claims,
}

impl Transport {
    /// All of them, for metrics that exist before they count.
    pub const ALL: [Self; 4] = [Self::ExtAuthz, Self::ForwardAuth, Self::Check, Self::Claims];

    /// Returns the name, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExtAuthz => "ext_authz",
            Self::ForwardAuth => "forward_auth",
            Self::Check => "check",
            Self::Claims => "claims",
        }
    }
}

/// Sees every outcome, on the thread of the check: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of an outcome.
    fn checked(&self, transport: Transport, outcome: &Outcome);
}

/// Takes note of nothing.
impl Observer for () {
    fn checked(&self, _transport: Transport, _outcome: &Outcome) {}
}
