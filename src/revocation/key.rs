//! Keys: what a check looks up, computed from an issuer, a selector and its values.

use std::fmt;
use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

use super::claims::{ClaimPath, Decimal};
use super::selector::{BuiltIn, Selection, Target, TypedValue};

/// The secret of a list under which its keys and digests are computed; shared by all replicas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// Makes a hash key from 16 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, for the wire and the store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns a name of this hash key, from which it can't be told: lists of one name that were declared one after the
    /// other have different ones.
    #[must_use]
    pub fn name(&self) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(b"the name of a hash key").h1
    }

    /// Computes the key of a built-in selector with one string, or with none for `everything`.
    #[must_use]
    pub fn built_in_key(&self, issuer: &str, selector: BuiltIn, value: Option<ValueRef<'_>>) -> Key {
        let mut encoder = Encoder::new(self, issuer);
        encoder.part(TAG_BUILT_IN, selector.name().as_bytes());
        if let Some(value) = value {
            encoder.value(value);
        }
        encoder.finish()
    }

    /// Computes the key of a declared selector from its claims with their values, in any order.
    #[must_use]
    pub fn declared_key(&self, issuer: &str, values: &[(&ClaimPath, ValueRef<'_>)]) -> Key {
        let mut sorted: Vec<_> = values.iter().collect();
        sorted.sort_by_key(|(claim, _)| claim.as_str());
        let mut encoder = Encoder::new(self, issuer);
        encoder.part(TAG_DECLARED, &(sorted.len() as u64).to_le_bytes());
        for (claim, value) in sorted {
            encoder.part(TAG_CLAIM, claim.as_str().as_bytes());
            encoder.value(*value);
        }
        encoder.finish()
    }

    /// Computes the key of a revocation's target.
    #[must_use]
    pub fn target_key(&self, target: &Target) -> Key {
        let issuer = target.issuer.as_str();
        let string =
            |selector, value: &str| self.built_in_key(issuer, selector, Some(ValueRef::String(value)));
        match &target.selection {
            Selection::Token(value) => string(BuiltIn::Token, value),
            Selection::Session(value) => string(BuiltIn::Session, value),
            Selection::Subject(value) => string(BuiltIn::Subject, value),
            Selection::Client(value) => string(BuiltIn::Client, value),
            Selection::Key(value) => string(BuiltIn::Key, value),
            Selection::Everything => self.built_in_key(issuer, BuiltIn::Everything, None),
            Selection::Opaque(hash) => {
                self.built_in_key(issuer, BuiltIn::Opaque, Some(ValueRef::Bytes(hash)))
            }
            Selection::Declared { values, .. } => {
                let values: Vec<_> = values.iter().map(|m| (&m.claim, ValueRef::from(&m.value))).collect();
                self.declared_key(issuer, &values)
            }
        }
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// A borrowed value that goes into a key with its type.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A string, by code point.
    String(&'a str),
    /// A number, by value.
    Number(&'a Decimal),
    /// A truth value.
    Boolean(bool),
    /// The SHA-256 of an opaque token.
    Bytes(&'a [u8; 32]),
}

impl<'a> From<&'a TypedValue> for ValueRef<'a> {
    fn from(value: &'a TypedValue) -> Self {
        match value {
            TypedValue::String(text) => Self::String(text),
            TypedValue::Number(number) => Self::Number(number),
            TypedValue::Boolean(truth) => Self::Boolean(*truth),
        }
    }
}

/// A keyed 128-bit hash of (issuer, selector, values).
///
/// It is uniform for everybody who lacks the hash key, so a map needs no further hashing of it.
///
/// **Shape**: two words, the upper one first, so that they compare as the number does. A `u128` would be aligned to
/// 16 bytes, and an entry of a list, 40 bytes, would take 48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    high: u64,
    low: u64,
}

impl Key {
    /// Makes a key from its bytes on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_u128(u128::from_le_bytes(bytes))
    }

    /// Returns the bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.as_u128().to_le_bytes()
    }

    const fn from_u128(value: u128) -> Self {
        Self { high: (value >> 64) as u64, low: (value & 0xffff_ffff_ffff_ffff) as u64 }
    }

    const fn as_u128(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }
}

impl Hash for Key {
    // A fixed byte order: the filter's bits must be the same on every machine.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.to_bytes());
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:032x})", self.as_u128())
    }
}

const TAG_ISSUER: u8 = 1;
const TAG_BUILT_IN: u8 = 2;
const TAG_DECLARED: u8 = 3;
const TAG_CLAIM: u8 = 4;
const TAG_STRING: u8 = 5;
const TAG_NUMBER: u8 = 6;
const TAG_BOOLEAN: u8 = 7;
const TAG_BYTES: u8 = 8;

/// Feeds parts to the hash so that no two lists of parts give the same bytes: tag, length, content.
struct Encoder(SipHasher24);

impl Encoder {
    fn new(hash_key: &HashKey, issuer: &str) -> Self {
        let mut encoder = Self(SipHasher24::new_with_key(hash_key.as_bytes()));
        encoder.part(TAG_ISSUER, issuer.as_bytes());
        encoder
    }

    fn part(&mut self, tag: u8, content: &[u8]) {
        self.0.write(&[tag]);
        self.0.write(&(content.len() as u64).to_le_bytes());
        self.0.write(content);
    }

    fn value(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::String(text) => self.part(TAG_STRING, text.as_bytes()),
            ValueRef::Number(number) => self.part(TAG_NUMBER, number.to_string().as_bytes()),
            ValueRef::Boolean(truth) => self.part(TAG_BOOLEAN, &[u8::from(truth)]),
            ValueRef::Bytes(bytes) => self.part(TAG_BYTES, bytes),
        }
    }

    fn finish(self) -> Key {
        Key::from_u128(self.0.finish128().as_u128())
    }
}

#[cfg(test)]
mod tests;
