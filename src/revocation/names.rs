//! Names that travel between all parts: lists and the origins of records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names a revocation list: `namespace/name`.
///
/// Both parts are DNS labels (RFC 1123), as the names of Kubernetes objects and namespaces are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListName {
    namespace: String,
    name: String,
}

/// The namespace of a list whose name was given without one.
pub const DEFAULT_NAMESPACE: &str = "default";

const MAX_NAME_BYTES: usize = 253;
const MAX_NAMESPACE_BYTES: usize = 63;

/// Says why a text is not the name of a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part} {text:?} is not a name: use lower-case letters, digits, '-' and '.', at most {limit} characters"
)]
pub struct NameError {
    part: &'static str,
    text: String,
    limit: usize,
}

impl ListName {
    /// Makes a name from its parts.
    ///
    /// # Errors
    /// [`NameError`] if a part is empty, too long, or has a character that Kubernetes would refuse.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        check("namespace", namespace, MAX_NAMESPACE_BYTES)?;
        check("list", name, MAX_NAME_BYTES)?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Returns the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the name within the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn check(part: &'static str, text: &str, limit: usize) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends_well = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    if bytes.len() <= limit
        && bytes.iter().all(|b| allowed(*b))
        && ends_well(bytes.first())
        && ends_well(bytes.last())
    {
        return Ok(());
    }
    let shown = text.chars().take(64).collect();
    Err(NameError { part, text: shown, limit })
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ListName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Self::new(DEFAULT_NAMESPACE, text),
        }
    }
}

impl TryFrom<String> for ListName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ListName> for String {
    fn from(name: ListName) -> Self {
        name.to_string()
    }
}

/// Identifies a record by its origin: the UID of the object that carries it.
///
/// A name can be used again after a deletion; an origin can't, so lifting the old record never touches the
/// new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId(pub u128);

/// Says that a text is not a UID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UID: expected 32 hexadecimal digits in groups of 8-4-4-4-12")]
pub struct RecordIdError;

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        for (start, end, sep) in [(0, 8, "-"), (8, 12, "-"), (12, 16, "-"), (16, 20, "-"), (20, 32, "")] {
            write!(f, "{}{sep}", hex.get(start..end).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, RecordIdError> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return Err(RecordIdError);
        }
        u128::from_str_radix(&groups.concat(), 16).map(Self).map_err(|_| RecordIdError)
    }
}

impl TryFrom<String> for RecordId {
    type Error = RecordIdError;

    fn try_from(text: String) -> Result<Self, RecordIdError> {
        text.parse()
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_a_namespace_is_in_the_default_one() {
        assert_eq!("shop".parse(), ListName::new("default", "shop"));
        assert_eq!("a/shop".parse(), ListName::new("a", "shop"));
    }

    #[test]
    fn names_that_kubernetes_would_refuse_are_refused() {
        for text in ["", "/", "a/", "/a", "A/b", "a/b/c", "a b", "-a", "a-", &"x".repeat(300)] {
            assert!(text.parse::<ListName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_record_id_prints_as_a_uid_and_reads_back() {
        let id = RecordId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("+1234567-89ab-cdef-0123-456789abcdef".parse::<RecordId>(), Err(RecordIdError));
    }
}
