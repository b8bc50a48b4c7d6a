//! An event's data by what its type says it is.

use std::fmt;

use super::event::Event;
use super::event_type::EventType;
use super::firmware::{FirmwareBlob, HandoffTable, ImageLoad, NoAction, SeparatorValue};
use super::gpt::Gpt;
use super::ipl::Ipl;
use super::malformed::MalformedBootLog;
use super::tagged::Tagged;
use super::text;
use super::variable::Variable;

/// What an event says.
///
/// Read according to the event's type, which is untrusted, from data that is untrusted until its digest was compared:
/// [`BootLog::examine`](super::BootLog::examine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventDetails<'a> {
    /// The firmware did something; the digest covers the text.
    Action(String),
    /// The root of trust's version; the digest covers the event's data.
    CrtmVersion(String),
    /// A firmware volume.
    Firmware(FirmwareBlob),
    /// A partition table.
    Gpt(Gpt),
    /// Tables handed to the operating system.
    HandoffTables(Vec<HandoffTable>),
    /// An application or driver that was loaded.
    Image(ImageLoad),
    /// A boot loader's event.
    Ipl(Ipl),
    /// The data is not what the type says.
    Malformed(MalformedBootLog),
    /// A remark that is not measured.
    NoAction(NoAction),
    /// Data whose format its author alone knows, with the text in it if it is one; what the digest covers is the author's
    /// choice.
    Other(Option<String>),
    /// The end of a phase.
    Separator(SeparatorValue),
    /// An event with a number of its own.
    Tagged(Tagged<'a>),
    /// A UEFI variable.
    Variable(Variable<'a>),
}

impl<'a> Event<'a> {
    /// Reads the data as the type says; what cannot be read so is [`EventDetails::Malformed`].
    #[must_use]
    pub fn details(&self) -> EventDetails<'a> {
        self.read_details().unwrap_or_else(EventDetails::Malformed)
    }

    fn read_details(&self) -> Result<EventDetails<'a>, MalformedBootLog> {
        let (data, offset) = (self.data, self.data_offset);
        Ok(match self.event_type {
            EventType::NO_ACTION => EventDetails::NoAction(NoAction::parse(data, self.register.is_none())),
            EventType::SEPARATOR => EventDetails::Separator(SeparatorValue::parse(data)),
            EventType::ACTION | EventType::EFI_ACTION => {
                EventDetails::Action(String::from_utf8_lossy(text::without_nul(data)).into_owned())
            }
            EventType::S_CRTM_VERSION => EventDetails::CrtmVersion(crtm_version(data)),
            EventType::EVENT_TAG => EventDetails::Tagged(Tagged::parse(data, offset)?),
            EventType::IPL => EventDetails::Ipl(Ipl::parse(data)),
            EventType::EFI_VARIABLE_DRIVER_CONFIG | EventType::EFI_VARIABLE_BOOT | EventType::EFI_VARIABLE_BOOT2 => {
                EventDetails::Variable(Variable::parse(data, offset, false)?)
            }
            EventType::EFI_VARIABLE_AUTHORITY => EventDetails::Variable(Variable::parse(data, offset, true)?),
            EventType::EFI_BOOT_SERVICES_APPLICATION
            | EventType::EFI_BOOT_SERVICES_DRIVER
            | EventType::EFI_RUNTIME_SERVICES_DRIVER => EventDetails::Image(ImageLoad::parse(data, offset)?),
            EventType::EFI_GPT_EVENT | EventType::EFI_GPT_EVENT2 => EventDetails::Gpt(Gpt::parse(data, offset)?),
            EventType::EFI_PLATFORM_FIRMWARE_BLOB => EventDetails::Firmware(FirmwareBlob::parse(data, offset, false)?),
            EventType::EFI_PLATFORM_FIRMWARE_BLOB2 => EventDetails::Firmware(FirmwareBlob::parse(data, offset, true)?),
            EventType::EFI_HANDOFF_TABLES => EventDetails::HandoffTables(HandoffTable::parse_all(data, offset, false)?),
            EventType::EFI_HANDOFF_TABLES2 => EventDetails::HandoffTables(HandoffTable::parse_all(data, offset, true)?),
            _ => EventDetails::Other(text::strict_utf8(data).map(str::to_owned)),
        })
    }
}

/// UTF-16 by the specification, one-byte characters or a GUID in some firmware.
fn crtm_version(data: &[u8]) -> String {
    match (text::strict_utf16(data), text::strict_utf8(data)) {
        (Some(version), _) => version,
        (None, Some(version)) => version.to_owned(),
        (None, None) => text::utf16(data),
    }
}

impl fmt::Display for EventDetails<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(text) => write!(f, "{}", text.escape_debug()),
            Self::CrtmVersion(version) => write!(f, "version {version:?} of the root of trust for measurement"),
            Self::Firmware(FirmwareBlob { description, base, length }) => {
                write!(f, "firmware volume of {length} bytes at {base:#x}")?;
                description.as_ref().map_or(Ok(()), |description| write!(f, ", {description:?}"))
            }
            Self::Gpt(gpt) => {
                write!(f, "partition table of disk {} with {} partitions", gpt.disk, gpt.partitions.len())
            }
            Self::HandoffTables(tables) => write!(f, "{} tables handed over", tables.len()),
            Self::Image(image) => {
                write!(f, "image of {} bytes from {}", image.length, image.path.to_string().escape_debug())
            }
            Self::Ipl(ipl) => ipl.fmt(f),
            Self::Malformed(error) => write!(f, "malformed: {error}"),
            Self::NoAction(remark) => remark.fmt(f),
            Self::Other(Some(text)) => write!(f, "{}", text.escape_debug()),
            Self::Other(None) => f.write_str("data of a format its author alone knows"),
            Self::Separator(value) => value.fmt(f),
            Self::Tagged(tagged) => tagged.fmt(f),
            Self::Variable(variable) => variable.fmt(f),
        }
    }
}
