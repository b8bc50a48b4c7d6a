//! One machine with a TPM, the authority of its site, and the registrar it reports to.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_daemon::{Config, Running};
use agent_protocol::identifier::IdOption;
use agent_protocol::tag::{Tag, activation_tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::credential::{CredentialRandomness, make_credential};
use evidence::ek_certificate::{EkCertificate, TrustStore};
use evidence::keylime::KeylimeQuote;
use evidence::pcr::{PcrBank, PcrSelection};
use evidence::public::{Ak, Ek, Public};
use evidence::quote::{AuthenticQuote, Expected};
use fixtures_swtpm::Swtpm;
use http::{Method, StatusCode};
use messages::envelope::Envelope;
use messages::keylime::{Activate, Challenge, Register};
use serde_json::{Value, json};
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::client::{Client, ClientError, Outgoing};
use transport::router::{Access, Request, Response, Role, Route, Router};
use transport::server::{Limits, Server, Shutdown, ShutdownHandle};
use transport::tls::{CertificatePin, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls};

pub(crate) struct Rig {
    pub(crate) authority: Authority,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) registrar: Registrar,
    /// In memory, so that payloads are taken.
    memory: tempfile::TempDir,
    pub(crate) tpm: Swtpm,
}

pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) register: Register,
    running: Running,
    shutdown: ShutdownHandle,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tpm = Swtpm::start(&folder.path().join("swtpm")).unwrap_or_else(|error| panic!("{error}"));
        let registrar = Registrar::start(&tpm.ca_certificates(), None).await;
        let authority = Authority::open_or_create(&folder.path().join("tls"), "site", KeyAlgorithm::EcP256).unwrap();
        Self { authority, folder, registrar, memory: tempfile::tempdir_in("/dev/shm").unwrap(), tpm }
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.folder.path().join("agent"), self.tpm.tcti());
        config.agent_id = IdOption::parse("node-1").unwrap();
        config.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.registrar_url = self.registrar.url.clone();
        config.registration_pause_ms = (10, 100);
        config.secure_folder = self.memory.path().to_owned();
        config.trusted_client_authorities = vec![self.folder.path().join("tls/cacert.crt")];
        config.ima_list_path = self.folder.path().join("ima");
        config.boot_log_path = self.folder.path().join("boot");
        config
    }

    pub(crate) fn secure(&self) -> &Path {
        self.memory.path()
    }

    /// Starts an agent and waits until it is registered.
    pub(crate) async fn start(&self, config: Config) -> Agent {
        let (shutdown, told) = Shutdown::new();
        let mut running = agent_daemon::start(config, told).await.unwrap_or_else(|error| panic!("{error:?}"));
        let registered = tokio::time::timeout(Duration::from_secs(30), running.registered()).await;
        assert!(registered.expect("registered in time"), "the agent stopped");
        let register = self.registrar.registration(running.agent_id().as_str());
        let client = self.client(Some(&self.identity(Role::Admin)), &register);
        Agent { address: running.local_addr(), client, register, running, shutdown }
    }

    pub(crate) fn identity(&self, role: Role) -> Identity {
        self.authority.issue(&Leaf::client("client", role), KeyAlgorithm::EcP256).unwrap()
    }

    /// A client that trusts exactly the certificate that was registered.
    pub(crate) fn client(&self, identity: Option<&Identity>, register: &Register) -> Client {
        let config =
            ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: identity.cloned() };
        let pin = CertificatePin::of_pem(register.mtls_cert.as_deref().unwrap().as_bytes()).unwrap();
        Client::new(ClientTls::new(&config).unwrap()).pinned(pin)
    }

    /// Runs a program of tpm2-tools beside the agent and gives what it printed.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", self.tpm.tcti())
            .current_dir(self.folder.path())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}; run: apt-get install tpm2-tools"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Agent {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Outgoing::new(Method::GET, self.url(path))).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<bytes::Bytes>) -> (StatusCode, Value) {
        let outgoing = Outgoing::new(Method::POST, self.url(path)).with_body("application/json", body);
        self.send(outgoing).await.unwrap()
    }

    pub(crate) async fn send(&self, mut outgoing: Outgoing) -> Result<(StatusCode, Value), ClientError> {
        outgoing.answer_bytes_max = 32 << 20;
        let answer = self.client.request(outgoing).await?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Ok((answer.status, value))
    }

    /// The results of a request that succeeds.
    pub(crate) async fn results(&self, path: &str) -> Value {
        let (status, mut answer) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer["results"].take()
    }

    pub(crate) fn ak(&self) -> Ak {
        Ak::new(Public::from_tpm2b(&STANDARD.decode(&self.register.aik_tpm).unwrap()).unwrap()).unwrap()
    }

    /// Asks for an integrity quote and verifies it as a verifier would, PCR 16 included.
    pub(crate) async fn verified_quote(&self, nonce: &str, mask: u32) -> AuthenticQuote {
        let results = self.results(&format!("/v2.6/quotes/integrity?nonce={nonce}&mask={mask:#x}&partial=0")).await;
        let bank = PcrBank(results["hash_alg"].as_str().unwrap().parse().unwrap());
        let parsed = KeylimeQuote::parse(results["quote"].as_str().unwrap()).unwrap();
        let selection = PcrSelection::from_mask(bank, mask | 1 << 16).unwrap();
        let expected = Expected { nonce: nonce.as_bytes(), selection: &selection, values: &parsed.values };
        let quote = parsed.quote().unwrap().verify(&self.ak(), &expected).unwrap();
        let hash = bank.algorithm();
        let bound = hash.digest(results["pubkey"].as_str().unwrap().as_bytes()).unwrap();
        let zero = evidence::algorithm::Digest::zero(hash);
        let expected = hash.digest(&[zero.as_bytes(), bound.as_bytes()].concat()).unwrap();
        assert_eq!(quote.values().get(16.try_into().unwrap()), Some(&expected), "PCR 16 binds NK");
        quote
    }

    pub(crate) async fn stop(self) {
        self.shutdown.start();
        tokio::time::timeout(Duration::from_secs(20), self.running.wait()).await.unwrap().unwrap();
    }
}

/// A registrar as the protocol has it: checks the EK certificate, makes credentials, compares tags.
pub(crate) struct Registrar {
    book: Arc<Mutex<Book>>,
    _shutdown: ShutdownHandle,
    pub(crate) url: String,
}

#[derive(Default)]
pub(crate) struct Book {
    /// Registrations that await activation, with the tag expected.
    pending: HashMap<String, (Register, Tag)>,
    active: HashMap<String, Register>,
    pub(crate) activations: u32,
    /// How many of the next registrations are answered 503.
    pub(crate) busy: u32,
    /// How many of the next activations are answered 404.
    pub(crate) forgetful: u32,
    /// Whether an EK without a certificate is taken.
    pub(crate) lenient: bool,
    trust: TrustStore,
}

impl Registrar {
    pub(crate) async fn start(roots: &[PathBuf], tls: Option<ServerTls>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut trust = TrustStore::new();
        for path in roots {
            trust.add(&path.display().to_string(), &std::fs::read(path).unwrap()).unwrap();
        }
        let book = Arc::new(Mutex::new(Book { trust, ..Book::default() }));
        let (registering, activating) = (Arc::clone(&book), Arc::clone(&book));
        let router = Router::new(vec![
            Route::new(Method::GET, "/version", Access::PUBLIC, 0, |_| async {
                answer(200, json!({"current_version": "2.6", "supported_versions": ["2.5", "2.6", "3.0"]}))
            }),
            Route::new(Method::POST, "/v2.6/agents/:id", Access::PUBLIC, 1 << 20, move |request| {
                let answered = registering.lock().unwrap().register(&request);
                async move { answered }
            }),
            Route::new(Method::PUT, "/v2.6/agents/:id", Access::PUBLIC, 1 << 20, move |request| {
                let answered = activating.lock().unwrap().activate(&request);
                async move { answered }
            }),
        ])
        .unwrap();
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), tls, router, Limits::default()).await.unwrap();
        let (shutdown, told) = Shutdown::new();
        let address = server.local_addr();
        tokio::spawn(server.run(told));
        Self { url: format!("{scheme}://{address}"), book, _shutdown: shutdown }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book.lock().unwrap());
    }

    pub(crate) fn activations(&self) -> u32 {
        self.book.lock().unwrap().activations
    }

    fn registration(&self, id: &str) -> Register {
        self.book.lock().unwrap().active[id].clone()
    }
}

impl Book {
    fn register(&mut self, request: &Request) -> Response {
        if self.busy > 0 {
            self.busy -= 1;
            return answer(503, json!({}));
        }
        let id = request.param("id").to_owned();
        let register: Register = serde_json::from_slice(&request.body).unwrap();
        let ek = Public::from_tpm2b(&STANDARD.decode(register.ek_tpm.as_deref().unwrap()).unwrap()).unwrap();
        let ek = Ek::new(ek).unwrap();
        match &register.ekcert {
            Some(pem) => {
                let (certificate, chain) = EkCertificate::parse_with_chain(pem.as_bytes()).unwrap();
                certificate.check_key(&ek).unwrap();
                let now = i64::try_from(
                    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
                )
                .unwrap();
                let _ = self.trust.verify_chain(&certificate, &chain, now).unwrap();
            }
            None if self.lenient => {}
            None => return answer(400, json!({})),
        }
        let ak = Ak::new(Public::from_tpm2b(&STANDARD.decode(&register.aik_tpm).unwrap()).unwrap()).unwrap();
        let mut random = [0; CredentialRandomness::BYTES];
        openssl::rand::rand_bytes(&mut random).unwrap();
        let secret = b"0123456789abcdefghijklmnopqrstuv";
        let made = make_credential(&ek, ak.name(), secret, &CredentialRandomness::new(random)).unwrap();
        let tag = activation_tag(secret, &id.parse().unwrap()).unwrap();
        self.pending.insert(id, (register, tag));
        answer(200, serde_json::to_value(Challenge { blob: STANDARD.encode(made.encode()) }).unwrap())
    }

    fn activate(&mut self, request: &Request) -> Response {
        let id = request.param("id").to_owned();
        if self.forgetful > 0 {
            self.forgetful -= 1;
            return answer(404, json!({}));
        }
        let told: Activate = serde_json::from_slice(&request.body).unwrap();
        match self.pending.remove(&id) {
            Some((register, tag)) if Tag::from_hex(&told.auth_tag).unwrap().matches(&tag) => {
                self.active.insert(id, register);
                self.activations += 1;
                answer(200, json!({}))
            }
            Some(_) => answer(400, json!({})),
            None => answer(404, json!({})),
        }
    }
}

fn answer(code: u16, results: Value) -> Response {
    let envelope = Envelope { code, status: "told".to_owned(), results };
    let status = StatusCode::from_u16(code).unwrap();
    Response::new(status, "application/json", serde_json::to_vec(&envelope).unwrap())
}
