//! A small issuer with a key of its own: signs tokens for the demonstration and for tests.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keys::{Algorithm, Jwk};

/// Says that a key could not be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptography library could not {0}")]
pub struct IssuerError(&'static str);

/// An issuer with one fresh key.
pub struct Issuer {
    url: String,
    key_id: String,
    algorithm: Algorithm,
    key: SigningKey,
}

enum SigningKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({} {})", self.url, self.algorithm.name())
    }
}

impl Issuer {
    /// Makes an issuer with a fresh key.
    ///
    /// # Errors
    /// [`IssuerError`] if the key can't be made.
    pub fn generate(url: &str, key_id: &str, algorithm: Algorithm) -> Result<Self, IssuerError> {
        let failed = |_| IssuerError("make a key");
        let key = match algorithm {
            Algorithm::Es256 => SigningKey::Ecdsa(
                EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?,
            ),
            Algorithm::Es384 => SigningKey::Ecdsa(
                EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).map_err(failed)?,
            ),
            Algorithm::EdDsa => SigningKey::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            Algorithm::Rs256 | Algorithm::Ps256 => {
                SigningKey::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?))
            }
        };
        Ok(Self { url: url.to_owned(), key_id: key_id.to_owned(), algorithm, key })
    }

    /// Returns the `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the public key.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        let encode = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let named = Jwk {
            kid: Some(self.key_id.clone()),
            alg: Some(self.algorithm.name().to_owned()),
            ..Jwk::default()
        };
        match &self.key {
            SigningKey::Ecdsa(key) => {
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if self.algorithm == Algorithm::Es384 { "P-384" } else { "P-256" };
                Jwk { kty: "EC".to_owned(), crv: Some(crv.to_owned()), x: encode(x), y: encode(y), ..named }
            }
            SigningKey::Ed25519(key) => Jwk {
                kty: "OKP".to_owned(),
                crv: Some("Ed25519".to_owned()),
                x: encode(key.public_key().as_ref()),
                ..named
            },
            SigningKey::Rsa(key) => {
                let public = key.public_key();

                Jwk {
                    kty: "RSA".to_owned(),
                    n: encode(public.modulus().big_endian_without_leading_zero()),
                    e: encode(public.exponent().big_endian_without_leading_zero()),
                    ..named
                }
            }
        }
    }

    /// Signs claims under the header that a good issuer would write.
    ///
    /// # Errors
    /// [`IssuerError`] if the key can't sign.
    pub fn sign(&self, claims: &serde_json::Value) -> Result<String, IssuerError> {
        let header = serde_json::json!({"alg": self.algorithm.name(), "kid": self.key_id, "typ": "at+jwt"})
            .to_string();
        self.sign_parts(header.as_bytes(), claims.to_string().as_bytes())
    }

    /// Signs any header and payload, however wrong.
    ///
    /// # Errors
    /// [`IssuerError`] if the key can't sign.
    pub fn sign_parts(&self, header: &[u8], payload: &[u8]) -> Result<String, IssuerError> {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.signature(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let random = SystemRandom::new();
        let failed = |_| IssuerError("sign");
        match &self.key {
            SigningKey::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            SigningKey::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            SigningKey::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match self.algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Rs256 | Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {
                        &signature::RSA_PKCS1_SHA256
                    }
                };
                let mut bytes = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut bytes).map_err(failed)?;
                Ok(bytes)
            }
        }
    }
}
