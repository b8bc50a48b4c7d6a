//! Becoming known, against odds.

use agent_daemon::Config;
use agent_protocol::identifier::IdOption;
use serde_json::Value;
use transport::ca::{KeyAlgorithm, Leaf};
use transport::server::Shutdown;
use transport::tls::{ClientAuth, ServerTls};

use crate::rig::{Agent, Registrar, Rig};

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_and_forgetful_registrar_is_asked_until_it_activates() {
    let rig = Rig::new().await;
    rig.registrar.set(|book| (book.busy, book.forgetful) = (3, 2));
    let agent = rig.start(rig.config()).await;
    assert_eq!(rig.registrar.activations(), 1);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_is_where_the_agent_is_and_the_ready_file_says_so() {
    let rig = Rig::new().await;
    let ready = rig.folder.path().join("ready.json");
    std::fs::write(&ready, "left over").unwrap();
    let agent = rig.start(Config { ready_file: Some(ready.clone()), ..rig.config() }).await;
    assert_eq!(agent.register.port, Some(agent.address.port()));
    assert_eq!(agent.register.ip.as_deref(), Some("127.0.0.1"));
    let told: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    assert_eq!((told["agent_id"].as_str(), told["port"].as_u64()), (Some("node-1"), Some(agent.address.port().into())));
    agent.stop().await;
    assert!(!ready.exists());
}

async fn id(agent: &Agent) -> String {
    agent.results("/v2.2/agent/info").await["agent_uuid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_id_is_kept_and_one_from_the_ek_is_its_hash() {
    let rig = Rig::new().await;
    let generated = Config { agent_id: IdOption::Generate, ..rig.config() };
    let agent = rig.start(generated.clone()).await;
    let first = id(&agent).await;
    agent.stop().await;
    let agent = rig.start(generated).await;
    assert_eq!(id(&agent).await, first);
    agent.stop().await;
    let agent = rig.start(Config { agent_id: IdOption::HashEk, ..rig.config() }).await;
    assert_eq!(id(&agent).await.len(), 64);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_only_a_registrar_of_the_trusted_authority_is_told_anything() {
    let mut rig = Rig::new().await;
    let identity = rig.authority.issue(&Leaf::server("registrar", &[], &[]), KeyAlgorithm::EcP256).unwrap();
    let tls = ServerTls::new(&identity, &ClientAuth::None).unwrap();
    rig.registrar = Registrar::start(&rig.tpm.ca_certificates(), Some(tls)).await;

    let (handle, told) = Shutdown::new();
    let mut distrustful = agent_daemon::start(rig.config(), told).await.unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(500), distrustful.registered()).await;
    assert!(waited.is_err(), "no authority is trusted");
    assert_eq!(rig.registrar.activations(), 0);
    handle.start();
    distrustful.wait().await.unwrap();

    let trusted = rig.config().trusted_client_authorities;
    let agent = rig.start(Config { registrar_authorities: trusted, ..rig.config() }).await;
    assert_eq!(rig.registrar.activations(), 1);
    agent.stop().await;
}
