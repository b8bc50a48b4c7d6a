//! Quotes and verdicts read piece by piece: an auditor reads them by the million, each a dozen microseconds of signature
//! check, of which reading should take no part worth mentioning.
//!
//! Exactly the bytes that the general decoder accepts, and the same values; the tests hold the two against each other.

use messages::Digest;
use messages::cbor::{CborError, Reader};
use serde_bytes::ByteBuf;

use super::{BankValues, Finding, ImaDelta, ImaState, QuoteBody, Verdict, VerdictResult};
use crate::Beacon;

pub(super) fn quote(body: &[u8]) -> Result<QuoteBody, CborError> {
    let mut reader = Reader::new(body);
    reader.array_of(7)?;
    reader.array_of(2)?;
    let beacon = Beacon { tree_size: reader.unsigned()?, note_digest: digest(&mut reader)? };
    let salt = digest(&mut reader)?;
    let (attest, signature) = (bytes(&mut reader)?, bytes(&mut reader)?);
    let pcrs = list(&mut reader, |reader| {
        reader.array_of(2)?;
        let alg = reader.unsigned()?;
        let values = list(reader, |reader| {
            reader.array_of(2)?;
            Ok((reader.unsigned()?, bytes(reader)?))
        })?;
        Ok(BankValues { alg, values })
    })?;
    reader.array_of(3)?;
    let ima = ImaDelta { from: reader.unsigned()?, count: reader.unsigned()?, delta: reader.optional(digest)? };
    let boot_log = reader.optional(digest)?;
    reader.finish()?;
    Ok(QuoteBody { beacon, salt, attest, signature, pcrs, ima, boot_log })
}

pub(super) fn verdict(body: &[u8]) -> Result<Verdict, CborError> {
    let mut reader = Reader::new(body);
    reader.array_of(7)?;
    let quote = digest(&mut reader)?;
    let result = match reader.unsigned()? {
        0 => VerdictResult::Pass,
        1 => VerdictResult::Fail,
        2 => VerdictResult::Error,
        _ => return Err(CborError::Form { offset: 0, found: "an unknown result" }),
    };
    let findings = list(&mut reader, |reader| {
        reader.array_of(4)?;
        let (component, event) = (text(reader)?, text(reader)?);
        let severity = u8::try_from(reader.unsigned()?)
            .map_err(|_| CborError::Form { offset: 0, found: "a severity above 255" })?;
        Ok(Finding { component, event, severity, text: text(reader)? })
    })?;
    let policies = list(&mut reader, digest)?;
    let binding = digest(&mut reader)?;
    let appraiser = text(&mut reader)?;
    reader.array_of(2)?;
    let ima_state = ImaState { count: reader.unsigned()?, running: bytes(&mut reader)? };
    reader.finish()?;
    Ok(Verdict { quote, result, findings, policies, binding, appraiser, ima_state })
}

/// An array of any length; a false length ends with the input.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, CborError>,
) -> Result<Vec<T>, CborError> {
    let count = reader.array()?;
    (0..count).map(|_| item(reader)).collect()
}

fn digest(reader: &mut Reader<'_>) -> Result<Digest, CborError> {
    reader.bytes_of().map(Digest)
}

fn bytes(reader: &mut Reader<'_>) -> Result<ByteBuf, CborError> {
    reader.bytes().map(ByteBuf::from)
}

fn text(reader: &mut Reader<'_>) -> Result<String, CborError> {
    reader.text().map(str::to_owned)
}
