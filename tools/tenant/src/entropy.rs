//! The one place that draws randomness.

use crate::failure::Failure;

/// `N` bytes of the system's random source.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    openssl::rand::rand_priv_bytes(&mut bytes).map_err(|error| Failure::system("draw random bytes", error))?;
    Ok(bytes)
}

/// Twenty characters of `[A-Za-z0-9]`, as tenants send for a nonce: 119 bits.
pub(crate) fn nonce() -> Result<String, Failure> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut nonce = String::with_capacity(20);
    while nonce.len() < 20 {
        // Six bits, those past the alphabet's end drawn again, so that all characters are as likely.
        let [byte] = bytes::<1>()?;
        nonce.extend(ALPHABET.get(usize::from(byte & 63)).map(|c| char::from(*c)));
    }
    Ok(nonce)
}
