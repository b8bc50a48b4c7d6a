//! Initrds: cpio archives one behind the other, each plain or compressed, with zeros between them.
//!
//! Source: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use evidence::algorithm::HashAlgorithm;

use super::archive::{
    BUFFER_BYTES, Bounded, Compression, FILES_MAX, Found, FoundFile, PATH_BYTES_MAX, UnreadableArchive, hash, path_of,
};

/// Hands on the regular files of an initrd.
pub(super) fn read(path: &Path, algorithm: HashAlgorithm, found: &mut Found<'_>) -> Result<(), UnreadableArchive> {
    let file = File::open(path).map_err(UnreadableArchive::io(WHAT))?;
    let mut reader = Counted { inner: BufReader::with_capacity(BUFFER_BYTES, file), offset: 0 };
    let mut reading = Reading { algorithm, found, files: 0, archives: 0 };
    reading.archives(&mut reader, true)?;
    if reading.archives == 0 { Err(UnreadableArchive::Missing { what: "cpio archive in it" }) } else { Ok(()) }
}

struct Reading<'f, 'g> {
    algorithm: HashAlgorithm,
    found: &'f mut Found<'g>,
    files: u64,
    archives: u64,
}

impl Reading<'_, '_> {
    /// Reads archives to the end of the stream; compressed ones only outside compression.
    fn archives<R: BufRead>(&mut self, reader: &mut Counted<R>, may_inflate: bool) -> Result<(), UnreadableArchive> {
        while let Some(head) = skip_zeros(reader)? {
            if head.starts_with(b"0707") {
                self.cpio(reader)?;
                self.archives += 1;
                continue;
            }
            match Compression::detect(&head).filter(|_| may_inflate) {
                Some(compression) => {
                    let inflated = compression.open(&mut reader.inner).map_err(UnreadableArchive::io(WHAT))?;
                    let inner = BufReader::with_capacity(BUFFER_BYTES, Bounded::new(inflated));
                    self.archives(&mut Counted { inner, offset: 0 }, false)?;
                }
                None => return Err(unknown(&head, reader.offset)),
            }
        }
        Ok(())
    }

    /// Reads one archive to its trailer.
    fn cpio<R: BufRead>(&mut self, reader: &mut Counted<R>) -> Result<(), UnreadableArchive> {
        // Of files with several names only the last has the contents.
        let mut links: HashMap<(u64, u64, u64), Vec<String>> = HashMap::new();
        loop {
            let header = Header::read(reader)?;
            let name = header.name(reader)?;
            if name == TRAILER {
                break;
            }
            self.files += 1;
            if self.files > FILES_MAX {
                return Err(UnreadableArchive::Limit { what: "files", found: self.files, max: FILES_MAX });
            }
            let (digest, read) = hash(&mut (&mut *reader).take(header.size), self.algorithm, WHAT)?;
            if read != header.size {
                return Err(UnreadableArchive::Format {
                    what: WHAT,
                    offset: reader.offset,
                    expected: "a file's contents",
                });
            }
            reader.skip(padding(header.size))?;
            if header.mode & FILE_TYPE != REGULAR_FILE {
                continue;
            }
            let name = match String::from_utf8(name) {
                Ok(name) => name,
                Err(error) => {
                    let name = String::from_utf8_lossy(error.as_bytes()).into_owned();
                    (self.found)(FoundFile::Unlistable { name });
                    continue;
                }
            };
            let path = path_of(&name)?;
            if header.links > 1 && header.size == 0 {
                links.entry(header.file).or_default().push(path);
            } else {
                for other in links.remove(&header.file).unwrap_or_default() {
                    (self.found)(FoundFile::Listed { path: other, digest: digest.clone() });
                }
                (self.found)(FoundFile::Listed { path, digest });
            }
        }
        let (empty, _) = hash(&mut std::io::empty(), self.algorithm, WHAT)?;
        for path in links.into_values().flatten() {
            (self.found)(FoundFile::Listed { path, digest: empty.clone() });
        }
        Ok(())
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
    fn name<R: BufRead>(&self, reader: &mut Counted<R>) -> Result<Vec<u8>, UnreadableArchive> {
        let max = PATH_BYTES_MAX as u64 + 1;
        if self.name_bytes > max {
            return Err(UnreadableArchive::Limit { what: "bytes in a name", found: self.name_bytes, max });
        }
        let mut name = Vec::new();
        (&mut *reader).take(self.name_bytes).read_to_end(&mut name).map_err(UnreadableArchive::io(WHAT))?;
        if name.pop() != Some(0) {
            let (what, offset) = ("a cpio entry's name", reader.offset);
            return Err(UnreadableArchive::Format { what, offset, expected: "a zero at its end" });
        }
        reader.skip(padding(HEADER_BYTES as u64 + self.name_bytes))?;
        Ok(name)
    }
}

/// A reader that knows where it is.
struct Counted<R> {
    inner: R,
    offset: u64,
}

impl<R: BufRead> Counted<R> {
    fn skip(&mut self, bytes: u64) -> Result<(), UnreadableArchive> {
        let skipped = std::io::copy(&mut (&mut *self).take(bytes), &mut std::io::sink());
        skipped.map_err(UnreadableArchive::io(WHAT)).map(drop)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Passes over zeros; the bytes that follow, or nothing at the end.
fn skip_zeros<R: BufRead>(reader: &mut Counted<R>) -> Result<Option<Vec<u8>>, UnreadableArchive> {
    loop {
        let buffer = reader.inner.fill_buf().map_err(UnreadableArchive::io(WHAT))?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        if let Some(head) = buffer.get(zeros..).filter(|head| !head.is_empty()) {
            let head = head.iter().take(8).copied().collect();
            reader.inner.consume(zeros);
            reader.offset += zeros as u64;
            return Ok(Some(head));
        }
        reader.inner.consume(zeros);
        reader.offset += zeros as u64;
    }
}

fn unknown(head: &[u8], offset: u64) -> UnreadableArchive {
    let found = match head {
        [0x02, 0x21, 0x4c, 0x18, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => "lz4",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0x5d, 0, ..] => "lzma",
        [0x89, b'L', b'Z', b'O', ..] => "lzo",
        _ => {
            return UnreadableArchive::Format { what: WHAT, offset, expected: "a cpio archive, plain or compressed" };
        }
    };
    UnreadableArchive::Compression { what: WHAT, found: found.to_owned() }
}

/// Bytes up to the next multiple of four.
const fn padding(bytes: u64) -> u64 {
    (4 - bytes % 4) % 4
}

const WHAT: &str = "the initrd";
const TRAILER: &[u8] = b"TRAILER!!!";
const HEADER_BYTES: usize = 110;
/// `S_IFMT` and `S_IFREG`.
const FILE_TYPE: u64 = 0o170_000;
const REGULAR_FILE: u64 = 0o100_000;
