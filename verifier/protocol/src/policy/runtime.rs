//! What may run, as a tenant gives it: Keylime's JSON, bare or in a signed envelope.

use std::sync::Arc;

use evidence::runtime_policy::{
    CompileError, Envelope, EnvelopeRejected, ImportError, MalformedEnvelope, PolicyBuilder, PolicyLayer, PolicyStack,
    Signers, StackRejected, UnusableSigner,
};

/// Why a document is no runtime policy.
#[derive(Debug, thiserror::Error)]
pub enum RuntimePolicyError {
    /// A rule or path in it cannot be used.
    #[error("the runtime policy cannot be compiled")]
    Compile(#[source] CompileError),
    /// Its form.
    #[error("the runtime policy is malformed")]
    Import(#[source] ImportError),
    /// It cannot stand alone.
    #[error("the runtime policy cannot be put in force")]
    Stack(#[source] StackRejected),
}

/// Why a signed policy is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SignedPolicyError {
    /// The key is none.
    #[error("the policy's key cannot be used")]
    Key(#[source] UnusableSigner),
    /// A signed policy without a key to check it with.
    #[error("the policy is a signed envelope, and no key came along to check it with")]
    KeyMissing,
    /// A key came along, and the policy is no envelope.
    #[error("a key came along, and the policy is no signed envelope")]
    NotSigned(#[source] MalformedEnvelope),
    /// The signature.
    #[error("the policy's signature does not count")]
    Rejected(#[source] EnvelopeRejected),
}

/// Compiles a policy's JSON into a stack of one layer.
///
/// # Errors
/// [`RuntimePolicyError`] with the place.
pub fn compile_runtime(json: &[u8]) -> Result<PolicyStack, RuntimePolicyError> {
    let builder = PolicyBuilder::from_keylime_json(json).map_err(RuntimePolicyError::Import)?;
    let policy = Arc::new(builder.compile().map_err(RuntimePolicyError::Compile)?);
    PolicyStack::new(vec![PolicyLayer { name: LAYER.to_owned(), policy }]).map_err(RuntimePolicyError::Stack)
}

/// The policy's JSON out of what a tenant sends: with a key, a DSSE envelope that this key (or
/// certificate, valid at `now`, seconds since 1970) signed; without one, the JSON itself.
///
/// # Errors
/// [`SignedPolicyError`] if a key came without a good signature, or a signature without a key.
pub fn opened(document: &[u8], key_pem: Option<&[u8]>, now: i64) -> Result<Vec<u8>, SignedPolicyError> {
    let envelope = Envelope::parse(document);
    let Some(key_pem) = key_pem else {
        return if envelope.is_ok() { Err(SignedPolicyError::KeyMissing) } else { Ok(document.to_vec()) };
    };
    let envelope = envelope.map_err(SignedPolicyError::NotSigned)?;
    let mut signers = Signers::new();
    signers.trust("runtime_policy_key", key_pem).map_err(SignedPolicyError::Key)?;
    let signed = envelope.verify(&signers, now).map_err(SignedPolicyError::Rejected)?;
    Ok(signed.payload().to_vec())
}

/// The layer's name in findings.
const LAYER: &str = "runtime";
