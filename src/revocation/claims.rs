//! Claims: a strict reading of a JSON object, and paths to the values in it.

mod decimal;
mod parse;

use std::fmt;
use std::str::FromStr;

pub use decimal::{Decimal, DecimalError};
pub use parse::ClaimsError;

/// How many elements of one array count; a token with more is refused, never partly checked.
pub const MAX_ARRAY_ELEMENTS: usize = 256;
/// How deep objects and arrays may nest.
pub const MAX_NESTING: usize = 32;

/// A JSON value with its exact numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    /// `null`: matches nothing.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A number, by value.
    Number(Decimal),
    /// A string, by code point.
    String(String),
    /// An array, of which each element counts.
    Array(Vec<Self>),
    /// An object: matches nothing by itself.
    Object(Claims),
}

/// A JSON object without duplicate members, in the order of its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    members: Vec<(String, ClaimValue)>,
}

/// Says that a value is an array of more elements than count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an array has {elements} elements, and at most 256 can be checked")]
pub struct TooManyElements {
    /// How many it has.
    pub elements: usize,
}

impl Claims {
    /// Reads a JSON object strictly.
    ///
    /// # Errors
    /// [`ClaimsError`] for anything but one object: bad syntax, duplicate members, deep nesting. Nothing is repaired.
    pub fn parse(json: &[u8]) -> Result<Self, ClaimsError> {
        parse::object(json)
    }

    /// Makes claims from members; none if a name occurs twice.
    #[must_use]
    pub fn from_members(members: Vec<(String, ClaimValue)>) -> Option<Self> {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let distinct = names.iter().zip(names.iter().skip(1)).all(|(a, b)| a != b);
        distinct.then_some(Self { members })
    }

    /// Returns the value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ClaimValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// Returns the members in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ClaimValue)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the scalars at a path: each element of an array counts, nulls and objects do not.
    ///
    /// # Errors
    /// [`TooManyElements`] if an array on the way or at the end has more than 256 elements.
    pub fn find(&self, path: &ClaimPath) -> Result<Vec<&ClaimValue>, TooManyElements> {
        let mut found = Vec::new();
        let mut names = path.segments.iter();
        if let Some(value) = names.next().and_then(|name| self.get(name)) {
            descend(value, names.as_slice(), &mut found)?;
        }
        Ok(found)
    }
}

fn descend<'a>(
    value: &'a ClaimValue,
    names: &[String],
    found: &mut Vec<&'a ClaimValue>,
) -> Result<(), TooManyElements> {
    match (value, names.split_first()) {
        (ClaimValue::Array(elements), _) => {
            // Elements that are arrays themselves count together, or nesting would multiply the limit.
            let total = elements.len().max(found.len());
            if total > MAX_ARRAY_ELEMENTS {
                return Err(TooManyElements { elements: total });
            }
            elements.iter().try_for_each(|element| descend(element, names, found))?;
        }
        (ClaimValue::Object(object), Some((name, rest))) => {
            if let Some(value) = object.get(name) {
                descend(value, rest, found)?;
            }
        }
        (ClaimValue::Boolean(_) | ClaimValue::Number(_) | ClaimValue::String(_), None) => found.push(value),
        _ => {}
    }
    if found.len() > MAX_ARRAY_ELEMENTS {
        return Err(TooManyElements { elements: found.len() });
    }
    Ok(())
}

/// Where a claim is: a name, or a JSON Pointer (RFC 6901) that starts with `/`.
///
/// Arrays on the way are descended element by element; an index can't be given. `/sub` is the same as `sub`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimPath {
    text: String,
    segments: Vec<String>,
}

/// Says why a text is not the path of a claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimPathError {
    /// Nothing, or an empty segment.
    #[error("a claim needs a name: write it as in the token, or as a JSON Pointer like /realm_access/roles")]
    Empty,
    /// More than 256 bytes.
    #[error("{bytes} bytes are too long for the path of a claim: at most 256")]
    TooLong {
        /// The number of bytes.
        bytes: usize,
    },
    /// A `~` that is neither `~0` nor `~1`.
    #[error("'~' must be written ~0 and '/' inside a name ~1 in a JSON Pointer (RFC 6901)")]
    BadEscape,
    /// A segment of digits, or `-`.
    #[error("{segment} is an array index: leave it out, every element of an array counts")]
    Index {
        /// The segment.
        segment: String,
    },
}

const MAX_PATH_BYTES: usize = 256;

impl ClaimPath {
    /// Returns the canonical text: equal paths have equal texts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(ClaimPathError::TooLong { bytes: text.len() });
        }
        let segments = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescape).collect::<Result<Vec<_>, _>>()?,
            None => vec![text.to_owned()],
        };
        if segments.iter().any(String::is_empty) {
            return Err(ClaimPathError::Empty);
        }
        let index = |segment: &&String| *segment == "-" || segment.bytes().all(|b| b.is_ascii_digit());
        if let Some(segment) = segments.iter().skip(1).find(index) {
            return Err(ClaimPathError::Index { segment: segment.clone() });
        }
        let text = match segments.as_slice() {
            // A plain name that starts with a slash is only reachable as a pointer.
            [name] if !name.starts_with('/') => name.clone(),
            several => several.iter().map(|name| format!("/{}", escape(name))).collect(),
        };
        Ok(Self { text, segments })
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(segment: &str) -> Result<String, ClaimPathError> {
    let mut parts = segment.split('~');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.strip_prefix('0').map(|rest| ('~', rest));
        let (escaped, rest) = rest
            .or_else(|| part.strip_prefix('1').map(|rest| ('/', rest)))
            .ok_or(ClaimPathError::BadEscape)?;
        name.push(escaped);
        name.push_str(rest);
    }
    Ok(name)
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
