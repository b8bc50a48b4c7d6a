//! UEFI device paths in words.

use std::fmt::{self, Write as _};

use super::cursor::Cursor;
use super::text;

/// A device path, in the text form of the UEFI specification for the nodes that name disks, files and firmware.
///
/// **Untrusted** in image events: their digest covers the image, not where it came from. In `Boot####` variables it is
/// covered with the rest of the variable.
///
/// Source: UEFI Specification 2.10, §10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePath {
    text: String,
    files: Vec<String>,
}

impl DevicePath {
    /// Reads nodes until the end node or the end of the bytes; what cannot be read is shown as its bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut path = Self { text: String::new(), files: Vec::new() };
        let mut cursor = Cursor::new(bytes, 0);
        for _ in 0..NODES_MAX {
            if cursor.is_empty() {
                break;
            }
            let (rest, node) = (cursor.rest(), read_node(&mut cursor));
            match node {
                Some((0x7f, 0xff, _)) => break,
                Some((kind, subtype, body)) => path.push(kind, subtype, body),
                None => {
                    path.separate();
                    path.text.push_str("Raw(");
                    push_hex(&mut path.text, rest);
                    path.text.push(')');
                    break;
                }
            }
        }
        path
    }

    /// The file paths in it, with backslashes, such as `\EFI\BOOT\BOOTX64.EFI`.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    fn separate(&mut self) {
        if !self.text.is_empty() {
            self.text.push('/');
        }
    }

    fn push(&mut self, kind: u8, subtype: u8, body: &[u8]) {
        self.separate();
        if (kind, subtype) == (4, 4) {
            let file = text::utf16(body);
            self.text.push_str(&file);
            self.files.push(file);
            return;
        }
        if node_text(&mut self.text, kind, subtype, body).is_none() {
            let named = write!(self.text, "Path({kind},{subtype},");
            debug_assert!(named.is_ok(), "a String takes everything");
            push_hex(&mut self.text, body);
            self.text.push(')');
        }
    }
}

impl fmt::Display for DevicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn read_node<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, u8, &'a [u8])> {
    let (kind, subtype) = (cursor.u8("type").ok()?, cursor.u8("subtype").ok()?);
    let length = cursor.u16("length").ok()?.checked_sub(4)?;
    Some((kind, subtype, cursor.take("node", u64::from(length)).ok()?))
}

/// Writes the nodes we know; `None` for others and for such as are cut short.
fn node_text(out: &mut String, kind: u8, subtype: u8, body: &[u8]) -> Option<()> {
    let mut cursor = Cursor::new(body, 0);
    let written = match (kind, subtype) {
        (1, 1) => {
            let (function, device) = (cursor.u8("function").ok()?, cursor.u8("device").ok()?);
            write!(out, "Pci({device:#x},{function:#x})")
        }
        (1, 3) => {
            let (memory, from, to) = (cursor.u32("type").ok()?, cursor.u64("start").ok()?, cursor.u64("end").ok()?);
            write!(out, "MemoryMapped({memory},{from:#x},{to:#x})")
        }
        (2, 1) => {
            let (hid, uid) = (cursor.u32("hid").ok()?, cursor.u32("uid").ok()?);
            match (hid & 0xffff, hid >> 16) {
                (0x41d0, 0x0a03) => write!(out, "PciRoot({uid:#x})"),
                _ => write!(out, "Acpi({hid:#x},{uid:#x})"),
            }
        }
        (3, 2) => {
            let (target, lun) = (cursor.u16("target").ok()?, cursor.u16("lun").ok()?);
            write!(out, "Scsi({target:#x},{lun:#x})")
        }
        (3, 5) => {
            let (port, interface) = (cursor.u8("port").ok()?, cursor.u8("interface").ok()?);
            write!(out, "USB({port:#x},{interface:#x})")
        }
        (3, 11) => {
            let address = cursor.take("address", 6).ok()?;
            out.push_str("MAC(");
            push_hex(out, address);
            out.write_char(')')
        }
        (3, 18) => {
            let (port, multiplier, lun) =
                (cursor.u16("port").ok()?, cursor.u16("multiplier").ok()?, cursor.u16("lun").ok()?);
            write!(out, "Sata({port:#x},{multiplier:#x},{lun:#x})")
        }
        (3, 23) => write!(out, "NVMe({:#x})", cursor.u32("namespace").ok()?),
        (4, 1) => {
            let (number, from) = (cursor.u32("number").ok()?, cursor.u64("start").ok()?);
            let size = cursor.u64("size").ok()?;
            let signature = cursor.guid("signature").ok()?;
            write!(out, "HD({number},GPT,{signature},{from:#x},{size:#x})")
        }
        (4, 6) => write!(out, "FvFile({})", cursor.guid("name").ok()?),
        (4, 7) => write!(out, "Fv({})", cursor.guid("name").ok()?),
        _ => return None,
    };
    debug_assert!(written.is_ok(), "a String takes everything");
    Some(())
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    let (shown, hidden) = bytes.split_at_checked(RAW_BYTES_SHOWN_MAX).unwrap_or((bytes, &[]));
    let written = shown.iter().try_for_each(|byte| write!(out, "{byte:02x}"));
    debug_assert!(written.is_ok(), "a String takes everything");
    if !hidden.is_empty() {
        out.push('…');
    }
}

/// Nodes of one path: real ones have below twenty.
const NODES_MAX: usize = 64;
/// Bytes of an unknown node that are shown: enough to tell one from another.
const RAW_BYTES_SHOWN_MAX: usize = 32;
