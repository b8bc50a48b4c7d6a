//! Randomness, drawn in this file alone.

use openssl::error::ErrorStack;

/// Fresh bytes for a new identifier.
pub(crate) fn identifier_bits() -> Result<[u8; 16], ErrorStack> {
    let mut bits = [0; 16];
    openssl::rand::rand_bytes(&mut bits)?;
    Ok(bits)
}

/// A number that spreads attempts over time. Nothing secret hangs on it, so that a failing source only means that
/// nothing is spread.
pub(crate) fn spread() -> u64 {
    let mut bits = [0; 8];
    match openssl::rand::rand_bytes(&mut bits) {
        Ok(()) => u64::from_be_bytes(bits),
        Err(_) => 0,
    }
}
