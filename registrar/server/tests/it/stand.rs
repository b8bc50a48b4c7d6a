//! A registrar, its ledger, its certificates and those who call it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fixtures_softtpm::SoftCa;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use ledger_client::{LedgerClient, LedgerClientConfig};
use ledger_protocol::Entry;
use messages::AgentId;
use registrar_protocol::EkCertificatePolicy;
use registrar_server::{Config, PendingLimits, RateLimits, Running, start};
use serde_json::Value;
use tempfile::TempDir;
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::client::{Client, ClientError, Outgoing};
use transport::router::Role;
use transport::server::{Limits, Shutdown, ShutdownHandle};
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls};

use crate::ledger::Ledger;

/// No test waits longer than this for something that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Everything a registrar needs around it, and the registrar.
pub(crate) struct Stand {
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
    pub(crate) ledger: Option<Ledger>,
    ledger_address: SocketAddr,
    pub(crate) policy: EkCertificatePolicy,
    pub(crate) pending: PendingLimits,
    pub(crate) rate: RateLimits,
    pub(crate) registrar: Option<(Running, ShutdownHandle)>,
    pub(crate) vendor: SoftCa,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason in Keylime's envelope, which repeats the status.
    pub(crate) fn reason(&self) -> String {
        let body = self.json();
        assert_eq!(body["code"], u64::from(self.status.as_u16()), "{self:?}");
        assert!(body["results"].is_object(), "{self:?}");
        body["status"].as_str().unwrap().to_owned()
    }
}

impl Stand {
    /// A registrar that requires EK certificates, ready to activate.
    pub(crate) async fn new() -> Self {
        let mut stand = Self::without_registrar().await;
        stand.start().await;
        stand
    }

    pub(crate) async fn without_registrar() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().join("tls");
        let authority = Authority::open_or_create(&tls, "Test Authority", KeyAlgorithm::EcP256).unwrap();
        let vendor = SoftCa::root("Vendor Root");
        std::fs::create_dir(folder.path().join("trust")).unwrap();
        std::fs::write(folder.path().join("trust/vendor.pem"), vendor.pem()).unwrap();
        let ledger = Ledger::start(&authority, &folder.path().join("ledger"), any_port()).await;
        let ledger_address = ledger.address();
        Self {
            authority,
            folder,
            ledger: Some(ledger),
            ledger_address,
            policy: EkCertificatePolicy::Required,
            pending: PendingLimits::default(),
            rate: RateLimits::default(),
            registrar: None,
            vendor,
            plain: any_port(),
            tls: any_port(),
        }
    }

    /// Starts the registrar, and waits until it activates if there is a ledger.
    pub(crate) async fn start(&mut self) {
        let (stop, shutdown) = Shutdown::new();
        let identity = self.issue(&Leaf::server("registrar", &[], &[]));
        let clients = ClientAuth::Optional(vec![self.authority.certificate().to_owned()]);
        let config = Config {
            data: self.folder.path().join("registrar"),
            ek_certificate: self.policy,
            instance: "test".to_owned(),
            ledger: self.ledger_client(),
            limits: Limits::default(),
            pending: self.pending,
            plain_address: Some(any_port()),
            rate: self.rate,
            tls: ServerTls::new(&identity, &clients).unwrap(),
            tls_address: any_port(),
            trust: self.folder.path().join("trust"),
        };
        let running = start(config, shutdown).await.unwrap();
        self.tls = running.tls_address();
        self.plain = running.plain_address().unwrap();
        self.registrar = Some((running, stop));
        if self.ledger.is_some() {
            self.wait_until_ready().await;
        }
    }

    /// Stops the registrar cleanly.
    pub(crate) async fn stop(&mut self) {
        let (running, stop) = self.registrar.take().unwrap();
        stop.start();
        running.wait().await.unwrap();
    }

    pub(crate) async fn stop_ledger(&mut self) {
        self.ledger.take().unwrap().stop().await;
    }

    pub(crate) async fn start_ledger(&mut self) {
        let folder = self.folder.path().join("ledger");
        self.ledger = Some(Ledger::start(&self.authority, &folder, self.ledger_address).await);
    }

    /// Until the start is recorded an activation is refused before it is looked at.
    pub(crate) async fn wait_until_ready(&self) {
        let deadline = Instant::now() + SOON;
        let body = serde_json::json!({"auth_tag": "00"});
        while self.public(Method::PUT, "/v2.6/agents/nobody", &body).await.status != StatusCode::NOT_FOUND {
            assert!(Instant::now() < deadline, "the registrar does not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Identity {
        self.authority.issue(leaf, KeyAlgorithm::EcP256).unwrap()
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn client(&self, identity: Option<Identity>) -> Client {
        let authorities = vec![self.authority.certificate().to_owned()];
        let config = ClientTlsConfig { authorities, host_names: HostNames::Checked, identity };
        Client::new(ClientTls::new(&config).unwrap())
    }

    pub(crate) fn with_role(&self, role: Role) -> Client {
        self.client(Some(self.issue(&Leaf::client("alice", role))))
    }

    /// Speaks with the ledger as a server of ours, and gives up soon.
    pub(crate) fn ledger_client(&self) -> LedgerClient {
        let config = ClientTlsConfig {
            authorities: vec![self.authority.certificate().to_owned()],
            host_names: HostNames::Checked,
            identity: Some(self.issue(&Leaf::client("registrar", Role::Service))),
        };
        let url = format!("https://{}", self.ledger_address);
        let mut config = LedgerClientConfig::new(url, ClientTls::new(&config).unwrap());
        config.give_up_after = Duration::from_millis(500);
        LedgerClient::new(config)
    }

    /// The agent's entries, decoded.
    pub(crate) async fn chain(&self, id: &str) -> Vec<Entry> {
        let id: AgentId = id.parse().unwrap();
        let page = self.ledger_client().entries(Some(&id), 0, 100).await.unwrap();
        page.entries.iter().map(|(_, entry)| Entry::decode(entry).unwrap()).collect()
    }

    /// As an agent does it: without TLS.
    pub(crate) async fn public(&self, method: Method, path: &str, body: &Value) -> Reply {
        let url = format!("http://{}{path}", self.plain);
        send(&self.client(None), method, url, if body.is_null() { String::new() } else { body.to_string() }, &[])
            .await
            .unwrap()
    }

    /// As an operator does it.
    pub(crate) async fn admin(&self, method: Method, path: &str) -> Reply {
        let url = format!("https://{}{path}", self.tls);
        send(&self.with_role(Role::Admin), method, url, String::new(), &[]).await.unwrap()
    }
}

pub(crate) async fn send(
    client: &Client,
    method: Method,
    url: String,
    body: String,
    headers: &[(&'static str, &'static str)],
) -> Result<Reply, ClientError> {
    let mut outgoing = Outgoing::new(method, url);
    if !body.is_empty() {
        outgoing = outgoing.with_body("application/json", body);
    }
    for (name, value) in headers {
        outgoing.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let answer = client.request(outgoing).await?;
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    Ok(Reply { status: answer.status, headers: answer.headers, body })
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
