//! Forward auth: proxies ask with a subrequest over HTTP, and copy what the answer's headers say.
//!
//! This listener has no guard against foreign hosts or origins, for a proxy passes on both as the client sent them.
//! It needs none: an answer is about the token that the same request presents, sets nothing, and tells a page
//! nothing that it did not bring.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;

use crate::runtime::gate::Admission;
use crate::token::route::{RouteError, RoutePolicy};

use super::answer::{RefusalStatus, Style, Workload, allowed};
use super::checker::Checker;
use super::outcome::{Outcome, Strip, Transport};
use super::request::{self, Credential};

/// Says why the query of the question is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is not a list of pairs.
    #[error("the query has a pair without a key or without '='")]
    NotPairs,
    /// A `%` without two hexadecimal digits, or a `+`, which some take for a space.
    #[error("the query is not cleanly encoded: write a space as %20 and '+' as %2B")]
    Encoding,
    /// A key or value that is not understood.
    #[error(transparent)]
    Route(#[from] RouteError),
}

struct Shared {
    checker: Checker,
    style: Style,
}

/// Returns the routes: `/auth` with any method, the route's policy as its query.
pub fn router(checker: Checker, style: Style) -> Router {
    let shared = Arc::new(Shared { checker, style });
    // Not `get`: some proxies ask with the method of the request.
    Router::new().route("/auth", any(answer)).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, _body) = request.into_parts();
    let outcome = match policy(head.uri.query().unwrap_or_default()) {
        Ok(policy) => {
            let credential = Credential::read_if(Admission::of(&head.extensions), || Credential::Lines {
                authorization: lines(&head.headers, &AUTHORIZATION),
                cookies: lines(&head.headers, &COOKIE),
            });
            // The method is the proxy's own, or the word of a header: neither is known.
            let question = request::Request { policy, ..request::Request::new(credential) };
            shared.checker.check(Transport::ForwardAuth, &question)
        }
        Err(error) => shared.checker.bad_policy(Transport::ForwardAuth, &error),
    };
    let workload = Workload::of(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
    match shared.style.refusal(&outcome, workload) {
        Some(refusal) => refused(refusal.status, refusal.headers),
        None => let_pass(&outcome, &head.headers),
    }
}

fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

fn refused(status: RefusalStatus, headers: Vec<(&'static str, String)>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = match status {
        RefusalStatus::BadRequest => StatusCode::BAD_REQUEST,
        RefusalStatus::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalStatus::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    for (name, value) in headers {
        append(response.headers_mut(), HeaderName::from_static(name), value.as_bytes());
    }
    response
}

/// The answer repeats credentials for the proxy to copy: as they came, or cleaned. Empty means none.
fn let_pass(outcome: &Outcome, request: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in allowed(outcome) {
        append(headers, HeaderName::from_static(name), value.as_bytes());
    }
    match &outcome.strip {
        Strip::Tokens { cookie } => {
            append(headers, AUTHORIZATION, b"");
            append(headers, COOKIE, cookie);
        }
        Strip::Nothing => {
            for line in lines(request, &AUTHORIZATION) {
                append(headers, AUTHORIZATION, line);
            }
            if !headers.contains_key(AUTHORIZATION) {
                append(headers, AUTHORIZATION, b"");
            }
            // Proxies copy one line.
            append(headers, COOKIE, &lines(request, &COOKIE).join(&b"; "[..]));
        }
    }
    response
}

/// What can't stand in a header is left empty; parts of the request's own headers always can.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    let value = HeaderValue::from_bytes(value).unwrap_or_else(|_| HeaderValue::from_static(""));
    headers.append(name, value);
}

/// Reads a route's policy from a raw query.
///
/// # Errors
/// [`QueryError`]: a misspelt policy must not be a laxer one.
pub fn policy(query: &str) -> Result<RoutePolicy, QueryError> {
    if query.is_empty() {
        return Ok(RoutePolicy::default());
    }
    let pairs = query
        .split('&')
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or(QueryError::NotPairs)?;
            let (key, value) = (decode(key)?, decode(value)?);
            if key.is_empty() { Err(QueryError::NotPairs) } else { Ok((key, value)) }
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RoutePolicy::parse(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))?)
}

/// Decodes strictly: what stands for itself elsewhere is a mistake here, and `+` may be meant as a space.
fn decode(text: &str) -> Result<String, QueryError> {
    let is_escape = |after: &str| {
        after
            .as_bytes()
            .first_chunk()
            .is_some_and(|digits: &[u8; 2]| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.contains('+') || !text.split('%').skip(1).all(is_escape) {
        return Err(QueryError::Encoding);
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| QueryError::Encoding)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests;
