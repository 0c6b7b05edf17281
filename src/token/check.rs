//! The steps from a token to verified claims: parse, find the issuer, verify with its pinned keys.

use crate::revocation::claims::Claims;

use super::jws::Jws;
use super::keys::VerifyingKey;
use super::list_config::{IssuerConfig, Verification};
use super::rejection::Rejection;
use super::rules::string;

/// Returns the issuer that claims name.
///
/// # Errors
/// [`Rejection::UnknownIssuer`] if they name none.
pub fn issuer_of(claims: &Claims) -> Result<&str, Rejection> {
    string(claims, "iss")?.ok_or(Rejection::UnknownIssuer)
}

/// Verifies a token with the pinned keys of its issuer and returns the key that fits.
///
/// # Errors
/// [`Rejection::WrongType`], [`Rejection::UnknownKey`], [`Rejection::WrongAlgorithm`],
/// [`Rejection::BadSignature`]; [`Rejection::NoUpstreamClaims`] if the proxy is to verify this issuer's tokens.
pub fn verify<'k>(jws: &Jws<'_>, issuer: &'k IssuerConfig) -> Result<&'k VerifyingKey, Rejection> {
    let keys = match &issuer.verification {
        Verification::Keys(keys) => keys,
        Verification::EnvoyMetadata { .. } => return Err(Rejection::NoUpstreamClaims),
    };
    let accepted = jws.media_type.as_ref().is_some_and(|media_type| issuer.types.contains(media_type));
    if !accepted {
        return Err(Rejection::WrongType);
    }
    verify_with(jws, keys)
}

/// Verifies a signature with pinned keys and returns the key that fits; of the token nothing else is looked at.
///
/// # Errors
/// [`Rejection::UnknownKey`], [`Rejection::WrongAlgorithm`], [`Rejection::BadSignature`].
pub fn verify_with<'k>(jws: &Jws<'_>, keys: &'k [VerifyingKey]) -> Result<&'k VerifyingKey, Rejection> {
    let key = choose(jws, keys)?;
    if key.algorithm.name() != jws.algorithm {
        return Err(Rejection::WrongAlgorithm);
    }
    key.verifies(jws.signed, &jws.signature).then_some(key).ok_or(Rejection::BadSignature)
}

/// The header's `kid` only chooses among pinned keys; without one, exactly one key must fit.
fn choose<'k>(jws: &Jws<'_>, keys: &'k [VerifyingKey]) -> Result<&'k VerifyingKey, Rejection> {
    let mut fitting = match &jws.key_id {
        Some(_) => keys.iter().filter(|key| key.key_id == jws.key_id).collect::<Vec<_>>(),
        None => keys.iter().filter(|key| key.algorithm.name() == jws.algorithm).collect(),
    };
    match (fitting.pop(), fitting.is_empty()) {
        (Some(key), true) => Ok(key),
        (None, _) if jws.key_id.is_none() => Err(Rejection::WrongAlgorithm),
        _ => Err(Rejection::UnknownKey),
    }
}

#[cfg(test)]
mod tests;
