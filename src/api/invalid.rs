//! What is wrong with an object, by field; and the limits of texts and lists that the schemas declare.

/// Says which field of an object is wrong, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The path of the field, e.g. `spec.issuers[0].audiences`.
    pub field: String,
    /// A sentence.
    pub problem: String,
}

impl Invalid {
    /// Makes an error from whatever displays as a sentence.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }

    /// Puts the path of the surrounding object in front.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        let separator = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{parent}{separator}{}", self.field);
        self
    }
}

/// Checks the length of a text, in characters.
///
/// # Errors
/// [`Invalid`] if it is empty, too long, or has control characters.
pub fn text(field: &str, text: &str, maximum: usize) -> Result<(), Invalid> {
    let length = text.chars().count();
    if length == 0 {
        return Err(Invalid::new(field, "is empty: give a value, or leave the field out"));
    }
    if length > maximum {
        return Err(Invalid::new(field, format!("has {length} characters, and {maximum} are the most")));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(field, "has a control character"));
    }
    Ok(())
}

/// Checks the number of items of a list.
///
/// # Errors
/// [`Invalid`] if there are too few or too many.
pub fn count(field: &str, count: usize, allowed: std::ops::RangeInclusive<usize>) -> Result<(), Invalid> {
    if allowed.contains(&count) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    Err(Invalid::new(field, format!("has {count} items: between {least} and {most} are allowed")))
}

/// Checks a number.
///
/// # Errors
/// [`Invalid`] if it is too small or too large.
pub fn range(field: &str, value: u32, allowed: std::ops::RangeInclusive<u32>) -> Result<(), Invalid> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    Err(Invalid::new(field, format!("is {value}: between {least} and {most} are allowed")))
}

/// Checks a name as Kubernetes labels have it (RFC 1123).
///
/// # Errors
/// [`Invalid`] for anything else.
pub fn label(field: &str, name: &str) -> Result<(), Invalid> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    let good =
        bytes.len() <= 63 && bytes.iter().all(|b| inner(*b)) && outer(bytes.first()) && outer(bytes.last());
    if good {
        return Ok(());
    }
    Err(Invalid::new(field, "is not a name: use at most 63 lower-case letters, digits and '-'"))
}
