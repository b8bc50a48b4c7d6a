//! One installation: CA, ledger, verifier, and an operator's and a service's means.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, StatusCode};
use ledger_client::{LedgerClient, LedgerClientConfig};
use ledger_protocol::body::{Binding, Body, Enrol};
use ledger_server::LogConfig;
use messages::{
    AgentId, Digest,
    envelope::Envelope,
    keylime::{AddAgent, AgentStatus, AttestationStatus},
    ledger::{Group, Head, Item},
};
use serde_bytes::ByteBuf;
use serde_json::Value;
use transport::{
    ca::{Authority, KeyAlgorithm, Leaf},
    client::{Client, Outgoing},
    router::Role,
    server::{Limits, Shutdown, ShutdownHandle},
    tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls},
};
use verifier_server::{Config, LONG_LISTS_BYTES_MAX, Notify, Polling, Webhook};

use crate::attester::Attester;

pub(crate) struct Stand {
    authority: Authority,
    folder: tempfile::TempDir,
    pub(crate) give_up_after: Duration,
    pub(crate) long_lists_bytes_max: usize,
    ledger: Option<(ShutdownHandle, ledger_server::Running)>,
    ledger_address: SocketAddr,
    operator: Client,
    service: LedgerClient,
    tpms: AtomicUsize,
    verifier: Option<(ShutdownHandle, verifier_server::Running)>,
    verifier_address: SocketAddr,
    webhook: Option<String>,
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Rounds of 100 ms, losses noticed within a second.
pub(crate) const POLLING: Polling = Polling {
    interval: Duration::from_millis(100),
    ledger_retry: Duration::from_millis(50),
    request_timeout: Duration::from_millis(400),
    retry_base: Duration::from_millis(20),
    retries_max: 2,
    tolerance: None,
};

impl Stand {
    pub(crate) async fn start() -> Self {
        Self::with_webhook(None).await
    }

    pub(crate) async fn with_webhook(webhook: Option<String>) -> Self {
        let mut stand = Self::without_verifier(webhook).await;
        stand.start_verifier().await;
        stand
    }

    pub(crate) async fn without_verifier(webhook: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(&folder.path().join("tls"), "Test CA", KeyAlgorithm::EcP256).unwrap();
        let (handle, running) = start_ledger(&authority, folder.path(), ANY_PORT).await;
        let ledger_address = running.address();
        let service = LedgerClient::new(ledger_config(&authority, ledger_address));
        let operator = Client::new(client_tls(&authority, Some(Role::Admin)));
        Self {
            authority,
            folder,
            give_up_after: Notify::default().give_up_after,
            long_lists_bytes_max: LONG_LISTS_BYTES_MAX,
            ledger: Some((handle, running)),
            ledger_address,
            operator,
            service,
            tpms: AtomicUsize::new(0),
            verifier: None,
            verifier_address: ANY_PORT,
            webhook,
        }
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn ledger(&self) -> LedgerClient {
        self.service.clone()
    }

    pub(crate) fn ledger_url(&self) -> String {
        format!("https://{}", self.ledger_address)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn next_tpm(&self) -> usize {
        self.tpms.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn stop_ledger(&mut self) {
        let (handle, running) = self.ledger.take().unwrap();
        handle.start();
        running.wait().await.unwrap();
    }

    pub(crate) async fn start_ledger(&mut self) {
        self.ledger = Some(start_ledger(&self.authority, self.folder.path(), self.ledger_address).await);
    }

    pub(crate) async fn start_verifier(&mut self) {
        let (handle, shutdown) = Shutdown::new();
        let webhook = self.webhook.clone();
        let webhook = webhook.map(|url| Webhook { tls: client_tls(&self.authority, Some(Role::Service)), url });
        let identity = self.authority.issue(&Leaf::server("verifier", &[], &[]), KeyAlgorithm::EcP256).unwrap();
        let clients = ClientAuth::Optional(vec![self.authority.certificate().to_owned()]);
        let config = Config {
            agent_tls: client_tls(&self.authority, Some(Role::Service)),
            danger_agents_without_tls: false,
            data_dir: self.folder.path().join("verifier"),
            ledger: ledger_config(&self.authority, self.ledger_address),
            listen: self.verifier_address,
            notify: Notify {
                give_up_after: self.give_up_after,
                retry_base: Duration::from_millis(50),
                webhook,
                ..Notify::default()
            },
            long_lists_bytes_max: self.long_lists_bytes_max,
            polling: POLLING,
            server_tls: ServerTls::new(&identity, &clients).unwrap(),
            verifier_id: "default".into(),
        };
        let running = verifier_server::start(config, shutdown).await.unwrap();
        self.verifier_address = running.address();
        self.verifier = Some((handle, running));
    }

    pub(crate) async fn stop_verifier(&mut self) {
        let (handle, running) = self.verifier.take().unwrap();
        handle.start();
        running.wait().await;
    }

    pub(crate) fn at_address(&mut self, address: SocketAddr) {
        self.verifier_address = address;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.verifier_address)
    }

    /// An operator's request; status and JSON body.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<String>) -> (StatusCode, Value) {
        let mut outgoing = Outgoing::new(method, self.url(path));
        if let Some(body) = body {
            outgoing = outgoing.with_body("application/json", body);
        }
        let answer = self.operator.request(outgoing).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    pub(crate) async fn post(&self, id: &AgentId, add: &AddAgent) -> (StatusCode, Value) {
        let body = serde_json::to_string(add).unwrap();
        self.ask(Method::POST, &format!("/v2.6/agents/{id}"), Some(body)).await
    }

    /// Enrols an attester in the ledger, as the registrar does: into the next free slot.
    pub(crate) async fn enrol(&self, attester: &Attester) -> Digest {
        let slot = self.service.info().await.unwrap().next_slot;
        self.enrol_into(attester, slot).await
    }

    /// Enrols a retired attester, the first of this ledger, into its own slot.
    pub(crate) async fn enrol_again(&self, attester: &Attester) -> Digest {
        self.enrol_into(attester, 0).await
    }

    async fn enrol_into(&self, attester: &Attester, slot: u64) -> Digest {
        let ek = attester.state.lock().unwrap().tpm.ek.tpm2b_public();
        let binding = Binding {
            version: 1,
            agent: attester.id.clone(),
            ek: ByteBuf::from(ek),
            ak: ByteBuf::from(attester.ak_tpm()),
            ek_certificate: None,
            chain: vec![],
        };
        let digest = self.service.put_blob(binding.encode()).await.unwrap();
        let enrol = Enrol { slot, binding: digest, ek_certificate: 1, registrar: "test".into() };
        let item = Item { kind: Enrol::KIND.number(), body: ByteBuf::from(enrol.encode()), after: None };
        self.append(&attester.id, vec![item]).await;
        digest
    }

    pub(crate) async fn append(&self, id: &AgentId, items: Vec<Item>) {
        let head: Head = self.service.head(Some(id)).await.unwrap();
        let group = Group { agent: Some(id.clone()), expected: Some(head), items };
        self.service.append(group).await.unwrap();
    }

    /// Starts an attester, enrols it and adds it with PCR 15 as it is.
    pub(crate) async fn attester(&self, id: &str) -> Attester {
        let attester = Attester::start(self, id).await;
        self.enrol(&attester).await;
        self.add(&attester, &attester.add()).await;
        attester
    }

    pub(crate) async fn add(&self, attester: &Attester, add: &AddAgent) {
        let (status, body) = self.post(&attester.id, add).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    pub(crate) async fn status(&self, id: &AgentId) -> Option<AgentStatus> {
        let (status, body) = self.ask(Method::GET, &format!("/v2.6/agents/{id}"), None).await;
        match status {
            StatusCode::OK => Some(serde_json::from_value::<Envelope<AgentStatus>>(body).unwrap().results),
            StatusCode::NOT_FOUND => None,
            other => panic!("{other}: {body}"),
        }
    }

    /// Polls until the agent's status is as wanted.
    pub(crate) async fn until(&self, id: &AgentId, what: &str, wanted: impl Fn(&AgentStatus) -> bool) -> AgentStatus {
        let begun = Instant::now();
        loop {
            let status = self.status(id).await.unwrap();
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "{what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn until_passed(&self, id: &AgentId) -> AgentStatus {
        self.until(id, "a pass", |status| status.attestation_status == AttestationStatus::Pass).await
    }

    pub(crate) async fn until_failed(&self, id: &AgentId) -> AgentStatus {
        self.until(id, "a failure", |status| status.attestation_status == AttestationStatus::Fail).await
    }

    /// Polls until the agent's chain has the entry.
    pub(crate) async fn until_logged(&self, id: &AgentId, word: &str) -> Vec<crate::chain::Logged> {
        let begun = Instant::now();
        loop {
            let entries = crate::chain::entries(&self.service, id).await;
            if crate::chain::count(&entries, word) > 0 {
                return entries;
            }
            assert!(begun.elapsed() < DEADLINE, "no {word}: {:?}", crate::chain::kinds(&entries));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Polls until a condition of this process holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Long enough for two busy cores.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

async fn start_ledger(
    authority: &Authority,
    folder: &Path,
    address: SocketAddr,
) -> (ShutdownHandle, ledger_server::Running) {
    let identity = authority.issue(&Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256).unwrap();
    let clients = ClientAuth::Optional(vec![authority.certificate().to_owned()]);
    let mut log = LogConfig::new(folder.join("ledger"));
    log.checkpoint_interval = Duration::from_millis(200);
    let config = ledger_server::Config {
        address,
        limits: Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() },
        log,
        public_read: false,
        tls: ServerTls::new(&identity, &clients).unwrap(),
    };
    let (handle, shutdown) = Shutdown::new();
    (handle, ledger_server::start(config, shutdown).await.unwrap())
}

fn ledger_config(authority: &Authority, address: SocketAddr) -> LedgerClientConfig {
    let mut config = LedgerClientConfig::new(format!("https://{address}"), client_tls(authority, Some(Role::Service)));
    config.give_up_after = Duration::from_millis(500);
    config.request_timeout = Duration::from_secs(2);
    config
}

pub(crate) fn client_tls(authority: &Authority, role: Option<Role>) -> ClientTls {
    let identity = role.map(|role| authority.issue(&Leaf::client("tester", role), KeyAlgorithm::EcP256).unwrap());
    tls_of(authority, identity)
}

pub(crate) fn tls_of(authority: &Authority, identity: Option<Identity>) -> ClientTls {
    let authorities = vec![authority.certificate().to_owned()];
    ClientTls::new(&ClientTlsConfig { authorities, host_names: HostNames::Checked, identity }).unwrap()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
