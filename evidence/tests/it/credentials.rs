//! MakeCredential against vectors of other implementations.

use evidence::credential::{Credential, CredentialRandomness, make_credential};
use evidence::name::TpmName;
use evidence::public::{Ek, Public};
use fixtures_softtpm::Hash;
use openssl::pkey::PKey;

use crate::{base64, data, hex, json};

const BYTES: usize = CredentialRandomness::BYTES;

#[test]
fn go_tpms_id_object_is_reproduced() {
    let Some(data) = data() else { return };
    let json = json(&data.join("quotes/makecredential_gotpm_rsa.json"));
    let key = PKey::public_key_from_pem(json["ek_public_pem"].as_str().unwrap().as_bytes()).unwrap();
    let ek = Ek::new(Public::from_tpmt(&fixtures_softtpm::SoftEk::tpmt_public_of(&key)).unwrap()).unwrap();
    let name = [&Hash::Sha256.id().to_be_bytes(), base64(&json["ak_name_digest_b64"]).as_slice()].concat();
    let randomness = CredentialRandomness::new([0; BYTES]);
    let name = TpmName::parse(&name).unwrap();
    let made = make_credential(&ek, &name, &base64(&json["secret_b64"]), &randomness).unwrap();
    let expected = base64(&json["expected_id_object_then_encrypted_secret_b64"]);
    // Its seed has 16 zero bytes where the specification wants a digest's 32: the same HMAC key, another ciphertext.
    let (id_object, encrypted_secret) = expected.split_at(made.id_object().len());
    assert_eq!(made.id_object(), id_object);
    assert_eq!(made.encrypted_secret().len(), encrypted_secret.len());
}

#[test]
fn keylimes_vector_is_reproduced_as_far_as_it_is_fixed() {
    let Some(data) = data() else { return };
    let json = json(&data.join("quotes/makecredential_keylime_rsa.json"));
    let ek = Ek::new(Public::from_tpm2b(&hex(&json["ek_tpm2b_public_hex"])).unwrap()).unwrap();
    let name = TpmName::parse(&hex(&json["ak_name_hex"])).unwrap();
    let randomness = CredentialRandomness::new([0x12; BYTES]);
    let made = make_credential(&ek, &name, &hex(&json["challenge_hex"]), &randomness).unwrap();
    let expected = hex(&json["expected_hex"]);
    assert_eq!(made.encode()[..expected.len()], expected);
}

#[test]
fn tpm2_tools_file_is_read_and_ours_has_its_shape() {
    let Some(data) = data() else { return };
    let file = |name: &str| std::fs::read(data.join("quotes").join(name)).unwrap();
    let theirs = Credential::parse(&file("keylime_files_mkcred.out")).unwrap();
    assert_eq!(theirs.encode(), file("keylime_files_mkcred.out"));
    let ek = Ek::new(Public::from_tpm2b(&file("keylime_files_ek.pub")).unwrap()).unwrap();
    let name = TpmName::parse(&file("keylime_files_ak.name")).unwrap();
    let randomness = CredentialRandomness::new([0x55; BYTES]);
    let ours = make_credential(&ek, &name, &file("keylime_files_secret.data"), &randomness).unwrap();
    assert_eq!(ours.encode().len(), theirs.encode().len());
}
