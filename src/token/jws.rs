//! Strict parsing of compact JWS (RFC 7515): what is not canonical is refused, never repaired.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::revocation::claims::{ClaimValue, Claims};

use super::rejection::Rejection;

/// The longest token.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Header members that ask for what is never done here, whatever their value.
const FORBIDDEN: [&str; 10] = ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"];

/// A parsed and unverified token.
#[derive(Debug)]
pub struct Jws<'a> {
    /// What the signature covers: header and payload as they stand in the token.
    pub signed: &'a [u8],
    /// The signature's bytes.
    pub signature: Vec<u8>,
    /// The header's `alg`.
    pub algorithm: String,
    /// The header's `kid`.
    pub key_id: Option<String>,
    /// The header's `typ`, without `application/`, in lower case.
    pub media_type: Option<String>,
    /// The payload.
    pub claims: Claims,
}

impl<'a> Jws<'a> {
    /// Parses a token.
    ///
    /// # Errors
    /// [`Rejection::TooLarge`], [`Rejection::Malformed`], [`Rejection::ForbiddenHeader`].
    pub fn parse(token: &'a str) -> Result<Self, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        // A dot left in the payload is no base64url: five parts (a JWE) fail here.
        let header = Claims::parse(&decode(header)?).map_err(|_| Rejection::Malformed)?;
        let forbidden = |name: &&str| header.get(name).is_some();
        if FORBIDDEN.iter().any(forbidden) {
            return Err(Rejection::ForbiddenHeader);
        }
        let content_type = text(&header, "cty")?;
        if content_type.is_some_and(|cty| media_type(cty) == "jwt") {
            return Err(Rejection::ForbiddenHeader);
        }
        let claims = Claims::parse(&decode(payload)?).map_err(|_| Rejection::Malformed)?;
        Ok(Self {
            signed: signed.as_bytes(),
            signature: decode(signature)?,
            algorithm: text(&header, "alg")?.ok_or(Rejection::Malformed)?.to_owned(),
            key_id: text(&header, "kid")?.map(str::to_owned),
            media_type: text(&header, "typ")?.map(media_type),
            claims,
        })
    }
}

/// Returns a media type as it is compared: without `application/`, in lower case (RFC 7515, section 4.1.9).
#[must_use]
pub fn media_type(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    lower.strip_prefix("application/").map_or(lower.clone(), str::to_owned)
}

fn text<'a>(header: &'a Claims, name: &str) -> Result<Option<&'a str>, Rejection> {
    match header.get(name) {
        None => Ok(None),
        Some(ClaimValue::String(text)) => Ok(Some(text)),
        Some(_) => Err(Rejection::Malformed),
    }
}

/// Decodes base64url without padding; spare bits must be zero, so that a token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed)
}
