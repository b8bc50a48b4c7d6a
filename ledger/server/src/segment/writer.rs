//! Appends batches to the last segment.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use messages::Digest;

use super::format::{Batch, Mark, header, name};
use super::store::{Location, SegmentFile, Segments, path};

/// The only one who writes segments.
#[derive(Debug)]
pub(crate) struct Writer {
    current: Option<(File, Arc<SegmentFile>)>,
    origin: Digest,
    segment_bytes_max: u64,
    segments: Arc<Segments>,
}

impl Writer {
    /// Continues the last segment, if there is one.
    pub(crate) fn new(segments: Arc<Segments>, origin: Digest, segment_bytes_max: u64) -> io::Result<Self> {
        let current = match segments.last() {
            Some(shared) => {
                let path = path(segments.folder(), shared.first());
                Some((OpenOptions::new().write(true).open(path)?, shared))
            }
            None => None,
        };
        Ok(Self { current, origin, segment_bytes_max, segments })
    }

    /// Makes a batch durable and visible; tells where it begins.
    ///
    /// After an error nothing is known about what the disk holds, and nothing more may be
    /// written by this process: the page cache may claim what the disk does not have.
    pub(crate) fn append(&mut self, batch: &Batch) -> io::Result<Location> {
        let bytes = batch.encode();
        let (file, shared) = match self.current.take() {
            Some((file, shared)) if shared.bytes() < self.segment_bytes_max => (file, shared),
            Some(_) | None => self.create(batch.first())?,
        };
        let offset = shared.bytes();
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        let marks = batch.marks().iter().map(|mark| Mark { offset: offset + mark.offset, ..*mark });
        shared.grow(bytes.len() as u64, batch.count().into(), marks);
        let segment = shared.first();
        self.current = Some((file, shared));
        Ok(Location { segment, offset })
    }

    /// Begins a segment. It has its header before it has its name.
    fn create(&self, first: u64) -> io::Result<(File, Arc<SegmentFile>)> {
        let folder = self.segments.folder();
        folder.keep(&name(first), &header(first, &self.origin))?;
        let path = path(folder, first);
        let file = OpenOptions::new().write(true).open(&path)?;
        let shared = Arc::new(SegmentFile::new(first, File::open(&path)?));
        self.segments.add(Arc::clone(&shared));
        Ok((file, shared))
    }
}
