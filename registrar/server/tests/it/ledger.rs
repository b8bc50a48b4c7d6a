//! The real ledger, stopped and started again on its own folder and address.

use std::net::SocketAddr;
use std::path::Path;

use ledger_server::{Config, LogConfig, Running, start};
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::server::{Limits, Shutdown, ShutdownHandle};
use transport::tls::{ClientAuth, ServerTls};

pub(crate) struct Ledger {
    running: Running,
    stop: ShutdownHandle,
}

impl Ledger {
    pub(crate) async fn start(authority: &Authority, folder: &Path, address: SocketAddr) -> Self {
        let identity = authority.issue(&Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256).unwrap();
        let clients = ClientAuth::Optional(vec![authority.certificate().to_owned()]);
        let tls = ServerTls::new(&identity, &clients).unwrap();
        let log = LogConfig::new(folder);
        let config = Config { address, limits: Limits::default(), log, public_read: false, tls };
        let (stop, shutdown) = Shutdown::new();
        Self { running: start(config, shutdown).await.unwrap(), stop }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.running.address()
    }

    pub(crate) async fn stop(self) {
        self.stop.start();
        self.running.wait().await.unwrap();
    }
}
