//! Answers HTTP/1.1 requests over TLS or plain TCP, within limits and until told to stop.

mod admission;
mod connection;
mod dispatch;
mod limits;
mod shutdown;
mod stream;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::limits::Limits;
pub use self::shutdown::{Shutdown, ShutdownHandle};
use crate::router::Router;
use crate::tls::ServerTls;

/// A listener and what answers on it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    limits: Limits,
    listener: TcpListener,
    router: Router,
    tls: Option<ServerTls>,
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Drained {
    /// Every request that had begun was answered.
    Completely,
    /// [`Limits::drain_timeout`] passed first. Connections were cut; handlers that still run go on
    /// for as long as the process does.
    Cut,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one. Without `tls` the listener is plain and
    /// only its public routes answer. Connections wait in the system's queue until [`Server::run`].
    ///
    /// # Errors
    /// [`BindError`], as when the port is taken.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<ServerTls>,
        router: Router,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { address, limits, listener, router, tls })
    }

    /// The address it listens on, with the real port.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` starts, then takes no more connections, lets requests that have
    /// begun finish within [`Limits::drain_timeout`], and returns.
    ///
    /// Handshakes, requests and handlers run in tasks of their own: none waits for another, except
    /// that handshakes compute in turns ([`Limits::handshakes_at_once`]), behind what else is ready. Dropping
    /// the future cuts all connections.
    pub async fn run(self, mut shutdown: Shutdown) -> Drained {
        let Self { address, limits, listener, router, tls } = self;
        let (unfinished, mut finished) = mpsc::channel(1);
        let service = warp::service(dispatch::Dispatcher::new(router, limits, unfinished).into_filter());
        let admission = admission::Admission::new(&limits);
        let turns = turns::Turns::new(limits.handshakes_at_once);
        let mut connections = JoinSet::new();
        let mut failures = 0;
        loop {
            let accepted = tokio::select! {
                () = shutdown.started() => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (tcp, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    failures += 1;
                    pause_after(&error, failures, address).await;
                    continue;
                }
            };
            failures = 0;
            // Dropping the socket closes it: cheaper for both than a handshake and a 503.
            let Some(place) = admission.admit(remote.ip()) else {
                continue;
            };
            let (shutdown, tls, turns) = (shutdown.clone(), tls.clone(), turns.clone());
            let connection = connection::Connection { limits, place, remote, shutdown, tls, turns };
            connections.spawn(connection.serve(tcp, service.clone()));
        }
        drop((listener, service));
        let drained = tokio::time::timeout(limits.drain_timeout, async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
            // Handlers outlive their connections; `None` once the last of them is done.
            finished.recv().await
        });
        match drained.await {
            Ok(_) => Drained::Completely,
            Err(_) => {
                connections.shutdown().await;
                tracing::warn!(%address, "requests were still running when the time to drain was over");
                Drained::Cut
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(failure) = ended {
        tracing::error!(%failure, "a connection's task did not finish");
    }
}

/// Waits after a failed accept. Out of file descriptors the next one fails as well, and trying
/// without a pause would take the CPU that is needed to close connections.
async fn pause_after(error: &io::Error, failures: u32, address: SocketAddr) {
    if failures.is_power_of_two() {
        tracing::warn!(%address, failures, %error, "cannot accept a connection");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Long enough to cost nothing, too short for a caller to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
