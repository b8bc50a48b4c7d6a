//! What the firmware itself records: its volumes, tables, separators, unmeasured remarks and the images it starts.

use std::fmt;

use super::cursor::Cursor;
use super::device_path::DevicePath;
use super::guid::Guid;
use super::malformed::MalformedBootLog;
use super::spec_id;
use super::text;

/// A remark of type `EV_NO_ACTION`: never measured, hence untrusted altogether.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAction {
    /// Any other remark, by the text it starts with.
    Other(String),
    /// Where reference measurements for this platform are to be found.
    Sp800155 {
        /// The event's version: 1, 2 or 3.
        version: u8,
    },
    /// The header of a crypto-agile log.
    SpecId,
    /// The locality of TPM2_Startup.
    StartupLocality(u8),
    /// A statement signed by Windows' boot loader over the log before it; belongs to no register.
    WindowsTrustPoint,
}

impl NoAction {
    pub(super) fn parse(data: &[u8], of_no_register: bool) -> Self {
        if of_no_register {
            return Self::WindowsTrustPoint;
        }
        if data.starts_with(spec_id::SIGNATURE) {
            return Self::SpecId;
        }
        if let Some([locality]) = data.strip_prefix(STARTUP_LOCALITY) {
            return Self::StartupLocality(*locality);
        }
        let versions: [(&[u8], u8); 3] =
            [(b"SP800-155 Event\0", 1), (b"SP800-155 Event2", 2), (b"SP800-155 Event3", 3)];
        match versions.into_iter().find(|(signature, _)| data.starts_with(signature)) {
            Some((_, version)) => Self::Sp800155 { version },
            None => Self::Other(text::strict_utf8(data).unwrap_or_default().chars().take(64).collect()),
        }
    }
}

impl fmt::Display for NoAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => write!(f, "a remark that is not measured, {text:?}"),
            Self::Sp800155 { version } => {
                write!(f, "where reference measurements are found (SP 800-155, version {version})")
            }
            Self::SpecId => f.write_str("the log's header"),
            Self::StartupLocality(locality) => write!(f, "TPM2_Startup came from locality {locality}"),
            Self::WindowsTrustPoint => f.write_str("Windows' trust point, a signed statement that is not measured"),
        }
    }
}

/// What a separator says; its digest covers the event's data, or the number 1 for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeparatorValue {
    /// Four bytes of zero or of 0xff: the firmware hands over.
    HandOver,
    /// The firmware gave up measuring.
    Error,
    /// `WBCL`: Windows' boot loader begins.
    Windows,
    /// Anything else.
    Other,
}

impl SeparatorValue {
    pub(super) fn parse(data: &[u8]) -> Self {
        match data {
            [0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff] => Self::HandOver,
            [1, 0, 0, 0] => Self::Error,
            b"WBCL" => Self::Windows,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for SeparatorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HandOver => "the firmware hands over",
            Self::Error => "the firmware could not measure",
            Self::Windows => "Windows' boot loader begins",
            Self::Other => "a separator of the vendor's own",
        })
    }
}

/// A firmware volume. The digest covers the volume, which is not in the log; base, length and description are untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareBlob {
    /// The description, in the second form of the event.
    pub description: Option<String>,
    /// Where it lay in memory.
    pub base: u64,
    /// Its size in bytes.
    pub length: u64,
}

impl FirmwareBlob {
    pub(super) fn parse(data: &[u8], offset: usize, described: bool) -> Result<Self, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        let description = if described { Some(description(&mut cursor, "BlobDescription")?) } else { None };
        Ok(Self { description, base: cursor.u64("BlobBase")?, length: cursor.u64("BlobLength")? })
    }
}

/// A table handed to the operating system. The digest covers the tables' contents, which are not in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoffTable {
    /// What the table is.
    pub vendor: Guid,
    /// Where it lay in memory.
    pub address: u64,
}

impl HandoffTable {
    pub(super) fn parse_all(data: &[u8], offset: usize, described: bool) -> Result<Vec<Self>, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        if described {
            description(&mut cursor, "TableDescription")?;
        }
        let count_offset = cursor.offset();
        let count = cursor.u64("NumberOfTables")?;
        let count = super::cursor::bounded("NumberOfTables", count_offset, count, HANDOFF_TABLES_MAX)?;
        (0..count)
            .map(|_| Ok(Self { vendor: cursor.guid("VendorGuid")?, address: cursor.u64("VendorTable")? }))
            .collect()
    }
}

fn description(cursor: &mut Cursor<'_>, field: &'static str) -> Result<String, MalformedBootLog> {
    let size = cursor.u8(field)?;
    let bytes = cursor.take(field, u64::from(size))?;
    Ok(String::from_utf8_lossy(text::without_nul(bytes)).into_owned())
}

/// An image that was loaded.
///
/// The digest covers the image as Authenticode does: without its signature, checksum and padding. Where it lay and where
/// it came from are untrusted.
///
/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.3, `UEFI_IMAGE_LOAD_EVENT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLoad {
    /// Where it lay in memory.
    pub base: u64,
    /// Its size in bytes.
    pub length: u64,
    /// Where it was loaded from.
    pub path: DevicePath,
}

impl ImageLoad {
    pub(super) fn parse(data: &[u8], offset: usize) -> Result<Self, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        let (base, length) = (cursor.u64("ImageLocationInMemory")?, cursor.u64("ImageLengthInMemory")?);
        cursor.u64("ImageLinkTimeAddress")?;
        let path_bytes = cursor.u64("LengthOfDevicePath")?;
        Ok(Self { base, length, path: DevicePath::parse(cursor.take("DevicePath", path_bytes)?) })
    }
}

/// What the data of the event starts with.
pub(super) const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";
/// Tables of one event: the UEFI configuration table has some twenty in all.
const HANDOFF_TABLES_MAX: usize = 256;
