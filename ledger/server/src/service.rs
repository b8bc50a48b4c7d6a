//! The log behind a listener.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};
use transport::router::{Access, Router, RouterError};
use transport::server::{BindError, Drained, Limits, Server, Shutdown};
use transport::tls::ServerTls;

use crate::api;
use crate::engine::{Ledger, LogConfig, OpenError};
use crate::{retention, stamping};

/// What a ledger's service needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Bounds of the listener.
    pub limits: Limits,
    /// The log itself.
    pub log: LogConfig,
    /// Whether checkpoint and tiles are for everyone, without a certificate.
    pub public_read: bool,
    /// The server's certificate, and whose client certificates are accepted (optional ones).
    pub tls: ServerTls,
}

/// A ledger's service at work.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    monitoring: Option<SocketAddr>,
    server: JoinHandle<Drained>,
    /// Stampers, and who prunes.
    tasks: Vec<JoinHandle<()>>,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("the ledger cannot listen")]
    Bind(#[source] BindError),
    /// Metrics are shown without TLS on this machine only.
    #[error("metrics are shown without TLS on a loopback address only, not on {address}")]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The log was not opened.
    #[error("the log cannot be opened")]
    Open(#[source] OpenError),
    /// The routes contradict each other, which is a mistake in this crate.
    #[error("the ledger's routes are inconsistent")]
    Routes(#[source] RouterError),
    /// The thread that opens the log did not finish.
    #[error("opening the log did not finish")]
    Task(#[source] JoinError),
}

/// Why the service did not end as it should. What was acknowledged is durable nevertheless.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The log had stopped accepting entries before.
    #[error("the ledger had stopped accepting entries: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
    /// A task did not finish.
    #[error("a task of the ledger did not finish")]
    Task(#[source] JoinError),
}

/// Opens the log and serves it until `shutdown` starts.
///
/// When it returns, the listener is bound, the start is recorded and a checkpoint covers it.
///
/// # Errors
/// [`StartError`]. Nothing is left running then.
pub async fn start(config: Config, shutdown: Shutdown) -> Result<Running, StartError> {
    let Config { address, limits, log, public_read, tls } = config;
    if let Some(address) = log.monitoring.listen.filter(|address| !address.ip().is_loopback()) {
        return Err(StartError::NotLoopback { address });
    }
    let (stamping, retain) = (log.stamping.clone(), log.retain);
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&log)).await.map_err(StartError::Task)?;
    let ledger = Arc::new(opened.map_err(StartError::Open)?);
    let served = async {
        let server = serve(address, limits, public_read, tls, &ledger).await?;
        Ok((server, serve_monitoring(&ledger).await?))
    };
    let (server, monitoring) = match served.await {
        Ok(server) => server,
        Err(error) => {
            let _ = tokio::task::spawn_blocking(move || ledger.close()).await;
            return Err(error);
        }
    };
    let address = server.local_addr();
    let monitoring_address = monitoring.as_ref().map(Server::local_addr);
    let counting = Arc::clone(&ledger);
    let counted = tokio::task::spawn_blocking(move || {
        if let Err(error) = counting.shared.blobs.count() {
            tracing::warn!(%error, "the blobs' bytes were not counted");
        }
    });
    let mut tasks: Vec<_> = stamping.iter().flat_map(|config| stamping::spawn(&ledger, config, &shutdown)).collect();
    tasks.extend(retain.map(|retain| retention::spawn(&ledger, retain, shutdown.clone())));
    tasks.push(counted);
    if let Some(monitoring) = monitoring {
        let shutdown = shutdown.clone();
        tasks.push(tokio::spawn(async move { _ = monitoring.run(shutdown).await }));
    }
    tracing::info!(%address, origin = ledger.shared.origin, vkey = ledger.shared.vkey, "the ledger listens");
    Ok(Running { address, ledger, monitoring: monitoring_address, server: tokio::spawn(server.run(shutdown)), tasks })
}

/// The plain listener for those who watch, if there is to be one.
async fn serve_monitoring(ledger: &Arc<Ledger>) -> Result<Option<Server>, StartError> {
    let Some(address) = ledger.shared.monitoring.listen else {
        return Ok(None);
    };
    let router = Router::new(api::monitoring::routes(ledger, Access::PUBLIC)).map_err(StartError::Routes)?;
    Server::bind(address, None, router, Limits::default()).await.map(Some).map_err(StartError::Bind)
}

async fn serve(
    address: SocketAddr,
    limits: Limits,
    public_read: bool,
    tls: ServerTls,
    ledger: &Arc<Ledger>,
) -> Result<Server, StartError> {
    let router = Router::new(api::routes(ledger, public_read)).map_err(StartError::Routes)?;
    Server::bind(address, Some(tls), router, limits).await.map_err(StartError::Bind)
}

impl Running {
    /// Where it listens, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are shown without TLS, with the real port.
    #[must_use]
    pub const fn monitoring_address(&self) -> Option<SocketAddr> {
        self.monitoring
    }

    /// The log's verifier key.
    #[must_use]
    pub fn vkey(&self) -> &str {
        &self.ledger.shared.vkey
    }

    /// Returns when another process has taken the lock, or it cannot be written: this process must
    /// end then. Waits for ever otherwise.
    pub async fn lock_lost(&self) {
        self.ledger.shared.lock_lost.notified().await;
    }

    /// Waits until the shutdown is over, a last checkpoint is signed and the log is closed.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn wait(self) -> Result<(), StopError> {
        let drained = self.server.await.map_err(StopError::Task)?;
        if drained == Drained::Cut {
            tracing::warn!("some requests were cut off at the end");
        }
        for task in self.tasks {
            task.await.map_err(StopError::Task)?;
        }
        let ledger = self.ledger;
        let closed = tokio::task::spawn_blocking(move || {
            ledger.close();
            ledger.failure().map(str::to_owned)
        });
        match closed.await.map_err(StopError::Task)? {
            None => Ok(()),
            Some(reason) => Err(StopError::Failed { reason }),
        }
    }
}
