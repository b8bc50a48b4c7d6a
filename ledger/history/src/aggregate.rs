//! What a run of quotes comes to, in 56 bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_bytes::ByteBuf;

/// Bytes of an [`Aggregate`] where it is hashed.
pub const AGGREGATE_BYTES: usize = 56;

/// Counts and times of a run of an agent's leaves; [`Aggregate::NONE`] of no leaves.
///
/// ```text
/// u64 n ‖ u64 t_first ‖ u64 t_last ‖ u64 max_gap ‖ u64 fails ‖ u64 misses ‖ u32 resets ‖ u32 late
/// ```
///
/// Times are seconds since 1970. A byte string of 56 bytes in CBOR.
///
/// Source: `docs/spec/history.md` section 3.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Aggregate {
    /// Leaves: quotes with a verdict.
    pub quotes: u64,
    /// Time of the first.
    pub first: u64,
    /// Time of the last.
    pub last: u64,
    /// Longest distance of two in a row, in seconds.
    pub max_gap: u64,
    /// Verdicts that are no pass.
    pub fails: u64,
    /// Quotes that were due, outside of planned maintenance, and did not come.
    pub misses: u64,
    /// Quotes that came after a reset or restart of the TPM.
    pub resets: u32,
    /// Quotes of which no checkpoint told within the tolerance.
    pub late: u32,
}

/// Two runs do not follow one another.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a run of quotes begins at {begins}, before the one on its left ends at {ended}")]
pub struct NotInOrder {
    /// End of the left run.
    pub ended: u64,
    /// Begin of the right one.
    pub begins: u64,
}

impl Aggregate {
    /// Of no leaves: 56 zero bytes.
    pub const NONE: Self = Self { quotes: 0, first: 0, last: 0, max_gap: 0, fails: 0, misses: 0, resets: 0, late: 0 };

    /// This run and then `right`; [`Aggregate::NONE`] on either side changes nothing.
    ///
    /// # Errors
    /// [`NotInOrder`] if `right` begins before this one ends.
    pub fn combine(&self, right: &Self) -> Result<Self, NotInOrder> {
        if self.quotes > 0 && right.quotes > 0 && right.first < self.last {
            return Err(NotInOrder { ended: self.last, begins: right.first });
        }
        Ok(self.join(right))
    }

    /// As [`Self::combine`] where the order is known.
    pub(crate) fn join(&self, right: &Self) -> Self {
        if self.quotes == 0 {
            return *right;
        }
        if right.quotes == 0 {
            return *self;
        }
        Self {
            quotes: self.quotes.saturating_add(right.quotes),
            first: self.first,
            last: right.last,
            max_gap: self.max_gap.max(right.max_gap).max(right.first.saturating_sub(self.last)),
            fails: self.fails.saturating_add(right.fails),
            misses: self.misses.saturating_add(right.misses),
            resets: self.resets.saturating_add(right.resets),
            late: self.late.saturating_add(right.late),
        }
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; AGGREGATE_BYTES] {
        let mut bytes = [0; AGGREGATE_BYTES];
        let (longs, shorts) = bytes.split_at_mut(48);
        let values = [self.quotes, self.first, self.last, self.max_gap, self.fails, self.misses];
        for (field, value) in longs.chunks_exact_mut(8).zip(values) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        for (field, value) in shorts.chunks_exact_mut(4).zip([self.resets, self.late]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] writes; every 56 bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; AGGREGATE_BYTES]) -> Self {
        let (longs, shorts) = bytes.split_at(48);
        let mut longs = longs.chunks_exact(8).map(|field| field.try_into().map_or(0, u64::from_be_bytes));
        let mut shorts = shorts.chunks_exact(4).map(|field| field.try_into().map_or(0, u32::from_be_bytes));
        let mut long = || longs.next().unwrap_or_default();
        let mut short = || shorts.next().unwrap_or_default();
        Self {
            quotes: long(),
            first: long(),
            last: long(),
            max_gap: long(),
            fails: long(),
            misses: long(),
            resets: short(),
            late: short(),
        }
    }
}

impl Serialize for Aggregate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Aggregate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        let found = bytes.len();
        let bytes = bytes.into_vec().try_into().map_err(|_| de::Error::invalid_length(found, &"56 bytes"))?;
        Ok(Self::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests;
