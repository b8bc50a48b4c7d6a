//! What one agent must show: register values, algorithms, what may boot and run, as the tenant gave them.

mod measured_boot;
mod runtime;
mod tpm_rules;

use std::{collections::BTreeMap, fmt};

use evidence::{
    algorithm::{EncryptionAlgorithm, HashAlgorithm, SignatureScheme},
    pcr::{PcrBank, PcrIndex, PcrSelection},
};
pub use measured_boot::{MeasuredBootPolicy, MeasuredBootPolicyError};
use messages::Digest;
use openssl::sha::sha256;
pub use runtime::{
    RuntimePolicyError, RuntimeStack, SignedPolicyError, StackLayer, alone, compile_layer, compile_runtime, opened,
    read_keyring,
};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use tpm_rules::RulesText;
pub use tpm_rules::{Choice, FirmwareVersions, ResetChoice, TpmRules};

/// Bytes of a `tpm_policy` text at most: 24 registers with 64 values of SHA-512 each are 200 KiB.
pub const TPM_POLICY_BYTES_MAX: usize = 256 << 10;

/// Values per register at most: one for every kernel and firmware combination of a large site.
pub const VALUES_MAX: usize = 64;

/// The register a Keylime agent extends with its payload key's hash before each quote.
pub const PCR_PAYLOAD_KEY: u8 = 16;

/// The register IMA extends; only a runtime policy can judge it.
pub const PCR_IMA: u8 = 10;

/// The static policy over PCR values: Keylime's `tpm_policy`.
///
/// `{"15": ["hex", …], "mask": "0x8000"}`: each register named must hold one of its values.
/// What is in the mask and not named is quoted and recorded, and not judged. Beside Keylime's members, `x-attestry`
/// has [`TpmRules`]; `docs/spec/tpm-policy.md`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TpmPolicy {
    digest: Digest,
    values: BTreeMap<PcrIndex, Vec<Vec<u8>>>,
    mask: u32,
    rules: TpmRules,
}

impl TpmPolicy {
    /// Reads the JSON text of a policy.
    ///
    /// Strict: members are `mask`, `x-attestry` and register numbers, none twice; a register has one text or a
    /// list of 1 to [`VALUES_MAX`]; each is the hex of a digest of one of `accepted`; registers 10
    /// and 16 cannot be named; the mask is hex with `0x`, within 24 bits, and covers all that are
    /// named. Without one it is computed.
    ///
    /// # Errors
    /// [`TpmPolicyError`] naming the member.
    pub fn parse(text: &str, accepted: &[HashAlgorithm]) -> Result<Self, TpmPolicyError> {
        if text.len() > TPM_POLICY_BYTES_MAX {
            return Err(TpmPolicyError::TooLong { found: text.len() });
        }
        let Members(members) = serde_json::from_str(text).map_err(|error| TpmPolicyError::Json(error.to_string()))?;
        let mut values = BTreeMap::new();
        let mut mask = None;
        let mut rules = None;
        for (name, member) in members {
            let texts = match member {
                Member::Texts(texts) => texts,
                Member::Rules(text) => {
                    if rules.replace(TpmRules::new(text, accepted)?).is_some() {
                        return Err(TpmPolicyError::Twice(name));
                    }
                    continue;
                }
            };
            if name == "mask" {
                if mask.replace(parse_mask(&texts)?).is_some() {
                    return Err(TpmPolicyError::Twice(name));
                }
                continue;
            }
            let index = parse_index(&name)?;
            let digests = parse_values(index, texts, accepted)?;
            if values.insert(index, digests).is_some() {
                return Err(TpmPolicyError::Twice(name));
            }
        }
        let rules = rules.unwrap_or_default();
        let named = values.keys().copied().chain(rules.registers());
        let named = PcrSelection::from_indices(PcrBank(HashAlgorithm::Sha256), named).mask();
        let mask = mask.unwrap_or(named);
        if named & !mask != 0 {
            return Err(TpmPolicyError::Mask { mask, named });
        }
        Ok(Self { digest: Digest(sha256(text.as_bytes())), values, mask, rules })
    }

    /// SHA-256 of the text, as the verdict's entry names it.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What it asks beside register values.
    #[must_use]
    pub const fn rules(&self) -> &TpmRules {
        &self.rules
    }

    /// The registers that must hold one of the values given, ascending; values in the order given.
    pub fn requirements(&self) -> impl Iterator<Item = (PcrIndex, &[Vec<u8>])> {
        self.values.iter().map(|(index, values)| (*index, values.as_slice()))
    }

    /// The registers to ask for, bit 0 being PCR 0, without the payload key's unless it was given.
    #[must_use]
    pub fn mask(&self) -> u32 {
        self.mask
    }
}

/// What findings call a policy that has no name: its kind and the first 8 bytes of its SHA-256.
#[must_use]
pub fn layer_name(kind: &str, digest: Digest) -> String {
    let [a, b, c, d, e, f, g, h, ..] = digest.0;
    format!("{kind} {}", hex::encode([a, b, c, d, e, f, g, h]))
}

fn parse_index(name: &str) -> Result<PcrIndex, TpmPolicyError> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let index = name.parse::<u8>().ok().filter(|_| plain).and_then(|index| PcrIndex::try_from(index).ok());
    let index = index.ok_or_else(|| TpmPolicyError::Member(name.chars().take(32).collect()))?;
    match index.get() {
        PCR_IMA | PCR_PAYLOAD_KEY => Err(TpmPolicyError::Reserved { index }),
        _ => Ok(index),
    }
}

fn parse_mask(texts: &[String]) -> Result<u32, TpmPolicyError> {
    let [text] = texts else {
        return Err(TpmPolicyError::MaskText(texts.concat().chars().take(32).collect()));
    };
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or_default();
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let mask = u32::from_str_radix(digits, 16).ok().filter(|mask| plain && mask >> 24 == 0);
    mask.ok_or_else(|| TpmPolicyError::MaskText(text.chars().take(32).collect()))
}

fn parse_values(
    index: PcrIndex,
    texts: Vec<String>,
    accepted: &[HashAlgorithm],
) -> Result<Vec<Vec<u8>>, TpmPolicyError> {
    if texts.is_empty() || texts.len() > VALUES_MAX {
        return Err(TpmPolicyError::ValueCount { index, found: texts.len() });
    }
    let value = |text: String| {
        let bytes = hex::decode(&text).map_err(|_| TpmPolicyError::Hex { index })?;
        let fits = accepted.iter().any(|algorithm| algorithm.digest_bytes() == bytes.len());
        if fits { Ok(bytes) } else { Err(TpmPolicyError::ValueLength { index, found: bytes.len() }) }
    };
    texts.into_iter().map(value).collect()
}

/// Why a text is no `tpm_policy`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TpmPolicyError {
    /// Values for a bank that is unknown or not accepted.
    #[error("tpm_policy has values for bank {0:?}, which is not an accepted hash algorithm")]
    Bank(String),
    /// A firmware version in another form.
    #[error(
        "tpm_policy denies firmware version {0:?}; expected 0x and at most 16 hex digits, or two such and a hyphen"
    )]
    Firmware(String),
    /// More firmware versions than the limit.
    #[error("tpm_policy denies {found} firmware versions; expected at most {max}", max = tpm_rules::FIRMWARE_VERSIONS_MAX)]
    FirmwareCount {
        /// Versions found.
        found: usize,
    },
    /// A value is not hexadecimal.
    #[error("tpm_policy has a value for PCR {index} that is not hexadecimal")]
    Hex {
        /// The register.
        index: PcrIndex,
    },
    /// Not a JSON object of texts and lists of texts.
    #[error("tpm_policy is not a JSON object of texts and lists of texts: {0}")]
    Json(String),
    /// Registers are named that the mask leaves out.
    #[error("tpm_policy's mask {mask:#x} leaves out registers it names ({named:#x})")]
    Mask {
        /// The mask given.
        mask: u32,
        /// The registers named.
        named: u32,
    },
    /// The mask is not one hex number of at most 24 bits.
    #[error("tpm_policy's mask is {0:?}; expected 0x and at most 24 bits in hexadecimal")]
    MaskText(String),
    /// A member that is neither `mask` nor `x-attestry` nor a register.
    #[error("tpm_policy has a member {0:?}; expected only \"mask\", \"x-attestry\" and register numbers 0 to 23")]
    Member(String),
    /// A register that a static value cannot judge.
    #[error("tpm_policy names PCR {index}, which changes by itself; PCR 10 and 16 cannot have static values")]
    Reserved {
        /// The register.
        index: PcrIndex,
    },
    /// Longer than [`TPM_POLICY_BYTES_MAX`].
    #[error("tpm_policy has {found} bytes; expected at most {TPM_POLICY_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// A member that is there twice.
    #[error("tpm_policy has the member {0:?} twice")]
    Twice(String),
    /// No value, or too many.
    #[error("tpm_policy has {found} values for PCR {index}; expected 1 to {VALUES_MAX}")]
    ValueCount {
        /// The register.
        index: PcrIndex,
        /// Values found.
        found: usize,
    },
    /// A value that is no digest of an accepted algorithm, so that no register could ever hold it.
    #[error("tpm_policy has a value of {found} bytes for PCR {index}; expected a digest of an accepted hash algorithm")]
    ValueLength {
        /// The register.
        index: PcrIndex,
        /// Bytes found.
        found: usize,
    },
}

/// An object's members in the order of the text, each a text or a list of texts but for our own; none is
/// lost when a name comes twice.
struct Members(Vec<(String, Member)>);

enum Member {
    Rules(RulesText),
    Texts(Vec<String>),
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let member = match name.as_str() {
                "x-attestry" => Member::Rules(map.next_value()?),
                _ => Member::Texts(map.next_value::<Texts>()?.0),
            };
            members.push((name, member));
        }
        Ok(Members(members))
    }
}

struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element()? {
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}

/// The algorithms a tenant accepts of an agent's TPM.
///
/// Names this project does not know are dropped, so that a stock tenant's lists (`ecschnorr`) can
/// be read; what is left may not be empty. `rsa` and `ecc` mean the 2048- and 256-bit keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AlgorithmsAccepted {
    hash: Vec<HashAlgorithm>,
    encryption: Vec<EncryptionAlgorithm>,
    signing: Vec<SignatureScheme>,
}

impl AlgorithmsAccepted {
    /// Takes three lists of Keylime's names.
    ///
    /// # Errors
    /// [`NothingAccepted`] naming the list of which nothing is supported.
    pub fn from_names(hash: &[String], encryption: &[String], signing: &[String]) -> Result<Self, NothingAccepted> {
        let known: Vec<HashAlgorithm> = parsed(hash);
        let accepted = Self {
            hash: known.into_iter().filter(|algorithm| algorithm.meets_floor()).collect(),
            encryption: parsed(encryption),
            signing: parsed(signing),
        };
        if accepted.hash.is_empty() {
            return Err(NothingAccepted { list: "accept_tpm_hash_algs" });
        }
        if accepted.encryption.is_empty() {
            return Err(NothingAccepted { list: "accept_tpm_encryption_algs" });
        }
        if accepted.signing.is_empty() {
            return Err(NothingAccepted { list: "accept_tpm_signing_algs" });
        }
        Ok(accepted)
    }

    /// Accepted PCR banks and signature hashes; never SHA-1.
    #[must_use]
    pub fn hash(&self) -> &[HashAlgorithm] {
        &self.hash
    }

    /// Accepted key algorithms.
    #[must_use]
    pub fn encryption(&self) -> &[EncryptionAlgorithm] {
        &self.encryption
    }

    /// Accepted signature schemes.
    #[must_use]
    pub fn signing(&self) -> &[SignatureScheme] {
        &self.signing
    }
}

fn parsed<T: std::str::FromStr>(names: &[String]) -> Vec<T> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// A list of accepted algorithms leaves nothing that is supported.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{list} names no algorithm that is supported and strong enough")]
pub struct NothingAccepted {
    /// The member.
    pub list: &'static str,
}

#[cfg(test)]
mod tests;
