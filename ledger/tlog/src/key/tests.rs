#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use openssl::ec::{EcGroup, EcKey};
use openssl::sign::Signer;
use proptest::prelude::*;

use super::*;
use crate::signer::{Cosigner, MalformedSigner, NoteSigner};

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

fn log() -> NoteSigner {
    NoteSigner::from_seed(name("log.example"), &[1; 32]).unwrap()
}

#[test]
fn verifier_keys_read_back_exactly() {
    for key in ["log", "other", "witness1", "witness2", "witness3"] {
        let vkey = fixtures_vectors::tlog::vkey(key);
        let verifier: NoteVerifier = vkey.parse().unwrap();
        assert_eq!(verifier.to_string(), vkey);
        assert_eq!(verifier.may_witness(), key.starts_with("witness"));
        assert_eq!(verifier.may_be_log(), !key.starts_with("witness"));
    }
}

#[test]
fn a_key_with_another_name_or_id_is_refused() {
    let vkey = log().verifier().to_string();
    let renamed = vkey.replace("log.example", "log.example2");
    let error = renamed.parse::<NoteVerifier>().unwrap_err();
    assert!(matches!(error, MalformedKey::IdMismatch { .. }), "{error}");
    let id = log().verifier().id().to_string();
    let other_id = vkey.replace(&id, "00000000");
    let error = other_id.parse::<NoteVerifier>().unwrap_err();
    assert!(matches!(error, MalformedKey::IdMismatch { .. }), "{error}");
}

#[test]
fn malformed_verifier_keys_are_refused_by_part() {
    let parse = |vkey: &str| vkey.parse::<NoteVerifier>().unwrap_err();
    assert!(matches!(parse(""), MalformedKey::Parts));
    assert!(matches!(parse("name+00000000"), MalformedKey::Parts));
    assert!(matches!(parse("+00000000+AQ=="), MalformedKey::Name { .. }));
    assert!(matches!(parse("na me+00000000+AQ=="), MalformedKey::Name { .. }));
    assert!(matches!(parse("name+000000+AQ=="), MalformedKey::Id { .. }));
    assert!(matches!(parse("name+0000000g+AQ=="), MalformedKey::Id { .. }));
    assert!(matches!(parse("name+00000000+AQ"), MalformedKey::Base64 { .. }));
    assert!(matches!(parse("name+00000000+"), MalformedKey::Empty));
    assert!(matches!(parse("name+00000000+AQ=="), MalformedKey::Public { .. }));
    assert!(matches!(parse("name+00000000+Ag=="), MalformedKey::Public { .. }));
}

#[test]
fn unknown_kinds_are_carried() {
    let vkey = "other.example+01020304+BwAB";
    let verifier: NoteVerifier = vkey.parse().unwrap();
    assert_eq!(verifier.to_string(), vkey);
    assert_eq!(verifier.check("text\n", b"anything"), SignatureCheck::Unknown);
}

#[test]
fn each_kind_verifies_its_own_signatures_and_no_other_text() {
    let log = log();
    let signature = log.sign("text\n").unwrap();
    assert_eq!(log.verifier().check("text\n", &signature), SignatureCheck::Genuine(None));
    assert_eq!(log.verifier().check("texts\n", &signature), SignatureCheck::Forged);
    assert_eq!(log.verifier().check("text\n", b""), SignatureCheck::Forged);

    let witness = Cosigner::from_seed(name("w.example"), &[2; 32]).unwrap();
    let time = PosixSeconds(1_700_000_000);
    let mut signature = witness.cosign("text\n", time).unwrap();
    assert_eq!(signature.len(), 72);
    assert_eq!(witness.verifier().check("text\n", &signature), SignatureCheck::Genuine(Some(time)));
    assert_eq!(witness.verifier().check("texts\n", &signature), SignatureCheck::Forged);
    *signature.get_mut(7).unwrap() ^= 1;
    assert_eq!(witness.verifier().check("text\n", &signature), SignatureCheck::Forged);
    assert_eq!(witness.verifier().check("text\n", b"short"), SignatureCheck::Forged);
}

#[test]
fn ecdsa_signatures_verify_and_other_curves_are_refused() {
    let key = |curve| {
        let group = EcGroup::from_curve_name(curve).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    };
    let private = key(Nid::X9_62_PRIME256V1);
    let spki_der = private.public_key_to_der().unwrap();
    let verifier = NoteVerifier::ecdsa_p256(name("ec.example"), &spki_der).unwrap();
    let digest = Hash::digest(&spki_der).to_string();
    assert!(digest.starts_with(&verifier.id().to_string()), "the ID is over the key alone");
    let read: NoteVerifier = verifier.to_string().parse().unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &private).unwrap();
    let signature = signer.sign_oneshot_to_vec(b"text\n").unwrap();
    assert_eq!(read.check("text\n", &signature), SignatureCheck::Genuine(None));
    assert_eq!(read.check("texts\n", &signature), SignatureCheck::Forged);
    assert_eq!(read.check("text\n", b"not DER"), SignatureCheck::Forged);

    let p384 = key(Nid::SECP384R1).public_key_to_der().unwrap();
    let error = NoteVerifier::ecdsa_p256(name("ec.example"), &p384).unwrap_err();
    assert!(matches!(error, MalformedKey::Curve));
    let no_cosigner = Cosigner::new(name("ec.example"), private).unwrap_err();
    assert!(matches!(no_cosigner, MalformedSigner::CosignerKind));
}

proptest! {
    #[test]
    fn arbitrary_verifier_keys_never_panic(vkey in "[a-z. ]{0,5}\\+?[0-9a-g]{7,9}\\+?[A-Za-z0-9+/=]{0,60}", any in ".{0,60}") {
        for text in [vkey, any] {
            if let Ok(verifier) = text.parse::<NoteVerifier>() {
                prop_assert_eq!(verifier.to_string(), text);
            }
        }
    }
}
