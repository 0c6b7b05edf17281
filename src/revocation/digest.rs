//! The digest of a list: one number that is equal wherever the live rows are equal.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use super::key::{HashKey, Key};
use super::row::Rows;

/// An order-independent sum over keyed hashes of all live rows.
///
/// **Cost**: a change of one key is one subtraction and one addition. It finds flipped bits and lost or
/// foreign rows; it does not withstand somebody who holds the hash key and can choose rows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// Makes a digest from its value on the wire.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }

    /// Returns the value on the wire.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Replaces the rows under a key.
    #[must_use]
    pub fn replace(self, hash_key: &HashKey, key: Key, old: Option<&Rows>, new: Option<&Rows>) -> Self {
        let term = |rows: Option<&Rows>| rows.map_or(0, |rows| row_hash(hash_key, key, rows));
        Self(self.0.wrapping_sub(term(old)).wrapping_add(term(new)))
    }
}

fn row_hash(hash_key: &HashKey, key: Key, rows: &Rows) -> u128 {
    let mut hasher = SipHasher24::new_with_key(hash_key.as_bytes());
    hasher.write(b"rescind digest 1");
    hasher.write(&key.to_bytes());
    // Zero stands for an absent row: a present one is written as its value plus one.
    let always = rows.always.map_or(0, |end| end.time().map_or(u64::MAX, |time| time.get() + 1));
    hasher.write(&always.to_le_bytes());
    for cutoff in [rows.issued, rows.session_started] {
        hasher.write(&cutoff.map_or(0, |time| time.get() + 1).to_le_bytes());
    }
    hasher.finish128().as_u128()
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
