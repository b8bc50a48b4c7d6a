#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::AtomicBool;

use ledger_client::{LedgerClient, LedgerClientConfig};
use registrar_protocol::EkCertificatePolicy;
use transport::router::Router;
use transport::tls::{ClientTls, ClientTlsConfig, HostNames};

use super::*;
use crate::enrolment::Enroller;
use crate::pending::{PendingLimits, PendingTable};
use crate::rate::{RateLimiter, RateLimits};
use crate::registrar::IdLocks;
use crate::store::Store;
use crate::trust::TrustDirectory;

#[tokio::test]
async fn every_route_admits_whom_it_should_and_there_is_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let config = ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: None };
    let tls = ClientTls::new(&config).unwrap();
    let ledger = LedgerClient::new(LedgerClientConfig::new("https://127.0.0.1:1", tls));
    let registrar = Arc::new(Registrar {
        enroller: Enroller::new(ledger, String::new()),
        locks: IdLocks::new(),
        pending: PendingTable::new(PendingLimits::default()),
        policy: EkCertificatePolicy::Required,
        rate: RateLimiter::new(RateLimits::default()),
        ready: AtomicBool::new(false),
        store: Store::open(folder.path()).unwrap(),
        trust: TrustDirectory::new(folder.path().to_owned()),
    });
    let routes = routes(&registrar);
    assert_eq!(routes.len(), 2 + 8 * 7);
    for Route { method, pattern, access, body_bytes_max, .. } in &routes {
        let expected = match method.as_str() {
            "GET" if pattern.starts_with("/version") => Access::PUBLIC,
            "GET" => Access::READER,
            "DELETE" => Access::ADMIN,
            "POST" | "PUT" => Access::PUBLIC,
            other => panic!("{other} {pattern}"),
        };
        assert_eq!(*access, expected, "{method} {pattern}");
        assert!(*body_bytes_max <= REGISTER_BYTES_MAX);
    }
    Router::new(routes).unwrap();
}
