//! What an agent is told: plain values, with Keylime's defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use agent_protocol::identifier::IdOption;
use evidence::algorithm::{HashAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

pub use crate::tpm::EkAlgorithm;
pub use options::{ConfigError, Options};

mod options;
#[cfg(test)]
mod tests;

/// The settings of one agent.
#[derive(Clone)]
pub struct Config {
    /// Where the AK is kept.
    pub agent_data_path: PathBuf,
    /// Under which id to register.
    pub agent_id: IdOption,
    /// The firmware's event log.
    pub boot_log_path: PathBuf,
    /// The host name or address under which verifier and tenant find the agent.
    pub contact_host: String,
    /// The port of that address; the one listened on if not given.
    pub contact_port: Option<u16>,
    /// Accept payloads although the secure folder is on a disk.
    pub danger_payload_on_disk: bool,
    /// Run the payload's script although the agent runs as root.
    pub danger_payload_script_as_root: bool,
    /// Where keys and state are kept; made with mode 0700 if it is not there.
    pub data_folder: PathBuf,
    /// The EK's algorithm.
    pub ek_algorithm: EkAlgorithm,
    /// A persistent handle to take the EK from; found by itself if not given.
    pub ek_handle: Option<u32>,
    /// The authorisation of the endorsement hierarchy, if it has one.
    pub endorsement_password: Option<Zeroizing<Vec<u8>>>,
    /// Whether a payload that is a ZIP archive is unpacked.
    pub extract_payload_zip: bool,
    /// The AK's hash, and the PCR bank of its quotes.
    pub hash: HashAlgorithm,
    /// IMA's measurement list in its ASCII form.
    pub ima_list_path: PathBuf,
    /// The file name of the key K in the secure folder.
    pub key_file_name: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The file name of the decrypted payload in the secure folder.
    pub payload_file_name: String,
    /// Where the payload key NK is kept.
    pub payload_key_path: PathBuf,
    /// A script of the payload to run once it is unpacked; none by default.
    pub payload_script: Option<String>,
    /// A file that is written once the agent is registered and removed when it stops: JSON with `agent_id`, `ip` and
    /// `port`.
    pub ready_file: Option<PathBuf>,
    /// Where the registrar is: `http://host:port`, or `https://host:port` together with `registrar_authorities`.
    pub registrar_url: String,
    /// PEM files of the authorities the registrar's certificate may come from, for `https`.
    pub registrar_authorities: Vec<PathBuf>,
    /// First and longest pause between attempts to register, in milliseconds.
    pub registration_pause_ms: (u64, u64),
    /// The certificate that revocations are checked with; the payload's own if not given.
    pub revocation_certificate: Option<PathBuf>,
    /// How the AK signs.
    pub scheme: SignatureScheme,
    /// Size of the tmpfs that is mounted for payloads, and the most that an archive may unpack to, in bytes.
    pub secure_bytes: u64,
    /// Where keys and payloads are written: in memory, unless `danger_payload_on_disk`.
    pub secure_folder: PathBuf,
    /// How to reach the TPM, such as `device:/dev/tpmrm0`.
    pub tcti: String,
    /// PEM files of the authorities whose clients may challenge and provision this agent.
    pub trusted_client_authorities: Vec<PathBuf>,
}

impl Config {
    /// Keylime's defaults for an agent with its state in `data_folder` and the TPM behind `tcti`.
    #[must_use]
    pub fn new(data_folder: impl Into<PathBuf>, tcti: impl Into<String>) -> Self {
        let folder = data_folder.into();
        Self {
            agent_data_path: folder.join("agent_data.json"),
            agent_id: IdOption::Generate,
            boot_log_path: "/sys/kernel/security/tpm0/binary_bios_measurements".into(),
            contact_host: Ipv4Addr::LOCALHOST.to_string(),
            contact_port: None,
            danger_payload_on_disk: false,
            danger_payload_script_as_root: false,
            ek_algorithm: EkAlgorithm::Rsa2048,
            ek_handle: None,
            endorsement_password: None,
            extract_payload_zip: true,
            hash: HashAlgorithm::Sha256,
            ima_list_path: "/sys/kernel/security/ima/ascii_runtime_measurements".into(),
            key_file_name: "derived_tci_key".to_owned(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9002),
            payload_file_name: "decrypted_payload".to_owned(),
            payload_key_path: folder.join("payload-private.pem"),
            payload_script: None,
            ready_file: None,
            registrar_url: "http://127.0.0.1:8890".to_owned(),
            registrar_authorities: Vec::new(),
            registration_pause_ms: (1_000, 60_000),
            revocation_certificate: None,
            scheme: SignatureScheme::RsaSsa,
            secure_bytes: 1 << 20,
            secure_folder: folder.join("secure"),
            tcti: tcti.into(),
            trusted_client_authorities: vec![folder.join("cv_ca/cacert.crt")],
            data_folder: folder,
        }
    }
}
