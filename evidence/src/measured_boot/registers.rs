//! Quoted registers against replayed ones.

use crate::boot_log::BankHasher;
use crate::crypto::CryptoUnavailable;
use crate::pcr::PcrIndex;

use super::case::Case;
use super::finding::{FindingKind, Findings};

/// Some registers; bit n stands for PCR n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RegisterSet(pub(super) u32);

impl RegisterSet {
    pub(super) const EMPTY: Self = Self(0);

    pub(super) const fn with(self, index: PcrIndex) -> Self {
        Self(self.0 | 1 << index.get())
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn contains(self, index: PcrIndex) -> bool {
        self.0 >> index.get() & 1 == 1
    }

    pub(super) fn indices(self) -> impl Iterator<Item = PcrIndex> + use<> {
        PcrIndex::all().filter(move |index| self.contains(*index))
    }
}

/// Adds a finding for each quoted register of `compared` that does not follow from the log.
///
/// A register the log says nothing of must be as TPM2_Startup left it, so that leaving events out is found.
pub(super) fn compare(
    case: &Case<'_>,
    compared: RegisterSet,
    hasher: &mut BankHasher,
    findings: &mut Findings,
) -> Result<(), CryptoUnavailable> {
    for (register, quoted) in case.quoted.iter() {
        // PCR 15 belongs to the running system unless the log speaks of it.
        let is_logged = register.get() != 15 || case.replay.values().get(register).is_some();
        if !compared.contains(register) || !is_logged {
            continue;
        }
        if case.replay.gap(register).is_some() {
            findings.add(FindingKind::DigestNotStated { bank: case.bank(), register });
            continue;
        }
        let replayed = case.replay.value(case.log, register);
        let (mut value, mut equal) = (replayed, replayed == *quoted);
        if register.get() == 11 && !equal {
            for phase in BOOT_PHASES {
                let digest = hasher.hash(phase.as_bytes(), &[])?;
                value = hasher.extend(&value, &digest)?;
                equal = equal || value == *quoted;
            }
        }
        if !equal {
            findings.add(FindingKind::PcrMismatch { register, replayed, quoted: *quoted });
        }
    }
    Ok(())
}

/// Adds a finding for each register of `required` that is not quoted.
pub(super) fn demand(case: &Case<'_>, required: RegisterSet, findings: &mut Findings) {
    for register in required.indices().filter(|register| case.quoted.get(*register).is_none()) {
        findings.add(FindingKind::PcrNotQuoted { register });
    }
}

/// The registers that firmware and boot loaders extend and nobody after them, but for those named where they are used:
/// all below 16 but 10, IMA's.
pub(super) const FROM_LOG: RegisterSet = RegisterSet(0xfbff);
/// What a running systemd extends into PCR 11 after the last event of the log, in this order.
///
/// Source: systemd-pcrphase.service(8).
const BOOT_PHASES: [&str; 6] = ["enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"];
