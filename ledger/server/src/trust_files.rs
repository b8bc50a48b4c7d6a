//! The files that say whom a log trusts outside: witnesses, time-stamping authorities, and their servers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger_timestamp::{Authorities, MalformedAuthorities};
use openssl::error::ErrorStack;
use openssl::x509::X509;
use transport::tls::{ClientTls, ClientTlsConfig, HostNames, TlsError, certificates_from_pem};

use crate::stamping::{StampingAuthority, StampingConfig, StampingNameTaken};
use crate::witnessing::{WitnessConfig, WitnessPolicy, WitnessPolicyError};

/// Why a log's witnesses or time-stamping authorities are not used.
#[derive(Debug, thiserror::Error)]
pub enum TrustFileError {
    /// A file holds no certificate.
    #[error("{path} holds no PEM certificate", path = path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// openssl's reasons.
        source: ErrorStack,
    },
    /// A file could not be read.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Two authorities have one name.
    #[error("the time-stamping authorities cannot be told apart")]
    Names(#[source] StampingNameTaken),
    /// A file is no policy to submit by.
    #[error("{path} is not used", path = path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: WitnessPolicyError,
    },
    /// A file names nobody who could stamp.
    #[error("{path} names no time-stamping authority's root", path = path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MalformedAuthorities,
    },
    /// Nobody is trusted to be a server with https.
    #[error("{whose} have https addresses; name their servers' authorities with {option}")]
    Servers {
        /// Whose.
        whose: &'static str,
        /// The option that names them.
        option: &'static str,
    },
    /// openssl refuses the certificates.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
}

impl WitnessConfig {
    /// The witnesses of the tlog-policy file `policy`; `servers` are the authorities of those asked by
    /// https, PEM. Everything else is as [`WitnessConfig::new`] has it.
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub fn load(policy: &Path, servers: Option<&Path>) -> Result<Self, TrustFileError> {
        let parsed = WitnessPolicy::parse(&read(policy)?)
            .map_err(|source| TrustFileError::Policy { path: policy.to_owned(), source })?;
        if parsed.uses_tls() && servers.is_none() {
            return Err(TrustFileError::Servers { whose: "the witnesses", option: "--witness-ca" });
        }
        Ok(Self::new(parsed, tls(servers)?))
    }
}

impl StampingConfig {
    /// Has each of `authorities` stamp; `roots` is a PEM file with the roots their tokens must lead to,
    /// `servers` one with the authorities of those asked by https. See [`StampingConfig::new`].
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub fn load(
        authorities: Vec<StampingAuthority>,
        roots: &Path,
        servers: Option<&Path>,
        period: Duration,
        renew_before: Duration,
    ) -> Result<Self, TrustFileError> {
        if servers.is_none() && authorities.iter().any(StampingAuthority::uses_tls) {
            return Err(TrustFileError::Servers { whose: "the time-stamping authorities", option: "--tsa-tls-ca" });
        }
        let mut trusted = Authorities::new();
        trusted.trust_pem(&read(roots)?).map_err(|source| TrustFileError::Roots { path: roots.to_owned(), source })?;
        Self::new(authorities, period, renew_before, tls(servers)?, trusted).map_err(TrustFileError::Names)
    }
}

/// Certificates of a PEM file, at least one.
///
/// # Errors
/// [`TrustFileError::Io`] or [`TrustFileError::Certificates`].
pub fn certificates(path: &Path) -> Result<Vec<X509>, TrustFileError> {
    certificates_from_pem(&read(path)?).map_err(|source| TrustFileError::Certificates { path: path.to_owned(), source })
}

fn tls(servers: Option<&Path>) -> Result<ClientTls, TrustFileError> {
    let authorities = servers.map(certificates).transpose()?.unwrap_or_default();
    let config = ClientTlsConfig { authorities, host_names: HostNames::Checked, identity: None };
    ClientTls::new(&config).map_err(TrustFileError::Tls)
}

fn read(path: &Path) -> Result<Vec<u8>, TrustFileError> {
    fs::read(path).map_err(|source| TrustFileError::Io { path: path.to_owned(), source })
}
