//! One accepted way to boot: requirements that must all be met.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::algorithm::Digest;
use crate::boot_log::SignatureKind;
use crate::crypto::CryptoUnavailable;
use crate::pcr::{PcrBank, PcrIndex};

use super::case::Case;
use super::finding::{Accepted, FindingKind, Findings};
use super::pattern::Pattern;
use super::registers::{self, RegisterSet};
use super::{boot_chain, secure_boot};

/// Requirements that must all be met; one at least is stated.
#[derive(Clone, Debug, Default)]
pub(super) struct Alternative {
    pub(super) name: String,
    pub(super) secure_boot: Option<SecureBoot>,
    /// Digests of applications that may be loaded.
    pub(super) images: Option<Digests>,
    /// Keys that images may be verified with.
    pub(super) signers: Option<Keys>,
    pub(super) command_line: Option<CommandLine>,
    pub(super) files: Option<Files>,
    /// Accepted contents of each section of a unified kernel image.
    pub(super) uki: Option<BTreeMap<String, Digests>>,
    /// Digests of shim's lists.
    pub(super) mok: Option<Digests>,
    /// Accepted values of registers.
    pub(super) registers: BTreeMap<PcrIndex, Digests>,
}

/// What Secure Boot must be.
#[derive(Clone, Debug)]
pub(super) struct SecureBoot {
    pub(super) enabled: bool,
    pub(super) pk: Option<Keys>,
    pub(super) kek: Option<Keys>,
    pub(super) db: Option<Keys>,
    pub(super) dbx_required: Keys,
    /// What the firmware may say it did to Secure Boot.
    pub(super) actions: BTreeSet<String>,
}

/// What kernels may be told.
#[derive(Clone, Debug, Default)]
pub(super) struct CommandLine {
    pub(super) patterns: Vec<Pattern>,
    /// Digests of load options, which the log does not show.
    pub(super) digests: Digests,
    pub(super) grub_commands: Vec<Pattern>,
}

/// Files that boot loaders may read.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub(super) kernels: Option<Digests>,
    pub(super) initrds: Option<Digests>,
    pub(super) others: Digests,
}

/// Digests of any banks.
#[derive(Clone, Debug, Default)]
pub(super) struct Digests(pub(super) BTreeSet<Digest>);

impl Digests {
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.0.contains(digest)
    }

    fn has_bank(&self, bank: PcrBank) -> bool {
        self.0.iter().any(|digest| digest.algorithm() == bank.algorithm())
    }

    /// Adds a finding if the set could accept nothing of the quoted bank.
    pub(super) fn demand_bank(&self, what: &'static str, bank: PcrBank, findings: &mut Findings) {
        if !self.has_bank(bank) {
            findings.add(FindingKind::NothingStatedForBank { what, bank });
        }
    }
}

pub(super) type Keys = BTreeSet<KeyId>;

/// An entry of a signature database, as policies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyId {
    /// An image's SHA-256 Authenticode digest, itself.
    Image(Digest),
    /// The SHA-256 digest of an entry of another kind.
    Other(SignatureKind, Digest),
    /// The SHA-256 digest of a certificate's DER.
    X509(Digest),
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(digest) => write!(f, "sha256:{digest}"),
            Self::Other(SignatureKind::Other(kind), digest) => write!(f, "an entry of kind {kind} (sha256 {digest})"),
            Self::Other(_, digest) => write!(f, "an entry (sha256 {digest})"),
            Self::X509(digest) => write!(f, "x509:{digest}"),
        }
    }
}

impl Alternative {
    /// What the policy calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether nothing is required.
    pub(super) fn is_empty(&self) -> bool {
        self.registers() == RegisterSet::EMPTY
    }

    /// The registers it relies on.
    pub(super) fn registers(&self) -> RegisterSet {
        let stated = self.registers.keys().fold(RegisterSet::EMPTY, |set, index| set.with(*index));
        let kernels = self.files.as_ref().is_some_and(|files| files.kernels.is_some());
        let options = self.command_line.as_ref().is_some_and(|command_line| !command_line.digests.0.is_empty());
        let relied: [(bool, u32); 6] = [
            (self.secure_boot.is_some() || self.signers.is_some(), 1 << 7),
            (self.images.is_some() || kernels, 1 << 4),
            // Boot loaders put command lines into 8 (GRUB) and 12 (systemd).
            (self.command_line.is_some(), 1 << 8 | 1 << 12),
            // Linux' stub puts load options where files are.
            (self.files.is_some() || options, 1 << 9),
            (self.uki.is_some(), 1 << 11),
            (self.mok.is_some(), 1 << 14),
        ];
        relied.into_iter().filter(|(is_used, _)| *is_used).fold(stated, |set, (_, mask)| set.union(RegisterSet(mask)))
    }

    /// Adds what does not meet the requirements.
    pub(super) fn judge(&self, case: &Case<'_>, findings: &mut Findings) -> Result<(), CryptoUnavailable> {
        registers::demand(case, self.registers(), findings);
        self.judge_values(case, findings);
        if self.secure_boot.is_some() || self.signers.is_some() {
            secure_boot::judge(self.secure_boot.as_ref(), self.signers.as_ref(), case, findings)?;
        }
        if let Some(images) = &self.images {
            boot_chain::judge_images(images, case, findings);
        }
        if let Some(command_line) = &self.command_line {
            boot_chain::judge_command_lines(command_line, case, findings);
        }
        if let Some(files) = &self.files {
            let options = self.command_line.as_ref().map(|command_line| &command_line.digests);
            boot_chain::judge_files(files, options, case, findings);
        }
        if let Some(sections) = &self.uki {
            boot_chain::judge_uki(sections, case, findings);
        }
        if let Some(lists) = &self.mok {
            boot_chain::judge_mok(lists, case, findings);
        }
        Ok(())
    }

    fn judge_values(&self, case: &Case<'_>, findings: &mut Findings) {
        for (register, accepted) in &self.registers {
            accepted.demand_bank("a register's values", case.bank(), findings);
            let Some(quoted) = case.quoted.get(*register) else { continue };
            if !accepted.contains(quoted) {
                let (register, quoted) = (*register, *quoted);
                let accepted = Accepted::digests(&accepted.0, case.bank());
                findings.add(FindingKind::PcrValueNotAccepted { register, quoted, accepted });
            }
        }
    }
}
