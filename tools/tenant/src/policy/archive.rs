//! What packages and initrds have in common: hashing on the way, limits, and why they cannot be read.

use std::io::{self, Read};

use evidence::algorithm::HashAlgorithm;
use openssl::hash::{Hasher, MessageDigest};

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
    #[error(
        "{what} is compressed with {found}, expected bzip2, gzip, lz4 in its legacy form, lzma, xz, zstd or nothing"
    )]
    Compression { what: &'static str, found: String },
    /// One path twice, so that nobody knows which file is meant.
    #[error("it has {path} twice")]
    Duplicate { path: String },
    /// A file in the payload is not the one that the header lists.
    #[error("the payload's {path} has digest {found}, the header states {expected}")]
    FileDigest { path: String, found: String, expected: String },
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
    /// The header lists a file that the payload has not.
    #[error("the header lists {path}, which is not in the payload")]
    NotInPayload { path: String },
    /// It is not the package that an index lists.
    #[error("its {algorithm} is not the one that the repository's index lists")]
    NotListed { algorithm: &'static str },
    /// No trusted key signed it.
    #[error("its signature does not count")]
    Signature(#[source] SignatureRejected),
    /// It has not the size that an index lists.
    #[error("it has {found} bytes, the repository's index states {expected}")]
    ListedSize { found: u64, expected: u64 },
    /// The payload is not what the header says.
    #[error("the payload's digest is {found}, the header states {expected}")]
    PayloadDigest { found: String, expected: String },
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

/// A stream that fails, rather than ends, past a number of bytes: an archive may be made to unpack for ever.
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    max: u64,
}

impl<R: Read> Bounded<R> {
    pub(super) const fn new(inner: R, max: u64) -> Self {
        Self { inner, left: max, max }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("it unpacks to more than {} bytes", self.max))
        })?;
        Ok(read)
    }
}

/// A stream that is hashed and counted as it is read.
pub(super) struct Hashed<R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(inner: R, digest: MessageDigest) -> Result<Self, UnreadableArchive> {
        Ok(Self { inner, hasher: Hasher::new(digest).map_err(UnreadableArchive::Hash)?, bytes: 0 })
    }

    /// The digest in hex of all that was read, and how many bytes it was.
    pub(super) fn finish(mut self) -> Result<(String, u64), UnreadableArchive> {
        Ok((hex::encode(self.hasher.finish().map_err(UnreadableArchive::Hash)?), self.bytes))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default()).map_err(io::Error::other)?;
        self.bytes += read as u64;
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
pub(super) const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// The longest path the kernel takes (`PATH_MAX`).
pub(super) const PATH_BYTES_MAX: usize = 4096;
/// Files of one archive: several times those of a whole distribution's installation.
pub(super) const FILES_MAX: u64 = 4 << 20;
