#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

#[test]
fn a_bundle_is_each_entry_after_its_length() {
    let mut bundle = Vec::new();
    append_entry(&mut bundle, b"one").unwrap();
    append_entry(&mut bundle, b"").unwrap();
    assert_eq!(bundle, b"\0\x03one\0\0");
    assert_eq!(parse_entries(&bundle, 2).unwrap(), [b"one".as_slice(), b""]);
    assert_eq!(split_entry(&bundle).unwrap(), (b"one".as_slice(), b"\0\0".as_slice()));
}

#[test]
fn entries_beyond_two_bytes_of_length_are_refused() {
    let mut bundle = Vec::new();
    append_entry(&mut bundle, &vec![1; ENTRY_BYTES_MAX]).unwrap();
    assert_eq!(parse_entries(&bundle, 1).unwrap()[0].len(), ENTRY_BYTES_MAX);
    let before = bundle.clone();
    let error = append_entry(&mut bundle, &vec![1; ENTRY_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(error, EntryTooLong { found: 65_536 });
    assert_eq!(bundle, before);
}

#[test]
fn cut_and_overlong_bundles_are_refused() {
    let bundle = b"\0\x03one\0\x03two";
    assert_eq!(parse_entries(bundle, 3), Err(MalformedBundle::Truncated { left: 0 }));
    assert_eq!(parse_entries(bundle, 1), Err(MalformedBundle::Trailing { left: 5 }));
    assert_eq!(parse_entries(&bundle[..9], 2), Err(MalformedBundle::Truncated { left: 4 }));
    assert_eq!(parse_entries(&bundle[..1], 1), Err(MalformedBundle::Truncated { left: 1 }));
}

proptest! {
    #[test]
    fn entries_read_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40)) {
        let mut bundle = Vec::new();
        for entry in &entries {
            append_entry(&mut bundle, entry).unwrap();
        }
        let width = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(parse_entries(&bundle, width).unwrap(), entries);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), width in any::<u16>()) {
        let _ = parse_entries(&bytes, width);
    }
}
