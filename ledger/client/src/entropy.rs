//! The one place that draws randomness.

use messages::ledger::IdempotencyKey;

/// A name for a batch that no other batch has.
pub(crate) fn idempotency_key() -> Result<IdempotencyKey, openssl::error::ErrorStack> {
    let mut key = [0; 16];
    openssl::rand::rand_bytes(&mut key)?;
    Ok(IdempotencyKey(key))
}
