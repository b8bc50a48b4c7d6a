//! The segments of a log, for those who read entries.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError, RwLock};

use super::format::{CRC_BYTES, ESCAPE_BYTES, HEADER_BYTES, Mark, TRAILER_HEAD_BYTES, TrailerHead, name, parse_name};
use crate::folder::Folder;
use crate::store::Index;

/// Where an entry's frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Location {
    /// First index of the segment.
    pub(crate) segment: u64,
    /// Offset in its file.
    pub(crate) offset: u64,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Extent {
    pub(crate) start: Location,
    /// Offset behind it in the same file.
    pub(crate) end: u64,
}

/// Why entries were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("segment {segment} cannot be read at offset {offset}")]
    Io {
        /// First index of the segment.
        segment: u64,
        /// Where in its file.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// What is there is neither a frame nor a trailer: the file has changed since it was opened.
    #[error("segment {segment} is damaged before offset {offset}; run: attestry-ledger fsck")]
    Damaged {
        /// First index of the segment.
        segment: u64,
        /// Where in its file.
        offset: u64,
    },
    /// No segment holds the entry.
    #[error("entry {index} is in no segment")]
    Missing {
        /// Index of the entry.
        index: u64,
    },
}

/// Every segment, in order. What is visible here is durable.
#[derive(Debug)]
pub(crate) struct Segments {
    folder: Folder,
    files: RwLock<Vec<Arc<SegmentFile>>>,
    /// Knows the marks that are not in memory.
    index: Arc<Index>,
}

/// One segment that is read and perhaps still grows.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    grown: RwLock<Grown>,
    file: File,
    first: u64,
}

/// How much of a segment there is.
#[derive(Debug)]
struct Grown {
    /// Bytes.
    bytes: u64,
    /// Index after its last entry.
    end: u64,
    /// The latest ones; those before are in the index.
    marks: Vec<Mark>,
}

impl SegmentFile {
    /// A segment without entries.
    pub(crate) fn new(first: u64, file: File) -> Self {
        let marks = vec![Mark { index: first, offset: HEADER_BYTES }];
        Self { grown: RwLock::new(Grown { bytes: HEADER_BYTES, end: first, marks }), file, first }
    }

    /// A segment with all entries before `end`, whose marks are in the index.
    pub(crate) fn indexed(first: u64, file: File, bytes: u64, end: u64) -> Self {
        Self { grown: RwLock::new(Grown { bytes, end, marks: Vec::new() }), file, first }
    }

    /// Makes a batch visible that is durable now; `marks` have offsets in the file.
    pub(crate) fn grow(&self, bytes: u64, count: u64, marks: impl IntoIterator<Item = Mark>) {
        let mut grown = self.grown.write().unwrap_or_else(PoisonError::into_inner);
        grown.bytes += bytes;
        grown.end += count;
        grown.marks.extend(marks);
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.grown.read().unwrap_or_else(PoisonError::into_inner).bytes
    }

    pub(crate) fn end(&self) -> u64 {
        self.grown.read().unwrap_or_else(PoisonError::into_inner).end
    }

    /// The last mark at or before `index` that is in memory.
    fn mark(&self, index: u64) -> Option<Mark> {
        let grown = self.grown.read().unwrap_or_else(PoisonError::into_inner);
        let after = grown.marks.partition_point(|mark| mark.index <= index);
        after.checked_sub(1).and_then(|at| grown.marks.get(at).copied())
    }

    /// Lets go of marks that the index has.
    fn forget_marks(&self) {
        self.grown.write().unwrap_or_else(PoisonError::into_inner).marks = Vec::new();
    }
}

impl Segments {
    pub(crate) fn new(folder: Folder, files: Vec<Arc<SegmentFile>>, index: Arc<Index>) -> Self {
        Self { folder, files: RwLock::new(files), index }
    }

    /// First indices of the segments in `folder`, ascending, and the names that are none.
    pub(crate) fn list(folder: &Folder) -> io::Result<(Vec<u64>, Vec<String>)> {
        let mut firsts = Vec::new();
        let mut strangers = Vec::new();
        for found in folder.names()? {
            match parse_name(&found) {
                Some(first) => firsts.push(first),
                None => strangers.push(found),
            }
        }
        Ok((firsts, strangers))
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn last(&self) -> Option<Arc<SegmentFile>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    pub(crate) fn add(&self, file: Arc<SegmentFile>) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    /// First indices, ascending.
    pub(crate) fn firsts(&self) -> Vec<u64> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).iter().map(|file| file.first).collect()
    }

    /// Lets go of the segments before the one that begins with the entry `first`. Who reads one of
    /// them finishes.
    pub(crate) fn forget_before(&self, first: u64) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).retain(|file| file.first >= first);
    }

    /// The index has everything about the entries before `size`: finished segments keep no marks.
    pub(crate) fn indexed(&self, size: u64) {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let finished = files.iter().rev().skip(1).filter(|file| file.end() <= size);
        finished.take_while(|file| file.mark(u64::MAX).is_some()).for_each(|file| file.forget_marks());
    }

    /// The last mark at or before `index`, from memory or the index.
    fn mark(&self, file: &SegmentFile, index: u64) -> Mark {
        file.mark(index).unwrap_or_else(|| {
            let found = self.index.mark(index).unwrap_or_else(|error| {
                tracing::warn!(%error, "a place in the segments was not looked up; searching from the file's start");
                None
            });
            let found = found.filter(|(_, location)| location.segment == file.first);
            let start = Mark { index: file.first, offset: HEADER_BYTES };
            found.map_or(start, |(index, location)| Mark { index, offset: location.offset })
        })
    }

    /// Shows the entries from `start` on to `visit`, until it breaks or they end.
    pub(crate) fn read(&self, start: u64, visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>) -> Result<(), ReadError> {
        self.read_at(start, None, visit)
    }

    /// As [`Segments::read`], for a caller who knows where the entry `start` is.
    pub(crate) fn read_from(
        &self,
        start: u64,
        location: Location,
        visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.read_at(start, Some(location), visit)
    }

    fn read_at(
        &self,
        start: u64,
        location: Option<Location>,
        mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let files: Vec<Arc<SegmentFile>> = {
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            let after = files.partition_point(|file| file.first <= start);
            let at = after.checked_sub(1).ok_or(ReadError::Missing { index: start })?;
            files.iter().skip(at).cloned().collect()
        };
        let mut wanted = start;
        for (position, file) in files.iter().enumerate() {
            if wanted >= file.end() {
                break;
            }
            let known = location.filter(|known| position == 0 && known.segment == file.first);
            let mark = match known {
                Some(known) => Mark { index: start, offset: known.offset },
                None => self.mark(file, wanted),
            };
            wanted = match walk(file, mark, wanted, &mut visit)? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(next) => next,
            };
        }
        if wanted == start { Err(ReadError::Missing { index: start }) } else { Ok(()) }
    }

    /// One entry.
    pub(crate) fn entry(&self, index: u64) -> Result<Vec<u8>, ReadError> {
        let mut found = Vec::new();
        self.read(index, |_, entry| {
            found = entry.to_vec();
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

/// Walks frames from `mark` to the file's end, visiting entries from `wanted` on.
fn walk(
    file: &SegmentFile,
    mark: Mark,
    wanted: u64,
    visit: &mut impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<(), u64>, ReadError> {
    let end = file.end();
    let segment = file.first;
    let mut reader = BufReader::with_capacity(READ_BYTES, At { file: &file.file, offset: mark.offset });
    let mut entry = Vec::new();
    let mut index = mark.index;
    while index < end {
        // Nearly every frame lies whole in what was read ahead.
        if let Some(entry) = whole_frame(reader.buffer()) {
            let taken = ESCAPE_BYTES + entry.len();
            if index >= wanted && visit(index, entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            reader.consume(taken);
            index += 1;
            continue;
        }
        let mut length = [0; ESCAPE_BYTES];
        fill(&mut reader, segment, &mut length)?;
        let entry_bytes = usize::from(u16::from_be_bytes(length));
        if entry_bytes == 0 {
            let mut head = [0; TRAILER_HEAD_BYTES - ESCAPE_BYTES];
            fill(&mut reader, segment, &mut head)?;
            let offset = reader.get_ref().offset;
            let trailer = TrailerHead::parse(&head).ok_or(ReadError::Damaged { segment, offset })?;
            let skip = i64::from(trailer.answers_bytes) + CRC_BYTES as i64;
            reader.seek_relative(skip).map_err(|source| ReadError::Io { segment, offset, source })?;
            continue;
        }
        entry.resize(entry_bytes, 0);
        fill(&mut reader, segment, &mut entry)?;
        if index >= wanted && visit(index, &entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        index += 1;
    }
    Ok(ControlFlow::Continue(end))
}

/// The entry of the frame that `buffered` begins with, if all of it is there.
fn whole_frame(buffered: &[u8]) -> Option<&[u8]> {
    let (length, rest) = buffered.split_first_chunk()?;
    match u16::from_be_bytes(*length) {
        0 => None,
        length => rest.get(..usize::from(length)),
    }
}

fn fill(reader: &mut BufReader<At<'_>>, segment: u64, out: &mut [u8]) -> Result<(), ReadError> {
    reader.read_exact(out).map_err(|source| {
        let offset = reader.get_ref().offset;
        match source.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Damaged { segment, offset },
            _ => ReadError::Io { segment, offset, source },
        }
    })
}

/// A place in a file that others read and write at the same time.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl io::Seek for At<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let moved = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::Current(by) => self.offset.checked_add_signed(by),
            io::SeekFrom::End(_) => None,
        };
        self.offset = moved.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.offset)
    }
}

/// Read ahead: about a bundle of 256 entries of 400 bytes is walked to reach one.
const READ_BYTES: usize = 32 * 1024;

/// The path of a segment, for messages.
pub(super) fn path(folder: &Folder, first: u64) -> std::path::PathBuf {
    folder.file(&name(first))
}
