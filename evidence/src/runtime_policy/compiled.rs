//! The compiled form: tables read straight from the bytes.
//!
//! ```text
//! magic 8 | entries, directories, directory bytes, record bytes, rules bytes: u32 each
//! index        (2^bits + 1) u32: where the records of each bucket of path hashes start, and the last ones end
//! records      table 2 bits, directory 30 bits: u32 | name bytes u16 | digests u16 | name | (length u8, digest)…
//! directories  length u16, path up to and with the last slash
//! rules        JSON
//! ```
//!
//! A look-up touches the index once and the records of one bucket, one on average, which lie together with their
//! digests.
//!
//! All numbers are little endian. `docs/spec/runtime-policy.md` has the particulars.

use std::fmt;

use openssl::sha::Sha256;

use super::builder::Table;
use super::rules::{Rules, RulesError, RulesText};
use super::stack::FETCHED_MAX;

/// A policy's name: the SHA-256 of its compiled form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub [u8; 32]);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyId({self})")
    }
}

/// An immutable policy, shared by reference among all machines it holds for.
pub struct RuntimePolicy {
    id: PolicyId,
    bytes: Box<[u8]>,
    header: Header,
    sections: Offsets,
    /// Where each directory's length stands in its section.
    directories: Box<[u32]>,
    pub(super) rules: Rules,
}

impl RuntimePolicy {
    /// Reads a compiled policy. Its name is computed; who needs a certain policy compares [`id`](Self::id).
    ///
    /// # Errors
    /// [`MalformedPolicy`] if any table points outside of its section or a rule cannot be used.
    pub fn load(bytes: impl Into<Box<[u8]>>) -> Result<Self, MalformedPolicy> {
        let bytes: Box<[u8]> = bytes.into();
        let header = Header::decode(&bytes)?;
        let sections = header.offsets();
        if sections.end != bytes.len() {
            return Err(MalformedPolicy::Length { expected: sections.end, found: bytes.len() });
        }
        let rules = bytes.get(sections.rules..).unwrap_or_default();
        let text: RulesText = serde_json::from_slice(rules).map_err(|source| MalformedPolicy::Json { source })?;
        let rules = Rules::new(text).map_err(|source| MalformedPolicy::Rules { source })?;
        let mut hash = Sha256::new();
        hash.update(&bytes);
        let id = PolicyId(hash.finish());
        let directories = directory_offsets(&header, bytes.get(sections.directories..sections.rules))?;
        let policy = Self { id, bytes, header, sections, directories, rules };
        policy.check()?;
        Ok(policy)
    }

    /// The policy's name.
    #[must_use]
    pub const fn id(&self) -> PolicyId {
        self.id
    }

    /// The compiled form, to be stored under [`id`](Self::id).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Paths, keyrings and buffers it lists.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.header.entries as usize
    }

    /// Whether it lists nothing: then nothing may run but what an exclude hides or a key signed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.header.entries == 0
    }

    /// Bytes of memory it takes, without the compiled patterns.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + 4 * self.directories.len() + size_of::<Self>()
    }

    /// The patterns of paths that are not judged.
    #[must_use]
    pub fn excludes(&self) -> &[String] {
        &self.rules.text.excludes
    }

    /// Everything the policy lists: table, path, digests. In the order of the path's hashes.
    pub fn entries(&self) -> impl Iterator<Item = (Table, Vec<u8>, Allowed<'_>)> {
        records_in(self.records()).filter_map(|record| {
            let table = Table::of_number(record.table())?;
            let mut path = self.directory(record.directory())?.to_vec();
            path.extend_from_slice(record.name);
            Some((table, path, record.allowed))
        })
    }

    /// What is allowed at a path whose [`path_hash`] the caller has computed.
    pub(super) fn find(&self, table: Table, path: &[u8], hash: u64) -> Option<Allowed<'_>> {
        let bucket = self.bucket(hash)?;
        let (directory, name) = split_path(path);
        let record = records_in(bucket).find(|record| {
            record.name == name
                && record.table() == table.number()
                && self.directory(record.directory()) == Some(directory)
        })?;
        Some(record.allowed)
    }

    /// Reads the first and the last byte of each hash's bucket, for what reading does to the processor's caches.
    pub(super) fn fetch(&self, hashes: &[u64]) {
        let mut bounds = [(0, 0); FETCHED_MAX];
        // Two loops without a branch on what they read: none of the reads waits for another's outcome.
        for (bounds, hash) in bounds.iter_mut().zip(hashes) {
            *bounds = self.bounds(*hash).unwrap_or_default();
        }
        let records = self.records();
        let byte = |at: usize| records.get(at).copied().unwrap_or_default();
        let bounds = bounds.iter().take(hashes.len());
        std::hint::black_box(bounds.fold(0, |sum, (start, end)| sum ^ byte(*start) ^ byte(end.saturating_sub(1))));
    }

    /// The records of a hash's bucket.
    fn bucket(&self, hash: u64) -> Option<&[u8]> {
        let (start, end) = self.bounds(hash)?;
        self.records().get(start..end)
    }

    /// Where the records of a hash's bucket start and end.
    fn bounds(&self, hash: u64) -> Option<(usize, usize)> {
        let bucket = usize::try_from(bucket_of(hash, self.header.index_bits())).ok()?;
        let [start, end] = *self.index().get(bucket..)?.first_chunk::<2>()?;
        Some((u32::from_le_bytes(start) as usize, u32::from_le_bytes(end) as usize))
    }

    fn index(&self) -> &[[u8; 4]] {
        self.bytes.get(self.sections.index..self.sections.records).unwrap_or_default().as_chunks().0
    }

    fn records(&self) -> &[u8] {
        self.bytes.get(self.sections.records..self.sections.directories).unwrap_or_default()
    }

    fn directory(&self, number: u32) -> Option<&[u8]> {
        let at = *self.directories.get(number as usize)?;
        let section = self.bytes.get(self.sections.directories..self.sections.rules)?;
        let (length, rest) = section.get(at as usize..)?.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_le_bytes(*length)))
    }

    /// Checks once what every look-up relies on.
    fn check(&self) -> Result<(), MalformedPolicy> {
        let records = self.records();
        let mut starts = self.index().iter().map(|start| u32::from_le_bytes(*start) as usize);
        let mut start = starts.next().unwrap_or_default();
        if start != 0 {
            return Err(MalformedPolicy::Index);
        }
        let mut count = 0;
        for end in starts {
            let mut rest = records.get(start..end).ok_or(MalformedPolicy::Index)?;
            while !rest.is_empty() {
                let (record, behind) = Record::read(rest).ok_or(MalformedPolicy::Record { number: count })?;
                let directory_is_there = (record.directory() as usize) < self.directories.len();
                if !directory_is_there || Table::of_number(record.table()).is_none() {
                    return Err(MalformedPolicy::Record { number: count });
                }
                rest = behind;
                count += 1;
            }
            start = end;
        }
        let whole = start == records.len() && count == self.len();
        if whole { Ok(()) } else { Err(MalformedPolicy::Index) }
    }
}

impl fmt::Debug for RuntimePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimePolicy").field("id", &self.id).field("entries", &self.header.entries).finish()
    }
}

/// The digests a policy allows at one path.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    rest: &'a [u8],
    count: u16,
}

impl<'a> Iterator for Allowed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        let (length, behind) = self.rest.split_first()?;
        let (digest, behind) = behind.split_at_checked(usize::from(*length))?;
        self.rest = behind;
        Some(digest)
    }
}

/// Why bytes are no compiled policy.
#[derive(Debug, thiserror::Error)]
pub enum MalformedPolicy {
    /// A directory runs over the end of its section.
    #[error("directory {number} runs over the end of its section")]
    Directory {
        /// Which one, from 0.
        number: usize,
    },
    /// The index does not cover the records, or there are more or fewer than the header says.
    #[error("the index and the header do not cover the records")]
    Index,
    /// The rules are not the JSON they should be.
    #[error("the rules are not valid JSON")]
    Json {
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// The bytes are more or fewer than the header gives.
    #[error("{found} bytes, its header gives {expected}")]
    Length {
        /// Bytes by the header.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The bytes do not start as a compiled policy does.
    #[error("it does not start as a compiled runtime policy of version 1 does")]
    Magic,
    /// A record does not fit between its bucket's bounds, or names a directory or a table that is not there.
    #[error("record {number} is not whole, or names a directory or a table that is not there")]
    Record {
        /// Which one, from 0.
        number: usize,
    },
    /// A rule cannot be used.
    #[error("a rule of the policy cannot be used")]
    Rules {
        /// Which and why.
        source: RulesError,
    },
}

/// The counts and sizes at the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) entries: u32,
    pub(super) directories: u32,
    pub(super) directory_bytes: u32,
    pub(super) record_bytes: u32,
    pub(super) rules_bytes: u32,
}

/// Where each section starts.
#[derive(Clone, Copy, Debug)]
struct Offsets {
    index: usize,
    records: usize,
    directories: usize,
    rules: usize,
    end: usize,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let numbers = [self.entries, self.directories, self.directory_bytes, self.record_bytes, self.rules_bytes];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, MalformedPolicy> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(MalformedPolicy::Magic)?;
        let numbers = rest.first_chunk::<{ HEADER_BYTES - MAGIC.len() }>().ok_or(MalformedPolicy::Magic)?;
        let mut numbers = numbers.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number));
        let mut next = || numbers.next().unwrap_or_default();
        Ok(Self {
            entries: next(),
            directories: next(),
            directory_bytes: next(),
            record_bytes: next(),
            rules_bytes: next(),
        })
    }

    /// Bits of the path hash that choose a bucket: about one entry a bucket.
    pub(super) const fn index_bits(&self) -> u32 {
        let needed = u32::BITS - self.entries.leading_zeros();
        if needed < INDEX_BITS_MAX { needed } else { INDEX_BITS_MAX }
    }

    const fn offsets(&self) -> Offsets {
        let index = HEADER_BYTES;
        let records = index + 4 * ((1 << self.index_bits()) + 1);
        let directories = records + self.record_bytes as usize;
        let rules = directories + self.directory_bytes as usize;
        Offsets { index, records, directories, rules, end: rules + self.rules_bytes as usize }
    }
}

/// One path and what is allowed there.
struct Record<'a> {
    table_and_directory: u32,
    name: &'a [u8],
    allowed: Allowed<'a>,
}

impl<'a> Record<'a> {
    /// The record `bytes` start with, and what follows it.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([a, b, c, d, e, f, g, h], rest) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>()?;
        let name_bytes = u16::from_le_bytes([*e, *f]);
        let (name, mut rest) = rest.split_at_checked(usize::from(name_bytes))?;
        let allowed = Allowed { rest, count: u16::from_le_bytes([*g, *h]) };
        for _ in 0..allowed.count {
            let (length, behind) = rest.split_first()?;
            rest = behind.get(usize::from(*length)..)?;
        }
        Some((Self { table_and_directory: u32::from_le_bytes([*a, *b, *c, *d]), name, allowed }, rest))
    }

    const fn table(&self) -> u32 {
        self.table_and_directory >> TABLE_SHIFT
    }

    const fn directory(&self) -> u32 {
        self.table_and_directory & ((1 << TABLE_SHIFT) - 1)
    }
}

/// Records one behind the other.
fn records_in(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (record, behind) = Record::read(rest)?;
        rest = behind;
        Some(record)
    })
}

fn directory_offsets(header: &Header, section: Option<&[u8]>) -> Result<Box<[u32]>, MalformedPolicy> {
    let section = section.unwrap_or_default();
    let mut offsets = Vec::new();
    let mut at = 0_usize;
    while let Some((length, rest)) = section.get(at..).unwrap_or_default().split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length));
        offsets.push(u32::try_from(at).unwrap_or(u32::MAX));
        if length > rest.len() {
            return Err(MalformedPolicy::Directory { number: offsets.len() - 1 });
        }
        at += 2 + length;
    }
    if at != section.len() || offsets.len() != header.directories as usize {
        return Err(MalformedPolicy::Index);
    }
    Ok(offsets.into())
}

/// A path up to and with its last slash, and the rest.
pub(super) fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1))
}

/// Where to look for a path. Fast rather than strong: the path itself is compared afterwards.
pub(super) fn path_hash(path: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(MULTIPLIER | 1);
        #[expect(clippy::cast_possible_truncation, reason = "the halves of the product are folded together")]
        let folded = (product as u64) ^ ((product >> 64) as u64);
        folded
    };
    let (words, tail) = path.as_chunks::<8>();
    let hash = words.iter().fold(path.len() as u64 ^ MULTIPLIER, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    mix(mix(hash, u64::from_le_bytes(last)), MULTIPLIER.rotate_left(32))
}

/// The bucket of a hash in an index of 2^`bits`.
pub(super) const fn bucket_of(hash: u64, bits: u32) -> u64 {
    if bits == 0 { 0 } else { hash >> (u64::BITS - bits) }
}

/// The format's name and version.
const MAGIC: &[u8] = b"ATRPOL1\n";
const HEADER_BYTES: usize = 28;
/// What stands in front of a record's name.
const RECORD_HEADER_BYTES: usize = 8;
/// Two bits tell the table.
pub(super) const TABLE_SHIFT: u32 = 30;
/// A million buckets; more entries share them.
const INDEX_BITS_MAX: u32 = 20;
/// `PATH_MAX`.
pub(super) const PATH_BYTES_MAX: usize = 4096;
