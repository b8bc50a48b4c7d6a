//! Appends batches to the last segment.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;

use messages::Digest;

use super::format::{Batch, HEADER_BYTES, Mark, header, name};
use super::store::{Extent, Location, SegmentFile, Segments, path};
use crate::disk;

/// The only one who writes segments.
#[derive(Debug)]
pub(crate) struct Writer {
    current: Option<Current>,
    origin: Digest,
    segment_bytes_max: u64,
    segments: Arc<Segments>,
}

/// The segment that is written.
#[derive(Debug)]
struct Current {
    file: File,
    /// Bytes of the file: batches, and zeros written ahead of them.
    length: u64,
    shared: Arc<SegmentFile>,
    /// Whether there was room for zeros so far.
    zeros_fit: bool,
}

impl Writer {
    /// Continues the last segment, if there is one. It ends where its last batch does.
    pub(crate) fn new(segments: Arc<Segments>, origin: Digest, segment_bytes_max: u64) -> io::Result<Self> {
        let current = match segments.last() {
            Some(shared) => {
                let file = disk::open(&path(segments.folder(), shared.first()), OpenOptions::new().write(true))?;
                Some(Current { file, length: shared.bytes(), shared, zeros_fit: true })
            }
            None => None,
        };
        Ok(Self { current, origin, segment_bytes_max, segments })
    }

    /// Makes a batch durable and visible; tells where it begins and ends.
    ///
    /// A small batch goes over zeros that were made durable before: its sync then moves nothing but
    /// its own bytes, while a file that grows needs the file system's journal each time.
    ///
    /// After an error nothing is known about what the disk holds, and nothing more may be
    /// written by this process: the page cache may claim what the disk does not have.
    pub(crate) fn append(&mut self, batch: &mut Batch) -> io::Result<Extent> {
        let mut current = match self.current.take() {
            Some(current) if current.shared.bytes() < self.segment_bytes_max => current,
            Some(_) | None => self.create(batch.first())?,
        };
        let offset = current.shared.bytes();
        let path = path(self.segments.folder(), current.shared.first());
        let bytes = batch.seal();
        let end = offset + bytes.len() as u64;
        disk::write_at(&current.file, &path, bytes, offset)?;
        if end > current.length {
            current.length = end;
            if bytes.len() <= SMALL_BATCH_BYTES {
                current.write_ahead(&path, self.segment_bytes_max)?;
            }
        }
        disk::sync(&current.file, &path)?;
        let marks = batch.marks().iter().map(|mark| Mark { offset: offset + mark.offset, ..*mark });
        current.shared.grow(end - offset, batch.count().into(), marks);
        let segment = current.shared.first();
        self.current = Some(current);
        Ok(Extent { start: Location { segment, offset }, end })
    }

    /// Cuts off the zeros that nothing was written over. Without it the next start does that.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.current {
            Some(Current { file, length, shared, .. }) if length > shared.bytes() => {
                let path = path(self.segments.folder(), shared.first());
                disk::set_len(&file, &path, shared.bytes())?;
                disk::sync(&file, &path)
            }
            _ => Ok(()),
        }
    }

    /// Begins a segment. It has its header before it has its name.
    fn create(&self, first: u64) -> io::Result<Current> {
        let folder = self.segments.folder();
        folder.keep(&name(first), &header(first, &self.origin))?;
        let path = path(folder, first);
        let file = disk::open(&path, OpenOptions::new().write(true))?;
        let shared = Arc::new(SegmentFile::new(first, File::open(&path)?));
        self.segments.add(Arc::clone(&shared));
        Ok(Current { file, length: HEADER_BYTES, shared, zeros_fit: true })
    }
}

impl Current {
    /// Writes zeros behind the last batch, to be made durable with it; never past `length_max`, the size
    /// at which the next segment begins: a finished segment ends where its last batch does.
    ///
    /// They are a convenience. Where there is no room for them the batch does without, and so do those
    /// after it in this file; and what they took of the room that was left is given back to whatever
    /// needs it. That the batch itself is on the disk is for its sync to say, as ever.
    fn write_ahead(&mut self, path: &Path, length_max: u64) -> io::Result<()> {
        let room = usize::try_from(length_max.saturating_sub(self.length)).unwrap_or(usize::MAX);
        let zeros = ZEROS.get(..room).unwrap_or(&ZEROS);
        let is_full = || disk::bytes_left(&self.file).map_or(true, |left| left < LEFT_BYTES_LEAST);
        if zeros.is_empty() || !self.zeros_fit || is_full() {
            return Ok(());
        }
        match disk::write_at(&self.file, path, zeros, self.length) {
            Ok(()) => self.length += zeros.len() as u64,
            Err(error) if is_lack_of_room(&error) => {
                tracing::warn!(%error, path = %path.display(), "no room for zeros ahead of batches; each batch makes the file grow");
                self.zeros_fit = false;
                disk::set_len(&self.file, path, self.length)?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether a write failed for what it would have taken, and not for what is wrong with the disk.
fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull)
}

/// Batches up to this size have zeros written ahead of them: larger ones are worth a journal's
/// commit each, and would only be written twice.
const SMALL_BATCH_BYTES: usize = 128 * 1024;

/// What is written ahead: some forty batches of 64 entries of 400 bytes, so that one sync in forty
/// makes the file grow.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// What a disk must have left for zeros to be written: a full disk shall not be full of zeros while the
/// lock, the checkpoints and the hashes that go with some forty batches find no room.
const LEFT_BYTES_LEAST: u64 = 64 * ZEROS.len() as u64;
