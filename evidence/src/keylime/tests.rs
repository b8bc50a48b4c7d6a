#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_softtpm::{Hash, KeyKind, SoftTpm};
use proptest::prelude::*;

use super::*;
use crate::testing;

const HASHES: [Hash; 4] = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

fn blob(mask: u32) -> Vec<u8> {
    let quote = SoftTpm::new(KeyKind::P256, 0).quote(b"nonce", Hash::Sha256, mask);
    fixtures_softtpm::encode_pcr_blob(quote.bank, &quote.values)
}

#[test]
fn an_honest_string_is_read_and_written_back() {
    for mask in [0x0001_0000, 0xff, 0x1ff, 0x00ff_ffff] {
        let mut tpm = SoftTpm::new(KeyKind::RSA_2048, 0);
        let soft = tpm.quote(b"nonce", Hash::Sha256, mask);
        let text = soft.keylime_string();
        let quote = KeylimeQuote::parse(&text).unwrap();
        assert_eq!((&quote.attest, &quote.signature), (&soft.attest, &soft.signature));
        assert_eq!(quote.values, testing::values(&soft));
        assert_eq!(quote.encode(), text);
        assert_eq!(quote.quote().unwrap().extra_data(), b"nonce");
    }
}

#[test]
fn the_blob_of_an_identity_quote_has_668_bytes() {
    assert_eq!(blob(1 << 16).len(), 668);
    assert_eq!(blob(0x00ff_ffff).len(), 136 + 3 * 532);
}

#[test]
fn strings_of_another_form_are_malformed() {
    let text = SoftTpm::new(KeyKind::P256, 0).quote(b"nonce", Hash::Sha256, 1).keylime_string();
    let parse = |text: &str| KeylimeQuote::parse(text).unwrap_err();
    assert!(matches!(parse(&text[1..]), MalformedKeylimeQuote::Prefix { .. }));
    assert!(matches!(parse(""), MalformedKeylimeQuote::Prefix { found: None }));
    assert!(matches!(parse(&format!("d{}", &text[1..])), MalformedKeylimeQuote::Prefix { found: Some('d') }));
    assert!(matches!(parse(&format!("{text}:")), MalformedKeylimeQuote::Parts { found: 4 }));
    assert!(matches!(parse(text.rsplit_once(':').unwrap().0), MalformedKeylimeQuote::Parts { found: 2 }));
    assert!(matches!(parse(&text.replace(':', ": ")), MalformedKeylimeQuote::Base64 { part: "signature", .. }));
    assert!(matches!(parse(&format!("r!{}", &text[1..])), MalformedKeylimeQuote::Base64 { part: "attest", .. }));
    assert!(matches!(parse(&format!("{text}\n")), MalformedKeylimeQuote::Base64 { part: "pcrs", .. }));
    assert!(matches!(
        parse(&format!("{text}AAAA")),
        MalformedKeylimeQuote::PcrBlob(_) | MalformedKeylimeQuote::Base64 { .. }
    ));
    assert!(matches!(parse(&"r".repeat(40_000)), MalformedKeylimeQuote::TooLong { found: 40_000, .. }));
}

#[test]
fn every_truncation_and_every_extension_of_a_blob_is_malformed() {
    let blob = blob(0x1ff);
    assert!(parse_pcr_blob(&blob).is_ok());
    for length in 0..blob.len() {
        assert!(parse_pcr_blob(&blob[..length]).is_err(), "cut to {length}");
    }
    assert!(parse_pcr_blob(&[&blob[..], &[0]].concat()).is_err());
}

#[test]
fn a_changed_count_size_or_selection_is_malformed() {
    let changed = |at: usize, to: u8| {
        let mut blob = blob(0x1ff);
        blob[at] = to;
        parse_pcr_blob(&blob)
    };
    let value = |at, to, wanted: &str| {
        let parsed = changed(at, to);
        let named = |found: &str| found == wanted;
        assert!(
            matches!(&parsed, Err(MalformedPcrBlob::Structure(MalformedStructure::Value { field, .. })) if named(field)),
            "{wanted}: {parsed:?}"
        );
    };
    value(0, 0, "selection count");
    value(0, 2, "selection count");
    value(4, 0x01, "bank");
    value(6, 4, "sizeofSelect");
    value(10, 1, "padding of the selection");
    value(12, 0x0b, "unused selections");
    value(136, 9, "digest count");
    value(136, 0, "digest count");
    assert!(matches!(changed(7, 0xfe), Err(MalformedPcrBlob::DigestCount { expected: 8, found: 9 })));
    assert!(matches!(changed(135, 0xff), Err(MalformedPcrBlob::Structure(MalformedStructure::Count { max: 24, .. }))));
    assert!(matches!(changed(140, 31), Err(MalformedPcrBlob::Structure(MalformedStructure::Size { .. }))));
    // A digest of another bank's size.
    assert!(matches!(changed(4, 0x0c), Err(MalformedPcrBlob::Structure(MalformedStructure::Size { .. }))));
    value(136 + 4 + 2 + 32, 1, "bytes behind a digest");
    value(136 + 532 + 4 + 66, 1, "unused digests");
}

#[test]
fn lists_that_are_not_full_are_read_in_order() {
    let whole = blob(0x3);
    let values = parse_pcr_blob(&whole).unwrap();
    let slot = |number: usize| &whole[140 + number * 66..140 + (number + 1) * 66];
    let list = |number| [&[1, 0, 0, 0], slot(number), &[0; 7 * 66][..]].concat();
    let split = [&whole[..132], &[2, 0, 0, 0], &list(0), &list(1)].concat();
    assert_eq!(parse_pcr_blob(&split).unwrap(), values);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(mask in 0_u32..1 << 24, bank in 0_usize..4, seed in any::<u8>(),
        attest in prop::collection::vec(any::<u8>(), 0..200), signature in prop::collection::vec(any::<u8>(), 0..300)) {
        let bank = HASHES[bank];
        let pairs: Vec<(u8, Vec<u8>)> =
            (0..24).filter(|index| mask & 1 << index != 0).map(|index| (index, bank.digest(&[seed, index]))).collect();
        let quote = KeylimeQuote { attest, signature, values: testing::labelled(bank, &pairs) };
        prop_assert_eq!(encode_pcr_blob(&quote.values), fixtures_softtpm::encode_pcr_blob(bank, &pairs));
        prop_assert_eq!(KeylimeQuote::parse(&quote.encode()).unwrap(), quote);
    }

    #[test]
    fn any_flipped_bit_of_a_blob_is_malformed_or_changes_a_value(bit in 0_usize..(136 + 532) * 8) {
        let mut blob = blob(0x0001_0407);
        let before = parse_pcr_blob(&blob).unwrap();
        blob[bit / 8] ^= 1 << (bit % 8);
        if let Ok(after) = parse_pcr_blob(&blob) {
            prop_assert_ne!(after, before);
        }
    }

    #[test]
    fn random_text_never_panics(text in "r?[A-Za-z0-9+/=:]{0,200}") {
        drop(KeylimeQuote::parse(&text));
    }

    #[test]
    fn random_blobs_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
        drop(parse_pcr_blob(&bytes));
    }
}
