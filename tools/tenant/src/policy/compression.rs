//! Decompression, by what a stream starts with.

use std::io::{self, BufRead, Read};

use liblzma::stream::{CONCATENATED, Stream};

/// How a stream is compressed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Bzip2,
    Gzip,
    /// The form that the kernel unpacks; that of the `lz4` program's own files is another.
    Lz4Legacy,
    Lzma,
    Xz,
    Zstd,
}

impl Compression {
    pub(super) fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [b'B', b'Z', b'h', ..] => Some(Self::Bzip2),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Self::Lz4Legacy),
            // Properties as everybody sets them, and a dictionary of at least 64 KiB.
            [0x5d, 0, 0, ..] => Some(Self::Lzma),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// By the ending that a file's name has for it.
    pub(super) fn of_ending(ending: &str) -> Option<Self> {
        match ending {
            ".bz2" => Some(Self::Bzip2),
            ".gz" => Some(Self::Gzip),
            ".lzma" => Some(Self::Lzma),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The contents of one compressed stream; what follows it stays in `reader`.
    pub(super) fn open<'r>(self, reader: &'r mut dyn BufRead) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(reader)),
            Self::Gzip => Box::new(flate2::bufread::GzDecoder::new(reader)),
            Self::Lz4Legacy => Box::new(Lz4Legacy::new(reader)?),
            Self::Lzma => Box::new(liblzma::bufread::XzDecoder::new_stream(reader, lzma()?)),
            Self::Xz => Box::new(liblzma::bufread::XzDecoder::new_stream(reader, xz(0)?)),
            Self::Zstd => Box::new(zstd(reader)?.single_frame()),
        })
    }

    /// The contents of all streams up to the end of `reader`.
    pub(super) fn open_all<'r>(self, reader: &'r mut dyn BufRead) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Self::Lz4Legacy | Self::Lzma => return self.open(reader),
            Self::Xz => Box::new(liblzma::bufread::XzDecoder::new_stream(reader, xz(CONCATENATED)?)),
            Self::Zstd => Box::new(zstd(reader)?),
        })
    }
}

type ZstdDecoder<'r> = zstd::stream::read::Decoder<'static, &'r mut dyn BufRead>;

/// A decoder with a limit on its window.
fn zstd(reader: &mut dyn BufRead) -> io::Result<ZstdDecoder<'_>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// A decoder with a limit on its memory.
fn xz(flags: u32) -> io::Result<Stream> {
    Stream::new_stream_decoder(XZ_MEMORY_BYTES_MAX, flags).map_err(io::Error::from)
}

/// The same for the older form.
fn lzma() -> io::Result<Stream> {
    Stream::new_lzma_decoder(XZ_MEMORY_BYTES_MAX).map_err(io::Error::from)
}

/// Blocks of `length u32, data`, little endian, up to a length of zero or the end; another magic number goes on.
///
/// Source: lz4, `doc/lz4_Frame_format.md`, "Legacy frame"; Linux, `lib/decompress_unlz4.c`.
struct Lz4Legacy<'r> {
    reader: &'r mut dyn BufRead,
    block: Vec<u8>,
    /// Bytes of the block that were handed on.
    read: usize,
    ended: bool,
}

impl<'r> Lz4Legacy<'r> {
    fn new(reader: &'r mut dyn BufRead) -> io::Result<Self> {
        reader.read_exact(&mut [0; 4])?;
        Ok(Self { reader, block: Vec::new(), read: 0, ended: false })
    }

    /// Unpacks the next block; nothing behind the last.
    fn next_block(&mut self) -> io::Result<()> {
        (self.block, self.read) = (Vec::new(), 0);
        let length = loop {
            if self.reader.fill_buf()?.is_empty() {
                self.ended = true;
                return Ok(());
            }
            let mut length = [0; 4];
            self.reader.read_exact(&mut length)?;
            if length != LZ4_LEGACY_MAGIC {
                break u32::from_le_bytes(length);
            }
        };
        if length == 0 {
            self.ended = true;
            return Ok(());
        }
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a block of lz4's legacy form");
        let length = u64::from(length);
        if length > LZ4_PACKED_BYTES_MAX {
            return Err(malformed());
        }
        let mut packed = Vec::new();
        (&mut self.reader).take(length).read_to_end(&mut packed)?;
        if packed.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.block = lz4_flex::block::decompress(&packed, LZ4_BLOCK_BYTES).map_err(|_| malformed())?;
        Ok(())
    }
}

impl Read for Lz4Legacy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() && !self.ended {
            self.next_block()?;
        }
        let mut rest = self.block.get(self.read..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// What each block but the last unpacks to.
const LZ4_BLOCK_BYTES: usize = 8 << 20;
/// `LZ4_COMPRESSBOUND` of a block.
const LZ4_PACKED_BYTES_MAX: u64 = (8 << 20) + (8 << 20) / 255 + 16;
/// `xz -9` needs 65 MiB to unpack.
const XZ_MEMORY_BYTES_MAX: u64 = 128 << 20;
/// 128 MiB: what `zstd --ultra -22` asks for, and the most that the program unpacks without being told to.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
