//! What a check is asked: what is presented, and what the route or the caller wants.

use crate::revocation::claims::Claims;
use crate::revocation::version::ToldVersion;
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
    pub min_version: Option<ToldVersion>,
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
