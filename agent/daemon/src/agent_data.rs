//! `agent_data.json`: the AK and the circumstances it was made under.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::public::{MalformedPublic, Public as Area};
use messages::Digest;
use serde::{Deserialize, Serialize};
use transport::secret_file;

use crate::tpm::Identification;

/// What is kept of an AK. The private half is under the TPM's own key; the file is secret nonetheless, so that nobody
/// but the agent can load the AK where the EK's hierarchy has no password.
#[derive(Deserialize, Serialize)]
pub(crate) struct AgentData {
    ak_hash_alg: String,
    ak_sign_alg: String,
    /// `TPM2B_PUBLIC`, base64.
    ak_public: String,
    /// `TPM2B_PRIVATE` without its size, base64.
    ak_private: String,
    /// SHA-256 of the EK's `TPM2B_PUBLIC`.
    ek_hash: Digest,
}

/// Why the agent's data cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentDataError {
    /// The AK in the file is none.
    #[error("the AK in {path} is not usable", path = path.display())]
    Ak {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MalformedPublic,
    },
    /// A member that is no base64.
    #[error("{member} in {path} is no base64", path = path.display())]
    Base64 {
        /// The file.
        path: PathBuf,
        /// The member.
        member: &'static str,
        /// Why not.
        source: base64::DecodeError,
    },
    /// Not the JSON expected.
    #[error("{path} is not what an agent writes", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The AK was made with other settings.
    #[error(
        "the AK in {path} is {found}, configured is {expected}; restore the settings, or remove the file to enrol anew with a new AK", path = path.display()
    )]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// Scheme and hash configured.
        expected: String,
        /// Scheme and hash found.
        found: String,
    },
    /// The AK belongs to another TPM.
    #[error(
        "the AK in {path} was made under the EK {expected}, this TPM's EK is {found}; if the TPM was replaced on purpose, remove the file to enrol anew with a new AK", path = path.display()
    )]
    OtherTpm {
        /// The file.
        path: PathBuf,
        /// Hash of the EK it was made under.
        expected: Digest,
        /// Hash of this TPM's EK.
        found: Digest,
    },
    /// The file was not read, or others can read it.
    #[error(transparent)]
    Read(#[from] secret_file::ReadError),
    /// The file was not written.
    #[error(transparent)]
    Write(#[from] secret_file::WriteError),
}

impl AgentData {
    pub(crate) fn new(made: &Identification, ek: &Area, ak: &Area, ak_private: &[u8]) -> Self {
        Self {
            ak_hash_alg: made.hash.name().to_owned(),
            ak_sign_alg: made.scheme.name().to_owned(),
            ak_public: STANDARD.encode(ak.to_tpm2b()),
            ak_private: STANDARD.encode(ak_private),
            ek_hash: Digest::from(openssl::sha::sha256(&ek.to_tpm2b())),
        }
    }

    /// Reads the file, `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, AgentDataError> {
        let bytes = match secret_file::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let failed = |source| AgentDataError::Json { path: path.to_owned(), source };
        serde_json::from_slice(&bytes).map(Some).map_err(failed)
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), AgentDataError> {
        let failed = |source| AgentDataError::Json { path: path.to_owned(), source };
        let json = serde_json::to_vec_pretty(self).map_err(failed)?;
        Ok(secret_file::write(path, &json)?)
    }

    /// The AK's public area and private half, if they were made with these settings under this EK.
    pub(crate) fn ak_for(&self, wanted: &Identification, ek: &Area) -> Result<(Area, Vec<u8>), AgentDataError> {
        let path = || wanted.agent_data.clone();
        let found = Digest::from(openssl::sha::sha256(&ek.to_tpm2b()));
        if found != self.ek_hash {
            return Err(AgentDataError::OtherTpm { path: path(), expected: self.ek_hash, found });
        }
        if (self.ak_hash_alg.as_str(), self.ak_sign_alg.as_str()) != (wanted.hash.name(), wanted.scheme.name()) {
            return Err(AgentDataError::OtherSettings {
                path: path(),
                expected: format!("{} with {}", wanted.scheme, wanted.hash),
                found: format!("{} with {}", self.ak_sign_alg, self.ak_hash_alg),
            });
        }
        let decode = |member, text: &str| {
            STANDARD.decode(text).map_err(|source| AgentDataError::Base64 { path: path(), member, source })
        };
        let public = decode("ak_public", &self.ak_public)?;
        let area = Area::from_tpm2b(&public).map_err(|source| AgentDataError::Ak { path: path(), source })?;
        Ok((area, decode("ak_private", &self.ak_private)?))
    }
}
