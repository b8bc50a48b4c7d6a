//! Entries of `binary_runtime_measurements`.
//!
//! ```text
//! pcr u32 | template digest | name length u32, name | data length u32, data        (all but "ima")
//! pcr u32 | template digest | 3, "ima" | 20 bytes of digest | name length u32, name
//! ```
//!
//! Source: Linux, `ima_measurements_show` in `security/integrity/ima/ima_fs.c`.

use super::entry::{Entry, ORIGINAL_DIGEST_BYTES};
use super::list::{DATA_BYTES_MAX, Read, Scratch, TEMPLATE_NAME_BYTES_MAX};
use super::malformed::{Excerpt, MalformedEntry};
use super::template::Template;

/// Reads the entry `bytes` start with; template digests have `digest_bytes`.
pub(super) fn read<'s>(bytes: &'s [u8], digest_bytes: usize, scratch: &'s mut Scratch) -> Read<'s> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut rest = bytes;
    let pcr = take_u32(&mut rest, "register")?;
    if pcr > PCR_MAX {
        let big_endian = pcr.swap_bytes() <= PCR_MAX;
        let register = || MalformedEntry::field("register", "a number from 0 to 23", &pcr.to_le_bytes());
        return Err(if big_endian { MalformedEntry::BigEndian } else { register() });
    }
    let template_digest = take(&mut rest, "template digest", digest_bytes)?;
    let name = take_sized(&mut rest, "template name", TEMPLATE_NAME_BYTES_MAX)?;
    let template = Template::from_name(name).ok_or_else(|| MalformedEntry::Template { found: Excerpt::of(name) })?;
    let data = if template.is_original() {
        let digest = take(&mut rest, "digest", ORIGINAL_DIGEST_BYTES)?;
        let name = take_sized(&mut rest, "name", ORIGINAL_NAME_BYTES - 1)?;
        original_data(digest, name, &mut scratch.data);
        &scratch.data
    } else {
        take_sized(&mut rest, "template data", DATA_BYTES_MAX)?
    };
    let entry = Entry::from_data(pcr, template, template_digest, data)?;
    Ok(Some((entry, bytes.len() - rest.len())))
}

/// What the kernel hashes of an `ima` entry: 20 bytes of digest, 256 of name.
pub(super) fn original_data(digest: &[u8], name: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(digest);
    out.resize(ORIGINAL_DIGEST_BYTES, 0);
    out.extend_from_slice(name);
    out.resize(ORIGINAL_DIGEST_BYTES + ORIGINAL_NAME_BYTES, 0);
}

fn take<'a>(rest: &mut &'a [u8], field: &'static str, needed: usize) -> Result<&'a [u8], MalformedEntry> {
    let left = rest.len();
    let (taken, behind) = rest.split_at_checked(needed).ok_or(MalformedEntry::Truncated { field, needed, left })?;
    *rest = behind;
    Ok(taken)
}

fn take_u32(rest: &mut &[u8], field: &'static str) -> Result<u32, MalformedEntry> {
    let bytes = take(rest, field, 4)?;
    Ok(bytes.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk)))
}

fn take_sized<'a>(rest: &mut &'a [u8], field: &'static str, max: usize) -> Result<&'a [u8], MalformedEntry> {
    let found = usize::try_from(take_u32(rest, field)?).unwrap_or(usize::MAX);
    if found > max {
        return Err(MalformedEntry::Length { field, max, found });
    }
    take(rest, field, found)
}

/// The last register of a PC Client TPM.
pub(super) const PCR_MAX: u32 = 23;
/// `IMA_EVENT_NAME_LEN_MAX` and its NUL.
pub(super) const ORIGINAL_NAME_BYTES: usize = 256;
