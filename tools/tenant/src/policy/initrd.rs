//! Initrds: cpio archives one behind the other, each plain or compressed, with zeros between them.
//!
//! Source: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use evidence::algorithm::HashAlgorithm;

use super::{
    archive::{BUFFER_BYTES, Bounded, Found, FoundFile, UNPACKED_BYTES_MAX, UnreadableArchive, path_of},
    compression::Compression,
    cpio::{Counted, CpioReader},
};

/// Hands on the regular files of an initrd.
pub(super) fn read(path: &Path, algorithm: HashAlgorithm, found: &mut Found<'_>) -> Result<(), UnreadableArchive> {
    let file = File::open(path).map_err(UnreadableArchive::io(WHAT))?;
    read_from(BufReader::with_capacity(BUFFER_BYTES, file), algorithm, UNPACKED_BYTES_MAX, found)
}

/// Hands on the regular files of an initrd whose archives unpack to at most so many bytes each.
pub(super) fn read_from(
    reader: impl BufRead,
    algorithm: HashAlgorithm,
    unpacked_max: u64,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    let cpio = CpioReader::new(algorithm, WHAT);
    let mut reading = Reading { cpio, unpacked_max, found, archives: 0 };
    reading.archives(&mut Counted::new(reader), true)?;
    if reading.archives == 0 { Err(UnreadableArchive::Missing { what: "cpio archive in it" }) } else { Ok(()) }
}

struct Reading<'f, 'g> {
    cpio: CpioReader,
    unpacked_max: u64,
    found: &'f mut Found<'g>,
    archives: u64,
}

impl Reading<'_, '_> {
    /// Reads archives to the end of the stream; compressed ones only outside compression.
    fn archives<R: BufRead>(&mut self, reader: &mut Counted<R>, may_inflate: bool) -> Result<(), UnreadableArchive> {
        while let Some(head) = skip_zeros(reader)? {
            if head.starts_with(b"0707") {
                let Self { cpio, found, .. } = self;
                cpio.archive(reader, &mut |name, digest| tell(name, digest, found))?;
                self.archives += 1;
                continue;
            }
            match Compression::detect(&head).filter(|_| may_inflate) {
                Some(compression) => {
                    let inflated = compression.open(&mut reader.inner).map_err(UnreadableArchive::io(WHAT))?;
                    let bounded = Bounded::new(inflated, self.unpacked_max);
                    let inner = BufReader::with_capacity(BUFFER_BYTES, bounded);
                    self.archives(&mut Counted::new(inner), false)?;
                }
                None => return Err(unknown(&head, reader.offset)),
            }
        }
        Ok(())
    }
}

fn tell(name: Vec<u8>, digest: String, found: &mut Found<'_>) -> Result<(), UnreadableArchive> {
    match String::from_utf8(name) {
        Ok(name) => found(FoundFile::Listed { path: path_of(&name)?, digest }),
        Err(error) => {
            let name = String::from_utf8_lossy(error.as_bytes()).into_owned();
            found(FoundFile::Unlistable { name });
        }
    }
    Ok(())
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
        [0x04, 0x22, 0x4d, 0x18, ..] => "lz4 in its newer form, which kernels do not unpack",
        [0x89, b'L', b'Z', b'O', ..] => "lzo",
        _ => {
            return UnreadableArchive::Format { what: WHAT, offset, expected: "a cpio archive, plain or compressed" };
        }
    };
    UnreadableArchive::Compression { what: WHAT, found: found.to_owned() }
}

const WHAT: &str = "the initrd";
