#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{path::Path, time::Duration};

use ledger_client::{LedgerClient, LedgerClientConfig};
use messages::keylime::AttestationStatus;
use tokio::sync::mpsc;
use transport::{
    client::Client,
    server::Shutdown,
    tls::{ClientTls, ClientTlsConfig, HostNames},
};
use verifier_protocol::session::Trust;

use super::*;
use crate::{
    clock::Clock,
    config::{Notify, Polling},
    fleet::{Fleet, TellError},
    outbox::Outbox,
    policies::PolicyBook,
    store::Store,
    terms::Application,
    vault::Vault,
};

/// Means whose ledger and agents are a closed port.
fn services(folder: &Path) -> Arc<Services> {
    let config = ClientTlsConfig { authorities: vec![], host_names: HostNames::Checked, identity: None };
    let tls = ClientTls::new(&config).unwrap();
    let mut ledger = LedgerClientConfig::new("https://127.0.0.1:1", tls.clone());
    ledger.give_up_after = Duration::from_millis(50);
    let polling = Polling { ledger_retry: Duration::from_millis(10), ..Polling::default() };
    let ledger = LedgerClient::new(ledger);
    let store = Store::open(&folder.join("records")).unwrap();
    Arc::new(Services {
        appraisers: crate::appraisers::Appraisers::new(crate::LONG_LISTS_BYTES_MAX),
        alive: mpsc::channel(1).0,
        clock: Clock::new(),
        danger_agents_without_tls: true,
        policies: PolicyBook::open(store.clone(), ledger.clone()).unwrap(),
        ledger,
        notify: Notify::default(),
        outbox: Outbox::new(None),
        polling,
        store,
        to_agents: Client::new(tls),
        vault: Vault::open_or_create(folder).unwrap(),
        verifier_id: "test".into(),
    })
}

fn stored(services: &Services) -> StoredAgent {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let tpm = fixtures_softtpm::SoftTpm::new(fixtures_softtpm::KeyKind::P256, 0);
    let body = serde_json::json!({
        "cloudagent_ip": "127.0.0.1", "cloudagent_port": 1, "tpm_policy": "{}", "mtls_cert": "disabled",
        "accept_tpm_hash_algs": ["sha256"], "accept_tpm_encryption_algs": ["ecc"], "accept_tpm_signing_algs": ["ecdsa"],
        "ak_tpm": STANDARD.encode(tpm.ak.tpm2b_public()),
    });
    let application = Application::parse(body.to_string().as_bytes(), &services.polling, true).unwrap();
    let now = services.clock.now();
    let mut record = RecordRow::new(now, false, Head::default(), Digest([1; 32]));
    record.record.trust = Trust::Passed { at: now };
    record.record.last_success = Some(now);
    let terms = TermsRow { terms: application.terms, share_v: None, revocation_key: None };
    StoredAgent { id: "node-1".parse().unwrap(), terms, record }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_task_that_dies_shows_in_the_status_and_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let services = services(folder.path());
    let agent = stored(&services);
    let id = agent.id.clone();
    services.store.put_agent(&agent).await.unwrap();
    let (handle, shutdown) = Shutdown::new();
    let fleet = Fleet::resume(Arc::clone(&services), shutdown).unwrap();
    let status = || fleet.status(&id, services.clock.now()).unwrap();
    let reason = || status().reason.unwrap_or_default();
    assert_eq!(status().attestation_status, AttestationStatus::Pending, "a pass from before does not count");
    until("the ledger's absence shows", || reason().contains("ledger")).await;

    let lost = fleet.tell(&id, |_reply| Command::Panic).await;
    assert!(matches!(lost, Err(TellError::Restarting)));
    until("the death shows", || reason().contains("internal error")).await;
    assert_ne!(status().attestation_status, AttestationStatus::Pass);
    until("it lives again", || reason().contains("ledger") && !reason().contains("internal error")).await;
    let answered = fleet.tell(&id, |reply| Command::Stop { actor: "operator".into(), reply }).await;
    let Err(TellError::Command(CommandError::LedgerUnavailable(_))) = answered else { panic!("{answered:?}") };
    assert_ne!(status().reason.as_deref(), Some("stopped by an operator"), "nothing is done that is not recorded");
    handle.start();
}

#[tokio::test]
async fn a_status_goes_stale_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let services = services(folder.path());
    let agent = stored(&services);
    let view = View::of(&agent, agent.terms.terms.settings(&services.polling));
    let now = services.clock.now();
    let status = |ms| view.status(&services, now.plus_ms(ms)).attestation_status;
    assert_eq!(status(0), AttestationStatus::Pending);
    assert_eq!(status(10_001), AttestationStatus::Timeout);
}

#[tokio::test]
async fn news_that_nobody_waits_for_any_more_have_reached_every_channel() {
    use futures_util::FutureExt as _;
    let folder = tempfile::tempdir().unwrap();
    let services = services(folder.path());
    for id in ["node-1", "node-2", "node-3"] {
        let agent = StoredAgent { id: id.parse().unwrap(), ..stored(&services) };
        services.store.put_agent(&agent).await.unwrap();
    }
    let agent = stored(&services);
    let key = fixtures_softtpm::shared(fixtures_softtpm::KeyKind::RSA_2048, 0).private_key_to_pem_pkcs8().unwrap();
    let news = crate::outbox::News {
        agent: &agent.id,
        event: "pcr_validation.invalid_pcr_15",
        kind: "revocation",
        severity: None,
        terms: &agent.terms.terms,
        text: String::new(),
        verdict: Some(Digest([1; 32])),
    };
    // As when an operator's command cuts the round short in which it is posted.
    let _ = crate::outbox::post(&services, &news, Some(&key)).now_or_never();
    assert_eq!(services.store.messages::<crate::outbox::Message>().unwrap().len(), 3);
}

#[tokio::test]
async fn a_command_to_an_agent_whose_record_is_gone_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let services = services(folder.path());
    let agent = stored(&services);
    services.store.put_agent(&agent).await.unwrap();
    let (handle, shutdown) = Shutdown::new();
    let fleet = Fleet::resume(Arc::clone(&services), shutdown).unwrap();
    let departed = crate::store::DepartedRow { next_seq: 0, enrolled: None, windows: Default::default() };
    services.store.remove_agent(&agent.id, departed).await.unwrap();
    let _ = fleet.tell(&agent.id, |_reply| Command::Panic).await;
    let reason = || fleet.status(&agent.id, services.clock.now()).unwrap().reason.unwrap_or_default();
    until("the loss shows", || reason().contains("gone")).await;
    let told = fleet.tell(&agent.id, |reply| Command::Stop { actor: "operator".into(), reply });
    let answer = tokio::time::timeout(Duration::from_secs(5), told).await;
    assert!(matches!(answer, Ok(Err(TellError::Restarting))), "{answer:?}");
    handle.start();
}
