//! The list, the issuer and the tokens that `demo` and `dev` show.

use std::time::Duration;

use anyhow::Context;

use crate::api::compile::public_key;
use crate::api::document::ListDocument;
use crate::api::token_revocation_list::TokenRevocationListSpec;
use crate::revocation::names::ListName;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::random::{SystemRandomness, bytes};
use crate::token::issuer::Issuer;

/// The list.
pub(super) const LIST: &str = "demo/shop";
/// The issuer of its tokens.
pub(super) const ISSUER: &str = "https://id.example.com";
const TOKEN_LIFETIME_SECONDS: u64 = 3600;

/// Declares a list for an issuer.
pub(super) fn declare(name: &ListName, issuer: &Issuer, bound: Duration) -> anyhow::Result<ListDocument> {
    let key = public_key(&issuer.jwk()).context("the key has no JWK")?;
    let spec = serde_json::json!({
        "issuers": [{
            "issuer": issuer.url(),
            "audiences": ["shop-api"],
            "maxTokenLifetimeSeconds": TOKEN_LIFETIME_SECONDS,
            "maxSessionLifetimeSeconds": 86_400,
            "requiredClaims": ["jti", "sub", "sid", "client_id"],
            "verification": {"keys": [serde_json::to_value(key)?]},
        }],
        "selectors": [{"name": "subject-on-client", "claims": ["sub", "client_id"]}],
        "freshness": {"boundSeconds": bound.as_secs(), "maximumSeconds": 300},
    });
    let spec: TokenRevocationListSpec = serde_json::from_value(spec)?;
    Ok(ListDocument::new(name, spec))
}

/// Signs a token of a subject in a session, issued now.
pub(super) fn token(issuer: &Issuer, subject: &str, session: &str) -> anyhow::Result<String> {
    let now = SystemClock.now().wall().floor().get();
    let id: [u8; 16] = bytes(&SystemRandomness::new());
    Ok(issuer.sign(&serde_json::json!({
        "iss": issuer.url(), "sub": subject, "aud": "shop-api", "client_id": "web", "sid": session,
        "jti": format!("{:032x}", u128::from_be_bytes(id)), "iat": now, "exp": now + TOKEN_LIFETIME_SECONDS,
    }))?)
}
