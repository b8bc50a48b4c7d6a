//! Envelopes signed and verified.

use std::{fs, os::unix::fs::PermissionsExt};

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{X509, X509Name},
};
use serde_json::json;

use super::{Folder, policy, runtime_policy, sha256, shared};

fn ec(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn put_key(folder: &Folder, name: &str, key: &PKey<Private>) -> (String, String) {
    let private = folder.put(&format!("{name}.key"), key.private_key_to_pem_pkcs8().unwrap());
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    (private, folder.put(&format!("{name}.pub"), key.public_key_to_pem().unwrap()))
}

fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "policy signer").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

#[test]
fn policies_signed_by_every_kind_of_key_verify_and_no_others_do() {
    let folder = Folder::new();
    let unsigned = folder.put("policy.json", runtime_policy(&json!({"/x": [sha256(b"x")]}), &[]));
    let output = folder.path("signed.json");
    let keys = [ec(Nid::X9_62_PRIME256V1), ec(Nid::SECP384R1), PKey::generate_ed25519().unwrap()];
    let (_, stranger) = put_key(&folder, "stranger", &ec(Nid::X9_62_PRIME256V1));
    for key in &keys {
        let (private, public) = put_key(&folder, "signer", key);
        policy(&["sign", "--key", &private, &unsigned, "-o", &output]).unwrap();
        let opened = folder.path("opened.json");
        policy(&["verify", "--key", &public, &output, "-o", &opened]).unwrap();
        assert_eq!(fs::read(&opened).unwrap(), fs::read(&unsigned).unwrap());
        let refused = policy(&["verify", "--key", &stranger, &output]).unwrap_err().to_string();
        assert!(refused.contains("none of the 1 signatures"), "{refused}");
    }
}

#[test]
fn a_certificate_is_carried_and_verifies_by_itself() {
    let folder = Folder::new();
    let unsigned = folder.put("policy.json", runtime_policy(&json!({}), &[]));
    let (key, output) = (ec(Nid::SECP384R1), folder.path("signed.json"));
    let (private, _) = put_key(&folder, "signer", &key);
    let pem = folder.put("signer.pem", certificate(&key).to_pem().unwrap());
    policy(&["sign", "--key", &private, "--certificate", &pem, &unsigned, "-o", &output]).unwrap();
    policy(&["verify", "--key", &pem, &output]).unwrap();
    let other = folder.put("other.pem", certificate(&ec(Nid::SECP384R1)).to_pem().unwrap());
    policy(&["verify", "--key", &other, &output]).unwrap_err();
    let refused = policy(&["sign", "--key", &private, "--certificate", &other, &unsigned, "-o", &output]).unwrap_err();
    assert!(refused.to_string().contains("certificate of another key"));
}

#[test]
fn a_second_signature_is_added_and_a_changed_policy_has_none() {
    let folder = Folder::new();
    let unsigned = folder.put("policy.json", runtime_policy(&json!({}), &[]));
    let output = folder.path("signed.json");
    let publics: Vec<String> = ["one", "two"]
        .iter()
        .map(|name| {
            let (private, public) = put_key(&folder, name, &ec(Nid::X9_62_PRIME256V1));
            let input = if *name == "one" { &unsigned } else { &output };
            policy(&["sign", "--key", &private, input, "-o", &output]).unwrap();
            public
        })
        .collect();
    let mut envelope = folder.json("signed.json");
    assert_eq!(envelope["signatures"].as_array().unwrap().len(), 2);
    for public in &publics {
        policy(&["verify", "--key", public, &output]).unwrap();
    }
    let changed = runtime_policy(&json!({"/evil": [sha256(b"evil")]}), &[]);
    envelope["payload"] = openssl::base64::encode_block(changed.as_bytes()).into();
    let changed = folder.put("changed.json", envelope.to_string());
    policy(&["verify", "--key", &publics[0], &changed]).unwrap_err();
}

#[test]
fn keys_others_can_read_and_keys_of_other_kinds_do_not_sign() {
    let folder = Folder::new();
    let unsigned = folder.put("policy.json", runtime_policy(&json!({}), &[]));
    let output = folder.path("signed.json");
    let sign = |key: &str| policy(&["sign", "--key", key, &unsigned, "-o", &output]).unwrap_err().to_string();
    let (private, _) = put_key(&folder, "open", &ec(Nid::X9_62_PRIME256V1));
    fs::set_permissions(&private, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(sign(&private).contains("can be read by others"));
    let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    assert!(sign(&put_key(&folder, "rsa", &rsa).0).contains("not a key that signs policies"));
    let (key, _) = put_key(&folder, "good", &ec(Nid::X9_62_PRIME256V1));
    let garbage = folder.put("garbage.json", r#"{"what": "is this"}"#);
    assert!(policy(&["sign", "--key", &key, &garbage, "-o", &output]).is_err());
}

#[test]
fn keylimes_signed_policy_verifies() {
    let Some(policies) = shared("policies") else { return };
    let path = |name: &str| policies.join(name).to_str().unwrap().to_owned();
    let signed = path("runtime-policy-test-signed.json");
    policy(&["verify", "--key", &path("runtime-policy-pubkey.pub"), &signed]).unwrap();
}
