//! Platform configuration registers: which ones, of which bank, and their values.

use std::collections::BTreeMap;
use std::fmt;

use crate::algorithm::{Digest, HashAlgorithm};
use crate::crypto::CryptoUnavailable;
use crate::reader::{MalformedStructure, Reader};

#[cfg(test)]
mod tests;

/// The set of registers that one hash algorithm extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PcrBank(pub HashAlgorithm);

impl PcrBank {
    /// The bank's hash algorithm.
    #[must_use]
    pub const fn algorithm(self) -> HashAlgorithm {
        self.0
    }
}

impl fmt::Display for PcrBank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a register, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PcrIndex(u8);

impl PcrIndex {
    /// Every register, ascending.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..PCR_COUNT).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    const fn bit(self) -> u32 {
        1 << self.0
    }
}

impl TryFrom<u8> for PcrIndex {
    type Error = PcrIndexOutOfRange;

    fn try_from(index: u8) -> Result<Self, PcrIndexOutOfRange> {
        if index < PCR_COUNT { Ok(Self(index)) } else { Err(PcrIndexOutOfRange { found: index }) }
    }
}

impl fmt::Display for PcrIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// There is no such register on a PC Client TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PCR {found} does not exist, the last one is 23")]
pub struct PcrIndexOutOfRange {
    /// The number found.
    pub found: u8,
}

/// Some registers of one bank, always in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PcrSelection {
    bank: PcrBank,
    /// Bit n stands for PCR n; the upper eight bits are zero.
    mask: u32,
}

impl PcrSelection {
    /// The registers whose bits are set in `mask`, bit 0 being PCR 0, as in Keylime's `mask` parameter.
    ///
    /// # Errors
    /// [`PcrMaskOutOfRange`] if a bit above 23 is set.
    pub const fn from_mask(bank: PcrBank, mask: u32) -> Result<Self, PcrMaskOutOfRange> {
        if mask >> PCR_COUNT == 0 { Ok(Self { bank, mask }) } else { Err(PcrMaskOutOfRange { found: mask }) }
    }

    /// The registers named, in whatever order and however often they come.
    #[must_use]
    pub fn from_indices(bank: PcrBank, indices: impl IntoIterator<Item = PcrIndex>) -> Self {
        Self { bank, mask: indices.into_iter().fold(0, |mask, index| mask | index.bit()) }
    }

    /// The same with one more register.
    #[must_use]
    pub const fn with(self, index: PcrIndex) -> Self {
        Self { bank: self.bank, mask: self.mask | index.bit() }
    }

    /// The bank.
    #[must_use]
    pub const fn bank(&self) -> PcrBank {
        self.bank
    }

    /// The registers as bits, bit 0 being PCR 0; below 2^24.
    #[must_use]
    pub const fn mask(&self) -> u32 {
        self.mask
    }

    /// Whether the register is selected.
    #[must_use]
    pub const fn contains(&self, index: PcrIndex) -> bool {
        self.mask & index.bit() != 0
    }

    /// How many registers are selected, 0 to 24.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.mask.count_ones() as usize
    }

    /// Whether no register is selected; a quote over such a selection attests to nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.mask == 0
    }

    /// The selected registers, ascending: the order in which the TPM hashes them.
    pub fn indices(&self) -> impl Iterator<Item = PcrIndex> + use<> {
        let selection = *self;
        PcrIndex::all().filter(move |index| selection.contains(*index))
    }

    /// The three bytes of the TPM's bitmap, PCR 0 in the lowest bit of the first.
    #[must_use]
    pub const fn bitmap(&self) -> [u8; 3] {
        let [a, b, c, _] = self.mask.to_le_bytes();
        [a, b, c]
    }

    /// The selection with the bits of a TPM's bitmap.
    pub(crate) fn from_bitmap(bank: PcrBank, [a, b, c]: [u8; 3]) -> Self {
        Self { bank, mask: u32::from_le_bytes([a, b, c, 0]) }
    }

    /// Reads one `TPMS_PCR_SELECTION`.
    fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedStructure> {
        let bank = PcrBank(reader.hash_algorithm("PCR bank")?);
        let offset = reader.offset();
        let size = reader.u8("sizeofSelect")?;
        if size != 3 {
            let (field, found) = ("sizeofSelect", u64::from(size));
            return Err(MalformedStructure::Value { field, offset, expected: "3 (24 registers)", found });
        }
        let bitmap = [reader.u8("pcrSelect")?, reader.u8("pcrSelect")?, reader.u8("pcrSelect")?];
        Ok(Self::from_bitmap(bank, bitmap))
    }
}

impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.bank)?;
        for (position, index) in self.indices().enumerate() {
            write!(f, "{}{index}", if position == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PcrSelection({self})")
    }
}

/// A mask names registers that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PCR mask {found:#x} has bits above PCR 23")]
pub struct PcrMaskOutOfRange {
    /// The mask found.
    pub found: u32,
}

/// Reads a `TPML_PCR_SELECTION`: a count, then that many banks with their bitmaps.
///
/// Several banks, a bank twice and empty bitmaps are well-formed; whether they are acceptable is decided later.
pub(crate) fn read_selections(reader: &mut Reader<'_>) -> Result<Vec<PcrSelection>, MalformedStructure> {
    let count = reader.count("PCR selections", PCR_SELECTIONS_MAX)?;
    (0..count).map(|_| PcrSelection::read(reader)).collect()
}

/// Values of some registers of one bank, as somebody states them.
///
/// Untrusted until a quote's digest over them was checked: [`crate::quote::AuthenticQuote::values`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrValues {
    bank: PcrBank,
    values: BTreeMap<PcrIndex, Digest>,
}

impl PcrValues {
    /// No values yet, of the given bank.
    #[must_use]
    pub const fn new(bank: PcrBank) -> Self {
        Self { bank, values: BTreeMap::new() }
    }

    /// States one register's value; a value stated before is replaced and returned.
    ///
    /// # Errors
    /// [`PcrValueOfOtherBank`] if the digest is not one of this bank's algorithm.
    pub fn insert(&mut self, index: PcrIndex, value: Digest) -> Result<Option<Digest>, PcrValueOfOtherBank> {
        if value.algorithm() != self.bank.algorithm() {
            return Err(PcrValueOfOtherBank { expected: self.bank, index, found: value.algorithm() });
        }
        Ok(self.values.insert(index, value))
    }

    /// The bank all values are of.
    #[must_use]
    pub const fn bank(&self) -> PcrBank {
        self.bank
    }

    /// One register's value, if it is stated.
    #[must_use]
    pub fn get(&self, index: PcrIndex) -> Option<&Digest> {
        self.values.get(&index)
    }

    /// All values, ascending by register.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (PcrIndex, &Digest)> {
        self.values.iter().map(|(index, digest)| (*index, digest))
    }

    /// How many registers are stated, 0 to 24.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no register is stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Exactly the registers that are stated.
    #[must_use]
    pub fn selection(&self) -> PcrSelection {
        PcrSelection::from_indices(self.bank, self.values.keys().copied())
    }

    /// The TPM's digest over all values: their concatenation, ascending, hashed with `algorithm`.
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if `algorithm` is switched off in the library.
    ///
    /// Source: TPM 2.0 Library, Part 1, "Selecting Multiple PCR".
    pub fn digest(&self, algorithm: HashAlgorithm) -> Result<Digest, CryptoUnavailable> {
        let mut concatenated = Vec::with_capacity(self.values.len() * self.bank.algorithm().digest_bytes());
        for value in self.values.values() {
            concatenated.extend_from_slice(value.as_bytes());
        }
        algorithm.digest(&concatenated)
    }
}

/// A value was stated for a bank it has not the algorithm of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PCR {index} of bank {expected} was given a {found} digest")]
pub struct PcrValueOfOtherBank {
    /// The bank being filled.
    pub expected: PcrBank,
    /// The register.
    pub index: PcrIndex,
    /// The digest's algorithm.
    pub found: HashAlgorithm,
}

/// Registers of a PC Client TPM: 0 to 23, three bytes of bitmap.
const PCR_COUNT: u8 = 24;
/// `HASH_COUNT` of the TPM software stack: one selection per bank, and no TPM has more than 16 banks.
pub(crate) const PCR_SELECTIONS_MAX: usize = 16;
