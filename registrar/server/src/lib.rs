//! The registrar as a service: Keylime's v2 registration, activation and identity book over HTTP, kept in sled and
//! recorded in the ledger before it counts.
//!
//! What makes an identity and who may hold an id is decided in `registrar-protocol`; how bytes travel, in `transport`.

mod clock;
mod enrolment;
mod entropy;
mod pending;
mod rate;
mod refusal;
mod registrar;
mod routes;
mod start;
mod store;
mod trust;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ledger_client::LedgerClient;
use ledger_protocol::body::ServiceStart;
use registrar_protocol::EkCertificatePolicy;
use tokio::task::JoinHandle;
use transport::router::{Router, RouterError};
use transport::server::{BindError, Drained, Limits, Server, Shutdown};
use transport::tls::ServerTls;

use crate::enrolment::Enroller;
use crate::registrar::{IdLocks, Registrar};
use crate::store::Store;
use crate::trust::TrustDirectory;

pub use crate::pending::PendingLimits;
pub use crate::rate::RateLimits;

/// What a registrar needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the identity book; made if missing, used by one process at a time.
    pub data: PathBuf,
    /// Whether a TPM needs an EK certificate that leads to a root in `trust`.
    pub ek_certificate: EkCertificatePolicy,
    /// Which of several registrars this is, for the ledger's `service-start` entry.
    pub instance: String,
    /// The ledger, spoken to with a certificate of the service role.
    pub ledger: LedgerClient,
    /// Bounds of each listener.
    pub limits: Limits,
    /// How many registrations may wait for their activation.
    pub pending: PendingLimits,
    /// Where registration, activation and versions are offered without TLS (Keylime's 8890); `None` for nowhere.
    pub plain_address: Option<SocketAddr>,
    /// How often one network may register.
    pub rate: RateLimits,
    /// The server's certificate, and whose client certificates are accepted (optional ones).
    pub tls: ServerTls,
    /// Where everything is offered with TLS (Keylime's 8891).
    pub tls_address: SocketAddr,
    /// Folder of PEM and DER files with the TPM vendors' roots and intermediates; read again when it changes.
    pub trust: PathBuf,
}

/// A registrar at work.
#[derive(Debug)]
pub struct Running {
    plain_address: Option<SocketAddr>,
    servers: Vec<JoinHandle<Drained>>,
    store: Store,
    tls_address: SocketAddr,
}

/// Why a registrar does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address is taken or not ours.
    #[error("the registrar cannot listen")]
    Bind(#[from] BindError),
    /// The routes contradict each other, which is a mistake in this crate.
    #[error("the registrar's routes are inconsistent")]
    Routes(#[from] RouterError),
    /// The identity book cannot be used.
    #[error("the registrar's store cannot be used")]
    Store(#[source] Box<dyn Error + Send + Sync>),
}

/// Starts a registrar; it runs until `shutdown` starts.
///
/// It answers at once, but activates nothing before the ledger has recorded this start.
///
/// # Errors
/// [`StartError`]. Nothing is left running then.
pub async fn start(config: Config, shutdown: Shutdown) -> Result<Running, StartError> {
    let path = config.data.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&path)).await;
    let store =
        store.map_err(|error| StartError::Store(error.into()))?.map_err(|error| StartError::Store(error.into()))?;
    let registrar = Arc::new(Registrar {
        enroller: Enroller::new(config.ledger.clone(), BUILD.to_owned()),
        locks: IdLocks::new(),
        pending: pending::PendingTable::new(config.pending),
        policy: config.ek_certificate,
        rate: rate::RateLimiter::new(config.rate),
        ready: AtomicBool::new(false),
        store: store.clone(),
        trust: TrustDirectory::new(config.trust),
    });
    let router = Router::new(routes::routes(&registrar))?;
    let tls = Server::bind(config.tls_address, Some(config.tls), router.clone(), config.limits).await?;
    let plain = match config.plain_address {
        Some(address) => Some(Server::bind(address, None, router, config.limits).await?),
        None => None,
    };
    let (tls_address, plain_address) = (tls.local_addr(), plain.as_ref().map(Server::local_addr));
    if config.ek_certificate == EkCertificatePolicy::DangerNotRequired {
        tracing::warn!("EK certificates are not required: anyone can enrol a TPM made of software");
    }
    tracing::info!(%tls_address, ?plain_address, build = BUILD, "the registrar listens");
    let entry = ServiceStart { service: "registrar".to_owned(), build: BUILD.to_owned(), instance: config.instance };
    tokio::spawn(start::announce(registrar, config.ledger, entry, shutdown.clone()));
    let servers = [Some(tls), plain].into_iter().flatten();
    let servers = servers.map(|server| tokio::spawn(server.run(shutdown.clone()))).collect();
    Ok(Running { plain_address, servers, store, tls_address })
}

impl Running {
    /// Where it listens with TLS, with the real port.
    #[must_use]
    pub const fn tls_address(&self) -> SocketAddr {
        self.tls_address
    }

    /// Where it listens without.
    #[must_use]
    pub const fn plain_address(&self) -> Option<SocketAddr> {
        self.plain_address
    }

    /// Waits until the shutdown is over and all records are on disk.
    ///
    /// # Errors
    /// [`StopError`]: what was promised is on disk nevertheless, since each promise was flushed before.
    pub async fn wait(self) -> Result<(), StopError> {
        let mut drained = Drained::Completely;
        for server in self.servers {
            match server.await.map_err(StopError::Task)? {
                Drained::Completely => {}
                Drained::Cut => drained = Drained::Cut,
            }
        }
        let store = self.store;
        let flushed = tokio::task::spawn_blocking(move || store.flush()).await.map_err(StopError::Task)?;
        flushed.map_err(|error| StopError::Store(error.into()))?;
        match drained {
            Drained::Completely => Ok(()),
            Drained::Cut => Err(StopError::Cut),
        }
    }
}

/// How a registrar's end was not clean.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Requests were still running when the time to drain was over.
    #[error("requests were cut when the time to drain was over")]
    Cut,
    /// The last flush failed.
    #[error("the registrar's store could not be flushed")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// A listener's task did not finish.
    #[error("a listener did not finish")]
    Task(#[source] tokio::task::JoinError),
}

/// Name and version, as `enrol` and `service-start` entries carry them.
const BUILD: &str = concat!("attestry-registrar ", env!("CARGO_PKG_VERSION"));
