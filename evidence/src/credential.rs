//! Making a credential: a secret that only the TPM with a given EK, holding a given AK, can recover.

use std::fmt;

use openssl::symm::{Cipher, Crypter, Mode};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::{CryptoUnavailable, unavailable};
use crate::name::TpmName;
use crate::public::{Ek, Parameters};
use crate::reader::{MalformedStructure, Reader};

mod seed;
#[cfg(test)]
mod tests;

/// Makes a credential for the key named `ak` in the TPM that holds `ek`.
///
/// The TPM gives `secret` back (`TPM2_ActivateCredential`) only while an object with that very name is loaded, which is
/// what ties the AK to the EK. `randomness` must be fresh from a cryptographic source and never used again.
///
/// # Errors
/// [`MakeCredentialError::SecretSize`] if `secret` is empty or longer than a digest of the EK's name algorithm.
///
/// Source: TPM 2.0 Library, Part 1, "Credential Protection", "Secret Sharing" (annexes for RSA and ECC).
pub fn make_credential(
    ek: &Ek,
    ak: &TpmName,
    secret: &[u8],
    randomness: &CredentialRandomness,
) -> Result<Credential, MakeCredentialError> {
    let hash = ek.public().name_algorithm();
    let max = hash.digest_bytes();
    if secret.is_empty() || secret.len() > max {
        return Err(MakeCredentialError::SecretSize { max, found: secret.len() });
    }
    let (seed, encrypted_seed) = match ek.public().parameters() {
        Parameters::Rsa { .. } => seed::share_rsa(ek, randomness)?,
        Parameters::Ecc { curve, .. } => seed::share_ecc(ek, curve, randomness)?,
    };

    let cipher_key = seed::kdfa(hash, &seed, "STORAGE", ak.as_bytes(), usize::from(ek.symmetric_key_bits()) / 8)?;
    let identity = encrypt(&cipher_key, &Zeroizing::new(sized(secret)))?;
    let hmac_key = seed::kdfa(hash, &seed, "INTEGRITY", &[], hash.digest_bytes())?;
    let integrity = seed::hmac(hash, &hmac_key, &[&identity, ak.as_bytes()])?;
    Ok(Credential {
        id_object: sized(&[sized(&integrity), identity].concat()),
        encrypted_secret: sized(&encrypted_seed),
    })
}

/// A made credential, in the two structures `TPM2_ActivateCredential` takes.
///
/// Neither is secret: without the TPM both are noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    id_object: Vec<u8>,
    encrypted_secret: Vec<u8>,
}

impl Credential {
    /// Reads the file form of tpm2-tools, which is also what the Keylime registrar sends.
    ///
    /// Shape: u32 0xbadcc0de, u32 1, `TPM2B_ID_OBJECT`, `TPM2B_ENCRYPTED_SECRET`; big endian, to the last byte.
    ///
    /// # Errors
    /// [`MalformedStructure`] naming the field, its offset, what was expected and what was found.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedStructure> {
        let mut reader = Reader::new(bytes);
        let magic = reader.u32("magic")?;
        if magic != FILE_MAGIC {
            let (field, found) = ("magic", u64::from(magic));
            return Err(MalformedStructure::Value { field, offset: 0, expected: "0xbadcc0de", found });
        }
        let version = reader.u32("version")?;
        if version != FILE_VERSION {
            let (field, found) = ("version", u64::from(version));
            return Err(MalformedStructure::Value { field, offset: 4, expected: "1", found });
        }
        let id_object = sized(reader.sized("TPM2B_ID_OBJECT", (1, ID_OBJECT_BYTES_MAX), "1 to 132")?);
        let encrypted_secret =
            sized(reader.sized("TPM2B_ENCRYPTED_SECRET", (1, ENCRYPTED_SECRET_BYTES_MAX), "1 to 512")?);
        reader.finish()?;
        Ok(Self { id_object, encrypted_secret })
    }

    /// Writes the file form, see [`parse`](Self::parse).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&FILE_MAGIC.to_be_bytes()[..], &FILE_VERSION.to_be_bytes()[..], &self.id_object, &self.encrypted_secret]
            .concat()
    }

    /// The `TPM2B_ID_OBJECT`, with its size in front.
    #[must_use]
    pub fn id_object(&self) -> &[u8] {
        &self.id_object
    }

    /// The `TPM2B_ENCRYPTED_SECRET`, with its size in front.
    #[must_use]
    pub fn encrypted_secret(&self) -> &[u8] {
        &self.encrypted_secret
    }
}

/// The random bytes one credential takes, wiped when dropped.
///
/// For an RSA EK they are the seed and then the OAEP seed, each of the name digest's size; for an ECC EK the ephemeral
/// key is made of them.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct CredentialRandomness([u8; Self::BYTES]);

impl CredentialRandomness {
    /// Two SHA-512 digests' worth; an ephemeral P-384 key takes 56.
    pub const BYTES: usize = 128;

    /// Takes fresh random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The first `count` bytes and those after them.
    fn split_at(&self, count: usize) -> (&[u8], &[u8]) {
        self.0.split_at(count)
    }
}

impl fmt::Debug for CredentialRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialRandomness(secret)")
    }
}

/// Why no credential was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeCredentialError {
    /// The secret does not fit the structure.
    #[error("the secret must have 1 to {max} bytes, found {found}")]
    SecretSize {
        /// Size of a digest of the EK's name algorithm.
        max: usize,
        /// Size of the secret.
        found: usize,
    },
    /// The cryptographic library failed.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
}

/// AES in CFB mode with a zero IV, as the TPM uses it once per derived key.
fn encrypt(key: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoUnavailable> {
    let cipher = if key.len() == 16 { Cipher::aes_128_cfb128() } else { Cipher::aes_256_cfb128() };
    let work = || {
        let mut crypter = Crypter::new(cipher, Mode::Encrypt, key, Some(&[0; 16]))?;
        let mut out = vec![0; plain.len() + cipher.block_size()];
        let written = crypter.update(plain, &mut out)?;
        out.truncate(written);
        Ok(out)
    };
    work().map_err(unavailable("encrypt with AES-CFB"))
}

/// `TPM2B`: the bytes with their 16-bit size in front; all of ours are below 1,024 bytes.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}

/// The magic number of tpm2-tools' files.
const FILE_MAGIC: u32 = 0xbadc_c0de;
/// The only version of the credential file.
const FILE_VERSION: u32 = 1;
/// `TPMS_ID_OBJECT`: two digests of at most 64 bytes with their sizes.
const ID_OBJECT_BYTES_MAX: usize = 2 * (2 + 64);
/// An RSA-4096 ciphertext; an ECC point is shorter.
const ENCRYPTED_SECRET_BYTES_MAX: usize = 512;
