//! The issuer of a lab's tokens, with two keys, and whatever it would never sign.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rescind::runtime::clock::{Clock, SystemClock};
use rescind::runtime::random::{SystemRandomness, bytes};
use rescind::token::issuer::Issuer;
use rescind::token::keys::Algorithm;
use serde_json::{Value, json};

/// Its `iss`.
pub(crate) const ISSUER: &str = "https://id.example.com";
/// The audience that the list accepts.
pub(crate) const AUDIENCE: &str = "shop-api";
/// The longest lifetime that the list accepts.
pub(crate) const LIFETIME_SECONDS: u64 = 3600;

/// The two keys of the issuer, and a stranger's under the name of the first.
pub(crate) struct Keys {
    /// `k1`, which signs unless said otherwise.
    pub(crate) first: Issuer,
    /// `k2`, to be revoked without touching the tokens of the other.
    pub(crate) second: Issuer,
    /// A key that nobody trusts, which calls itself `k1`.
    pub(crate) stranger: Issuer,
}

impl Keys {
    /// Makes fresh keys.
    pub(crate) fn generate() -> Self {
        let key = |kid| Issuer::generate(ISSUER, kid, Algorithm::Es256).unwrap();
        Self { first: key("k1"), second: key("k2"), stranger: key("k1") }
    }

    /// Returns the public keys of the issuer as JWKs.
    pub(crate) fn public(&self) -> Value {
        let jwks = [&self.first, &self.second].map(|key| {
            let jwk = key.jwk();
            json!({"kid": jwk.kid, "kty": jwk.kty, "crv": jwk.crv, "alg": jwk.alg, "x": jwk.x, "y": jwk.y})
        });
        json!(jwks)
    }

    /// Signs a token as a good issuer would: [`claims`] with `changes`.
    pub(crate) fn token(&self, changes: &Value) -> String {
        self.first.sign(&claims(changes)).unwrap()
    }

    /// Makes a token without a signature (`alg: none`).
    pub(crate) fn unsigned(&self, changes: &Value) -> String {
        let header = json!({"alg": "none", "typ": "at+jwt", "kid": "k1"});
        format!("{}.", signed_part(&header, &claims(changes)))
    }

    /// Makes a token with an HMAC under what everybody knows: the public key.
    pub(crate) fn confused(&self, changes: &Value) -> String {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": "k1"});
        let signed = signed_part(&header, &claims(changes));
        let jwk = self.first.jwk();
        let secret = [jwk.x, jwk.y].map(|part| URL_SAFE_NO_PAD.decode(part.unwrap()).unwrap()).concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

/// Returns the present time in seconds.
pub(crate) fn now() -> u64 {
    SystemClock.now().wall().floor().get()
}

/// Returns the claims of a good token, issued now, with `changes`: a member that is null goes.
pub(crate) fn claims(changes: &Value) -> Value {
    let now = now();
    let id: [u8; 16] = bytes(&SystemRandomness::new());
    let mut claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "client_id": "web", "sid": "s1",
        "jti": format!("{:032x}", u128::from_be_bytes(id)), "iat": now, "exp": now + 600, "auth_time": now,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn signed_part(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}
