//! The only place that draws random bytes.

use openssl::error::ErrorStack;
use zeroize::Zeroizing;

/// `N` bytes from the system's random source.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, ErrorStack> {
    let mut bytes = Zeroizing::new([0; N]);
    openssl::rand::rand_bytes(bytes.as_mut())?;
    Ok(bytes)
}
