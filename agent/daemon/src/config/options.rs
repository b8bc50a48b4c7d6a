//! Settings as they are written: flags, the environment and a file, under Keylime's names.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent_protocol::identifier::IdOption;
use messages::AgentIdError;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Config, EkAlgorithm};

/// Declares each setting once: as a flag, as an environment variable and as a member of the file's `[agent]`.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty, $long:literal, $env:literal;)+) => {
        /// Settings of the agent. A flag beats the environment, which beats the file.
        #[derive(clap::Args, Clone, Default, Deserialize)]
        #[serde(default)]
        pub struct Options {
            $($(#[doc = $doc])+ #[arg(long = $long, env = $env, hide_env_values = true)] pub $name: Option<$type>,)+
        }

        impl Options {
            /// These settings, with those of `other` where there is none.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }

            /// The names of all settings, as the file has them.
            const NAMES: &[&str] = &[$(stringify!($name),)+];
        }
    };
}

options! {
    /// Where the AK is kept [default: agent_data.json in keylime_dir]
    agent_data_path: PathBuf, "agent-data-path", "KEYLIME_AGENT_AGENT_DATA_PATH";
    /// Host name or address under which others reach this agent [default: ip]
    contact_ip: String, "contact-ip", "KEYLIME_AGENT_CONTACT_IP";
    /// Port of that address [default: the one listened on]
    contact_port: u16, "contact-port", "KEYLIME_AGENT_CONTACT_PORT";
    /// Accept payloads although the secure folder is on a disk
    danger_payload_on_disk: bool, "danger-payload-on-disk", "KEYLIME_AGENT_DANGER_PAYLOAD_ON_DISK";
    /// Run the payload's script although the agent is root
    danger_payload_script_as_root: bool, "danger-payload-script-as-root", "KEYLIME_AGENT_DANGER_PAYLOAD_SCRIPT_AS_ROOT";
    /// File name of the decrypted payload [default: decrypted_payload]
    dec_payload_file: String, "dec-payload-file", "KEYLIME_AGENT_DEC_PAYLOAD_FILE";
    /// Persistent handle of the EK, or "generate" [default: found by itself]
    ek_handle: String, "ek-handle", "KEYLIME_AGENT_EK_HANDLE";
    /// File name of the key [default: derived_tci_key]
    enc_keyname: String, "enc-keyname", "KEYLIME_AGENT_ENC_KEYNAME";
    /// Unpack payloads that are ZIP archives [default: true]
    extract_payload_zip: bool, "extract-payload-zip", "KEYLIME_AGENT_EXTRACT_PAYLOAD_ZIP";
    /// IMA's list in ASCII [default: /sys/kernel/security/ima/ascii_runtime_measurements]
    ima_ml_path: PathBuf, "ima-ml-path", "KEYLIME_AGENT_IMA_ML_PATH";
    /// Address to listen on [default: 127.0.0.1]
    ip: IpAddr, "ip", "KEYLIME_AGENT_IP";
    /// Folder for keys and state [default: /var/lib/keylime]
    keylime_dir: PathBuf, "keylime-dir", "KEYLIME_DIR";
    /// Firmware's event log [default: /sys/kernel/security/tpm0/binary_bios_measurements]
    measuredboot_ml_path: PathBuf, "measuredboot-ml-path", "KEYLIME_AGENT_MEASUREDBOOT_ML_PATH";
    /// Where the payload key is kept [default: payload-private.pem in keylime_dir]
    payload_key: PathBuf, "payload-key", "KEYLIME_AGENT_PAYLOAD_KEY";
    /// Script of the payload to run [default: none]
    payload_script: String, "payload-script", "KEYLIME_AGENT_PAYLOAD_SCRIPT";
    /// Port to listen on, 0 for a free one [default: 9002]
    port: u16, "port", "KEYLIME_AGENT_PORT";
    /// File written once the agent is registered: JSON with agent_id, ip, port
    ready_file: PathBuf, "ready-file", "KEYLIME_AGENT_READY_FILE";
    /// Registrar's host [default: 127.0.0.1]
    registrar_ip: String, "registrar-ip", "KEYLIME_AGENT_REGISTRAR_IP";
    /// Registrar's plain port [default: 8890]
    registrar_port: u16, "registrar-port", "KEYLIME_AGENT_REGISTRAR_PORT";
    /// PEM file of the authority of the registrar's certificate [default: cv_ca/cacert.crt in keylime_dir]
    registrar_tls_ca_cert: PathBuf, "registrar-tls-ca-cert", "KEYLIME_AGENT_REGISTRAR_TLS_CA_CERT";
    /// Register over TLS [default: false]
    registrar_tls_enabled: bool, "registrar-tls-enabled", "KEYLIME_AGENT_REGISTRAR_TLS_ENABLED";
    /// Registrar's TLS port [default: 8891]
    registrar_tls_port: u16, "registrar-tls-port", "KEYLIME_AGENT_REGISTRAR_TLS_PORT";
    /// Certificate that revocations are checked with [default: RevocationNotifier-cert.crt of the payload]
    revocation_cert: PathBuf, "revocation-cert", "KEYLIME_AGENT_REVOCATION_CERT";
    /// Folder for keys and payloads, in memory [default: secure in keylime_dir]
    secure_dir: PathBuf, "secure-dir", "KEYLIME_AGENT_SECURE_DIR";
    /// Its size, such as 1m [default: 1m]
    secure_size: String, "secure-size", "KEYLIME_AGENT_SECURE_SIZE";
    /// How to reach the TPM: device:/dev/tpmrm0, swtpm:host=127.0.0.1,port=2321, tabrmd [default: device:/dev/tpmrm0]
    tcti: String, "tcti", "TCTI";
    /// EK algorithm: rsa, ecc, ecc256, ecc384 [default: rsa]
    tpm_encryption_alg: String, "tpm-encryption-alg", "KEYLIME_AGENT_TPM_ENCRYPTION_ALG";
    /// Hash of AK, quotes and PCR bank: sha256, sha384, sha512 [default: sha256]
    tpm_hash_alg: String, "tpm-hash-alg", "KEYLIME_AGENT_TPM_HASH_ALG";
    /// Password of the endorsement hierarchy; better in the file than here [default: none]
    tpm_ownerpassword: String, "tpm-ownerpassword", "KEYLIME_AGENT_TPM_OWNERPASSWORD";
    /// Scheme of the AK: rsassa, rsapss, ecdsa [default: rsassa]
    tpm_signing_alg: String, "tpm-signing-alg", "KEYLIME_AGENT_TPM_SIGNING_ALG";
    /// PEM files of authorities whose clients may call, with commas between [default: cv_ca/cacert.crt in keylime_dir]
    trusted_client_ca: String, "trusted-client-ca", "KEYLIME_AGENT_TRUSTED_CLIENT_CA";
    /// generate, hash_ek, or the id itself [default: generate]
    uuid: String, "uuid", "KEYLIME_AGENT_UUID";
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that the setting does not take.
    #[error("{name} = {found:?} is not accepted; expected {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
        /// The value found.
        found: String,
    },
    /// The file with a password in it is open to others.
    #[error("{path} holds tpm_ownerpassword and is open to others; run: chmod 600 {path}", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file was not read.
    #[error("cannot read {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The id is none.
    #[error("uuid is not accepted")]
    Id(#[from] AgentIdError),
    /// The file is no TOML, or a member has another type.
    #[error("{path} is not a configuration file", path = path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
}

impl Options {
    /// Reads the section `[agent]` of a TOML file. Members this agent has no use for, as other agents of the same
    /// protocol have them, are named in the second part of the answer.
    ///
    /// # Errors
    /// [`ConfigError`], as for a file with a password that others can read.
    pub fn read(path: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let failed = |source| ConfigError::File { path: path.to_owned(), source };
        let malformed = |source| ConfigError::Toml { path: path.to_owned(), source };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        let mut table: toml::Table = text.parse().map_err(malformed)?;
        let section = table.remove("agent").unwrap_or_else(|| toml::Table::new().into());
        let names = section.as_table().into_iter().flat_map(|members| members.keys());
        let unused = names.filter(|name| !Self::NAMES.contains(&name.as_str())).cloned().collect();
        let options: Self = section.try_into().map_err(malformed)?;
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
        if options.tpm_ownerpassword.as_deref().is_some_and(|password| !password.is_empty()) && mode & 0o077 != 0 {
            return Err(ConfigError::Exposed { path: path.to_owned() });
        }
        Ok((options, unused))
    }

    /// Makes settings of what is written. As in Keylime's files, an empty text and the word `default` stand for the
    /// default. `environment_tcti` is used where no TCTI is given.
    ///
    /// # Errors
    /// [`ConfigError::Value`] or [`ConfigError::Id`] for what cannot be used.
    pub fn into_config(self, environment_tcti: Option<String>) -> Result<Config, ConfigError> {
        let folder = given_path(self.keylime_dir).unwrap_or_else(|| "/var/lib/keylime".into());
        let tcti = given(self.tcti).or(environment_tcti).unwrap_or_else(|| "device:/dev/tpmrm0".to_owned());
        let mut config = Config::new(folder, tcti);
        config.listen = (self.ip.unwrap_or(config.listen.ip()), self.port.unwrap_or(config.listen.port())).into();
        config.contact_host = given(self.contact_ip).unwrap_or_else(|| match config.listen.ip() {
            ip if ip.is_unspecified() => config.contact_host.clone(),
            ip => ip.to_string(),
        });
        config.contact_port = self.contact_port.filter(|port| *port != 0);
        if let Some(id) = given(self.uuid) {
            config.agent_id = IdOption::parse(&id)?;
        }
        let host = given(self.registrar_ip).unwrap_or_else(|| "127.0.0.1".to_owned());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        if self.registrar_tls_enabled == Some(true) {
            config.registrar_url = format!("https://{host}:{}", self.registrar_tls_port.unwrap_or(8891));
            let authority = given_path(self.registrar_tls_ca_cert);
            config.registrar_authorities =
                authority.map_or_else(|| config.trusted_client_authorities.clone(), |path| vec![path]);
        } else {
            config.registrar_url = format!("http://{host}:{}", self.registrar_port.unwrap_or(8890));
        }
        if let Some(list) = given(self.trusted_client_ca) {
            config.trusted_client_authorities = list.split(',').map(|path| PathBuf::from(path.trim())).collect();
        }
        if let Some(name) = given(self.tpm_encryption_alg) {
            config.ek_algorithm = EkAlgorithm::from_name(&name)
                .ok_or_else(|| value("tpm_encryption_alg", "rsa, rsa2048, ecc, ecc256 or ecc384", &name))?;
        }
        if let Some(name) = given(self.tpm_hash_alg) {
            let parsed = name.parse().ok().filter(|hash: &evidence::algorithm::HashAlgorithm| hash.meets_floor());
            config.hash = parsed.ok_or_else(|| value("tpm_hash_alg", "sha256, sha384 or sha512", &name))?;
        }
        if let Some(name) = given(self.tpm_signing_alg) {
            config.scheme = name.parse().map_err(|_| value("tpm_signing_alg", "rsassa, rsapss or ecdsa", &name))?;
        }
        config.ek_handle = given(self.ek_handle).filter(|text| text != "generate").map(handle).transpose()?;
        config.endorsement_password = given(self.tpm_ownerpassword).map(|text| Zeroizing::new(text.into_bytes()));
        if let Some(size) = given(self.secure_size) {
            config.secure_bytes = bytes(&size).ok_or_else(|| value("secure_size", "a size such as 1m", &size))?;
        }
        let file_name = |name, text: Option<String>, target: &mut String| match given(text) {
            Some(text) if is_file_name(&text) => {
                *target = text;
                Ok(())
            }
            Some(text) => Err(value(name, "a file name without folders", &text)),
            None => Ok(()),
        };
        file_name("enc_keyname", self.enc_keyname, &mut config.key_file_name)?;
        file_name("dec_payload_file", self.dec_payload_file, &mut config.payload_file_name)?;
        let mut script = String::new();
        file_name("payload_script", self.payload_script, &mut script)?;
        config.payload_script = given(Some(script));
        config.secure_folder = given_path(self.secure_dir).unwrap_or(config.secure_folder);
        config.agent_data_path = given_path(self.agent_data_path).unwrap_or(config.agent_data_path);
        config.payload_key_path = given_path(self.payload_key).unwrap_or(config.payload_key_path);
        config.ima_list_path = given_path(self.ima_ml_path).unwrap_or(config.ima_list_path);
        config.boot_log_path = given_path(self.measuredboot_ml_path).unwrap_or(config.boot_log_path);
        config.revocation_certificate = given_path(self.revocation_cert);
        config.ready_file = given_path(self.ready_file);
        config.extract_payload_zip = self.extract_payload_zip.unwrap_or(config.extract_payload_zip);
        config.danger_payload_on_disk = self.danger_payload_on_disk.unwrap_or(false);
        config.danger_payload_script_as_root = self.danger_payload_script_as_root.unwrap_or(false);
        Ok(config)
    }
}

fn value(name: &'static str, expected: &'static str, found: &str) -> ConfigError {
    ConfigError::Value { name, expected, found: found.to_owned() }
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text != "default")
}

fn given_path(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| path.as_os_str() != "" && path.as_os_str() != "default")
}

fn handle(text: String) -> Result<u32, ConfigError> {
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    u32::from_str_radix(digits, 16).map_err(|_| value("ek_handle", "a handle such as 0x81010001", &text))
}

/// Reads `1m`, `512k`, `1g` or plain bytes, as the mount option `size` has them.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.to_ascii_lowercase() {
        text if text.ends_with('k') => (text, 10),
        text if text.ends_with('m') => (text, 20),
        text if text.ends_with('g') => (text, 30),
        text => (text, 0),
    };
    let number: u64 = digits.trim_end_matches(['k', 'm', 'g']).parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn is_file_name(text: &str) -> bool {
    !text.contains(['/', '\0']) && text != "." && text != ".." && text != crate::secure_folder::TEMPORARY
}
