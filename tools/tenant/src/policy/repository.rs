//! Package repositories on disk: which packages they bring, and by which chain of digests from a signature.
//!
//! Debian: InRelease (or Release and Release.gpg) → Packages → package. RPM: repomd.xml.asc → repomd.xml → primary.xml →
//! package. What a digest covers is read once and used only as it was hashed.

mod debian;
mod openpgp;
mod rpm;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use evidence::algorithm::HashAlgorithm;
use openssl::hash::Hasher;

pub(super) use openpgp::{SignatureRejected, TrustedKeys};

use super::archive::{BUFFER_BYTES, Bounded, Compression, Found, UnreadableArchive};

/// How repositories are read.
#[derive(Debug)]
pub(super) struct Reading<'r> {
    /// Who must have signed; `None` if nobody has to.
    pub(super) keys: Option<&'r TrustedKeys>,
    /// Debian suites; all of the repository if there is none.
    pub(super) suites: &'r [String],
    /// Architectures; all if there is none.
    pub(super) architectures: &'r [String],
}

/// A package that an authentic index names.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ListedPackage {
    pub(super) path: PathBuf,
    pub(super) digest: FileDigest,
}

/// What a file must be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct FileDigest {
    algorithm: &'static str,
    hex: String,
}

/// Why a repository is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepositoryRejected {
    /// A file is not what the index above it says.
    #[error("{} has {algorithm} {found}, its index states {expected}", path.display())]
    Digest { path: PathBuf, algorithm: &'static str, found: String, expected: String },
    /// A file does not follow its format.
    #[error("{}: expected {expected}", path.display())]
    Format { path: PathBuf, expected: &'static str },
    /// It cannot be hashed.
    #[error("its contents cannot be hashed")]
    Hash(#[source] openssl::error::ErrorStack),
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// There is nothing of what every repository has.
    #[error("{} has no {expected}", path.display())]
    Missing { path: PathBuf, expected: &'static str },
    /// A place outside the repository.
    #[error("an index names {name:?}, which is outside the repository")]
    Outside { name: String },
    /// The signature.
    #[error("the signature of {} does not count", path.display())]
    Signature { path: PathBuf, source: SignatureRejected },
    /// More than the limit.
    #[error("{} has more than {max} bytes", path.display())]
    TooLong { path: PathBuf, max: u64 },
}

/// The packages of a Debian repository.
pub(super) fn debian(root: &Path, reading: &Reading<'_>) -> Result<BTreeSet<ListedPackage>, RepositoryRejected> {
    debian::packages(root, reading)
}

/// The packages of an RPM repository.
pub(super) fn rpm(root: &Path, reading: &Reading<'_>) -> Result<BTreeSet<ListedPackage>, RepositoryRejected> {
    rpm::packages(root, reading)
}

/// Reads the files of one package.
pub(super) type ReadPackage = fn(&mut dyn BufRead, HashAlgorithm, &mut Found<'_>) -> Result<(), UnreadableArchive>;

/// Hands on the files of a package if the package is the one that was listed.
pub(super) fn read_listed(
    package: &ListedPackage,
    read: ReadPackage,
    algorithm: HashAlgorithm,
    found: &mut Found<'_>,
) -> Result<(), UnreadableArchive> {
    const WHAT: &str = "the package";
    let file = File::open(&package.path).map_err(UnreadableArchive::io(WHAT))?;
    let hasher = Hasher::new(package.digest.message_digest()).map_err(UnreadableArchive::Hash)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Hashed { inner: file, hasher });
    let mut files = Vec::new();
    let outcome = read(&mut reader, algorithm, &mut |file| files.push(file));
    // To the end, so that the digest is of the whole file.
    io::copy(&mut reader, &mut io::sink()).map_err(UnreadableArchive::io(WHAT))?;
    let digest = reader.into_inner().hasher.finish().map_err(UnreadableArchive::Hash)?;
    if hex::encode(digest) != package.digest.hex {
        return Err(UnreadableArchive::NotListed { algorithm: package.digest.algorithm });
    }
    outcome?;
    files.into_iter().for_each(found);
    Ok(())
}

impl FileDigest {
    /// A digest by its algorithm's name, as indexes write it. Nothing weaker than SHA-256 counts.
    fn new(algorithm: &str, hex: &str) -> Option<Self> {
        let algorithm = [("sha256", 64), ("sha384", 96), ("sha512", 128)]
            .into_iter()
            .find(|(name, digits)| algorithm.eq_ignore_ascii_case(name) && hex.len() == *digits);
        let (algorithm, _) = algorithm.filter(|_| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        Some(Self { algorithm, hex: hex.to_ascii_lowercase() })
    }

    fn message_digest(&self) -> openssl::hash::MessageDigest {
        let algorithm = match self.algorithm {
            "sha384" => HashAlgorithm::Sha384,
            "sha512" => HashAlgorithm::Sha512,
            _ => HashAlgorithm::Sha256,
        };
        algorithm.message_digest()
    }

    fn check(&self, path: &Path, bytes: &[u8]) -> Result<(), RepositoryRejected> {
        let found = openssl::hash::hash(self.message_digest(), bytes).map_err(RepositoryRejected::Hash)?;
        let (found, expected) = (hex::encode(found), self.hex.clone());
        if found == expected {
            return Ok(());
        }
        Err(RepositoryRejected::Digest { path: path.to_owned(), algorithm: self.algorithm, found, expected })
    }
}

/// A stream that is hashed as it is read.
struct Hashed {
    inner: File,
    hasher: Hasher,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default()).map_err(io::Error::other)?;
        Ok(read)
    }
}

/// A file of a repository, by the name that an index or the format gives it.
fn place(root: &Path, name: &str) -> Result<PathBuf, RepositoryRejected> {
    let outside = || RepositoryRejected::Outside { name: name.chars().take(256).collect() };
    let mut path = root.to_owned();
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." || name.starts_with('/') || part.contains('\0') {
            return Err(outside());
        }
        path.push(part);
    }
    Ok(path)
}

/// A whole file; nothing if it is not there.
fn read_if_there(path: &Path, max: u64) -> Result<Option<Vec<u8>>, RepositoryRejected> {
    let io = |source| RepositoryRejected::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > max {
        return Err(RepositoryRejected::TooLong { path: path.to_owned(), max });
    }
    Ok(Some(bytes))
}

/// An index's contents, unpacked as its first bytes say.
fn contents<'b>(path: &Path, bytes: &'b mut &'b [u8]) -> Result<Box<dyn BufRead + 'b>, RepositoryRejected> {
    let io = |source| RepositoryRejected::Io { path: path.to_owned(), source };
    Ok(match Compression::detect(bytes) {
        Some(compression) => Box::new(BufReader::new(Bounded::new(compression.open_all(bytes).map_err(io)?))),
        None => Box::new(bytes),
    })
}

/// Largest index: Debian's main/binary-amd64/Packages has 50 MiB unpacked, Fedora's primary.xml 100.
const INDEX_BYTES_MAX: u64 = 512 << 20;
/// Largest file that a signature is over: a Release of Debian has 200 KiB.
const SIGNED_BYTES_MAX: u64 = 16 << 20;
