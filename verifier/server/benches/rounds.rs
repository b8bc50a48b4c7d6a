//! Attestation rounds per second: a real verifier and a real ledger against attesters in this process, which sign each
//! quote with a software TPM and answer over mutual TLS. Beside it, in the same run, the attesters' own signing and the
//! same requests without a verifier.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fixtures_bench::Report;
use fixtures_softtpm::{AttestFields, Hash, KeyKind, SoftTpm, shared};
use http::{Method, StatusCode};
use ledger_client::{LedgerClient, LedgerClientConfig};
use ledger_protocol::body::{Binding, Body, Enrol};
use ledger_server::LogConfig;
use messages::{
    AgentId,
    ledger::{Group, Head, Item},
};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use transport::{
    ca::{Authority, KeyAlgorithm, Leaf},
    client::{Client, Outgoing},
    router::{Access, Request, Response, Role, Route, Router},
    server::{Limits, Server, Shutdown, ShutdownHandle},
    tls::{CertificatePin, ClientAuth, ClientTls, ClientTlsConfig, HostNames, ServerTls},
};
use verifier_server::{Config, Notify, Polling};

const ATTESTERS: usize = 50;
/// PCR 15 and the payload key's.
const MASK: u32 = 0x1_8000;
const SAMPLES: usize = 5;
const SAMPLE: Duration = Duration::from_secs(4);

struct Attester {
    id: AgentId,
    address: SocketAddr,
    certificate: Vec<u8>,
    tpm: Arc<Mutex<SoftTpm>>,
    _stop: ShutdownHandle,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut report = Report::new("verifier_rounds");
    runtime.block_on(measure(&mut report));
    report.write().unwrap();
}

async fn measure(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(&folder.path().join("tls"), "Bench CA", KeyAlgorithm::EcP256).unwrap();
    let mut attesters = Vec::new();
    for number in 0..ATTESTERS {
        attesters.push(attester(&authority, number).await);
    }
    report.add("attester_quotes_per_s", "quotes/s, one core", (0..SAMPLES).map(|_| quotes_alone(&attesters)).collect());

    let mut bare = Vec::new();
    for _ in 0..SAMPLES {
        bare.push(requests_alone(&authority, &attesters).await);
    }
    report.add("bare_quote_requests_per_s", "requests/s", bare);

    let (_ledger_handle, ledger_address) = start_ledger(&authority, folder.path()).await;
    let service = LedgerClient::new(ledger_config(&authority, ledger_address));
    let (_verifier_handle, url) = start_verifier(&authority, folder.path(), ledger_address).await;
    let operator = Client::new(client_tls(&authority, Role::Admin));
    for attester in &attesters {
        enrol(&service, attester).await;
        let body = add(attester).to_string();
        let outgoing = Outgoing::new(Method::POST, format!("{url}/v2.6/agents/{}", attester.id));
        let answer = operator.request(outgoing.with_body("application/json", body)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    while passed(&operator, &url).await.iter().any(|count| *count < 3) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut rounds = Vec::new();
    for _ in 0..SAMPLES {
        let (before, begun) = (passed(&operator, &url).await, Instant::now());
        tokio::time::sleep(SAMPLE).await;
        let (after, elapsed) = (passed(&operator, &url).await, begun.elapsed());
        rounds.push((after.iter().sum::<u64>() - before.iter().sum::<u64>()) as f64 / elapsed.as_secs_f64());
    }
    report.add("attestation_rounds_per_s", "durably logged rounds/s", rounds);
}

/// Quotes signed by one thread and nothing else.
fn quotes_alone(attesters: &[Attester]) -> f64 {
    let prepared: Vec<_> = attesters.iter().map(|attester| Prepared::new(&attester.tpm.lock().unwrap())).collect();
    let begun = Instant::now();
    let mut count = 0_u64;
    while begun.elapsed() < Duration::from_millis(500) {
        for attester in &prepared {
            std::hint::black_box(attester.quote(b"nonce", count));
            count += 1;
        }
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// The verifier's requests, without verifying or recording anything.
async fn requests_alone(authority: &Authority, attesters: &[Attester]) -> f64 {
    let client = Client::new(client_tls(authority, Role::Service));
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let tasks: Vec<_> = attesters
        .iter()
        .map(|attester| {
            let client = client.pinned(CertificatePin::of_pem(&attester.certificate).unwrap());
            let url = format!("https://{}/v2.6/quotes/integrity?nonce=n&mask=0x8000&partial=0", attester.address);
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                while begun.elapsed() < Duration::from_secs(2) {
                    client.request(Outgoing::new(Method::GET, url.clone())).await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

async fn attester(authority: &Authority, number: usize) -> Attester {
    let id: AgentId = format!("bench-{number}").parse().unwrap();
    let identity = transport::ca::self_sign(id.as_str(), &[]).unwrap();
    let mut tpm = SoftTpm::new(KeyKind::P256, number);
    let nk = String::from_utf8(shared(KeyKind::RSA_2048, 0).public_key_to_pem().unwrap()).unwrap();
    tpm.measure(16, nk.as_bytes());
    let tpm = Arc::new(Mutex::new(tpm));
    let (quoting, counter) = (Prepared::new(&tpm.lock().unwrap()), AtomicU64::new(0));
    let route = Route::new(Method::GET, "/:version/quotes/integrity", Access::READER, 0, move |request| {
        let answer = quote(&quoting, counter.fetch_add(1, Ordering::Relaxed), &nk, &request);
        async move { answer }
    });
    let clients = ClientAuth::Required(vec![authority.certificate().to_owned()]);
    let tls = ServerTls::new(&identity, &clients).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(address, Some(tls), Router::new(vec![route]).unwrap(), Limits::default()).await.unwrap();
    let (stop, shutdown) = Shutdown::new();
    let address = server.local_addr();
    tokio::spawn(server.run(shutdown));
    Attester { id, address, certificate: identity.certificate().to_pem().unwrap(), tpm, _stop: stop }
}

/// All of a quote that does not change from one to the next, as a TPM has it in its registers: the software TPM
/// would derive the key's qualified name each time, which takes longer than signing.
struct Prepared {
    fields: AttestFields,
    tpm: SoftTpm,
}

impl Prepared {
    fn new(tpm: &SoftTpm) -> Self {
        let mut tpm = tpm.clone();
        Self { fields: tpm.attest(b"", Hash::Sha256, MASK), tpm }
    }

    fn quote(&self, nonce: &[u8], count: u64) -> String {
        let mut fields = self.fields.clone();
        fields.extra_data = nonce.to_vec();
        fields.clock += 1 + count;
        self.tpm.sign_quote(&fields, Hash::Sha256, MASK).keylime_string()
    }
}

fn quote(prepared: &Prepared, count: u64, nk: &str, request: &Request) -> Response {
    let quote = prepared.quote(request.query.get("nonce").unwrap().as_bytes(), count);
    let results = json!({"quote": quote, "hash_alg": "sha256", "enc_alg": "ecc256", "sign_alg": "ecdsa", "pubkey": nk});
    let body = json!({"code": 200, "status": "Success", "results": results});
    Response::new(StatusCode::OK, "application/json", body.to_string())
}

async fn start_ledger(authority: &Authority, folder: &std::path::Path) -> (ShutdownHandle, SocketAddr) {
    let identity = authority.issue(&Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256).unwrap();
    let clients = ClientAuth::Optional(vec![authority.certificate().to_owned()]);
    let config = ledger_server::Config {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        limits: Limits::default(),
        log: LogConfig::new(folder.join("ledger")),
        public_read: false,
        tls: ServerTls::new(&identity, &clients).unwrap(),
    };
    let (handle, shutdown) = Shutdown::new();
    let running = ledger_server::start(config, shutdown).await.unwrap();
    (handle, running.address())
}

async fn start_verifier(
    authority: &Authority,
    folder: &std::path::Path,
    ledger: SocketAddr,
) -> (ShutdownHandle, String) {
    let identity = authority.issue(&Leaf::server("verifier", &[], &[]), KeyAlgorithm::EcP256).unwrap();
    let clients = ClientAuth::Optional(vec![authority.certificate().to_owned()]);
    let config = Config {
        agent_tls: client_tls(authority, Role::Service),
        danger_agents_without_tls: false,
        data_dir: folder.join("verifier"),
        ledger: ledger_config(authority, ledger),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        notify: Notify::default(),
        polling: Polling::default(),
        server_tls: ServerTls::new(&identity, &clients).unwrap(),
        long_lists_bytes_max: verifier_server::LONG_LISTS_BYTES_MAX,
        verifier_id: "bench".into(),
    };
    let (handle, shutdown) = Shutdown::new();
    let running = verifier_server::start(config, shutdown).await.unwrap();
    (handle, format!("https://{}", running.address()))
}

fn client_tls(authority: &Authority, role: Role) -> ClientTls {
    let identity = Some(authority.issue(&Leaf::client("bench", role), KeyAlgorithm::EcP256).unwrap());
    let authorities = vec![authority.certificate().to_owned()];
    ClientTls::new(&ClientTlsConfig { authorities, host_names: HostNames::Checked, identity }).unwrap()
}

fn ledger_config(authority: &Authority, address: SocketAddr) -> LedgerClientConfig {
    LedgerClientConfig::new(format!("https://{address}"), client_tls(authority, Role::Service))
}

async fn enrol(ledger: &LedgerClient, attester: &Attester) {
    let (ek, ak) = {
        let tpm = attester.tpm.lock().unwrap();
        (ByteBuf::from(tpm.ek.tpm2b_public()), ByteBuf::from(tpm.ak.tpm2b_public()))
    };
    let binding = Binding { version: 1, agent: attester.id.clone(), ek, ak, ek_certificate: None, chain: vec![] };
    let binding = ledger.put_blob(binding.encode()).await.unwrap();
    let slot = ledger.info().await.unwrap().next_slot;
    let enrol = Enrol { slot, binding, ek_certificate: 1, registrar: "bench".into() };
    let item = Item { kind: Enrol::KIND.number(), body: ByteBuf::from(enrol.encode()), after: None };
    let group = Group { agent: Some(attester.id.clone()), expected: Some(Head::default()), items: vec![item] };
    ledger.append(group).await.unwrap();
}

fn add(attester: &Attester) -> Value {
    json!({
        "cloudagent_ip": "127.0.0.1",
        "cloudagent_port": attester.address.port(),
        "tpm_policy": format!(r#"{{"15": "{}"}}"#, "00".repeat(32)),
        "accept_tpm_hash_algs": ["sha256"],
        "accept_tpm_encryption_algs": ["ecc"],
        "accept_tpm_signing_algs": ["ecdsa"],
        "ak_tpm": STANDARD.encode(attester.tpm.lock().unwrap().ak.tpm2b_public()),
        "mtls_cert": String::from_utf8(attester.certificate.clone()).unwrap(),
        "attestry": {"interval_ms": 0, "tolerance_ms": 60_000},
    })
}

/// Passed and durably logged rounds of each agent. An agent that fails ends the measurement.
async fn passed(operator: &Client, url: &str) -> Vec<u64> {
    let outgoing = Outgoing::new(Method::GET, format!("{url}/v2.6/agents/?bulk=True"));
    let answer = operator.request(outgoing).await.unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let agents = body.get("results").and_then(Value::as_object).unwrap();
    let count = |agent: &Value| {
        assert_ne!(agent.get("attestation_status").unwrap(), "FAIL", "{agent}");
        agent.get("attestation_count").and_then(Value::as_u64).unwrap()
    };
    agents.values().map(count).collect()
}
