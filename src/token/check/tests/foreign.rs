//! Signatures that others have made: our own issuer signs with the library that verifies, so that both could be wrong
//! in the same way.

use serde_json::Value;

use super::*;

/// Examples of RFCs, and tokens that another library has signed; each says whose it is. Their private keys are gone.
const FOREIGN: &str = include_str!("../fixtures/foreign.json");

/// One bit in about four bytes, of each place in them in turn: all of them would take a minute.
const BIT_STEP: usize = 29;

struct Foreign {
    source: String,
    jwk: Jwk,
    token: String,
}

impl Foreign {
    fn all() -> Vec<Self> {
        let all: Vec<Value> = serde_json::from_str(FOREIGN).unwrap();
        all.iter().map(Self::read).collect()
    }

    fn read(one: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let member = |name: &str| text(&one["jwk"][name]);
        let jwk = Jwk {
            kty: member("kty").unwrap(),
            kid: member("kid"),
            alg: member("alg"),
            crv: member("crv"),
            x: member("x"),
            y: member("y"),
            n: member("n"),
            e: member("e"),
        };
        Self { source: text(&one["source"]).unwrap(), jwk, token: text(&one["token"]).unwrap() }
    }

    /// The key, what was signed, and the signature.
    fn parts(&self) -> (VerifyingKey, &[u8], Vec<u8>) {
        let (signed, signature) = self.token.rsplit_once('.').unwrap();
        let key = VerifyingKey::from_jwk(&self.jwk).unwrap();
        (key, signed.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap())
    }
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

/// **Source**: RFC 7515, A.2 and A.3; RFC 8037, A.4.
#[test]
fn signatures_of_others_are_verified_and_no_bit_of_them_may_change() {
    for foreign in Foreign::all() {
        let (key, signed, signature) = foreign.parts();
        let what = format!("{:?} of {}", key.algorithm, foreign.source);
        assert!(key.verifies(signed, &signature), "{what}");
        for bit in (0..signature.len() * 8).step_by(BIT_STEP) {
            assert!(!key.verifies(signed, &flipped(&signature, bit)), "{what}: bit {bit} of the signature");
        }
        for bit in (0..signed.len() * 8).step_by(BIT_STEP) {
            assert!(!key.verifies(&flipped(signed, bit), &signature), "{what}: bit {bit} of what was signed");
        }
        for length in [0, signature.len() / 2, signature.len() - 1] {
            assert!(!key.verifies(signed, &signature[..length]), "{what}: {length} bytes");
        }
    }
}

#[test]
fn tokens_of_others_are_accepted_under_every_algorithm_and_under_no_other_key() {
    let foreign: Vec<Foreign> = Foreign::all().into_iter().filter(|one| one.jwk.kid.is_some()).collect();
    let key = |one: &Foreign| VerifyingKey::from_jwk(&one.jwk).unwrap();
    let algorithms: Vec<Algorithm> = foreign.iter().map(|one| key(one).algorithm).collect();
    assert!(Algorithm::ALL.iter().all(|algorithm| algorithms.contains(algorithm)), "{algorithms:?}");
    for one in &foreign {
        let with = |keys| IssuerConfig { verification: Verification::Keys(keys), ..issuer_config() };
        assert_eq!(outcome(&one.token, &with(vec![key(one)])), Ok(()), "{:?}", one.jwk.kid);
        let others = foreign.iter().filter(|other| other.jwk.kid != one.jwk.kid).map(key).collect();
        assert_eq!(outcome(&one.token, &with(others)), Err(Rejection::UnknownKey), "{:?}", one.jwk.kid);
    }
}

/// **Source**: RFC 8037, A.3.
#[test]
fn the_thumbprint_of_an_ed25519_key_is_that_of_the_rfc() {
    let foreign = Foreign::all().into_iter().find(|one| one.source == "RFC 8037, A.4").unwrap();
    assert_eq!(foreign.parts().0.thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}
