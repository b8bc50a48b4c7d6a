//! What a list says of itself: counts, and every register it could be the list of. Nothing is judged.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::list::{ListForm, MeasurementList};
use super::malformed::{Excerpt, MalformedList};
use super::register::{extend, hash, violation_extension};
use crate::algorithm::{Digest, HashAlgorithm};
use crate::crypto::CryptoUnavailable;

/// A list replayed from registers of zeros. As untrusted as the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSummary {
    /// How the list is written.
    pub form: ListForm,
    /// The algorithm of its template digests, found by trying.
    pub log_hash: HashAlgorithm,
    /// Entries read.
    pub entries: u64,
    /// Entries by register.
    pub by_register: BTreeMap<u32, u64>,
    /// Entries by template name; a name beyond the first 64 counts under `…`.
    pub by_template: BTreeMap<String, u64>,
    /// Violations: number and name of the first 256.
    pub violations: Listed<(u64, String)>,
    /// Entries whose template digest is not the hash of their data: numbers of the first 256.
    pub mismatches: Listed<u64>,
    /// The registers, by register and how the list was replayed.
    pub registers: BTreeMap<(u32, Replay), Digest>,
}

/// The first of something, and how often it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The first 256.
    pub first: Vec<T>,
    /// All of them.
    pub count: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Listed<T> {
    fn push(&mut self, item: T) {
        if self.first.len() < LISTED_MAX {
            self.first.push(item);
        }
        self.count += 1;
    }
}

/// What was extended for each entry that is no violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replay {
    /// The template digest as the list has it, into the bank of its algorithm.
    Recorded(HashAlgorithm),
    /// The template digest as the list has it, padded with zeros for this bank: kernels before 5.8.
    RecordedPadded(HashAlgorithm),
    /// The template data hashed with the bank's algorithm: kernels from 5.8 on.
    Recomputed(HashAlgorithm),
}

impl Replay {
    const fn bank(self) -> HashAlgorithm {
        match self {
            Self::Recorded(bank) | Self::RecordedPadded(bank) | Self::Recomputed(bank) => bank,
        }
    }

    /// The replays that make sense for a list with such template digests.
    fn all(log_hash: HashAlgorithm) -> Vec<Self> {
        let mut all = vec![Self::Recorded(log_hash)];
        all.extend(BANKS.map(Self::Recomputed));
        if log_hash == HashAlgorithm::Sha1 {
            all.extend(BANKS.into_iter().filter(|bank| *bank != log_hash).map(Self::RecordedPadded));
        }
        all
    }
}

/// Why a list could not be summed up.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// The list is malformed; `read` entries in front of the place are not.
    #[error("this is no measurement list as the kernel writes them, after {read} entries")]
    Malformed {
        /// Entries in front of the malformed one.
        read: u64,
        /// Where and what.
        source: MalformedList,
    },
    /// The library could not hash.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
}

impl ListSummary {
    /// Reads and replays a list of either form, each bank from zeros.
    ///
    /// # Errors
    /// [`SummaryError::Malformed`] with entry and place; nothing is said of a list that is broken anywhere.
    pub fn of(bytes: &[u8]) -> Result<Self, SummaryError> {
        let list = MeasurementList::with_detected_log_hash(bytes);
        let mut summary = Self {
            form: list.form(),
            log_hash: list.log_hash(),
            entries: 0,
            by_register: BTreeMap::new(),
            by_template: BTreeMap::new(),
            violations: Listed::default(),
            mismatches: Listed::default(),
            registers: BTreeMap::new(),
        };
        let mut entries = list.entries();
        let malformed = |source: MalformedList| SummaryError::Malformed { read: source.entry, source };
        while let Some(entry) = entries.read().map_err(malformed)? {
            summary.add(&entry)?;
        }
        Ok(summary)
    }

    fn add(&mut self, entry: &Entry<'_>) -> Result<(), CryptoUnavailable> {
        let violation = entry.is_violation(self.log_hash);
        if violation {
            let name = Excerpt::of(entry.name.unwrap_or_default());
            self.violations.push((self.entries, name.as_str().to_owned()));
        } else if hash(self.log_hash, entry.data)?.as_bytes() != entry.template_digest {
            self.mismatches.push(self.entries);
        }
        let template = entry.template.to_string();
        let known = self.by_template.len() < TEMPLATES_MAX || self.by_template.contains_key(&template);
        *self.by_template.entry(if known { template } else { "…".to_owned() }).or_default() += 1;
        *self.by_register.entry(entry.pcr).or_default() += 1;
        for replay in Replay::all(self.log_hash) {
            let bank = replay.bank();
            let register = self.registers.entry((entry.pcr, replay)).or_insert(Digest::zero(bank));
            *register = match replay {
                _ if violation => extend(register, violation_extension(bank))?,
                Replay::Recorded(_) => extend(register, entry.template_digest)?,
                Replay::RecordedPadded(_) => {
                    // By the difference of the algorithms' sizes, as the kernel pads; a digest column of another size
                    // is extended as it stands.
                    let mut extension = entry.template_digest.to_vec();
                    let zeros = bank.digest_bytes().saturating_sub(self.log_hash.digest_bytes());
                    extension.resize(extension.len() + zeros, 0);
                    extend(register, &extension)?
                }
                Replay::Recomputed(_) => extend(register, hash(bank, entry.data)?.as_bytes())?,
            };
        }
        self.entries += 1;
        Ok(())
    }
}

/// The banks a list is replayed for.
const BANKS: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
/// As many as a person reads through.
const LISTED_MAX: usize = 256;
/// The kernel has eight templates, and one list has at most two or three.
const TEMPLATES_MAX: usize = 64;
