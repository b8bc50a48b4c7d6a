//! The one place that draws randomness.

use messages::ledger::IdempotencyKey;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_bytes;

/// A new key for a log.
pub(crate) fn ed25519_key() -> Result<PKey<Private>, ErrorStack> {
    PKey::generate_ed25519()
}

/// A name for a batch of our own.
pub(crate) fn idempotency_key() -> Result<IdempotencyKey, ErrorStack> {
    let mut key = [0; 16];
    rand_bytes(&mut key)?;
    Ok(IdempotencyKey(key))
}

/// Sixteen hex digits that no other log or file has.
pub(crate) fn tag() -> Result<String, ErrorStack> {
    let mut tag = [0; 8];
    rand_bytes(&mut tag)?;
    Ok(hex::encode(tag))
}
