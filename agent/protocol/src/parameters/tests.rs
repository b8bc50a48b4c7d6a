#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

fn request(pairs: &[(&str, &'static str)]) -> Result<IntegrityRequest, ParameterError> {
    let pairs = pairs.to_vec();
    IntegrityRequest::parse(move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
}

#[test]
fn a_full_request_is_read() {
    let read =
        request(&[("nonce", "abcDEF1"), ("mask", "0x408000"), ("partial", "0"), ("ima_ml_entry", "12")]).unwrap();
    assert_eq!((read.nonce.as_bytes(), read.mask, read.with_public_key), (&b"abcDEF1"[..], 0x40_8000, true));
    assert_eq!(read.ima_entry, 12);
}

#[test]
fn a_mask_needs_no_prefix_and_an_odd_entry_number_is_zero() {
    let read = request(&[("nonce", "a"), ("mask", "ff"), ("partial", "1"), ("ima_ml_entry", "-1")]).unwrap();
    assert_eq!((read.mask, read.with_public_key, read.ima_entry), (0xff, false, 0));
}

#[test]
fn each_missing_parameter_is_named() {
    assert_eq!(request(&[("mask", "0"), ("partial", "0")]), Err(ParameterError::Missing { name: "nonce" }));
    assert_eq!(request(&[("nonce", "a"), ("partial", "0")]), Err(ParameterError::Missing { name: "mask" }));
    assert_eq!(request(&[("nonce", "a"), ("mask", "0")]), Err(ParameterError::Missing { name: "partial" }));
}

#[test]
fn nonces_are_short_and_alphanumeric() {
    let full = "a".repeat(64);
    assert_eq!(QuoteNonce::parse(Some(&full)).unwrap().as_bytes().len(), 64);
    let long = "a".repeat(65);
    assert!(matches!(QuoteNonce::parse(Some(&long)), Err(ParameterError::Length { found: 65, .. })));
    for bad in ["", "a b", "a-b", "a\n", "é", "a;b"] {
        assert_eq!(QuoteNonce::parse(Some(bad)), Err(ParameterError::Alphanumeric { name: "nonce" }), "{bad:?}");
    }
}

#[test]
fn masks_beyond_pcr_23_and_other_texts_are_refused() {
    for bad in ["0x1000000", "ffffffff", "xyz", "0x"] {
        let refused = IntegrityRequest::parse(|name| match name {
            "mask" => Some(bad),
            _ => Some("0"),
        });
        assert_eq!(refused, Err(ParameterError::Mask), "{bad:?}");
    }
    assert!(request(&[("nonce", "a"), ("mask", "0x00000000001"), ("partial", "0")]).is_err());
    assert_eq!(request(&[("nonce", "a"), ("mask", "1"), ("partial", "2")]), Err(ParameterError::Partial));
}
