//! What may run, as a tenant gives it: Keylime's JSON, bare or in a signed envelope.

use std::sync::Arc;

use evidence::{
    ima::{Keyring, MalformedKeyring},
    runtime_policy::{
        CompileError, Envelope, EnvelopeRejected, ImportError, MalformedEnvelope, PolicyBuilder, PolicyLayer,
        PolicyStack, RuntimePolicy, Signers, StackRejected, UnusableSigner,
    },
};
use messages::Digest;
use serde::{Deserialize, Serialize};

/// Which policies are in force together: the document that stands for them, so that one digest names all.
///
/// `{"attestry-stack": 1, "layers": [{"layer": "base", "policy": "hex"}, …], "keys": "hex"}`, the lowest layer first;
/// policies and keyring by the SHA-256 of their text. `docs/spec/runtime-policy.md`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeStack {
    #[serde(rename = "attestry-stack")]
    version: u32,
    /// The layers, the lowest first.
    pub layers: Vec<StackLayer>,
    /// A keyring in Keylime's text, in place of the policies' own keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Digest>,
}

/// One layer of a stack.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StackLayer {
    /// What findings call it.
    pub layer: String,
    /// SHA-256 of the policy's JSON.
    pub policy: Digest,
}

impl RuntimeStack {
    /// A stack of these.
    #[must_use]
    pub const fn new(layers: Vec<StackLayer>, keys: Option<Digest>) -> Self {
        Self { version: 1, layers, keys }
    }

    /// The document, the same for the same stack.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a document; nothing if it is none of a stack, such as a policy.
    ///
    /// # Errors
    /// [`RuntimePolicyError::Document`] if it is one, in a form that [`encode`](Self::encode) does not write.
    pub fn parse(document: &[u8]) -> Option<Result<Self, RuntimePolicyError>> {
        if !document.starts_with(STACK_MARK) {
            return None;
        }
        let stack: Result<Self, _> = serde_json::from_slice(document);
        Some(stack.map_err(RuntimePolicyError::Document).and_then(|stack| match stack.version {
            1 => Ok(stack),
            found => Err(RuntimePolicyError::Version { found }),
        }))
    }

    /// Puts the policies together that were read for the layers, in their order, and the keyring's text.
    ///
    /// # Errors
    /// [`RuntimePolicyError`] if layers contradict each other or the keyring is malformed.
    pub fn compile(
        &self,
        policies: Vec<Arc<RuntimePolicy>>,
        keys: Option<&[u8]>,
    ) -> Result<PolicyStack, RuntimePolicyError> {
        let layers = self.layers.iter().zip(policies);
        let layers = layers.map(|(layer, policy)| PolicyLayer { name: layer.layer.clone(), policy }).collect();
        let stack = PolicyStack::new(layers).map_err(RuntimePolicyError::Stack)?;
        match (self.keys, keys) {
            (Some(name), Some(text)) => Ok(stack.with_keyring(read_keyring(text)?, &name.0)),
            (None, _) | (_, None) => Ok(stack),
        }
    }
}

/// Reads a keyring in Keylime's text.
///
/// # Errors
/// [`RuntimePolicyError::Keyring`] with the key's place.
pub fn read_keyring(text: &[u8]) -> Result<Keyring, RuntimePolicyError> {
    let text = std::str::from_utf8(text).map_err(|_| RuntimePolicyError::KeyringText)?;
    Keyring::from_keylime(text).map_err(RuntimePolicyError::Keyring)
}

/// Compiles one policy's JSON, to be shared by all stacks that have it.
///
/// # Errors
/// [`RuntimePolicyError`] with the place.
pub fn compile_layer(json: &[u8]) -> Result<RuntimePolicy, RuntimePolicyError> {
    let builder = PolicyBuilder::from_keylime_json(json).map_err(RuntimePolicyError::Import)?;
    builder.compile().map_err(RuntimePolicyError::Compile)
}

/// A stack of one policy.
///
/// # Errors
/// [`RuntimePolicyError::Stack`] if it cannot stand alone.
pub fn alone(policy: Arc<RuntimePolicy>) -> Result<PolicyStack, RuntimePolicyError> {
    PolicyStack::new(vec![PolicyLayer { name: LAYER.to_owned(), policy }]).map_err(RuntimePolicyError::Stack)
}

/// Why a document is no runtime policy.
#[derive(Debug, thiserror::Error)]
pub enum RuntimePolicyError {
    /// A rule or path in it cannot be used.
    #[error("the runtime policy cannot be compiled")]
    Compile(#[source] CompileError),
    /// The document of a stack.
    #[error("the stack of runtime policies is malformed")]
    Document(#[source] serde_json::Error),
    /// The keyring.
    #[error("the keyring of file signatures is malformed")]
    Keyring(#[source] MalformedKeyring),
    /// The keyring is not text.
    #[error("the keyring of file signatures is not UTF-8")]
    KeyringText,
    /// A stack of a later version.
    #[error("the stack of runtime policies has version {found}, expected 1")]
    Version {
        /// The version found.
        found: u32,
    },
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
    alone(Arc::new(compile_layer(json)?))
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

/// How [`RuntimeStack::encode`] begins; no policy does, for lack of its members.
const STACK_MARK: &[u8] = b"{\"attestry-stack\":";
/// The layer's name in findings.
const LAYER: &str = "runtime";

#[cfg(test)]
mod tests;
