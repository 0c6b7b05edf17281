//! Strict parsing of JSON objects on `serde_json`'s raw values, which keep the text of every number.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{ClaimValue, Claims, MAX_NESTING};

/// Says why bytes are not claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not a JSON object (RFC 8259), or not UTF-8.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member occurs twice, after unescaping.
    #[error("a member occurs twice")]
    DuplicateMember,
    /// Objects and arrays nest too deep.
    #[error("nested deeper than 32")]
    TooDeep,
    /// A number's exponent is beyond reason.
    #[error("a number is out of range")]
    NumberOutOfRange,
}

pub(super) fn object(json: &[u8]) -> Result<Claims, ClaimsError> {
    let raw: &RawValue = serde_json::from_slice(json).map_err(|_| ClaimsError::NotAnObject)?;
    match value(raw, 0)? {
        ClaimValue::Object(claims) => Ok(claims),
        ClaimValue::Null
        | ClaimValue::Boolean(_)
        | ClaimValue::Number(_)
        | ClaimValue::String(_)
        | ClaimValue::Array(_) => Err(ClaimsError::NotAnObject),
    }
}

/// Reads one value; syntax has been checked by whoever cut it out, so the first byte tells its type.
fn value(raw: &RawValue, depth: usize) -> Result<ClaimValue, ClaimsError> {
    if depth > MAX_NESTING {
        return Err(ClaimsError::TooDeep);
    }
    let text = raw.get();
    match text.bytes().next() {
        Some(b'{') => members(text, depth).map(ClaimValue::Object),
        Some(b'[') => {
            let elements: Vec<&RawValue> = read(text)?;
            elements
                .into_iter()
                .map(|raw| value(raw, depth + 1))
                .collect::<Result<_, _>>()
                .map(ClaimValue::Array)
        }
        Some(b'"') => read(text).map(ClaimValue::String),
        Some(b't' | b'f') => read(text).map(ClaimValue::Boolean),
        Some(b'n') => Ok(ClaimValue::Null),
        _ => text.parse().map(ClaimValue::Number).map_err(|_| ClaimsError::NumberOutOfRange),
    }
}

fn members(text: &str, depth: usize) -> Result<Claims, ClaimsError> {
    let Members(raw) = read(text)?;
    let members = raw
        .into_iter()
        .map(|(name, raw)| Ok((name, value(raw, depth + 1)?)))
        .collect::<Result<Vec<_>, ClaimsError>>()?;
    Claims::from_members(members).ok_or(ClaimsError::DuplicateMember)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ClaimsError> {
    serde_json::from_str(text).map_err(|_| ClaimsError::NotAnObject)
}

/// All members of an object, duplicates included: a map type would silently keep the last.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((name, map.next_value()?));
                    if members.len() > MAX_MEMBERS {
                        return Err(A::Error::custom("too many members"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A token has at most 16 KiB, in which more members do not fit; other callers are bounded by this.
const MAX_MEMBERS: usize = 8192;
