//! The prefilter: a Bloom filter over keys, on the `bloomfilter` crate.

use bloomfilter::Bloom;

use super::key::{HashKey, Key};

/// The share of keys that are not in the set and are reported all the same.
pub const FALSE_POSITIVE_RATE: f64 = 1e-3;

/// Below this the filter is made for this many keys, so that small lists do not rebuild it at each growth.
const MIN_CAPACITY: usize = 1024;

const FORMAT_VERSION: u8 = 1;
const MAX_HASH_FUNCTIONS: u32 = 32;

/// A Bloom filter over the keys of a list: a miss proves absence, a hit must be confirmed in the exact set.
///
/// **Cost**: 14.4 bits per key at a false positive rate of 1e-3; ten hash evaluations per lookup at most.
/// **Bytes**: those of the `bloomfilter` crate, version 1. The 32-byte seed is two SipHash keys derived from
/// the list's hash key; the halves differ, for with equal ones the rate is 20 times what was asked for.
pub struct Prefilter {
    bloom: Option<Bloom<Key>>,
    capacity: usize,
}

/// Says why the bytes of a filter were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Shorter than a header and one byte of bits.
    #[error("{bytes} bytes are too few for a filter")]
    TooShort {
        /// The number of bytes.
        bytes: usize,
    },
    /// A format that this binary does not know.
    #[error("filter format {found}, and only 1 is known")]
    UnknownFormat {
        /// The format named by the bytes.
        found: u8,
    },
    /// The length in the header is not that of the bits.
    #[error("the header promises {promised} bytes of bits and {present} are there")]
    LengthMismatch {
        /// The length in the header.
        promised: u64,
        /// The length of what follows the header.
        present: u64,
    },
    /// No hash function, or more than any filter of ours has.
    #[error("{count} hash functions, and 1 to 32 are possible")]
    HashFunctions {
        /// The number in the header.
        count: u32,
    },
    /// Not the seed that follows from the list's hash key.
    #[error("the filter was made under another hash key")]
    ForeignSeed,
}

impl Prefilter {
    /// Makes an empty filter for a number of keys.
    #[must_use]
    pub fn with_capacity(hash_key: &HashKey, keys: usize) -> Self {
        let capacity = keys.max(MIN_CAPACITY);
        let bytes = Bloom::<Key>::compute_bitmap_size(capacity, FALSE_POSITIVE_RATE);
        match Bloom::new_with_seed(bytes, capacity, &seed(hash_key)) {
            Ok(bloom) => Self { bloom: Some(bloom), capacity },
            // A filter that can't be made reports every key: slower, and never a missed revocation.
            Err(_) => Self { bloom: None, capacity },
        }
    }

    /// Makes a filter over keys.
    #[must_use]
    pub fn build(hash_key: &HashKey, keys: impl ExactSizeIterator<Item = Key>) -> Self {
        let mut filter = Self::with_capacity(hash_key, keys.len());
        keys.for_each(|key| filter.insert(key));
        filter
    }

    /// Adds a key.
    pub fn insert(&mut self, key: Key) {
        if let Some(bloom) = &mut self.bloom {
            bloom.set(&key);
        }
    }

    /// Tells whether a key may be in the set; `false` proves that it is not.
    #[must_use]
    pub fn may_contain(&self, key: Key) -> bool {
        self.bloom.as_ref().is_none_or(|bloom| bloom.check(&key))
    }

    /// Returns the number of keys up to which the false positive rate holds.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of bytes of its bits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bloom.as_ref().map_or(0, |bloom| usize::try_from(bloom.len() / 8).unwrap_or(usize::MAX))
    }

    /// Returns the bytes for the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bloom.as_ref().map(Bloom::to_bytes).unwrap_or_default()
    }

    /// Reads a filter for `keys` keys from bytes that nobody vouches for.
    ///
    /// # Errors
    /// [`FilterError`]: the snapshot that carried it must be refused as a whole.
    pub fn from_bytes(bytes: &[u8], hash_key: &HashKey, keys: usize) -> Result<Self, FilterError> {
        // The crate trusts its input: no bits at all would panic, and billions of hash functions would hang.
        let too_short = FilterError::TooShort { bytes: bytes.len() };
        let parts = Parts::split(bytes).filter(|parts| !parts.bits.is_empty()).ok_or(too_short)?;
        let Parts { format, promised, count, seed: found_seed, bits } = parts;
        if format != FORMAT_VERSION {
            return Err(FilterError::UnknownFormat { found: format });
        }
        let present = bits.len() as u64;
        if promised != present {
            return Err(FilterError::LengthMismatch { promised, present });
        }
        if count == 0 || count > MAX_HASH_FUNCTIONS {
            return Err(FilterError::HashFunctions { count });
        }
        if found_seed != seed(hash_key) {
            return Err(FilterError::ForeignSeed);
        }
        let bloom = Bloom::from_bytes(bytes.to_vec()).map_err(|_| too_short)?;
        Ok(Self { bloom: Some(bloom), capacity: keys.max(MIN_CAPACITY) })
    }
}

/// The crate's bytes, taken apart: version u8, length of the bits in bytes u64, hash functions u32, seed, bits. Numbers
/// are little-endian.
struct Parts<'a> {
    format: u8,
    promised: u64,
    count: u32,
    seed: [u8; 32],
    bits: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(bytes: &'a [u8]) -> Option<Self> {
        let ([format], rest) = bytes.split_first_chunk()?;
        let (promised, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (seed, bits) = rest.split_first_chunk()?;
        let (promised, count) = (u64::from_le_bytes(*promised), u32::from_le_bytes(*count));
        Some(Self { format: *format, promised, count, seed: *seed, bits })
    }
}

fn seed(hash_key: &HashKey) -> [u8; 32] {
    use siphasher::sip128::{Hasher128, SipHasher24};
    use std::hash::Hasher;
    let half = |label: &[u8]| {
        let mut hasher = SipHasher24::new_with_key(hash_key.as_bytes());
        hasher.write(label);
        hasher.finish128().as_bytes()
    };
    let mut seed = [0; 32];
    let halves = half(b"rescind filter seed 1").into_iter().chain(half(b"rescind filter seed 2"));
    seed.iter_mut().zip(halves).for_each(|(to, from)| *to = from);
    seed
}

impl std::fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prefilter(for {} keys)", self.capacity)
    }
}

#[cfg(test)]
mod tests;
