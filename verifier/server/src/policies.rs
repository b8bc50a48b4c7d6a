//! Runtime and measured-boot policies: taken in, named, compiled once and shared by all agents they are asked of.

mod compiled;
mod document;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use evidence::runtime_policy::{PolicyStack, RuntimePolicy};
use ledger_client::{AppendError, LedgerClient, RequestError};
use ledger_protocol::body::NamedPolicy;
use messages::{Digest, keylime::RuntimeLayer, ledger::Group};
use serde::{Deserialize, Serialize};
use verifier_protocol::policy::{MeasuredBootPolicy, RuntimeStack, StackLayer, alone};

use self::compiled::Cache;
pub(crate) use self::compiled::CompileError;
pub(crate) use self::document::{Document, DocumentError, Wish, checked_name};
use crate::{
    entries,
    error_chain::chain,
    store::{Store, StoreError},
};

/// What a policy is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Role {
    MeasuredBoot,
    Runtime,
}

impl Role {
    /// As entries name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MeasuredBoot => "measured-boot",
            Self::Runtime => "runtime",
        }
    }
}

/// A policy by its blobs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Kept {
    /// The JSON that evidence is judged by.
    pub(crate) content: Digest,
    /// The envelope it was signed in, and the PEM of the key that was to check it.
    pub(crate) signed: Option<KeptSignature>,
}

/// A signed policy's envelope and key, by their blobs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct KeptSignature {
    pub(crate) envelope: Digest,
    pub(crate) key: Digest,
}

/// A policy as an agent's terms have it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Chosen {
    #[serde(flatten)]
    pub(crate) kept: Kept,
    /// The name it was chosen by: when the name is given another policy, the agent follows.
    pub(crate) name: Option<String>,
    /// Of what it is put together, the lowest first; empty if it is one policy. Its content is then a stack's document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<ChosenLayer>,
    /// The keyring in place of the policies' own keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Digest>,
}

/// One layer of a runtime policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ChosenLayer {
    pub(crate) layer: String,
    #[serde(flatten)]
    pub(crate) kept: Kept,
    pub(crate) name: Option<String>,
}

impl Chosen {
    const fn of(kept: Kept, name: Option<String>) -> Self {
        Self { kept, name, layers: Vec::new(), keys: None }
    }

    /// Whether a name stands for it or a layer of it.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let layers = self.layers.iter().filter_map(|layer| layer.name.as_deref());
        layers.chain(self.name.as_deref()).any(|known| known == name)
    }
}

/// Why a policy is not taken, changed or given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error(transparent)]
    Compile(CompileError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("a {role} policy named {name:?} exists already", role = .role.name())]
    Exists { role: Role, name: String },
    #[error("the {role} policy {name:?} is in use by agent {agent}", role = .role.name())]
    InUse { role: Role, name: String, agent: messages::AgentId },
    #[error("ima_sign_verification_keys is given without a runtime policy; nothing would be judged by it")]
    KeysAlone,
    #[error("the ledger refuses the entry: {0}")]
    LedgerRefused(String),
    #[error("the ledger cannot be reached, and nothing is done that is not recorded")]
    LedgerUnavailable(#[source] Box<AppendError>),
    #[error("the ledger cannot be reached, and nothing is done that is not recorded")]
    Request(#[source] RequestError),
    #[error("the policy's name was not kept")]
    Store(#[source] StoreError),
    #[error("there is no {role} policy named {name:?}", role = .role.name())]
    Unknown { role: Role, name: String },
}

/// All policies this verifier knows.
pub(crate) struct PolicyBook {
    boot: Cache<MeasuredBootPolicy>,
    /// One change at a time: of two adds of one name the second is told.
    changing: tokio::sync::Mutex<()>,
    layers: Cache<RuntimePolicy>,
    ledger: LedgerClient,
    names: RwLock<BTreeMap<(Role, String), Kept>>,
    runtime: Cache<PolicyStack>,
    store: Store,
}

impl PolicyBook {
    /// The names in the store; policies are read when they are first wanted.
    pub(crate) fn open(store: Store, ledger: LedgerClient) -> Result<Self, StoreError> {
        let mut names = BTreeMap::new();
        for role in [Role::MeasuredBoot, Role::Runtime] {
            names.extend(store.policies(role.name())?.into_iter().map(|(name, kept)| ((role, name), kept)));
        }
        let (boot, layers, runtime) = (Cache::default(), Cache::default(), Cache::default());
        let (changing, names) = (tokio::sync::Mutex::default(), RwLock::new(names));
        Ok(Self { boot, changing, layers, ledger, names, runtime, store })
    }

    /// The names of one role, ascending.
    pub(crate) fn names(&self, role: Role) -> Vec<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.keys().filter(|(of, _)| *of == role).map(|(_, name)| name.clone()).collect()
    }

    /// What a name stands for now.
    pub(crate) fn named(&self, role: Role, name: &str) -> Option<Kept> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&(role, name.to_owned())).copied()
    }

    /// The text a named policy was given as.
    pub(crate) async fn text(&self, role: Role, name: &str) -> Result<Vec<u8>, PolicyError> {
        let kept = self.named(role, name).ok_or_else(|| unknown(role, name))?;
        let digest = kept.signed.map_or(kept.content, |signed| signed.envelope);
        self.ledger.blob(&digest).await.map_err(PolicyError::Request)
    }

    /// What an add or update wishes for: nothing, a known name, a new policy, or a new policy under a new name.
    ///
    /// A new policy is compiled and its blobs are durable when this returns.
    pub(crate) async fn choose(
        &self,
        role: Role,
        wish: Wish,
        actor: &str,
        now: i64,
    ) -> Result<Option<Chosen>, PolicyError> {
        let Wish { name, document, layers, keys } = wish;
        let mut stacked = Vec::with_capacity(layers.len() + 1);
        for RuntimeLayer { layer, policy } in layers {
            let kept = self.named(role, &policy).ok_or_else(|| unknown(role, &policy))?;
            stacked.push(ChosenLayer { layer, kept, name: Some(policy) });
        }
        let own = match (name, document) {
            (None, None) => None,
            (Some(name), None) => {
                let kept = self.named(role, &name).ok_or_else(|| unknown(role, &name))?;
                Some(Chosen::of(kept, Some(name)))
            }
            (None, Some(document)) => Some(Chosen::of(self.keep(role, document, now).await?, None)),
            (Some(name), Some(document)) => {
                let kept = self.create(role, name.clone(), document, actor, now).await?;
                Some(Chosen::of(kept, Some(name)))
            }
        };
        if stacked.is_empty() && keys.is_none() {
            return Ok(own);
        }
        let layer = if stacked.is_empty() { LAYER_ALONE } else { LAYER_OWN };
        stacked.extend(own.map(|Chosen { kept, name, .. }| ChosenLayer { layer: layer.to_owned(), kept, name }));
        let keys = match keys {
            Some(keys) => Some(self.put(keys).await?),
            None => None,
        };
        self.stack(stacked, keys).await.map(Some)
    }

    /// Puts layers together, compiled; the document that names them is durable when this returns.
    async fn stack(&self, layers: Vec<ChosenLayer>, keys: Option<Digest>) -> Result<Chosen, PolicyError> {
        if layers.is_empty() {
            return Err(PolicyError::KeysAlone);
        }
        let named = |layer: &ChosenLayer| StackLayer { layer: layer.layer.clone(), policy: layer.kept.content };
        let document = RuntimeStack::new(layers.iter().map(named).collect(), keys).encode();
        let content = self.put(document).await?;
        self.runtime(&content).await.map_err(PolicyError::Compile)?;
        Ok(Chosen { kept: Kept { content, signed: None }, name: None, layers, keys })
    }

    /// What an agent's choice comes to now that names may stand for other policies; nothing if it is the same.
    pub(crate) async fn followed(&self, role: Role, chosen: &Chosen) -> Result<Option<Chosen>, PolicyError> {
        if chosen.layers.is_empty() {
            let now = chosen.name.as_ref().and_then(|name| self.named(role, name));
            return Ok(now.filter(|now| *now != chosen.kept).map(|now| Chosen::of(now, chosen.name.clone())));
        }
        let mut layers = chosen.layers.clone();
        for layer in &mut layers {
            if let Some(now) = layer.name.as_ref().and_then(|name| self.named(role, name)) {
                layer.kept = now;
            }
        }
        if layers == chosen.layers {
            return Ok(None);
        }
        self.stack(layers, chosen.keys).await.map(Some)
    }

    /// Gives a new name to a policy.
    pub(crate) async fn create(
        &self,
        role: Role,
        name: String,
        document: Document,
        actor: &str,
        now: i64,
    ) -> Result<Kept, PolicyError> {
        let _one = self.changing.lock().await;
        if self.named(role, &name).is_some() {
            return Err(PolicyError::Exists { role, name });
        }
        self.set(role, name, document, actor, now).await
    }

    /// Gives a known name to another policy. Agents that were added by the name are asked for it from their next round on.
    pub(crate) async fn replace(
        &self,
        role: Role,
        name: String,
        document: Document,
        actor: &str,
        now: i64,
    ) -> Result<Kept, PolicyError> {
        let _one = self.changing.lock().await;
        if self.named(role, &name).is_none() {
            return Err(unknown(role, &name));
        }
        self.set(role, name, document, actor, now).await
    }

    /// Forgets a name.
    pub(crate) async fn remove(&self, role: Role, name: &str, actor: &str) -> Result<(), PolicyError> {
        let _one = self.changing.lock().await;
        if self.named(role, name).is_none() {
            return Err(unknown(role, name));
        }
        self.record(role, name, None, actor).await?;
        self.store.remove_policy(role.name(), name).await.map_err(PolicyError::Store)?;
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.remove(&(role, name.to_owned()));
        Ok(())
    }

    /// A compiled runtime policy, from memory or from its blob.
    pub(crate) async fn runtime(&self, content: &Digest) -> Result<Arc<PolicyStack>, CompileError> {
        self.runtime.get_with(content, || self.read_runtime(content)).await
    }

    /// One policy, or those that a stack's document names; each is compiled once, whatever it is part of.
    async fn read_runtime(&self, content: &Digest) -> Result<Arc<PolicyStack>, CompileError> {
        let unusable = |error| CompileError::Runtime(Box::new(error));
        let document = compiled::blob(&self.ledger, content).await?;
        let Some(stack) = RuntimeStack::parse(&document) else {
            let policy = self.layers.get_or_compile(content, document, compiled::layer).await?;
            return alone(policy).map(Arc::new).map_err(unusable);
        };
        let stack = stack.map_err(unusable)?;
        let mut policies = Vec::with_capacity(stack.layers.len());
        for layer in &stack.layers {
            policies.push(self.layers.get(&layer.policy, &self.ledger, compiled::layer).await?);
        }
        let keys = match &stack.keys {
            Some(keys) => Some(compiled::blob(&self.ledger, keys).await?),
            None => None,
        };
        stack.compile(policies, keys.as_deref()).map(Arc::new).map_err(unusable)
    }

    /// A compiled measured-boot policy, from memory or from its blob.
    pub(crate) async fn measured_boot(&self, content: &Digest) -> Result<Arc<MeasuredBootPolicy>, CompileError> {
        self.boot.get(content, &self.ledger, compiled::measured_boot).await
    }

    /// Durable in the ledger, then in the store, then in force.
    async fn set(
        &self,
        role: Role,
        name: String,
        document: Document,
        actor: &str,
        now: i64,
    ) -> Result<Kept, PolicyError> {
        let kept = self.keep(role, document, now).await?;
        self.record(role, &name, Some(kept.content), actor).await?;
        self.store.put_policy(role.name(), &name, &kept).await.map_err(PolicyError::Store)?;
        self.names.write().unwrap_or_else(PoisonError::into_inner).insert((role, name), kept);
        Ok(kept)
    }

    async fn record(&self, role: Role, name: &str, content: Option<Digest>, actor: &str) -> Result<(), PolicyError> {
        let (role, name, actor) = (role.name().to_owned(), name.to_owned(), actor.to_owned());
        let item = entries::named_policy(NamedPolicy { role, name, content, actor });
        let group = Group { agent: None, expected: None, items: vec![item] };
        self.ledger.append(group).await.map(drop).map_err(|error| match error {
            AppendError::Refused(text) => PolicyError::LedgerRefused(text),
            error => {
                tracing::warn!(error = chain(&error), "a policy's change was not recorded");
                PolicyError::LedgerUnavailable(Box::new(error))
            }
        })
    }

    /// Checks and compiles a document, and stores its blobs.
    async fn keep(&self, role: Role, document: Document, now: i64) -> Result<Kept, PolicyError> {
        let opened = document.open(now)?;
        let content = match role {
            Role::MeasuredBoot => self.boot.compile(opened.content.clone(), compiled::measured_boot).await,
            Role::Runtime => self.layers.compile(opened.content.clone(), compiled::layer).await,
        };
        let content = content.map_err(PolicyError::Compile)?;
        self.put(opened.content).await?;
        let signed = match opened.signed {
            None => None,
            Some((envelope, key)) => {
                Some(KeptSignature { envelope: self.put(envelope).await?, key: self.put(key).await? })
            }
        };
        Ok(Kept { content, signed })
    }

    async fn put(&self, bytes: Vec<u8>) -> Result<Digest, PolicyError> {
        self.ledger.put_blob(bytes).await.map_err(PolicyError::Request)
    }
}

fn unknown(role: Role, name: &str) -> PolicyError {
    PolicyError::Unknown { role, name: name.to_owned() }
}

/// What findings call an agent's own policy on top of others.
const LAYER_OWN: &str = "node";
/// What findings call a policy that is the only one.
const LAYER_ALONE: &str = "runtime";
