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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::row::End;
    use crate::revocation::time::UnixSeconds;

    const HASH_KEY: HashKey = HashKey::new([1; 16]);

    fn at(seconds: u64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    fn never() -> Rows {
        Rows { always: Some(End::NEVER), ..Rows::default() }
    }

    fn every_kind() -> Rows {
        Rows {
            always: Some(End::at(at(1_700_000_000))),
            issued: Some(UnixSeconds::MIN),
            session_started: Some(UnixSeconds::MAX),
        }
    }

    fn check(hash_key: &HashKey, list: &[([u8; 16], Rows)], expected: &str) {
        let digest = list.iter().fold(Digest::default(), |digest, (key, rows)| {
            digest.replace(hash_key, Key::from_bytes(*key), None, Some(rows))
        });
        assert_eq!(format!("{digest:?}"), expected, "{list:?}");
    }

    /// Invariant 14: whoever changes a digest makes every running sidecar CORRUPT. Computed by another SipHash-2-4, in Python,
    /// with which SipHash's own vectors agree.
    #[test]
    fn the_digests_are_the_golden_ones() {
        let (ones, counting): ([u8; 16], [u8; 16]) =
            ([1; 16], std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let issued = |time| Rows { issued: Some(time), ..Rows::default() };
        let until = Rows { always: Some(End::at(at(1_700_000_000))), ..Rows::default() };
        let session = Rows { session_started: Some(at(1_700_000_000)), ..Rows::default() };
        let three = [(ones, never()), (counting, every_kind()), ([0xff; 16], issued(at(1_700_000_000)))];
        check(&HASH_KEY, &[], "00000000000000000000000000000000");
        check(&HASH_KEY, &[(ones, never())], "72ac7b8075b2bf5042e743b857fb892d");
        check(&HASH_KEY, &[(ones, until)], "3352f8ea962c408d4e2fbf97447192e8");
        check(&HASH_KEY, &[(ones, issued(at(1_700_000_000)))], "142a2bc664754f3943f85c3d5082518e");
        check(&HASH_KEY, &[(ones, session)], "a008f8a296a1e8092db121d95f9bf11d");
        check(&HASH_KEY, &[(ones, issued(UnixSeconds::MIN))], "8f279969b5a19fba413bcda64ef2662b");
        check(&HASH_KEY, &[(counting, every_kind())], "bdbc7ef0c9aae77a6566d1c6de4dea3b");
        check(&HASH_KEY, &three, "591c8d0c35526611c5c1634dff3bfc24");
        check(&HashKey::new([2; 16]), &[(ones, never())], "fefd595c1a87da07c4d9d133fff1a13d");
    }

    /// A sum: it does not matter in which order rows came, nor what was there in between.
    #[test]
    fn what_was_replaced_leaves_nothing_behind() {
        let key = Key::from_bytes([1; 16]);
        let only = Digest::default().replace(&HASH_KEY, key, None, Some(&never()));
        let replaced = Digest::default().replace(&HASH_KEY, key, None, Some(&every_kind())).replace(
            &HASH_KEY,
            key,
            Some(&every_kind()),
            Some(&never()),
        );
        assert_eq!(replaced, only);
        assert_eq!(only.replace(&HASH_KEY, key, Some(&never()), None), Digest::default());
    }
}
