//! A list with one issuer, and tokens of that issuer.

use rescind::api::compile::public_key;
use rescind::api::document::ListDocument;
use rescind::runtime::clock::{Clock, SystemClock};
use rescind::token::issuer::Issuer;
use rescind::token::keys::Algorithm;
use serde_json::{Value, json};

pub(crate) const LIST: &str = "bench/shop";
pub(crate) const ISSUER: &str = "https://id.example.com";
const LIFETIME_SECONDS: u64 = 3600;

/// Makes an issuer with a fresh ES256 key `k1`.
pub(crate) fn issuer() -> Issuer {
    Issuer::generate(ISSUER, "k1", Algorithm::Es256).unwrap()
}

/// Returns the issuer's key as a list or a JWKS names it.
pub(crate) fn jwk(issuer: &Issuer) -> Value {
    serde_json::to_value(public_key(&issuer.jwk()).unwrap()).unwrap()
}

/// Declares the list. `verification` is as in the manifest.
pub(crate) fn declare(verification: &Value) -> ListDocument {
    let spec = json!({
        "issuers": [{
            "issuer": ISSUER,
            "audiences": ["shop-api"],
            "maxTokenLifetimeSeconds": LIFETIME_SECONDS,
            "maxSessionLifetimeSeconds": 86_400,
            "requiredClaims": ["jti", "sub", "sid", "client_id"],
            "verification": verification,
        }],
        "freshness": {"boundSeconds": 15, "maximumSeconds": 300},
    });
    ListDocument::new(&LIST.parse().unwrap(), serde_json::from_value(spec).unwrap())
}

/// Returns the claims of a token of a subject, issued now.
pub(crate) fn claims(subject: &str) -> Value {
    let now = SystemClock.now().wall().floor().get();
    json!({
        "iss": ISSUER, "sub": subject, "aud": "shop-api", "client_id": "web",
        "sid": format!("session-of-{subject}"), "jti": format!("8f14e45f-ceea-467f-a0e6-{subject:0>12}"),
        "iat": now, "exp": now + LIFETIME_SECONDS,
    })
}
