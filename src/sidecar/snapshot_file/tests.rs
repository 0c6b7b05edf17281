use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::api::compile::tests::document;
use crate::revocation::key::Key;
use crate::revocation::row::{End, Rows};
use crate::revocation::selector::Selection;
use crate::sidecar::test_support::{State, alice, always, issued_until, list_under};

const HASH_KEY: HashKey = HashKey::new([3; 16]);

fn held() -> ListView {
    let document = document();
    let list = list_under(HASH_KEY, &[(alice(), always())]);
    ListView {
        config: Some(Arc::new(document.config().unwrap())),
        document: Some(document.encode().into()),
        generation: 4,
        list: Some(Arc::new(list)),
        knowledge: State::Fresh.knowledge(),
        horizon: UnixSeconds::new(1000).ok(),
        ..ListView::empty(name())
    }
}

/// Written by the build with which this test began. It is never written anew: a later format gets a file of its own
/// beside it.
const FORMAT_1: &[u8] = include_bytes!("fixtures/format-1.snapshot");
const DOCUMENT: &[u8] = include_bytes!("../../api/document/fixtures/full.json");

/// What is in that file: a list in which every field says something, and a row of every kind.
fn every_kind() -> ListView {
    let at = |seconds| UnixSeconds::new(seconds).ok();
    let token = |name: &str| crate::sidecar::test_support::target(Selection::Token(name.to_owned()));
    let until = Rows { always: at(1_700_000_000).map(End::at), ..Rows::default() };
    let session = Rows { session_started: at(1_600_000_000), ..Rows::default() };
    let all = Rows { always: Some(End::NEVER), issued: at(0), session_started: Some(UnixSeconds::MAX) };
    let issued = issued_until(1_650_000_000);
    let rows = [
        (alice(), always()),
        (token("a"), until),
        (token("b"), issued),
        (token("c"), session),
        (token("d"), all),
    ];
    ListView {
        document: Some(Arc::from(DOCUMENT)),
        list: Some(Arc::new(list_under(HASH_KEY, &rows))),
        horizon: at(1_699_999_999),
        ..held()
    }
}

/// What a sidecar of an earlier build has left is what one of this build denies from.
#[test]
fn a_snapshot_that_an_earlier_build_has_written_is_read_as_it_was_meant() {
    let read = decode(FORMAT_1, &name()).unwrap();
    let expected = every_kind();
    let list = expected.list.unwrap();
    assert_eq!(entries(&read.denials[0]), entries(&list));
    assert_eq!((read.denials[0].hash_key(), read.denials[0].version()), (&HASH_KEY, list.version()));
    assert_eq!((read.document, read.horizon), (expected.document, expected.horizon));
    assert!(read.list.is_none() && read.proven.is_none());
}

/// Who goes back to an earlier build must not be left with nothing: other bytes need another number.
#[test]
fn what_is_written_is_what_an_earlier_build_reads() {
    assert_eq!(encode(&every_kind()).unwrap(), FORMAT_1, "the format has changed: give it another number");
}

fn name() -> ListName {
    document().name().unwrap()
}

fn entries(list: &RevocationList) -> Vec<(Key, Rows)> {
    list.snapshot().entries
}

#[test]
fn a_view_comes_back_good_for_denials_and_vouching_for_nothing() {
    let directory = TempDir::new().unwrap();
    let path = path_in(directory.path(), &name());
    assert_eq!(save(&path, &held()).unwrap(), Saved::Written);
    let loaded = load(&path, &name()).unwrap();
    let before = held();
    assert_eq!(entries(&loaded.denials[0]), entries(before.list.as_ref().unwrap()));
    assert_eq!(loaded.denials[0].hash_key(), &HASH_KEY);
    assert_eq!(loaded.denials[0].version(), before.list.unwrap().version());
    assert_eq!((loaded.config, loaded.document), (before.config, before.document));
    assert_eq!((loaded.generation, loaded.horizon), (0, before.horizon));
    assert!(loaded.list.is_none() && loaded.proven.is_none());
    assert_eq!(loaded.knowledge, Knowledge::NeverProven);
}

#[test]
fn only_the_owner_may_read_it_and_nothing_else_is_left() {
    let directory = TempDir::new().unwrap();
    let path = path_in(directory.path(), &name());
    fs::write(directory.path().join("default_shop.snapshot.new"), "left by the dead").unwrap();
    for _ in 0..2 {
        save(&path, &held()).unwrap();
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_is_in_doubt_does_not_replace_what_is_good() {
    let directory = TempDir::new().unwrap();
    let path = path_in(directory.path(), &name());
    save(&path, &held()).unwrap();
    let good = fs::read(&path).unwrap();
    for view in [
        ListView { knowledge: Knowledge::Corrupt, ..held() },
        ListView { list: None, ..held() },
        ListView { document: None, ..held() },
    ] {
        assert_eq!(save(&path, &view).unwrap(), Saved::Nothing);
    }
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn a_list_of_several_chunks_comes_back_whole() {
    let many: Vec<_> = (0..20_000u64)
        .map(|n| {
            let selection = Selection::Token(n.to_string());
            (crate::sidecar::test_support::target(selection), issued_until(n))
        })
        .collect();
    let list = Arc::new(list_under(HASH_KEY, &many));
    let bytes = encode(&ListView { list: Some(Arc::clone(&list)), ..held() }).unwrap();
    let loaded = decode(&bytes, &name()).unwrap();
    assert_eq!(entries(&loaded.denials[0]), entries(&list));
}

#[test]
fn each_kind_of_wrong_file_has_its_error() {
    let directory = TempDir::new().unwrap();
    let path = path_in(directory.path(), &name());
    assert!(matches!(load(&path, &name()), Err(SnapshotFileError::Missing { .. })));
    assert!(matches!(load(directory.path(), &name()), Err(SnapshotFileError::Io { .. })));
    let bytes = encode(&held()).unwrap();
    let other: ListName = "other".parse().unwrap();
    assert!(matches!(decode(&bytes, &other), Err(SnapshotFileError::OtherList { .. })));
    let mut future = bytes.clone();
    future[8] = 2;
    assert!(matches!(decode(&future, &name()), Err(SnapshotFileError::UnknownFormat { found: 2 })));
    assert!(matches!(decode(b"", &name()), Err(SnapshotFileError::Damaged(_))));
    assert!(matches!(decode(b"rescind\n\x01\0\0\0", &name()), Err(SnapshotFileError::Damaged(_))));
    let missing = directory.path().join("no").join("where");
    assert!(matches!(save(&missing, &held()), Err(SnapshotFileError::Io { .. })));
}

/// A checksum that is right says nothing of what it covers.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = sha256(&content);
    content.extend(checksum);
    content
}

proptest! {
    /// Invariant 18: any damage is an error, never a part of a list, never a panic.
    #[test]
    fn a_flipped_bit_or_a_cut_is_an_error(at in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>()) {
        let mut bytes = encode(&held()).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        prop_assert!(decode(&bytes, &name()).is_err());
    }

    /// Invariant 18: also where the checksum was made to fit.
    #[test]
    fn a_forged_file_is_an_error_or_a_whole_list(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut content = encode(&held()).unwrap();
        content.truncate(content.len() - CHECKSUM_BYTES);
        let at = at.index(content.len());
        if cut { content.truncate(at) } else { content[at] = byte }
        if let Ok(view) = decode(&sealed(content), &name()) {
            prop_assert_eq!(entries(&view.denials[0]), entries(&held().list.unwrap()));
        }
    }
}
