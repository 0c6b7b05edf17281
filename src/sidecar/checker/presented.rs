//! Which token a request presents, if it is exactly one.

use crate::revocation::claims::{ClaimValue, Claims};
use crate::sidecar::outcome::{Strip, Verdict};
use crate::token::list_config::{Place, TokenKind, TokenSource, Verification, WhenRefused};
use crate::token::rejection::Rejection;
use crate::token::sources::{self, Presented};

use super::panel::{Panel, Sources};
use crate::sidecar::request::UpstreamClaims;

/// What is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Absent,
    Token { token: &'a str, kind: &'a TokenKind },
    Refused(Verdict),
}

impl<'a> From<Presented<'a>> for Found<'a> {
    fn from(presented: Presented<'a>) -> Self {
        match presented {
            Presented::Absent => Self::Absent,
            Presented::One { token, source } => Self::Token { token, kind: &source.kind },
            Presented::Ambiguous => Self::Refused(Verdict::Ambiguous),
            Presented::Malformed => Self::Refused(Verdict::Rejected(Rejection::Malformed)),
        }
    }
}

/// The lines of a request that may carry a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a> {
    pub(super) authorization: &'a [&'a [u8]],
    pub(super) cookies: &'a [&'a [u8]],
}

impl<'a> Lines<'a> {
    /// Finds the token; also tells what lists in shadow would have refused.
    ///
    /// A place that only lists in shadow declare may hold a token, but never makes a request refused.
    pub(super) fn find(self, sources: &'a Sources<'_>) -> (Found<'a>, Option<Verdict>) {
        let enforced = sources.all.get(..sources.enforced).unwrap_or_default();
        let found = self.find_in(&sources.all);
        match found {
            Found::Refused(verdict) if enforced.len() < sources.all.len() => {
                let without_shadow = self.find_in(enforced);
                (without_shadow, (without_shadow != found).then_some(verdict))
            }
            Found::Absent | Found::Token { .. } | Found::Refused(_) => (found, None),
        }
    }

    /// Tells whether none of these places carries anything.
    pub(super) fn carry_nothing(self, sources: &[TokenSource]) -> bool {
        self.find_in(sources) == Found::Absent
    }

    fn find_in<'s>(self, sources: &'s [TokenSource]) -> Found<'s>
    where
        'a: 's,
    {
        let found = Found::from(sources::find(self.authorization, self.cookies, sources));
        if !self.may_be_folded() {
            return found;
        }
        // A comma may be where a proxy has folded two Cookie lines into one. If it matters, nobody can tell what the
        // application will read.
        let apart = self.unfolded();
        let same = match (found, sources::find(self.authorization, &apart, sources).into()) {
            (Found::Token { token, kind }, Found::Token { token: other, kind: other_kind }) => {
                token == other && kind == other_kind
            }
            (Found::Absent, Found::Absent) => true,
            (Found::Refused(one), Found::Refused(other)) => one == other,
            _ => false,
        };
        if same { found } else { Found::Refused(Verdict::Ambiguous) }
    }

    fn may_be_folded(self) -> bool {
        self.cookies.iter().any(|line| line.contains(&b','))
    }

    fn unfolded(self) -> Vec<&'a [u8]> {
        self.cookies.iter().flat_map(|line| line.split(|byte| *byte == b',')).collect()
    }

    /// Returns what remains when every token is taken off, in whichever way the lines are read.
    pub(super) fn strip(self, sources: &[TokenSource]) -> Strip {
        let cookie = sources::without_tokens(self.cookies, sources);
        let apart = if self.may_be_folded() { self.unfolded() } else { Vec::new() };
        let hidden = sources::without_tokens(&apart, sources);
        // Unfolding changes a cookie whose value has a comma: only done where a token would stay behind.
        let count = |line: &[u8]| line.split(|byte| matches!(byte, b';' | b',')).count();
        Strip::Tokens {
            cookie: if count(&hidden) < count(&cookie) && !apart.is_empty() { hidden } else { cookie },
        }
    }

    /// Returns the cookies that carry something and that their source wants dropped.
    pub(super) fn refused_cookies(self, sources: &[TokenSource]) -> Vec<String> {
        let carries = |source: &&TokenSource| {
            let alone = std::slice::from_ref(*source);
            sources::find(&[], self.cookies, alone) != Presented::Absent
        };
        let clear = sources.iter().filter(|source| source.when_refused == WhenRefused::Clear).filter(carries);
        clear
            .filter_map(|source| match &source.place {
                Place::Cookie(name) => Some(name.clone()),
                Place::AuthorizationBearer => None,
            })
            .collect()
    }
}

/// Returns the claims that the proxy left under a key which a list declares.
pub(super) fn declared_upstream<'a>(
    panel: &Panel<'_>,
    upstream: &'a [UpstreamClaims],
) -> Vec<&'a UpstreamClaims> {
    let declared = |claims: &&UpstreamClaims| {
        let issuers = panel.configs().flat_map(|(_, config)| &config.issuers);
        issuers.into_iter().any(|issuer| match &issuer.verification {
            Verification::EnvoyMetadata { payload_key } => *payload_key == claims.payload_key,
            Verification::Keys(_) => false,
        })
    };
    upstream.iter().filter(declared).collect()
}

/// Tells whether two payloads are of one token: equal members, in any order.
pub(super) fn same_claims(one: &Claims, other: &Claims) -> bool {
    one.iter().count() == other.iter().count()
        && one.iter().all(|(name, value)| other.get(name).is_some_and(|found| same_value(value, found)))
}

fn same_value(one: &ClaimValue, other: &ClaimValue) -> bool {
    match (one, other) {
        (ClaimValue::Object(one), ClaimValue::Object(other)) => same_claims(one, other),
        (ClaimValue::Array(one), ClaimValue::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same_value(a, b))
        }
        _ => one == other,
    }
}
