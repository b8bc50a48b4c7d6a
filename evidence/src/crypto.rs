//! The one error of the environment: the cryptographic library could not do its work.

use openssl::error::ErrorStack;

/// The cryptographic library refused an operation that does not depend on the peer's bytes.
///
/// Seen when an algorithm is switched off (a FIPS provider without SM3) or memory is short. It says nothing about the
/// evidence: the caller treats the question as unanswered, never as passed.
#[derive(Debug, thiserror::Error)]
#[error("the cryptographic library could not {operation}")]
pub struct CryptoUnavailable {
    /// What was tried, as a verb phrase ("hash with sha256").
    pub operation: &'static str,
    /// The library's own error stack.
    pub source: ErrorStack,
}

/// Names the operation an [`ErrorStack`] came from.
pub(crate) fn unavailable(operation: &'static str) -> impl FnOnce(ErrorStack) -> CryptoUnavailable {
    move |source| CryptoUnavailable { operation, source }
}
