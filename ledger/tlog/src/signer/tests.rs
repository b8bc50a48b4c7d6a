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
