//! ML-DSA-44 cosignatures (type 0x06), as far as the openssl that is linked can.
//!
//! openssl knows ML-DSA from version 3.5 on. It is asked by name when a key is read, so the same
//! program verifies where the library can, and says that it cannot where it is older.
//!
//! Source: FIPS 204, C2SP tlog-cosignature §ML-DSA-44.

use openssl::error::ErrorStack;
use openssl::pkey::{HasPublic, KeyType, PKey, PKeyRef, Private, Public};
use openssl::sign;

use crate::checkpoint::Checkpoint;
use crate::key::{KeyName, PosixSeconds};

/// Bytes of a public key (FIPS 204 table 2).
pub(crate) const PUBLIC_BYTES: usize = 1_312;

/// Bytes of a signature (FIPS 204 table 2).
const SIGNATURE_BYTES: usize = 2_420;

/// Bytes from which a key pair is derived (FIPS 204 §5.1).
pub const ML_DSA_SEED_BYTES: usize = 32;

/// PKCS#8 in DER up to the seed: version 0, 2.16.840.1.101.3.4.3.17, and the private key as
/// `[0] seed`. Source: RFC 9881 §6.
const PKCS8_BEFORE_SEED: &[u8] = &[
    0x30, 0x34, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11, 0x04,
    0x22, 0x80, 0x20,
];

/// What every signed message begins with.
const LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// Whether the openssl that is linked can make and verify ML-DSA-44 signatures.
#[must_use]
pub fn ml_dsa_is_available() -> bool {
    // Any bytes of that length are a key.
    public(&[0; PUBLIC_BYTES]).is_some()
}

/// The key pair of a seed.
///
/// # Errors
/// openssl's reasons; it needs version 3.5.
pub fn ml_dsa_from_seed(seed: &[u8; ML_DSA_SEED_BYTES]) -> Result<PKey<Private>, ErrorStack> {
    let mut der = [0; PKCS8_BEFORE_SEED.len() + ML_DSA_SEED_BYTES];
    let (head, tail) = der.split_at_mut(PKCS8_BEFORE_SEED.len());
    head.copy_from_slice(PKCS8_BEFORE_SEED);
    tail.copy_from_slice(seed);
    let key = PKey::private_key_from_pkcs8(&der);
    der.fill(0);
    key
}

/// The public key, unless the openssl that is linked does not know it.
pub(crate) fn public(bytes: &[u8; PUBLIC_BYTES]) -> Option<PKey<Public>> {
    PKey::public_key_from_raw_bytes_ex(None, KeyType::ML_DSA_44, None, bytes).ok()
}

/// Whether a key is one.
pub(crate) fn is_of_kind<T: HasPublic>(key: &PKeyRef<T>) -> bool {
    key.is_a(KeyType::ML_DSA_44)
}

/// Time and signature of a signature line; `None` if it has not their length.
pub(crate) fn split(signature: &[u8]) -> Option<(PosixSeconds, &[u8])> {
    let (time, signature) = signature.split_first_chunk()?;
    (signature.len() == SIGNATURE_BYTES).then_some((PosixSeconds(u64::from_be_bytes(*time)), signature))
}

/// openssl's own failures count as "not genuine".
pub(crate) fn verify(key: &PKey<Public>, message: &[u8], signature: &[u8]) -> bool {
    sign::Verifier::new_without_digest(key)
        .and_then(|mut verifier| verifier.verify_oneshot(signature, message))
        .unwrap_or(false)
}

/// The message that `cosigner` signs for the checkpoint in the text of a note.
///
/// ```text
/// "subtree/v1" LF NUL ‖ u8 length ‖ cosigner's name ‖ u64 time ‖ u8 length ‖ origin
///                     ‖ u64 start ‖ u64 end ‖ hash
/// ```
///
/// A checkpoint is the subtree from 0 to its size. Extension lines are not in the message. `None`
/// if the text is no checkpoint or a name has more than 255 bytes: there is no message for those.
pub(crate) fn message(cosigner: &KeyName, time: PosixSeconds, text: &str) -> Option<Vec<u8>> {
    let checkpoint = Checkpoint::parse(text).ok()?;
    let (cosigner, origin) = (cosigner.as_str().as_bytes(), checkpoint.origin().as_bytes());
    let head = checkpoint.tree_head();
    let mut message = LABEL.to_vec();
    message.push(u8::try_from(cosigner.len()).ok()?);
    message.extend_from_slice(cosigner);
    message.extend_from_slice(&time.0.to_be_bytes());
    message.push(u8::try_from(origin.len()).ok()?);
    message.extend_from_slice(origin);
    message.extend_from_slice(&/* start */ 0_u64.to_be_bytes());
    message.extend_from_slice(&head.tree_size.to_be_bytes());
    message.extend_from_slice(head.root.as_bytes());
    Some(message)
}

#[cfg(test)]
mod tests;
