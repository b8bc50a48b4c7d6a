//! One entry: the fields that matter, out of its template data.

use super::malformed::MalformedEntry;
use super::template::{Field, Template};
use crate::algorithm::HashAlgorithm;

/// One entry of a measurement list, borrowed from the list or its reader.
///
/// Trust: the template data (and with them digest, name, signature and buffer) are authentic once a quoted register
/// was replayed from their hash. `pcr` and `template` are covered by nothing. Of a **violation** nothing is covered:
/// the kernel extends the same constant whatever its fields say.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The register the list says the entry was extended into; untrusted.
    pub pcr: u32,
    /// The fields' meaning; untrusted.
    pub template: Template,
    /// The hash of the template data as the list has it; all zero for a violation.
    pub template_digest: &'a [u8],
    /// What the kernel hashed.
    pub data: &'a [u8],
    /// The digest of the file or buffer, if the template has one.
    pub digest: Option<FileDigest<'a>>,
    /// The file's path or the buffer's name as the kernel saw it, without its NUL; if the template has one.
    pub name: Option<&'a [u8]>,
    /// The content of `security.ima`, or empty.
    pub signature: &'a [u8],
    /// What was measured, of `ima-buf`; else empty.
    pub buffer: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Takes template data apart, to their last byte.
    ///
    /// `data` are those of the template's own form: for `ima`, digest and name padded to 276 bytes.
    pub(super) fn from_data(
        pcr: u32,
        template: Template,
        template_digest: &'a [u8],
        data: &'a [u8],
    ) -> Result<Self, MalformedEntry> {
        let mut entry =
            Self { pcr, template, template_digest, data, digest: None, name: None, signature: &[], buffer: &[] };
        if template.is_original() {
            let (digest, name) = data.split_at_checked(ORIGINAL_DIGEST_BYTES).unwrap_or_default();
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            entry.digest = Some(FileDigest { kind: DigestKind::Content, algorithm: b"sha1", bytes: digest });
            entry.name = Some(name.split_at(end).0);
            return Ok(entry);
        }
        let mut rest = data;
        for field in template.fields() {
            let content = take_sized(&mut rest)?;
            entry.set(*field, content)?;
        }
        if rest.is_empty() { Ok(entry) } else { Err(MalformedEntry::TrailingBytes { count: rest.len() }) }
    }

    fn set(&mut self, field: Field, content: &'a [u8]) -> Result<(), MalformedEntry> {
        match field {
            Field::Digest => {
                let bytes = content;
                if bytes.len() != ORIGINAL_DIGEST_BYTES {
                    return Err(MalformedEntry::field("d", "20 bytes", bytes));
                }
                self.digest = Some(FileDigest { kind: DigestKind::Content, algorithm: b"sha1", bytes });
            }
            Field::DigestNg => self.digest = Some(FileDigest::parse(content)?),
            Field::DigestNgV2 => self.digest = Some(FileDigest::parse_v2(content)?),
            Field::Name | Field::NameNg => self.name = Some(without_nul(content)?),
            Field::Signature | Field::EvmSignature => self.signature = content,
            Field::Buffer => self.buffer = content,
            Field::ModsigDigest => {
                if !content.is_empty() {
                    FileDigest::parse(content)?;
                }
            }
            // Of what is no file, such as boot_aggregate, these are empty.
            Field::XattrNames | Field::InodeUid | Field::InodeGid | Field::InodeMode if content.is_empty() => (),
            Field::XattrNames => {
                without_nul(content)?;
            }
            Field::InodeUid | Field::InodeGid | Field::InodeMode => {
                let expected = if field == Field::InodeMode { 2 } else { 4 };
                if content.len() != expected {
                    return Err(MalformedEntry::field("number", "4 bytes (iuid, igid) or 2 (imode)", content));
                }
            }
            Field::Modsig | Field::XattrLengths | Field::XattrValues => (),
        }
        Ok(())
    }

    /// The template's fields with their contents, in order; not for `ima`, whose fields have no lengths.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Field, &'a [u8])> {
        let (data, template) = (self.data, self.template);
        let mut rest = data;
        let mut position = 0;
        std::iter::from_fn(move || {
            let field = *template.fields().get(position)?;
            position += 1;
            Some((field, take_sized(&mut rest).ok()?))
        })
    }

    /// Appends the line that the kernel's ASCII list has for this entry, with its line feed.
    ///
    /// A name is given as the kernel has it: who sends the line as text checks that it is UTF-8.
    ///
    /// Source: Linux, `ima_ascii_measurements_show` in `security/integrity/ima/ima_fs.c`.
    pub fn write_ascii(&self, out: &mut Vec<u8>) {
        let head = format!("{:2} {} {}", self.pcr, hex::encode(self.template_digest), self.template);
        out.extend_from_slice(head.as_bytes());
        if self.template.is_original() {
            out.push(b' ');
            out.extend_from_slice(hex::encode(self.digest.map_or(&[][..], |digest| digest.bytes)).as_bytes());
            out.push(b' ');
            out.extend_from_slice(self.name.unwrap_or_default());
        } else {
            for (field, content) in self.fields() {
                out.push(b' ');
                write_field(field, content, out);
            }
        }
        out.push(b'\n');
    }

    /// Whether this is the measurement of what happened before IMA ran: the first entry, and one after each kexec.
    #[must_use]
    pub fn is_boot_aggregate(&self) -> bool {
        self.name == Some(BOOT_AGGREGATE) && !self.template.is_buffer()
    }

    /// Whether the kernel recorded that a file was open for writing while it was measured.
    ///
    /// ToMToU (time of measure, time of use) and open-writers violations look the same in the list. `log_hash` is the
    /// algorithm of the list's template digests.
    #[must_use]
    pub fn is_violation(&self, log_hash: HashAlgorithm) -> bool {
        self.template_digest.len() == log_hash.digest_bytes() && self.template_digest.iter().all(|byte| *byte == 0)
    }
}

/// What a digest is the digest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestKind {
    /// The content, hashed from its first byte to its last.
    Content,
    /// The fs-verity descriptor: a Merkle tree's root with its parameters.
    Verity,
}

/// A file's digest as an entry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigest<'a> {
    /// What it is the digest of.
    pub kind: DigestKind,
    /// The algorithm's kernel name, such as `sha256`; need not be one of [`HashAlgorithm`].
    pub algorithm: &'a [u8],
    /// The digest, 1 to 64 bytes.
    pub bytes: &'a [u8],
}

impl<'a> FileDigest<'a> {
    /// The algorithm, if it is one of ours.
    #[must_use]
    pub fn hash_algorithm(&self) -> Option<HashAlgorithm> {
        match self.algorithm {
            b"sha256" => Some(HashAlgorithm::Sha256),
            b"sha1" => Some(HashAlgorithm::Sha1),
            b"sha384" => Some(HashAlgorithm::Sha384),
            b"sha512" => Some(HashAlgorithm::Sha512),
            b"sm3" | b"sm3-256" | b"sm3_256" => Some(HashAlgorithm::Sm3_256),
            _ => None,
        }
    }

    /// `algorithm ":" NUL digest`.
    pub(super) fn parse(content: &'a [u8]) -> Result<Self, MalformedEntry> {
        const FORM: &str = "algorithm, colon, NUL and a digest of its size";
        let malformed = || MalformedEntry::field("d-ng", FORM, content);
        let end = content.iter().take(ALGORITHM_BYTES_MAX).position(|byte| *byte == b':').ok_or_else(malformed)?;
        let (algorithm, rest) = content.split_at(end);
        let bytes = rest.strip_prefix(b":\0").ok_or_else(malformed)?;
        let digest = Self { kind: DigestKind::Content, algorithm, bytes };
        let sized = match digest.hash_algorithm() {
            // Kernels leave room for SHA-1 in the entries of violations, whatever the algorithm.
            Some(known) => bytes.len() == known.digest_bytes() || bytes == [0; ORIGINAL_DIGEST_BYTES],
            None => (1..=DIGEST_BYTES_MAX).contains(&bytes.len()),
        };
        let named = algorithm.iter().all(|byte| byte.is_ascii_graphic());
        if sized && named { Ok(digest) } else { Err(malformed()) }
    }

    /// `type ":" algorithm ":" NUL digest`.
    fn parse_v2(content: &'a [u8]) -> Result<Self, MalformedEntry> {
        let (kind, rest) = if let Some(rest) = content.strip_prefix(b"ima:") {
            (DigestKind::Content, rest)
        } else if let Some(rest) = content.strip_prefix(b"verity:") {
            (DigestKind::Verity, rest)
        } else {
            return Err(MalformedEntry::field("d-ngv2", "ima: or verity: and a d-ng", content));
        };
        Ok(Self { kind, ..Self::parse(rest)? })
    }
}

/// One field's content as the ASCII list shows it; nothing for an empty one.
fn write_field(field: Field, content: &[u8], out: &mut Vec<u8>) {
    match field {
        Field::DigestNg | Field::DigestNgV2 | Field::ModsigDigest => {
            let nul = memchr::memchr(0, content).unwrap_or(content.len());
            let (algorithm, digest) = content.split_at(nul);
            out.extend_from_slice(algorithm);
            out.extend_from_slice(hex::encode(digest.get(1..).unwrap_or_default()).as_bytes());
        }
        Field::Name | Field::NameNg | Field::XattrNames => {
            out.extend_from_slice(content.strip_suffix(b"\0").unwrap_or(content));
        }
        Field::InodeUid | Field::InodeGid | Field::InodeMode => {
            let number = content.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            if !content.is_empty() {
                out.extend_from_slice(number.to_string().as_bytes());
            }
        }
        Field::Digest
        | Field::Signature
        | Field::Buffer
        | Field::Modsig
        | Field::EvmSignature
        | Field::XattrLengths
        | Field::XattrValues => out.extend_from_slice(hex::encode(content).as_bytes()),
    }
}

/// A field's length, 32 bits little endian, and its content.
fn take_sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], MalformedEntry> {
    let truncated = |needed, left| MalformedEntry::Truncated { field: "template field", needed, left };
    let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(|| truncated(4, rest.len()))?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (content, behind) = behind.split_at_checked(length).ok_or_else(|| truncated(length, behind.len()))?;
    *rest = behind;
    Ok(content)
}

/// The text in front of the one NUL at the end.
fn without_nul(content: &[u8]) -> Result<&[u8], MalformedEntry> {
    match content.split_last() {
        Some((0, text)) if memchr::memchr(0, text).is_none() => Ok(text),
        _ => Err(MalformedEntry::field("name", "text with one NUL, at its end", content)),
    }
}

/// The name of the entry for what was measured before IMA.
pub(crate) const BOOT_AGGREGATE: &[u8] = b"boot_aggregate";
/// `IMA_DIGEST_SIZE`: the `ima` template's digest, SHA-1 or padded MD5.
pub(super) const ORIGINAL_DIGEST_BYTES: usize = 20;
/// `CRYPTO_MAX_ALG_NAME` is 128, the longest of `hash_algo_name` has 12; one byte more for the colon.
const ALGORITHM_BYTES_MAX: usize = 33;
/// `HASH_MAX_DIGESTSIZE`: SHA-512.
const DIGEST_BYTES_MAX: usize = 64;
