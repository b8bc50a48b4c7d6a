//! The log behind a listener.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};
use transport::router::{Router, RouterError};
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
    let (stamping, retain) = (log.stamping.clone(), log.retain);
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&log)).await.map_err(StartError::Task)?;
    let ledger = Arc::new(opened.map_err(StartError::Open)?);
    let served = serve(address, limits, public_read, tls, &ledger).await;
    let server = match served {
        Ok(server) => server,
        Err(error) => {
            let _ = tokio::task::spawn_blocking(move || ledger.close()).await;
            return Err(error);
        }
    };
    let address = server.local_addr();
    let mut tasks: Vec<_> = stamping.iter().flat_map(|config| stamping::spawn(&ledger, config, &shutdown)).collect();
    tasks.extend(retain.map(|retain| retention::spawn(&ledger, retain, shutdown.clone())));
    tracing::info!(%address, origin = ledger.shared.origin, vkey = ledger.shared.vkey, "the ledger listens");
    Ok(Running { address, ledger, server: tokio::spawn(server.run(shutdown)), tasks })
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
