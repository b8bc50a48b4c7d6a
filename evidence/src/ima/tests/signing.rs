//! Signatures of files, and the keys that count.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::md::{Md, MdRef};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::x509::X509;
use openssl::x509::extension::SubjectKeyIdentifier;

use super::builder::{attribute, sha256};
use super::*;
use crate::testing::recorded;

const PATH: &str = "/usr/bin/signed";
const CONTENT: &[u8] = b"content";

pub(super) fn ec() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(super) fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

pub(super) fn sign(key: &PKey<Private>, md: &MdRef, digest: &[u8]) -> Vec<u8> {
    let mut context = PkeyCtx::new(key).unwrap();
    context.sign_init().unwrap();
    if key.rsa().is_ok() {
        context.set_rsa_padding(Padding::PKCS1).unwrap();
    }
    context.set_signature_md(md).unwrap();
    let mut signature = Vec::new();
    context.sign_to_vec(digest, &mut signature).unwrap();
    signature
}

pub(super) fn public(key: &PKey<Private>) -> FileKey {
    FileKey::from_der(&key.public_key_to_der().unwrap()).unwrap()
}

fn v2(key: &PKey<Private>, content: &[u8]) -> Vec<u8> {
    attribute(3, 2, 4, public(key).id().0, &sign(key, Md::sha256(), &sha256(content)))
}

/// Version 3: over the hash of type, algorithm and digest.
fn v3(kind: u8, key: &PKey<Private>, content: &[u8]) -> Vec<u8> {
    let mut file_id = vec![kind, 4];
    file_id.extend_from_slice(&sha256(content));
    attribute(kind, 3, 4, public(key).id().0, &sign(key, Md::sha256(), &sha256(&file_id)))
}

fn with_keys(keys: &[&PKey<Private>]) -> PolicyStack {
    let pubkeys: Vec<String> = keys.iter().map(|key| STANDARD.encode(key.public_key_to_der().unwrap())).collect();
    let keyring = serde_json::json!({"meta": {"version": 1}, "keyids": [], "pubkeys": pubkeys});
    stack(&serde_json::json!({"verification-keys": keyring.to_string()}))
}

fn outcome(list: &ListBuilder, stack: &PolicyStack) -> Vec<Event> {
    let appraisal = Round::whole(list).appraise(stack, &state(HashAlgorithm::Sha256));
    assert_eq!(appraisal.passed(), appraisal.findings.kept().is_empty());
    events(&appraisal)
}

const REFUSED: [Event; 2] = [Event::SignatureInvalid, Event::NotInAllowlist];

#[test]
fn files_signed_by_a_key_of_the_policy_are_allowed() {
    for key in [ec(), rsa()] {
        let mut list = ListBuilder::default();
        list.signed(PATH, CONTENT, &v2(&key, CONTENT)).signed_v2("ima", PATH, CONTENT, &v3(3, &key, CONTENT));
        list.signed_v2("verity", PATH, CONTENT, &v3(6, &key, CONTENT));
        assert_eq!(outcome(&list, &with_keys(&[&ec(), &key])), []);
        assert_eq!(outcome(&list.select([0]), &with_keys(&[&ec()])), REFUSED);
    }
}

#[test]
fn each_change_of_a_signature_or_its_header_is_refused() {
    let key = ec();
    let (stack, good) = (with_keys(&[&key]), v2(&key, CONTENT));
    for byte in 0..good.len() {
        let mut changed = good.clone();
        changed[byte] ^= 1;
        let mut list = ListBuilder::default();
        list.signed(PATH, CONTENT, &changed);
        assert_eq!(outcome(&list, &stack), REFUSED, "byte {byte}");
    }
    let changes = [
        ("of another file", v2(&key, b"other")),
        ("cut", good[..good.len() - 1].to_vec()),
        ("longer", [good.as_slice(), &[0]].concat()),
        ("header only", good[..9].to_vec()),
        ("verity for content", v3(6, &key, CONTENT)),
    ];
    for (name, changed) in changes {
        let mut list = ListBuilder::default();
        list.signed(PATH, CONTENT, &changed);
        assert_eq!(outcome(&list, &stack), REFUSED, "{name}");
    }
}

#[test]
fn a_signature_of_the_content_does_not_speak_for_a_verity_digest() {
    let key = ec();
    for signature in [v2(&key, CONTENT), v3(3, &key, CONTENT)] {
        let mut list = ListBuilder::default();
        list.signed_v2("verity", PATH, CONTENT, &signature);
        assert_eq!(outcome(&list, &with_keys(&[&key])), REFUSED);
    }
}

#[test]
fn a_bad_signature_does_not_hurt_a_listed_file() {
    let mut list = ListBuilder::default();
    list.signed(PATH, CONTENT, &v2(&ec(), CONTENT));
    assert_eq!(outcome(&list, &stack(&serde_json::json!({"digests": {PATH: listed(CONTENT)}}))), []);
}

pub(super) fn certificate(key: &PKey<Private>) -> Vec<u8> {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(4_000_000_000).unwrap()).unwrap();
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(identifier).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

#[test]
fn keys_loaded_to_the_ima_keyring_are_learned_if_they_are_listed() {
    let key = ec();
    let der = certificate(&key);
    let id = FileKey::from_der(&der).unwrap().id();
    let signature = attribute(3, 2, 4, id.0, &sign(&key, Md::sha256(), &sha256(CONTENT)));
    let load_and_run = |keyring| {
        let mut list = ListBuilder::default();
        list.buffer(keyring, &der).signed(PATH, CONTENT, &signature);
        list
    };
    let listing = |keyring: &str| stack(&serde_json::json!({"keyrings": {keyring: listed(&der)}}));
    assert_eq!(outcome(&load_and_run(".ima"), &listing(".ima")), []);
    // In the other order the key is not known yet.
    assert_eq!(outcome(&load_and_run(".ima").select([1, 0]), &listing(".ima")), REFUSED);
    // A key that nobody listed.
    let nothing = stack(&serde_json::json!({}));
    let refused = [Event::NotInAllowlist, Event::SignatureInvalid, Event::NotInAllowlist];
    assert_eq!(outcome(&load_and_run(".ima"), &nothing), refused);
    // The kernel does not take file signatures' keys from other keyrings.
    assert_eq!(outcome(&load_and_run(".platform"), &listing(".platform")), REFUSED);
    // Ignored keyrings raise no finding, and no trust.
    for ignored in [".ima", "*"] {
        let ignoring = stack(&serde_json::json!({
            "ima": {"ignored_keyrings": [ignored], "log_hash_alg": "sha1", "dm_policy": null},
        }));
        assert_eq!(outcome(&load_and_run(".ima"), &ignoring), REFUSED);
    }
}

#[test]
fn learned_keys_are_kept_between_rounds_and_lost_with_a_reset() {
    let key = ec();
    let der = certificate(&key);
    let id = FileKey::from_der(&der).unwrap().id();
    let signature = attribute(3, 2, 4, id.0, &sign(&key, Md::sha256(), &sha256(CONTENT)));
    let mut list = ListBuilder::default();
    list.buffer(".ima", &der).signed(PATH, CONTENT, &signature);
    let stack = stack(&serde_json::json!({"keyrings": {".ima": listed(&der)}}));
    let first = Round::whole(&list.select([0])).appraise(&stack, &state(HashAlgorithm::Sha256));
    assert!(first.passed());
    let stored = MeasurementState::decode(&first.state.encode()).unwrap();
    assert!(Round { from: 1, ..Round::whole(&list) }.appraise(&stack, &stored).passed());
    let only_signed = list.select([1]);
    let reset = Round { reset_count: 2, ..Round::whole(&only_signed) };
    assert_eq!(events(&reset.appraise(&stack, &stored)), REFUSED);
}

#[test]
fn recorded_keys_and_critical_data_are_what_their_digests_say() {
    let Some(list) = recorded("ima/keylime_tests_ima-buf_dm.txt") else { return };
    let mut entries = MeasurementList::new(&list, HashAlgorithm::Sha1).entries();
    let mut keys = 0;
    while let Some(entry) = entries.read().unwrap() {
        let digest = entry.digest.unwrap();
        assert_eq!(sha256(entry.buffer), digest.bytes, "{entry:?}");
        keys += u32::from(FileKey::from_der(entry.buffer).is_ok());
    }
    assert_eq!(keys, 4);
}

#[test]
fn a_file_relabelled_as_a_buffer_is_not_believed() {
    // Digest, name and signature of a file have the shape of an ima-buf entry, and the register covers no template.
    let key = ec();
    let mut list = ListBuilder::default();
    list.signed(".ima", CONTENT, &certificate(&key));
    list.entries[0].template = "ima-buf";
    let permissive = stack(&serde_json::json!({
        "ima": {"ignored_keyrings": ["*"], "log_hash_alg": "sha1", "dm_policy": null},
    }));
    assert_eq!(outcome(&list, &permissive), [Event::BufferDigest]);
}
