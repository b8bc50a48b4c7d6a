//! Restarts and a ledger that is away.

use std::time::{Duration, Instant};

use fixtures_softtpm::KeyKind;
use http::{Method, StatusCode};
use ledger_protocol::Entry;
use ledger_protocol::Kind;
use ledger_protocol::body::{Body, ServiceStart};

use crate::attester::Attester;
use crate::stand::{SOON, Stand};

#[tokio::test]
async fn a_restart_keeps_the_active_and_forgets_the_pending() {
    let mut stand = Stand::new().await;
    let active = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let pending = Attester::certified("node-2", KeyKind::P256, 1, &stand.vendor);
    assert_eq!(active.enrol(&stand).await.status, StatusCode::OK);
    let before = stand.admin(Method::GET, &active.path()).await.body;
    let proof = pending.solve(&pending.register(&stand).await);
    stand.stop().await;
    stand.start().await;

    assert_eq!(stand.admin(Method::GET, &active.path()).await.body, before);
    assert_eq!(pending.activate(&stand, &proof).await.status, StatusCode::NOT_FOUND);
    assert_eq!(pending.enrol(&stand).await.status, StatusCode::OK, "it starts over cleanly");
    assert_eq!(active.enrol(&stand).await.status, StatusCode::OK);
    assert_eq!(stand.chain("node-1").await.len(), 1);
}

#[tokio::test]
async fn without_the_ledger_nothing_becomes_active_and_the_same_proof_serves_once_it_is_back() {
    let mut stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let proof = agent.solve(&agent.register(&stand).await);
    stand.stop_ledger().await;
    let refused = agent.activate(&stand, &proof).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.reason().contains("ledger"), "{refused:?}");
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.status, StatusCode::NOT_FOUND);
    // Registering needs no ledger: it makes nothing active.
    let other = Attester::certified("node-2", KeyKind::P256, 1, &stand.vendor);
    assert_eq!(other.register(&stand).await.status, StatusCode::OK);

    stand.start_ledger().await;
    let deadline = Instant::now() + SOON;
    while agent.activate(&stand, &proof).await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "the registrar does not find the ledger again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.status, StatusCode::OK);
    assert_eq!(stand.chain("node-1").await.len(), 1);
}

#[tokio::test]
async fn without_the_ledger_nobody_is_deleted() {
    let mut stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    stand.stop_ledger().await;
    let refused = stand.admin(Method::DELETE, &agent.path()).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.status, StatusCode::OK);
    stand.start_ledger().await;
    assert_eq!(stand.admin(Method::DELETE, &agent.path()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_registrar_that_starts_before_its_ledger_activates_once_its_start_is_recorded() {
    let mut stand = Stand::without_registrar().await;
    stand.stop_ledger().await;
    stand.start().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let proof = agent.solve(&agent.register(&stand).await);
    assert_eq!(agent.activate(&stand, &proof).await.status, StatusCode::SERVICE_UNAVAILABLE);
    stand.start_ledger().await;
    stand.wait_until_ready().await;
    assert_eq!(agent.activate(&stand, &proof).await.status, StatusCode::OK);

    let fleet = stand.ledger_client().entries(None, 0, 100).await.unwrap();
    let entries = fleet.entries.iter().map(|(_, entry)| Entry::decode(entry).unwrap());
    let starts: Vec<ServiceStart> = entries
        .filter(|entry| entry.kind == Kind::ServiceStart)
        .map(|entry| ServiceStart::decode(&entry.body).unwrap())
        .filter(|start| start.service == "registrar")
        .collect();
    assert!(!starts.is_empty());
    assert_eq!(starts[0].instance, "test");
}

#[tokio::test]
async fn a_second_registrar_on_the_same_book_does_not_start() {
    let stand = Stand::new().await;
    let second = sled_is_taken(&stand).await;
    assert!(second.contains("another registrar"), "{second}");
}

/// What a start on the running registrar's folder says.
async fn sled_is_taken(stand: &Stand) -> String {
    let (_stop, shutdown) = transport::server::Shutdown::new();
    let identity = stand.issue(&transport::ca::Leaf::server("registrar", &[], &[]));
    let config = registrar_server::Config {
        data: stand.data("registrar"),
        ek_certificate: stand.policy,
        instance: "second".to_owned(),
        ledger: stand.ledger_client(),
        limits: transport::server::Limits::default(),
        pending: stand.pending,
        plain_address: None,
        rate: stand.rate,
        tls: transport::tls::ServerTls::new(&identity, &transport::tls::ClientAuth::None).unwrap(),
        tls_address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        trust: stand.data("trust"),
    };
    let refused = registrar_server::start(config, shutdown).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap();
    format!("{refused}: {source}")
}
