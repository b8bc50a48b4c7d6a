//! The client certificate and the authority, from files in the layout of Keylime's `cv_ca`.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use openssl::{error::ErrorStack, pkey::PKey, x509::X509};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

/// Where authority, certificate and key are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// Why TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsUnusable {
    /// The TLS library does not take the key.
    #[error("the key in {path} is not one the TLS library takes", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {expected} in PEM", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `certificate` or `unencrypted private key`.
        expected: &'static str,
        /// What openssl said.
        source: ErrorStack,
    },
    /// Others than the owner may read the key.
    #[error("{path} has mode {mode:04o}, so others may read the key; run chmod 600 on it", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file could not be read.
    #[error("cannot read {path}; give the ledger's TLS folder with --tls-dir", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl TlsFiles {
    /// The files of a folder: `cacert.crt`, and `auditor-cert.crt` with `auditor-private.pem` if it is there, else
    /// `client-cert.crt` with `client-private.pem`.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let name = if folder.join("auditor-cert.crt").exists() { "auditor" } else { "client" };
        Self {
            authority: folder.join("cacert.crt"),
            certificate: folder.join(format!("{name}-cert.crt")),
            key: folder.join(format!("{name}-private.pem")),
        }
    }

    /// The TLS settings: this authority and no other, this certificate.
    pub(super) fn config(&self) -> Result<TlsConfig, TlsUnusable> {
        let authorities: Vec<_> = certificates(&self.authority)?;
        let key = private_key(&self.key)?;
        let client = ClientCert::new_with_certs(&certificates(&self.certificate)?, key);
        Ok(TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::new_with_certs(&authorities))
            .client_cert(Some(client))
            .build())
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, TlsUnusable> {
    let malformed = |source| TlsUnusable::Malformed { path: path.to_owned(), expected: "certificate", source };
    let pem = fs::read(path).map_err(|source| TlsUnusable::Read { path: path.to_owned(), source })?;
    let stack = X509::stack_from_pem(&pem).map_err(malformed)?;
    let der = stack.iter().map(|certificate| certificate.to_der().map_err(malformed));
    der.map(|der| der.map(|der| Certificate::from_der(&der).to_owned())).collect()
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, TlsUnusable> {
    let unread = |source| TlsUnusable::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unread)?;
    let mode = file.metadata().map_err(unread)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TlsUnusable::Mode { path: path.to_owned(), mode });
    }
    let mut pem = Zeroizing::new(Vec::new());
    file.read_to_end(&mut pem).map_err(unread)?;
    let expected = "unencrypted private key";
    let malformed = |source| TlsUnusable::Malformed { path: path.to_owned(), expected, source };
    // An encrypted key gets no passphrase instead of a prompt on the terminal.
    let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(malformed)?;
    let pem = Zeroizing::new(key.private_key_to_pem_pkcs8().map_err(malformed)?);
    PrivateKey::from_pem(&pem).map_err(|source| TlsUnusable::Key { path: path.to_owned(), source: Box::new(source) })
}
