//! The keys with which the cluster signs ServiceAccount tokens: read while the API server is there, for when it is not.

use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::api::allowed_subscribers::ServiceAccount;
use crate::revocation::claims::{ClaimValue, Claims};
use crate::revocation::time::UnixSeconds;
use crate::token::check;
use crate::token::jws::Jws;
use crate::token::keys::{Jwk, VerifyingKey};
use crate::token::rejection::Rejection;
use crate::token::rules;

use super::reviews::{NoAnswer, Reviews};

/// How often the keys are read.
const INTERVAL: Duration = Duration::from_secs(60);
/// How soon again if they could not be.
const RETRY: Duration = Duration::from_secs(5);
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 64;

/// The newest keys that were read.
#[derive(Debug, Default)]
pub(super) struct NewestKeys(ArcSwapOption<IssuerKeys>);

/// An issuer of ServiceAccount tokens.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    issuer: String,
    keys: Vec<VerifyingKey>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<JsonKey>,
}

#[derive(Deserialize)]
struct JsonKey {
    kid: Option<String>,
    kty: String,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl From<JsonKey> for Jwk {
    fn from(key: JsonKey) -> Self {
        let JsonKey { kid, kty, alg, crv, x, y, n, e } = key;
        Self { kid, kty, alg, crv, x, y, n, e }
    }
}

impl NewestKeys {
    /// Reads the keys again and again. Those that were read last stay, whatever happens.
    pub(super) async fn keep_up(&self, reviews: &Reviews, shutdown: CancellationToken) {
        loop {
            let pause = match fetch(reviews).await {
                Some(keys) => {
                    self.0.store(Some(std::sync::Arc::new(keys)));
                    INTERVAL
                }
                None => RETRY,
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Tells whether no API server can take a token for good: it is none, or a key that is known has not signed it. Whoever
    /// has no token can make as many of those as they like, and each would be a question. Nothing is told of a key that is not
    /// known: it may be a new one.
    pub(super) fn is_rubbish(&self, token: &str) -> bool {
        let Ok(jws) = Jws::parse(token) else { return true };
        let keys = self.0.load();
        keys.as_ref().is_some_and(|keys| check::verify_with(&jws, &keys.keys) == Err(Rejection::BadSignature))
    }

    /// Verifies a token. None if no keys were read yet.
    pub(super) fn verify(
        &self,
        token: &str,
        audience: &str,
        now: UnixSeconds,
    ) -> Option<Result<ServiceAccount, Rejection>> {
        self.0.load().as_ref().map(|keys| keys.verify(token, audience, now))
    }
}

async fn fetch(reviews: &Reviews) -> Option<IssuerKeys> {
    let discovery = document(reviews, "/.well-known/openid-configuration").await.ok()?;
    let keys = document(reviews, "/openid/v1/jwks").await.ok()?;
    let read = IssuerKeys::read(&discovery, &keys);
    if read.is_none() {
        tracing::warn!("the cluster's keys for ServiceAccount tokens can't be used");
    }
    read
}

async fn document(reviews: &Reviews, path: &str) -> Result<String, NoAnswer> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|_| NoAnswer::Away)?;
    let text = reviews.ask(|client| async move { client.request_text(request).await }).await?;
    if text.len() <= MAX_DOCUMENT_BYTES { Ok(text) } else { Err(NoAnswer::Away) }
}

impl IssuerKeys {
    /// Reads what the API server publishes. A key that can't be used is left out; none at all is no issuer.
    fn read(discovery: &str, keys: &str) -> Option<Self> {
        let discovery: Discovery = serde_json::from_str(discovery).ok()?;
        let keys: KeySet = serde_json::from_str(keys).ok()?;
        let keys = keys.keys.into_iter().take(MAX_KEYS);
        let keys: Vec<_> = keys.filter_map(|key| VerifyingKey::from_jwk(&key.into()).ok()).collect();
        (!keys.is_empty() && !discovery.issuer.is_empty()).then_some(Self { issuer: discovery.issuer, keys })
    }

    /// Verifies a token, and returns whose it is. That the account and its pod are still there can't be told from a token.
    fn verify(&self, token: &str, audience: &str, now: UnixSeconds) -> Result<ServiceAccount, Rejection> {
        let jws = Jws::parse(token)?;
        check::verify_with(&jws, &self.keys)?;
        if check::issuer_of(&jws.claims)? != self.issuer {
            return Err(Rejection::UnknownIssuer);
        }
        if !names_audience(&jws.claims, audience) {
            return Err(Rejection::WrongAudience);
        }
        let end = rules::end(&jws.claims)?.ok_or(Rejection::MissingClaim)?;
        if end <= now {
            return Err(Rejection::Expired);
        }
        let subject = rules::string(&jws.claims, "sub")?.unwrap_or_default();
        ServiceAccount::of_user(subject).ok_or(Rejection::MissingClaim)
    }
}

fn names_audience(claims: &Claims, audience: &str) -> bool {
    let is_it = |value: &ClaimValue| matches!(value, ClaimValue::String(text) if text == audience);
    match claims.get("aud") {
        Some(ClaimValue::Array(several)) => several.iter().any(is_it),
        Some(one) => is_it(one),
        None => false,
    }
}

#[cfg(test)]
mod tests;
