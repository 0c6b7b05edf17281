//! From verified claims to the keys that a check looks up.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::revocation::claims::{ClaimPath, ClaimValue, Claims};
use crate::revocation::key::{HashKey, Key, ValueRef};
use crate::revocation::selector::BuiltIn;

use super::hash::sha256;
use super::keys::VerifyingKey;
use super::list_config::{IssuerConfig, ListConfig};

/// How many keys one check may look up; a token with more is refused, never partly checked.
pub const MAX_KEYS: usize = 1024;

/// What `encodeURIComponent` encodes, by which cookies are written.
const COOKIE_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Says that a token has more values than can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SelectionError {
    /// An array has more than 256 elements.
    #[error("an array of the token has more than 256 elements")]
    TooManyElements,
    /// More than 1,024 keys.
    #[error("the token's values combine to more than 1,024 keys")]
    TooManyKeys,
}

impl SelectionError {
    /// Returns the code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooManyElements => "TOO_MANY_ELEMENTS",
            Self::TooManyKeys => "TOO_MANY_KEYS",
        }
    }
}

/// A key with the selector that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected<'a> {
    /// The selector's name.
    pub selector: &'a str,
    /// What is looked up.
    pub key: Key,
}

/// Returns all keys of a list under which rows could deny a token, each with its selector.
///
/// `key` is what verified the token: configured key and thumbprint are looked up, never the header's text.
///
/// # Errors
/// [`SelectionError`]: the answer is that nobody can vouch.
pub fn select<'a>(
    list: &'a ListConfig,
    issuer: &IssuerConfig,
    claims: &Claims,
    key: Option<&VerifyingKey>,
    hash_key: &HashKey,
) -> Result<Vec<Selected<'a>>, SelectionError> {
    let iss = issuer.issuer.as_str();
    let selected = |selector: BuiltIn, value| Selected {
        selector: selector.name(),
        key: hash_key.built_in_key(iss, selector, value),
    };
    let mut keys = vec![selected(BuiltIn::Everything, None)];
    for selector in BuiltIn::ALL {
        if let Some(path) = issuer.claim_names.of(selector) {
            keys.extend(values(claims, path)?.into_iter().map(|value| selected(selector, Some(value))));
        }
    }
    if let Some(key) = key {
        let names = [key.key_id.as_deref(), Some(key.thumbprint.as_str())].into_iter().flatten();
        keys.extend(names.map(|name| selected(BuiltIn::Key, Some(ValueRef::String(name)))));
    }
    for selector in &list.selectors {
        let columns = selector
            .claims
            .iter()
            .map(|path| values(claims, path).map(|values| (path, values)))
            .collect::<Result<Vec<_>, _>>()?;
        let declared = declared(iss, &columns, hash_key)?;
        keys.extend(declared.into_iter().map(|key| Selected { selector: &selector.name, key }));
    }
    (keys.len() <= MAX_KEYS).then_some(keys).ok_or(SelectionError::TooManyKeys)
}

/// Returns a key for every combination of the claims' values; none if a claim is absent.
fn declared(
    issuer: &str,
    columns: &[(&ClaimPath, Vec<ValueRef<'_>>)],
    hash_key: &HashKey,
) -> Result<Vec<Key>, SelectionError> {
    let combinations =
        columns.iter().try_fold(1usize, |product, (_, values)| product.checked_mul(values.len()));
    let combinations = combinations.filter(|count| *count <= MAX_KEYS).ok_or(SelectionError::TooManyKeys)?;
    let key = |combination: usize| {
        let mut rest = combination;
        let chosen = columns.iter().filter_map(|(path, values)| {
            let value = values.get(rest % values.len())?;
            rest /= values.len();
            Some((*path, *value))
        });
        hash_key.declared_key(issuer, &chosen.collect::<Vec<_>>())
    };
    Ok((0..combinations).map(key).collect())
}

fn values<'a>(claims: &'a Claims, path: &ClaimPath) -> Result<Vec<ValueRef<'a>>, SelectionError> {
    let found = claims.find(path).map_err(|_| SelectionError::TooManyElements)?;
    let value = |value: &'a ClaimValue| match value {
        ClaimValue::String(text) => Some(ValueRef::String(text)),
        ClaimValue::Number(number) => Some(ValueRef::Number(number)),
        ClaimValue::Boolean(truth) => Some(ValueRef::Boolean(*truth)),
        ClaimValue::Null | ClaimValue::Array(_) | ClaimValue::Object(_) => None,
    };
    Ok(found.into_iter().filter_map(value).collect())
}

/// Returns the keys under which an opaque token of an issuer could be denied.
#[must_use]
pub fn opaque_keys(issuer: &str, token: &str, hash_key: &HashKey) -> Vec<Selected<'static>> {
    let selected = |selector: BuiltIn, key| Selected { selector: selector.name(), key };
    let by_hash = spellings(token).into_iter().map(|spelling| {
        let hash = sha256(&spelling);
        let key = hash_key.built_in_key(issuer, BuiltIn::Opaque, Some(ValueRef::Bytes(&hash)));
        selected(BuiltIn::Opaque, key)
    });
    let everything = hash_key.built_in_key(issuer, BuiltIn::Everything, None);
    by_hash.chain([selected(BuiltIn::Everything, everything)]).collect()
}

/// Returns what an application may take an opaque token for: many read a cookie's value without its quotes, and
/// with `%41` for `A`. Who holds a revoked one chooses the spelling; who revoked it hashed the one that the issuer
/// has sent, or what it stands for.
fn spellings(token: &str) -> Vec<Vec<u8>> {
    let bare = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(token);
    // A `%` without two hexadecimal digits stands for itself.
    let decoded: Vec<u8> = percent_decode_str(bare).collect();
    let encoded = percent_encode(&decoded, COOKIE_VALUE).to_string().into_bytes();
    let mut spellings = vec![token.as_bytes().to_vec(), bare.as_bytes().to_vec(), decoded, encoded];
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

#[cfg(test)]
mod tests;
