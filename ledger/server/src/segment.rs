//! Segment files: the write-ahead log, which is also where entries are kept for good.
//!
//! Source: `docs/spec/segment.md`.

mod format;
mod scan;
mod store;
mod writer;

pub(crate) use self::format::{Batch, HEADER_BYTES, MARK_INTERVAL, Mark, RememberedAnswer, header, name};
pub use self::scan::BatchFlaw;
pub(crate) use self::scan::{BatchReader, ScannedBatch, torn_tail};
pub use self::store::ReadError;
pub(crate) use self::store::{Extent, Location, SegmentFile, Segments};
pub(crate) use self::writer::Writer;

#[cfg(test)]
mod tests;
