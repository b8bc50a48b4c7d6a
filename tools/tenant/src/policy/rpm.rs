//! RPM packages: the digests of their files stand in the header; the payload is held against them.
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
    archive::{
        BUFFER_BYTES, Bounded, FILES_MAX, Found, FoundFile, Hashed, UNPACKED_BYTES_MAX, UnreadableArchive, path_of,
    },
    compression::Compression,
    cpio::{Counted, CpioReader},
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
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let package = Package::read(&mut reader)?;
    if let Some(keys) = keys {
        package.verify(keys)?;
    }
    check_and_tell(&package.header, &mut reader, algorithm, UNPACKED_BYTES_MAX, found)
}

/// Hands on the regular files of a package that is read from its first byte.
pub(super) fn read_from(
    reader: &mut dyn BufRead,
    algorithm: HashAlgorithm,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    unpack(reader, algorithm, UNPACKED_BYTES_MAX, found)
}

/// The same of a package that unpacks to at most so many bytes.
pub(super) fn unpack(
    reader: &mut dyn BufRead,
    algorithm: HashAlgorithm,
    unpacked_max: u64,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    let package = Package::read(reader)?;
    check_and_tell(&package.header, reader, algorithm, unpacked_max, found)
}

/// Hands on what the header lists, once the payload behind it turned out to be just that.
fn check_and_tell(
    header: &Header,
    payload: &mut dyn BufRead,
    algorithm: HashAlgorithm,
    unpacked_max: u64,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    let listed = list(header, algorithm)?;
    check_payload(header, payload, algorithm, unpacked_max, &listed)?;
    listed.into_iter().for_each(|(path, digest)| found(FoundFile::Listed { path, digest }));
    Ok(())
}

/// Holds the payload against its own digest, where the header has one, and its files against theirs.
fn check_payload(
    header: &Header,
    payload: &mut dyn BufRead,
    algorithm: HashAlgorithm,
    unpacked_max: u64,
    listed: &BTreeMap<String, String>,
) -> Result<(), UnreadableArchive> {
    let stated = header.numbers(tag::PAYLOADDIGESTALGO)?.first().copied();
    let expected = header.strings(tag::PAYLOADDIGEST)?.first().copied();
    let payload_algorithm = match (expected, named(stated.unwrap_or(SHA256)).1) {
        (Some(_), None) => return Err(malformed("a payload digest of an algorithm that is known")),
        (_, known) => known.unwrap_or(HashAlgorithm::Sha256),
    };
    let hashed = Hashed::new(payload, payload_algorithm.message_digest())?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, hashed);
    let checked = check_files(&mut reader, algorithm, unpacked_max, listed);
    // To the end, so that the digest is of the whole payload; and first, since it names the cause.
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(UnreadableArchive::io(PAYLOAD))?;
    let (found, _) = reader.into_inner().finish()?;
    match expected {
        Some(expected) if !found.eq_ignore_ascii_case(expected) => {
            Err(UnreadableArchive::PayloadDigest { found, expected: expected.to_owned() })
        }
        _ => checked,
    }
}

/// Holds the payload's files against the digests that are listed for them.
fn check_files(
    payload: &mut dyn BufRead,
    algorithm: HashAlgorithm,
    unpacked_max: u64,
    listed: &BTreeMap<String, String>,
) -> Result<(), UnreadableArchive> {
    let io = UnreadableArchive::io(PAYLOAD);
    let compression = Compression::detect(payload.fill_buf().map_err(&io)?);
    let contents: Box<dyn Read + '_> = match compression {
        Some(compression) => compression.open_all(payload).map_err(&io)?,
        None => Box::new(payload),
    };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Bounded::new(contents, unpacked_max));
    // Packages with files of 4 GiB have a form without names; the payload's digest has to do for them.
    if reader.fill_buf().map_err(&io)?.starts_with(b"07070X") {
        return Ok(());
    }
    let mut missing = listed.clone();
    CpioReader::new(algorithm, PAYLOAD).archive(&mut Counted::new(reader), &mut |name, found| {
        let path = path_of(&String::from_utf8_lossy(&name))?;
        let Some(expected) = missing.remove(&path) else {
            return if listed.contains_key(&path) { Err(UnreadableArchive::Duplicate { path }) } else { Ok(()) };
        };
        if found == expected { Ok(()) } else { Err(UnreadableArchive::FileDigest { path, found, expected }) }
    })?;
    match missing.into_keys().next() {
        Some(path) => Err(UnreadableArchive::NotInPayload { path }),
        None => Ok(()),
    }
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

/// Each regular file that the package brings, with its digest.
fn list(header: &Header, algorithm: HashAlgorithm) -> Result<BTreeMap<String, String>, UnreadableArchive> {
    let mut listed = BTreeMap::new();
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
        if listed.insert(path.clone(), digest.to_ascii_lowercase()).is_some() {
            return Err(UnreadableArchive::Duplicate { path });
        }
    }
    Ok(listed)
}

/// Whether the package's digests, by OpenPGP's number of their algorithm, are those asked for.
const fn check(stated: Option<u32>, asked: HashAlgorithm) -> Result<(), UnreadableArchive> {
    // Packages that do not say have MD5.
    let (found, algorithm) = match stated {
        Some(number) => named(number),
        None => named(MD5),
    };
    match algorithm {
        Some(algorithm) if algorithm.tpm_id() == asked.tpm_id() => Ok(()),
        _ => Err(UnreadableArchive::Algorithm { found, expected: asked }),
    }
}

/// What OpenPGP has this number for.
const fn named(number: u32) -> (&'static str, Option<HashAlgorithm>) {
    match number {
        MD5 => ("md5", None),
        2 => ("sha1", Some(HashAlgorithm::Sha1)),
        SHA256 => ("sha256", Some(HashAlgorithm::Sha256)),
        9 => ("sha384", Some(HashAlgorithm::Sha384)),
        10 => ("sha512", Some(HashAlgorithm::Sha512)),
        _ => ("of an unknown algorithm", None),
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
        let mut tags = BTreeMap::new();
        for entry in index.as_chunks::<16>().0 {
            let size = |at| usize::try_from(number(entry, at)).unwrap_or(usize::MAX);
            let data = Entry { kind: number(entry, 4), offset: size(8), count: size(12) };
            // Of a tag that is there twice, another reader could take the other one.
            if tags.insert(number(entry, 0), data).is_some() {
                return Err(UnreadableArchive::Format { what: "a header", offset, expected: "each tag once" });
            }
        }
        Ok((Self { index: tags, store }, bytes))
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
    pub(super) const PAYLOADDIGEST: u32 = 5092;
    pub(super) const PAYLOADDIGESTALGO: u32 = 5093;
}

mod kind {
    pub(super) const INT16: u32 = 3;
    pub(super) const INT32: u32 = 4;
    pub(super) const STRING: u32 = 6;
    pub(super) const BINARY: u32 = 7;
    pub(super) const STRING_ARRAY: u32 = 8;
}

const PAYLOAD: &str = "the payload";
/// OpenPGP's number of it.
const MD5: u32 = 1;
/// The same; what payload digests are of where nothing is said.
const SHA256: u32 = 8;
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
