//! A strict reader of the log's little-endian structures; every error knows its place in the whole log.

use super::guid::Guid;
use super::malformed::MalformedBootLog;

#[derive(Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, the first of which stands at `offset` of the log.
    pub(super) const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `count` bytes; the count is compared with what is left before anything is made of it.
    pub(super) fn take(&mut self, field: &'static str, count: u64) -> Result<&'a [u8], MalformedBootLog> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let Some((taken, rest)) = split else {
            let (offset, left) = (self.offset, self.rest.len());
            return Err(MalformedBootLog::Truncated { field, offset, needed: count, left });
        };
        self.rest = rest;
        self.offset += taken.len();
        Ok(taken)
    }

    /// A cursor over the next `count` bytes, which are consumed here.
    pub(super) fn part(&mut self, field: &'static str, count: u64) -> Result<Self, MalformedBootLog> {
        let offset = self.offset;
        self.take(field, count).map(|bytes| Self::new(bytes, offset))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MalformedBootLog> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            let (offset, left) = (self.offset, self.rest.len());
            return Err(MalformedBootLog::Truncated { field, offset, needed: N as u64, left });
        };
        self.rest = rest;
        self.offset += N;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, MalformedBootLog> {
        self.array(field).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, MalformedBootLog> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, MalformedBootLog> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, MalformedBootLog> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn guid(&mut self, field: &'static str) -> Result<Guid, MalformedBootLog> {
        self.array(field).map(Guid::from_bytes)
    }

    /// An element count, at most `max`; checked before anything is allocated.
    pub(super) fn count(&mut self, field: &'static str, max: usize) -> Result<usize, MalformedBootLog> {
        let offset = self.offset;
        let found = u64::from(self.u32(field)?);
        bounded(field, offset, found, max)
    }

    /// Demands that nothing is left of `field`.
    pub(super) const fn finish(&self, field: &'static str) -> Result<(), MalformedBootLog> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(MalformedBootLog::TrailingBytes { field, offset: self.offset, count: self.rest.len() })
        }
    }
}

/// A count as found, if it is at most `max`.
pub(super) fn bounded(field: &'static str, offset: usize, found: u64, max: usize) -> Result<usize, MalformedBootLog> {
    match usize::try_from(found) {
        Ok(count) if count <= max => Ok(count),
        _ => Err(MalformedBootLog::Count { field, offset, max, found }),
    }
}
