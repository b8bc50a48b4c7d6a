//! Events of type `EV_EVENT_TAG`: Linux' EFI stub, systemd-boot and Windows.

use std::fmt;

use super::cursor::Cursor;
use super::malformed::MalformedBootLog;
use super::text;

/// A number and data of the number's owner.
///
/// Linux and systemd write a name as data and let the digest cover the thing named, which is not in the log. Windows'
/// digests cover the whole event.
///
/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.2.3, `TCG_PCClientTaggedEvent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// Whose and what.
    pub tag: Tag,
    /// The data after number and size.
    pub data: &'a [u8],
}

/// Whose and what a tagged event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Linux' EFI stub loaded an initrd: the digest covers it.
    LinuxInitrd,
    /// Linux' EFI stub took load options, the command line: the digest covers them, in UTF-16.
    LinuxLoadOptions,
    /// Any other, by its number.
    Other(u32),
    /// systemd-boot read its configuration: the digest covers the file.
    SystemdLoaderConfiguration,
    /// systemd's stub took a device tree, initrd or microcode from an add-on, or a profile: the digest covers it.
    SystemdAddon(u32),
    /// Windows' boot loader, by its SIPA number.
    Windows(u32),
}

impl<'a> Tagged<'a> {
    pub(super) fn parse(data: &'a [u8], offset: usize) -> Result<Self, MalformedBootLog> {
        // Firmware that writes the description alone, without number and size.
        if text::without_nul(data) == b"LOADED_IMAGE::LoadOptions" {
            return Ok(Self { tag: Tag::LinuxLoadOptions, data });
        }
        let mut cursor = Cursor::new(data, offset);
        let (number, size) = (cursor.u32("taggedEventID")?, cursor.u32("taggedEventDataSize")?);
        Ok(Self { tag: Tag::new(number), data: cursor.take("taggedEventData", u64::from(size))? })
    }
}

impl Tag {
    const fn new(number: u32) -> Self {
        match number {
            0x8f3b_22ec => Self::LinuxInitrd,
            0x8f3b_22ed => Self::LinuxLoadOptions,
            0xf5bc_582a => Self::SystemdLoaderConfiguration,
            0x6c46_f751 | 0x49df_fe0f | 0xdac0_8e1a | 0x13ae_d6db => Self::SystemdAddon(number),
            // SIPA events: 0x4001.... are containers, 0x0001.... to 0x000c.... their leaves.
            0x4001_0000..=0x4001_ffff | 0x0001_0000..=0x000c_ffff => Self::Windows(number),
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Tagged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.data.len();
        match self.tag {
            Tag::LinuxInitrd => f.write_str("Linux loaded an initrd"),
            Tag::LinuxLoadOptions => f.write_str("Linux took its command line from load options"),
            Tag::Other(number) => write!(f, "tagged event {number:#010x} of {count} bytes"),
            Tag::SystemdLoaderConfiguration => f.write_str("systemd-boot read its configuration"),
            Tag::SystemdAddon(number) => write!(f, "systemd's stub took an add-on ({number:#010x})"),
            Tag::Windows(number) => write!(f, "Windows' boot loader's record {number:#010x} of {count} bytes"),
        }
    }
}
