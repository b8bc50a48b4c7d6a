//! Runtime and measured-boot policies: taken in, named, compiled once and shared by all agents they are asked of.

mod compiled;
mod document;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use evidence::runtime_policy::PolicyStack;
use ledger_client::{AppendError, LedgerClient, RequestError};
use ledger_protocol::body::NamedPolicy;
use messages::{Digest, ledger::Group};
use serde::{Deserialize, Serialize};
use verifier_protocol::policy::MeasuredBootPolicy;

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
        let (boot, runtime) = (Cache::default(), Cache::default());
        Ok(Self { boot, changing: tokio::sync::Mutex::default(), ledger, names: RwLock::new(names), runtime, store })
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
        Ok(match wish {
            Wish { name: None, document: None } => None,
            Wish { name: Some(name), document: None } => {
                let kept = self.named(role, &name).ok_or_else(|| unknown(role, &name))?;
                Some(Chosen { kept, name: Some(name) })
            }
            Wish { name: None, document: Some(document) } => {
                Some(Chosen { kept: self.keep(role, document, now).await?, name: None })
            }
            Wish { name: Some(name), document: Some(document) } => {
                let kept = self.create(role, name.clone(), document, actor, now).await?;
                Some(Chosen { kept, name: Some(name) })
            }
        })
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
        self.runtime.get(content, &self.ledger, compiled::runtime).await
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
            Role::Runtime => self.runtime.compile(opened.content.clone(), compiled::runtime).await,
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
