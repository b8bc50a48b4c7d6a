//! The bodies that come by the million, read for what the rules need of them and no more.
//!
//! Each accepts exactly the bytes that the body's own `decode` accepts; the tests hold the two
//! against each other.

use messages::Digest;
use messages::cbor::{CborError, Reader};

use super::VerdictResult;
use crate::Beacon;

/// A quote's body, as far as the log's rules and its blobs go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct QuoteGlance {
    pub(crate) beacon: Beacon,
    pub(crate) boot_log: Option<Digest>,
    pub(crate) ima_delta: Option<Digest>,
}

impl QuoteGlance {
    pub(crate) fn read(body: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(body);
        reader.array_of(7)?;
        reader.array_of(2)?;
        let beacon = Beacon { tree_size: reader.unsigned()?, note_digest: digest(&mut reader)? };
        digest(&mut reader)?; // salt
        reader.bytes()?; // attest
        reader.bytes()?; // signature
        for _ in 0..reader.array()? {
            reader.array_of(2)?;
            reader.unsigned()?; // algorithm
            for _ in 0..reader.array()? {
                reader.array_of(2)?;
                reader.unsigned()?; // PCR
                reader.bytes()?; // value
            }
        }
        reader.array_of(3)?;
        reader.unsigned()?; // from
        reader.unsigned()?; // count
        let ima_delta = reader.optional(digest)?;
        let boot_log = reader.optional(digest)?;
        reader.finish()?;
        Ok(Self { beacon, boot_log, ima_delta })
    }
}

/// A verdict's body, as far as the log's rules go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct VerdictGlance {
    pub(crate) quote: Digest,
    pub(crate) result: VerdictResult,
    pub(crate) binding: Digest,
}

impl VerdictGlance {
    /// Shows the digests of the policies to `policy` on the way.
    pub(crate) fn read(body: &[u8], mut policy: impl FnMut(Digest)) -> Result<Self, CborError> {
        let mut reader = Reader::new(body);
        reader.array_of(7)?;
        let quote = digest(&mut reader)?;
        let result = match reader.unsigned()? {
            0 => VerdictResult::Pass,
            1 => VerdictResult::Fail,
            2 => VerdictResult::Error,
            _ => return Err(CborError::Form { offset: 0, found: "an unknown result" }),
        };
        for _ in 0..reader.array()? {
            reader.array_of(4)?;
            reader.text()?; // component
            reader.text()?; // event
            if u8::try_from(reader.unsigned()?).is_err() {
                return Err(CborError::Form { offset: 0, found: "a severity above 255" });
            }
            reader.text()?;
        }
        for _ in 0..reader.array()? {
            policy(digest(&mut reader)?);
        }
        let binding = digest(&mut reader)?;
        reader.text()?; // appraiser
        reader.array_of(2)?;
        reader.unsigned()?; // entries replayed
        reader.bytes()?; // register
        reader.finish()?;
        Ok(Self { quote, result, binding })
    }
}

/// Whether a body is an operator's action: the rules ask no more of one.
pub(crate) fn operator_action(body: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(body);
    reader.array_of(4)?;
    reader.text()?; // action
    reader.text()?; // actor
    reader.optional(Reader::text)?; // target
    reader.text()?; // detail
    reader.finish()
}

/// Whether a body tells of missing evidence: the rules ask no more of one.
pub(crate) fn miss(body: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(body);
    reader.array_of(4)?;
    reader.unsigned()?; // due
    if reader.unsigned()? > 2 {
        return Err(CborError::Form { offset: 0, found: "an unknown reason" });
    }
    reader.unsigned()?; // attempts
    reader.text()?;
    reader.finish()
}

fn digest(reader: &mut Reader<'_>) -> Result<Digest, CborError> {
    reader.bytes_of().map(Digest)
}

#[cfg(test)]
mod tests;
