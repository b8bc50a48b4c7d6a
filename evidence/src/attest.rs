//! `TPMS_ATTEST`: what a TPM says over its signature.

use std::fmt;

use crate::algorithm::DIGEST_BYTES_MAX;
use crate::name::TpmName;
use crate::pcr::{PcrSelection, read_selections};
use crate::reader::{MalformedStructure, Reader};

#[cfg(test)]
mod tests;

/// A parsed `TPMS_ATTEST`: nothing in it is authentic before the signature over its bytes was checked.
///
/// Source: TPM 2.0 Library, Part 2, "Attestation Structures".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// Qualified name of the key that signed: its name hashed together with its ancestors'.
    pub qualified_signer: TpmName,
    /// The challenger's bytes (`qualifyingData` on the way in), at most 66.
    pub extra_data: Vec<u8>,
    /// The TPM's clock and its counters of resets and restarts.
    pub clock_info: ClockInfo,
    /// The vendor's firmware version; how to read it is the vendor's matter.
    pub firmware_version: u64,
    /// What is attested to.
    pub attested: Attested,
}

/// What kind of attestation it is, and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attested {
    /// `TPM_ST_ATTEST_CERTIFY`: an object with this name is loaded.
    Certify {
        /// Name of the certified object.
        name: TpmName,
        /// Its qualified name.
        qualified_name: TpmName,
    },
    /// `TPM_ST_ATTEST_QUOTE`: the selected registers hash to this.
    Quote {
        /// The selections as signed, in the order signed; usually one.
        selections: Vec<PcrSelection>,
        /// The digest over all selected registers; its algorithm is the signature's, which the structure does not say.
        pcr_digest: Vec<u8>,
    },
}

impl Attest {
    /// Reads a `TPMS_ATTEST` (without a size in front) of type quote or certify, to its last byte.
    ///
    /// # Errors
    /// [`MalformedStructure`] naming the field, its offset, what was expected and what was found.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedStructure> {
        let mut reader = Reader::new(bytes);
        let magic = reader.u32("magic")?;
        if magic != TPM_GENERATED {
            // Anything a restricted key signs starts with this; other data under the same key is no attestation.
            let (field, found) = ("magic", u64::from(magic));
            return Err(MalformedStructure::Value { field, offset: 0, expected: "0xff544347 (TPM generated)", found });
        }
        let kind_offset = reader.offset();
        let kind = reader.u16("type")?;
        let qualified_signer = TpmName::read(&mut reader, "qualifiedSigner")?;
        let extra_data = reader.sized("extraData", (0, EXTRA_DATA_BYTES_MAX), "at most 66 (TPM2B_DATA)")?.to_vec();
        let clock_info = ClockInfo::read(&mut reader)?;
        let firmware_version = reader.u64("firmwareVersion")?;
        let attested = match kind {
            ATTEST_CERTIFY => Attested::Certify {
                name: TpmName::read(&mut reader, "certified name")?,
                qualified_name: TpmName::read(&mut reader, "certified qualifiedName")?,
            },
            ATTEST_QUOTE => Attested::Quote {
                selections: read_selections(&mut reader)?,
                pcr_digest: reader.sized("pcrDigest", (0, DIGEST_BYTES_MAX), "at most 64 (TPM2B_DIGEST)")?.to_vec(),
            },
            other => {
                return Err(MalformedStructure::Value {
                    field: "type",
                    offset: kind_offset,
                    expected: "0x8017 (certify) or 0x8018 (quote)",
                    found: u64::from(other),
                });
            }
        };
        reader.finish()?;
        Ok(Self { qualified_signer, extra_data, clock_info, firmware_version, attested })
    }
}

/// `TPMS_CLOCK_INFO`: when, in the TPM's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds the TPM has been powered since its clock was last set; not wall-clock time.
    pub clock_ms: u64,
    /// TPM resets (reboots) since the TPM was last cleared.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether no larger `clock_ms` may have been reported before: false after an unorderly shutdown, for a while.
    pub safe: bool,
}

impl ClockInfo {
    /// Judges this clock as successor of `previous`, the clock of the last quote that was accepted from the same TPM.
    ///
    /// Checks in order: the clock is safe; `reset_count` did not fall; in the same reset cycle `restart_count` did not
    /// fall; and, unless the TPM was reset, the clock went strictly forward. A reset may set `restart_count` back to
    /// zero, and the clock back by what the TPM had not saved. Whether a reboot is *welcome* is for the policy.
    ///
    /// Both clocks must come from [`crate::quote::AuthenticQuote`]s for the answer to mean anything.
    ///
    /// # Errors
    /// [`ClockRejected`] with the two values that do not fit.
    pub const fn follows(&self, previous: &Self) -> Result<ClockStep, ClockRejected> {
        if !self.safe {
            return Err(ClockRejected::Unsafe);
        }
        if self.reset_count < previous.reset_count {
            let (previous, found) = (previous.reset_count, self.reset_count);
            return Err(ClockRejected::ResetCountFell { previous, found });
        }
        if self.reset_count > previous.reset_count {
            return Ok(ClockStep::Rebooted { resets: self.reset_count - previous.reset_count });
        }
        if self.restart_count < previous.restart_count {
            let (previous, found) = (previous.restart_count, self.restart_count);
            return Err(ClockRejected::RestartCountFell { previous, found });
        }
        if self.clock_ms <= previous.clock_ms {
            let (previous_ms, found_ms) = (previous.clock_ms, self.clock_ms);
            return Err(ClockRejected::ClockNotForward { previous_ms, found_ms });
        }
        Ok(ClockStep::SameBoot { resumes: self.restart_count - previous.restart_count })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedStructure> {
        let clock_ms = reader.u64("clock")?;
        let reset_count = reader.u32("resetCount")?;
        let restart_count = reader.u32("restartCount")?;
        let offset = reader.offset();
        let safe = match reader.u8("safe")? {
            0 => false,
            1 => true,
            other => {
                let (field, found) = ("safe", u64::from(other));
                return Err(MalformedStructure::Value { field, offset, expected: "0 or 1", found });
            }
        };
        Ok(Self { clock_ms, reset_count, restart_count, safe })
    }
}

/// What happened between two accepted quotes, as the TPM signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// The TPM was reset: the machine rebooted, its registers and logs start afresh.
    Rebooted {
        /// How many resets lie between the two quotes, at least one.
        resets: u32,
    },
    /// Same boot; registers only ever grew.
    SameBoot {
        /// How many suspends and resumes lie between the two quotes.
        resumes: u32,
    },
}

/// Why a quote cannot follow the one accepted before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockRejected {
    /// The clock stood still or went back within one reset cycle: an older quote, or a tampered TPM state.
    #[error("the TPM's clock must go forward from {previous_ms} ms, found {found_ms} ms")]
    ClockNotForward {
        /// Clock of the previous quote.
        previous_ms: u64,
        /// Clock of this one.
        found_ms: u64,
    },
    /// Fewer resets than before: an older quote, or another TPM.
    #[error("the TPM's reset count must not fall below {previous}, found {found}")]
    ResetCountFell {
        /// Count in the previous quote.
        previous: u32,
        /// Count in this one.
        found: u32,
    },
    /// Fewer restarts than before without a reset: an older quote.
    #[error("the TPM's restart count must not fall below {previous} without a reset, found {found}")]
    RestartCountFell {
        /// Count in the previous quote.
        previous: u32,
        /// Count in this one.
        found: u32,
    },
    /// The TPM itself says its clock may repeat.
    #[error("the TPM says its clock is not safe")]
    Unsafe,
}

impl fmt::Display for ClockStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rebooted { resets } => write!(f, "rebooted {resets} times"),
            Self::SameBoot { resumes } => write!(f, "same boot, resumed {resumes} times"),
        }
    }
}

/// `TPM_GENERATED_VALUE`: 0xff and "TCG".
const TPM_GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_CERTIFY`.
const ATTEST_CERTIFY: u16 = 0x8017;
/// `TPM_ST_ATTEST_QUOTE`.
const ATTEST_QUOTE: u16 = 0x8018;
/// `TPM2B_DATA` holds at most a `TPMT_HA`: an algorithm's two bytes and the longest digest.
pub(crate) const EXTRA_DATA_BYTES_MAX: usize = 2 + DIGEST_BYTES_MAX;
