//! The Spec ID event: the header of a crypto-agile log.

use crate::algorithm::{DIGEST_BYTES_MAX, HashAlgorithm};

use super::cursor::{Cursor, bounded};
use super::malformed::MalformedBootLog;

/// The header's statement of version and digest sizes.
///
/// Not measured, hence untrusted; it only tells how to cut the bytes.
///
/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.5.1, `TCG_EfiSpecIdEvent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecId {
    /// Class of the platform: 0 client, 1 server.
    pub platform_class: u32,
    /// Errata level of the profile, 2.0 being the only version.
    pub errata: u8,
    /// The digests every event may have, in the order stated.
    pub algorithms: Vec<ListedAlgorithm>,
    /// What the firmware's maker adds, at most 255 bytes.
    pub vendor_info: Vec<u8>,
}

/// A digest algorithm of a crypto-agile log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedAlgorithm {
    /// Its `TPM_ALG_ID`.
    pub id: u16,
    /// Bytes of its digests, 1 to 64.
    pub digest_bytes: u16,
}

impl SpecId {
    /// Whether `data` says of itself that it is this header.
    pub(super) fn is_signed(data: &[u8]) -> bool {
        data.starts_with(SIGNATURE)
    }

    /// Reads the event's data, which begins at `offset` of the log, to its last byte.
    pub(super) fn parse(data: &[u8], offset: usize) -> Result<Self, MalformedBootLog> {
        let mut cursor = Cursor::new(data, offset);
        cursor.take("signature", SIGNATURE.len() as u64)?;
        let platform_class = cursor.u32("platformClass")?;
        expect_version(&mut cursor, "specVersionMinor", 0, "0")?;
        expect_version(&mut cursor, "specVersionMajor", 2, "2")?;
        let errata = cursor.u8("specErrata")?;
        cursor.u8("uintnSize")?;
        let algorithms = Self::algorithms(&mut cursor)?;
        let vendor_bytes = cursor.u8("vendorInfoSize")?;
        let vendor_info = cursor.take("vendorInfo", u64::from(vendor_bytes))?.to_vec();
        cursor.finish("the Spec ID event")?;
        Ok(Self { platform_class, errata, algorithms, vendor_info })
    }

    fn algorithms(cursor: &mut Cursor<'_>) -> Result<Vec<ListedAlgorithm>, MalformedBootLog> {
        let offset = cursor.offset();
        let count = cursor.count("numberOfAlgorithms", ALGORITHMS_MAX)?;
        if count == 0 {
            let (field, expected) = ("numberOfAlgorithms", "at least 1");
            return Err(MalformedBootLog::Value { field, offset, expected, found: 0 });
        }
        let mut algorithms: Vec<ListedAlgorithm> = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = cursor.offset();
            let (id, digest_bytes) = (cursor.u16("algorithmId")?, cursor.u16("digestSize")?);
            if algorithms.iter().any(|listed| listed.id == id) {
                let (field, expected) = ("algorithmId", "each algorithm once");
                return Err(MalformedBootLog::Value { field, offset, expected, found: u64::from(id) });
            }
            check_size(id, digest_bytes, offset + 2)?;
            algorithms.push(ListedAlgorithm { id, digest_bytes });
        }
        Ok(algorithms)
    }

    /// The size of digests of algorithm `id`, if it is listed.
    pub(super) fn digest_bytes(&self, id: u16) -> Option<u16> {
        self.algorithms.iter().find(|listed| listed.id == id).map(|listed| listed.digest_bytes)
    }
}

fn expect_version(
    cursor: &mut Cursor<'_>,
    field: &'static str,
    version: u8,
    expected: &'static str,
) -> Result<(), MalformedBootLog> {
    let offset = cursor.offset();
    let found = cursor.u8(field)?;
    if found == version {
        Ok(())
    } else {
        Err(MalformedBootLog::Value { field, offset, expected, found: u64::from(found) })
    }
}

fn check_size(id: u16, digest_bytes: u16, offset: usize) -> Result<(), MalformedBootLog> {
    let field = "digestSize";
    let found = u64::from(digest_bytes);
    match HashAlgorithm::from_tpm_id(id) {
        Some(algorithm) if usize::from(digest_bytes) != algorithm.digest_bytes() => {
            Err(MalformedBootLog::Value { field, offset, expected: "the size of the algorithm's digests", found })
        }
        None if digest_bytes == 0 => Err(MalformedBootLog::Value { field, offset, expected: "at least 1", found }),
        _ => bounded(field, offset, found, DIGEST_BYTES_MAX).map(|_| ()),
    }
}

/// What the data of the event starts with.
pub(super) const SIGNATURE: &[u8] = b"Spec ID Event03\0";
/// `HASH_COUNT` of the TPM software stack: no TPM has more than 16 banks.
const ALGORITHMS_MAX: usize = 16;
