//! What a policy says beside its lists of digests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::device_mapper::{DeviceMapperError, DeviceMapperPolicy, DeviceMapperText};
use super::patterns::{Anchor, InvalidPattern, Patterns};
use crate::algorithm::{HashAlgorithm, UnknownAlgorithmName};
use crate::ima::{Keyring, MalformedKeyring};

/// The rules as a compiled policy carries them: small, and in JSON with its members in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesText {
    pub(super) meta: Meta,
    pub(super) release: u64,
    pub(super) log_hash_alg: String,
    pub(super) excludes: Vec<String>,
    pub(super) ignored_keyrings: Vec<String>,
    pub(super) verification_keys: String,
    pub(super) extension: Extension,
    pub(super) violations: Vec<ViolationRule>,
    pub(super) critical_data: BTreeMap<String, Vec<String>>,
    /// Left out if there is none, as in forms compiled before there was such a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device_mapper: Option<DeviceMapperText>,
}

impl Default for RulesText {
    fn default() -> Self {
        Self {
            meta: Meta::default(),
            release: 0,
            log_hash_alg: HashAlgorithm::Sha1.name().to_owned(),
            excludes: Vec::new(),
            ignored_keyrings: Vec::new(),
            verification_keys: String::new(),
            extension: Extension::default(),
            violations: Vec::new(),
            critical_data: BTreeMap::new(),
            device_mapper: None,
        }
    }
}

/// Where a policy comes from, as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) version: u32,
    #[serde(default)]
    pub(super) generator: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<String>,
}

/// What the machine's kernel extends into banks other than that of the list's template digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extension {
    /// The template data hashed with the bank's algorithm: kernels from 5.8 on.
    #[default]
    Recomputed,
    /// The SHA-1 template digest padded with zeros: kernels before 5.8. Rests on SHA-1's collision resistance.
    DangerPaddedSha1,
}

/// What a violation on some paths means.
///
/// The kernel covers neither path nor kind of a violation by the register (it extends a constant), so a machine under
/// attack can give a violation any path. [`Warn`](Self::Warn) and [`Ignore`](Self::Ignore) therefore hold for all
/// violations of a machine that lies; they are for false alarms of machines that do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViolationChoice {
    /// The machine fails. What holds where no rule fits.
    #[default]
    Fail,
    /// A finding that fails nothing.
    Warn,
    /// No finding; counted.
    Ignore,
}

/// A choice for the paths a pattern fits, from their first character to their last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ViolationRule {
    pub(super) path: String,
    pub(super) choice: ViolationChoice,
}

/// The rules ready for use.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) text: RulesText,
    pub(super) log_hash: HashAlgorithm,
    pub(super) keyring: Keyring,
    excludes: Patterns,
    violations: Patterns,
    critical_data: BTreeMap<String, Patterns>,
    pub(super) device_mapper: Option<DeviceMapperPolicy>,
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A pattern for critical data.
    #[error("critical-data {name:?}")]
    CriticalData {
        /// Whose patterns.
        name: String,
        /// What is wrong.
        source: InvalidPattern,
    },
    /// The policy over device-mapper records.
    #[error("ima.dm_policy")]
    DeviceMapper {
        /// What is wrong.
        source: DeviceMapperError,
    },
    /// An exclude pattern.
    #[error("excludes")]
    Exclude {
        /// What is wrong.
        source: InvalidPattern,
    },
    /// The algorithm of template digests.
    #[error("ima.log_hash_alg")]
    LogHash {
        /// What is wrong.
        source: UnknownAlgorithmName,
    },
    /// The keys of file signatures.
    #[error("verification-keys")]
    Keyring {
        /// What is wrong.
        source: MalformedKeyring,
    },
    /// Padding makes sense for SHA-1 template digests only.
    #[error("pcr-extension is danger-padded-sha1 while ima.log_hash_alg is {found}, expected sha1")]
    Padding {
        /// The algorithm of the template digests.
        found: HashAlgorithm,
    },
    /// A violation rule's pattern.
    #[error("violations")]
    Violation {
        /// What is wrong.
        source: InvalidPattern,
    },
}

impl Rules {
    pub(super) fn new(text: RulesText) -> Result<Self, RulesError> {
        let log_hash: HashAlgorithm = text.log_hash_alg.parse().map_err(|source| RulesError::LogHash { source })?;
        if text.extension == Extension::DangerPaddedSha1 && log_hash != HashAlgorithm::Sha1 {
            return Err(RulesError::Padding { found: log_hash });
        }
        let keyring =
            Keyring::from_keylime(&text.verification_keys).map_err(|source| RulesError::Keyring { source })?;
        let excludes =
            Patterns::compile(&text.excludes, Anchor::Start).map_err(|source| RulesError::Exclude { source })?;
        let paths: Vec<String> = text.violations.iter().map(|rule| rule.path.clone()).collect();
        let violations = Patterns::compile(&paths, Anchor::Whole).map_err(|source| RulesError::Violation { source })?;
        let mut critical_data = BTreeMap::new();
        for (name, patterns) in &text.critical_data {
            let compiled = Patterns::compile(patterns, Anchor::Whole)
                .map_err(|source| RulesError::CriticalData { name: name.clone(), source })?;
            critical_data.insert(name.clone(), compiled);
        }
        let device_mapper = text.device_mapper.as_ref().map(DeviceMapperPolicy::compile).transpose();
        let device_mapper = device_mapper.map_err(|source| RulesError::DeviceMapper { source })?;
        Ok(Self { text, log_hash, keyring, excludes, violations, critical_data, device_mapper })
    }

    /// The exclude pattern that hides a path.
    pub(super) fn exclude(&self, path: &[u8]) -> Option<usize> {
        self.excludes.first_match(path)
    }

    /// What a violation on this path means; nothing if no rule fits.
    pub(super) fn violation(&self, path: &[u8]) -> Option<ViolationChoice> {
        let rule = self.violations.first_match(path)?;
        self.text.violations.get(rule).map(|rule| rule.choice)
    }

    /// Whether a pattern allows this content of the critical datum of this name.
    pub(super) fn allows_critical_data(&self, name: &[u8], content: &[u8]) -> bool {
        let patterns = std::str::from_utf8(name).ok().and_then(|name| self.critical_data.get(name));
        patterns.is_some_and(|patterns| patterns.first_match(content).is_some())
    }

    /// Whether measurements of keys loaded to this keyring are not judged.
    pub(super) fn ignores_keyring(&self, name: &[u8]) -> bool {
        self.text.ignored_keyrings.iter().any(|ignored| ignored == "*" || ignored.as_bytes() == name)
    }
}
