//! Why the TPM did not do something.

use evidence::crypto::CryptoUnavailable;
use evidence::pcr::PcrSelection;
use evidence::public::MalformedPublic;
use evidence::quote::MalformedQuote;

/// Why a piece of work with the TPM failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TpmError {
    /// The TPM has not activated the bank, or not for these registers.
    #[error("the TPM has no values for {selection}; is the bank allocated?")]
    BankAbsent {
        /// What was to be read.
        selection: PcrSelection,
    },
    /// A command failed, or its parameters are none the TPM takes.
    #[error("the TPM cannot {operation}")]
    Command {
        /// What was to be done.
        operation: &'static str,
        /// What the TPM or its software stack says.
        source: tss_esapi::Error,
    },
    /// The cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] CryptoUnavailable),
    /// The TPM returned a key that is not supported.
    #[error("the TPM's {key} is not usable")]
    Key {
        /// EK or AK.
        key: &'static str,
        /// What is wrong with it.
        source: MalformedPublic,
    },
    /// The configured persistent handle holds no such key.
    #[error(
        "persistent handle {handle:#010x} holds no {wanted} EK; expected what ek_handle and tpm_encryption_alg say"
    )]
    NoSuchEk {
        /// The handle.
        handle: u32,
        /// The algorithm wanted.
        wanted: &'static str,
    },
    /// No connection.
    #[error("cannot open the TPM; check --tcti, and that nothing else holds the device")]
    Open {
        /// What the software stack says.
        source: tss_esapi::Error,
    },
    /// The work itself has a fault.
    #[error("work with the TPM ended unexpectedly: {message}")]
    Panicked {
        /// What the runtime says.
        message: String,
    },
    /// Registers changed during each attempt.
    #[error("PCRs of {selection} changed during each of {attempts} attempts to quote them")]
    PcrsMoved {
        /// The registers.
        selection: PcrSelection,
        /// How often it was tried.
        attempts: u32,
    },
    /// The TPM returned something that is no quote.
    #[error("the TPM's quote is not usable")]
    Quote(#[from] MalformedQuote),
    /// Not a TCTI.
    #[error("{tcti:?} is no TCTI; expected for example device:/dev/tpmrm0, swtpm:host=127.0.0.1,port=2321 or tabrmd")]
    Tcti {
        /// The text.
        tcti: String,
        /// What the software stack says.
        source: tss_esapi::Error,
    },
}

impl TpmError {
    /// Names what was being done when a command failed.
    pub(crate) const fn during(operation: &'static str) -> impl FnOnce(tss_esapi::Error) -> Self {
        move |source| Self::Command { operation, source }
    }

    /// Whether the TPM itself said no, as against not being reached.
    pub(crate) const fn is_answer_of_tpm(&self) -> bool {
        matches!(self, Self::Command { source: tss_esapi::Error::Tss2Error(_), .. })
    }
}
