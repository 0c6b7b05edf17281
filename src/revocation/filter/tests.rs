use proptest::prelude::*;

use super::*;

const HEADER_BYTES: usize = 1 + 8 + 4 + 32;

const HASH_KEY: HashKey = HashKey::new([7; 16]);

fn key(n: u64) -> Key {
    // Any bijection that spreads its argument stands in for keyed hashes.
    let spread = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Key::from_bytes(spread.to_le_bytes())
}

fn filter(keys: u64) -> Prefilter {
    Prefilter::build(&HASH_KEY, (0..keys).map(key).collect::<Vec<_>>().into_iter())
}

/// Invariant 10: the filter has no false negative, also after its bytes have travelled.
#[test]
fn every_key_that_was_added_is_reported() {
    let filter = filter(20_000);
    let read = Prefilter::from_bytes(&filter.to_bytes(), &HASH_KEY, 20_000).unwrap();
    assert!((0..20_000).map(key).all(|key| filter.may_contain(key) && read.may_contain(key)));
}

#[test]
fn the_false_positive_rate_is_what_was_asked_for() {
    let filter = filter(20_000);
    let probes = 200_000;
    let hits = (0..probes).filter(|n| filter.may_contain(key(1_000_000 + n))).count();
    let rate = hits as f64 / probes as f64;
    assert!(rate < 1.5 * FALSE_POSITIVE_RATE, "measured {rate}");
    assert!(rate > 0.2 * FALSE_POSITIVE_RATE, "measured {rate}: the filter is larger than it should be");
}

/// Invariant 10: the bytes do not depend on the machine. Every byte is pinned: a sidecar of another build reads them.
///
/// The seed was computed by another SipHash-2-4, in Python.
#[test]
fn the_bytes_are_those_of_the_golden_file() {
    let mut filter = Prefilter::with_capacity(&HASH_KEY, 1);
    filter.insert(key(1));
    let bytes = filter.to_bytes();
    let (header, bits) = bytes.split_at(HEADER_BYTES);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = [
        "01",
        "3107000000000000",
        "0a000000",
        "ce48a9d3405288b9e98dc1ff5b60cb43415bd2c952136bcaa7e2e65d98baa836",
    ];
    assert_eq!(hex(header), expected.concat(), "format, length, hash functions, seed");
    let set: Vec<(usize, u8)> = bits.iter().copied().enumerate().filter(|(_, byte)| *byte != 0).collect();
    insta::assert_snapshot!(format!("{} bytes of bits, {set:?}", bits.len()));
}

#[test]
fn a_filter_of_nothing_reports_nothing() {
    let filter = filter(0);
    assert!(!(0..1000).any(|n| filter.may_contain(key(n))));
}

fn broken(change: impl Fn(&mut Vec<u8>)) -> FilterError {
    let mut bytes = filter(10).to_bytes();
    change(&mut bytes);
    Prefilter::from_bytes(&bytes, &HASH_KEY, 10).unwrap_err()
}

#[test]
fn bytes_that_the_crate_would_panic_or_hang_on_are_refused() {
    let length = (filter(10).to_bytes().len() - HEADER_BYTES) as u64;
    assert_eq!(broken(Vec::clear), FilterError::TooShort { bytes: 0 });
    assert_eq!(broken(|b| b.truncate(HEADER_BYTES)), FilterError::TooShort { bytes: HEADER_BYTES });
    assert_eq!(broken(|b| b[0] = 9), FilterError::UnknownFormat { found: 9 });
    let mismatch = FilterError::LengthMismatch { promised: length, present: length - 1 };
    assert_eq!(broken(|b| b.truncate(b.len() - 1)), mismatch);
    assert_eq!(broken(|b| b[9..13].fill(0)), FilterError::HashFunctions { count: 0 });
    assert_eq!(broken(|b| b[9..13].fill(255)), FilterError::HashFunctions { count: u32::MAX });
    assert_eq!(broken(|b| b[20] ^= 1), FilterError::ForeignSeed);
}

proptest! {
    /// Invariant 18: any input, any size: no panic.
    #[test]
    fn any_bytes_give_a_filter_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(filter) = Prefilter::from_bytes(&bytes, &HASH_KEY, 1) {
            prop_assert!(filter.may_contain(key(1)) || !filter.may_contain(key(1)));
        }
    }
}
