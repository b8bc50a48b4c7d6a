//! The witness behind a listener.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};
use transport::router::{Router, RouterError};
use transport::server::{BindError, Drained, Limits, Server, Shutdown};
use transport::tls::ServerTls;

use crate::api;
use crate::witness::Witness;

/// What a witness's service needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Bounds of the listener; [`limits`] suits a witness.
    pub limits: Limits,
    /// The path in front of `/add-checkpoint` and `/<log>/checkpoint`: empty, or `/` and a name
    /// without a slash at the end. It is both the submission and the monitoring prefix.
    pub prefix: String,
    /// The server's certificate; `None` speaks plain HTTP, as behind a proxy.
    pub tls: Option<ServerTls>,
    /// The witness.
    pub witness: Witness,
}

/// A witness at work.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    server: JoinHandle<Drained>,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("the witness cannot listen")]
    Bind(#[source] BindError),
    /// The prefix is no path.
    #[error("the prefix {prefix:?} is no path; expected nothing, or a slash and names without a slash at the end")]
    Prefix {
        /// The prefix given.
        prefix: String,
        /// What the router says of it.
        source: RouterError,
    },
}

/// Serves a witness until `shutdown` starts.
///
/// # Errors
/// [`StartError`].
pub async fn start(config: Config, shutdown: Shutdown) -> Result<Running, StartError> {
    let Config { address, limits, prefix, tls, witness } = config;
    let vkey = witness.verifier().to_string();
    let router = Router::new(api::routes(&Arc::new(witness), &prefix))
        .map_err(|source| StartError::Prefix { prefix: prefix.clone(), source })?;
    let server = Server::bind(address, tls, router, limits).await.map_err(StartError::Bind)?;
    let address = server.local_addr();
    tracing::info!(%address, prefix, vkey, "the witness listens");
    Ok(Running { address, server: tokio::spawn(server.run(shutdown)) })
}

impl Running {
    /// Where it listens, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the shutdown is over.
    ///
    /// # Errors
    /// [`JoinError`] if the listener did not finish.
    pub async fn wait(self) -> Result<(), JoinError> {
        if self.server.await? == Drained::Cut {
            tracing::warn!("some requests were cut off at the end");
        }
        Ok(())
    }
}

/// Bounds for a witness: hundreds of logs that come once a second on a kept connection each, and
/// monitors. 64 MiB of bodies are 512 of the largest at once.
#[must_use]
pub fn limits() -> Limits {
    Limits { bodies_bytes_max: 64 << 20, connections_max: 2_048, connections_per_ip_max: 128, ..Limits::default() }
}
