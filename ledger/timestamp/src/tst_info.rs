//! What a token states.
//!
//! ```text
//! TSTInfo ::= SEQUENCE { version INTEGER 1, policy OID, messageImprint, serialNumber INTEGER,
//!                        genTime GeneralizedTime, accuracy SEQUENCE OPTIONAL, ordering BOOLEAN DEFAULT FALSE,
//!                        nonce INTEGER OPTIONAL, tsa [0] OPTIONAL, extensions [1] OPTIONAL }
//! ```
//!
//! Source: RFC 3161 §2.4.2.

use crate::der::{
    BOOLEAN, CONTEXT_0, CONTEXT_1, Der, GENERALIZED_TIME, INTEGER, MalformedDer, OID, PRIMITIVE_0, PRIMITIVE_1,
    SEQUENCE, number, unsigned,
};
use crate::digest::DigestAlgorithm;
use crate::request::{Nonce, read_imprint, read_nonce};
use crate::time::GenTime;

/// The statement of a token, well-formed. Believed only inside a
/// [`VerifiedToken`](crate::VerifiedToken).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TstInfo {
    /// How far `gen_time` may be off.
    pub accuracy: Option<Accuracy>,
    /// When it was made, by the authority's clock.
    pub gen_time: GenTime,
    /// Digest of what was stamped; the algorithm is missing if it is not known here.
    pub(crate) imprint: (Option<DigestAlgorithm>, Vec<u8>),
    pub(crate) nonce: Option<Nonce>,
    /// The authority's number for it, big-endian without leading zeros.
    pub serial: Vec<u8>,
}

/// How far a time may be off, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accuracy(pub u64);

/// What a token's signed content must be.
pub(crate) const ID_CT_TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];

impl TstInfo {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, MalformedDer> {
        let mut outer = Der::new(bytes);
        let mut info = outer.sequence("TSTInfo")?;
        outer.finish("TSTInfo")?;
        if info.number("version")? != 1 {
            return Err(MalformedDer::Value { field: "version of TSTInfo", expected: "1" });
        }
        info.expect("policy", OID)?;
        let (algorithm, digest) = read_imprint(&mut info)?;
        let serial = info.unsigned("serialNumber")?.to_vec();
        let gen_time = GenTime::parse(info.expect("genTime", GENERALIZED_TIME)?.content)?;
        let accuracy = info.optional("accuracy", SEQUENCE)?;
        let accuracy = accuracy.map(|accuracy| Accuracy::read(accuracy.inside())).transpose()?;
        info.optional("ordering", BOOLEAN)?;
        let nonce = read_nonce(&mut info)?;
        info.optional("tsa", CONTEXT_0)?;
        info.optional("extensions", CONTEXT_1)?;
        info.finish("TSTInfo")?;
        Ok(Self { accuracy, gen_time, imprint: (algorithm, digest.to_vec()), nonce, serial })
    }
}

impl Accuracy {
    /// `SEQUENCE { seconds INTEGER OPTIONAL, millis [0] OPTIONAL, micros [1] OPTIONAL }`
    fn read(mut from: Der<'_>) -> Result<Self, MalformedDer> {
        let mut micros = 0_u64;
        for (tag, unit) in [(INTEGER, 1_000_000), (PRIMITIVE_0, 1_000), (PRIMITIVE_1, 1)] {
            if let Some(part) = from.optional("accuracy", tag)? {
                let part = number("accuracy", unsigned("accuracy", part.content)?)?;
                micros = micros.saturating_add(part.saturating_mul(unit));
            }
        }
        from.finish("accuracy")?;
        Ok(Self(micros))
    }
}
