#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use proptest::prelude::*;

use super::*;

fn ecdsa(r: &[u8], s: &[u8]) -> Vec<u8> {
    let size = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0x00, 0x18, 0x00, 0x0b], &size(r)[..], r, &size(s)[..], s].concat()
}

fn rsa(signature: &[u8]) -> Vec<u8> {
    [&[0x00, 0x14, 0x00, 0x0b], &u16::try_from(signature.len()).unwrap().to_be_bytes()[..], signature].concat()
}

#[test]
fn scheme_and_hash_are_read() {
    let signature = Signature::parse(&rsa(&[1; 256])).unwrap();
    let expected = SigningScheme { scheme: SignatureScheme::RsaSsa, hash: HashAlgorithm::Sha256 };
    assert_eq!((signature.scheme(), signature.hash()), (expected, HashAlgorithm::Sha256));
    assert_eq!(Signature::parse(&ecdsa(&[1; 48], &[1; 48])).unwrap().scheme().scheme, SignatureScheme::Ecdsa);
}

#[test]
fn unknown_schemes_and_hashes_are_malformed() {
    for id in [0x0010_u16, 0x0005, 0x001a, 0x001b, 0x0000] {
        let bytes = [&id.to_be_bytes()[..], &[0x00, 0x0b, 0x00, 0x01, 0x01]].concat();
        assert!(matches!(Signature::parse(&bytes), Err(MalformedStructure::Value { field: "sigAlg", .. })));
    }
    let bytes = [0x00, 0x14, 0x00, 0x10, 0x00, 0x01, 0x01];
    assert!(matches!(Signature::parse(&bytes), Err(MalformedStructure::Value { field: "hashAlg", .. })));
}

#[test]
fn empty_and_overlong_parts_are_malformed() {
    for (bytes, wanted) in [
        (rsa(&[]), "sig"),
        (rsa(&[1; 513]), "sig"),
        (ecdsa(&[], &[1]), "signatureR"),
        (ecdsa(&[1], &[]), "signatureS"),
        (ecdsa(&[1; 49], &[1]), "signatureR"),
        (ecdsa(&[1], &[1; 49]), "signatureS"),
    ] {
        let parsed = Signature::parse(&bytes);
        assert!(matches!(&parsed, Err(MalformedStructure::Size { field, .. }) if *field == wanted), "{parsed:?}");
    }
    let trailing = [rsa(&[1; 256]), vec![0]].concat();
    assert!(matches!(Signature::parse(&trailing), Err(MalformedStructure::TrailingBytes { count: 1, .. })));
}

proptest! {
    #[test]
    fn the_der_of_an_ecdsa_signature_is_openssls(
        r in prop::collection::vec(any::<u8>(), 1..=48),
        s in prop::collection::vec(any::<u8>(), 1..=48),
        zeros in 0_usize..4,
    ) {
        let r = [vec![0; zeros], r].concat();
        let r = r.get(..r.len().min(48)).unwrap();
        let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
        let theirs = EcdsaSig::from_private_components(number(r), number(&s)).unwrap().to_der().unwrap();
        prop_assert_eq!(Signature::parse(&ecdsa(r, &s)).unwrap().encoded, theirs);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(Signature::parse(&bytes));
    }
}
