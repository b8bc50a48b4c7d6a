//! Comparing events' data with their digests: how far each event is to be believed.

use crate::algorithm::Digest;
use crate::crypto::CryptoUnavailable;
use crate::pcr::PcrBank;

use super::BootLog;
use super::details::EventDetails;
use super::event::Event;
use super::event_type::EventType;
use super::firmware::SeparatorValue;
use super::hasher::BankHasher;
use super::ipl::{self, Ipl};
use super::tagged::Tag;
use super::variable::Variable;

/// An event with what it says and whether its digest in one bank bears that out.
#[derive(Clone, Debug)]
pub struct ExaminedEvent<'l, 'a> {
    /// The event.
    pub event: &'l Event<'a>,
    /// What it says.
    pub details: EventDetails<'a>,
    /// What its digest covers.
    pub covers: Coverage,
    /// Whether the covered part of the data gives the digest; `None` if the digest covers something that is not in the
    /// log, so that nothing can be said.
    pub verified: Option<bool>,
}

/// What an event's digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of the event's data.
    EventData,
    /// All of the event's data but the last byte, which is padding after the variable: old versions of shim.
    EventDataButPadding,
    /// Contents that are not in the log; the data only names them and is untrusted.
    Elsewhere,
    /// Nothing: the event is not measured.
    Nothing,
    /// The name of a section of a unified kernel image.
    SectionName,
    /// The text after GRUB's prefix; the prefix is untrusted.
    Text,
    /// Not known: the format leaves it to the author, and the data alone does not give the digest.
    Unknown,
    /// The log states no digest for this bank.
    Unstated,
    /// A variable's value; its name is untrusted.
    VariableValue,
}

impl Coverage {
    /// The coverage in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::EventData => "the event's data",
            Self::EventDataButPadding => "the event's data but padding at its end",
            Self::Elsewhere => "contents that are not in the log; the data only names them",
            Self::Nothing => "nothing, the event is not measured",
            Self::SectionName => "the section's name",
            Self::Text => "the text after the prefix",
            Self::Unknown => "what its author chose",
            Self::Unstated => "nothing stated for this bank",
            Self::VariableValue => "the variable's value, not its name",
        }
    }
}

impl<'a> BootLog<'a> {
    /// Reads every event and compares its data with its digest of `bank`.
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if the bank's algorithm is switched off in the library.
    pub fn examine(&self, bank: PcrBank) -> Result<Vec<ExaminedEvent<'_, 'a>>, CryptoUnavailable> {
        self.examine_with(&mut BankHasher::new(bank.algorithm())?)
    }

    pub(crate) fn examine_with(
        &self,
        hasher: &mut BankHasher,
    ) -> Result<Vec<ExaminedEvent<'_, 'a>>, CryptoUnavailable> {
        self.events().iter().map(|event| ExaminedEvent::new(event, hasher)).collect()
    }
}

impl<'l, 'a> ExaminedEvent<'l, 'a> {
    fn new(event: &'l Event<'a>, hasher: &mut BankHasher) -> Result<Self, CryptoUnavailable> {
        let details = event.details();
        let (covers, verified) = match event.digest_of(hasher.algorithm()) {
            _ if !event.is_measured() => (Coverage::Nothing, None),
            None => (Coverage::Unstated, None),
            Some(digest) => Check { event, digest, hasher }.details(&details)?,
        };
        Ok(Self { event, details, covers, verified })
    }

    /// Whether all that `details` was read from is known to be what was measured.
    #[must_use]
    pub fn is_covered_whole(&self) -> bool {
        self.verified == Some(true) && matches!(self.covers, Coverage::EventData | Coverage::EventDataButPadding)
    }
}

type Answer = Result<(Coverage, Option<bool>), CryptoUnavailable>;

struct Check<'c, 'a> {
    event: &'c Event<'a>,
    digest: &'c Digest,
    hasher: &'c mut BankHasher,
}

impl Check<'_, '_> {
    fn details(mut self, details: &EventDetails<'_>) -> Answer {
        match details {
            EventDetails::Action(_) | EventDetails::CrtmVersion(_) | EventDetails::Gpt(_) => self.whole(),
            EventDetails::Firmware(_) | EventDetails::Image(_) => Ok((Coverage::Elsewhere, None)),
            EventDetails::HandoffTables(_) | EventDetails::Malformed(_) | EventDetails::Other(_) => self.perhaps(),
            EventDetails::Ipl(ipl) => self.ipl(ipl),
            EventDetails::NoAction(_) => Ok((Coverage::Nothing, None)),
            EventDetails::Separator(value) => self.separator(*value),
            EventDetails::Tagged(tagged) => match tagged.tag {
                Tag::Other(_) | Tag::Windows(_) => self.perhaps(),
                Tag::LinuxInitrd | Tag::LinuxLoadOptions | Tag::SystemdAddon(_) | Tag::SystemdLoaderConfiguration => {
                    Ok((Coverage::Elsewhere, None))
                }
            },
            EventDetails::Variable(variable) => self.variable(variable),
        }
    }

    /// The specification demands that the digest is the data's.
    fn whole(&mut self) -> Answer {
        Ok((Coverage::EventData, Some(self.gives(self.event.data)?)))
    }

    /// The specification leaves open what the digest covers.
    fn perhaps(&mut self) -> Answer {
        let whole = self.gives(self.event.data)?;
        Ok(if whole { (Coverage::EventData, Some(true)) } else { (Coverage::Unknown, None) })
    }

    fn separator(&mut self, value: SeparatorValue) -> Answer {
        let (covers, verified) = self.whole()?;
        // An error separator measures the number 1 and logs what went wrong.
        let failed = value != SeparatorValue::Error && verified == Some(false) && self.gives(&[1, 0, 0, 0])?;
        Ok(if failed { (Coverage::Elsewhere, Some(false)) } else { (covers, verified) })
    }

    fn variable(&mut self, variable: &Variable<'_>) -> Answer {
        if self.gives(self.event.data)? {
            return Ok((Coverage::EventData, Some(true)));
        }
        match (self.event.event_type, self.event.data) {
            (EventType::EFI_VARIABLE_BOOT, _) if self.gives(variable.data)? => {
                Ok((Coverage::VariableValue, Some(true)))
            }
            (EventType::EFI_VARIABLE_AUTHORITY, [data @ .., _]) if variable.is_padded && self.gives(data)? => {
                Ok((Coverage::EventDataButPadding, Some(true)))
            }
            _ => Ok((Coverage::EventData, Some(false))),
        }
    }

    fn ipl(&mut self, ipl: &Ipl) -> Answer {
        match ipl {
            Ipl::CommandLine { .. } | Ipl::GrubCommand(_) | Ipl::ModuleCommandLine(_) => {
                match ipl::covered_text(self.event.data) {
                    // Some distributions' GRUB hashes the zero at a command's end, too.
                    Some(covered) => Ok((Coverage::Text, Some(self.gives(covered)? || self.gives_with_nul(covered)?))),
                    None => self.whole(),
                }
            }
            Ipl::UkiSection(name) => {
                let named = self.gives_with_nul(name.as_bytes())?;
                Ok(if named { (Coverage::SectionName, Some(true)) } else { (Coverage::Elsewhere, None) })
            }
            Ipl::File(_) | Ipl::MokVariable(_) => Ok((Coverage::Elsewhere, None)),
            Ipl::Other => self.perhaps(),
        }
    }

    fn gives_with_nul(&mut self, text: &[u8]) -> Result<bool, CryptoUnavailable> {
        Ok(self.hasher.hash(text, b"\0")? == *self.digest)
    }

    fn gives(&mut self, data: &[u8]) -> Result<bool, CryptoUnavailable> {
        Ok(self.hasher.hash(data, &[])? == *self.digest)
    }
}
