//! Compiled policies in memory: one of each, however many agents it is asked of.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use evidence::runtime_policy::RuntimePolicy;
use http::StatusCode;
use ledger_client::{LedgerClient, RequestError};
use messages::Digest;
use openssl::sha::sha256;
use tokio::{sync::OnceCell, task::JoinError};
use verifier_protocol::policy::{MeasuredBootPolicy, MeasuredBootPolicyError, RuntimePolicyError, compile_layer};

/// Why there is no compiled policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("the policy's blob {digest} cannot be read")]
    Blob { digest: Digest, source: RequestError },
    #[error("the measured-boot policy cannot be used")]
    MeasuredBoot(#[source] Box<MeasuredBootPolicyError>),
    #[error("the runtime policy cannot be used")]
    Runtime(#[source] Box<RuntimePolicyError>),
    #[error("compiling the policy did not finish")]
    Task(#[source] JoinError),
}

impl CompileError {
    /// Whether the policy will not come back by waiting.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Blob { source: RequestError::Status { status: StatusCode::NOT_FOUND, .. }, .. })
    }
}

/// Policies by the digest of their JSON. One that no agent holds any longer is let go of with the next one that comes.
#[derive(Debug)]
pub(super) struct Cache<T>(Mutex<BTreeMap<Digest, Slot<T>>>);

/// Filled by whoever wants it first; the others wait for that.
type Slot<T> = Arc<OnceCell<Arc<T>>>;

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Send + Sync + 'static> Cache<T> {
    /// The policy of that name, out of the ledger if need be.
    pub(super) async fn get(
        &self,
        digest: &Digest,
        ledger: &LedgerClient,
        compile: fn(&[u8]) -> Result<T, CompileError>,
    ) -> Result<Arc<T>, CompileError> {
        self.get_with(digest, || async { apart(blob(ledger, digest).await?, compile).await }).await
    }

    /// The policy of that name, out of these bytes if need be.
    pub(super) async fn get_or_compile(
        &self,
        digest: &Digest,
        bytes: Vec<u8>,
        compile: fn(&[u8]) -> Result<T, CompileError>,
    ) -> Result<Arc<T>, CompileError> {
        self.get_with(digest, || apart(bytes, compile)).await
    }

    /// The policy of that name, made by whoever asks first.
    pub(super) async fn get_with<F: Future<Output = Result<Arc<T>, CompileError>>>(
        &self,
        digest: &Digest,
        make: impl FnOnce() -> F,
    ) -> Result<Arc<T>, CompileError> {
        self.slot(*digest).get_or_try_init(make).await.cloned()
    }

    /// The name of a policy that is known to compile.
    pub(super) async fn compile(
        &self,
        bytes: Vec<u8>,
        compile: fn(&[u8]) -> Result<T, CompileError>,
    ) -> Result<Digest, CompileError> {
        let digest = Digest(sha256(&bytes));
        let slot = self.slot(digest);
        slot.get_or_try_init(|| apart(bytes, compile)).await?;
        Ok(digest)
    }

    fn slot(&self, digest: Digest) -> Slot<T> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&digest) {
            return Arc::clone(slot);
        }
        slots.retain(|_, slot| {
            let held = slot.get().is_some_and(|policy| Arc::strong_count(policy) > 1);
            held || Arc::strong_count(slot) > 1
        });
        let slot = Slot::default();
        slots.insert(digest, Arc::clone(&slot));
        slot
    }
}

/// Large policies take a tenth of a second: not on a thread that serves agents.
async fn apart<T: Send + 'static>(
    bytes: Vec<u8>,
    compile: fn(&[u8]) -> Result<T, CompileError>,
) -> Result<Arc<T>, CompileError> {
    let compiled = tokio::task::spawn_blocking(move || compile(&bytes)).await.map_err(CompileError::Task)?;
    compiled.map(Arc::new)
}

/// A policy's text, or a stack's.
pub(super) async fn blob(ledger: &LedgerClient, digest: &Digest) -> Result<Vec<u8>, CompileError> {
    ledger.blob(digest).await.map_err(|source| CompileError::Blob { digest: *digest, source })
}

pub(super) fn layer(bytes: &[u8]) -> Result<RuntimePolicy, CompileError> {
    compile_layer(bytes).map_err(|error| CompileError::Runtime(Box::new(error)))
}

pub(super) fn measured_boot(bytes: &[u8]) -> Result<MeasuredBootPolicy, CompileError> {
    MeasuredBootPolicy::parse(bytes).map_err(|error| CompileError::MeasuredBoot(Box::new(error)))
}
