//! Appends batches to the last segment.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
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
}

impl Writer {
    /// Continues the last segment, if there is one. It ends where its last batch does.
    pub(crate) fn new(segments: Arc<Segments>, origin: Digest, segment_bytes_max: u64) -> io::Result<Self> {
        let current = match segments.last() {
            Some(shared) => {
                let file = disk::open(&path(segments.folder(), shared.first()), OpenOptions::new().write(true))?;
                Some(Current { file, length: shared.bytes(), shared })
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
        let Current { file, mut length, shared } = match self.current.take() {
            Some(current) if current.shared.bytes() < self.segment_bytes_max => current,
            Some(_) | None => self.create(batch.first())?,
        };
        let offset = shared.bytes();
        let path = path(self.segments.folder(), shared.first());
        let bytes = batch.seal();
        let end = offset + bytes.len() as u64;
        disk::write_at(&file, &path, bytes, offset)?;
        if end > length {
            // Zeros never reach past the size at which the next segment begins: a finished segment
            // ends where its last batch does.
            let room = self.segment_bytes_max.saturating_sub(end);
            let is_small = bytes.len() <= SMALL_BATCH_BYTES;
            let ahead = ZEROS.get(..usize::try_from(room).unwrap_or(usize::MAX).min(ZEROS.len())).unwrap_or_default();
            let ahead = if is_small { ahead } else { &[] };
            if !ahead.is_empty() {
                disk::write_at(&file, &path, ahead, end)?;
            }
            length = end + ahead.len() as u64;
        }
        disk::sync(&file, &path)?;
        let marks = batch.marks().iter().map(|mark| Mark { offset: offset + mark.offset, ..*mark });
        shared.grow(end - offset, batch.count().into(), marks);
        let segment = shared.first();
        self.current = Some(Current { file, length, shared });
        Ok(Extent { start: Location { segment, offset }, end })
    }

    /// Cuts off the zeros that nothing was written over. Without it the next start does that.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.current {
            Some(Current { file, length, shared }) if length > shared.bytes() => {
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
        Ok(Current { file, length: HEADER_BYTES, shared })
    }
}

/// Batches up to this size have zeros written ahead of them: larger ones are worth a journal's
/// commit each, and would only be written twice.
const SMALL_BATCH_BYTES: usize = 128 * 1024;

/// What is written ahead: some forty batches of 64 entries of 400 bytes, so that one sync in forty
/// makes the file grow.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
