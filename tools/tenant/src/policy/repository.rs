//! Package repositories on disk: which packages they bring, and by which chain of digests from a signature.
//!
//! Debian: InRelease (or Release and Release.gpg) → Packages → package. RPM: repomd.xml.asc → repomd.xml → primary.xml →
//! package. What a digest covers is read once and used only as it was hashed.

mod debian;
mod openpgp;
mod rpm;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use evidence::algorithm::HashAlgorithm;
use messages::UnixMillis;

pub(super) use openpgp::{SignatureRejected, TrustedKeys};

use super::{
    archive::{BUFFER_BYTES, Bounded, Found, Hashed, UnreadableArchive},
    compression::Compression,
};

/// How repositories are read.
#[derive(Debug)]
pub(super) struct Reading<'r> {
    /// Who must have signed; `None` if nobody has to.
    pub(super) keys: Option<&'r TrustedKeys>,
    /// When it is, for states that are valid for some time only; `None` if that does not matter.
    pub(super) now: Option<UnixMillis>,
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

/// The packages of a repository, each once.
#[derive(Debug, Default)]
pub(super) struct Packages(BTreeMap<PathBuf, FileDigest>);

impl Packages {
    /// Takes a package that `index` lists; one that was listed before has to be the same.
    fn insert(&mut self, index: &Path, package: ListedPackage) -> Result<(), RepositoryRejected> {
        let ListedPackage { path, digest } = package;
        match self.0.get(&path) {
            Some(known) if *known != digest => Err(RepositoryRejected::Duplicate {
                path: index.to_owned(),
                what: format!("{} with different digests", path.display()),
            }),
            _ => {
                self.0.insert(path, digest);
                Ok(())
            }
        }
    }

    /// None but these, of which there must be some: a policy of nothing is not what anybody wanted.
    fn not_empty(self, root: &Path) -> Result<Self, RepositoryRejected> {
        let expected = "package of the architectures that were asked for";
        if self.0.is_empty() { Err(RepositoryRejected::Missing { path: root.to_owned(), expected }) } else { Ok(self) }
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = ListedPackage> {
        self.0.into_iter().map(|(path, digest)| ListedPackage { path, digest })
    }
}

/// What a file must be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct FileDigest {
    algorithm: &'static str,
    hex: String,
    /// Bytes, where the index says.
    size: Option<u64>,
}

/// Why a repository is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepositoryRejected {
    /// A file is not what the index above it says.
    #[error("{} has {algorithm} {found}, its index states {expected}", path.display())]
    Digest { path: PathBuf, algorithm: &'static str, found: String, expected: String },
    /// The signature is good, but of a state of the repository that its owner does not stand by any more.
    #[error("{} was valid until {until}", path.display())]
    Expired { path: PathBuf, until: String },
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
    /// One name or member twice, with different contents.
    #[error("{} says {what} twice", path.display())]
    Duplicate { path: PathBuf, what: String },
    /// The signature is good, but of another suite.
    #[error("{} is the release file of {found}, not of {expected}", path.display())]
    OtherSuite { path: PathBuf, found: String, expected: String },
    /// The signature.
    #[error("the signature of {} does not count", path.display())]
    Signature { path: PathBuf, source: SignatureRejected },
    /// A file has not as many bytes as the index above it says.
    #[error("{} has {found} bytes, its index states {expected}", path.display())]
    Size { path: PathBuf, found: u64, expected: u64 },
    /// More than the limit.
    #[error("{} has more than {max} bytes", path.display())]
    TooLong { path: PathBuf, max: u64 },
}

/// The packages of a Debian repository.
pub(super) fn debian(root: &Path, reading: &Reading<'_>) -> Result<Packages, RepositoryRejected> {
    debian::packages(root, reading)?.not_empty(root)
}

/// The packages of an RPM repository.
pub(super) fn rpm(root: &Path, reading: &Reading<'_>) -> Result<Packages, RepositoryRejected> {
    rpm::packages(root, reading)?.not_empty(root)
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
    let hashed = Hashed::new(file, package.digest.message_digest())?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, hashed);
    let mut files = Vec::new();
    let outcome = read(&mut reader, algorithm, &mut |file| files.push(file));
    // To the end, so that the digest is of the whole file.
    io::copy(&mut reader, &mut io::sink()).map_err(UnreadableArchive::io(WHAT))?;
    let (digest, size) = reader.into_inner().finish()?;
    if let Some(expected) = package.digest.size.filter(|expected| *expected != size) {
        return Err(UnreadableArchive::ListedSize { found: size, expected });
    }
    if digest != package.digest.hex {
        return Err(UnreadableArchive::NotListed { algorithm: package.digest.algorithm });
    }
    outcome?;
    files.into_iter().for_each(found);
    Ok(())
}

impl FileDigest {
    /// A digest by its algorithm's name, as indexes write it. Nothing weaker than SHA-256 counts.
    fn new(algorithm: &str, hex: &str, size: Option<u64>) -> Option<Self> {
        let algorithm = [("sha256", 64), ("sha384", 96), ("sha512", 128)]
            .into_iter()
            .find(|(name, digits)| algorithm.eq_ignore_ascii_case(name) && hex.len() == *digits);
        let (algorithm, _) = algorithm.filter(|_| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        Some(Self { algorithm, hex: hex.to_ascii_lowercase(), size })
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
        let size = bytes.len() as u64;
        if let Some(expected) = self.size.filter(|expected| *expected != size) {
            return Err(RepositoryRejected::Size { path: path.to_owned(), found: size, expected });
        }
        let found = openssl::hash::hash(self.message_digest(), bytes).map_err(RepositoryRejected::Hash)?;
        let (found, expected) = (hex::encode(found), self.hex.clone());
        if found == expected {
            return Ok(());
        }
        Err(RepositoryRejected::Digest { path: path.to_owned(), algorithm: self.algorithm, found, expected })
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
        Some(compression) => {
            Box::new(BufReader::new(Bounded::new(compression.open_all(bytes).map_err(io)?, UNPACKED_INDEX_BYTES_MAX)))
        }
        None => Box::new(bytes),
    })
}

/// Largest index as it lies on disk: Debian's main/binary-amd64/Packages has 50 MiB, Fedora's primary.xml 200.
const INDEX_BYTES_MAX: u64 = 512 << 20;
/// What an index may unpack to; the same, for compressed or not it says no more.
const UNPACKED_INDEX_BYTES_MAX: u64 = INDEX_BYTES_MAX;
/// Largest file that a signature is over: a Release of Debian has 200 KiB.
const SIGNED_BYTES_MAX: u64 = 16 << 20;
