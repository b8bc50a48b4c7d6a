#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use base64::{Engine, engine::general_purpose::STANDARD};
use fixtures_softtpm::{KeyKind, measured, shared};
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    sign::Signer,
};

use super::*;

const NOW: i64 = 1_800_000_000;

fn policy() -> String {
    measured::runtime_policy(&[("/app", b"app")], &[])
}

fn pem(key: &PKey<Private>) -> Vec<u8> {
    key.public_key_to_pem().unwrap()
}

/// A DSSE envelope around `payload`, signed over `signed`.
fn envelope(key: &PKey<Private>, payload: &str, signed: &str) -> Vec<u8> {
    let kind = "application/vnd.keylime+json";
    let message = format!("DSSEv1 {} {kind} {} {signed}", kind.len(), signed.len());
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    let signature = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
    let (payload, signature) = (STANDARD.encode(payload), STANDARD.encode(signature));
    serde_json::json!({
        "payload": payload,
        "payloadType": kind,
        "signatures": [{"keyid": "", "sig": signature}],
    })
    .to_string()
    .into_bytes()
}

#[test]
fn a_policy_that_the_key_signed_is_opened() {
    let key = shared(KeyKind::P256, 1);
    let opened = opened(&envelope(&key, &policy(), &policy()), Some(&pem(&key)), NOW).unwrap();
    assert_eq!(opened, policy().into_bytes());
    assert!(compile_runtime(&opened).is_ok());
}

#[test]
fn another_key_or_another_policy_is_rejected() {
    let (key, other) = (shared(KeyKind::P256, 1), shared(KeyKind::P256, 2));
    let good = envelope(&key, &policy(), &policy());
    assert!(matches!(opened(&good, Some(&pem(&other)), NOW), Err(SignedPolicyError::Rejected(_))));
    let swapped = envelope(&key, &policy().replace("/app", "/evil"), &policy());
    assert!(matches!(opened(&swapped, Some(&pem(&key)), NOW), Err(SignedPolicyError::Rejected(_))));
}

#[test]
fn a_key_demands_a_signature_and_a_signature_a_key() {
    let key = shared(KeyKind::P256, 1);
    assert!(matches!(opened(policy().as_bytes(), Some(&pem(&key)), NOW), Err(SignedPolicyError::NotSigned(_))));
    let signed = envelope(&key, &policy(), &policy());
    assert!(matches!(opened(&signed, None, NOW), Err(SignedPolicyError::KeyMissing)));
    assert!(matches!(opened(&signed, Some(b"no key"), NOW), Err(SignedPolicyError::Key(_))));
    assert_eq!(opened(policy().as_bytes(), None, NOW).unwrap(), policy().into_bytes());
}

#[test]
fn what_is_no_policy_is_refused() {
    for text in ["", "{}", "[]", "{\"meta\": 1}"] {
        assert!(matches!(compile_runtime(text.as_bytes()), Err(RuntimePolicyError::Import(_))), "{text}");
    }
    let broken = measured::runtime_policy(&[], &["("]);
    assert!(matches!(compile_runtime(broken.as_bytes()), Err(RuntimePolicyError::Compile(_))));
}
