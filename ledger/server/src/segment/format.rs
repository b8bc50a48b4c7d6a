//! The bytes of a segment: its header, frames, and the trailer that ends each batch.

use crc32c::crc32c;
use ledger_protocol::Answered;
use messages::Digest;
use messages::cbor::{self, CborError};
use messages::ledger::IdempotencyKey;

/// The answer to one request of a batch, kept so that a repeated request gets it again.
pub(crate) type RememberedAnswer = (IdempotencyKey, Answered);

/// Where an entry's frame begins, for every 256th entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mark {
    pub(crate) index: u64,
    pub(crate) offset: u64,
}

/// Entries that become durable together.
#[derive(Debug)]
pub(crate) struct Batch {
    answers: Vec<RememberedAnswer>,
    count: u32,
    first: u64,
    frames: Vec<u8>,
    /// Offsets from the batch's start.
    marks: Vec<Mark>,
}

impl Batch {
    /// A batch that begins with the entry `first`, in a buffer that need not be made anew.
    pub(crate) fn new(first: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { answers: Vec::new(), count: 0, first, frames: buffer, marks: Vec::new() }
    }

    /// Where the next entries' frames are written, to be counted with [`Batch::count_in`].
    pub(crate) fn frames_mut(&mut self) -> &mut Vec<u8> {
        &mut self.frames
    }

    /// Counts entries whose frames were written; `bundles` are the places of those that begin one.
    pub(crate) fn count_in(&mut self, count: u32, bundles: &[(u64, usize)]) {
        self.marks.extend(bundles.iter().map(|(index, offset)| Mark { index: *index, offset: *offset as u64 }));
        self.count += count;
    }

    /// The buffer of a batch that is written, for another.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frames)
    }

    pub(crate) fn remember(&mut self, answer: RememberedAnswer) {
        self.answers.push(answer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the frames so far.
    pub(crate) fn frames_bytes(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The batch as it stands in the file; nothing can be added to it any more.
    ///
    /// ```text
    /// batch   = frame+ trailer
    /// frame   = u16 length (not 0) ‖ entry
    /// trailer = u16 0 ‖ "BTCH" ‖ u64 first index ‖ u32 count ‖ u32 bytes of the frames
    ///         ‖ u32 bytes of the answers ‖ answers (CBOR) ‖ u32 CRC32C of all before it in the batch
    /// ```
    pub(crate) fn seal(&mut self) -> &[u8] {
        let answers = cbor::encode(&self.answers);
        // Both fit 32 bits: frames are limited by what is sequenced before a batch is sealed, and
        // answers by the groups of its requests.
        let frames_bytes = u32::try_from(self.frames.len()).expect("invariant: a batch is below 4 GiB");
        let answers_bytes = u32::try_from(answers.len()).expect("invariant: answers are below 4 GiB");
        let bytes = &mut self.frames;
        bytes.reserve(TRAILER_HEAD_BYTES + answers.len() + CRC_BYTES);
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(TRAILER_MAGIC);
        bytes.extend_from_slice(&self.first.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(&frames_bytes.to_be_bytes());
        bytes.extend_from_slice(&answers_bytes.to_be_bytes());
        bytes.extend_from_slice(&answers);
        let crc = crc32c(bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }
}

/// The fixed part of a trailer after its escape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TrailerHead {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) frames_bytes: u32,
    pub(crate) answers_bytes: u32,
}

impl TrailerHead {
    /// Reads what follows the escape; `None` if it is no trailer.
    pub(crate) fn parse(bytes: &[u8; TRAILER_HEAD_BYTES - ESCAPE_BYTES]) -> Option<Self> {
        let rest = bytes.strip_prefix(TRAILER_MAGIC)?;
        let (first, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (frames_bytes, answers_bytes) = rest.split_first_chunk()?;
        Some(Self {
            first: u64::from_be_bytes(*first),
            count: u32::from_be_bytes(*count),
            frames_bytes: u32::from_be_bytes(*frames_bytes),
            answers_bytes: u32::from_be_bytes(answers_bytes.try_into().ok()?),
        })
    }
}

pub(crate) fn parse_answers(bytes: &[u8]) -> Result<Vec<RememberedAnswer>, CborError> {
    cbor::decode(bytes)
}

/// The first bytes of a segment file.
///
/// ```text
/// header = "ATTSEG" ‖ u16 version 1 ‖ u64 first index ‖ SHA-256 of the log's origin (32) ‖ 12 zero
///        ‖ u32 CRC32C of all before it
/// ```
pub(crate) fn header(first: u64, origin: &Digest) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LENGTH);
    bytes.extend_from_slice(HEADER_MAGIC);
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes.extend_from_slice(&first.to_be_bytes());
    bytes.extend_from_slice(origin.as_bytes());
    bytes.extend_from_slice(&[0; 12]);
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// The name of the segment that begins with the entry `first`.
pub(crate) fn name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The first index in a segment's name.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let first = digits.parse().ok()?;
    (self::name(first) == name).then_some(first)
}

const HEADER_MAGIC: &[u8] = b"ATTSEG";
const HEADER_LENGTH: usize = 6 + 2 + 8 + 32 + 12 + 4;
/// Where a segment's first frame begins.
pub(crate) const HEADER_BYTES: u64 = HEADER_LENGTH as u64;

/// A length of zero, which no entry has, announces a trailer.
pub(crate) const ESCAPE_BYTES: usize = 2;
pub(crate) const TRAILER_MAGIC: &[u8] = b"BTCH";
/// Escape, magic, first index, count and two lengths.
pub(crate) const TRAILER_HEAD_BYTES: usize = ESCAPE_BYTES + 4 + 8 + 4 + 4 + 4;
pub(crate) const CRC_BYTES: usize = 4;

/// A mark for every tile: the entries of one bundle are found without reading others.
pub(crate) const MARK_INTERVAL: u64 = 256;
