//! What was found wrong, with what was expected and where.

use std::fmt;

use crate::algorithm::Digest;
use crate::boot_log::{EventPlace, EventType, ExaminedEvent};
use crate::pcr::{PcrBank, PcrIndex};

use super::Appraisal;

/// One thing found wrong. All findings fail the appraisal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The event it is about.
    pub event: Option<EventPlace>,
    /// The alternative of the policy that wants it otherwise.
    pub alternative: Option<String>,
}

/// What is wrong. Texts out of the log are cut to 512 characters and untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The log has no digests for the quoted bank.
    BankNotInLog {
        /// The bank quoted.
        bank: PcrBank,
    },
    /// A kernel command line matches no accepted pattern.
    CommandLineNotAccepted {
        /// The command line.
        text: String,
    },
    /// An event's data does not give its digest, so that what it says is untrue.
    DataNotMeasured {
        /// The register, if it is of one.
        register: Option<PcrIndex>,
        /// What the event calls itself.
        event_type: EventType,
    },
    /// A digest is in none of the sets the policy accepts in its place.
    DigestNotAccepted {
        /// What it is of, in the policy's words.
        what: &'static str,
        /// The digest measured.
        digest: Digest,
        /// What the log calls it.
        name: String,
    },
    /// The log does not state what was extended into a quoted register of this bank.
    DigestNotStated {
        /// The bank quoted.
        bank: PcrBank,
        /// The register.
        register: PcrIndex,
    },
    /// The policy rejects every machine.
    EverythingIsRejected,
    /// A GRUB command matches no accepted pattern.
    GrubCommandNotAccepted {
        /// The command.
        text: String,
    },
    /// A key database has an entry that is not accepted.
    KeyNotAccepted {
        /// The database, or `authority` for the entry an image was verified with.
        database: &'static str,
        /// The entry, as policies name it.
        key: String,
    },
    /// A key database lacks an entry that must be there.
    KeyRequired {
        /// The database.
        database: &'static str,
        /// The entry, as policies name it.
        key: String,
    },
    /// The log has not what the policy requires.
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// The log is of a confidential guest's measurement registers, which no TPM quotes.
    NotATpmLog,
    /// The policy has no alternative that could accept anything.
    NothingIsAccepted,
    /// The policy states digests for this, but none in the quoted bank.
    NothingStatedForBank {
        /// What the policy states digests for.
        what: &'static str,
        /// The bank quoted.
        bank: PcrBank,
    },
    /// A register's quoted value does not follow from the log.
    PcrMismatch {
        /// The register.
        register: PcrIndex,
        /// What the log replays to.
        replayed: Digest,
        /// What the TPM quoted.
        quoted: Digest,
    },
    /// A register the policy relies on was not quoted.
    PcrNotQuoted {
        /// The register.
        register: PcrIndex,
    },
    /// A register's quoted value is none of those accepted.
    PcrValueNotAccepted {
        /// The register.
        register: PcrIndex,
        /// What the TPM quoted.
        quoted: Digest,
        /// How many values are accepted.
        accepted: usize,
    },
    /// Something that may be there once is there again.
    Repeated {
        /// What is repeated.
        what: &'static str,
    },
    /// Secure Boot is not in the state required.
    SecureBootState {
        /// Whether it should be on.
        expected: bool,
    },
    /// An event stands in a register the policy relies on, and nothing in the policy explains it.
    Unexplained {
        /// The register, if it is of one.
        register: Option<PcrIndex>,
        /// What the event calls itself.
        event_type: EventType,
        /// What it says.
        text: String,
    },
}

impl FindingKind {
    /// A short name that stays the same, such as `pcr-mismatch`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BankNotInLog { .. } => "bank-not-in-log",
            Self::CommandLineNotAccepted { .. } => "command-line-not-accepted",
            Self::DataNotMeasured { .. } => "data-not-measured",
            Self::DigestNotAccepted { .. } => "digest-not-accepted",
            Self::DigestNotStated { .. } => "digest-not-stated",
            Self::EverythingIsRejected => "everything-is-rejected",
            Self::GrubCommandNotAccepted { .. } => "grub-command-not-accepted",
            Self::KeyNotAccepted { .. } => "key-not-accepted",
            Self::KeyRequired { .. } => "key-required",
            Self::Missing { .. } => "missing",
            Self::NotATpmLog => "not-a-tpm-log",
            Self::NothingIsAccepted => "nothing-is-accepted",
            Self::NothingStatedForBank { .. } => "nothing-stated-for-bank",
            Self::PcrMismatch { .. } => "pcr-mismatch",
            Self::PcrNotQuoted { .. } => "pcr-not-quoted",
            Self::PcrValueNotAccepted { .. } => "pcr-value-not-accepted",
            Self::Repeated { .. } => "repeated",
            Self::SecureBootState { .. } => "secure-boot-state",
            Self::Unexplained { .. } => "unexplained-event",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BankNotInLog { bank } => {
                write!(f, "the quote is of bank {bank}, for which the boot log has no digests")
            }
            Self::CommandLineNotAccepted { text } => {
                write!(f, "kernel command line {text:?} matches no accepted pattern")
            }
            Self::DataNotMeasured { register, event_type } => {
                write!(f, "an {event_type} event{} says something else than what was measured", InRegister(*register))
            }
            Self::DigestNotAccepted { what, digest, name } => {
                write!(f, "{what} {name:?} has digest {digest:?}, which is not accepted")
            }
            Self::DigestNotStated { bank, register } => {
                write!(f, "an event extended PCR {register} and the log does not say with what in bank {bank}")
            }
            Self::EverythingIsRejected => f.write_str("the policy rejects everything"),
            Self::GrubCommandNotAccepted { text } => write!(f, "GRUB command {text:?} matches no accepted pattern"),
            Self::KeyNotAccepted { database, key } => write!(f, "{database} holds {key}, which is not accepted"),
            Self::KeyRequired { database, key } => write!(f, "{database} lacks {key}, which is required"),
            Self::Missing { what } => write!(f, "the boot log has no {what}"),
            Self::NotATpmLog => f.write_str("the log is of a confidential guest's registers, not of a TPM's"),
            Self::NothingIsAccepted => f.write_str("the policy has no alternative, so it accepts nothing"),
            Self::NothingStatedForBank { what, bank } => {
                write!(f, "the policy states no digest of {what} for bank {bank}, which is the one quoted")
            }
            Self::PcrMismatch { register, replayed, quoted } => {
                write!(f, "PCR {register} is quoted as {quoted:?}, the boot log gives {replayed:?}")
            }
            Self::PcrNotQuoted { register } => write!(f, "PCR {register} is required and was not quoted"),
            Self::PcrValueNotAccepted { register, quoted, accepted } => {
                write!(f, "PCR {register} is quoted as {quoted:?}, which is none of the {accepted} accepted values")
            }
            Self::Repeated { what } => write!(f, "{what} is there more than once"),
            Self::SecureBootState { expected: true } => f.write_str("Secure Boot is off, expected on"),
            Self::SecureBootState { expected: false } => f.write_str("Secure Boot is on, expected off"),
            Self::Unexplained { register, event_type, text } => {
                write!(f, "an {event_type} event{} is not explained by the policy: {text}", InRegister(*register))
            }
        }
    }
}

/// ` in PCR 7`, or nothing.
struct InRegister(Option<PcrIndex>);

impl fmt::Display for InRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |register| write!(f, " in PCR {register}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(alternative) = &self.alternative {
            write!(f, "for {alternative:?}: ")?;
        }
        self.kind.fmt(f)?;
        self.event.map_or(Ok(()), |place| write!(f, " ({place})"))
    }
}

/// Findings as they come, bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    cut: usize,
    alternative: Option<String>,
}

impl Findings {
    /// No findings yet, all to come being of one alternative.
    pub(super) fn of_alternative(name: &str) -> Self {
        Self { alternative: Some(name.to_owned()), ..Self::default() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.cut == 0
    }

    pub(super) const fn len(&self) -> usize {
        self.kept.len() + self.cut
    }

    pub(super) fn add(&mut self, kind: FindingKind) {
        self.push(kind, None);
    }

    pub(super) fn add_at(&mut self, event: &ExaminedEvent<'_, '_>, kind: FindingKind) {
        self.push(kind, Some(event.event.place()));
    }

    /// An event that nothing explains, or that says something else than was measured.
    pub(super) fn unexplained(&mut self, event: &ExaminedEvent<'_, '_>) {
        let (register, event_type) = (event.event.register(), event.event.event_type());
        self.add_at(
            event,
            if event.verified == Some(false) {
                FindingKind::DataNotMeasured { register, event_type }
            } else {
                FindingKind::Unexplained { register, event_type, text: cut(&event.details.to_string()) }
            },
        );
    }

    fn push(&mut self, kind: FindingKind, event: Option<EventPlace>) {
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(Finding { kind, event, alternative: self.alternative.clone() });
        } else {
            self.cut += 1;
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.cut += other.cut;
        for finding in other.kept {
            if self.kept.len() < FINDINGS_MAX {
                self.kept.push(finding);
            } else {
                self.cut += 1;
            }
        }
    }

    pub(super) fn into_appraisal(self, accepted_alternative: Option<String>, everything_accepted: bool) -> Appraisal {
        Appraisal { findings: self.kept, findings_cut: self.cut, accepted_alternative, everything_accepted }
    }
}

/// The beginning of a text out of the log.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Findings that are kept: more than anybody reads, few enough for every verdict to be stored.
const FINDINGS_MAX: usize = 256;
/// Characters of a text that are kept: longer than nearly every kernel command line.
const TEXT_CHARS_MAX: usize = 512;
