#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_softtpm::{Hash, KeyKind, Scheme, SoftAk, SoftEk, attribute, shared};
use proptest::prelude::*;

use super::*;
use crate::algorithm::SignatureScheme;

const KINDS: [(KeyKind, &str); 5] = [
    (KeyKind::RSA_2048, "rsa2048"),
    (KeyKind::Rsa(3072), "rsa3072"),
    (KeyKind::Rsa(4096), "rsa4096"),
    (KeyKind::P256, "ecc256"),
    (KeyKind::P384, "ecc384"),
];

fn soft_ak(kind: KeyKind) -> SoftAk {
    SoftAk::new(shared(kind, 1), Hash::Sha256)
}

fn parse(bytes: &[u8]) -> Public {
    Public::from_tpm2b(bytes).unwrap()
}

#[test]
fn keys_of_every_kind_keep_bytes_name_and_key() {
    for (kind, name) in KINDS {
        let soft = soft_ak(kind);
        let public = parse(&soft.tpm2b_public());
        assert_eq!(public.enc_alg_name(), name);
        assert_eq!(public.tpmt(), soft.tpmt_public());
        assert_eq!(public.to_tpm2b(), soft.tpm2b_public());
        assert_eq!(public.name().as_bytes(), soft.name());
        assert!(public.key().public_eq(&soft.key));
        assert_eq!(public.public_key_pem().unwrap().as_bytes(), soft.key.public_key_to_pem().unwrap());
        assert_eq!(Public::from_tpmt(&soft.tpmt_public()).unwrap(), public);
    }
}

#[test]
fn a_name_follows_the_areas_own_algorithm() {
    let soft = SoftAk { name_hash: Hash::Sha384, ..soft_ak(KeyKind::P384) };
    let public = parse(&soft.tpm2b_public());
    assert_eq!(public.name().as_bytes(), soft.name());
    assert_eq!(public.name().as_bytes().len(), 50);
    assert_eq!(TpmName::parse(&soft.name()).unwrap(), *public.name());
    assert!(TpmName::parse(&soft.name()[..49]).is_err());
}

#[test]
fn every_truncation_and_every_extension_is_malformed() {
    for (kind, _) in KINDS {
        let bytes = soft_ak(kind).tpm2b_public();
        for length in 0..bytes.len() {
            assert!(Public::from_tpm2b(&bytes[..length]).is_err(), "{kind:?} cut to {length}");
        }
        assert!(Public::from_tpm2b(&[&bytes[..], &[0]].concat()).is_err());
        let tpmt = [&bytes[2..], &[0]].concat();
        assert!(matches!(
            Public::from_tpmt(&tpmt),
            Err(MalformedPublic::Structure(MalformedStructure::TrailingBytes { .. }))
        ));
    }
}

#[test]
fn a_reserved_attribute_is_malformed() {
    for bit in [0, 3, 12, 15, 20, 31] {
        let soft = soft_ak(KeyKind::P256);
        let attributes = soft.attributes | 1 << bit;
        let parsed = Public::from_tpm2b(&soft.with_attributes(attributes).tpm2b_public());
        let named = |field: &str| field == "objectAttributes";
        assert!(
            matches!(&parsed, Err(MalformedPublic::Structure(MalformedStructure::Value { field, .. })) if named(field)),
            "bit {bit}: {parsed:?}"
        );
    }
}

#[test]
fn a_modulus_of_another_size_or_an_even_one_is_malformed() {
    let bytes = soft_ak(KeyKind::RSA_2048).tpm2b_public();
    let modulus = bytes.len() - 256;
    let mut even = bytes.clone();
    even[bytes.len() - 1] &= 0xfe;
    assert!(matches!(Public::from_tpm2b(&even), Err(MalformedPublic::Modulus { expected_bits: 2048, .. })));
    let mut short = bytes.clone();
    short[modulus] &= 0x7f;
    assert!(matches!(Public::from_tpm2b(&short), Err(MalformedPublic::Modulus { .. })));
    // keyBits 3072 over a 2048-bit modulus.
    let mut claimed = bytes;
    claimed[modulus - 8..modulus - 6].copy_from_slice(&3072_u16.to_be_bytes());
    assert!(matches!(
        Public::from_tpm2b(&claimed),
        Err(MalformedPublic::Modulus { expected_bits: 3072, found_bits: 2048 })
    ));
}

#[test]
fn a_small_or_even_exponent_is_malformed() {
    for exponent in [1_u32, 3, 65_536, 65_538] {
        let mut bytes = soft_ak(KeyKind::RSA_2048).tpm2b_public();
        let at = bytes.len() - 256 - 6;
        bytes[at..at + 4].copy_from_slice(&exponent.to_be_bytes());
        assert!(matches!(
            Public::from_tpm2b(&bytes),
            Err(MalformedPublic::Structure(MalformedStructure::Value { field: "exponent", .. }))
        ));
    }
}

#[test]
fn a_point_off_the_curve_is_malformed() {
    for kind in [KeyKind::P256, KeyKind::P384] {
        let mut bytes = soft_ak(kind).tpm2b_public();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(matches!(Public::from_tpm2b(&bytes), Err(MalformedPublic::Point { .. })));
    }
}

#[test]
fn an_honest_ak_is_accepted_with_each_scheme() {
    for (kind, _) in KINDS {
        let ak = Ak::new(parse(&soft_ak(kind).tpm2b_public())).unwrap();
        let ecc = matches!(kind, KeyKind::Ecc(_));
        let scheme = if ecc { SignatureScheme::Ecdsa } else { SignatureScheme::RsaSsa };
        assert_eq!(ak.scheme(), SigningScheme { scheme, hash: HashAlgorithm::Sha256 });
        assert_eq!(ak.name().as_bytes(), soft_ak(kind).name());
    }
    let pss = soft_ak(KeyKind::RSA_2048).with_scheme(Scheme::RsaPss);
    assert_eq!(Ak::new(parse(&pss.tpm2b_public())).unwrap().scheme().scheme, SignatureScheme::RsaPss);
}

#[test]
fn an_ak_lacking_each_attribute_in_turn_is_rejected_for_it() {
    let cases = [
        (attribute::FIXED_TPM, AkRejected::NotFixedTpm),
        (attribute::FIXED_PARENT, AkRejected::NotFixedParent),
        (attribute::SENSITIVE_DATA_ORIGIN, AkRejected::NotSensitiveDataOrigin),
        (attribute::RESTRICTED, AkRejected::NotRestricted),
        (attribute::SIGN, AkRejected::NotSigning),
        // Not a lack but an excess: the bit is flipped either way.
        (attribute::DECRYPT, AkRejected::Decrypting),
    ];
    for (kind, _) in KINDS {
        for (bit, reason) in cases {
            let soft = soft_ak(kind);
            let attributes = soft.attributes ^ bit;
            let public = parse(&soft.with_attributes(attributes).tpm2b_public());
            assert_eq!(Ak::try_from(public).unwrap_err(), reason);
        }
    }
}

#[test]
fn an_ak_with_an_unfit_scheme_or_a_weak_hash_is_rejected() {
    let reject = |soft: &SoftAk| Ak::new(parse(&soft.tpm2b_public())).unwrap_err();
    let ecdsa = reject(&soft_ak(KeyKind::RSA_2048).with_scheme(Scheme::Ecdsa));
    assert!(matches!(ecdsa, AkRejected::Scheme { found: KeyScheme::Signing(_) }));
    let rsassa = reject(&soft_ak(KeyKind::P256).with_scheme(Scheme::RsaSsa));
    assert!(matches!(rsassa, AkRejected::Scheme { .. }));
    let sha1 = reject(&SoftAk::new(shared(KeyKind::P256, 1), Hash::Sha1));
    assert_eq!(sha1, AkRejected::WeakHash { found: HashAlgorithm::Sha1 });
    let name = reject(&SoftAk { name_hash: Hash::Sha1, ..soft_ak(KeyKind::P256) });
    assert_eq!(name, AkRejected::WeakName { found: HashAlgorithm::Sha1 });

    // An AK's attributes over an EK's parameters: no scheme at all.
    let none = SoftEk { attributes: fixtures_softtpm::AK_ATTRIBUTES, ..SoftEk::new(shared(KeyKind::P256, 0)) };
    let rejected = Ak::new(parse(&none.tpm2b_public())).unwrap_err();
    assert_eq!(rejected, AkRejected::Scheme { found: KeyScheme::NotSigning });
}

#[test]
fn an_honest_ek_is_accepted() {
    for (kind, aes_bits) in [(KeyKind::RSA_2048, 128), (KeyKind::P256, 128), (KeyKind::P384, 256)] {
        let soft = SoftEk::new(shared(kind, 0));
        let ek = Ek::new(parse(&soft.tpm2b_public())).unwrap();
        assert_eq!(ek.symmetric_key_bits(), aes_bits);
        assert_eq!(ek.name().as_bytes(), soft.name());
    }
}

#[test]
fn an_ek_lacking_each_attribute_in_turn_is_rejected_for_it() {
    let cases = [
        (attribute::FIXED_TPM, EkRejected::NotFixedTpm),
        (attribute::FIXED_PARENT, EkRejected::NotFixedParent),
        (attribute::SENSITIVE_DATA_ORIGIN, EkRejected::NotSensitiveDataOrigin),
        (attribute::RESTRICTED, EkRejected::NotRestricted),
        (attribute::DECRYPT, EkRejected::NotDecrypting),
        (attribute::SIGN, EkRejected::Signing),
    ];
    for (bit, reason) in cases {
        let soft = SoftEk::new(shared(KeyKind::P256, 0));
        let changed = SoftEk { attributes: soft.attributes ^ bit, ..soft };
        assert_eq!(Ek::try_from(parse(&changed.tpm2b_public())).unwrap_err(), reason);
    }
}

#[test]
fn an_ek_with_another_cipher_or_a_weak_name_is_rejected() {
    let soft = || SoftEk::new(shared(KeyKind::P256, 0));
    let aes192 = Ek::new(parse(&SoftEk { aes_bits: 192, ..soft() }.tpm2b_public())).unwrap_err();
    assert_eq!(aes192, EkRejected::Symmetric { found: Symmetric::AesCfb { key_bits: 192 } });
    let sha1 = Ek::new(parse(&SoftEk { name_hash: Hash::Sha1, ..soft() }.tpm2b_public())).unwrap_err();
    assert_eq!(sha1, EkRejected::WeakName { found: HashAlgorithm::Sha1 });
    let ak = SoftAk { attributes: fixtures_softtpm::EK_ATTRIBUTES, ..soft_ak(KeyKind::P256) };
    let none = Ek::new(parse(&ak.tpm2b_public())).unwrap_err();
    assert_eq!(none, EkRejected::Symmetric { found: Symmetric::Null });
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(Public::from_tpm2b(&bytes));
        drop(Public::from_tpmt(&bytes));
    }

    #[test]
    fn any_changed_byte_changes_the_name_or_is_malformed(at in 0_usize..120, change in 1_u8..) {
        let soft = soft_ak(KeyKind::P256);
        let mut bytes = soft.tpmt_public();
        let at = at % bytes.len();
        bytes[at] ^= change;
        if let Ok(public) = Public::from_tpmt(&bytes) {
            prop_assert_ne!(public.name().as_bytes(), soft.name());
        }
    }
}
