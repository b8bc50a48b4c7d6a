//! Entries of `ascii_runtime_measurements`: a line each, put back into the form that was hashed.
//!
//! ```text
//! 10 91f34b5c671d73504b274a919661cf80dab1e127 ima-sig sha256:e4cb…1216 /usr/bin/dd 030204f3452d…
//! pcr, template digest, template, and its fields between single spaces; an empty field is an empty text
//! ```
//!
//! The kernel puts `_` for a space in a name; very old ones do not, so a name is what is left when the fields on its
//! left and right are taken away.
//!
//! Source: Linux, `ima_ascii_measurements_show` in `security/integrity/ima/ima_fs.c`.

use super::binary::{ORIGINAL_NAME_BYTES, PCR_MAX, original_data};
use super::entry::{Entry, ORIGINAL_DIGEST_BYTES};
use super::list::{DATA_BYTES_MAX, Read, Scratch, TEMPLATE_NAME_BYTES_MAX};
use super::malformed::{Excerpt, MalformedEntry};
use super::template::{FIELDS_MAX, Field, Template};

/// Reads the line `bytes` start with; empty lines are passed over.
pub(super) fn read<'s>(bytes: &[u8], scratch: &'s mut Scratch) -> Read<'s> {
    let empty = bytes.iter().take_while(|byte| **byte == b'\n').count();
    let text = bytes.get(empty..).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    let (line, behind) = text.split_at(end);
    let consumed = bytes.len() - behind.len() + usize::from(!behind.is_empty());
    let mut rest = line;
    // The kernel prints the register two characters wide.
    let pcr = take_pcr(rest.strip_prefix(b" ").unwrap_or(rest), &mut rest)?;
    take_template_digest(&mut rest, &mut scratch.digest)?;
    let name = take_token(&mut rest);
    let template = Template::from_name(name).filter(|_| name.len() <= TEMPLATE_NAME_BYTES_MAX);
    let template = template.ok_or_else(|| MalformedEntry::Template { found: Excerpt::of(name) })?;
    if rest.len() > LINE_BYTES_MAX {
        return Err(MalformedEntry::Length { field: "line", max: LINE_BYTES_MAX, found: rest.len() });
    }
    if template.is_original() {
        encode_original(rest, &mut scratch.data)
    } else {
        encode(rest, &template, &mut scratch.data)
    }?;
    let entry = Entry::from_data(pcr, template, &scratch.digest, &scratch.data)?;
    Ok(Some((entry, consumed)))
}

/// What stands in front of the next space; `rest` is what stands behind it.
fn take_token<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let (token, behind) = rest.split_at(end);
    *rest = behind.split_first().map_or(behind, |(_, behind)| behind);
    token
}

/// What stands behind the last space; `rest` is what stands in front of it. Nothing if there is no space.
fn take_last<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (front, last) = rest.split_at_checked(memchr::memrchr(b' ', rest)?)?;
    *rest = front;
    last.split_first().map(|(_, last)| last)
}

fn take_pcr<'a>(from: &'a [u8], rest: &mut &'a [u8]) -> Result<u32, MalformedEntry> {
    *rest = from;
    let token = take_token(rest);
    let number = match token {
        [unit @ b'0'..=b'9'] => Some(u32::from(unit - b'0')),
        [ten @ b'1'..=b'9', unit @ b'0'..=b'9'] => Some(u32::from(ten - b'0') * 10 + u32::from(unit - b'0')),
        _ => None,
    };
    number
        .filter(|number| *number <= PCR_MAX)
        .ok_or_else(|| MalformedEntry::field("register", "a number from 0 to 23", token))
}

fn take_template_digest(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), MalformedEntry> {
    let token = take_token(rest);
    out.clear();
    if !(MIN_DIGEST_HEX..=MAX_DIGEST_HEX).contains(&token.len()) || !push_hex(token, out) {
        return Err(MalformedEntry::field("template digest", "40 to 128 lower-case hex digits", token));
    }
    Ok(())
}

/// `<hex> <name>` of the `ima` template; the name is all the rest.
fn encode_original(line: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedEntry> {
    let mut name = line;
    let hex = take_token(&mut name);
    let mut digest = Vec::with_capacity(ORIGINAL_DIGEST_BYTES);
    // MD5 comes padded with zeros from the kernel, and bare from some tools.
    if !push_hex(hex, &mut digest) || !matches!(digest.len(), 16 | ORIGINAL_DIGEST_BYTES) {
        return Err(MalformedEntry::field("digest", "40 lower-case hex digits", hex));
    }
    if name.len() >= ORIGINAL_NAME_BYTES || name.contains(&0) {
        return Err(MalformedEntry::field("name", "at most 255 characters", name));
    }
    original_data(&digest, name, out);
    Ok(())
}

/// The fields of every other template, each with its length in front.
fn encode(line: &[u8], template: &Template, out: &mut Vec<u8>) -> Result<(), MalformedEntry> {
    out.clear();
    let fields = template.fields();
    let Some(name_at) = fields.iter().position(|field| field.is_name()) else {
        let mut rest = line;
        fields.iter().try_for_each(|field| push_field(*field, take_token(&mut rest), out))?;
        return no_more(rest);
    };
    let (left, right) = fields.split_at(name_at);
    let mut rest = line;
    for field in left {
        push_field(*field, take_token(&mut rest), out)?;
    }
    let Some((name_field, right)) = right.split_first() else { return no_more(rest) };
    let mut texts = [&[][..]; FIELDS_MAX];
    for text in texts.iter_mut().take(right.len()).rev() {
        // Lists that lost the space in front of an empty last field are still whole: the name is all there is.
        *text = take_last(&mut rest).unwrap_or_default();
    }
    push_field(*name_field, rest, out)?;
    right.iter().zip(texts).try_for_each(|(field, text)| push_field(*field, text, out))
}

const fn no_more(rest: &[u8]) -> Result<(), MalformedEntry> {
    if rest.is_empty() { Ok(()) } else { Err(MalformedEntry::TrailingBytes { count: rest.len() }) }
}

/// Encodes one field's text behind its length.
fn push_field(field: Field, text: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedEntry> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match field {
        Field::Digest
        | Field::Signature
        | Field::Buffer
        | Field::EvmSignature
        | Field::Modsig
        | Field::XattrLengths
        | Field::XattrValues => {
            if !push_hex(text, out) {
                return Err(MalformedEntry::field("field", "lower-case hex digits", text));
            }
        }
        Field::DigestNg | Field::DigestNgV2 => push_digest(text, out)?,
        Field::ModsigDigest => {
            if !text.is_empty() {
                push_digest(text, out)?;
            }
        }
        // Of what is no file, these are empty.
        Field::XattrNames | Field::InodeUid | Field::InodeGid | Field::InodeMode if text.is_empty() => (),
        Field::Name | Field::NameNg | Field::XattrNames => {
            out.extend_from_slice(text);
            out.push(0);
        }
        Field::InodeUid | Field::InodeGid => out.extend_from_slice(&number(text)?.to_le_bytes()),
        Field::InodeMode => {
            let number = u16::try_from(number(text)?)
                .map_err(|_| MalformedEntry::field("imode", "a number below 65536", text))?;
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(prefix) = out.get_mut(start..start + 4) {
        prefix.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// `sha256:<hex>` as `sha256:` NUL digest.
fn push_digest(text: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedEntry> {
    let colon = memchr::memrchr(b':', text).and_then(|at| text.split_at_checked(at + 1));
    let malformed = || MalformedEntry::field("d-ng", "algorithm, colon and lower-case hex digits", text);
    let (algorithm, hex) = colon.ok_or_else(malformed)?;
    out.extend_from_slice(algorithm);
    out.push(0);
    if push_hex(hex, out) { Ok(()) } else { Err(malformed()) }
}

fn number(text: &[u8]) -> Result<u32, MalformedEntry> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.starts_with(|c: char| c.is_ascii_digit()) && (*text == "0" || !text.starts_with('0')))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| MalformedEntry::field("number", "decimal digits", text))
}

/// Appends what lower-case hex digits stand for; false if they are not all that, or odd in number.
///
/// Two loops without branches, which the compiler turns into vector code: half of a line is hex.
fn push_hex(hex: &[u8], out: &mut Vec<u8>) -> bool {
    let (pairs, odd) = hex.as_chunks::<2>();
    let strangers = hex.iter().fold(0, |strangers, digit| strangers | u8::from(!is_lower_hex(*digit)));
    out.extend(pairs.iter().map(|pair| {
        let digits = u16::from_le_bytes(*pair);
        // '0' to '9' end in their value; 'a' to 'f' end in 1 to 6 and have bit 6 set.
        let [high, low] = ((digits & 0x0f0f) + 9 * ((digits >> 6) & 0x0101)).to_le_bytes();
        (high << 4) | low
    }));
    odd.is_empty() && strangers == 0
}

const fn is_lower_hex(digit: u8) -> bool {
    digit.wrapping_sub(b'0') < 10 || digit.wrapping_sub(b'a') < 6
}

/// SHA-1's digits.
const MIN_DIGEST_HEX: usize = 40;
/// SHA-512's digits.
const MAX_DIGEST_HEX: usize = 128;
/// Template data in hex, and room for a path.
const LINE_BYTES_MAX: usize = 2 * DATA_BYTES_MAX + 8192;
