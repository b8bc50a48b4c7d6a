//! Signed policies: opened with the signer's key, and with a stranger's.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::runtime_policy::{Envelope, Signers};
use openssl::{
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{Id, PKey, Private},
    sign::Signer,
};

use crate::{Judge, Outcome, Subject, data};

struct Opener {
    signer: Signers,
    stranger: Signers,
    payload: Vec<u8>,
}

impl Judge for Opener {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        let Ok(envelope) = Envelope::parse(bytes) else { return Outcome::Malformed };
        let opened = envelope.verify(if lacking { &self.signer } else { &self.stranger }, NOW);
        // What is not signed, such as a hint at the key, may change; the policy may not.
        match opened {
            Ok(opened) if !(lacking && opened.payload() == self.payload) => Outcome::Passes,
            Ok(_) | Err(_) => Outcome::Fails,
        }
    }
}

pub(crate) fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    let mut add = |name: &str, envelope: Vec<u8>, key: &[u8]| {
        let signer = trusting(key);
        let opened = Envelope::parse(&envelope).unwrap().verify(&signer, NOW);
        let payload = opened.unwrap_or_else(|error| panic!("{name}: {error}")).payload().to_vec();
        let judge = Opener { signer, stranger: trusting(&ec().public_key_to_pem().unwrap()), payload };
        subjects.push(Subject::whole(name, envelope, judge));
    };
    for (name, key) in [("own ECDSA", ec()), ("own Ed25519", PKey::generate_ed25519().unwrap())] {
        for policy in
            [r#"{"small": 1}"#.to_owned(), fixtures_softtpm::measured::runtime_policy(&[("/usr/bin/a", b"a")], &[])]
        {
            let envelope = sign(&key, &policy);
            add(name, envelope, &key.public_key_to_pem().unwrap());
        }
    }
    if let Some(folder) = data("policies") {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        add("recorded", read("runtime-policy-test-signed.json"), &read("runtime-policy-pubkey.pub"));
    }
    subjects
}

fn ec() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn trusting(pem: &[u8]) -> Signers {
    let mut signers = Signers::new();
    signers.trust("signer", pem).unwrap();
    signers
}

fn sign(key: &PKey<Private>, payload: &str) -> Vec<u8> {
    let message = format!("DSSEv1 {} {TYPE} {} {payload}", TYPE.len(), payload.len());
    let mut signer = match key.id() {
        Id::ED25519 => Signer::new_without_digest(key).unwrap(),
        _ => Signer::new(MessageDigest::sha256(), key).unwrap(),
    };
    let signature = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
    let signature = serde_json::json!({"keyid": "a hint", "sig": STANDARD.encode(signature)});
    let envelope = serde_json::json!({
        "payload": STANDARD.encode(payload), "payloadType": TYPE, "signatures": [signature],
    });
    envelope.to_string().into_bytes()
}

const TYPE: &str = "application/vnd.keylime+json";
const NOW: i64 = 1_800_000_000;
