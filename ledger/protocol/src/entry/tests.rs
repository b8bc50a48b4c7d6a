#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

fn example() -> Entry {
    Entry {
        kind: Kind::OperatorAction,
        agent: Some("node-1".parse().unwrap()),
        seq: 24,
        prev: Digest([7; 32]),
        recorded: UnixMillis(1_790_000_000_000),
        body: cbor::encode(&("stop", "admin", Option::<u8>::None, "")),
    }
}

#[test]
fn bytes_are_pinned() {
    let expected = concat!(
        "87",
        "01",
        "0b",
        "666e6f64652d31",
        "1818",
        "5820",
        "0707070707070707070707070707070707070707070707070707070707070707",
        "1b000001a0c4506c00",
        "84",
        "6473746f70",
        "6561646d696e",
        "f6",
        "60"
    );
    assert_eq!(hex::encode(example().encode().unwrap()), expected);
}

#[test]
fn what_is_encoded_decodes_to_itself() {
    let bytes = example().encode().unwrap();
    assert_eq!(Entry::decode(&bytes).unwrap(), example());
}

#[test]
fn a_second_cbor_library_reads_the_same() {
    let bytes = example().encode().unwrap();
    let value: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
    let items = value.as_array().unwrap();
    assert_eq!(items.len(), 7);
    assert_eq!(items[2].as_text(), Some("node-1"));
    let mut again = Vec::new();
    ciborium::into_writer(&value, &mut again).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn an_unknown_kind_is_kept() {
    let entry = Entry { kind: Kind::Unknown(99), ..example() };
    assert_eq!(Entry::decode(&entry.encode().unwrap()).unwrap().kind, Kind::Unknown(99));
}

#[test]
fn another_version_is_refused() {
    let mut bytes = example().encode().unwrap();
    bytes[1] = 2;
    assert!(matches!(Entry::decode(&bytes), Err(EntryError::Version { found: 2 })));
}

#[test]
fn trailing_bytes_and_longer_forms_are_refused() {
    let bytes = example().encode().unwrap();
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert!(Entry::decode(&trailing).is_err());
    // 24 as a two-byte integer says the same but is another encoding.
    let long: Vec<u8> = [&bytes[..10], &[0x19, 0, 0x18], &bytes[12..]].concat();
    assert!(Entry::decode(&long).is_err());
}

#[test]
fn an_entry_longer_than_a_tile_can_frame_is_refused() {
    let body = cbor::encode(&serde_bytes::Bytes::new(&[0; ENTRY_BYTES_MAX]));
    let entry = Entry { body, ..example() };
    assert!(matches!(entry.encode(), Err(EntryError::Length { .. })));
}

#[test]
fn kinds_and_numbers_are_one_to_one() {
    for number in 0..20 {
        assert_eq!(Kind::from(number).number(), number);
    }
}

proptest! {
    #[test]
    fn any_changed_bit_changes_the_entry_or_is_refused(bit in 0usize..8 * 70) {
        let mut bytes = example().encode().unwrap();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_ne!(&entry, &example());
            prop_assert_eq!(entry.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode().unwrap(), bytes);
        }
    }
}

#[test]
fn an_entry_read_where_it_lies_is_the_same() {
    let entry = Entry {
        kind: Kind::Quote,
        agent: Some("host-1".parse().unwrap()),
        seq: 7,
        prev: Digest([3; 32]),
        recorded: UnixMillis(5),
        body: vec![0x81, 0x01],
    };
    let bytes = entry.encode().unwrap();
    let borrowed = EntryRef::decode(&bytes).unwrap();
    assert_eq!(borrowed, EntryRef::from(&entry));
    assert_eq!(EntryRef::decode_head(&bytes).unwrap(), borrowed);
}

#[test]
fn a_body_that_is_not_one_item_is_refused_unless_it_was_checked_before() {
    let entry = Entry {
        kind: Kind::Quote,
        agent: None,
        seq: 0,
        prev: Digest::ZERO,
        recorded: UnixMillis(0),
        body: vec![0x81, 0x01],
    };
    let bytes = [entry.encode().unwrap(), vec![0x00]].concat();
    assert!(matches!(EntryRef::decode(&bytes), Err(EntryError::Cbor(CborError::Trailing { .. }))));
    assert_eq!(EntryRef::decode_head(&bytes).unwrap().body, [0x81, 0x01, 0x00]);
}
