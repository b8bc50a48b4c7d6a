#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_softtpm::{Hash, KeyKind, SoftAk, SoftEk, SoftTpm, shared};
use proptest::prelude::*;

use super::*;
use crate::testing;

const SECRET: &[u8] = b"0123456789abcdefghijklmnopqrstuv";
const KINDS: [KeyKind; 3] = [KeyKind::RSA_2048, KeyKind::P256, KeyKind::P384];

fn randomness(byte: u8) -> CredentialRandomness {
    CredentialRandomness::new([byte; CredentialRandomness::BYTES])
}

fn make(tpm: &SoftTpm, secret: &[u8], random: u8) -> Credential {
    let name = *testing::ak(&tpm.ak).name();
    make_credential(&testing::ek(&tpm.ek), &name, secret, &randomness(random)).unwrap()
}

#[test]
fn the_tpm_with_ek_and_ak_recovers_the_secret() {
    for kind in KINDS {
        let tpm = SoftTpm::new(kind, 0);
        for random in [0, 1, 0x12, 0xff] {
            let credential = make(&tpm, SECRET, random);
            let recovered = tpm.activate_credential(credential.id_object(), credential.encrypted_secret());
            assert_eq!(recovered.as_deref(), Ok(SECRET), "{kind:?}");
        }
    }
}

#[test]
fn eks_of_every_template_size_work() {
    for (kind, name_hash, aes_bits) in [
        (KeyKind::Rsa(3072), Hash::Sha384, 256),
        (KeyKind::Rsa(4096), Hash::Sha512, 256),
        (KeyKind::P256, Hash::Sha512, 128),
        (KeyKind::P384, Hash::Sha256, 128),
    ] {
        let ek = SoftEk { name_hash, aes_bits, ..SoftEk::new(shared(kind, 0)) };
        let tpm = SoftTpm::with_keys(ek, SoftAk::new(shared(KeyKind::P256, 1), Hash::Sha256));
        let credential = make(&tpm, SECRET, 7);
        let recovered = tpm.activate_credential(credential.id_object(), credential.encrypted_secret());
        assert_eq!(recovered.as_deref(), Ok(SECRET), "{kind:?} {name_hash:?}");
    }
}

#[test]
fn another_ak_or_another_ek_recovers_nothing() {
    for kind in KINDS {
        let tpm = SoftTpm::new(kind, 0);
        let credential = make(&tpm, SECRET, 9);
        let other = SoftTpm::new(kind, 1);
        for impostor in [
            SoftTpm::with_keys(tpm.ek.clone(), other.ak.clone()),
            SoftTpm::with_keys(other.ek, tpm.ak.clone()),
            // The same key with one attribute less has another name.
            SoftTpm::with_keys(tpm.ek.clone(), tpm.ak.clone().with_attributes(tpm.ak.attributes & !(1 << 16))),
        ] {
            let recovered = impostor.activate_credential(credential.id_object(), credential.encrypted_secret());
            assert!(recovered.is_err(), "{kind:?}");
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let tpm = SoftTpm::new(KeyKind::P256, 0);
    let credential = make(&tpm, SECRET, 3);
    let flip = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..credential.id_object().len() * 8 {
        assert!(tpm.activate_credential(&flip(credential.id_object(), bit), credential.encrypted_secret()).is_err());
    }
    for bit in 0..credential.encrypted_secret().len() * 8 {
        assert!(tpm.activate_credential(credential.id_object(), &flip(credential.encrypted_secret(), bit)).is_err());
    }
}

#[test]
fn secrets_that_are_empty_or_longer_than_a_digest_are_refused() {
    let tpm = SoftTpm::new(KeyKind::P256, 0);
    let (ek, ak) = (testing::ek(&tpm.ek), testing::ak(&tpm.ak));
    for length in [0, 33] {
        let made = make_credential(&ek, ak.name(), &vec![1; length], &randomness(1));
        let expected =
            |found| matches!(made, Err(MakeCredentialError::SecretSize { max: 32, found: size }) if size == found);
        assert!(expected(length));
    }
    for length in [1, 16, 32] {
        assert!(make_credential(&ek, ak.name(), &vec![1; length], &randomness(1)).is_ok());
    }
}

#[test]
fn other_randomness_gives_another_credential_for_the_same_secret() {
    for kind in KINDS {
        let tpm = SoftTpm::new(kind, 0);
        let (one, two) = (make(&tpm, SECRET, 1), make(&tpm, SECRET, 2));
        assert_ne!(one.id_object(), two.id_object());
        assert_ne!(one.encrypted_secret(), two.encrypted_secret());
        assert_eq!(one, make(&tpm, SECRET, 1));
    }
}

#[test]
fn the_file_form_is_read_back_to_the_last_byte() {
    for kind in KINDS {
        let credential = make(&SoftTpm::new(kind, 0), SECRET, 1);
        let file = credential.encode();
        assert_eq!(file[..8], [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1]);
        assert_eq!(Credential::parse(&file).unwrap(), credential);
        for length in 0..file.len() {
            assert!(Credential::parse(&file[..length]).is_err());
        }
        assert!(Credential::parse(&[&file[..], &[0]].concat()).is_err());
        let mut magic = file.clone();
        magic[0] ^= 1;
        assert!(matches!(Credential::parse(&magic), Err(MalformedStructure::Value { field: "magic", .. })));
        let mut version = file;
        version[7] = 2;
        assert!(matches!(Credential::parse(&version), Err(MalformedStructure::Value { field: "version", .. })));
    }
}

#[test]
fn oaep_with_a_given_seed_is_what_go_makes() {
    // go-tpm, credential_activation_test.go: zero randomness, a seed of 16 bytes.
    let Some(file) = testing::recorded("quotes/makecredential_gotpm_rsa.json") else { return };
    let json: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let pem = json["ek_public_pem"].as_str().unwrap();
    let key = openssl::pkey::PKey::public_key_from_pem(pem.as_bytes()).unwrap();
    let expected = json["expected_id_object_then_encrypted_secret_b64"].as_str().unwrap();
    let expected = openssl::base64::decode_block(expected).unwrap();
    let made = seed::encrypt_oaep(&key, openssl::hash::MessageDigest::sha256(), &[0; 16], &[0; 32]).unwrap();
    assert_eq!(made, expected[expected.len() - 256..]);
}

#[test]
fn randomness_is_not_shown() {
    assert_eq!(format!("{:?}", randomness(0x41)), "CredentialRandomness(secret)");
}

proptest! {
    #[test]
    fn any_secret_under_any_randomness_is_recovered(secret in prop::collection::vec(any::<u8>(), 1..=32), random in any::<[u8; 32]>(), ecc in any::<bool>()) {
        let tpm = SoftTpm::new(if ecc { KeyKind::P256 } else { KeyKind::RSA_2048 }, 0);
        let mut bytes = [0; CredentialRandomness::BYTES];
        bytes.iter_mut().zip(random.iter().cycle()).for_each(|(to, from)| *to = *from);
        let name = *testing::ak(&tpm.ak).name();
        let credential = make_credential(&testing::ek(&tpm.ek), &name, &secret, &CredentialRandomness::new(bytes)).unwrap();
        prop_assert_eq!(tpm.activate_credential(credential.id_object(), credential.encrypted_secret()), Ok(secret));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(Credential::parse(&bytes));
    }
}
