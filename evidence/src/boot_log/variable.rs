//! UEFI variables: Secure Boot's state and keys, boot order and boot options, and what shim keeps.

use std::fmt;

use super::cursor::Cursor;
use super::device_path::DevicePath;
use super::guid::Guid;
use super::malformed::MalformedBootLog;
use super::text;

/// A UEFI variable as it was measured.
///
/// In `EV_EFI_VARIABLE_DRIVER_CONFIG` and `EV_EFI_VARIABLE_AUTHORITY` the digest covers vendor, name and value. In
/// `EV_EFI_VARIABLE_BOOT` most firmware measures the value alone: vendor and name are then untrusted.
///
/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.2.1, `UEFI_VARIABLE_DATA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Whose name space the name is of.
    pub vendor: Guid,
    /// The name.
    pub name: String,
    /// The value's bytes.
    pub data: &'a [u8],
    /// What the value says.
    pub value: VariableValue<'a>,
    /// Whether padding follows in the event's data.
    pub(super) is_padded: bool,
}

/// What a variable's value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableValue<'a> {
    /// The database entry an image was verified with, in an authority event.
    Authority(Authority<'a>),
    /// `Boot####`.
    BootOption(LoadOption),
    /// `BootOrder`: numbers of `Boot####` variables.
    BootOrder(Vec<u16>),
    /// A variable of known name whose value is not what it should be.
    Malformed(MalformedVariable),
    /// Any other variable.
    Other,
    /// shim's revocation level: `SbatLevel`, text of comma-separated values.
    SbatLevel(String),
    /// PK, KEK, db, dbx, dbt, MokList and the like.
    SignatureDatabase(Vec<SignatureList<'a>>),
    /// `SecureBoot`, `MokListTrusted` and other switches: whether the one byte is 1.
    Switch(bool),
}

/// Why a value is not what the variable's name promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedVariable(pub MalformedBootLog);

/// One entry of a signature database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Who put it there; informative.
    pub owner: Guid,
    /// A certificate's DER, a digest, or what else the list holds.
    pub data: &'a [u8],
}

/// Entries of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureList<'a> {
    /// What the entries are.
    pub kind: SignatureKind,
    /// The entries, at most 8192 in all of a database.
    pub signatures: Vec<Signature<'a>>,
}

/// What the entries of a signature list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureKind {
    /// SHA-256 Authenticode digests of images.
    ImageSha256,
    /// Anything else, by the type's GUID.
    Other(Guid),
    /// Certificates in DER.
    X509,
}

impl SignatureKind {
    fn new(guid: Guid) -> Self {
        match guid {
            Guid::CERT_X509 => Self::X509,
            Guid::CERT_SHA256 => Self::ImageSha256,
            other => Self::Other(other),
        }
    }
}

/// The entry an image was verified with.
///
/// Firmware writes an `EFI_SIGNATURE_DATA`; some versions of shim leave the owner out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Who put the entry into the database.
    pub owner: Option<Guid>,
    /// The certificate's DER, or the image's digest.
    pub data: &'a [u8],
}

/// A boot option.
///
/// Source: UEFI Specification 2.10, §3.1.3, `EFI_LOAD_OPTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOption {
    /// Whether the boot manager tries it on its own.
    pub active: bool,
    /// Its name in the boot menu.
    pub description: String,
    /// What it loads.
    pub path: DevicePath,
}

impl<'a> Variable<'a> {
    /// Reads an event's `UEFI_VARIABLE_DATA`, to its last byte; old versions of shim leave the padding of their own
    /// structure after the variable in authority events.
    pub(super) fn parse(data: &'a [u8], offset: usize, authority: bool) -> Result<Self, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        let vendor = cursor.guid("VariableName")?;
        let (units, length) = (cursor.u64("UnicodeNameLength")?, cursor.u64("VariableDataLength")?);
        let name = text::utf16(cursor.take("UnicodeName", units.saturating_mul(2))?);
        let value_offset = cursor.offset();
        let data = cursor.take("VariableData", length)?;
        if !authority || cursor.rest().len() > SHIM_PADDING_BYTES_MAX {
            cursor.finish("the variable")?;
        }
        let value = if authority {
            authority_value(&name, data, value_offset)
        } else {
            plain_value(vendor, &name, data, value_offset)
        };
        let value = value.unwrap_or_else(|error| VariableValue::Malformed(MalformedVariable(error)));
        Ok(Self { vendor, name, data, value, is_padded: !cursor.is_empty() })
    }

    /// Whether this is the variable of that name in that name space.
    #[must_use]
    pub fn is(&self, vendor: Guid, name: &str) -> bool {
        self.vendor == vendor && self.name == name
    }
}

fn plain_value<'a>(
    vendor: Guid,
    name: &str,
    data: &'a [u8],
    offset: usize,
) -> Result<VariableValue<'a>, MalformedBootLog> {
    match name {
        "SecureBoot" | "SetupMode" | "AuditMode" | "DeployedMode" if vendor == Guid::GLOBAL_VARIABLE => {
            switch(data, offset)
        }
        "PK" | "KEK" | "db" | "dbx" | "dbt" | "dbr" | "vendor_db" | "MokList" | "MokListX" | "MokListRT"
        | "MokListXRT" => Ok(VariableValue::SignatureDatabase(SignatureList::parse_all(data, offset)?)),
        "MokListTrusted" => switch(data, offset),
        "SbatLevel" => Ok(VariableValue::SbatLevel(String::from_utf8_lossy(text::without_nul(data)).into_owned())),
        "BootOrder" => {
            let (numbers, odd) = data.as_chunks::<2>();
            if odd.is_empty() {
                Ok(VariableValue::BootOrder(numbers.iter().map(|pair| u16::from_le_bytes(*pair)).collect()))
            } else {
                Err(MalformedBootLog::TrailingBytes { field: "BootOrder", offset: offset + data.len() - 1, count: 1 })
            }
        }
        _ if is_boot_option(name) => Ok(VariableValue::BootOption(LoadOption::parse(data, offset)?)),
        _ => Ok(VariableValue::Other),
    }
}

fn authority_value<'a>(name: &str, data: &'a [u8], offset: usize) -> Result<VariableValue<'a>, MalformedBootLog> {
    match name {
        "SbatLevel" => plain_value(Guid::SHIM_LOCK, name, data, offset),
        "MokListTrusted" => switch(data, offset),
        _ => Ok(VariableValue::Authority(Authority::parse(data))),
    }
}

/// `Boot` and four hexadecimal digits.
fn is_boot_option(name: &str) -> bool {
    let number = name.strip_prefix("Boot").unwrap_or("");
    number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn switch<'a>(data: &[u8], offset: usize) -> Result<VariableValue<'a>, MalformedBootLog> {
    match data {
        // A machine without the variable measures it as empty.
        [] | [0] => Ok(VariableValue::Switch(false)),
        [1] => Ok(VariableValue::Switch(true)),
        [found] => {
            let (field, expected, found) = ("switch", "0 or 1", u64::from(*found));
            Err(MalformedBootLog::Value { field, offset, expected, found })
        }
        [_, rest @ ..] => {
            Err(MalformedBootLog::TrailingBytes { field: "switch", offset: offset + 1, count: rest.len() })
        }
    }
}

impl<'a> SignatureList<'a> {
    /// Reads `EFI_SIGNATURE_LIST`s one after the other, to the last byte.
    ///
    /// Source: UEFI Specification 2.10, §32.4.1.
    pub(super) fn parse_all(data: &'a [u8], offset: usize) -> Result<Vec<Self>, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        let (mut lists, mut signatures) = (Vec::new(), 0);
        while !cursor.is_empty() {
            let list = Self::parse(&mut cursor, SIGNATURES_MAX - signatures)?;
            signatures += list.signatures.len().max(1);
            lists.push(list);
            super::cursor::bounded("signatures", cursor.offset(), signatures as u64, SIGNATURES_MAX)?;
        }
        Ok(lists)
    }

    fn parse(cursor: &mut Cursor<'a>, max: usize) -> Result<Self, MalformedBootLog> {
        let start = cursor.offset();
        let kind = SignatureKind::new(cursor.guid("SignatureType")?);
        let (list, header) = (cursor.u32("SignatureListSize")?, cursor.u32("SignatureHeaderSize")?);
        let size_offset = cursor.offset();
        let size = cursor.u32("SignatureSize")?;
        let malformed = |field, offset, expected, found| {
            Err(MalformedBootLog::Value { field, offset, expected, found: u64::from(found) })
        };
        let Some(body) = list.checked_sub(LIST_HEADER_BYTES) else {
            return malformed("SignatureListSize", start + 16, "at least 28", list);
        };
        let mut body = cursor.part("signature list", u64::from(body))?;
        body.take("SignatureHeader", u64::from(header))?;
        if size < OWNER_BYTES {
            return malformed("SignatureSize", size_offset, "at least 16", size);
        }
        let count = body.rest().len() as u64 / u64::from(size);
        let count = super::cursor::bounded("signatures", start, count, max)?;
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            let owner = body.guid("SignatureOwner")?;
            signatures.push(Signature { owner, data: body.take("SignatureData", u64::from(size - OWNER_BYTES))? });
        }
        body.finish("the signature list")?;
        Ok(Self { kind, signatures })
    }
}

impl<'a> Authority<'a> {
    fn parse(data: &'a [u8]) -> Self {
        // A certificate starts with a SEQUENCE of two length bytes; an owner in front of it does so by design only.
        if let [0x30, 0x82, ..] = data {
            return Self { owner: None, data };
        }
        match data.split_first_chunk::<16>() {
            Some((owner, data)) if !data.is_empty() => Self { owner: Some(Guid::from_bytes(*owner)), data },
            _ => Self { owner: None, data },
        }
    }
}

impl LoadOption {
    fn parse(data: &[u8], offset: usize) -> Result<Self, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        let attributes = cursor.u32("Attributes")?;
        let path_bytes = cursor.u16("FilePathListLength")?;
        let description = text::utf16(cursor.rest());
        let units = cursor.rest().as_chunks::<2>().0.iter().take_while(|unit| **unit != [0, 0]).count();
        cursor.take("Description", 2 * units as u64 + 2)?;
        let path = DevicePath::parse(cursor.take("FilePathList", u64::from(path_bytes))?);
        Ok(Self { active: attributes & 1 == 1, description, path })
    }
}

impl fmt::Display for Variable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.value {
            VariableValue::Authority(authority) => {
                write!(f, "an image was verified with an entry of {name}, {} bytes", authority.data.len())
            }
            VariableValue::BootOption(option) => {
                let (state, path) = (if option.active { "active" } else { "inactive" }, &option.path);
                write!(f, "boot option {name} ({state}) {:?}: {}", option.description, path.to_string().escape_debug())
            }
            VariableValue::BootOrder(order) => {
                f.write_str("boot order")?;
                order.iter().try_for_each(|number| write!(f, " {number:04X}"))
            }
            VariableValue::Malformed(MalformedVariable(error)) => {
                write!(f, "variable {name}, whose value is malformed: {error}")
            }
            VariableValue::Other => write!(f, "variable {name} of {} bytes", self.data.len()),
            VariableValue::SbatLevel(level) => write!(f, "shim's revocation level {level:?}"),
            VariableValue::SignatureDatabase(lists) => {
                let count: usize = lists.iter().map(|list| list.signatures.len()).sum();
                write!(f, "key database {name} with {count} entries")
            }
            VariableValue::Switch(on) => write!(f, "{name} is {}", if *on { "on" } else { "off" }),
        }
    }
}

/// Entries of one database that are read: ten times the longest dbx published.
const SIGNATURES_MAX: usize = 8192;
/// Two flexible members of one element each, and their alignment to 8 bytes.
const SHIM_PADDING_BYTES_MAX: usize = 8;
/// Type and three sizes.
const LIST_HEADER_BYTES: u32 = 28;
/// The owner's GUID in each entry.
const OWNER_BYTES: u32 = 16;
