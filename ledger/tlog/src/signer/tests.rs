#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use crate::hash::Hash;

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

#[test]
fn private_keys_made_elsewhere_have_the_recorded_public_sides() {
    let seed = |label| *Hash::digest(label).as_bytes();
    let origin = name(fixtures_vectors::tlog::ORIGIN);
    let log = NoteSigner::from_seed(origin, &seed(fixtures_vectors::tlog::LOG_KEY_LABEL)).unwrap();
    assert_eq!(log.verifier().to_string(), fixtures_vectors::tlog::vkey("log"));
    let witness = seed(fixtures_vectors::tlog::WITNESS_1_KEY_LABEL);
    let witness = Cosigner::from_seed(name("witness1.attestry.example"), &witness).unwrap();
    assert_eq!(witness.verifier().to_string(), fixtures_vectors::tlog::vkey("witness1"));
}

#[test]
fn a_pem_key_signs_like_its_seed_and_is_never_shown() {
    let seed = [0xab; 32];
    let key = PKey::private_key_from_raw_bytes(&seed, Id::ED25519).unwrap();
    let pem = key.private_key_to_pem_pkcs8().unwrap();
    let from_pem = NoteSigner::from_pem(name("log.example"), &pem).unwrap();
    let from_seed = NoteSigner::from_seed(name("log.example"), &seed).unwrap();
    assert_eq!(from_pem.sign("text\n").unwrap(), from_seed.sign("text\n").unwrap());
    let shown = format!("{from_pem:?}");
    assert!(shown.contains("log.example") && !shown.contains("abab"), "{shown}");
    let error = NoteSigner::from_pem(name("log.example"), b"no key").unwrap_err();
    assert!(matches!(error, MalformedSigner::Pem { .. }));
}

#[test]
fn a_p256_key_signs_as_a_log_beside_an_ed25519_key() {
    let p256 = NoteSigner::new(name("log.example"), PKey::ec_gen("prime256v1").unwrap()).unwrap();
    let ed25519 = NoteSigner::from_seed(name("log.example"), &[1; 32]).unwrap();
    assert!(p256.verifier().may_be_log() && p256.verifier().is_verifiable());
    let vkey: NoteVerifier = p256.verifier().to_string().parse().unwrap();
    let mut note = crate::note::Note::new("text\n".to_owned()).unwrap();
    note.sign(&ed25519).unwrap();
    note.sign(&p256).unwrap();
    let keys = [ed25519.verifier().clone(), vkey];
    let verified = note.clone().verify(&keys).unwrap();
    assert_eq!(verified.signatures().len(), 2);
    let mut other = crate::note::Note::new("other\n".to_owned()).unwrap();
    other.add_signatures(note.signatures().iter().skip(1).cloned());
    assert!(other.verify(&keys).is_err(), "a signature of another text");
}

#[test]
fn a_key_on_another_curve_or_of_another_kind_does_not_sign() {
    let p384 = PKey::ec_gen("secp384r1").unwrap();
    assert!(matches!(NoteSigner::new(name("log"), p384), Err(MalformedSigner::Public { .. })));
    let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    assert!(matches!(NoteSigner::new(name("log"), rsa), Err(MalformedSigner::Kind)));
    let p256 = PKey::ec_gen("prime256v1").unwrap();
    assert!(matches!(Cosigner::new(name("witness"), p256), Err(MalformedSigner::CosignerKind)));
}
