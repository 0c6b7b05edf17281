//! Verifying keys: a JWK with its algorithm pinned, on `aws-lc-rs`.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The signature algorithms that a list may pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// Returns the name in a token's header (RFC 7518, RFC 8037).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The members of a public JWK (RFC 7517), as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwk {
    /// The key's name.
    pub kid: Option<String>,
    /// `RSA`, `EC` or `OKP`.
    pub kty: String,
    /// The algorithm; may be left out where the type of key leaves only one.
    pub alg: Option<String>,
    /// The curve.
    pub crv: Option<String>,
    /// The first coordinate, or the Ed25519 key.
    pub x: Option<String>,
    /// The second coordinate.
    pub y: Option<String>,
    /// The RSA modulus.
    pub n: Option<String>,
    /// The RSA exponent.
    pub e: Option<String>,
}

/// Says why a JWK was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A symmetric key.
    #[error(
        "kty oct: a shared secret would let every sidecar sign tokens; verify such tokens at their owner"
    )]
    Symmetric,
    /// A type of key that is not known.
    #[error("kty {kty}: use RSA, EC or OKP")]
    UnknownType {
        /// The type.
        kty: String,
    },
    /// A curve that is not known.
    #[error("crv {crv}: use P-256 or P-384 with EC, Ed25519 with OKP")]
    UnknownCurve {
        /// The curve.
        crv: String,
    },
    /// An algorithm that is not known, or that does not go with the type of key.
    #[error("alg {alg} does not go with this key: use {allowed}")]
    WrongAlgorithm {
        /// The algorithm.
        alg: String,
        /// What would go.
        allowed: &'static str,
    },
    /// An RSA key without an algorithm could be used with two.
    #[error("alg is missing: an RSA key must say RS256 or PS256")]
    AlgorithmNeeded,
    /// A member is missing or is not base64url.
    #[error("{member} is missing or is not base64url without padding")]
    BadMember {
        /// The member.
        member: &'static str,
    },
    /// The key is too short, or is no point of its curve.
    #[error("the key is not usable: {why}")]
    Unusable {
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A public key with the one algorithm that it verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// The configured name.
    pub key_id: Option<String>,
    /// The RFC 7638 thumbprint with SHA-256, base64url.
    pub thumbprint: String,
    /// The pinned algorithm.
    pub algorithm: Algorithm,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Raw(Vec<u8>),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({:?} {} {})", self.key_id, self.algorithm.name(), self.thumbprint)
    }
}

/// The shortest RSA modulus.
const MIN_RSA_BYTES: usize = 256;
/// The longest RSA modulus; a longer one only costs time.
const MAX_RSA_BYTES: usize = 1024;

impl VerifyingKey {
    /// Makes a key from a JWK.
    ///
    /// # Errors
    /// [`KeyError`]: the list that declares it must be refused.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        match jwk.kty.as_str() {
            "RSA" => Self::rsa(jwk),
            "EC" => Self::ec(jwk),
            "OKP" => Self::okp(jwk),
            "oct" => Err(KeyError::Symmetric),
            kty => Err(KeyError::UnknownType { kty: kty.to_owned() }),
        }
    }

    fn rsa(jwk: &Jwk) -> Result<Self, KeyError> {
        let alg = jwk.alg.as_deref().ok_or(KeyError::AlgorithmNeeded)?;
        let allowed = "RS256 or PS256";
        let algorithm = match Algorithm::parse(alg) {
            Some(algorithm @ (Algorithm::Rs256 | Algorithm::Ps256)) => algorithm,
            _ => return Err(KeyError::WrongAlgorithm { alg: alg.to_owned(), allowed }),
        };
        let (modulus, exponent) = (member("n", jwk.n.as_deref())?, member("e", jwk.e.as_deref())?);
        if modulus.len() < MIN_RSA_BYTES || modulus.len() > MAX_RSA_BYTES || modulus.first() == Some(&0) {
            return Err(KeyError::Unusable { why: "an RSA modulus has 2048 to 8192 bits" });
        }
        let odd = exponent.last().is_some_and(|last| last % 2 == 1);
        if !odd || exponent.len() > 8 || exponent == [1] || exponent.first() == Some(&0) {
            return Err(KeyError::Unusable { why: "an RSA exponent is odd and above 1" });
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let canonical = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(&jwk.e), text(&jwk.n));
        Ok(Self::new(jwk, algorithm, &canonical, Material::Rsa { modulus, exponent }))
    }

    fn ec(jwk: &Jwk) -> Result<Self, KeyError> {
        let crv = jwk.crv.as_deref().unwrap_or_default();
        let (algorithm, size, allowed) = match crv {
            "P-256" => (Algorithm::Es256, 32, "ES256"),
            "P-384" => (Algorithm::Es384, 48, "ES384"),
            _ => return Err(KeyError::UnknownCurve { crv: crv.to_owned() }),
        };
        pinned(jwk, algorithm, allowed)?;
        let (x, y) = (member("x", jwk.x.as_deref())?, member("y", jwk.y.as_deref())?);
        if x.len() != size || y.len() != size {
            return Err(KeyError::Unusable { why: "a coordinate has not the length of the curve" });
        }
        let point: Vec<u8> = [0x04].into_iter().chain(x).chain(y).collect();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let canonical =
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, text(&jwk.x), text(&jwk.y));
        let key = Self::new(jwk, algorithm, &canonical, Material::Raw(point));
        key.on_curve().then_some(key).ok_or(KeyError::Unusable { why: "not a point of the curve" })
    }

    fn okp(jwk: &Jwk) -> Result<Self, KeyError> {
        let crv = jwk.crv.as_deref().unwrap_or_default();
        if crv != "Ed25519" {
            return Err(KeyError::UnknownCurve { crv: crv.to_owned() });
        }
        pinned(jwk, Algorithm::EdDsa, "EdDSA")?;
        let x = member("x", jwk.x.as_deref())?;
        if x.len() != 32 {
            return Err(KeyError::Unusable { why: "an Ed25519 key has 32 bytes" });
        }
        let text = jwk.x.clone().unwrap_or_default();
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{text}"}}"#);
        Ok(Self::new(jwk, Algorithm::EdDsa, &canonical, Material::Raw(x)))
    }

    fn new(jwk: &Jwk, algorithm: Algorithm, canonical: &str, material: Material) -> Self {
        let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
        let thumbprint = URL_SAFE_NO_PAD.encode(hash.as_ref());
        Self { key_id: jwk.kid.clone(), thumbprint, algorithm, material }
    }

    fn on_curve(&self) -> bool {
        let Material::Raw(point) = &self.material else { return true };
        aws_lc_rs::signature::ParsedPublicKey::new(self.raw_algorithm(), point).is_ok()
    }

    fn raw_algorithm(&self) -> &'static dyn VerificationAlgorithm {
        match self.algorithm {
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::EdDsa => &signature::ED25519,
            Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Ps256 => &signature::ECDSA_P256_SHA256_FIXED,
        }
    }

    /// Tells whether a signature over a message is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                let parameters: &RsaParameters = match self.algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Rs256 | Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {
                        &signature::RSA_PKCS1_2048_8192_SHA256
                    }
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(parameters, message, signature)
                    .is_ok()
            }
            Material::Raw(bytes) => {
                UnparsedPublicKey::new(self.raw_algorithm(), bytes).verify(message, signature).is_ok()
            }
        }
    }
}

fn pinned(jwk: &Jwk, algorithm: Algorithm, allowed: &'static str) -> Result<(), KeyError> {
    match jwk.alg.as_deref() {
        None => Ok(()),
        Some(alg) if alg == algorithm.name() => Ok(()),
        Some(alg) => Err(KeyError::WrongAlgorithm { alg: alg.to_owned(), allowed }),
    }
}

fn member(name: &'static str, value: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let bytes = value.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.filter(|bytes| !bytes.is_empty()).ok_or(KeyError::BadMember { member: name })
}
