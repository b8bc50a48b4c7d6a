//! Takes a receipt's bytes apart.

use super::cbor::{MalformedCbor, Reader};
use super::{
    Algorithm, CLAIM_ISS, LABEL_ALG, LABEL_CRIT, LABEL_CWT, LABEL_KID, LABEL_VDP, LABEL_VDS, PROOF_CONSISTENCY,
    PROOF_INCLUSION, RECEIPT_BYTES_MAX, Receipt, ReceiptProof, TAG_SIGN1, VDS_RFC9162_SHA256,
};
use crate::hash::Hash;
use crate::proof::{ConsistencyProof, InclusionProof};

/// Most entries of one map: ours have four, and comparing all pairs must stay cheap.
const MAP_ENTRIES_MAX: u64 = 32;

/// Most hashes of a proof: one for each level of a tree of 64-bit size, and one more.
const HASHES_MAX: u64 = 65;

/// Why bytes are not a receipt of a log with RFC 9162's tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedReceipt {
    /// The signature's algorithm is missing or another than ES256 and EdDSA.
    #[error("the receipt's algorithm is {found:?}, expected -7 (ES256) or -8 (EdDSA)")]
    Algorithm {
        /// The number given.
        found: Option<i64>,
    },
    /// The payload is in the receipt; a root that is not computed must not be believed.
    #[error("the receipt carries a payload, expected nil: the root is detached")]
    Attached,
    /// The bytes are not CBOR, or another item stands where it should.
    #[error("{part} of the receipt is not the CBOR it should be")]
    Cbor {
        /// The part.
        part: &'static str,
        /// What is wrong with it.
        source: MalformedCbor,
    },
    /// A header that must be understood is not.
    #[error("the receipt demands that a header be understood that is not known here")]
    Critical,
    /// A label stands twice in the headers.
    #[error("a header label stands twice in the receipt")]
    DuplicateLabel,
    /// A list of hashes that RFC 9942 does not allow.
    #[error("the receipt's proof has {found} hashes, expected 1 to {HASHES_MAX}")]
    Hashes {
        /// Hashes given.
        found: u64,
    },
    /// A hash of another length than SHA-256.
    #[error("a hash of the receipt has {found} bytes, expected 32")]
    HashLength {
        /// Its length.
        found: usize,
    },
    /// An array has another length than the format gives it.
    #[error("{part} of the receipt has {found} items, expected {expected}")]
    Items {
        /// The array.
        part: &'static str,
        /// Items expected.
        expected: u64,
        /// Items given.
        found: u64,
    },
    /// More headers than any receipt needs.
    #[error("a map of the receipt has {found} entries, at most {MAP_ENTRIES_MAX} are allowed")]
    MapEntries {
        /// Entries given.
        found: u64,
    },
    /// Not exactly one proof of a kind that is known.
    #[error("the receipt has {found} proofs of inclusion or consistency, expected 1")]
    Proofs {
        /// Proofs given.
        found: u64,
    },
    /// Another structure than a COSE_Sign1.
    #[error("the receipt has the CBOR tag {found}, expected {TAG_SIGN1} (COSE_Sign1)")]
    Tag {
        /// The tag given.
        found: u64,
    },
    /// More bytes than any receipt needs.
    #[error("the receipt has {found} bytes, at most {RECEIPT_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes given.
        found: usize,
    },
    /// The proofs are of another kind of log, or it is not said of which.
    #[error("the receipt's verifiable data structure is {found:?}, expected 1 (RFC9162_SHA256)")]
    Vds {
        /// The number given.
        found: Option<i64>,
    },
}

/// What we read of the protected headers.
#[derive(Default)]
struct Protected {
    alg: Option<i64>,
    issuer: Option<String>,
    key_id: Option<Vec<u8>>,
    vds: Option<i64>,
}

const PROTECTED: &str = "the protected header";
const UNPROTECTED: &str = "the unprotected header";
const ENVELOPE: &str = "the COSE_Sign1";
const PROOF: &str = "the proof";

pub(super) fn receipt(bytes: &[u8]) -> Result<Receipt, MalformedReceipt> {
    if bytes.len() > RECEIPT_BYTES_MAX {
        return Err(MalformedReceipt::TooLong { found: bytes.len() });
    }
    let mut reader = Reader::new(bytes);
    let tag = reader.tag().map_err(within(ENVELOPE))?;
    if tag != TAG_SIGN1 {
        return Err(MalformedReceipt::Tag { found: tag });
    }
    expect_items(ENVELOPE, 4, reader.array().map_err(within(ENVELOPE))?)?;
    let protected = reader.bytes().map_err(within(ENVELOPE))?;
    let mut labels = Vec::new();
    let headers = read_protected(protected, &mut labels)?;
    let proof = read_unprotected(&mut reader, &mut labels)?;
    if !reader.nil() {
        return Err(MalformedReceipt::Attached);
    }
    let signature = reader.bytes().map_err(within(ENVELOPE))?.to_vec();
    reader.finish().map_err(within(ENVELOPE))?;

    if headers.vds != Some(VDS_RFC9162_SHA256) {
        return Err(MalformedReceipt::Vds { found: headers.vds });
    }
    let algorithm = headers.alg.and_then(Algorithm::from_number);
    let algorithm = algorithm.ok_or(MalformedReceipt::Algorithm { found: headers.alg })?;
    let Protected { issuer, key_id, .. } = headers;
    Ok(Receipt { algorithm, issuer, key_id, proof, protected: protected.to_vec(), signature })
}

fn read_protected<'a>(bytes: &'a [u8], labels: &mut Vec<&'a [u8]>) -> Result<Protected, MalformedReceipt> {
    let mut found = Protected::default();
    let mut reader = Reader::new(bytes);
    for _ in 0..map(&mut reader, PROTECTED)? {
        match label(&mut reader, labels, PROTECTED)? {
            Some(LABEL_ALG) => found.alg = reader.integer_or_other().map_err(within(PROTECTED))?,
            Some(LABEL_CRIT) => critical(&mut reader)?,
            Some(LABEL_CWT) => found.issuer = issuer(&mut reader)?,
            Some(LABEL_KID) => found.key_id = Some(reader.bytes().map_err(within(PROTECTED))?.to_vec()),
            Some(LABEL_VDS) => found.vds = Some(reader.integer().map_err(within(PROTECTED))?),
            Some(_) | None => reader.skip().map_err(within(PROTECTED))?,
        }
    }
    reader.finish().map_err(within(PROTECTED))?;
    Ok(found)
}

/// Every label named must be one that is read here. Source: RFC 9052 §3.1.
fn critical(reader: &mut Reader<'_>) -> Result<(), MalformedReceipt> {
    let known = [LABEL_ALG, LABEL_CRIT, LABEL_CWT, LABEL_KID, LABEL_VDS];
    let count = reader.array().map_err(within(PROTECTED))?;
    for _ in 0..count {
        let label = reader.integer_or_other().map_err(within(PROTECTED))?;
        if !label.is_some_and(|label| known.contains(&label)) {
            return Err(MalformedReceipt::Critical);
        }
    }
    Ok(())
}

fn issuer(reader: &mut Reader<'_>) -> Result<Option<String>, MalformedReceipt> {
    let mut issuer = None;
    let mut labels = Vec::new();
    for _ in 0..map(reader, PROTECTED)? {
        match label(reader, &mut labels, PROTECTED)? {
            Some(CLAIM_ISS) => issuer = Some(reader.text().map_err(within(PROTECTED))?.to_owned()),
            Some(_) | None => reader.skip().map_err(within(PROTECTED))?,
        }
    }
    Ok(issuer)
}

/// The proof among the unprotected headers, whose labels differ from the protected ones'.
fn read_unprotected<'a>(reader: &mut Reader<'a>, labels: &mut Vec<&'a [u8]>) -> Result<ReceiptProof, MalformedReceipt> {
    let mut proofs = Vec::new();
    for _ in 0..map(reader, UNPROTECTED)? {
        match label(reader, labels, UNPROTECTED)? {
            Some(LABEL_VDP) => read_proofs(reader, &mut proofs)?,
            Some(_) | None => reader.skip().map_err(within(UNPROTECTED))?,
        }
    }
    match <[_; 1]>::try_from(proofs) {
        Ok([(kind, bytes)]) => read_proof(kind, bytes),
        Err(proofs) => Err(MalformedReceipt::Proofs { found: proofs.len() as u64 }),
    }
}

fn read_proofs<'a>(reader: &mut Reader<'a>, proofs: &mut Vec<(i64, &'a [u8])>) -> Result<(), MalformedReceipt> {
    let mut labels = Vec::new();
    for _ in 0..map(reader, UNPROTECTED)? {
        let Some(kind @ (PROOF_CONSISTENCY | PROOF_INCLUSION)) = label(reader, &mut labels, UNPROTECTED)? else {
            reader.skip().map_err(within(UNPROTECTED))?;
            continue;
        };
        let count = reader.array().map_err(within(UNPROTECTED))?;
        if count != 1 {
            return Err(MalformedReceipt::Proofs { found: count });
        }
        proofs.push((kind, reader.bytes().map_err(within(UNPROTECTED))?));
    }
    Ok(())
}

fn read_proof(kind: i64, bytes: &[u8]) -> Result<ReceiptProof, MalformedReceipt> {
    let mut reader = Reader::new(bytes);
    expect_items(PROOF, 3, reader.array().map_err(within(PROOF))?)?;
    let first = reader.unsigned().map_err(within(PROOF))?;
    let second = reader.unsigned().map_err(within(PROOF))?;
    let count = reader.array().map_err(within(PROOF))?;
    if count == 0 || count > HASHES_MAX {
        return Err(MalformedReceipt::Hashes { found: count });
    }
    let mut hashes = Vec::new();
    for _ in 0..count {
        let hash = reader.bytes().map_err(within(PROOF))?;
        hashes.push(Hash::try_from(hash).map_err(|_| MalformedReceipt::HashLength { found: hash.len() })?);
    }
    reader.finish().map_err(within(PROOF))?;
    Ok(if kind == PROOF_INCLUSION {
        ReceiptProof::Inclusion { tree_size: first, leaf_index: second, path: InclusionProof::new(hashes) }
    } else {
        ReceiptProof::Consistency { old_size: first, new_size: second, path: ConsistencyProof::new(hashes) }
    })
}

fn map(reader: &mut Reader<'_>, part: &'static str) -> Result<u64, MalformedReceipt> {
    let found = reader.map().map_err(within(part))?;
    if found > MAP_ENTRIES_MAX { Err(MalformedReceipt::MapEntries { found }) } else { Ok(found) }
}

/// The next label; nothing if it is a text. None may come twice.
fn label<'a>(
    reader: &mut Reader<'a>,
    labels: &mut Vec<&'a [u8]>,
    part: &'static str,
) -> Result<Option<i64>, MalformedReceipt> {
    let start = reader.offset();
    let label = reader.integer_or_other().map_err(within(part))?;
    let bytes = reader.since(start);
    if labels.contains(&bytes) {
        return Err(MalformedReceipt::DuplicateLabel);
    }
    labels.push(bytes);
    Ok(label)
}

fn expect_items(part: &'static str, expected: u64, found: u64) -> Result<(), MalformedReceipt> {
    if found == expected { Ok(()) } else { Err(MalformedReceipt::Items { part, expected, found }) }
}

fn within(part: &'static str) -> impl FnOnce(MalformedCbor) -> MalformedReceipt {
    move |source| MalformedReceipt::Cbor { part, source }
}
