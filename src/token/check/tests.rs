use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::issuer::Issuer;
use crate::token::keys::{Algorithm, Jwk, KeyError};
use crate::token::rules::tests::issuer_config;

mod foreign;

fn issuer(algorithm: Algorithm) -> (Issuer, IssuerConfig) {
    let issuer = Issuer::generate("https://id.example.com", "k1", algorithm).unwrap();
    let key = VerifyingKey::from_jwk(&issuer.jwk()).unwrap();
    (issuer, IssuerConfig { verification: Verification::Keys(vec![key]), ..issuer_config() })
}

fn claims() -> serde_json::Value {
    json!({"iss": "https://id.example.com", "sub": "alice", "iat": 1000, "exp": 1600, "aud": "shop"})
}

/// Parses and verifies; the whole of what a token without a good signature can reach.
fn outcome(token: &str, config: &IssuerConfig) -> Result<(), Rejection> {
    verify(&Jws::parse(token)?, config).map(|_| ())
}

#[test]
fn a_token_of_every_algorithm_is_verified_and_no_other_keys() {
    for algorithm in Algorithm::ALL {
        let (mine, config) = issuer(algorithm);
        let (other, _) = issuer(algorithm);
        assert_eq!(outcome(&mine.sign(&claims()).unwrap(), &config), Ok(()), "{algorithm:?}");
        let foreign = other.sign(&claims()).unwrap();
        assert_eq!(outcome(&foreign, &config), Err(Rejection::BadSignature), "{algorithm:?}");
    }
}

#[test]
fn every_byte_of_a_token_counts() {
    let (mine, config) = issuer(Algorithm::Es256);
    let token = mine.sign(&claims()).unwrap();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(outcome(&changed, &config).is_err(), "byte {at}");
    }
}

/// Row 13 of the regression list: one token has one spelling.
#[test]
fn other_spellings_of_a_token_are_malformed() {
    let (mine, config) = issuer(Algorithm::Es256);
    let token = mine.sign(&claims()).unwrap();
    let respelled = [
        format!("{token}="),
        format!("{token}=="),
        format!("{token}."),
        format!(".{token}"),
        format!(" {token}"),
        format!("{token}\n"),
        token.replacen('.', "..", 1),
        token.replace('-', "+").replace('_', "/") + "/",
        format!("{{\"payload\":\"{token}\"}}"),
        format!("{token}.{token}"),
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
    ];
    for text in respelled {
        assert_eq!(outcome(&text, &config), Err(Rejection::Malformed), "{text}");
    }
    // The last character of 64 bytes in base64url has four spare bits.
    let (body, last) = token.split_at(token.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let spellings = alphabet.chars().filter(|c| c.to_string() != last);
    assert!(spellings.into_iter().all(|c| outcome(&format!("{body}{c}"), &config).is_err()));
}

#[test]
fn headers_that_ask_for_what_is_never_done_are_refused() {
    let (mine, config) = issuer(Algorithm::Es256);
    let payload = claims().to_string();
    let forbidden = [
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","crit":["x"]}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","crit":[]}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","b64":false}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","zip":"DEF"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","jwk":{"kty":"EC"}}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","jku":"https://evil.example"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","x5u":"https://evil.example"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","x5c":[]}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","cty":"JWT"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","cty":"application/jwt"}"#,
        r#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":"k1","typ":"at+jwt"}"#,
    ];
    for header in forbidden {
        let token = mine.sign_parts(header.as_bytes(), payload.as_bytes()).unwrap();
        assert_eq!(outcome(&token, &config), Err(Rejection::ForbiddenHeader), "{header}");
    }
}

#[test]
fn the_header_never_chooses_the_algorithm() {
    let (mine, config) = issuer(Algorithm::Rs256);
    for alg in ["none", "None", "HS256", "PS256", "ES256", "RS512", "rs256", ""] {
        for kid in [r#","kid":"k1""#, ""] {
            let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt"{kid}}}"#);
            let token = mine.sign_parts(header.as_bytes(), claims().to_string().as_bytes()).unwrap();
            assert_eq!(outcome(&token, &config), Err(Rejection::WrongAlgorithm), "{header}");
        }
    }
}

#[test]
fn a_malformed_header_or_payload_is_never_repaired() {
    let (mine, config) = issuer(Algorithm::Es256);
    let good = r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#;
    let cases: [(&str, &[u8]); 9] = [
        (r#"{"alg":"ES256","alg":"ES256","kid":"k1","typ":"at+jwt"}"#, b"{}"),
        (r#"{"alg":["ES256"],"kid":"k1","typ":"at+jwt"}"#, b"{}"),
        (r#"{"alg":"ES256","kid":7,"typ":"at+jwt"}"#, b"{}"),
        (r#"{"kid":"k1","typ":"at+jwt"}"#, b"{}"),
        ("[]", b"{}"),
        (good, b"[]"),
        (good, br#"{"sub":"a","sub":"b"}"#),
        (good, b"{\"sub\":\"\xff\"}"),
        (good, b"{} {}"),
    ];
    for (header, payload) in cases {
        let token = mine.sign_parts(header.as_bytes(), payload).unwrap();
        assert_eq!(outcome(&token, &config), Err(Rejection::Malformed), "{header}");
    }
}

#[test]
fn an_oversize_token_is_refused_before_it_is_parsed() {
    let (mine, config) = issuer(Algorithm::Es256);
    let long = json!({"iss": "x", "pad": "a".repeat(20_000)});
    assert_eq!(outcome(&mine.sign(&long).unwrap(), &config), Err(Rejection::TooLarge));
    assert_eq!(outcome(&"a".repeat(1 << 20), &config), Err(Rejection::TooLarge));
}

#[test]
fn an_ecdsa_signature_of_zeros_is_refused() {
    let (mine, config) = issuer(Algorithm::Es256);
    let token = mine.sign(&claims()).unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    for signature in [vec![0; 64], vec![], vec![0; 63], [[0u8; 32], [1; 32]].concat()] {
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(outcome(&forged, &config), Err(Rejection::BadSignature));
    }
}

#[test]
fn a_token_without_a_kid_needs_exactly_one_key_that_fits() {
    let (mine, config) = issuer(Algorithm::Es256);
    let header = br#"{"alg":"ES256","typ":"at+jwt"}"#;
    let token = mine.sign_parts(header, claims().to_string().as_bytes()).unwrap();
    assert_eq!(outcome(&token, &config), Ok(()));
    let second = VerifyingKey::from_jwk(&Jwk { kid: Some("k2".to_owned()), ..mine.jwk() }).unwrap();
    let Verification::Keys(mut keys) = config.verification.clone() else { unreachable!() };
    keys.push(second);
    let two = IssuerConfig { verification: Verification::Keys(keys), ..config.clone() };
    assert_eq!(outcome(&token, &two), Err(Rejection::UnknownKey));
    let other_kid = mine.sign_parts(br#"{"alg":"ES256","kid":"k9","typ":"at+jwt"}"#, b"{}").unwrap();
    assert_eq!(outcome(&other_kid, &config), Err(Rejection::UnknownKey));
}

#[test]
fn the_media_type_must_be_accepted() {
    let (mine, config) = issuer(Algorithm::Es256);
    let signed = |header: &str| mine.sign_parts(header.as_bytes(), b"{}").unwrap();
    for header in [r#"{"alg":"ES256","kid":"k1"}"#, r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#] {
        assert_eq!(outcome(&signed(header), &config), Err(Rejection::WrongType));
    }
    assert_eq!(outcome(&signed(r#"{"alg":"ES256","kid":"k1","typ":"application/AT+JWT"}"#), &config), Ok(()));
}

#[test]
fn keys_that_nobody_should_use_are_refused() {
    let refused = |jwk: Jwk| VerifyingKey::from_jwk(&jwk).unwrap_err();
    assert_eq!(refused(Jwk { kty: "oct".to_owned(), ..Jwk::default() }), KeyError::Symmetric);
    let ec = issuer(Algorithm::Es256).0.jwk();
    let off_curve = Jwk { y: ec.x.clone(), ..ec.clone() };
    assert_eq!(refused(off_curve), KeyError::Unusable { why: "not a point of the curve" });
    let confused = Jwk { alg: Some("RS256".to_owned()), ..ec.clone() };
    assert!(matches!(refused(confused), KeyError::WrongAlgorithm { .. }));
    assert_eq!(refused(Jwk { x: None, ..ec }), KeyError::BadMember { member: "x" });
    let rsa = issuer(Algorithm::Rs256).0.jwk();
    assert_eq!(refused(Jwk { alg: None, ..rsa.clone() }), KeyError::AlgorithmNeeded);
    let short = Jwk { n: Some(URL_SAFE_NO_PAD.encode([0xff; 128])), ..rsa.clone() };
    assert!(matches!(refused(short), KeyError::Unusable { .. }));
    assert!(matches!(refused(Jwk { e: Some("AQ".to_owned()), ..rsa }), KeyError::Unusable { .. }));
}

/// **Source**: RFC 7638, section 3.1.
#[test]
fn the_thumbprint_is_that_of_the_rfc() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let jwk = Jwk {
        kty: "RSA".to_owned(),
        alg: Some("RS256".to_owned()),
        n: Some(n.to_owned()),
        e: Some("AQAB".to_owned()),
        ..Jwk::default()
    };
    assert_eq!(
        VerifyingKey::from_jwk(&jwk).unwrap().thumbprint,
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}

proptest! {
    /// Invariant 18: any input: no panic.
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,200}", parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        prop_assert!(Jws::parse(&text).is_err());
        prop_assert!(Jws::parse(&parts).is_err());
    }
}
