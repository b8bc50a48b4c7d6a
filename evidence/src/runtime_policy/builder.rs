//! Puts a policy together and compiles it.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use super::compiled::{self, Header, RuntimePolicy, split_path};
use super::rules::{RulesError, RulesText};

/// Which of a policy's lists an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `digests`: files by path.
    Files,
    /// `keyrings`: keys by the keyring they are loaded to.
    Keyrings,
    /// `ima-buf`: other buffers by name.
    Buffers,
}

impl Table {
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Files => 0,
            Self::Keyrings => 1,
            Self::Buffers => 2,
        }
    }

    pub(super) fn of_number(number: u32) -> Option<Self> {
        [Self::Files, Self::Keyrings, Self::Buffers].into_iter().find(|table| table.number() == number)
    }

    /// The member of Keylime's JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "digests",
            Self::Keyrings => "keyrings",
            Self::Buffers => "ima-buf",
        }
    }
}

/// A policy being put together.
#[derive(Clone, Debug, Default)]
pub struct PolicyBuilder {
    /// Paths, one behind the other.
    paths: Vec<u8>,
    /// Digests, each with its length in front.
    digests: Vec<u8>,
    /// One for each path and call.
    entries: Vec<Pending>,
    /// Up to here in `digests`, no path may come twice.
    single_until: u32,
    pub(super) rules: RulesText,
}

/// A path and some of its digests.
#[derive(Clone, Debug)]
struct Pending {
    hash: u64,
    table: Table,
    path: Range<u32>,
    digests: Range<u32>,
}

/// A text is no digest a policy can list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest {found:?} is not 40 to 128 hex digits, two for each byte, with or without their algorithm in front")]
pub struct InvalidDigest {
    /// The text, cut to its first 140 characters.
    pub found: String,
}

/// Why a policy cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A JSON policy lists a path twice.
    #[error("{table} lists {path:?} twice")]
    DoublePath {
        /// The member.
        table: &'static str,
        /// The path, cut.
        path: String,
    },
    /// The compiled form cannot be read back: a fault of ours.
    #[error("the compiled policy does not load")]
    Load {
        /// What the reader says.
        source: compiled::MalformedPolicy,
    },
    /// A path or its digests go beyond a limit.
    #[error("{what} of {path:?}: {found}, at most {max} are allowed")]
    PathLimit {
        /// What there is too much of.
        what: &'static str,
        /// The path, cut.
        path: String,
        /// How many bytes or digests.
        found: usize,
        /// The named limit.
        max: usize,
    },
    /// The rules are wrong.
    #[error("the policy's rules cannot be used")]
    Rules {
        /// Which and why.
        source: RulesError,
    },
    /// The policy is too big for the compiled form's 32-bit offsets.
    #[error("the policy has more than 4 GiB of {what}")]
    TooBig {
        /// What there is too much of.
        what: &'static str,
    },
}

impl PolicyBuilder {
    /// An empty policy: no file may run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows these digests, lower- or upper-case hex with or without `sha256:` in front, at `path`.
    ///
    /// # Errors
    /// [`InvalidDigest`] for the first text that is none; nothing was added then.
    pub fn allow<'a>(
        &mut self,
        table: Table,
        path: &[u8],
        digests: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), InvalidDigest> {
        let start = self.digests.len();
        for digest in digests {
            if let Err(error) = self.push_digest(digest) {
                self.digests.truncate(start);
                return Err(error);
            }
        }
        self.seal(table, path, start);
        Ok(())
    }

    /// Allows one digest's bytes, 20 to 64 of them, at `path`.
    ///
    /// # Errors
    /// [`InvalidDigest`] if there are fewer or more.
    pub fn allow_bytes(&mut self, table: Table, path: &[u8], digest: &[u8]) -> Result<(), InvalidDigest> {
        let start = self.digests.len();
        let length = u8::try_from(digest.len()).ok().filter(|length| DIGEST_BYTES.contains(length));
        let length = length.ok_or_else(|| InvalidDigest { found: format!("{} bytes", digest.len()) })?;
        self.digests.push(length);
        self.digests.extend_from_slice(digest);
        self.seal(table, path, start);
        Ok(())
    }

    /// Adds patterns of paths that are not judged. Whether they are valid shows when the policy is compiled.
    pub fn exclude(&mut self, patterns: impl IntoIterator<Item = String>) -> &mut Self {
        self.rules.excludes.extend(patterns);
        self
    }

    /// Paths added so far, a path added twice counted twice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no path was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Compiles the policy. The same content gives the same bytes, in whatever order it was added.
    ///
    /// # Errors
    /// [`CompileError`] naming the path or rule that cannot be compiled.
    pub fn compile(self) -> Result<RuntimePolicy, CompileError> {
        let bytes = self.into_bytes()?;
        RuntimePolicy::load(bytes).map_err(|source| match source {
            compiled::MalformedPolicy::Rules { source } => CompileError::Rules { source },
            source => CompileError::Load { source },
        })
    }

    /// Where the next digest will stand.
    pub(super) const fn digest_bytes(&self) -> usize {
        self.digests.len()
    }

    /// Adds a digest that belongs to the path that will be sealed.
    pub(super) fn push_digest(&mut self, digest: &str) -> Result<(), InvalidDigest> {
        let start = self.digests.len();
        if push_digest(digest, &mut self.digests).is_none() {
            self.digests.truncate(start);
            return Err(InvalidDigest { found: digest.chars().take(140).collect() });
        }
        Ok(())
    }

    /// Makes compiling fail if a path was added twice until now: JSON readers differ on which of two members counts.
    pub(super) fn refuse_doubles_so_far(&mut self) {
        self.single_until = u32::try_from(self.digests.len()).unwrap_or(u32::MAX);
    }

    /// Closes the digests from `start` on as those of `path`.
    pub(super) fn seal(&mut self, table: Table, path: &[u8], start: usize) {
        let path_start = self.paths.len();
        self.paths.extend_from_slice(path);
        // Offsets beyond 32 bits saturate; the total is checked when the policy is compiled.
        let offset = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        self.entries.push(Pending {
            hash: compiled::path_hash(path),
            table,
            path: offset(path_start)..offset(self.paths.len()),
            digests: offset(start)..offset(self.digests.len()),
        });
    }

    fn path(&self, entry: &Pending) -> &[u8] {
        slice(&self.paths, &entry.path)
    }

    fn into_bytes(mut self) -> Result<Vec<u8>, CompileError> {
        for (what, bytes) in [("paths", &self.paths), ("digests", &self.digests)] {
            if u32::try_from(bytes.len()).is_err() {
                return Err(CompileError::TooBig { what });
            }
        }
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| {
            (a.hash, a.table).cmp(&(b.hash, b.table)).then_with(|| self.path(a).cmp(self.path(b)))
        });
        let mut sections = Sections::default();
        let mut rest = entries.as_slice();
        while let Some(first) = rest.first() {
            let path = self.path(first);
            let same =
                rest.iter().take_while(|e| e.hash == first.hash && e.table == first.table && self.path(e) == path);
            let (group, behind) = rest.split_at(same.count());
            if group.iter().filter(|entry| entry.digests.start < self.single_until).count() > 1 {
                let (table, path) = (first.table.name(), String::from_utf8_lossy(path).chars().take(256).collect());
                return Err(CompileError::DoublePath { table, path });
            }
            let mut digests: Vec<&[u8]> =
                group.iter().flat_map(|entry| digests_in(slice(&self.digests, &entry.digests))).collect();
            digests.sort_unstable();
            digests.dedup();
            sections.push(first.hash, first.table, path, &digests)?;
            rest = behind;
        }
        sections.rules = serde_json::to_vec(&self.rules).unwrap_or_default();
        sections.finish()
    }
}

/// The compiled form's parts.
#[derive(Default)]
struct Sections {
    /// Each record's path hash, and where the record ends.
    ends: Vec<(u64, u32)>,
    records: Vec<u8>,
    directories: Vec<u8>,
    directory_numbers: HashMap<Vec<u8>, u32>,
    directory_count: u32,
    rules: Vec<u8>,
}

impl Sections {
    fn push(&mut self, hash: u64, table: Table, path: &[u8], digests: &[&[u8]]) -> Result<(), CompileError> {
        let limit = |what, found, max| CompileError::PathLimit {
            what,
            path: String::from_utf8_lossy(path).chars().take(256).collect(),
            found,
            max,
        };
        if path.len() > compiled::PATH_BYTES_MAX {
            return Err(limit("bytes", path.len(), compiled::PATH_BYTES_MAX));
        }
        let count = u16::try_from(digests.len());
        let count = count.map_err(|_| limit("digests", digests.len(), usize::from(u16::MAX)))?;
        let (directory, name) = split_path(path);
        let directory = self.directory(directory)?;
        let name_bytes = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.records.extend_from_slice(&((table.number() << compiled::TABLE_SHIFT) | directory).to_le_bytes());
        self.records.extend_from_slice(&name_bytes.to_le_bytes());
        self.records.extend_from_slice(&count.to_le_bytes());
        self.records.extend_from_slice(name);
        for digest in digests {
            self.records.push(u8::try_from(digest.len()).unwrap_or_default());
            self.records.extend_from_slice(digest);
        }
        let end = u32::try_from(self.records.len()).map_err(|_| CompileError::TooBig { what: "records" })?;
        self.ends.push((hash, end));
        Ok(())
    }

    /// The number of a directory, given in the order of first use.
    fn directory(&mut self, path: &[u8]) -> Result<u32, CompileError> {
        if let Some(number) = self.directory_numbers.get(path) {
            return Ok(*number);
        }
        let number = self.directory_count;
        if number >> compiled::TABLE_SHIFT != 0 {
            return Err(CompileError::TooBig { what: "directories" });
        }
        let length = u16::try_from(path.len()).unwrap_or(u16::MAX);
        self.directories.extend_from_slice(&length.to_le_bytes());
        self.directories.extend_from_slice(path);
        self.directory_numbers.insert(path.to_vec(), number);
        self.directory_count += 1;
        Ok(number)
    }

    fn finish(self) -> Result<Vec<u8>, CompileError> {
        let size = |what, count: usize| u32::try_from(count).map_err(|_| CompileError::TooBig { what });
        let header = Header {
            entries: size("paths", self.ends.len())?,
            directories: self.directory_count,
            directory_bytes: size("directories", self.directories.len())?,
            record_bytes: size("records", self.records.len())?,
            rules_bytes: size("rules", self.rules.len())?,
        };
        let mut bytes = header.encode();
        let bits = header.index_bits();
        let (mut ends, mut start) = (self.ends.iter().peekable(), 0_u32);
        for bucket in 0..(1_u64 << bits) {
            bytes.extend_from_slice(&start.to_le_bytes());
            while let Some((_, end)) = ends.next_if(|(hash, _)| compiled::bucket_of(*hash, bits) == bucket) {
                start = *end;
            }
        }
        bytes.extend_from_slice(&start.to_le_bytes());
        for section in [&self.records, &self.directories, &self.rules] {
            bytes.extend_from_slice(section);
        }
        Ok(bytes)
    }
}

fn slice<'a>(bytes: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    let at = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(at(range.start)..at(range.end)).unwrap_or_default()
}

/// Digests stored with their lengths in front.
fn digests_in(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let (digest, behind) = behind.split_at_checked(usize::from(*length))?;
        rest = behind;
        Some(digest)
    })
}

/// Appends a digest's length and bytes; nothing if the text is none, or not of the algorithm it names.
fn push_digest(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let hex = match text.split_once(':') {
        None => text,
        Some((algorithm, hex)) => {
            let algorithm: crate::algorithm::HashAlgorithm = algorithm.parse().ok()?;
            (hex.len() == 2 * algorithm.digest_bytes()).then_some(hex)?
        }
    };
    let (pairs, odd) = hex.as_bytes().as_chunks::<2>();
    let length = u8::try_from(pairs.len()).ok().filter(|length| odd.is_empty() && DIGEST_BYTES.contains(length))?;
    out.push(length);
    for [high, low] in pairs {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        out.push((digit(*high)? << 4) | digit(*low)?);
    }
    Some(())
}

/// SHA-1 to SHA-512. The kernel's digests have sizes in between, too (Tiger, RIPEMD-320), and Keylime takes all.
const DIGEST_BYTES: RangeInclusive<u8> = 20..=64;
