//! Signed policies.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509Name};

use super::*;
use crate::testing::recorded;

const PAYLOAD: &[u8] = br#"{"a policy": true}"#;
const TYPE: &str = "application/vnd.keylime+json";
const NOW: i64 = 1_800_000_000;

fn ec() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn sign(key: &PKey<Private>, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {TYPE} {} ", TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    let mut signer = if key.id() == Id::ED25519 {
        Signer::new_without_digest(key).unwrap()
    } else {
        Signer::new(MessageDigest::sha256(), key).unwrap()
    };
    signer.sign_oneshot_to_vec(&message).unwrap()
}

fn envelope(payload: &str, key_id: &str, signature: &[u8]) -> Envelope {
    let envelope = serde_json::json!({
        "payload": payload, "payloadType": TYPE,
        "signatures": [{"keyid": key_id, "sig": STANDARD.encode(signature)}],
    });
    Envelope::parse(envelope.to_string().as_bytes()).unwrap()
}

fn trusting(pem: &[u8]) -> Signers {
    let mut signers = Signers::new();
    signers.trust("release", pem).unwrap();
    signers
}

/// A certificate of `key` with days around [`NOW`], issued by `issuer`.
fn certificate(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>, ca: bool) -> X509 {
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&subject, |(issuer, _)| issuer.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(NOW - 86_400).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(NOW + 86_400).unwrap()).unwrap();
    let mut constraints = BasicConstraints::new();
    if ca {
        constraints.critical().ca();
    }
    builder.append_extension(constraints.build().unwrap()).unwrap();
    let signing = issuer.map_or(key, |(_, issuer)| issuer);
    let digest = if signing.id() == Id::ED25519 { MessageDigest::null() } else { MessageDigest::sha256() };
    builder.sign(signing, digest).unwrap();
    builder.build()
}

#[test]
fn good_signatures_of_trusted_keys_open_the_envelope() {
    for key in [ec(), PKey::generate_ed25519().unwrap()] {
        let signers = trusting(&key.public_key_to_pem().unwrap());
        for payload in [STANDARD.encode(PAYLOAD), hex::encode(PAYLOAD)] {
            let opened = envelope(&payload, "hint", &sign(&key, PAYLOAD)).verify(&signers, NOW).unwrap();
            assert_eq!((opened.payload(), opened.signer()), (PAYLOAD, "release"));
        }
    }
}

#[test]
fn other_keys_payloads_types_and_signatures_do_not() {
    let key = ec();
    let signers = trusting(&key.public_key_to_pem().unwrap());
    let payload = STANDARD.encode(PAYLOAD);
    let refused = |envelope: Envelope, signers: &Signers| {
        matches!(envelope.verify(signers, NOW), Err(EnvelopeRejected::NoTrustedSignature { count: 1 }))
    };
    let good = sign(&key, PAYLOAD);
    assert!(refused(envelope(&payload, "", &sign(&ec(), PAYLOAD)), &signers));
    assert!(refused(envelope(&STANDARD.encode(b"other"), "", &good), &signers));
    assert!(refused(envelope(&payload, "", &good), &Signers::new()));
    for byte in 0..good.len() {
        let mut changed = good.clone();
        changed[byte] ^= 1;
        assert!(refused(envelope(&payload, "", &changed), &signers), "{byte}");
    }
    // The bare payload signed, without type and lengths.
    let bare = Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(PAYLOAD).unwrap();
    assert!(refused(envelope(&payload, "", &bare), &signers));
}

#[test]
fn carried_certificates_count_if_they_or_their_issuer_are_trusted() {
    for key in [ec(), PKey::generate_ed25519().unwrap()] {
        let (root_key, stranger) = (ec(), ec());
        let root = certificate("root", &root_key, None, true);
        let leaf = certificate("leaf", &key, Some((&root, &root_key)), false);
        let other_root = certificate("root", &stranger, None, true);
        let key_id = STANDARD.encode(leaf.to_pem().unwrap());
        let envelope = envelope(&STANDARD.encode(PAYLOAD), &key_id, &sign(&key, PAYLOAD));
        for trusted in [&root, &leaf] {
            let opened = envelope.verify(&trusting(&trusted.to_pem().unwrap()), NOW).unwrap();
            assert_eq!(opened.payload(), PAYLOAD);
            // Before and after its days it does not.
            for time in [NOW - 200_000, NOW + 200_000] {
                assert!(envelope.verify(&trusting(&trusted.to_pem().unwrap()), time).is_err());
            }
        }
        // A root of the same name with another key.
        assert!(envelope.verify(&trusting(&other_root.to_pem().unwrap()), NOW).is_err());
        assert!(envelope.verify(&trusting(&stranger.public_key_to_pem().unwrap()), NOW).is_err());
    }
}

#[test]
fn a_trusted_signers_certificate_issues_no_others() {
    let (leaf_key, forged_key) = (ec(), ec());
    let leaf = certificate("leaf", &leaf_key, None, false);
    let forged = certificate("forged", &forged_key, Some((&leaf, &leaf_key)), false);
    let key_id = STANDARD.encode(forged.to_pem().unwrap());
    let envelope = envelope(&STANDARD.encode(PAYLOAD), &key_id, &sign(&forged_key, PAYLOAD));
    assert!(envelope.verify(&trusting(&leaf.to_pem().unwrap()), NOW).is_err());
}

#[test]
fn malformed_envelopes_are_named() {
    let parse = |value: serde_json::Value| Envelope::parse(value.to_string().as_bytes()).unwrap_err();
    let signatures = serde_json::json!([{"keyid": "", "sig": "AA=="}]);
    assert!(matches!(parse(serde_json::json!({"payload": "AA=="})), MalformedEnvelope::Json { .. }));
    let other = serde_json::json!({"payload": "AA==", "payloadType": "text/plain", "signatures": signatures});
    assert!(matches!(parse(other), MalformedEnvelope::PayloadType { .. }));
    let none = serde_json::json!({"payload": "AA==", "payloadType": TYPE, "signatures": []});
    assert!(matches!(parse(none), MalformedEnvelope::SignatureCount { found: 0, .. }));
    let payload = serde_json::json!({"payload": "%", "payloadType": TYPE, "signatures": signatures});
    assert!(matches!(parse(payload), MalformedEnvelope::Payload));
    let signature = serde_json::json!({"payload": "AA==", "payloadType": TYPE, "signatures": [{"sig": "%"}]});
    assert!(matches!(parse(signature), MalformedEnvelope::Signature { index: 0 }));
}

#[test]
fn signers_are_keys_that_sign() {
    let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let mut signers = Signers::new();
    assert!(matches!(signers.trust("rsa", &rsa.public_key_to_pem().unwrap()), Err(UnusableSigner::Kind { .. })));
    assert!(matches!(signers.trust("text", b"not PEM"), Err(UnusableSigner::Pem { .. })));
}

#[test]
fn the_recorded_envelope_opens_to_the_recorded_policy() {
    let (Some(signed), Some(key), Some(policy)) = (
        recorded("policies/runtime-policy-test-signed.json"),
        recorded("policies/runtime-policy-pubkey.pub"),
        recorded("policies/runtime-policy-test.json"),
    ) else {
        return;
    };
    let opened = Envelope::parse(&signed).unwrap().verify(&trusting(&key), NOW).unwrap();
    let compile = |json: &[u8]| PolicyBuilder::from_keylime_json(json).unwrap().compile().unwrap();
    assert_eq!(compile(opened.payload()).id(), compile(&policy).id());
}
