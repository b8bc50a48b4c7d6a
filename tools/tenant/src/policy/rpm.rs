//! RPM packages: the digests of their files stand in the header, so the payload is not unpacked.
//!
//! Source: the RPM format, version 4 (rpm.org, "RPM V4 Package format"); tags by `rpmtag.h`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::algorithm::HashAlgorithm;

use super::{
    archive::{BUFFER_BYTES, FILES_MAX, Found, FoundFile, UnreadableArchive, path_of},
    repository::{SignatureRejected, TrustedKeys},
};

/// Hands on the regular files that a package's header lists; with keys, if one of them signed the header.
pub(super) fn read(
    path: &Path,
    algorithm: HashAlgorithm,
    keys: Option<&TrustedKeys>,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    let file = File::open(path).map_err(UnreadableArchive::io("the package"))?;
    let package = Package::read(&mut BufReader::with_capacity(BUFFER_BYTES, file))?;
    if let Some(keys) = keys {
        package.verify(keys)?;
    }
    list(&package.header, algorithm, found)
}

/// Hands on the regular files of a package that is read from its first byte.
pub(super) fn read_from(
    reader: &mut dyn BufRead,
    algorithm: HashAlgorithm,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    list(&Package::read(reader)?.header, algorithm, found)
}

/// What stands in front of a package's payload.
struct Package {
    signature: Header,
    header: Header,
    /// The header's bytes, which its digest and its signature cover.
    signed: Vec<u8>,
}

impl Package {
    /// Reads both headers and checks the digest of the second, where the package states one.
    fn read(mut reader: &mut dyn BufRead) -> Result<Self, UnreadableArchive> {
        let mut lead = [0; LEAD_BYTES];
        reader.read_exact(&mut lead).map_err(UnreadableArchive::io("the package's lead"))?;
        if !lead.starts_with(&LEAD_MAGIC) {
            return Err(UnreadableArchive::Format { what: "the package", offset: 0, expected: "ed ab ee db" });
        }
        let (signature, bytes) = Header::read(&mut reader, LEAD_BYTES as u64)?;
        let padding = (8 - bytes.len() % 8) % 8;
        let mut skipped = [0; 8];
        let skip = skipped.get_mut(..padding).unwrap_or_default();
        reader.read_exact(skip).map_err(UnreadableArchive::io("the package"))?;
        let (header, signed) = Header::read(&mut reader, (LEAD_BYTES + bytes.len() + padding) as u64)?;
        if let Some(expected) = signature.string(tag::SHA256HEADER)? {
            let found = hex::encode(openssl::sha::sha256(&signed));
            if found != expected {
                return Err(UnreadableArchive::HeaderDigest { found, expected: expected.to_owned() });
            }
        }
        Ok(Self { signature, header, signed })
    }

    /// Checks the signature of the header: that of RSA keys, of others, or the form of RPM 6.
    fn verify(&self, keys: &TrustedKeys) -> Result<(), UnreadableArchive> {
        let mut signatures = Vec::new();
        for tag in [tag::RSAHEADER, tag::DSAHEADER] {
            signatures.extend(self.signature.bytes(tag)?.map(<[u8]>::to_vec));
        }
        for text in self.signature.strings(tag::OPENPGP)? {
            signatures.push(STANDARD.decode(text).map_err(|_| malformed("signatures in base64"))?);
        }
        let mut outcome = Err(SignatureRejected::Missing);
        for signature in signatures.iter().take(SIGNATURES_MAX) {
            outcome = keys.verify(&self.signed, signature);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(UnreadableArchive::Signature)
    }
}

/// Hands on each regular file that the package brings.
fn list(header: &Header, algorithm: HashAlgorithm, found: &mut Found<'_>) -> Result<(), UnreadableArchive> {
    let names = header.strings(tag::BASENAMES)?;
    let folders = header.strings(tag::DIRNAMES)?;
    let indexes = header.numbers(tag::DIRINDEXES)?;
    let digests = header.strings(tag::FILEDIGESTS)?;
    let modes = header.numbers(tag::FILEMODES)?;
    let flags = header.numbers(tag::FILEFLAGS)?;
    let counts = [indexes.len(), digests.len(), modes.len()];
    if counts.iter().any(|count| *count != names.len()) {
        return Err(malformed("as many folders, digests and modes as names"));
    }
    let stated = header.numbers(tag::FILEDIGESTALGO)?.first().copied();
    for (number, name) in names.iter().enumerate() {
        let at = |list: &[u32]| list.get(number).copied().unwrap_or_default();
        let digest = digests.get(number).copied().unwrap_or_default();
        // Ghosts are owned by the package and not in it.
        if at(&modes) & FILE_TYPE != REGULAR_FILE || at(&flags) & GHOST != 0 || digest.is_empty() {
            continue;
        }
        check(stated, algorithm)?;
        if digest.len() != 2 * algorithm.digest_bytes() || !digest.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(malformed("digests in hexadecimal digits of their algorithm's size"));
        }
        let folder = usize::try_from(at(&indexes)).ok().and_then(|index| folders.get(index));
        let folder = folder.ok_or_else(|| malformed("the number of a folder"))?;
        let path = path_of(&format!("{folder}/{name}"))?;
        found(FoundFile::Listed { path, digest: digest.to_ascii_lowercase() });
    }
    Ok(())
}

/// Whether the package's digests, by OpenPGP's number of their algorithm, are those asked for.
const fn check(stated: Option<u32>, asked: HashAlgorithm) -> Result<(), UnreadableArchive> {
    let (found, algorithm) = match stated {
        None | Some(1) => ("md5", None),
        Some(2) => ("sha1", Some(HashAlgorithm::Sha1)),
        Some(8) => ("sha256", Some(HashAlgorithm::Sha256)),
        Some(9) => ("sha384", Some(HashAlgorithm::Sha384)),
        Some(10) => ("sha512", Some(HashAlgorithm::Sha512)),
        Some(_) => ("of an unknown algorithm", None),
    };
    match algorithm {
        Some(algorithm) if algorithm.tpm_id() == asked.tpm_id() => Ok(()),
        _ => Err(UnreadableArchive::Algorithm { found, expected: asked }),
    }
}

/// A header: an index of tags into a store of their data.
struct Header {
    index: BTreeMap<u32, Entry>,
    store: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Entry {
    kind: u32,
    offset: usize,
    count: usize,
}

impl Header {
    /// A header and its bytes, which its digest covers.
    fn read(reader: &mut impl Read, offset: u64) -> Result<(Self, Vec<u8>), UnreadableArchive> {
        let io = UnreadableArchive::io("a header");
        let mut bytes = vec![0; PREFIX_BYTES];
        reader.read_exact(&mut bytes).map_err(&io)?;
        if !bytes.starts_with(&HEADER_MAGIC) {
            return Err(UnreadableArchive::Format { what: "a header", offset, expected: "8e ad e8 01" });
        }
        let (entries, store) = (number(&bytes, 8), number(&bytes, 12));
        for (what, found, max) in
            [("tags in a header", entries, ENTRIES_MAX), ("bytes in a header", store, STORE_BYTES_MAX)]
        {
            if found > max {
                return Err(UnreadableArchive::Limit { what, found: u64::from(found), max: u64::from(max) });
            }
        }
        let index_bytes = 16 * u64::from(entries);
        let total = index_bytes + u64::from(store);
        let read = reader.take(total).read_to_end(&mut bytes).map_err(&io)?;
        if read as u64 != total {
            return Err(UnreadableArchive::Format { what: "a header", offset, expected: "as many bytes as it states" });
        }
        let index_end = PREFIX_BYTES + usize::try_from(index_bytes).unwrap_or(usize::MAX);
        let store = bytes.get(index_end..).unwrap_or_default().to_vec();
        let index = bytes.get(PREFIX_BYTES..index_end).unwrap_or_default();
        let index = index.as_chunks::<16>().0.iter().map(|entry| {
            let size = |at| usize::try_from(number(entry, at)).unwrap_or(usize::MAX);
            (number(entry, 0), Entry { kind: number(entry, 4), offset: size(8), count: size(12) })
        });
        Ok((Self { index: index.collect(), store }, bytes))
    }

    /// A tag's data and how many items it has; nothing if the tag is not there.
    fn data(&self, tag: u32, kinds: &[u32]) -> Result<Option<(Entry, &[u8])>, UnreadableArchive> {
        let Some(entry) = self.index.get(&tag) else { return Ok(None) };
        if !kinds.contains(&entry.kind) {
            return Err(malformed("tags of their own types"));
        }
        if entry.count as u64 > FILES_MAX {
            return Err(UnreadableArchive::Limit { what: "files", found: entry.count as u64, max: FILES_MAX });
        }
        let data = self.store.get(entry.offset..).ok_or_else(|| malformed("tags whose data is in the store"))?;
        Ok(Some((*entry, data)))
    }

    /// The strings of a tag, none if it is not there.
    fn strings(&self, tag: u32) -> Result<Vec<&str>, UnreadableArchive> {
        let Some((entry, data)) = self.data(tag, &[kind::STRING, kind::STRING_ARRAY])? else { return Ok(Vec::new()) };
        let mut rest = data;
        let mut strings = Vec::new();
        for _ in 0..entry.count {
            let end = rest.iter().position(|byte| *byte == 0).ok_or_else(|| malformed("strings with a zero behind"))?;
            let (text, behind) = rest.split_at(end);
            strings.push(std::str::from_utf8(text).map_err(|_| malformed("strings in UTF-8"))?);
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(strings)
    }

    /// The bytes of a tag; nothing if it is not there.
    fn bytes(&self, tag: u32) -> Result<Option<&[u8]>, UnreadableArchive> {
        let Some((entry, data)) = self.data(tag, &[kind::BINARY])? else { return Ok(None) };
        data.get(..entry.count).map(Some).ok_or_else(|| malformed("as many bytes as a tag states"))
    }

    fn string(&self, tag: u32) -> Result<Option<&str>, UnreadableArchive> {
        Ok(self.strings(tag)?.first().copied())
    }

    /// The numbers of a tag, of 16 or 32 bits; none if it is not there.
    fn numbers(&self, tag: u32) -> Result<Vec<u32>, UnreadableArchive> {
        let Some((entry, data)) = self.data(tag, &[kind::INT16, kind::INT32])? else { return Ok(Vec::new()) };
        let numbers: Vec<u32> = if entry.kind == kind::INT16 {
            data.as_chunks::<2>()
                .0
                .iter()
                .take(entry.count)
                .map(|bytes| u32::from(u16::from_be_bytes(*bytes)))
                .collect()
        } else {
            data.as_chunks::<4>().0.iter().take(entry.count).map(|bytes| u32::from_be_bytes(*bytes)).collect()
        };
        if numbers.len() == entry.count { Ok(numbers) } else { Err(malformed("as many numbers as a tag states")) }
    }
}

const fn malformed(expected: &'static str) -> UnreadableArchive {
    UnreadableArchive::Format { what: "the header", offset: LEAD_BYTES as u64, expected }
}

/// The big-endian number at a place; zero where there is none.
fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

mod tag {
    pub(super) const DSAHEADER: u32 = 267;
    pub(super) const RSAHEADER: u32 = 268;
    pub(super) const SHA256HEADER: u32 = 273;
    pub(super) const OPENPGP: u32 = 278;
    pub(super) const FILEMODES: u32 = 1030;
    pub(super) const FILEDIGESTS: u32 = 1035;
    pub(super) const FILEFLAGS: u32 = 1037;
    pub(super) const DIRINDEXES: u32 = 1116;
    pub(super) const BASENAMES: u32 = 1117;
    pub(super) const DIRNAMES: u32 = 1118;
    pub(super) const FILEDIGESTALGO: u32 = 5011;
}

mod kind {
    pub(super) const INT16: u32 = 3;
    pub(super) const INT32: u32 = 4;
    pub(super) const STRING: u32 = 6;
    pub(super) const BINARY: u32 = 7;
    pub(super) const STRING_ARRAY: u32 = 8;
}

const LEAD_BYTES: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// Magic, reserved bytes, number of tags, bytes of data.
const PREFIX_BYTES: usize = 16;
/// Distributors sign with one key, or with two while they change it.
const SIGNATURES_MAX: usize = 4;
/// rpm's own limit (`HEADER_TAGS_MAX`).
const ENTRIES_MAX: u32 = 0xffff;
/// A quarter of rpm's own limit (`HEADER_DATA_MAX`), several times the header of the largest package of any distribution.
const STORE_BYTES_MAX: u32 = 64 << 20;
/// `S_IFMT` and `S_IFREG`.
const FILE_TYPE: u32 = 0o170_000;
const REGULAR_FILE: u32 = 0o100_000;
/// `RPMFILE_GHOST`.
const GHOST: u32 = 1 << 6;
