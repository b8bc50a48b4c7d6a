//! Reads a segment from its start, batch by batch, believing nothing.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crc32c::crc32c_append;
use messages::cbor::CborError;

use super::format::{
    CRC_BYTES, ESCAPE_BYTES, HEADER_BYTES, RememberedAnswer, TRAILER_HEAD_BYTES, TRAILER_MAGIC, TrailerHead,
    parse_answers,
};

/// A batch that is whole and has its checksum.
#[derive(Debug)]
pub(crate) struct ScannedBatch {
    pub(crate) answers: Vec<RememberedAnswer>,
    /// Index of the first entry.
    pub(crate) first: u64,
    /// The frames, without the trailer.
    pub(crate) frames: Vec<u8>,
    /// Where the batch begins in the file.
    pub(crate) offset: u64,
}

impl ScannedBatch {
    /// Each entry with the place of its frame in the file.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.frames.as_slice();
        std::iter::from_fn(move || {
            let offset = self.offset + (self.frames.len() - rest.len()) as u64;
            let (entry, after) = ledger_tlog::bundle::split_entry(rest).ok()?;
            rest = after;
            Some((offset, entry))
        })
    }
}

/// What is wrong with a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchFlaw {
    /// The remembered answers are not what they should be.
    #[error("the answers in the batch's trailer are malformed")]
    Answers(#[source] CborError),
    /// The bytes are not those that were written.
    #[error("the batch's checksum is {found:08x}; expected {expected:08x}")]
    Checksum {
        /// The checksum in the file.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// The trailer counts otherwise.
    #[error("the batch has {found} entries in {found_bytes} bytes; its trailer says {expected} in {expected_bytes}")]
    Count {
        /// Entries by the trailer.
        expected: u64,
        /// Bytes by the trailer.
        expected_bytes: u64,
        /// Frames found.
        found: u64,
        /// Bytes found.
        found_bytes: u64,
    },
    /// The batch does not continue the one before.
    #[error("the batch begins with entry {found}; expected {expected}")]
    First {
        /// The next index.
        expected: u64,
        /// The index in the trailer.
        found: u64,
    },
    /// The header is not that of this log's segment of this name.
    #[error("the segment's header is not that of this log's segment beginning with entry {first}")]
    Header {
        /// First index by the file's name.
        first: u64,
    },
    /// The file could not be read.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    /// Zeros follow the last batch of a file that is not the last.
    #[error("{bytes} zeros follow the file's last batch; only the log's last file may have some")]
    Slack {
        /// How many.
        bytes: u64,
    },
    /// No batch is that long.
    #[error("the batch is longer than {BATCH_BYTES_MAX} bytes")]
    TooLong,
    /// What follows a length of zero is no trailer.
    #[error("a length of zero is not followed by a trailer")]
    Trailer,
    /// The file ends inside the batch.
    #[error("the file ends inside a batch")]
    Truncated,
}

/// Reads the batches of one segment file.
pub(crate) struct BatchReader {
    expected: u64,
    file: BufReader<File>,
    offset: u64,
    slack: u64,
}

impl BatchReader {
    /// Opens the segment that begins with the entry `first`; its first bytes must be `header`.
    pub(crate) fn open(path: &Path, first: u64, header: &[u8]) -> Result<Self, BatchFlaw> {
        let file = File::open(path).map_err(BatchFlaw::Io)?;
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        let mut found = vec![0; header.len()];
        let read = file.read_exact(&mut found);
        if read.is_err() || found != header {
            return Err(BatchFlaw::Header { first });
        }
        Ok(Self { expected: first, file, offset: HEADER_BYTES, slack: 0 })
    }

    /// Goes on behind `offset`, where the batch with the entry `index` begins.
    pub(crate) fn skip_to(&mut self, index: u64, offset: u64) -> Result<(), BatchFlaw> {
        self.file.seek(SeekFrom::Start(offset)).map_err(BatchFlaw::Io)?;
        (self.expected, self.offset) = (index, offset);
        Ok(())
    }

    /// Where the next batch begins, or the one that is flawed.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Index of the next batch's first entry.
    pub(crate) fn next_index(&self) -> u64 {
        self.expected
    }

    /// Zeros behind the last batch, once [`BatchReader::next`] has found the end: written ahead of
    /// batches that never came.
    pub(crate) fn slack(&self) -> u64 {
        self.slack
    }

    /// That the file ends with a batch and nothing else, as every file but the last must.
    pub(crate) fn expect_no_slack(&self) -> Result<(), BatchFlaw> {
        if self.slack == 0 { Ok(()) } else { Err(BatchFlaw::Slack { bytes: self.slack }) }
    }

    /// The next batch; `None` where the file ends with a batch, or with zeros behind one.
    pub(crate) fn next(&mut self) -> Result<Option<ScannedBatch>, BatchFlaw> {
        let mut frames = Vec::new();
        let mut count = 0u64;
        loop {
            let mut length = [0; ESCAPE_BYTES];
            if frames.is_empty() && self.file.fill_buf_is_empty()? {
                return Ok(None);
            }
            self.fill(&mut length)?;
            let entry_bytes = usize::from(u16::from_be_bytes(length));
            if entry_bytes == 0 && frames.is_empty() {
                self.slack = self.zeros()? + ESCAPE_BYTES as u64;
                return Ok(None);
            }
            if entry_bytes == 0 {
                return self.finish(frames, count).map(Some);
            }
            let start = frames.len() + ESCAPE_BYTES;
            if start + entry_bytes > BATCH_BYTES_MAX {
                return Err(BatchFlaw::TooLong);
            }
            frames.extend_from_slice(&length);
            frames.resize(start + entry_bytes, 0);
            if let Some(entry) = frames.get_mut(start..) {
                fill(&mut self.file, entry)?;
            }
            count += 1;
        }
    }

    /// How many zeros are left; a flaw if anything else is.
    fn zeros(&mut self) -> Result<u64, BatchFlaw> {
        let mut found = 0;
        loop {
            let rest = io::BufRead::fill_buf(&mut self.file).map_err(BatchFlaw::Io)?;
            if rest.is_empty() {
                return Ok(found);
            }
            if rest.iter().any(|byte| *byte != 0) {
                return Err(BatchFlaw::Trailer);
            }
            let length = rest.len();
            found += length as u64;
            io::BufRead::consume(&mut self.file, length);
        }
    }

    fn finish(&mut self, frames: Vec<u8>, count: u64) -> Result<ScannedBatch, BatchFlaw> {
        let mut head = [0; TRAILER_HEAD_BYTES - ESCAPE_BYTES];
        self.fill(&mut head)?;
        let trailer = TrailerHead::parse(&head).ok_or(BatchFlaw::Trailer)?;
        let answers_bytes = usize::try_from(trailer.answers_bytes).map_err(|_| BatchFlaw::TooLong)?;
        if answers_bytes > BATCH_BYTES_MAX {
            return Err(BatchFlaw::TooLong);
        }
        let mut answers = vec![0; answers_bytes];
        self.fill(&mut answers)?;
        let mut crc = [0; CRC_BYTES];
        self.fill(&mut crc)?;
        let expected = u32::from_be_bytes(crc);
        let parts = [frames.as_slice(), &[0; ESCAPE_BYTES], &head, &answers];
        let found = parts.into_iter().fold(0, crc32c_append);
        if found != expected {
            return Err(BatchFlaw::Checksum { expected, found });
        }
        if trailer.first != self.expected {
            return Err(BatchFlaw::First { expected: self.expected, found: trailer.first });
        }
        let (expected, expected_bytes) = (trailer.count.into(), trailer.frames_bytes.into());
        let found_bytes = frames.len() as u64;
        if (expected, expected_bytes) != (count, found_bytes) || count == 0 {
            return Err(BatchFlaw::Count { expected, expected_bytes, found: count, found_bytes });
        }
        let answers = parse_answers(&answers).map_err(BatchFlaw::Answers)?;
        let batch = ScannedBatch { answers, first: self.expected, frames, offset: self.offset };
        self.expected += count;
        self.offset += found_bytes + (TRAILER_HEAD_BYTES + answers_bytes + CRC_BYTES) as u64;
        Ok(batch)
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), BatchFlaw> {
        fill(&mut self.file, out)
    }
}

trait AtEnd {
    fn fill_buf_is_empty(&mut self) -> Result<bool, BatchFlaw>;
}

impl AtEnd for BufReader<File> {
    fn fill_buf_is_empty(&mut self) -> Result<bool, BatchFlaw> {
        io::BufRead::fill_buf(self).map(<[u8]>::is_empty).map_err(BatchFlaw::Io)
    }
}

fn fill(file: &mut BufReader<File>, out: &mut [u8]) -> Result<(), BatchFlaw> {
    file.read_exact(out).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => BatchFlaw::Truncated,
        _ => BatchFlaw::Io(error),
    })
}

/// Whether a whole batch with its checksum lies anywhere after the first byte of `tail`.
///
/// One write is on its way at a time. So behind a batch that was never finished there is nothing,
/// and a whole batch behind a flawed one shows that the flawed one was damaged later.
pub(super) fn is_complete_batch_after(tail: &[u8]) -> bool {
    let mut from = 0;
    while let Some(found) = tail.get(from..).and_then(|rest| find(rest, TRAILER_MAGIC)) {
        let magic = from + found;
        from = magic + 1;
        if is_complete_batch(tail, magic) {
            return true;
        }
    }
    false
}

/// The bytes of the log's last file from the flawed batch at `offset` on, if they are what a crash leaves
/// of a batch that was never acknowledged; `None` if the file was damaged.
///
/// A crash leaves any part of the last write, over zeros also with holes in it. So it neither leaves a
/// whole batch behind the flawed one, nor a batch whose checksum is right and whose content is not.
pub(crate) fn torn_tail(path: &Path, offset: u64, flaw: &BatchFlaw) -> io::Result<Option<Vec<u8>>> {
    match flaw {
        BatchFlaw::Checksum { .. } | BatchFlaw::TooLong | BatchFlaw::Trailer | BatchFlaw::Truncated => {}
        BatchFlaw::Answers(_)
        | BatchFlaw::Count { .. }
        | BatchFlaw::First { .. }
        | BatchFlaw::Header { .. }
        | BatchFlaw::Io(_)
        | BatchFlaw::Slack { .. } => return Ok(None),
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok((!is_complete_batch_after(&tail)).then_some(tail))
}

/// Whether the trailer magic at `magic` ends a whole batch that does not begin where `tail` does.
fn is_complete_batch(tail: &[u8], magic: usize) -> bool {
    let head = tail.get(magic..).and_then(<[u8]>::first_chunk).and_then(TrailerHead::parse);
    let Some(head) = head else {
        return false;
    };
    let (Ok(frames), Ok(answers)) = (usize::try_from(head.frames_bytes), usize::try_from(head.answers_bytes)) else {
        return false;
    };
    let Some(start) = magic.checked_sub(ESCAPE_BYTES + frames).filter(|start| *start > 0) else {
        return false;
    };
    let end = magic - ESCAPE_BYTES + TRAILER_HEAD_BYTES + answers;
    let stated = tail.get(end..).and_then(<[u8]>::first_chunk).map(|crc| u32::from_be_bytes(*crc));
    tail.get(start..end).is_some_and(|batch| stated == Some(crc32c::crc32c(batch)))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Far above what is ever sealed: 4 MiB, and one request of 8 MiB on top of it.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Read from the disk at once: enough that a spinning disk streams.
const READ_BYTES: usize = 1 << 20;
