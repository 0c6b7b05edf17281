use serde_json::{Value, json};

use super::*;
use crate::token::issuer::Issuer;
use crate::token::keys::Algorithm;

const CLUSTER: &str = "https://kubernetes.default.svc";
const AUDIENCE: &str = "rescind.dev";
const NOW: u64 = 1_700_000_000;

fn signer() -> Issuer {
    Issuer::generate(CLUSTER, "k1", Algorithm::Es256).unwrap()
}

fn published(signer: &Issuer) -> IssuerKeys {
    let jwk = signer.jwk();
    let key = json!({"use": "sig", "kid": jwk.kid, "kty": jwk.kty, "alg": jwk.alg, "crv": jwk.crv, "x": jwk.x, "y": jwk.y});
    let discovery = json!({"issuer": CLUSTER, "jwks_uri": "https://10.0.0.1/openid/v1/jwks"});
    IssuerKeys::read(&discovery.to_string(), &json!({"keys": [key]}).to_string()).unwrap()
}

/// As the API server writes it: without a `typ`.
fn token(signer: &Issuer, changes: &Value) -> String {
    let mut claims = json!({
        "iss": CLUSTER,
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:apps:web",
        "iat": NOW - 10,
        "exp": NOW + 10,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = json!({"alg": "ES256", "kid": "k1"});
    signer.sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes()).unwrap()
}

fn check(changes: &Value, expected: Result<&str, Rejection>) {
    let signer = signer();
    let now = UnixSeconds::new(NOW).unwrap();
    let verified = published(&signer).verify(&token(&signer, changes), AUDIENCE, now);
    assert_eq!(verified.map(|account| account.to_string()), expected.map(str::to_owned), "{changes}");
}

#[test]
fn a_token_of_the_cluster_tells_whose_it_is() {
    check(&json!({}), Ok("apps/web"));
    check(&json!({"aud": AUDIENCE}), Ok("apps/web"));
    check(&json!({"aud": ["another", AUDIENCE]}), Ok("apps/web"));
}

/// Invariant 24: by the keys no more is taken than by the API server.
#[test]
fn a_token_for_others_of_others_or_of_the_past_is_refused() {
    check(&json!({"aud": ["another"]}), Err(Rejection::WrongAudience));
    check(&json!({"aud": null}), Err(Rejection::WrongAudience));
    check(&json!({"iss": "https://another"}), Err(Rejection::UnknownIssuer));
    check(&json!({"exp": NOW}), Err(Rejection::Expired));
    check(&json!({"exp": null}), Err(Rejection::MissingClaim));
    check(&json!({"sub": "alice"}), Err(Rejection::MissingClaim));
}

/// Invariant 24: a name alone is none.
#[test]
fn a_token_that_the_cluster_has_not_signed_is_refused() {
    let forged = token(&signer(), &json!({}));
    let verified = published(&signer()).verify(&forged, AUDIENCE, UnixSeconds::new(NOW).unwrap());
    assert_eq!(verified, Err(Rejection::BadSignature));
}

#[test]
fn what_the_api_server_publishes_without_a_usable_key_is_no_issuer() {
    let discovery = json!({"issuer": CLUSTER}).to_string();
    for keys in [json!({"keys": []}), json!({"keys": [{"kty": "oct", "k": "AA"}]}), json!([])] {
        assert!(IssuerKeys::read(&discovery, &keys.to_string()).is_none(), "{keys}");
    }
}

/// A question to the API server is worth more than what anybody can make up.
#[test]
fn what_no_known_key_has_signed_is_rubbish_and_a_new_key_is_none() {
    let (known, other) = (NewestKeys::default(), signer());
    let signer = signer();
    let of_others = token(&other, &json!({}));
    assert!(known.is_rubbish("x.y.z") && known.is_rubbish(""));
    // As long as no keys were read, nothing is known of any.
    assert!(!known.is_rubbish(&of_others));
    known.0.store(Some(std::sync::Arc::new(published(&signer))));
    assert!(known.is_rubbish(&of_others));
    assert!(!known.is_rubbish(&token(&signer, &json!({"exp": NOW - 1}))));
    let header = json!({"alg": "ES256", "kid": "k2"}).to_string();
    let new = other.sign_parts(header.as_bytes(), json!({"iss": CLUSTER}).to_string().as_bytes()).unwrap();
    assert!(!known.is_rubbish(&new));
}
