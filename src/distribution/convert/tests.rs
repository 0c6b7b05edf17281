use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::revocation::row::tests::any_rows;
use crate::store::SealKey;

const FIELD: &str = "field";

fn version(revocations: u64) -> Version {
    Version { epoch: Epoch { counter: 5, id: 0xabcd }, revisions: Revisions { revocations, segments: 3 } }
}

fn sealed(revocations: u64) -> Sealed {
    let version = version(revocations);
    Sealed { version, seal: SealKey::new(&[9; 32]).seal(&version) }
}

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds).unwrap()
}

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 16])
}

fn never() -> Rows {
    Rows { always: Some(End::NEVER), ..Rows::default() }
}

fn rows() -> Rows {
    Rows { always: Some(End::at(at(8))), issued: Some(at(0)), session_started: Some(UnixSeconds::MAX) }
}

fn entries() -> v1::Entries {
    entries_to_wire([(key(1), never()), (key(2), rows())].into_iter())
}

fn delta() -> Delta {
    let mut difference = Difference::default();
    difference.put(key(1), Rows::default());
    difference.put(key(2), rows());
    Delta { from: version(7), to: version(9), difference, digest: Digest::from_u128(77) }
}

fn wire_delta() -> v1::Delta {
    delta_to_wire(&delta(), &sealed(7), &sealed(9), at(1_700_000_000))
}

fn wire_end() -> v1::SnapshotEnd {
    snapshot_end_to_wire(&sealed(7), Digest::from_u128(77), at(1_700_000_000))
}

fn proof() -> Proof {
    Proof {
        complete: sealed(9),
        last_change: sealed(7),
        digest: Digest::from_u128(77),
        config_generation: 4,
        horizon: at(1_700_000_000),
    }
}

fn check_entries(change: impl FnOnce(&mut v1::Entries), expected: &ConvertError) {
    let mut wire = entries();
    change(&mut wire);
    assert_eq!(entries_from_wire(FIELD, &wire).as_ref(), Err(expected));
}

fn check_delta(change: impl FnOnce(&mut v1::Delta), expected: &ConvertError) {
    let mut wire = wire_delta();
    change(&mut wire);
    assert_eq!(delta_from_wire(wire).as_ref(), Err(expected));
}

fn check_end(change: impl FnOnce(&mut v1::SnapshotEnd)) {
    let mut wire = wire_end();
    change(&mut wire);
    let expected = ConvertError::Checksum { field: "snapshot_end.checksum" };
    assert_eq!(snapshot_end_from_wire(wire), Err(expected));
}

fn check_proof(change: impl FnOnce(&mut v1::ListProof)) {
    let mut wire = proof_to_wire(1, &proof());
    change(&mut wire);
    assert_eq!(proof_from_wire(wire), Err(ConvertError::Checksum { field: "list_proof.checksum" }));
}

#[test]
fn a_delta_reads_as_it_was_written() {
    let read = ReadDelta { delta: delta(), to: sealed(9), horizon: at(1_700_000_000) };
    assert_eq!(delta_from_wire(wire_delta()), Ok(read));
}

#[test]
fn columns_of_different_lengths_are_refused() {
    let length = |found| ConvertError::Length { field: FIELD, found, expected: 2 };
    check_entries(|wire| wire.always.truncate(1), &length(1));
    check_entries(|wire| wire.issued.push(1), &length(3));
    check_entries(|wire| wire.session_started.clear(), &length(0));
    let bytes = ConvertError::Length { field: FIELD, found: 31, expected: 16 };
    check_entries(|wire| wire.keys.truncate(31), &bytes);
}

#[test]
fn keys_that_are_not_strictly_ascending_are_refused() {
    let order = ConvertError::Order { field: FIELD, index: 0 };
    check_entries(|wire| wire.keys = Bytes::from(vec![1; 32]), &order);
    let descending = [key(2).to_bytes(), key(1).to_bytes()].concat();
    check_entries(|wire| wire.keys = descending.into(), &order);
}

#[test]
fn a_row_outside_of_its_range_and_an_entry_without_rows_are_refused() {
    let value = ConvertError::Value { field: FIELD };
    let too_late = UnixSeconds::MAX.get() + 2;
    check_entries(|wire| wire.always[0] = u64::MAX - 1, &value);
    check_entries(|wire| wire.always[0] = too_late, &value);
    check_entries(|wire| wire.issued[1] = u64::MAX, &value);
    check_entries(|wire| wire.session_started[1] = too_late, &value);
    check_entries(|wire| wire.always[0] = 0, &value);
}

#[test]
fn a_delta_that_lacks_something_or_says_two_things_is_refused() {
    check_delta(|wire| wire.from = None, &ConvertError::Missing { field: "delta.from" });
    check_delta(|wire| wire.to = None, &ConvertError::Missing { field: "delta.to" });
    let length = |field, found| ConvertError::Length { field, found, expected: 16 };
    check_delta(|wire| wire.digest.clear(), &length("delta.digest", 0));
    check_delta(
        |wire| wire.remove.truncate(15),
        &ConvertError::Length { field: "delta.remove", found: 15, expected: 0 },
    );
    check_delta(
        |wire| wire.remove = vec![1; 32].into(),
        &ConvertError::Order { field: "delta.remove", index: 0 },
    );
    check_delta(
        |wire| wire.set.as_mut().unwrap().always[0] = u64::MAX - 1,
        &ConvertError::Value { field: "delta.set" },
    );
    let both = key(2).to_bytes().to_vec().into();
    check_delta(|wire| wire.remove = both, &ConvertError::Value { field: "delta.remove" });
    check_delta(|wire| wire.horizon = u64::MAX, &ConvertError::Value { field: "horizon" });
}

/// Invariant 14: versions, horizons and generations are not among the rows that a digest covers.
#[test]
fn what_was_damaged_beside_the_rows_is_found_by_the_checksum() {
    assert_eq!(snapshot_end_from_wire(wire_end()), Ok((sealed(7), Digest::from_u128(77), at(1_700_000_000))));
    assert_eq!(proof_from_wire(proof_to_wire(1, &proof())), Ok(proof()));
    let changes: [fn(&mut v1::Version); 5] = [
        |version| version.epoch += 1,
        |version| version.epoch_id = vec![7; 16].into(),
        |version| version.revocations += 1,
        |version| version.segments += 1,
        |version| version.mac = vec![7; 16].into(),
    ];
    for change in changes {
        let changed = |version: &mut Option<v1::Version>| change(version.as_mut().unwrap());
        check_delta(|wire| changed(&mut wire.from), &ConvertError::Checksum { field: "delta.checksum" });
        check_delta(|wire| changed(&mut wire.to), &ConvertError::Checksum { field: "delta.checksum" });
        check_end(|wire| changed(&mut wire.version));
        check_proof(|wire| changed(&mut wire.version));
        check_proof(|wire| changed(&mut wire.last_change));
    }
    check_delta(|wire| wire.horizon += 1, &ConvertError::Checksum { field: "delta.checksum" });
    check_delta(|wire| wire.checksum.clear(), &ConvertError::Checksum { field: "delta.checksum" });
    check_end(|wire| wire.horizon += 1);
    check_end(|wire| wire.checksum.clear());
    check_proof(|wire| wire.horizon += 1);
    check_proof(|wire| wire.config_generation += 1);
    check_proof(|wire| wire.checksum.clear());
}

/// Failure 26: absence never removes.
#[test]
fn a_delta_that_names_nothing_changes_nothing() {
    let wire = v1::Delta { set: None, remove: Bytes::new(), ..wire_delta() };
    assert!(delta_from_wire(wire).unwrap().delta.difference.is_empty());
}

#[test]
fn a_version_with_a_field_of_another_length_is_refused() {
    let check = |change: fn(&mut v1::Version), found| {
        let mut wire = version_to_wire(&sealed(1));
        change(&mut wire);
        let expected = ConvertError::Length { field: FIELD, found, expected: 16 };
        assert_eq!(version_from_wire(FIELD, Some(wire)), Err(expected));
    };
    check(|wire| wire.epoch_id.truncate(15), 15);
    check(|wire| wire.mac.clear(), 0);
    check(|wire| wire.mac = Bytes::from(vec![0; 17]), 17);
    assert_eq!(version_from_wire(FIELD, None), Err(ConvertError::Missing { field: FIELD }));
}

/// Says what stands on the wire, in full: whoever changes it breaks running sidecars.
#[test]
fn the_bytes_of_what_a_controller_sends_are_the_golden_ones() {
    use v1::publisher_message::Message;
    let hex = |message| hex(&v1::PublisherMessage { message: Some(message) }.encode_to_vec());
    let config = v1::Config {
        r#ref: 1,
        generation: 4,
        document: Bytes::from_static(b"{}"),
        document_sha256: Bytes::from(vec![0xd0; 32]),
        hash_key: Bytes::from(vec![0x11; 16]),
        key_scheme: 1,
    };
    let not_admitted = v1::NotAdmitted {
        r#ref: 1,
        reason: v1::NotAdmittedReason::NotAllowed.into(),
        detail: "not you".to_owned(),
    };
    let header = v1::SnapshotHeader {
        r#ref: 1,
        required_features: vec!["relay".to_owned()],
        key_scheme: 1,
        entries: 2,
        filter_bytes: 300,
    };
    let end = v1::SnapshotEnd { r#ref: 1, ..wire_end() };
    let pong = v1::Pong { nonce: Bytes::from(vec![0x22; 16]), proofs: vec![proof_to_wire(1, &proof())] };
    let filter = v1::SnapshotFilter { r#ref: 1, chunk: Bytes::from_static(b"\x01\x02") };
    let lines = [
        format!("Config {}", hex(Message::Config(config))),
        format!("SnapshotHeader {}", hex(Message::SnapshotHeader(header))),
        format!("SnapshotFilter {}", hex(Message::SnapshotFilter(filter))),
        format!(
            "SnapshotEntries {}",
            hex(Message::SnapshotEntries(v1::SnapshotEntries { r#ref: 1, entries: Some(entries()) }))
        ),
        format!("SnapshotEnd {}", hex(Message::SnapshotEnd(end))),
        format!("Delta {}", hex(Message::Delta(v1::Delta { r#ref: 1, ..wire_delta() }))),
        format!("Pong {}", hex(Message::Pong(pong))),
        format!("Behind {}", hex(Message::Behind(v1::Behind { r#ref: 1 }))),
        format!("Draining {}", hex(Message::Draining(v1::Draining { within_milliseconds: 3000 }))),
        format!("NotAdmitted {}", hex(Message::NotAdmitted(not_admitted))),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_bytes_of_what_a_sidecar_sends_are_the_golden_ones() {
    use v1::subscriber_message::Message;
    let hex = |message| hex(&v1::SubscriberMessage { message: Some(message) }.encode_to_vec());
    let version = || Some(version_to_wire(&sealed(7)));
    let hello = v1::Hello {
        features: vec!["relay".to_owned()],
        identity: "shop-1#ab".to_owned(),
        highest_version: version(),
    };
    let subscribe = v1::Subscribe {
        r#ref: 1,
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
        mode: v1::Mode::Exact.into(),
        version: version(),
        digest: digest_to_wire(Digest::from_u128(77)),
    };
    let ack = v1::Ack { r#ref: 1, version: version(), config_generation: 7 };
    let nack = v1::Nack {
        r#ref: 1,
        version: version(),
        reason: v1::NackReason::Config.into(),
        detail: "why".to_owned(),
    };
    let ping = v1::Ping { nonce: Bytes::from(vec![0x22; 16]), acknowledged: vec![ack.clone()] };
    let lines = [
        format!("Hello {}", hex(Message::Hello(hello))),
        format!("Subscribe {}", hex(Message::Subscribe(subscribe))),
        format!("Ack {}", hex(Message::Ack(ack))),
        format!("Nack {}", hex(Message::Nack(nack))),
        format!("Ping {}", hex(Message::Ping(ping))),
        format!("Bye {}", hex(Message::Bye(v1::Bye { r#ref: 1 }))),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn any_difference() -> impl Strategy<Value = Difference> {
    proptest::collection::vec((any::<[u8; 16]>(), any_rows()), 0..20).prop_map(|changes| {
        let mut difference = Difference::default();
        changes.iter().for_each(|(key, rows)| difference.put(Key::from_bytes(*key), *rows));
        difference
    })
}

fn any_sealed() -> impl Strategy<Value = Sealed> {
    (any::<(u64, u128, u64, u64)>(), any::<[u8; 16]>()).prop_map(
        |((counter, id, revocations, segments), seal)| Sealed {
            version: Version { epoch: Epoch { counter, id }, revisions: Revisions { revocations, segments } },
            seal,
        },
    )
}

proptest! {
    #[test]
    fn versions_entries_and_deltas_read_back(
        from in any_sealed(),
        to in any_sealed(),
        difference in any_difference(),
        digest in any::<u128>(),
        horizon in 0..=UnixSeconds::MAX.get(),
    ) {
        let digest = Digest::from_u128(digest);
        let delta = Delta { from: from.version, to: to.version, difference, digest };
        let wire = delta_to_wire(&delta, &from, &to, at(horizon));
        let wire = v1::Delta::decode(&wire.encode_to_vec()[..]).unwrap();
        prop_assert_eq!(version_from_wire(FIELD, wire.from.clone()), Ok(from));
        prop_assert_eq!(delta_from_wire(wire), Ok(ReadDelta { delta: delta.clone(), to, horizon: at(horizon) }));
        let live: Vec<(Key, Rows)> = delta.difference.iter().filter_map(|(key, rows)| Some((key, rows?))).collect();
        let entries = entries_to_wire(live.iter().copied());
        prop_assert_eq!(entries_from_wire(FIELD, &entries), Ok(live));
    }

    /// Invariant 18: no panic, whatever comes.
    #[test]
    fn columns_of_anything_are_read_or_refused(
        keys in proptest::collection::vec(any::<u8>(), 0..80),
        columns in any::<[Vec<u64>; 3]>(),
    ) {
        let [always, issued, session_started] = columns;
        let wire = v1::Entries { keys: keys.into(), always, issued, session_started };
        if let Ok(read) = entries_from_wire(FIELD, &wire) {
            prop_assert_eq!(entries_to_wire(read.into_iter()), wire);
        }
    }
}
