//! What a TPM policy asks beside register values: the member `x-attestry` of `tpm_policy`.

use std::{collections::BTreeMap, fmt};

use evidence::{algorithm::HashAlgorithm, json::UniqueMap, pcr::PcrIndex};
use serde::Deserialize;

use super::{TpmPolicyError, parse_index, parse_values};

/// Rules over a TPM's firmware, clock and algorithms, and register values by bank.
///
/// What is not asked for is not judged, but for an unsafe clock, which fails unless the policy says otherwise, and the
/// clock's own order, which no policy lifts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TpmRules {
    /// What becomes of a quote whose clock the TPM calls unsafe.
    pub unsafe_clock: Choice,
    /// What becomes of a machine that has rebooted since the last accepted quote.
    pub resets: ResetChoice,
    /// Resets between two accepted quotes at most.
    pub resets_max: Option<u32>,
    /// What becomes of a machine that was suspended and resumed since.
    pub restarts: Option<Choice>,
    /// Firmware versions that fail, each range with both ends.
    pub firmware_denied: Vec<FirmwareVersions>,
    /// Bits of the digests of bank and signature at least.
    pub hash_bits_min: Option<u32>,
    /// Bits of an RSA attestation key's modulus at least.
    pub rsa_bits_min: Option<u32>,
    /// Bits of an elliptic curve's field at least.
    pub ecc_bits_min: Option<u32>,
    banks: BTreeMap<HashAlgorithm, BTreeMap<PcrIndex, Vec<Vec<u8>>>>,
}

/// What becomes of something that is not as it usually is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The machine fails.
    #[default]
    Fail,
    /// It is told.
    Warn,
}

/// What becomes of a machine that has rebooted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum ResetChoice {
    /// Nothing: what booted is judged by the other policies.
    #[default]
    Allow,
    /// The machine fails until it is enrolled anew.
    Fail,
    /// It is told.
    Warn,
    /// It passes with a boot log that a measured-boot policy accepts in the same round.
    WithBootLog,
}

/// Versions from the first to the second, both of them too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FirmwareVersions {
    first: u64,
    last: u64,
}

impl TpmRules {
    /// The registers that must hold one of the values given in this bank, ascending.
    ///
    /// Nothing if the policy names registers of other banks only: then it cannot be judged.
    #[must_use]
    pub fn bank(&self, bank: HashAlgorithm) -> Option<&BTreeMap<PcrIndex, Vec<Vec<u8>>>> {
        self.banks.get(&bank)
    }

    /// The banks with values.
    pub fn banks(&self) -> impl Iterator<Item = HashAlgorithm> {
        self.banks.keys().copied()
    }

    /// All registers named in any bank.
    pub(super) fn registers(&self) -> impl Iterator<Item = PcrIndex> {
        self.banks.values().flat_map(|registers| registers.keys().copied())
    }

    pub(super) fn new(text: RulesText, accepted: &[HashAlgorithm]) -> Result<Self, TpmPolicyError> {
        let mut banks = BTreeMap::new();
        for (name, registers) in text.pcrs {
            let bank = name.parse().ok().filter(|bank| accepted.contains(bank));
            let bank: HashAlgorithm = bank.ok_or_else(|| TpmPolicyError::Bank(name.chars().take(32).collect()))?;
            let mut values = BTreeMap::new();
            for (index, texts) in registers {
                let index = parse_index(&index)?;
                values.insert(index, parse_values(index, texts, &[bank])?);
            }
            banks.insert(bank, values);
        }
        let denied = text.firmware_version_deny;
        if denied.len() > FIRMWARE_VERSIONS_MAX {
            return Err(TpmPolicyError::FirmwareCount { found: denied.len() });
        }
        let denied = denied.iter().map(|text| FirmwareVersions::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self {
            unsafe_clock: text.unsafe_clock,
            resets: text.resets,
            resets_max: text.resets_max,
            restarts: text.restarts,
            firmware_denied: denied,
            hash_bits_min: text.hash_bits_min,
            rsa_bits_min: text.rsa_bits_min,
            ecc_bits_min: text.ecc_bits_min,
            banks,
        })
    }
}

impl FirmwareVersions {
    /// `0x…`, or `0x…-0x…` for all from one to another; at most 16 hex digits each.
    fn parse(text: &str) -> Result<Self, TpmPolicyError> {
        let number = |text: &str| {
            let digits = text.strip_prefix("0x").unwrap_or_default();
            let plain = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| plain)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(TpmPolicyError::Firmware(text.chars().take(64).collect())),
        }
    }

    /// Whether a version is one of these.
    #[must_use]
    pub const fn contains(&self, version: u64) -> bool {
        self.first <= version && version <= self.last
    }
}

impl fmt::Display for FirmwareVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{:#018x}", self.first),
            false => write!(f, "{:#018x} to {:#018x}", self.first, self.last),
        }
    }
}

/// The member's JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RulesText {
    #[serde(default)]
    pcrs: UniqueMap<UniqueMap<Vec<String>>>,
    #[serde(default)]
    firmware_version_deny: Vec<String>,
    #[serde(default)]
    unsafe_clock: Choice,
    #[serde(default)]
    resets: ResetChoice,
    resets_max: Option<u32>,
    restarts: Option<Choice>,
    hash_bits_min: Option<u32>,
    rsa_bits_min: Option<u32>,
    ecc_bits_min: Option<u32>,
}

/// All versions of all TPM vendors that were ever withdrawn are fewer.
pub(super) const FIRMWARE_VERSIONS_MAX: usize = 1024;
