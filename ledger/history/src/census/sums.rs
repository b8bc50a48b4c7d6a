//! What the rows of a census come to, in 68 bytes.

use ledger_protocol::body::CENSUS_SUMS_BYTES;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_bytes::ByteBuf;

use super::{CensusRow, Status};

/// Bytes of [`Sums`] where they are hashed.
pub const SUMS_BYTES: usize = CENSUS_SUMS_BYTES;

/// F: sums over rows of a census.
///
/// ```text
/// u32 agents ‖ u32 due ‖ u32 missed ‖ u64 oldest ‖ u64 worst_gap ‖ u64 quotes ‖ u64 fails ‖ u64 misses ‖ u64 resets ‖ u64 late
/// ```
///
/// The last five never fall from one census to the next. A byte string of 68 bytes in CBOR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sums {
    /// Machines in the fleet.
    pub agents: u32,
    /// Those of which quotes are asked.
    pub due: u32,
    /// Those that miss at least one at the census's clock.
    pub missed: u32,
    /// The oldest last quote of a machine in the fleet that has one, in seconds; else the largest number.
    pub oldest: u64,
    /// The longest gap of any machine ever, in seconds.
    pub worst_gap: u64,
    /// Quotes with a verdict.
    pub quotes: u64,
    /// Verdicts that are no pass.
    pub fails: u64,
    /// Quotes missed outside of planned maintenance.
    pub misses: u64,
    /// Quotes after a reset or restart.
    pub resets: u64,
    /// Quotes of which no checkpoint told in time.
    pub late: u64,
}

impl Sums {
    /// Of no rows.
    pub const NONE: Self = Self {
        agents: 0,
        due: 0,
        missed: 0,
        oldest: u64::MAX,
        worst_gap: 0,
        quotes: 0,
        fails: 0,
        misses: 0,
        resets: 0,
        late: 0,
    };

    /// Of one row.
    #[must_use]
    pub fn of(row: &CensusRow) -> Self {
        let of = &row.aggregate;
        let enrolled = row.status != Status::Retired;
        Self {
            agents: u32::from(enrolled),
            due: u32::from(matches!(row.status, Status::Met | Status::Missed)),
            missed: u32::from(row.status == Status::Missed),
            oldest: if enrolled && of.quotes > 0 { of.last } else { u64::MAX },
            worst_gap: of.max_gap,
            quotes: of.quotes,
            fails: of.fails,
            misses: of.misses,
            resets: u64::from(of.resets),
            late: u64::from(of.late),
        }
    }

    /// Of both.
    #[must_use]
    pub fn combine(&self, other: &Self) -> Self {
        Self {
            agents: self.agents.saturating_add(other.agents),
            due: self.due.saturating_add(other.due),
            missed: self.missed.saturating_add(other.missed),
            oldest: self.oldest.min(other.oldest),
            worst_gap: self.worst_gap.max(other.worst_gap),
            quotes: self.quotes.saturating_add(other.quotes),
            fails: self.fails.saturating_add(other.fails),
            misses: self.misses.saturating_add(other.misses),
            resets: self.resets.saturating_add(other.resets),
            late: self.late.saturating_add(other.late),
        }
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SUMS_BYTES] {
        let mut bytes = [0; SUMS_BYTES];
        let (shorts, longs) = bytes.split_at_mut(12);
        for (field, value) in shorts.chunks_exact_mut(4).zip([self.agents, self.due, self.missed]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        let values = [self.oldest, self.worst_gap, self.quotes, self.fails, self.misses, self.resets, self.late];
        for (field, value) in longs.chunks_exact_mut(8).zip(values) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] writes; every 68 bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SUMS_BYTES]) -> Self {
        let (shorts, longs) = bytes.split_at(12);
        let mut shorts = shorts.chunks_exact(4).map(|field| field.try_into().map_or(0, u32::from_be_bytes));
        let mut longs = longs.chunks_exact(8).map(|field| field.try_into().map_or(0, u64::from_be_bytes));
        let mut short = || shorts.next().unwrap_or_default();
        let mut long = || longs.next().unwrap_or_default();
        Self {
            agents: short(),
            due: short(),
            missed: short(),
            oldest: long(),
            worst_gap: long(),
            quotes: long(),
            fails: long(),
            misses: long(),
            resets: long(),
            late: long(),
        }
    }
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Sums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        let found = bytes.len();
        let bytes = bytes.into_vec().try_into().map_err(|_| de::Error::invalid_length(found, &"68 bytes"))?;
        Ok(Self::from_bytes(&bytes))
    }
}
