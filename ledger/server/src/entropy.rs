//! The one place that draws randomness.

use ledger_timestamp::Nonce;
use messages::ledger::IdempotencyKey;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_bytes;

/// A new P-256 key, which signs receipts.
pub(crate) fn p256_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

/// A number that the answer to a request for a time-stamp repeats.
pub(crate) fn timestamp_nonce() -> Result<Nonce, ErrorStack> {
    let mut random = [0; 16];
    rand_bytes(&mut random)?;
    Ok(Nonce::new(&random))
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
