//! Quotes: a TPM's signed statement about its registers, parsed, then authenticated.

use std::fmt;

use crate::algorithm::{Digest, HashAlgorithm};
use crate::attest::{Attest, Attested, ClockInfo};
use crate::crypto::CryptoUnavailable;
use crate::name::TpmName;
use crate::pcr::{PcrBank, PcrIndex, PcrSelection, PcrValues};
use crate::public::{Ak, SigningScheme};
use crate::reader::MalformedStructure;
use crate::signature::Signature;

#[cfg(test)]
mod tests;

/// A well-formed quote and its signature; nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The `TPMS_ATTEST` as it came: what the signature is over.
    attest_bytes: Vec<u8>,
    qualified_signer: TpmName,
    extra_data: Vec<u8>,
    clock_info: ClockInfo,
    firmware_version: u64,
    selections: Vec<PcrSelection>,
    pcr_digest: Vec<u8>,
    signature: Signature,
}

impl Quote {
    /// Reads a `TPMS_ATTEST` of type quote and its `TPMT_SIGNATURE`, each to the last byte.
    ///
    /// # Errors
    /// [`MalformedQuote`] saying which of the two, and where.
    pub fn parse(attest_bytes: &[u8], signature_bytes: &[u8]) -> Result<Self, MalformedQuote> {
        let attest = Attest::parse(attest_bytes).map_err(MalformedQuote::Attest)?;
        let Attested::Quote { selections, pcr_digest } = attest.attested else {
            return Err(MalformedQuote::NotAQuote);
        };
        Ok(Self {
            attest_bytes: attest_bytes.to_vec(),
            qualified_signer: attest.qualified_signer,
            extra_data: attest.extra_data,
            clock_info: attest.clock_info,
            firmware_version: attest.firmware_version,
            selections,
            pcr_digest,
            signature: Signature::parse(signature_bytes).map_err(MalformedQuote::Signature)?,
        })
    }

    /// Authenticates the quote: it was made by `ak`'s TPM, in answer to `expected.nonce`, over exactly
    /// `expected.selection`, and `expected.values` are the registers' values at that moment.
    ///
    /// Checks in order, the cheap ones first:
    /// 1. the signature's hash reaches the floor, and its scheme is the one `ak` is bound to;
    /// 2. the signed bytes carry the nonce;
    /// 3. the selection asked for is not empty and of a bank that reaches the floor;
    /// 4. the signed selection is that selection: one bank, that bank, those registers;
    /// 5. the values are of that bank, one for each register selected and none besides;
    /// 6. the signed digest is the digest, in the signature's hash, over the values in register order;
    /// 7. the signature verifies over the signed bytes.
    ///
    /// The clock is not judged here: see [`ClockInfo::follows`]. Nor is the bank compared with the signature's hash,
    /// which Keylime demands in addition.
    ///
    /// # Errors
    /// [`QuoteRejected`], one variant for each reason.
    pub fn verify(self, ak: &Ak, expected: &Expected<'_>) -> Result<AuthenticQuote, QuoteRejected> {
        self.check_scheme(ak)?;
        self.check_nonce(expected.nonce)?;
        self.check_selection(expected.selection)?;
        check_values(expected.selection, expected.values)?;
        self.check_digest(expected.values)?;
        self.check_signature(ak)?;
        Ok(AuthenticQuote { quote: self, selection: *expected.selection, values: expected.values.clone() })
    }

    /// Checks the signature alone (steps 1 and 7 of [`verify`](Self::verify)).
    ///
    /// A quote that passes was once made by `ak`'s TPM; when, in answer to whom and over which values is open.
    ///
    /// # Errors
    /// [`QuoteRejected::WeakHash`], [`QuoteRejected::Scheme`], [`QuoteRejected::SignatureSize`],
    /// [`QuoteRejected::Signature`] or [`QuoteRejected::Unavailable`].
    pub fn verify_signature(&self, ak: &Ak) -> Result<(), QuoteRejected> {
        self.check_scheme(ak)?;
        self.check_signature(ak)
    }

    /// The `TPMS_ATTEST` as it came. Untrusted.
    #[must_use]
    pub fn attest_bytes(&self) -> &[u8] {
        &self.attest_bytes
    }

    /// Qualified name of the signing key, as the quote claims. Untrusted.
    #[must_use]
    pub const fn qualified_signer(&self) -> &TpmName {
        &self.qualified_signer
    }

    /// The challenger's bytes the quote carries. Untrusted.
    #[must_use]
    pub fn extra_data(&self) -> &[u8] {
        &self.extra_data
    }

    /// The TPM's clock, as the quote claims. Untrusted.
    #[must_use]
    pub const fn clock_info(&self) -> &ClockInfo {
        &self.clock_info
    }

    /// The TPM's firmware version, as the quote claims. Untrusted.
    #[must_use]
    pub const fn firmware_version(&self) -> u64 {
        self.firmware_version
    }

    /// The selections the quote claims to cover, in the order given. Untrusted.
    #[must_use]
    pub fn selections(&self) -> &[PcrSelection] {
        &self.selections
    }

    /// The digest over the selected registers, as the quote claims. Untrusted.
    #[must_use]
    pub fn pcr_digest(&self) -> &[u8] {
        &self.pcr_digest
    }

    /// The signature, not yet checked.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    fn check_scheme(&self, ak: &Ak) -> Result<(), QuoteRejected> {
        let found = self.signature.scheme();
        // A collision in the hash would let one signature stand for two quotes.
        if !found.hash.meets_floor() {
            return Err(QuoteRejected::WeakHash { found: found.hash });
        }
        // A restricted key signs with its own scheme only; anything else is not from it.
        if found != ak.scheme() {
            return Err(QuoteRejected::Scheme { expected: ak.scheme(), found });
        }
        Ok(())
    }

    fn check_nonce(&self, expected: &[u8]) -> Result<(), QuoteRejected> {
        // Another nonce: a replayed quote, or the answer to another challenger.
        if self.extra_data != expected {
            return Err(QuoteRejected::Nonce { expected: expected.to_vec(), found: self.extra_data.clone() });
        }
        Ok(())
    }

    fn check_selection(&self, expected: &PcrSelection) -> Result<(), QuoteRejected> {
        // A quote over nothing verifies with any register values.
        if expected.is_empty() {
            return Err(QuoteRejected::EmptySelection);
        }
        if !expected.bank().algorithm().meets_floor() {
            return Err(QuoteRejected::WeakBank { found: expected.bank() });
        }
        let [found] = self.selections.as_slice() else {
            return Err(QuoteRejected::SelectionCount { expected: *expected, found: self.selections.clone() });
        };
        // The same bits of another bank select other registers.
        if found.bank() != expected.bank() {
            return Err(QuoteRejected::Bank { expected: expected.bank(), found: found.bank() });
        }
        // Other registers labelled as those asked for: the digest would fit values nobody asked about.
        if found != expected {
            return Err(QuoteRejected::Selection { expected: *expected, found: *found });
        }
        Ok(())
    }

    fn check_digest(&self, values: &PcrValues) -> Result<(), QuoteRejected> {
        let computed = values.digest(self.signature.hash())?;
        if self.pcr_digest != computed.as_bytes() {
            return Err(QuoteRejected::PcrDigest { expected: computed, found: self.pcr_digest.clone() });
        }
        Ok(())
    }

    fn check_signature(&self, ak: &Ak) -> Result<(), QuoteRejected> {
        let (expected, exact) = ak.public().signature_bytes();
        let found = self.signature.bytes_max();
        if found > expected || (exact && found < expected) {
            return Err(QuoteRejected::SignatureSize { expected, found });
        }
        if self.signature.is_valid(ak.key(), &self.attest_bytes)? { Ok(()) } else { Err(QuoteRejected::Signature) }
    }
}

/// Supplied and selected must be the same registers, both ways.
fn check_values(selection: &PcrSelection, values: &PcrValues) -> Result<(), QuoteRejected> {
    if values.bank() != selection.bank() {
        return Err(QuoteRejected::ValuesBank { expected: selection.bank(), found: values.bank() });
    }
    let supplied = values.selection();
    if let Some(index) = selection.indices().find(|index| !supplied.contains(*index)) {
        return Err(QuoteRejected::PcrMissing { bank: selection.bank(), index });
    }
    if let Some(index) = supplied.indices().find(|index| !selection.contains(*index)) {
        return Err(QuoteRejected::PcrUnexpected { bank: selection.bank(), index });
    }
    Ok(())
}

/// What the challenger asked for, and the register values the attester sent beside the quote.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The challenge, as bytes, in the one encoding it was sent in.
    pub nonce: &'a [u8],
    /// The registers asked for.
    pub selection: &'a PcrSelection,
    /// The attester's statement of their values.
    pub values: &'a PcrValues,
}

/// A quote whose signature, nonce, selection and register values were checked: only [`Quote::verify`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct AuthenticQuote {
    quote: Quote,
    selection: PcrSelection,
    values: PcrValues,
}

impl AuthenticQuote {
    /// Whether this is `quote`, authenticated as the answer to all of `expected`. Under which key it was is for the caller
    /// to know.
    #[must_use]
    pub fn is(&self, quote: &Quote, expected: &Expected<'_>) -> bool {
        self.quote == *quote
            && self.quote.extra_data == expected.nonce
            && self.selection == *expected.selection
            && self.values == *expected.values
    }

    /// The registers' values when the quote was made.
    #[must_use]
    pub const fn values(&self) -> &PcrValues {
        &self.values
    }

    /// The registers the quote covers.
    #[must_use]
    pub const fn selection(&self) -> &PcrSelection {
        &self.selection
    }

    /// The TPM's clock when the quote was made.
    #[must_use]
    pub const fn clock_info(&self) -> &ClockInfo {
        &self.quote.clock_info
    }

    /// The TPM's firmware version.
    #[must_use]
    pub const fn firmware_version(&self) -> u64 {
        self.quote.firmware_version
    }

    /// The nonce the quote answers.
    #[must_use]
    pub fn nonce(&self) -> &[u8] {
        &self.quote.extra_data
    }

    /// The quote as it was parsed.
    #[must_use]
    pub const fn quote(&self) -> &Quote {
        &self.quote
    }
}

/// Why bytes are no quote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedQuote {
    /// The attestation structure is broken.
    #[error("malformed TPMS_ATTEST")]
    Attest(#[source] MalformedStructure),
    /// A well-formed attestation, of a certified object instead of registers.
    #[error("the attestation certifies an object, expected a quote (type 0x8018)")]
    NotAQuote,
    /// The signature structure is broken.
    #[error("malformed TPMT_SIGNATURE")]
    Signature(#[source] MalformedStructure),
}

/// Why a well-formed quote is not believed.
#[derive(Debug, thiserror::Error)]
pub enum QuoteRejected {
    /// The quote is over another bank than asked for.
    #[error("the quote covers bank {found}, asked for was {expected}")]
    Bank {
        /// The bank asked for.
        expected: PcrBank,
        /// The bank signed.
        found: PcrBank,
    },
    /// No register was asked for: such a quote attests to nothing.
    #[error("a quote over no registers attests to nothing")]
    EmptySelection,
    /// The quote answers another challenge.
    #[error("the quote answers nonce {}, expected {}", Hex(found), Hex(expected))]
    Nonce {
        /// The challenge.
        expected: Vec<u8>,
        /// What the quote carries.
        found: Vec<u8>,
    },
    /// The values supplied are not the ones that were quoted.
    #[error("the supplied register values hash to {expected}, the quote signs {}", Hex(found))]
    PcrDigest {
        /// The digest over the values supplied.
        expected: Digest,
        /// The digest signed.
        found: Vec<u8>,
    },
    /// A register is attested but its value was not supplied.
    #[error("PCR {index} of bank {bank} is quoted but its value was not supplied")]
    PcrMissing {
        /// The bank.
        bank: PcrBank,
        /// The register.
        index: PcrIndex,
    },
    /// A value was supplied for a register that is not attested.
    #[error("PCR {index} of bank {bank} was supplied but is not quoted")]
    PcrUnexpected {
        /// The bank.
        bank: PcrBank,
        /// The register.
        index: PcrIndex,
    },
    /// The signature says another scheme than the one the key is bound to.
    #[error("the signature is {found}, the attestation key signs {expected}")]
    Scheme {
        /// The key's scheme.
        expected: SigningScheme,
        /// The signature's scheme.
        found: SigningScheme,
    },
    /// The quote is over other registers than asked for.
    #[error("the quote covers {found}, asked for was {expected}")]
    Selection {
        /// The registers asked for.
        expected: PcrSelection,
        /// The registers signed.
        found: PcrSelection,
    },
    /// The quote is over no bank or over several, one was asked for.
    #[error("the quote has {} PCR selections, expected exactly one ({expected})", found.len())]
    SelectionCount {
        /// The registers asked for.
        expected: PcrSelection,
        /// The selections signed.
        found: Vec<PcrSelection>,
    },
    /// The signature does not verify under the attestation key.
    #[error("the signature does not verify under the attestation key")]
    Signature,
    /// The signature cannot be one of a key of this size.
    #[error("the signature has {found} bytes, a signature of this key has {expected}")]
    SignatureSize {
        /// The modulus' size, or the largest size of `r` and `s`.
        expected: usize,
        /// The size found.
        found: usize,
    },
    /// The question could not be answered, so the quote is not believed.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
    /// The values supplied are of another bank than asked for.
    #[error("the supplied register values are of bank {found}, asked for was {expected}")]
    ValuesBank {
        /// The bank asked for.
        expected: PcrBank,
        /// The bank of the values.
        found: PcrBank,
    },
    /// The bank asked for is extended with a hash below the floor.
    #[error("bank {found} is below the floor, sha256 or stronger is needed")]
    WeakBank {
        /// The bank.
        found: PcrBank,
    },
    /// The signature's hash is below the floor.
    #[error("the signature's hash {found} is below the floor, sha256 or stronger is needed")]
    WeakHash {
        /// The hash.
        found: HashAlgorithm,
    },
}

/// Bytes as hexadecimal digits, for messages.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
