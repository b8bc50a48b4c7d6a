//! Boot event logs: what the firmware and the boot loaders say they extended into which register.
//!
//! TCG PC Client logs, crypto-agile or of SHA-1 alone, as Linux shows them under `binary_bios_measurements` and Windows
//! keeps them as WBCL, and the confidential computing logs (CCEL) of TDX guests.
//!
//! **Trust.** A log is a claim. [`BootLog::replay`] tells which register values it accounts for; only when those equal
//! quoted ones were its *digests* extended, in this order. Event types and register-less events stay untrusted, and an
//! event's data is to be believed only so far as its digest covers it: [`BootLog::examine`].
//!
//! Source: TCG PC Client Platform Firmware Profile 1.06, §10; TCG EFI Protocol 1.22 (the SHA-1 format); UEFI 2.10 §38.

use crate::algorithm::{Digest, HashAlgorithm};
use crate::pcr::{PcrBank, PcrIndex};

mod cursor;
mod details;
mod device_path;
mod event;
mod event_type;
mod examination;
mod firmware;
mod gpt;
mod guid;
mod hasher;
mod ipl;
mod malformed;
mod replay;
mod spec_id;
mod tagged;
mod text;
mod variable;

pub use details::EventDetails;
pub use device_path::DevicePath;
pub use event::{Event, EventPlace};
pub use event_type::EventType;
pub use examination::{Coverage, ExaminedEvent};
pub use firmware::{FirmwareBlob, HandoffTable, ImageLoad, NoAction, SeparatorValue};
pub use gpt::{Gpt, GptPartition};
pub use guid::Guid;
pub use ipl::{Ipl, Loader};
pub use malformed::MalformedBootLog;
pub use replay::Replay;
pub use spec_id::{ListedAlgorithm, SpecId};
pub use tagged::{Tag, Tagged};
pub use variable::{
    Authority, LoadOption, MalformedVariable, Signature, SignatureKind, SignatureList, Variable, VariableValue,
};

pub(crate) use hasher::BankHasher;

use cursor::Cursor;

#[cfg(test)]
pub(crate) mod tests;

/// A well-formed boot event log; nothing in it is authenticated.
#[derive(Clone, Debug)]
pub struct BootLog<'a> {
    format: LogFormat,
    spec_id: Option<SpecId>,
    events: Vec<Event<'a>>,
    startup_locality: Option<u8>,
    padding_bytes: usize,
}

/// How a log's events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One SHA-1 digest per event: TPM 1.2 and old TPM 2.0 firmware.
    LegacySha1,
    /// A list of digests per event, announced by a Spec ID event.
    CryptoAgile,
    /// The same over a confidential guest's measurement registers, RTMR n being register n + 1.
    ConfidentialComputing,
}

impl LogFormat {
    /// The format in a word: `legacy-sha1`, `crypto-agile` or `ccel`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LegacySha1 => "legacy-sha1",
            Self::CryptoAgile => "crypto-agile",
            Self::ConfidentialComputing => "ccel",
        }
    }
}

impl<'a> BootLog<'a> {
    /// Reads a whole log; bytes of 0xff or of zero after the last event are padding.
    ///
    /// The format follows from the first event. A log is confidential computing's when its Spec ID event stands in
    /// register 1, where firmware that measures into RTMRs puts it, or names td-shim, which puts it in register 0.
    ///
    /// # Errors
    /// [`MalformedBootLog`] with the place, for anything that is not the format, and for more than
    /// [`LOG_BYTES_MAX`] bytes or [`EVENTS_MAX`] events.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MalformedBootLog> {
        if bytes.len() > LOG_BYTES_MAX {
            return Err(MalformedBootLog::TooLong { max: LOG_BYTES_MAX, found: bytes.len() });
        }
        let padding_from = padding_from(bytes);
        if padding_from == 0 {
            return Err(MalformedBootLog::Empty { bytes: bytes.len() });
        }
        let mut cursor = Cursor::new(bytes, 0);
        let first = legacy_event(&mut cursor, 0)?;
        let spec_id = if first.event_type == EventType::NO_ACTION && SpecId::is_signed(first.data) {
            Some(SpecId::parse(first.data, first.data_offset)?)
        } else {
            None
        };
        let format = match (&spec_id, first.register.map(PcrIndex::get)) {
            (None, _) => LogFormat::LegacySha1,
            (Some(_), Some(1)) => LogFormat::ConfidentialComputing,
            (Some(header), Some(0)) if header.vendor_info == TD_SHIM => LogFormat::ConfidentialComputing,
            (Some(_), _) => LogFormat::CryptoAgile,
        };
        let mut log = Self { format, spec_id, events: Vec::new(), startup_locality: None, padding_bytes: 0 };
        log.push(first)?;
        log.read_events(cursor, padding_from)?;
        Ok(log)
    }

    fn read_events(&mut self, mut cursor: Cursor<'a>, padding_from: usize) -> Result<(), MalformedBootLog> {
        while !cursor.is_empty() {
            if cursor.offset() >= padding_from {
                self.padding_bytes = cursor.rest().len();
                break;
            }
            let number = self.events.len();
            cursor::bounded("events", cursor.offset(), number as u64 + 1, EVENTS_MAX)?;
            let event = match &self.spec_id {
                Some(spec_id) => agile_event(&mut cursor, number, spec_id)?,
                None => legacy_event(&mut cursor, number)?,
            };
            self.push(event)?;
        }
        Ok(())
    }

    fn push(&mut self, event: Event<'a>) -> Result<(), MalformedBootLog> {
        if let Some(locality) = startup_locality(&event)? {
            if self.startup_locality.is_some() {
                return Err(MalformedBootLog::SecondStartupLocality { offset: event.place.offset });
            }
            self.startup_locality = Some(locality);
        }
        self.events.push(event);
        Ok(())
    }

    /// How events are written.
    #[must_use]
    pub const fn format(&self) -> LogFormat {
        self.format
    }

    /// The header of a crypto-agile log.
    #[must_use]
    pub const fn spec_id(&self) -> Option<&SpecId> {
        self.spec_id.as_ref()
    }

    /// All events in order, the Spec ID event among them; at least one.
    #[must_use]
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// The banks the log has digests for, in the order of its header; algorithms we do not know are left out.
    pub fn banks(&self) -> impl Iterator<Item = PcrBank> {
        let legacy = self.spec_id.is_none().then_some(HashAlgorithm::Sha1);
        let listed = self.spec_id.iter().flat_map(|header| &header.algorithms);
        legacy.into_iter().chain(listed.filter_map(|listed| HashAlgorithm::from_tpm_id(listed.id))).map(PcrBank)
    }

    /// The locality TPM2_Startup came from, as the log states it: 0, 3 or 4. PCR 0 starts at this number.
    ///
    /// Not measured, but a wrong one makes the replay of PCR 0 miss the quoted value.
    #[must_use]
    pub const fn startup_locality(&self) -> Option<u8> {
        self.startup_locality
    }

    /// Bytes of padding after the last event.
    #[must_use]
    pub const fn padding_bytes(&self) -> usize {
        self.padding_bytes
    }
}

/// Reads a `TCG_PCR_EVENT`, the format of SHA-1 logs and of every log's first event.
fn legacy_event<'a>(cursor: &mut Cursor<'a>, number: usize) -> Result<Event<'a>, MalformedBootLog> {
    let place = EventPlace { number, offset: cursor.offset() };
    let (register, event_type) = register_and_type(cursor)?;
    let digest = Digest::filled(HashAlgorithm::Sha1, cursor.take("digest", 20)?);
    let (data, data_offset) = event_data(cursor)?;
    Ok(Event { place, register, event_type, digests: vec![digest], data, data_offset })
}

/// Reads a `TCG_PCR_EVENT2`.
fn agile_event<'a>(cursor: &mut Cursor<'a>, number: usize, spec_id: &SpecId) -> Result<Event<'a>, MalformedBootLog> {
    let place = EventPlace { number, offset: cursor.offset() };
    let (register, event_type) = register_and_type(cursor)?;
    let count = cursor.count("digests", spec_id.algorithms.len())?;
    let mut digests = Vec::with_capacity(count);
    let mut seen: Vec<u16> = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = cursor.offset();
        let id = cursor.u16("digest algorithm")?;
        let size = spec_id.digest_bytes(id).ok_or(MalformedBootLog::UnlistedAlgorithm { offset, found: id })?;
        let bytes = cursor.take("digest", u64::from(size))?;
        if seen.contains(&id) {
            return Err(MalformedBootLog::DuplicateDigest { offset, algorithm: id });
        }
        seen.push(id);
        if let Some(algorithm) = HashAlgorithm::from_tpm_id(id) {
            digests.push(Digest::filled(algorithm, bytes));
        }
    }
    let (data, data_offset) = event_data(cursor)?;
    Ok(Event { place, register, event_type, digests, data, data_offset })
}

fn register_and_type(cursor: &mut Cursor<'_>) -> Result<(Option<PcrIndex>, EventType), MalformedBootLog> {
    let offset = cursor.offset();
    let found = cursor.u32("pcrIndex")?;
    let event_type = EventType(cursor.u32("eventType")?);
    let register = u8::try_from(found).ok().and_then(|index| PcrIndex::try_from(index).ok());
    match register {
        Some(_) => Ok((register, event_type)),
        // Windows' trust point: not measured, of no register.
        None if found == u32::MAX && event_type == EventType::NO_ACTION => Ok((None, event_type)),
        None => Err(MalformedBootLog::Register { offset, found }),
    }
}

fn event_data<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], usize), MalformedBootLog> {
    let size = cursor.u32("eventSize")?;
    let offset = cursor.offset();
    Ok((cursor.take("event data", u64::from(size))?, offset))
}

/// The locality in a StartupLocality event.
///
/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.5.3.
fn startup_locality(event: &Event<'_>) -> Result<Option<u8>, MalformedBootLog> {
    let Some(rest) = event.data.strip_prefix(firmware::STARTUP_LOCALITY) else { return Ok(None) };
    if event.event_type != EventType::NO_ACTION || event.register.map(PcrIndex::get) != Some(0) {
        return Ok(None);
    }
    let offset = event.data_offset + firmware::STARTUP_LOCALITY.len();
    let mut cursor = Cursor::new(rest, offset);
    let locality = cursor.u8("StartupLocality")?;
    cursor.finish("the StartupLocality event")?;
    match locality {
        0 | 3 | 4 => Ok(Some(locality)),
        _ => {
            let (field, expected) = ("StartupLocality", "0, 3 or 4");
            Err(MalformedBootLog::Value { field, offset, expected, found: u64::from(locality) })
        }
    }
}

/// Where the run of equal bytes at the end begins, if they are what flash memory or a zeroed area reads as.
///
/// Found once, since a log may be made so that looking for it at each event takes very long.
fn padding_from(bytes: &[u8]) -> usize {
    match bytes.last() {
        Some(last @ (0 | 0xff)) => bytes.iter().rposition(|byte| byte != last).map_or(0, |position| position + 1),
        _ => bytes.len(),
    }
}

/// The vendor's information in the Spec ID event of Intel's td-shim, which starts TDX guests without UEFI.
const TD_SHIM: &[u8] = b"td-shim";
/// Largest log that is read: sixteen times the 256 KiB that firmware sets aside for one.
pub const LOG_BYTES_MAX: usize = 4 << 20;
/// Most events that are read: above sixty times the longest log known to us (220 events), and few enough that a log
/// made of nothing but the shortest events stays below 2 MiB in memory.
pub const EVENTS_MAX: usize = 16_384;
