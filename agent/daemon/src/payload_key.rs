//! NK, the RSA-2048 key under which key shares come, in `payload-private.pem`.

use std::path::{Path, PathBuf};

use openssl::encrypt::Decrypter;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use transport::secret_file;
use zeroize::Zeroizing;

/// The payload key: kept across restarts, so that PCR 16 and the verifier's record stay true.
pub(crate) struct PayloadKey {
    key: PKey<Private>,
    public_pem: String,
}

/// Why there is no payload key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadKeyError {
    /// The cryptographic library failed.
    #[error("cannot {operation}")]
    Crypto {
        /// What was to be done.
        operation: &'static str,
        /// Why not.
        source: ErrorStack,
    },
    /// Not an RSA key of 2048 bits or more.
    #[error("{path} holds no RSA key of 2048 to 4096 bits", path = path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// The file was not read, or others can read it.
    #[error(transparent)]
    Read(#[from] secret_file::ReadError),
    /// The file was not written.
    #[error(transparent)]
    Write(#[from] secret_file::WriteError),
}

impl PayloadKey {
    /// Reads the key, or makes one where there is none.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, PayloadKeyError> {
        let failed = |operation| move |source| PayloadKeyError::Crypto { operation, source };
        let key = match secret_file::read(path) {
            // An encrypted key would make openssl ask at the terminal; the callback answers "no password".
            Ok(pem) => PKey::private_key_from_pem_callback(&pem, |_| Ok(0))
                .map_err(|_| PayloadKeyError::Kind { path: path.to_owned() })?,
            Err(error) if error.is_missing() => {
                let key = Rsa::generate(KEY_BITS).and_then(PKey::from_rsa).map_err(failed("make a payload key"))?;
                let pem = key.private_key_to_pem_pkcs8().map_err(failed("encode the payload key"))?;
                secret_file::write(path, &Zeroizing::new(pem))?;
                key
            }
            Err(error) => return Err(error.into()),
        };
        if key.rsa().is_err() || !(KEY_BITS..=2 * KEY_BITS).contains(&key.bits()) {
            return Err(PayloadKeyError::Kind { path: path.to_owned() });
        }
        let public_pem = key.public_key_to_pem().map_err(failed("encode the payload key"))?;
        Ok(Self { key, public_pem: String::from_utf8_lossy(&public_pem).into_owned() })
    }

    /// The public half, `SubjectPublicKeyInfo` in PEM with a newline at its end: what PCR 16 binds.
    pub(crate) fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// Decrypts RSAES-OAEP with SHA-1 for hash and MGF1 and an empty label.
    pub(crate) fn decrypt(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
        let mut decrypter = Decrypter::new(&self.key)?;
        decrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
        let mut plain = Zeroizing::new(vec![0; decrypter.decrypt_len(sealed)?]);
        let length = decrypter.decrypt(sealed, &mut plain)?;
        plain.truncate(length);
        Ok(plain)
    }
}

/// Keylime's size of NK.
const KEY_BITS: u32 = 2048;
