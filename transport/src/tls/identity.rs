//! A certificate together with its private key.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::x509::{X509, X509Ref};

use crate::secret_file;

/// What one end of a connection proves itself with: a certificate and the key it certifies.
#[derive(Clone)]
pub struct Identity {
    certificate: X509,
    chain: Vec<X509>,
    key: PKey<Private>,
}

/// Why a certificate and a key make no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate file was not read.
    #[error("cannot read {path}", path = path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key file was not read, or others can read it.
    #[error("the private key is not usable")]
    KeyFile(#[source] secret_file::ReadError),
    /// Not one or more certificates in PEM.
    #[error("{path} holds no PEM certificate", path = path.display())]
    MalformedCertificate {
        /// The file.
        path: PathBuf,
        /// What openssl says.
        source: ErrorStack,
    },
    /// Not an unencrypted private key in PEM.
    #[error("{path} holds no unencrypted PEM private key", path = path.display())]
    MalformedKey {
        /// The file.
        path: PathBuf,
        /// What openssl says.
        source: ErrorStack,
    },
    /// The certificate certifies another key.
    #[error("the certificate does not certify the private key beside it")]
    Mismatch,
}

impl Identity {
    /// Reads PEM files: the certificate, with any intermediates after it, and the key. The key
    /// file is refused when others than its owner can read it.
    ///
    /// # Errors
    /// [`IdentityError`], naming the file and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let pem = std::fs::read(certificate)
            .map_err(|source| IdentityError::CertificateFile { path: certificate.to_owned(), source })?;
        let mut chain = certificates_from_pem(&pem)
            .map_err(|source| IdentityError::MalformedCertificate { path: certificate.to_owned(), source })?;
        let leaf = chain.remove(0);
        let key = load_key(key)?;
        Self::new(leaf, chain, key)
    }

    /// Puts together a certificate, the intermediates above it (lowest first) and its key.
    ///
    /// # Errors
    /// [`IdentityError::Mismatch`] if the certificate is for another key.
    pub fn new(certificate: X509, chain: Vec<X509>, key: PKey<Private>) -> Result<Self, IdentityError> {
        let certified = certificate.public_key().map_err(|_| IdentityError::Mismatch)?;
        if !certified.public_eq(&key) {
            return Err(IdentityError::Mismatch);
        }
        Ok(Self { certificate, chain, key })
    }

    /// The certificate itself.
    pub fn certificate(&self) -> &X509Ref {
        &self.certificate
    }

    /// The certificates between this one and its authority, lowest first; often none.
    pub fn chain(&self) -> &[X509] {
        &self.chain
    }

    /// The private key. What is done with it stays in this process: do not print or store it.
    pub fn key(&self) -> &PKeyRef<Private> {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

pub(crate) fn load_key(path: &Path) -> Result<PKey<Private>, IdentityError> {
    let pem = secret_file::read(path).map_err(IdentityError::KeyFile)?;
    // An encrypted key would make openssl ask at the terminal; the callback answers "no password".
    PKey::private_key_from_pem_callback(&pem, |_| Ok(0))
        .map_err(|source| IdentityError::MalformedKey { path: path.to_owned(), source })
}

/// Reads one or more PEM certificates, such as a file of trusted authorities, in their order.
///
/// # Errors
/// What openssl says of text that is no certificate, or holds none.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<X509>, ErrorStack> {
    let certificates = X509::stack_from_pem(pem)?;
    if certificates.is_empty() {
        // Reading exactly one fails with openssl's own words for "none there".
        return X509::from_pem(pem).map(|certificate| vec![certificate]);
    }
    Ok(certificates)
}
