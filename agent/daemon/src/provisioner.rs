//! Key shares and payloads as they come in, and what is written when a key is complete.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use agent_protocol::parameters::KeyChallenge;
use agent_protocol::payload::{BootstrapKey, KeyShare, PayloadRejected};
use agent_protocol::provisioning::{Offer, Provisioned, Provisioning, ShareRefused, read_used};
use agent_protocol::tag::{Tag, TagUnavailable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messages::AgentId;
use messages::keylime::{UKey, VKey};
use openssl::sha::sha256;
use transport::secret_file;
use zeroize::Zeroizing;

use crate::archive::{self, ArchiveRejected};
use crate::config::Config;
use crate::payload_key::PayloadKey;
use crate::script;
use crate::secure_folder::{SecureFolder, SecureFolderError};

/// Takes shares until they make a key, then writes key and payload into the secure folder.
pub(crate) struct Provisioner {
    danger_script_as_root: bool,
    extract: bool,
    folder: Result<SecureFolder, SecureFolderError>,
    key: Arc<PayloadKey>,
    key_file: String,
    payload_file: String,
    script: Option<String>,
    secure_bytes: u64,
    /// Held while a share is taken, so that keys complete one after the other.
    state: Mutex<Provisioning>,
    used_file: PathBuf,
}

/// Why a share or payload is not taken; the text is fit for the peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvisionError {
    /// A member that is no base64.
    #[error("{member} is no base64")]
    Base64 {
        /// The member.
        member: &'static str,
    },
    /// The share does not decrypt, or to no share.
    #[error("encrypted_key is no key share under this agent's key")]
    Share,
    /// The share is refused.
    #[error(transparent)]
    Refused(#[from] ShareRefused),
    /// Not 96 hex digits.
    #[error("auth_tag is no HMAC-SHA384 in hex")]
    Tag,
    /// There is no folder for payloads.
    #[error("this agent takes no payloads: its secure folder is not usable")]
    NoFolder,
    /// The key was complete, and writing what belongs to it failed.
    #[error("the key is complete, but what belongs to it could not be kept")]
    Keep(#[source] KeepError),
}

/// Why a complete key led to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// The archive was not unpacked; key and payload are there.
    #[error("the payload could not be unpacked")]
    Archive(#[from] ArchiveRejected),
    /// Writing failed.
    #[error(transparent)]
    Folder(#[from] SecureFolderError),
    /// The payload does not open with its key.
    #[error(transparent)]
    Payload(#[from] PayloadRejected),
    /// The key could not be marked as used, so it was not used.
    #[error("the key could not be marked as used")]
    Used(#[from] secret_file::WriteError),
}

/// Why no shares can be taken at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvisionerError {
    /// The list of used keys was not read.
    #[error(transparent)]
    Read(#[from] secret_file::ReadError),
    /// The list of used keys is damaged.
    #[error("{path} is not a list of used keys", path = path.display())]
    Used {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: agent_protocol::tag::MalformedTag,
    },
}

impl Provisioner {
    /// Ready for shares under `key`, knowing the keys used before and the one in force.
    pub(crate) fn open(config: &Config, id: AgentId, key: Arc<PayloadKey>) -> Result<Self, ProvisionerError> {
        // Shares recorded under another NK do not decrypt any more, so each NK has a list of its own.
        let name = hex::encode(sha256(key.public_pem().as_bytes()));
        let used_file = config.data_folder.join(format!("used-keys-{}.txt", name.get(..16).unwrap_or(&name)));
        let used = match secret_file::read(&used_file) {
            Ok(text) => read_used(&String::from_utf8_lossy(&text))
                .map_err(|source| ProvisionerError::Used { path: used_file.clone(), source })?,
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let folder = SecureFolder::open(&config.secure_folder, config.secure_bytes, config.danger_payload_on_disk);
        if let Err(error) = &folder {
            tracing::warn!(%error, "payloads will be refused");
        }
        // The folder is in memory: what is there was written since the machine's start.
        let stored = folder.as_ref().ok().and_then(|folder| {
            let bytes = folder.read(&format!("{UNZIPPED}/{}", config.key_file_name), KEY_BYTES_MAX).ok()??;
            BootstrapKey::from_stored(bytes).ok()
        });
        Ok(Self {
            danger_script_as_root: config.danger_payload_script_as_root,
            extract: config.extract_payload_zip,
            folder,
            key,
            key_file: config.key_file_name.clone(),
            payload_file: config.payload_file_name.clone(),
            script: config.payload_script.clone(),
            secure_bytes: config.secure_bytes,
            state: Mutex::new(Provisioning::new(id, used, stored)),
            used_file,
        })
    }

    /// Takes the tenant's half. Blocks.
    pub(crate) fn offer_u(&self, sent: &UKey) -> Result<Option<SecureFolder>, ProvisionError> {
        let share = self.share(&sent.encrypted_key)?;
        let tag = Tag::from_hex(&sent.auth_tag).map_err(|_| ProvisionError::Tag)?;
        let decode = |text: &String| STANDARD.decode(text).map_err(|_| ProvisionError::Base64 { member: "payload" });
        let payload = sent.payload.as_ref().filter(|text| !text.is_empty()).map(decode).transpose()?;
        if payload.is_some() && self.folder.is_err() {
            return Err(ProvisionError::NoFolder);
        }
        self.take(|state| state.offer_u(Offer { payload, share, tag }))
    }

    /// Takes the verifier's half. Blocks.
    pub(crate) fn offer_v(&self, sent: &VKey) -> Result<Option<SecureFolder>, ProvisionError> {
        let share = self.share(&sent.encrypted_key)?;
        self.take(|state| state.offer_v(share))
    }

    /// Proves possession of the key, if there is one.
    pub(crate) fn prove(&self, challenge: &KeyChallenge) -> Result<Option<Tag>, TagUnavailable> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).prove(challenge)
    }

    /// A file of the unpacked payload.
    pub(crate) fn payload_file(&self, name: &str, bytes_max: u64) -> Option<Zeroizing<Vec<u8>>> {
        self.folder.as_ref().ok()?.read(&format!("{UNZIPPED}/{name}"), bytes_max).ok()?
    }

    /// Runs the payload's script, if one is configured and there.
    pub(crate) async fn run_script(&self, folder: &SecureFolder) {
        let Some(script) = &self.script else { return };
        if let Err(refused) = script::run(script, folder, self.danger_script_as_root).await {
            tracing::error!(error = %refused, cause = ?std::error::Error::source(&refused), "no script was run");
        }
    }

    fn share(&self, text: &str) -> Result<KeyShare, ProvisionError> {
        let sealed = STANDARD.decode(text).map_err(|_| ProvisionError::Base64 { member: "encrypted_key" })?;
        // One answer for all that can be wrong, so that nobody learns about the padding.
        let plain = self.key.decrypt(&sealed).map_err(|_| ProvisionError::Share)?;
        KeyShare::new(plain).map_err(|_| ProvisionError::Share)
    }

    /// The answer is the payload's folder if the share completed a key.
    fn take(
        &self,
        offer: impl FnOnce(&mut Provisioning) -> Result<Option<Provisioned>, ShareRefused>,
    ) -> Result<Option<SecureFolder>, ProvisionError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(provisioned) = offer(&mut state)? else { return Ok(None) };
        tracing::info!(payload = provisioned.payload.is_some(), "both key shares are there and their tag is right");
        // Marked as used before it is used: after a crash in between, the recorded shares are refused.
        let used: String = state.used().map(|tag| tag.to_hex() + "\n").collect();
        secret_file::write(&self.used_file, used.as_bytes()).map_err(|error| ProvisionError::Keep(error.into()))?;
        self.keep(&provisioned).map_err(ProvisionError::Keep)
    }

    fn keep(&self, provisioned: &Provisioned) -> Result<Option<SecureFolder>, KeepError> {
        // Without a folder the key stays in memory alone; a payload was refused when it came.
        let Ok(folder) = &self.folder else { return Ok(None) };
        let payload = provisioned.payload.as_ref().map(|sealed| provisioned.key.decrypt(sealed)).transpose()?;
        let unzipped = folder.recreate(UNZIPPED)?;
        unzipped.write(&self.key_file, provisioned.key.as_bytes())?;
        let Some(payload) = payload else { return Ok(None) };
        unzipped.write(&self.payload_file, &payload)?;
        tracing::info!(bytes = payload.len(), folder = %unzipped.path().display(), "the payload was decrypted");
        if self.extract && archive::is_archive(&payload) {
            let reserved = [self.key_file.as_str(), self.payload_file.as_str()];
            archive::unpack(&payload, &unzipped, &reserved, self.secure_bytes)?;
        }
        Ok(Some(unzipped))
    }
}

/// Where in the secure folder everything is written; emptied for each key.
const UNZIPPED: &str = "unzipped";
/// The longest key is 32 bytes; one more tells a longer file.
const KEY_BYTES_MAX: u64 = 33;
