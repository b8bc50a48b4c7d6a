#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn text_and_bytes_round_trip() {
    let digest = Digest([0xab; 32]);
    assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    assert_eq!(serde_cbor::from_slice::<Digest>(&serde_cbor::to_vec(&digest).unwrap()).unwrap(), digest);
    assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
}

#[test]
fn cbor_form_is_a_byte_string() {
    let bytes = serde_cbor::to_vec(&Digest::ZERO).unwrap();
    assert_eq!(bytes.get(..2), Some([0x58, 0x20].as_slice()));
    assert_eq!(bytes.len(), 34);
}

#[test]
fn other_lengths_and_letters_are_refused() {
    assert_eq!("00".parse::<Digest>(), Err(DigestError::Length { found: 1 }));
    assert_eq!("zz".repeat(32).parse::<Digest>(), Err(DigestError::Hex));
    assert!(serde_cbor::from_slice::<Digest>(&[0x41, 0]).is_err());
}
