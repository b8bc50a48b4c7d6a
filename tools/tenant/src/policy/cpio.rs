//! cpio archives in the form of initrds and RPM payloads, `newc`.
//!
//! Source: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::{
    collections::HashMap,
    io::{BufRead, Read},
};

use evidence::algorithm::HashAlgorithm;

use super::archive::{FILES_MAX, PATH_BYTES_MAX, UnreadableArchive, hash};

/// Takes the names, as they stand in the archive, and the digests of regular files.
pub(super) type Tell<'t> = dyn FnMut(Vec<u8>, String) -> Result<(), UnreadableArchive> + 't;

/// Reads archives; counts what is in all of them.
pub(super) struct CpioReader {
    algorithm: HashAlgorithm,
    /// What is read, for people.
    what: &'static str,
    entries: u64,
}

impl CpioReader {
    pub(super) const fn new(algorithm: HashAlgorithm, what: &'static str) -> Self {
        Self { algorithm, what, entries: 0 }
    }

    /// Reads one archive to its trailer. A file with several names is told under each.
    pub(super) fn archive<R: BufRead>(
        &mut self,
        reader: &mut Counted<R>,
        tell: &mut Tell<'_>,
    ) -> Result<(), UnreadableArchive> {
        // Of files with several names only the last has the contents.
        let mut links: HashMap<(u64, u64, u64), Vec<Vec<u8>>> = HashMap::new();
        loop {
            let header = Header::read(reader)?;
            let name = header.name(reader, self.what)?;
            if name == TRAILER {
                break;
            }
            self.entries += 1;
            if self.entries > FILES_MAX {
                return Err(UnreadableArchive::Limit { what: "files", found: self.entries, max: FILES_MAX });
            }
            let (digest, read) = hash(&mut (&mut *reader).take(header.size), self.algorithm, self.what)?;
            if read != header.size {
                let (what, offset) = (self.what, reader.offset);
                return Err(UnreadableArchive::Format { what, offset, expected: "a file's contents" });
            }
            reader.skip(padding(header.size), self.what)?;
            if header.mode & FILE_TYPE != REGULAR_FILE {
                continue;
            }
            if header.links > 1 && header.size == 0 {
                links.entry(header.file).or_default().push(name);
                continue;
            }
            for other in links.remove(&header.file).unwrap_or_default() {
                tell(other, digest.clone())?;
            }
            tell(name, digest)?;
        }
        let (empty, _) = hash(&mut std::io::empty(), self.algorithm, self.what)?;
        links.into_values().flatten().try_for_each(|name| tell(name, empty.clone()))
    }
}

/// What matters of an entry's header.
struct Header {
    /// Inode and device.
    file: (u64, u64, u64),
    mode: u64,
    links: u64,
    size: u64,
    name_bytes: u64,
}

impl Header {
    /// Thirteen numbers of eight hexadecimal digits behind `070701` (or `070702`, with a check sum).
    fn read<R: BufRead>(reader: &mut Counted<R>) -> Result<Self, UnreadableArchive> {
        let offset = reader.offset;
        let mut bytes = [0; HEADER_BYTES];
        reader.read_exact(&mut bytes).map_err(UnreadableArchive::io("a cpio header"))?;
        let malformed = || UnreadableArchive::Format {
            what: "a cpio header",
            offset,
            expected: "070701 or 070702 and 13 numbers of 8 hexadecimal digits",
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
        if !matches!(text.get(..6), Some("070701" | "070702")) {
            return Err(malformed());
        }
        let number = |at: usize| {
            let digits = text.get(6 + 8 * at..14 + 8 * at).filter(|digits| !digits.starts_with('+'));
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(malformed)
        };
        Ok(Self {
            file: (number(0)?, number(7)?, number(8)?),
            mode: number(1)?,
            links: number(4)?,
            size: number(6)?,
            name_bytes: number(11)?,
        })
    }

    /// The name behind the header, without its zero; the reader then stands at the contents.
    fn name<R: BufRead>(&self, reader: &mut Counted<R>, what: &'static str) -> Result<Vec<u8>, UnreadableArchive> {
        let max = PATH_BYTES_MAX as u64 + 1;
        if self.name_bytes > max {
            return Err(UnreadableArchive::Limit { what: "bytes in a name", found: self.name_bytes, max });
        }
        let mut name = Vec::new();
        (&mut *reader).take(self.name_bytes).read_to_end(&mut name).map_err(UnreadableArchive::io(what))?;
        if name.pop() != Some(0) {
            let (what, offset) = ("a cpio entry's name", reader.offset);
            return Err(UnreadableArchive::Format { what, offset, expected: "a zero at its end" });
        }
        reader.skip(padding(HEADER_BYTES as u64 + self.name_bytes), what)?;
        Ok(name)
    }
}

/// A reader that knows where it is.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) offset: u64,
}

impl<R: BufRead> Counted<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { inner, offset: 0 }
    }

    fn skip(&mut self, bytes: u64, what: &'static str) -> Result<(), UnreadableArchive> {
        let skipped = std::io::copy(&mut (&mut *self).take(bytes), &mut std::io::sink());
        skipped.map_err(UnreadableArchive::io(what)).map(drop)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Bytes up to the next multiple of four.
const fn padding(bytes: u64) -> u64 {
    (4 - bytes % 4) % 4
}

const TRAILER: &[u8] = b"TRAILER!!!";
const HEADER_BYTES: usize = 110;
/// `S_IFMT` and `S_IFREG`.
const FILE_TYPE: u64 = 0o170_000;
const REGULAR_FILE: u64 = 0o100_000;
