//! Revocations: another agent's failure, told by the verifier and signed with the key the tenant gave it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messages::keylime::RevocationNotice;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::rsa::Padding;
use openssl::sha::sha256;
use openssl::sign::{RsaPssSaltlen, Verifier};
use openssl::x509::X509;
use transport::secret_file;

#[cfg(test)]
mod tests;

/// Where accepted revocations are kept: one file each, named by the SHA-256 of the message, so that one told twice
/// is kept once. What is to be done about them is for others who watch the folder.
pub(crate) struct RevocationLog {
    folder: PathBuf,
}

/// Why a revocation is not accepted; the text is fit for the peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevocationRefused {
    /// The certificate to check it with is unusable.
    #[error("the revocation certificate of this agent is unusable")]
    Certificate(#[source] ErrorStack),
    /// More than the agent keeps.
    #[error("{KEPT_MAX} revocations are kept, which is the limit")]
    Full,
    /// Keeping it failed.
    #[error("the revocation could not be kept")]
    Keep(#[source] std::io::Error),
    /// The message is no JSON object.
    #[error("the message is not a JSON object")]
    Message,
    /// Nobody gave the agent a certificate to check it with.
    #[error("this agent has no revocation certificate to check the signature with")]
    NoCertificate,
    /// The signature is not that of the certificate's key.
    #[error("the signature does not verify")]
    Signature,
    /// The file was not written.
    #[error("the revocation could not be kept")]
    Write(#[from] secret_file::WriteError),
}

impl RevocationLog {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Checks the signature with `certificate` (PEM) and keeps the message. The answer is the message's SHA-256.
    pub(crate) fn accept(
        &self,
        notice: &RevocationNotice,
        certificate: Option<&[u8]>,
    ) -> Result<String, RevocationRefused> {
        let pem = certificate.ok_or(RevocationRefused::NoCertificate)?;
        let certificate = X509::from_pem(pem).map_err(RevocationRefused::Certificate)?;
        if !verifies(&certificate, notice).map_err(RevocationRefused::Certificate)? {
            return Err(RevocationRefused::Signature);
        }
        if !serde_json::from_str::<serde_json::Value>(&notice.msg).is_ok_and(|message| message.is_object()) {
            return Err(RevocationRefused::Message);
        }
        let name = hex::encode(sha256(notice.msg.as_bytes()));
        self.keep(&self.folder.join(format!("{name}.json")), notice.msg.as_bytes())?;
        Ok(name)
    }

    fn keep(&self, path: &Path, message: &[u8]) -> Result<(), RevocationRefused> {
        std::fs::create_dir_all(&self.folder).map_err(RevocationRefused::Keep)?;
        if path.exists() {
            return Ok(());
        }
        if std::fs::read_dir(&self.folder).map_err(RevocationRefused::Keep)?.count() >= KEPT_MAX {
            return Err(RevocationRefused::Full);
        }
        Ok(secret_file::write(path, message)?)
    }
}

/// RSASSA-PSS with SHA-256 for hash and MGF1 and the longest salt, over the message's bytes.
fn verifies(certificate: &X509, notice: &RevocationNotice) -> Result<bool, ErrorStack> {
    let Ok(signature) = STANDARD.decode(&notice.signature) else { return Ok(false) };
    let key = certificate.public_key()?;
    if key.rsa().is_err() {
        return Ok(false);
    }
    let mut verifier = Verifier::new(MessageDigest::sha256(), &key)?;
    verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
    verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
    verifier.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH)?;
    verifier.update(notice.msg.as_bytes())?;
    // openssl reports a signature of the wrong size as an error.
    Ok(verifier.verify(&signature).unwrap_or(false))
}

/// A fleet's worth of failures at 1 KiB each is 10 MiB.
const KEPT_MAX: usize = 10_000;
