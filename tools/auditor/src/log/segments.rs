//! The entries in a ledger's segment files: `docs/spec/segment.md`.
//!
//! Checksums are not looked at: whoever reads recomputes the root that was signed.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::LogUnreadable;

/// What is wrong with a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentFlaw {
    /// The file ends too early, or cannot be read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// What follows a length of zero is no trailer.
    #[error("a length of zero is not followed by a trailer")]
    Trailer,
}

/// The segments of a log by their first index, and where some entries begin in them.
#[derive(Debug)]
pub(super) struct Segments {
    files: Vec<(u64, PathBuf)>,
    marks: Mutex<Vec<Mark>>,
}

/// Where the frame of an entry begins.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    file: usize,
    offset: u64,
}

/// Every so many entries one's place is remembered: 24 bytes for 1,024 entries, 240 KB for ten millions.
const MARK_ENTRIES: u64 = 1_024;
const HEADER_BYTES: u64 = 64;
/// `"BTCH"`, u64, three u32.
const TRAILER_BYTES: usize = 4 + 8 + 3 * 4;
const CRC_BYTES: i64 = 4;

impl Segments {
    pub(super) fn list(folder: &Path) -> Result<Self, LogUnreadable> {
        let failed = |source| LogUnreadable::Io { path: folder.to_owned(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "seg")
                && let Ok(first) = stem.parse()
            {
                files.push((first, path));
            }
        }
        files.sort_unstable();
        Ok(Self { files, marks: Mutex::new(Vec::new()) })
    }

    /// As [`super::Log::read`].
    pub(super) fn read(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogUnreadable> {
        let mut next = self.place(from);
        for (number, (first, path)) in self.files.iter().enumerate().skip(next.file) {
            if next.index >= to {
                return Ok(());
            }
            if number > next.file {
                if *first != next.index {
                    break;
                }
                next = Mark { index: *first, file: number, offset: HEADER_BYTES };
            }
            let mut offset = next.offset;
            let done = read_file(path, &mut next.index, &mut offset, |index, begins, entry| {
                if index.is_multiple_of(MARK_ENTRIES) {
                    self.mark(Mark { index, file: number, offset: begins });
                }
                match index {
                    _ if index >= to => ControlFlow::Break(()),
                    _ if index >= from => visit(index, entry),
                    _ => ControlFlow::Continue(()),
                }
            });
            let done = done.map_err(|source| LogUnreadable::Segment { path: path.clone(), offset, source })?;
            if done.is_break() {
                return Ok(());
            }
        }
        if next.index < to { Err(LogUnreadable::Missing { what: format!("entry {}", next.index) }) } else { Ok(()) }
    }

    /// The last known place at or before an entry.
    fn place(&self, index: u64) -> Mark {
        let file = self.files.partition_point(|(first, _)| *first <= index).saturating_sub(1);
        let first = self.files.get(file).map_or(0, |(first, _)| *first);
        let begin = Mark { index: first, file, offset: HEADER_BYTES };
        let marks = self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = marks.partition_point(|mark| mark.index <= index);
        let known = at.checked_sub(1).and_then(|at| marks.get(at)).copied();
        known.filter(|mark| mark.index >= first).unwrap_or(begin)
    }

    fn mark(&self, mark: Mark) {
        let mut marks = self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(at) = marks.binary_search_by_key(&mark.index, |known| known.index) {
            marks.insert(at, mark);
        }
    }
}

/// Reads frames from `offset` on, where entry `next` begins; tells where each frame begins.
fn read_file(
    path: &Path,
    next: &mut u64,
    offset: &mut u64,
    mut visit: impl FnMut(u64, u64, &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, SegmentFlaw> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(SegmentFlaw::Io)?);
    file.seek(SeekFrom::Start(*offset)).map_err(SegmentFlaw::Io)?;
    let mut entry = Vec::new();
    loop {
        let mut length = [0; 2];
        match file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(ControlFlow::Continue(())),
            read => read.map_err(SegmentFlaw::Io)?,
        }
        let bytes = u16::from_be_bytes(length);
        if bytes > 0 {
            entry.resize(usize::from(bytes), 0);
            file.read_exact(&mut entry).map_err(SegmentFlaw::Io)?;
            if visit(*next, *offset, &entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            *next += 1;
            *offset += 2 + u64::from(bytes);
            continue;
        }
        let mut trailer = [0; TRAILER_BYTES];
        // Zeros behind the last batch end the file.
        if file.read_exact(&mut trailer).is_err() || trailer == [0; TRAILER_BYTES] {
            return Ok(ControlFlow::Continue(()));
        }
        let answers = match trailer {
            [b'B', b'T', b'C', b'H', .., a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            _ => return Err(SegmentFlaw::Trailer),
        };
        file.seek_relative(i64::from(answers) + CRC_BYTES).map_err(SegmentFlaw::Io)?;
        *offset += 2 + TRAILER_BYTES as u64 + u64::from(answers) + CRC_BYTES.unsigned_abs();
    }
}
