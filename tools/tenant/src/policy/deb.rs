//! Debian packages: an ar archive around a tar archive of the files.
//!
//! Source: deb(5), ar(5); pax: POSIX.1-2017, pax.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use evidence::algorithm::HashAlgorithm;
use tar::{Archive, EntryType};

use super::{
    archive::{
        BUFFER_BYTES, Bounded, FILES_MAX, Found, FoundFile, PATH_BYTES_MAX, UNPACKED_BYTES_MAX, UnreadableArchive,
        hash, path_of,
    },
    compression::Compression,
};

/// Hands on the regular files of a package.
pub(super) fn read(path: &Path, algorithm: HashAlgorithm, found: &mut Found<'_>) -> Result<(), UnreadableArchive> {
    let file = File::open(path).map_err(UnreadableArchive::io("the package"))?;
    read_from(&mut BufReader::with_capacity(BUFFER_BYTES, file), algorithm, found)
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
    mut reader: &mut dyn BufRead,
    algorithm: HashAlgorithm,
    unpacked_max: u64,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    let (mut data, compression) = data_member(&mut reader)?;
    let contents = match compression {
        Some(compression) => compression.open_all(&mut data).map_err(UnreadableArchive::io("data.tar"))?,
        None => Box::new(&mut data as &mut dyn Read),
    };
    read_tar(Bounded::new(contents, unpacked_max), algorithm, found)
}

/// The member `data.tar` and how it is compressed.
fn data_member<R: BufRead>(reader: &mut R) -> Result<(std::io::Take<&mut R>, Option<Compression>), UnreadableArchive> {
    let mut offset = MAGIC.len() as u64;
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic).map_err(UnreadableArchive::io("the package"))?;
    if magic != *MAGIC {
        return Err(UnreadableArchive::Format { what: "the package", offset: 0, expected: "!<arch> and a line feed" });
    }
    for _ in 0..MEMBERS_MAX {
        let mut header = [0; HEADER_BYTES];
        if reader.fill_buf().map_err(UnreadableArchive::io("the package"))?.is_empty() {
            break;
        }
        reader.read_exact(&mut header).map_err(UnreadableArchive::io("a member's header"))?;
        let (name, size) = member(&header).ok_or(UnreadableArchive::Format {
            what: "a member's header",
            offset,
            expected: "a name, a size in decimal digits, and a grave accent with a line feed",
        })?;
        if let Some(suffix) = name.strip_prefix("data.tar") {
            let compression = match Compression::of_ending(suffix) {
                None if !suffix.is_empty() => {
                    return Err(UnreadableArchive::Compression { what: "data.tar", found: suffix.to_owned() });
                }
                compression => compression,
            };
            return Ok((reader.take(size), compression));
        }
        // Members are padded to even sizes.
        let padded = size + size % 2;
        let skipped = std::io::copy(&mut reader.by_ref().take(padded), &mut std::io::sink());
        skipped.map_err(UnreadableArchive::io("a member"))?;
        offset += HEADER_BYTES as u64 + padded;
    }
    Err(UnreadableArchive::Missing { what: "member data.tar" })
}

/// Name and size of a member.
fn member(header: &[u8; HEADER_BYTES]) -> Option<(&str, u64)> {
    let text = std::str::from_utf8(header).ok()?;
    let name = text.get(..16)?.trim_end().trim_end_matches('/');
    let size = text.get(48..58)?.trim_end().parse().ok()?;
    (text.get(58..)? == "`\n").then_some((name, size))
}

/// Hands on the regular files of a tar archive, hard links among them.
fn read_tar(reader: impl Read, algorithm: HashAlgorithm, found: &mut Found<'_>) -> Result<(), UnreadableArchive> {
    const WHAT: &str = "data.tar";
    let mut archive = Archive::new(reader);
    // Raw, so that long names are read under a limit of ours.
    let entries = archive.entries().map_err(UnreadableArchive::io(WHAT))?.raw(true);
    let mut digests: HashMap<String, String> = HashMap::new();
    let (mut long_name, mut long_link) = (None, None);
    for (number, entry) in entries.enumerate() {
        let mut entry = entry.map_err(UnreadableArchive::io(WHAT))?;
        let number = number as u64;
        if number >= FILES_MAX {
            return Err(UnreadableArchive::Limit { what: "files in data.tar", found: number + 1, max: FILES_MAX });
        }
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => long_name = Some(text(&mut entry)?),
            EntryType::GNULongLink => long_link = Some(text(&mut entry)?),
            EntryType::XHeader => {
                let (path, link) = pax(&mut entry)?;
                long_name = path.or(long_name);
                long_link = link.or(long_link);
            }
            EntryType::XGlobalHeader => (),
            _ => {
                let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                let link = long_link.take().or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
                let name = match String::from_utf8(name) {
                    Ok(name) => name,
                    Err(error) => {
                        if matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::Link) {
                            let name = String::from_utf8_lossy(error.as_bytes()).into_owned();
                            found(FoundFile::Unlistable { name });
                        }
                        continue;
                    }
                };
                let path = path_of(&name)?;
                let digest = match kind {
                    EntryType::Regular | EntryType::Continuous => hash(&mut entry, algorithm, WHAT)?.0,
                    EntryType::Link => {
                        let target = path_of(&String::from_utf8_lossy(&link.unwrap_or_default()))?;
                        let missing = UnreadableArchive::Missing { what: "file that a hard link names" };
                        digests.get(&target).cloned().ok_or(missing)?
                    }
                    _ => continue,
                };
                if digests.insert(path.clone(), digest.clone()).is_some() {
                    return Err(UnreadableArchive::Duplicate { path });
                }
                found(FoundFile::Listed { path, digest });
            }
        }
    }
    Ok(())
}

/// A long name, without the zero behind it.
fn text(entry: &mut impl Read) -> Result<Vec<u8>, UnreadableArchive> {
    let mut text = bounded(entry, PATH_BYTES_MAX + 1, "bytes in a name")?;
    while text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}

type Names = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Path and link name of a pax header: records of `<length> <name>=<value>` and a line feed.
fn pax(entry: &mut impl Read) -> Result<Names, UnreadableArchive> {
    let bytes = bounded(entry, PAX_BYTES_MAX, "bytes in a pax header")?;
    let (mut path, mut link, mut rest) = (None, None, bytes.as_slice());
    while !rest.is_empty() {
        let (record, behind) = pax_record(rest).ok_or(UnreadableArchive::Format {
            what: "a pax header",
            offset: (bytes.len() - rest.len()) as u64,
            expected: "a length, a name, an equals sign, a value and a line feed",
        })?;
        rest = behind;
        match record {
            (b"path", value) => path = Some(value.to_vec()),
            (b"linkpath", value) => link = Some(value.to_vec()),
            _ => (),
        }
    }
    Ok((path, link))
}

type PaxRecord<'a> = ((&'a [u8], &'a [u8]), &'a [u8]);

fn pax_record(rest: &[u8]) -> Option<PaxRecord<'_>> {
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let (digits, _) = rest.split_at(space);
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (record, behind) = rest.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (name, value) = record.split_at(equals);
    Some(((name, value.get(1..)?), behind))
}

fn bounded(entry: &mut impl Read, max: usize, what: &'static str) -> Result<Vec<u8>, UnreadableArchive> {
    let mut bytes = Vec::new();
    entry.take(max as u64 + 1).read_to_end(&mut bytes).map_err(UnreadableArchive::io("data.tar"))?;
    if bytes.len() > max {
        return Err(UnreadableArchive::Limit { what, found: bytes.len() as u64, max: max as u64 });
    }
    Ok(bytes)
}

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;
/// debian-binary, control, data, and signatures some tools add.
const MEMBERS_MAX: usize = 16;
/// A few records, two of them of a path's length.
const PAX_BYTES_MAX: usize = 64 << 10;
