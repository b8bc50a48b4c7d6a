//! The only place where this crate draws randomness.

use evidence::credential::CredentialRandomness;
use openssl::error::ErrorStack;
use openssl::rand::rand_priv_bytes;
use registrar_protocol::{CREDENTIAL_CHARS, CredentialSecret};
use zeroize::Zeroizing;

/// A fresh credential.
///
/// # Errors
/// What openssl says when its generator has no entropy.
pub(crate) fn credential_secret() -> Result<CredentialSecret, ErrorStack> {
    loop {
        // One byte in 32 is skipped; with twice as many the loop is all but never taken twice.
        let mut bytes = Zeroizing::new([0; 2 * CREDENTIAL_CHARS]);
        rand_priv_bytes(bytes.as_mut_slice())?;
        if let Some(secret) = CredentialSecret::from_randomness(bytes.as_slice()) {
            return Ok(secret);
        }
    }
}

/// Fresh bytes for making one credential.
///
/// # Errors
/// What openssl says when its generator has no entropy.
pub(crate) fn credential_randomness() -> Result<CredentialRandomness, ErrorStack> {
    let mut bytes = Zeroizing::new([0; CredentialRandomness::BYTES]);
    rand_priv_bytes(bytes.as_mut_slice())?;
    Ok(CredentialRandomness::new(*bytes))
}
