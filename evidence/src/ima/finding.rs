//! What is held against a list: complete, bounded, each with its place.

use std::fmt;

use super::devices::DeviceFault;
use super::malformed::Excerpt;

/// What a finding is about; its [`name`](Self::name) is Keylime's event name where Keylime has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The first entry is not the `boot_aggregate` of this machine's registers.
    BootAggregate,
    /// A buffer is not what its digest says.
    BufferDigest,
    /// A device-mapper record, or what it leaves, is not what the policy says.
    Device(DeviceFault),
    /// EVM's signature of the file's attributes is not one of a trusted key, or says nothing of the content.
    EvmSignature,
    /// Entries between the last known one and the list's first are missing, or it starts where it cannot be checked.
    ListGap,
    /// Nothing was measured since the machine started.
    ListMissing,
    /// The signature appended to the file is not one of a trusted key.
    ModuleSignature,
    /// No check is defined for the entry's template.
    NoValidator,
    /// The path, keyring or buffer is not in the policy.
    NotInAllowlist,
    /// The list cannot be read on.
    ParserEntry,
    /// No prefix of the list gives the quoted register.
    PcrMismatch,
    /// Entries that were authentic in an earlier round have changed.
    PrefixRewritten,
    /// The register does not keep up with a list that was longer than it in the last round.
    QuoteProgress,
    /// The path is in the policy with other digests.
    RuntimePolicyHash,
    /// The file's signature is not one of a trusted key.
    SignatureInvalid,
    /// The template digest is not the hash of the template data.
    TemplateHash,
    /// A file was open for writing while it was measured, or measured while it was open for writing.
    Violation,
    /// The entry is of another register.
    WrongPcr,
}

impl Event {
    /// The event's name behind `ima.`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BootAggregate => "validation.boot_aggregate",
            Self::BufferDigest => "validation.ima-buf.digest",
            Self::Device(fault) => fault.name(),
            Self::EvmSignature => "validation.evm-sig.invalid_signature",
            Self::ListGap => "list_gap",
            Self::ListMissing => "list_missing",
            Self::ModuleSignature => "validation.ima-modsig.invalid_signature",
            Self::NoValidator => "validation.no_validator",
            Self::NotInAllowlist => "validation.ima-ng.not_in_allowlist",
            Self::ParserEntry => "parser.entry",
            Self::PcrMismatch => "pcr_mismatch",
            Self::PrefixRewritten => "prefix_rewritten",
            Self::QuoteProgress => "quote_progress",
            Self::RuntimePolicyHash => "validation.ima-ng.runtime_policy_hash",
            Self::SignatureInvalid => "validator.ima-sig.invalid_signature",
            Self::TemplateHash => "validation.ima_hash",
            Self::Violation => "validation.tomtou",
            Self::WrongPcr => "validation.ima_pcr",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a finding does to the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Told and nothing else.
    Warning,
    /// The machine fails.
    Failure,
}

/// One reason against a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub event: Event,
    /// What it does.
    pub severity: Severity,
    /// The entry, counted from 0 since the machine started; nothing if it is about the whole list.
    pub entry: Option<u64>,
    /// The entry's name: quotes the evidence, escaped and cut.
    pub path: Option<Excerpt>,
    /// What the list has.
    pub found: String,
    /// What the policy or the quote wants instead.
    pub expected: String,
    /// The policy layers whose rule it breaks, `+` between several; nothing if no policy could allow it.
    pub layer: Option<String>,
}

impl Finding {
    /// The part of a verdict the finding belongs to, as on Keylime's wire.
    pub const COMPONENT: &'static str = "ima";

    pub(super) fn list(event: Event, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let (found, expected) = (found.into(), expected.into());
        Self { event, severity: Severity::Failure, entry: None, path: None, found, expected, layer: None }
    }

    pub(super) fn of_layer(self, layer: String) -> Self {
        Self { layer: Some(layer), ..self }
    }

    /// Where: `entry 12345 "/usr/bin/x"`, or the measurement list.
    #[must_use]
    pub fn place(&self) -> String {
        match (self.entry, &self.path) {
            (Some(entry), Some(path)) => format!("entry {entry} {path}"),
            (Some(entry), None) => format!("entry {entry}"),
            (None, _) => "measurement list".to_owned(),
        }
    }

    /// `ima.<event>`, Keylime's event id.
    #[must_use]
    pub fn event_id(&self) -> String {
        format!("{}.{}", Self::COMPONENT, self.event)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; expected {}", self.place(), self.found, self.expected)?;
        match &self.layer {
            Some(layer) => write!(f, "; layer {layer}"),
            None => Ok(()),
        }
    }
}

/// All findings of one appraisal: the first [`FINDINGS_MAX`] in full, the rest counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    cut: u64,
    failures: u64,
}

impl Findings {
    /// The findings that were kept, in the list's order.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many more there were.
    #[must_use]
    pub const fn cut(&self) -> u64 {
        self.cut
    }

    /// How many of all, kept and cut, fail the machine.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn push(&mut self, finding: Finding) {
        self.failures += u64::from(finding.severity == Severity::Failure);
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.cut += 1;
        }
    }

    /// Puts a finding about the whole list in front of those about its entries, which it calls in question.
    pub(super) fn push_front(&mut self, finding: Finding) {
        self.failures += u64::from(finding.severity == Severity::Failure);
        self.kept.insert(0, finding);
        if self.kept.len() > FINDINGS_MAX {
            self.kept.pop();
            self.cut += 1;
        }
    }
}

/// More than a person reads, and less than 1 MiB with paths and digests in full.
pub const FINDINGS_MAX: usize = 256;
