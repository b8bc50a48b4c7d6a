//! A strict reader of the TPM's big-endian structures.

use crate::algorithm::HashAlgorithm;

/// Why bytes are not the TPM structure they should be: what, where, what was expected and what was found.
///
/// `offset` counts bytes from the start of the structure handed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedStructure {
    /// A counted list is longer than the structure allows.
    #[error("{field} at byte {offset} counts {found} elements, at most {max} are allowed")]
    Count {
        /// The list.
        field: &'static str,
        /// Where its count stands.
        offset: usize,
        /// The named limit.
        max: usize,
        /// The count found.
        found: usize,
    },
    /// A sized buffer has a length the field cannot have.
    #[error("{field} at byte {offset} has {found} bytes, expected {expected}")]
    Size {
        /// The buffer.
        field: &'static str,
        /// Where its length stands.
        offset: usize,
        /// The lengths that are allowed, in words.
        expected: &'static str,
        /// The length found.
        found: usize,
    },
    /// Bytes are left over when the structure is complete.
    #[error("{count} bytes left over at byte {offset}")]
    TrailingBytes {
        /// Where the structure ended.
        offset: usize,
        /// How many follow.
        count: usize,
    },
    /// The bytes end inside a field.
    #[error("{field} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The field that does not fit.
        field: &'static str,
        /// Where it starts.
        offset: usize,
        /// Bytes it needs.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A number is none of those the field may hold.
    #[error("{field} at byte {offset} is {found:#x}, expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Where it stands.
        offset: usize,
        /// The values that are allowed, in words.
        expected: &'static str,
        /// The value found.
        found: u64,
    },
}

/// A cursor over one structure; every error knows its offset.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes consumed so far.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// What is not consumed yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], MalformedStructure> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(MalformedStructure::Truncated {
            field,
            offset: self.offset,
            needed: count,
            left: self.bytes.len(),
        })?;
        self.bytes = rest;
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MalformedStructure> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(MalformedStructure::Truncated {
            field,
            offset: self.offset,
            needed: N,
            left: self.bytes.len(),
        })?;
        self.bytes = rest;
        self.offset += N;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, MalformedStructure> {
        self.array::<1>(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, MalformedStructure> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, MalformedStructure> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, MalformedStructure> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(crate) fn u16_le(&mut self, field: &'static str) -> Result<u16, MalformedStructure> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32_le(&mut self, field: &'static str) -> Result<u32, MalformedStructure> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A `TPM2B`: a 16-bit length and that many bytes, at least `min` and at most `max` of them.
    pub(crate) fn sized(
        &mut self,
        field: &'static str,
        (min, max): (usize, usize),
        expected: &'static str,
    ) -> Result<&'a [u8], MalformedStructure> {
        let offset = self.offset;
        let size = usize::from(self.u16(field)?);
        if size < min || size > max {
            return Err(MalformedStructure::Size { field, offset, expected, found: size });
        }
        self.take(field, size)
    }

    /// A `TPMI_ALG_HASH`.
    pub(crate) fn hash_algorithm(&mut self, field: &'static str) -> Result<HashAlgorithm, MalformedStructure> {
        let offset = self.offset;
        let id = self.u16(field)?;
        HashAlgorithm::from_tpm_id(id).ok_or(MalformedStructure::Value {
            field,
            offset,
            expected: "a hash algorithm (sha1, sha256, sha384, sha512, sm3_256)",
            found: u64::from(id),
        })
    }

    /// An element count, 32 bits wide, at most `max`; checked before anything is allocated.
    pub(crate) fn count(&mut self, field: &'static str, max: usize) -> Result<usize, MalformedStructure> {
        let offset = self.offset;
        let count = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        if count > max {
            return Err(MalformedStructure::Count { field, offset, max, found: count });
        }
        Ok(count)
    }

    pub(crate) const fn finish(self) -> Result<(), MalformedStructure> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(MalformedStructure::TrailingBytes { offset: self.offset, count: self.bytes.len() })
        }
    }
}
