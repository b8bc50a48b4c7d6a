//! The register values a log accounts for.

use std::collections::BTreeMap;

use crate::algorithm::Digest;
use crate::crypto::CryptoUnavailable;
use crate::pcr::{PcrBank, PcrIndex, PcrValues};

use super::event::EventPlace;
use super::hasher::BankHasher;
use super::{BootLog, LogFormat};

/// One bank's registers after all the log's events.
#[derive(Clone, Debug)]
pub struct Replay {
    values: PcrValues,
    gaps: BTreeMap<PcrIndex, EventPlace>,
}

impl Replay {
    /// The registers that at least one event extended.
    #[must_use]
    pub const fn values(&self) -> &PcrValues {
        &self.values
    }

    /// One register, also when no event extended it: then as TPM2_Startup leaves it, which the log may state for PCR 0.
    #[must_use]
    pub fn value(&self, log: &BootLog<'_>, index: PcrIndex) -> Digest {
        self.values.get(index).copied().unwrap_or_else(|| start(log, self.values.bank(), index))
    }

    /// The first event that extended the register without stating this bank's digest, so that the value is not known.
    ///
    /// Windows states one bank alone for its own events.
    #[must_use]
    pub fn gap(&self, index: PcrIndex) -> Option<EventPlace> {
        self.gaps.get(&index).copied()
    }
}

impl BootLog<'_> {
    /// Extends every measured event's digest of `bank`, in order.
    ///
    /// PCR 0 starts at the stated startup locality. An H-CRTM event without that statement changes nothing: firmware
    /// logs it also where the TPM's own H-CRTM sequence never ran. `EV_NO_ACTION` events extend nothing.
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if the bank's algorithm is switched off in the library.
    ///
    /// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.5 and §3.3.4.
    pub fn replay(&self, bank: PcrBank) -> Result<Replay, CryptoUnavailable> {
        self.replay_with(&mut BankHasher::new(bank.algorithm())?)
    }

    pub(crate) fn replay_with(&self, hasher: &mut BankHasher) -> Result<Replay, CryptoUnavailable> {
        let bank = PcrBank(hasher.algorithm());
        let mut registers: [Option<Digest>; 24] = [None; 24];
        let mut gaps = BTreeMap::new();
        for event in self.events().iter().filter(|event| event.is_measured()) {
            let Some(index) = event.register() else { continue };
            let Some(digest) = event.digest(bank) else {
                gaps.entry(index).or_insert_with(|| event.place());
                continue;
            };
            if let Some(register) = registers.get_mut(usize::from(index.get())) {
                let before = register.unwrap_or_else(|| start(self, bank, index));
                *register = Some(hasher.extend(&before, digest)?);
            }
        }
        let mut values = PcrValues::new(bank);
        for (index, value) in PcrIndex::all().zip(registers) {
            // The digest is of the bank's algorithm, so that inserting cannot fail.
            let inserted = value.map(|value| values.insert(index, value));
            debug_assert!(matches!(inserted, None | Some(Ok(None))), "one value of the bank's algorithm each");
        }
        Ok(Replay { values, gaps })
    }
}

/// A register's value before the first event.
fn start(log: &BootLog<'_>, bank: PcrBank, index: PcrIndex) -> Digest {
    let locality = match log.startup_locality() {
        Some(locality) if index.get() == 0 && log.format() != LogFormat::ConfidentialComputing => locality,
        _ => return Digest::zero(bank.algorithm()),
    };
    let size = bank.algorithm().digest_bytes();
    let mut bytes = vec![0; size];
    if let Some(last) = bytes.last_mut() {
        *last = locality;
    }
    Digest::filled(bank.algorithm(), &bytes)
}
