//! What was found wrong, with what was expected and where.

use std::fmt;
use std::sync::Arc;

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
    /// The event's register, if it is of one.
    pub register: Option<PcrIndex>,
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
        /// The patterns.
        accepted: Accepted,
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
        /// What the policy has for the quoted bank.
        accepted: Accepted,
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
        /// The patterns.
        accepted: Accepted,
    },
    /// A key database has an entry that is not accepted.
    KeyNotAccepted {
        /// The database, or `authority` for the entry an image was verified with.
        database: &'static str,
        /// The entry, as policies name it.
        key: String,
        /// The entries that are accepted.
        accepted: Accepted,
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
        /// What the policy has for the quoted bank.
        accepted: Accepted,
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

impl Finding {
    /// Where: an event of the log and its register, or a register and its bank, or the log.
    #[must_use]
    pub fn place(&self) -> String {
        let register = self.register.map(|register| format!(", PCR {register}")).unwrap_or_default();
        match (self.event, &self.kind) {
            (Some(event), _) => format!("boot log {event}{register}"),
            (
                None,
                FindingKind::PcrMismatch { register, quoted, .. }
                | FindingKind::PcrValueNotAccepted { register, quoted, .. },
            ) => format!("PCR {register} of bank {}", quoted.algorithm()),
            (None, FindingKind::DigestNotStated { register, bank }) => format!("PCR {register} of bank {bank}"),
            (None, FindingKind::PcrNotQuoted { register }) => format!("PCR {register}"),
            (None, _) => "boot log".to_owned(),
        }
    }

    /// What the log or the quote has there. Quotes the evidence: untrusted text.
    #[must_use]
    pub fn found(&self) -> String {
        self.kind.found()
    }

    /// What the policy, or the quote, wants there.
    #[must_use]
    pub fn expected(&self) -> String {
        self.kind.expected()
    }

    /// Whether a policy could let it pass; what only shows that the log is not the quoted machine's, none could.
    #[must_use]
    pub const fn is_of_policy(&self) -> bool {
        !matches!(
            self.kind,
            FindingKind::BankNotInLog { .. }
                | FindingKind::DigestNotStated { .. }
                | FindingKind::NotATpmLog
                | FindingKind::PcrMismatch { .. }
        )
    }
}

impl FindingKind {
    fn found(&self) -> String {
        match self {
            Self::BankNotInLog { .. } => "no digests of the quoted bank".to_owned(),
            Self::CommandLineNotAccepted { text, .. } => format!("kernel command line {text:?}"),
            Self::DataNotMeasured { event_type, .. } => {
                format!("an {event_type} event that says something else than was measured")
            }
            Self::DigestNotAccepted { what, digest, name, .. } if name.is_empty() => format!("{what} {digest:?}"),
            Self::DigestNotAccepted { what, digest, name, .. } => format!("{what} {name:?} with digest {digest:?}"),
            Self::DigestNotStated { .. } => "an event that does not say what it extended in this bank".to_owned(),
            Self::EverythingIsRejected => "a boot log".to_owned(),
            Self::GrubCommandNotAccepted { text, .. } => format!("GRUB command {text:?}"),
            Self::KeyNotAccepted { database, key, .. } => format!("{database} {key}"),
            Self::KeyRequired { database, key } => format!("{database} without {key}"),
            Self::Missing { what } => format!("no {what}"),
            Self::NotATpmLog => "a log of a confidential guest's registers".to_owned(),
            Self::NothingIsAccepted => "a boot log".to_owned(),
            Self::NothingStatedForBank { bank, .. } => format!("a quote of bank {bank}"),
            Self::PcrMismatch { quoted, .. } | Self::PcrValueNotAccepted { quoted, .. } => quoted.to_string(),
            Self::PcrNotQuoted { .. } => "it is not quoted".to_owned(),
            Self::Repeated { what } => format!("{what} again"),
            Self::SecureBootState { expected: true } => "Secure Boot is off".to_owned(),
            Self::SecureBootState { expected: false } => "Secure Boot is on".to_owned(),
            Self::Unexplained { event_type, text, .. } => format!("an {event_type} event: {text:?}"),
        }
    }

    fn expected(&self) -> String {
        match self {
            Self::BankNotInLog { bank } | Self::DigestNotStated { bank, .. } => format!("digests of bank {bank}"),
            Self::CommandLineNotAccepted { accepted, .. } | Self::GrubCommandNotAccepted { accepted, .. } => {
                format!("a match of {accepted}")
            }
            Self::DataNotMeasured { .. } => "data that give the event's digest".to_owned(),
            Self::DigestNotAccepted { accepted, .. }
            | Self::KeyNotAccepted { accepted, .. }
            | Self::PcrValueNotAccepted { accepted, .. } => accepted.to_string(),
            Self::EverythingIsRejected => "nothing: the policy rejects everything".to_owned(),
            Self::KeyRequired { key, .. } => format!("{key} in it"),
            Self::Missing { what } => format!("{what}, which the policy requires"),
            Self::NotATpmLog => "a log of a TPM's registers".to_owned(),
            Self::NothingIsAccepted => "nothing: the policy has no alternative".to_owned(),
            Self::NothingStatedForBank { what, .. } => format!("a bank for which the policy states digests of {what}"),
            Self::PcrMismatch { replayed, .. } => format!("{replayed}, which the boot log gives"),
            Self::PcrNotQuoted { .. } => "its value, which the policy relies on".to_owned(),
            Self::Repeated { .. } => "it once".to_owned(),
            Self::SecureBootState { expected: true } => "on".to_owned(),
            Self::SecureBootState { expected: false } => "off".to_owned(),
            Self::Unexplained { .. } => "an event that the policy explains".to_owned(),
        }
    }
}

/// `PLACE: FOUND; expected EXPECTED; layer alternative "NAME"`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; expected {}", self.place(), self.found(), self.expected())?;
        match &self.alternative {
            Some(alternative) => write!(f, "; layer alternative {alternative:?}"),
            None => Ok(()),
        }
    }
}

/// What a policy accepts in some place, for people: the first few and how many more. Made once for each set that is
/// missed, not once for each event that misses it: sets and logs are both long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted(Arc<str>);

impl Accepted {
    /// The first of `all` by their text, and how many more there are.
    pub(super) fn of<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> Self {
        // Those that are counted only are never put into words.
        let mut all = all.into_iter();
        let shown: Vec<String> = all.by_ref().take(ACCEPTED_SHOWN_MAX).map(|one| one.to_string()).collect();
        let text = match (shown.as_slice(), all.count()) {
            ([], _) => "none: the policy accepts nothing here".to_owned(),
            ([one], 0) => one.clone(),
            (_, 0) => format!("one of {}", shown.join(", ")),
            (_, more) => format!("one of {} and {more} more", shown.join(", ")),
        };
        Self(text.into())
    }

    /// Digests of one bank.
    pub(super) fn digests<'d>(all: impl IntoIterator<Item = &'d Digest>, bank: PcrBank) -> Self {
        let of_bank = all.into_iter().filter(|digest| digest.algorithm() == bank.algorithm());
        Self::of(of_bank.map(|digest| Named(*digest)))
    }
}

/// A digest with its algorithm.
struct Named(Digest);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a person compares by eye.
const ACCEPTED_SHOWN_MAX: usize = 3;

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
        self.push(kind, None, None);
    }

    pub(super) fn add_at(&mut self, event: &ExaminedEvent<'_, '_>, kind: FindingKind) {
        self.push(kind, Some(event.event.place()), event.event.register());
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

    fn push(&mut self, kind: FindingKind, event: Option<EventPlace>, register: Option<PcrIndex>) {
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(Finding { kind, event, register, alternative: self.alternative.clone() });
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
