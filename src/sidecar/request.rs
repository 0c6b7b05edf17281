//! What a check is asked: what is presented, and what the route or the caller wants.

use std::str::FromStr;

use crate::revocation::claims::Claims;
use crate::revocation::version::Version;
use crate::runtime::gate::Admission;
use crate::token::rejection::Rejection;
use crate::token::route::RoutePolicy;

/// One question.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is presented.
    pub credential: Credential<'a>,
    /// What the route or the caller wants.
    pub policy: RoutePolicy,
    /// How far every list must be proven.
    pub min_version: Option<MinVersion>,
    /// Claims that Envoy's `jwt_authn` has verified, by the key under which it left them.
    pub upstream: &'a [UpstreamClaims],
    /// What is known of the request's method.
    pub method: Method,
}

impl<'a> Request<'a> {
    /// Asks for a credential under the strictest policy.
    #[must_use]
    pub fn new(credential: Credential<'a>) -> Self {
        Self {
            credential,
            policy: RoutePolicy::default(),
            min_version: None,
            upstream: &[],
            method: Method::Untold,
        }
    }
}

/// What is presented.
#[derive(Clone, Debug)]
pub enum Credential<'a> {
    /// Nobody knows: more is asked at one time than is taken on.
    Unread,
    /// All lines of an HTTP request's `Authorization` and `Cookie` headers.
    Lines {
        /// The `Authorization` lines.
        authorization: Vec<&'a [u8]>,
        /// The `Cookie` lines.
        cookies: Vec<&'a [u8]>,
    },
    /// A token by itself.
    Token {
        /// The token; empty is none.
        token: &'a str,
        /// The source whose kind applies: a cookie's name, or `Authorization`; empty means a JWT.
        source: &'a str,
    },
    /// Claims that the caller has verified itself.
    Claims {
        /// The claims, or why they are none.
        claims: Result<&'a Claims, Rejection>,
        /// The `kid` or thumbprint of the key that verified them; none if it is not known.
        key_id: Option<&'a str>,
    },
}

impl<'a> Credential<'a> {
    /// Reads what is presented, if the request was taken on.
    #[must_use]
    pub fn read_if(admission: Admission, read: impl FnOnce() -> Credential<'a>) -> Self {
        match admission {
            Admission::Granted => read(),
            Admission::Refused => Self::Unread,
        }
    }
}

/// Claims that a trusted proxy has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamClaims {
    /// The key under which the proxy left them.
    pub payload_key: String,
    /// The claims, or why they can't be used.
    pub claims: Result<Claims, Rejection>,
}

/// What is known of a request's method, for `preflight=allow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Nothing that can be trusted: it would be the word of a header.
    Untold,
    /// A CORS preflight, by the proxy's word.
    Preflight,
    /// Anything else, by the proxy's word.
    Other,
}

/// A version that a caller was told by whoever took its revocation, as [`Version`] prints.
///
/// It does not say which of two histories with one counter it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinVersion {
    epoch_counter: u64,
    revocations: u64,
    segments: u64,
}

/// Says that a text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version: write it as it was told, like 1/184467 or 1/184467+12")]
pub struct MinVersionError;

impl FromStr for MinVersion {
    type Err = MinVersionError;

    fn from_str(text: &str) -> Result<Self, MinVersionError> {
        let (epoch, revisions) = text.split_once('/').ok_or(MinVersionError)?;
        let (revocations, segments) = revisions.split_once('+').unwrap_or((revisions, "0"));
        Ok(Self {
            epoch_counter: number(epoch)?,
            revocations: number(revocations)?,
            segments: number(segments)?,
        })
    }
}

fn number(text: &str) -> Result<u64, MinVersionError> {
    // `u64` would take a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(MinVersionError)
}

impl MinVersion {
    /// Tells whether what is proven reaches it. A later epoch does: whoever starts one carries over what it holds.
    #[must_use]
    pub const fn is_reached_by(self, proven: Version) -> bool {
        let counter = proven.epoch.counter;
        counter > self.epoch_counter
            || (counter == self.epoch_counter
                && proven.revisions.revocations >= self.revocations
                && proven.revisions.segments >= self.segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::version::{Epoch, Revisions};

    fn check(min: &str, counter: u64, revocations: u64, segments: u64, expected: bool) {
        let proven =
            Version { epoch: Epoch { counter, id: 9 }, revisions: Revisions { revocations, segments } };
        assert_eq!(min.parse::<MinVersion>().unwrap().is_reached_by(proven), expected, "{min} {proven}");
    }

    #[test]
    fn every_component_must_be_reached() {
        check("1/5", 1, 5, 0, true);
        check("1/5", 1, 4, 9, false);
        check("1/5+2", 1, 9, 1, false);
        check("1/5+2", 1, 5, 2, true);
        check("1/5+2", 2, 1, 0, true);
        check("2/1", 1, 9, 9, false);
    }

    #[test]
    fn what_a_version_prints_is_read_back_and_nothing_else() {
        for text in ["1/184467", "1/5+3"] {
            assert!(text.parse::<MinVersion>().is_ok(), "{text}");
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
            assert_eq!(text.parse::<MinVersion>(), Err(MinVersionError), "{text}");
        }
    }
}
