//! The policies in force along a chain, read and compiled once.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use evidence::runtime_policy::{PolicyStack, RuntimePolicy};
use ledger_protocol::body::AgentPolicy;
use messages::Digest;
use verifier_protocol::policy::{
    AlgorithmsAccepted, MeasuredBootPolicy, RuntimeStack, TpmPolicy, compile_layer, compile_runtime,
};

use super::Blobs;
use crate::cause;

/// All that one policy entry asks of evidence.
pub(super) struct Terms {
    pub(super) accepted: AlgorithmsAccepted,
    pub(super) measured_boot: Option<MeasuredBootPolicy>,
    pub(super) runtime: Option<Arc<PolicyStack>>,
    pub(super) tpm: TpmPolicy,
}

/// Policies that were read.
#[derive(Default)]
pub(super) struct Policies {
    /// By the position of their entry.
    terms: BTreeMap<Option<usize>, Result<Arc<Terms>, String>>,
    /// By their blob; all that were in force up to here.
    runtime: BTreeMap<Digest, Arc<PolicyStack>>,
    /// By their blob; the layers of stacks.
    layers: BTreeMap<Digest, Arc<RuntimePolicy>>,
}

impl Policies {
    /// The policy of an entry.
    ///
    /// # Errors
    /// Why it cannot be read, as text.
    pub(super) fn read(
        &mut self,
        position: Option<usize>,
        policy: &AgentPolicy,
        blobs: &Blobs<'_>,
    ) -> Result<Arc<Terms>, String> {
        if let Some(known) = self.terms.get(&position) {
            return known.clone();
        }
        let terms = self.read_anew(policy, blobs).map(Arc::new);
        self.terms.insert(position, terms.clone());
        terms
    }

    /// The runtime policies in force up to here.
    pub(super) fn runtime(&self) -> Vec<Arc<PolicyStack>> {
        self.runtime.values().cloned().collect()
    }

    fn read_anew(&mut self, policy: &AgentPolicy, blobs: &Blobs<'_>) -> Result<Terms, String> {
        let accepted = AlgorithmsAccepted::from_names(&policy.hash_algs, &policy.enc_algs, &policy.sign_algs)
            .map_err(|error| error.to_string())?;
        let mut parts: BTreeMap<&str, Digest> = BTreeMap::new();
        for part in &policy.policies {
            // The layers of a stack are named by the stack's document, which their roles repeat.
            let role = part.role.split('/').next().unwrap_or_default();
            if part.role != role && LAYER_ROLES.contains(&role) {
                continue;
            }
            if part.role != role || !ROLES.contains(&role) || parts.insert(role, part.digest).is_some() {
                return Err(format!("the policy in force has a part of role {role:?}, which is not appraised here"));
            }
        }
        let read = |digest: &Digest| blobs.load(digest).ok_or_else(|| format!("policy {digest} is not in the bundle"));
        let text = match parts.get("tpm") {
            None => "{}".to_owned(),
            Some(digest) => {
                let bytes = read(digest)?.into_owned();
                String::from_utf8(bytes).map_err(|_| format!("policy {digest} is not UTF-8"))?
            }
        };
        let tpm = TpmPolicy::parse(&text, accepted.hash()).map_err(|error| cause::chain(&error))?;
        let measured_boot = match parts.get("measured-boot") {
            None => None,
            Some(digest) => Some(MeasuredBootPolicy::parse(&read(digest)?).map_err(|error| cause::chain(&error))?),
        };
        let runtime = match parts.get("runtime") {
            None => None,
            Some(digest) => Some(match self.runtime.get(digest) {
                Some(known) => Arc::clone(known),
                None => {
                    let compiled = Arc::new(self.compile(&read(digest)?, &read)?);
                    self.runtime.insert(*digest, Arc::clone(&compiled));
                    compiled
                }
            }),
        };
        Ok(Terms { accepted, measured_boot, runtime, tpm })
    }

    /// A policy, or the stack that a document names; each layer is compiled once.
    fn compile<'b>(
        &mut self,
        document: &[u8],
        read: &impl Fn(&Digest) -> Result<Cow<'b, [u8]>, String>,
    ) -> Result<PolicyStack, String> {
        let Some(stack) = RuntimeStack::parse(document) else {
            return compile_runtime(document).map_err(|error| cause::chain(&error));
        };
        let stack = stack.map_err(|error| cause::chain(&error))?;
        let mut layers = Vec::with_capacity(stack.layers.len());
        for layer in &stack.layers {
            let policy = match self.layers.get(&layer.policy) {
                Some(known) => Arc::clone(known),
                None => {
                    let compiled = compile_layer(&read(&layer.policy)?).map_err(|error| cause::chain(&error))?;
                    let compiled = Arc::new(compiled);
                    self.layers.insert(layer.policy, Arc::clone(&compiled));
                    compiled
                }
            };
            layers.push(policy);
        }
        let keys = stack.keys.as_ref().map(read).transpose()?;
        stack.compile(layers, keys.as_deref()).map_err(|error| cause::chain(&error))
    }
}

/// What is judged by, and what shows where that came from.
const ROLES: [&str; 6] = ["tpm", "runtime", "runtime-envelope", "runtime-key", "runtime-signers", "measured-boot"];
/// The same of a stack's layers, with the layer's name behind a slash.
const LAYER_ROLES: [&str; 3] = ["runtime-layer", "runtime-envelope", "runtime-key"];
