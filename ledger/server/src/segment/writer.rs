//! Appends batches to the last segment.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;

use messages::Digest;

use super::format::{Batch, Mark, header, name};
use super::store::{Extent, Location, SegmentFile, Segments, path};
use crate::disk;

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
                Some((disk::open(&path(segments.folder(), shared.first()), OpenOptions::new().write(true))?, shared))
            }
            None => None,
        };
        Ok(Self { current, origin, segment_bytes_max, segments })
    }

    /// Makes a batch durable and visible; tells where it begins and ends.
    ///
    /// After an error nothing is known about what the disk holds, and nothing more may be
    /// written by this process: the page cache may claim what the disk does not have.
    pub(crate) fn append(&mut self, batch: &mut Batch) -> io::Result<Extent> {
        let (file, shared) = match self.current.take() {
            Some((file, shared)) if shared.bytes() < self.segment_bytes_max => (file, shared),
            Some(_) | None => self.create(batch.first())?,
        };
        let offset = shared.bytes();
        let path = path(self.segments.folder(), shared.first());
        let bytes = batch.seal();
        disk::write_at(&file, &path, bytes, offset)?;
        disk::sync(&file, &path)?;
        let end = offset + bytes.len() as u64;
        let marks = batch.marks().iter().map(|mark| Mark { offset: offset + mark.offset, ..*mark });
        shared.grow(end - offset, batch.count().into(), marks);
        let segment = shared.first();
        self.current = Some((file, shared));
        Ok(Extent { start: Location { segment, offset }, end })
    }

    /// Begins a segment. It has its header before it has its name.
    fn create(&self, first: u64) -> io::Result<(File, Arc<SegmentFile>)> {
        let folder = self.segments.folder();
        folder.keep(&name(first), &header(first, &self.origin))?;
        let path = path(folder, first);
        let file = disk::open(&path, OpenOptions::new().write(true))?;
        let shared = Arc::new(SegmentFile::new(first, File::open(&path)?));
        self.segments.add(Arc::clone(&shared));
        Ok((file, shared))
    }
}
