//! What packages and initrds have in common: decompression, hashing on the way, and why they cannot be read.

use std::io::{self, BufRead, Read};

use evidence::algorithm::HashAlgorithm;
use openssl::hash::Hasher;

use super::repository::SignatureRejected;

/// Takes the files of an archive, one by one.
pub(super) type Found<'f> = dyn FnMut(FoundFile) + 'f;

/// One regular file.
#[derive(Debug)]
pub(super) enum FoundFile {
    /// Its path from the root, and its digest in hex.
    Listed { path: String, digest: String },
    /// Its name, for people: it is not UTF-8 and cannot stand in JSON. The kernel's list shows such a file as unknown.
    Unlistable { name: String },
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnreadableArchive {
    /// The package's digests are not of the algorithm asked for.
    #[error("its digests are {found}, asked for are {expected}")]
    Algorithm { found: &'static str, expected: HashAlgorithm },
    /// Compressed in a way that is not read.
    #[error("{what} is compressed with {found}, expected gzip, xz, zstd or nothing")]
    Compression { what: &'static str, found: String },
    /// The bytes do not follow the format.
    #[error("{what} at byte {offset}: expected {expected}")]
    Format { what: &'static str, offset: u64, expected: &'static str },
    /// The header is not what its digest says.
    #[error("the header's digest is {found}, the package states {expected}")]
    HeaderDigest { found: String, expected: String },
    /// It cannot be hashed.
    #[error("its contents cannot be hashed")]
    Hash(#[source] openssl::error::ErrorStack),
    /// Reading failed, a broken compression among the reasons.
    #[error("{what} cannot be read")]
    Io { what: &'static str, source: io::Error },
    /// More than the limit.
    #[error("{what}: {found}, at most {max} are allowed")]
    Limit { what: &'static str, found: u64, max: u64 },
    /// A part every such file has is not there.
    #[error("there is no {what}")]
    Missing { what: &'static str },
    /// It is not the package that an index lists.
    #[error("its {algorithm} is not the one that the repository's index lists")]
    NotListed { algorithm: &'static str },
    /// No trusted key signed it.
    #[error("its signature does not count")]
    Signature(#[source] SignatureRejected),
    /// A path that leads out of the root.
    #[error("the path {path:?} leads out of the root")]
    Path { path: String },
}

impl UnreadableArchive {
    /// Names what was being read when reading failed.
    pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// How a stream is compressed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    pub(super) fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The contents of one compressed stream; what follows it stays in `reader`.
    pub(super) fn open<'r>(self, reader: &'r mut dyn BufRead) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::GzDecoder::new(reader)),
            Self::Xz => Box::new(liblzma::bufread::XzDecoder::new_stream(reader, xz(0)?)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?.single_frame()),
        })
    }

    /// The contents of all streams up to the end of `reader`.
    pub(super) fn open_all<'r>(self, reader: &'r mut dyn BufRead) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Self::Xz => Box::new(liblzma::bufread::XzDecoder::new_stream(reader, xz(liblzma::stream::CONCATENATED)?)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        })
    }
}

/// A decoder with a limit on its memory.
fn xz(flags: u32) -> io::Result<liblzma::stream::Stream> {
    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES_MAX, flags).map_err(io::Error::from)
}

/// A stream that fails, rather than ends, past a number of bytes: an archive may be made to unpack for ever.
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Bounded<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { inner, left: UNPACKED_BYTES_MAX }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("it unpacks to more than {UNPACKED_BYTES_MAX} bytes"))
        })?;
        Ok(read)
    }
}

/// The digest of what is left of a stream, in hex; how many bytes there were.
pub(super) fn hash(
    reader: &mut dyn Read,
    algorithm: HashAlgorithm,
    what: &'static str,
) -> Result<(String, u64), UnreadableArchive> {
    let mut hasher = Hasher::new(algorithm.message_digest()).map_err(UnreadableArchive::Hash)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(UnreadableArchive::io(what)(error)),
        };
        hasher.update(buffer.get(..read).unwrap_or_default()).map_err(UnreadableArchive::Hash)?;
        bytes += read as u64;
    }
    let digest = hasher.finish().map_err(UnreadableArchive::Hash)?;
    Ok((hex::encode(digest), bytes))
}

/// The path from the root of a name in an archive: `./usr/bin/x`, `usr/bin/x` and `/usr/bin/x` are the same.
pub(super) fn path_of(name: &str) -> Result<String, UnreadableArchive> {
    let mut path = String::with_capacity(name.len() + 1);
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(UnreadableArchive::Path { path: name.chars().take(256).collect() });
        }
        path.push('/');
        path.push_str(part);
    }
    Ok(path)
}

/// Where a file of a package is on a system whose /bin, /sbin and /lib* are links to folders of /usr.
pub(super) fn usr_merged(path: String) -> String {
    let first = path.split('/').nth(1).unwrap_or_default();
    if ["bin", "lib", "lib32", "lib64", "libx32", "sbin"].contains(&first) { format!("/usr{path}") } else { path }
}

/// What is hashed at once.
pub(super) const BUFFER_BYTES: usize = 128 << 10;
/// What one archive may unpack to: ten times the largest package of any distribution (CUDA, some 6 GiB).
const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// The longest path the kernel takes (`PATH_MAX`).
pub(super) const PATH_BYTES_MAX: usize = 4096;
/// Files of one archive: several times those of a whole distribution's installation.
pub(super) const FILES_MAX: u64 = 4 << 20;
/// `xz -9` needs 65 MiB to unpack.
const XZ_MEMORY_BYTES_MAX: u64 = 128 << 20;
