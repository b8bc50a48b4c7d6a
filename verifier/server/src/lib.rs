//! The verifier: asks agents for quotes at their intervals, records each with its verdict in the ledger, then acts.
//!
//! What to decide is in `verifier-protocol`; what TPM structures mean is in `evidence`. Here are sockets, timers,
//! records, keys and the order in which things become durable.

mod agent;
mod appraisers;
mod chain;
mod clock;
mod config;
mod entries;
mod entropy;
mod error_chain;
mod fleet;
mod maintenance;
mod outbox;
mod policies;
mod routes;
mod services;
mod store;
mod terms;
mod vault;

use std::{
    convert::Infallible, io, net::SocketAddr, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc, time::Duration,
};

use ledger_client::{AppendError, LedgerClient};
use messages::ledger::Group;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
};
use transport::{
    client::Client,
    router::RouterError,
    server::{BindError, Drained, Limits, Server, Shutdown},
};

pub use appraisers::LONG_LISTS_BYTES_MAX;
pub use config::{Config, Notify, Polling, Webhook};
pub use store::StoreError;
pub use vault::VaultError;

/// A verifier at work.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    /// Ends when the last task of this verifier has let go of its records.
    released: mpsc::Receiver<Infallible>,
    server: JoinHandle<Drained>,
}

/// Why a verifier does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not one of this machine.
    #[error("the verifier cannot listen")]
    Bind(#[source] BindError),
    /// The data folder cannot be made.
    #[error("the folder {path} cannot be made", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two routes contradict each other, which is a mistake in this crate.
    #[error("the verifier's routes contradict each other")]
    Routes(#[source] RouterError),
    /// The records cannot be used.
    #[error("the verifier's records cannot be used")]
    Store(#[source] StoreError),
    /// The thread that opens the records did not finish.
    #[error("opening the verifier's records did not finish")]
    Task(#[source] JoinError),
    /// The secret key cannot be used.
    #[error("the verifier's secret key cannot be used")]
    Vault(#[source] VaultError),
    /// The webhook's address would send revocations in the clear over a network.
    #[error("the webhook {url:?} is neither https nor http to a loopback address")]
    Webhook {
        /// The address.
        url: String,
    },
}

impl Running {
    /// Where it listens, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the verifier has stopped after its shutdown began.
    ///
    /// Its records can be opened again then, unless the answer is [`Drained::Cut`].
    pub async fn wait(mut self) -> Drained {
        // A panic in the accept loop ends the server as a cut does.
        let drained = self.server.await.unwrap_or(Drained::Cut);
        match tokio::time::timeout(RELEASE_TIMEOUT, self.released.recv()).await {
            Ok(_) => drained,
            Err(_) => Drained::Cut,
        }
    }
}

/// Starts a verifier: takes up every agent it had, none of them trusted before a fresh pass, and
/// serves its API until `shutdown` begins.
///
/// The ledger need not be reachable: until it is, nothing is released and statuses say why.
///
/// # Errors
/// [`StartError`], naming the file, address or setting at fault.
pub async fn start(config: Config, shutdown: Shutdown) -> Result<Running, StartError> {
    check_webhook(config.notify.webhook.as_ref())?;
    let folder = |source| StartError::Folder { path: config.data_dir.clone(), source };
    // Policies, labels and sealed secrets lie below: others have no business here.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir).map_err(folder)?;
    let vault = vault::Vault::open_or_create(&config.data_dir).map_err(StartError::Vault)?;
    let records = config.data_dir.join("records");
    let store = tokio::task::spawn_blocking(move || store::Store::open(&records)).await.map_err(StartError::Task)?;
    let store = store.map_err(StartError::Store)?;
    let (alive, released) = mpsc::channel(1);
    let webhook = config.notify.webhook.as_ref().map(|webhook| Client::new(webhook.tls.clone()));
    let ledger = LedgerClient::new(config.ledger);
    let policies = policies::PolicyBook::open(store.clone(), ledger.clone()).map_err(StartError::Store)?;
    let services = Arc::new(services::Services {
        alive,
        appraisers: appraisers::Appraisers::new(config.long_lists_bytes_max),
        clock: clock::Clock::new(),
        danger_agents_without_tls: config.danger_agents_without_tls,
        ledger,
        notify: config.notify,
        outbox: outbox::Outbox::new(webhook),
        policies,
        polling: config.polling,
        store,
        to_agents: Client::new(config.agent_tls),
        vault,
        verifier_id: config.verifier_id,
    });
    tokio::spawn(record_start(Arc::clone(&services), shutdown.clone()));
    let fleet = fleet::Fleet::resume(Arc::clone(&services), shutdown.clone()).map_err(StartError::Store)?;
    let router = routes::router(&fleet).map_err(StartError::Routes)?;
    let server = Server::bind(config.listen, Some(config.server_tls), router, Limits::default());
    let server = server.await.map_err(StartError::Bind)?;
    let address = server.local_addr();
    tokio::spawn(outbox::run(Arc::clone(&fleet), shutdown.clone()));
    tracing::info!(%address, agents = fleet.ids().len(), "the verifier is at work");
    let server = tokio::spawn(async move {
        let drained = server.run(shutdown).await;
        // What the last rounds wrote is in the ledger anyway; this saves reading it again.
        if let Err(error) = services.store.flush().await {
            tracing::error!(error = error_chain::chain(&error), "the records were not flushed");
        }
        drained
    });
    Ok(Running { address, released, server })
}

/// Records that this verifier started, however long the ledger takes to be there.
async fn record_start(services: Arc<services::Services>, mut shutdown: Shutdown) {
    let items = vec![entries::service_start(&services.verifier_id)];
    loop {
        let group = Group { agent: None, expected: None, items: items.clone() };
        let appended = tokio::select! {
            () = shutdown.started() => return,
            appended = services.ledger.append(group) => appended,
        };
        match appended {
            Ok(_) => return,
            Err(error @ AppendError::Refused(_)) => {
                tracing::error!(error = error_chain::chain(&error), "the start could not be recorded");
                return;
            }
            Err(error) => {
                tracing::warn!(error = error_chain::chain(&error), "the start is not recorded yet");
                tokio::time::sleep(services.polling.ledger_retry).await;
            }
        }
    }
}

fn check_webhook(webhook: Option<&Webhook>) -> Result<(), StartError> {
    let Some(Webhook { url, .. }) = webhook else {
        return Ok(());
    };
    let refused = || StartError::Webhook { url: url.clone() };
    let uri: http::Uri = url.parse().map_err(|_| refused())?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if loopback => Ok(()),
        Some(_) | None => Err(refused()),
    }
}

/// How long tasks may take to end once the server has: a request to an agent is cut at once, an append is answered
/// or given up within the ledger client's 15 s.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(20);
