//! The Keylime quote string: `r`, then attest, signature and PCR blob in base64 with colons between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::algorithm::Digest;
use crate::pcr::{PCR_SELECTIONS_MAX, PcrBank, PcrIndex, PcrSelection, PcrValues};
use crate::quote::{MalformedQuote, Quote};
use crate::reader::{MalformedStructure, Reader};

#[cfg(test)]
mod tests;

/// The three parts of a quote string, decoded; `attest` and `signature` are still bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeylimeQuote {
    /// The `TPMS_ATTEST`.
    pub attest: Vec<u8>,
    /// The `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
    /// The registers' values as the attester states them. Untrusted.
    pub values: PcrValues,
}

impl KeylimeQuote {
    /// Reads a quote string.
    ///
    /// Strict: standard base64 with padding and nothing else, exactly three parts, the blob read to its last byte.
    ///
    /// # Errors
    /// [`MalformedKeylimeQuote`] saying which part.
    pub fn parse(text: &str) -> Result<Self, MalformedKeylimeQuote> {
        if text.len() > QUOTE_TEXT_BYTES_MAX {
            return Err(MalformedKeylimeQuote::TooLong { max: QUOTE_TEXT_BYTES_MAX, found: text.len() });
        }
        let Some(parts) = text.strip_prefix('r') else {
            return Err(MalformedKeylimeQuote::Prefix { found: text.chars().next() });
        };
        let mut parts = parts.split(':');
        let (Some(attest), Some(signature), Some(pcrs), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedKeylimeQuote::Parts { found: text.split(':').count() });
        };
        Ok(Self {
            attest: decode("attest", attest)?,
            signature: decode("signature", signature)?,
            values: parse_pcr_blob(&decode("pcrs", pcrs)?)?,
        })
    }

    /// Writes the quote string.
    #[must_use]
    pub fn encode(&self) -> String {
        let (attest, signature) = (STANDARD.encode(&self.attest), STANDARD.encode(&self.signature));
        format!("r{attest}:{signature}:{}", STANDARD.encode(encode_pcr_blob(&self.values)))
    }

    /// Parses the attestation and its signature.
    ///
    /// # Errors
    /// [`MalformedQuote`] saying which of the two.
    pub fn quote(&self) -> Result<Quote, MalformedQuote> {
        Quote::parse(&self.attest, &self.signature)
    }
}

/// Reads the PCR blob: selection and values in tpm2-tools' memory layout, little endian.
///
/// Shape: u32 count of selections (1); 16 slots {u16 bank, u8 bitmap size, 3 bytes bitmap, 2 zero bytes}; u32 count of
/// digest lists; for each u32 count of digests (1 to 8) and 8 slots {u16 size, 64 bytes}. Unused slots and the bytes
/// behind a digest are zero. The digests are those of the selected registers, ascending.
///
/// # Errors
/// [`MalformedPcrBlob`] with the offset, or the register without a value.
pub fn parse_pcr_blob(bytes: &[u8]) -> Result<PcrValues, MalformedPcrBlob> {
    let mut reader = Reader::new(bytes);
    let selection = read_selection(&mut reader)?;
    let digests = read_digest_lists(&mut reader, selection.bank())?;
    reader.finish()?;
    if digests.len() != selection.len() {
        return Err(MalformedPcrBlob::DigestCount { expected: selection.len(), found: digests.len() });
    }
    let mut values = PcrValues::new(selection.bank());
    for (index, digest) in selection.indices().zip(digests) {
        insert(&mut values, index, digest);
    }
    Ok(values)
}

/// Writes the PCR blob for `values`, eight digests to a list.
#[must_use]
pub fn encode_pcr_blob(values: &PcrValues) -> Vec<u8> {
    let digests: Vec<&[u8]> = values.iter().map(|(_, digest)| digest.as_bytes()).collect();
    let lists = digests.chunks(DIGESTS_PER_LIST);
    let mut blob = Vec::with_capacity(HEADER_BYTES + lists.len() * LIST_BYTES);
    blob.extend_from_slice(&1_u32.to_le_bytes() /* selections */);
    blob.extend_from_slice(&values.bank().algorithm().tpm_id().to_le_bytes());
    blob.push(3 /* bytes of bitmap */);
    blob.extend_from_slice(&values.selection().bitmap());
    blob.resize(4 + PCR_SELECTIONS_MAX * SELECTION_SLOT_BYTES, 0);
    blob.extend_from_slice(&little_u32(lists.len()));
    for list in lists {
        let end = blob.len() + LIST_BYTES;
        blob.extend_from_slice(&little_u32(list.len()));
        for digest in list {
            let slot_end = blob.len() + DIGEST_SLOT_BYTES;
            // A digest has at most 64 bytes.
            blob.extend_from_slice(&u16::try_from(digest.len()).unwrap_or(u16::MAX).to_le_bytes());
            blob.extend_from_slice(digest);
            blob.resize(slot_end, 0);
        }
        blob.resize(end, 0);
    }
    blob
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, MalformedKeylimeQuote> {
    STANDARD.decode(text).map_err(|source| MalformedKeylimeQuote::Base64 { part, source })
}

fn read_selection(reader: &mut Reader<'_>) -> Result<PcrSelection, MalformedPcrBlob> {
    let count = reader.u32_le("selection count")?;
    if count != 1 {
        let (field, found) = ("selection count", u64::from(count));
        return Err(MalformedStructure::Value { field, offset: 0, expected: "1", found }.into());
    }
    let mut slot = Reader::new(reader.take("selection", SELECTION_SLOT_BYTES)?);
    let id = slot.u16_le("bank")?;
    let bank = crate::algorithm::HashAlgorithm::from_tpm_id(id).ok_or(MalformedStructure::Value {
        field: "bank",
        offset: 4,
        expected: "a hash algorithm (sha1, sha256, sha384, sha512, sm3_256)",
        found: u64::from(id),
    })?;
    let size = slot.u8("sizeofSelect")?;
    if size != 3 {
        let (field, found) = ("sizeofSelect", u64::from(size));
        return Err(MalformedStructure::Value { field, offset: 6, expected: "3 (24 registers)", found }.into());
    }
    let bitmap = [slot.u8("pcrSelect")?, slot.u8("pcrSelect")?, slot.u8("pcrSelect")?];
    all_zero("padding of the selection", 10, slot.rest())?;
    let offset = reader.offset();
    let unused = reader.take("unused selections", (PCR_SELECTIONS_MAX - 1) * SELECTION_SLOT_BYTES)?;
    all_zero("unused selections", offset, unused)?;
    Ok(PcrSelection::from_bitmap(PcrBank(bank), bitmap))
}

fn read_digest_lists(reader: &mut Reader<'_>, bank: PcrBank) -> Result<Vec<Digest>, MalformedPcrBlob> {
    let offset = reader.offset();
    let lists = reader.u32_le("digest list count")?;
    if lists > DIGEST_LISTS_MAX {
        let found = usize::try_from(lists).unwrap_or(usize::MAX);
        let max = DIGEST_LISTS_MAX as usize;
        return Err(MalformedStructure::Count { field: "digest lists", offset, max, found }.into());
    }
    let mut digests = Vec::new();
    for _ in 0..lists {
        let offset = reader.offset();
        let count = reader.u32_le("digest count")?;
        if !(1..=8).contains(&count) {
            let (field, found) = ("digest count", u64::from(count));
            return Err(MalformedStructure::Value { field, offset, expected: "1 to 8", found }.into());
        }
        for _ in 0..count {
            digests.push(read_digest(reader, bank)?);
        }
        let offset = reader.offset();
        let unused = DIGESTS_PER_LIST.saturating_sub(count as usize) * DIGEST_SLOT_BYTES;
        all_zero("unused digests", offset, reader.take("unused digests", unused)?)?;
    }
    Ok(digests)
}

fn read_digest(reader: &mut Reader<'_>, bank: PcrBank) -> Result<Digest, MalformedPcrBlob> {
    let offset = reader.offset();
    let size = usize::from(reader.u16_le("digest size")?);
    if size != bank.algorithm().digest_bytes() {
        let (field, expected) = ("digest", "the size of the bank's hash");
        return Err(MalformedStructure::Size { field, offset, expected, found: size }.into());
    }
    let digest = reader.take("digest", size)?;
    let offset = reader.offset();
    let padding = DIGEST_SLOT_BYTES.saturating_sub(2 + size);
    all_zero("bytes behind a digest", offset, reader.take("bytes behind a digest", padding)?)?;
    Ok(Digest::filled(bank.algorithm(), digest))
}

fn all_zero(field: &'static str, offset: usize, bytes: &[u8]) -> Result<(), MalformedStructure> {
    match bytes.iter().enumerate().find(|(_, byte)| **byte != 0) {
        None => Ok(()),
        Some((at, byte)) => {
            let found = u64::from(*byte);
            Err(MalformedStructure::Value { field, offset: offset + at, expected: "zero", found })
        }
    }
}

fn insert(values: &mut PcrValues, index: PcrIndex, digest: Digest) {
    // read_digest makes digests of the blob's one bank only.
    let inserted = values.insert(index, digest);
    debug_assert!(inserted.is_ok(), "a digest of the blob's own bank");
}

/// Counts here are at most 24.
fn little_u32(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

/// Why text is no Keylime quote.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKeylimeQuote {
    /// A part is not standard base64 with padding.
    #[error("the {part} part is not base64")]
    Base64 {
        /// `attest`, `signature` or `pcrs`.
        part: &'static str,
        /// What is wrong with it.
        source: base64::DecodeError,
    },
    /// There are not exactly three parts.
    #[error("expected three parts separated by colons, found {found}")]
    Parts {
        /// How many there are.
        found: usize,
    },
    /// The PCR blob is broken.
    #[error("malformed PCR blob")]
    PcrBlob(#[from] MalformedPcrBlob),
    /// The text does not start with `r`.
    #[error("expected the text to start with 'r', found {found:?}")]
    Prefix {
        /// Its first character, if it has one.
        found: Option<char>,
    },
    /// The text is longer than any quote.
    #[error("a quote has at most {max} characters, found {found}")]
    TooLong {
        /// The named limit.
        max: usize,
        /// Its length in bytes.
        found: usize,
    },
}

/// Why bytes are no PCR blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPcrBlob {
    /// There are more or fewer digests than selected registers.
    #[error("{expected} registers are selected, {found} digests are given")]
    DigestCount {
        /// Registers selected.
        expected: usize,
        /// Digests given.
        found: usize,
    },
    /// The layout is broken.
    #[error("the layout is broken")]
    Structure(#[from] MalformedStructure),
}

/// `TPML_DIGEST` holds eight digests.
const DIGESTS_PER_LIST: usize = 8;
/// {u16 bank, u8 size, 4 bytes of bitmap, 1 byte of padding}.
const SELECTION_SLOT_BYTES: usize = 8;
/// {u16 size, 64 bytes}.
const DIGEST_SLOT_BYTES: usize = 66;
/// {u32 count, 8 digest slots}.
const LIST_BYTES: usize = 4 + DIGESTS_PER_LIST * DIGEST_SLOT_BYTES;
/// {u32 count, 16 selection slots, u32 count of lists}.
const HEADER_BYTES: usize = 4 + PCR_SELECTIONS_MAX * SELECTION_SLOT_BYTES + 4;
/// At most 24 registers with at least one digest to a list.
const DIGEST_LISTS_MAX: u32 = 24;
/// 24 lists make a blob of 12,904 bytes, an attest has below 512 bytes, a signature at most 518: 13,934 bytes, in base64
/// below 18,600 characters; rounded up to a power of two.
const QUOTE_TEXT_BYTES_MAX: usize = 32_768;
