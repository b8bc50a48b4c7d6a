//! `attestry policy sign` and `verify`: DSSE envelopes as Keylime's tools write and read them.
//!
//! Source: DSSE 1.0, `protocol.md`; `docs/spec/runtime-policy.md`, "Signed policies".

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::runtime_policy::{Envelope, Signers};
use openssl::{
    hash::MessageDigest,
    nid::Nid,
    pkey::{Id, PKey, Private},
    sha::sha256,
    sign::Signer,
    x509::X509,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    arguments::{SignArguments, VerifyArguments},
    deliver, file,
    loaded::Loaded,
    show,
};
use crate::failure::Failure;

/// An envelope's JSON.
#[derive(Deserialize, Serialize)]
struct EnvelopeText {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<SignatureText>,
}

#[derive(Deserialize, Serialize)]
struct SignatureText {
    #[serde(default)]
    keyid: String,
    sig: String,
}

pub(super) fn sign(arguments: &SignArguments) -> Result<(), Failure> {
    let key = private_key(&arguments.key)?;
    let public = key.public_key_to_pem().map_err(|error| Failure::system("write the public key", error))?;
    let (key_id, trusted) = match &arguments.certificate {
        Some(path) => certificate(path, &key)?,
        None => (hex::encode(sha256(&public)), public),
    };
    let mut envelope = envelope(&arguments.policy)?;
    let payload = STANDARD
        .decode(&envelope.payload)
        .or_else(|_| hex::decode(&envelope.payload))
        .map_err(|error| Failure::system(format_args!("read the payload of {}", arguments.policy.display()), error))?;
    Loaded::parse(&payload, &arguments.policy)?;
    envelope.signatures.retain(|signature| signature.keyid != key_id);
    let signature = signature(&key, &payload).map_err(|error| Failure::system("sign the policy", error))?;
    envelope.signatures.push(SignatureText { keyid: key_id.clone(), sig: STANDARD.encode(signature) });
    let mut text =
        serde_json::to_vec_pretty(&envelope).map_err(|error| Failure::system("write the envelope", error))?;
    text.push(b'\n');
    check(&text, &arguments.key, &trusted)?;
    let summary = json!({
        "signatures": envelope.signatures.len(),
        "keyid": if arguments.certificate.is_some() { "the certificate".to_owned() } else { key_id },
        "payload_sha256": hex::encode(sha256(&payload)),
    });
    deliver(&text, &summary, &arguments.output)
}

/// The envelope that is there, or one without signatures around a policy.
fn envelope(path: &Path) -> Result<EnvelopeText, Failure> {
    let bytes = file::read(path)?;
    if let Ok(envelope) = serde_json::from_slice::<EnvelopeText>(&bytes) {
        Envelope::parse(&bytes).map_err(|error| Failure::system(format_args!("read {}", path.display()), error))?;
        return Ok(envelope);
    }
    let payload = STANDARD.encode(bytes);
    Ok(EnvelopeText { payload, payload_type: PAYLOAD_TYPE.to_owned(), signatures: Vec::new() })
}

/// A private key that nobody else can read, of a kind that verifiers take.
fn private_key(path: &Path) -> Result<PKey<Private>, Failure> {
    let reading = || format!("read the key {}", path.display());
    let mode = fs::metadata(path).map_err(|error| Failure::system(reading(), error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::new(format!("{} can be read by others (mode {:03o})", path.display(), mode & 0o777))
            .remedy(format!("chmod 600 {}; if others may have read it, make a new key", path.display())));
    }
    let pem = Zeroizing::new(file::read(path)?);
    // Never asks on the terminal: a passphrase there would end up in scripts.
    let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|error| {
        Failure::system(reading(), error).remedy("expected a private key in PEM without passphrase")
    })?;
    let curve = key.ec_key().ok().and_then(|key| key.group().curve_name());
    match (key.id(), curve) {
        (Id::ED25519, _) | (Id::EC, Some(Nid::X9_62_PRIME256V1 | Nid::SECP384R1)) => Ok(key),
        _ => Err(Failure::new(format!("{} is not a key that signs policies", path.display()))
            .remedy("expected ECDSA P-256 or P-384, or Ed25519: openssl genpkey -algorithm ed25519 -out policy.key")),
    }
}

/// A key identifier that carries the certificate, and the certificate.
fn certificate(path: &Path, key: &PKey<Private>) -> Result<(String, Vec<u8>), Failure> {
    let reading = |error| Failure::system(format_args!("read the certificate {}", path.display()), error);
    let certificate = X509::from_pem(&file::read(path)?).map_err(reading)?;
    if !certificate.public_key().map_err(reading)?.public_eq(key) {
        return Err(Failure::new(format!("{} is the certificate of another key", path.display())));
    }
    let pem = certificate.to_pem().map_err(reading)?;
    Ok((STANDARD.encode(&pem), pem))
}

fn signature(key: &PKey<Private>, payload: &[u8]) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    let message = [head.as_bytes(), payload].concat();
    let mut signer = match key.id() {
        Id::ED25519 => Signer::new_without_digest(key)?,
        _ => Signer::new(MessageDigest::sha256(), key)?,
    };
    signer.sign_oneshot_to_vec(&message)
}

/// Checks an envelope as the verifier will.
fn check(envelope: &[u8], name: &Path, trusted: &[u8]) -> Result<(), Failure> {
    let mut signers = Signers::new();
    let name = name.display().to_string();
    signers.trust(&name, trusted).map_err(|error| Failure::system("trust the signer", error))?;
    let envelope = Envelope::parse(envelope).map_err(|error| Failure::system("read the envelope again", error))?;
    let verified = envelope.verify(&signers, now()).map_err(|error| {
        Failure::system("verify the signature just made", error)
            .remedy("a certificate must be valid now and allow signatures")
    })?;
    drop(verified);
    Ok(())
}

pub(super) fn verify(arguments: &VerifyArguments) -> Result<(), Failure> {
    let mut signers = Signers::new();
    for path in &arguments.keys {
        let name = path.display().to_string();
        signers.trust(&name, &file::read(path)?).map_err(|error| {
            Failure::system("use a trusted key", error).remedy("expected a public key or a certificate in PEM")
        })?;
    }
    let path = &arguments.policy;
    let envelope = Envelope::parse(&file::read(path)?).map_err(|error| {
        Failure::system(format_args!("read {} as a signed policy", path.display()), error)
            .remedy("an unsigned policy is signed by: attestry policy sign")
    })?;
    let signed = envelope.verify(&signers, now()).map_err(|error| {
        Failure::system(format_args!("verify {}", path.display()), error)
            .remedy("do not use this policy, or give the key of whoever should have signed it")
    })?;
    let policy = Loaded::parse(signed.payload(), path)?;
    if let Some(output) = &arguments.output {
        file::write(output, signed.payload())?;
    }
    let payload = hex::encode(sha256(signed.payload()));
    show(&json!({"kind": policy.kind(), "signer": signed.signer(), "payload_sha256": payload}), arguments.json.json);
    Ok(())
}

fn now() -> i64 {
    i64::try_from(crate::clock::now().0 / 1000).unwrap_or(i64::MAX)
}

/// What `keylime-policy sign` writes.
const PAYLOAD_TYPE: &str = "application/vnd.keylime+json";
