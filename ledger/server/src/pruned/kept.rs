//! Small entries that stay readable when the segments around them are pruned: who was enrolled,
//! under which policies, which keys were released and what operators did.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use ledger_protocol::{Entry, Kind};
use messages::Digest;
use openssl::sha::sha256;

use super::PrunedError;

/// The kept entries of a log, in a file.
#[derive(Debug)]
pub(crate) struct KeptEntries {
    file: File,
    /// Index, offset and length of each, ascending by index.
    places: Vec<(u64, u64, u16)>,
}

/// Whether an entry is kept: quotes and verdicts are nearly all of a log, and what else comes
/// with every period says nothing that its successors do not say.
pub(crate) fn is_kept(entry: &Entry) -> bool {
    match entry.kind {
        Kind::Census
        | Kind::Checkpoint
        | Kind::Miss
        | Kind::Quote
        | Kind::ServiceStart
        | Kind::Timestamp
        | Kind::Unknown(_)
        | Kind::Verdict => false,
        Kind::Enrol
        | Kind::Genesis
        | Kind::KeyRelease
        | Kind::Maintenance
        | Kind::OperatorAction
        | Kind::Policy
        | Kind::Retire
        | Kind::Revocation => true,
    }
}

impl KeptEntries {
    /// Opens a file whose SHA-256 is `digest`.
    pub(super) fn open(path: PathBuf, digest: &Digest) -> Result<Self, PrunedError> {
        let opened = std::fs::read(&path).and_then(|bytes| Ok((bytes, File::open(&path)?)));
        let (bytes, file) = opened.map_err(|source| PrunedError::Io { path: path.clone(), source })?;
        if Digest(sha256(&bytes)) != *digest {
            return Err(PrunedError::Damaged { path });
        }
        let places = places(&bytes).ok_or(PrunedError::Damaged { path })?;
        Ok(Self { file, places })
    }

    /// The file's bytes for entries in the order of their indices.
    ///
    /// ```text
    /// file = (u64 index ‖ u16 length ‖ entry)*
    /// ```
    pub(crate) fn encode<'a>(entries: impl IntoIterator<Item = (u64, &'a [u8])>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, entry) in entries {
            bytes.extend_from_slice(&index.to_be_bytes());
            // Fits: an entry has at most 65,535 bytes.
            bytes.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        bytes
    }

    /// An entry, if it is kept.
    pub(crate) fn entry(&self, index: u64) -> io::Result<Option<Vec<u8>>> {
        match self.places.binary_search_by_key(&index, |(index, ..)| *index) {
            Ok(at) => self.places.get(at).map(|place| self.read(place)).transpose(),
            Err(_) => Ok(None),
        }
    }

    /// The entries from `index` on.
    pub(crate) fn from(&self, index: u64) -> impl Iterator<Item = io::Result<(u64, Vec<u8>)>> {
        let at = self.places.partition_point(|(found, ..)| *found < index);
        self.places.iter().skip(at).map(|place| Ok((place.0, self.read(place)?)))
    }

    fn read(&self, (_, offset, length): &(u64, u64, u16)) -> io::Result<Vec<u8>> {
        let mut entry = vec![0; usize::from(*length)];
        self.file.read_exact_at(&mut entry, *offset)?;
        Ok(entry)
    }
}

fn places(bytes: &[u8]) -> Option<Vec<(u64, u64, u16)>> {
    let mut places: Vec<(u64, u64, u16)> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (index, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (index, length) = (u64::from_be_bytes(*index), u16::from_be_bytes(*length));
        let offset = (bytes.len() - after.len()) as u64;
        if places.last().is_some_and(|(last, ..)| *last >= index) {
            return None;
        }
        places.push((index, offset, length));
        rest = after.get(usize::from(length)..)?;
    }
    Some(places)
}
