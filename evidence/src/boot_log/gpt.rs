//! The partition table as it was measured.

use super::cursor::{Cursor, bounded};
use super::guid::Guid;
use super::malformed::MalformedBootLog;
use super::text;

/// A disk's GUID partition table; the digest covers all of the event's data.
///
/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.4, `UEFI_GPT_DATA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// The disk's GUID, zero in `EV_EFI_GPT_EVENT2`.
    pub disk: Guid,
    /// The partitions in use, at most 128.
    pub partitions: Vec<GptPartition>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GptPartition {
    /// What it is for.
    pub kind: Guid,
    /// The partition's own GUID.
    pub id: Guid,
    /// First and last block, in the disk's logical blocks.
    pub blocks: (u64, u64),
    /// Its name.
    pub name: String,
}

impl Gpt {
    pub(super) fn parse(data: &[u8], offset: usize) -> Result<Self, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        let mut header = cursor.part("partition table header", HEADER_BYTES)?;
        header.take("header before DiskGUID", 56)?;
        let disk = header.guid("DiskGUID")?;
        header.take("PartitionEntryLBA", 8)?;
        header.take("NumberOfPartitionEntries", 4)?;
        let entry_offset = header.offset();
        let entry_bytes = u64::from(header.u32("SizeOfPartitionEntry")?);
        if entry_bytes < ENTRY_BYTES_MIN {
            let (field, expected) = ("SizeOfPartitionEntry", "at least 128");
            return Err(MalformedBootLog::Value { field, offset: entry_offset, expected, found: entry_bytes });
        }
        let count_offset = cursor.offset();
        let count = bounded("NumberOfPartitions", count_offset, cursor.u64("NumberOfPartitions")?, PARTITIONS_MAX)?;
        let partitions = (0..count)
            .map(|_| GptPartition::parse(cursor.part("partition", entry_bytes)?))
            .collect::<Result<_, MalformedBootLog>>()?;
        Ok(Self { disk, partitions })
    }
}

impl GptPartition {
    fn parse(mut cursor: Cursor<'_>) -> Result<Self, MalformedBootLog> {
        let (kind, id) = (cursor.guid("PartitionTypeGUID")?, cursor.guid("UniquePartitionGUID")?);
        let blocks = (cursor.u64("StartingLBA")?, cursor.u64("EndingLBA")?);
        cursor.take("Attributes", 8)?;
        let name = text::utf16(cursor.take("PartitionName", 72)?);
        Ok(Self { kind, id, blocks, name })
    }
}

/// `EFI_PARTITION_TABLE_HEADER`.
const HEADER_BYTES: u64 = 92;
/// `EFI_PARTITION_ENTRY`.
const ENTRY_BYTES_MIN: u64 = 128;
/// Entries of a partition table as every partitioning tool makes it.
const PARTITIONS_MAX: usize = 128;
