//! An agent in this process: a software TPM behind mutual TLS, honest or not.

use std::{
    collections::HashMap,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fixtures_softtpm::{Hash, KeyKind, SoftAk, SoftTpm, generate, shared};
use http::{Method, StatusCode};
use ledger_client::LedgerClient;
use messages::{
    AgentId,
    keylime::{AddAgent, AddAgentExtension, RevocationNotice, VKey},
};
use openssl::{
    pkey::{PKey, Private},
    rsa::Padding,
};
use serde_json::{Value, json};
use transport::{
    router::{Access, Request, Response, Route, Router},
    server::{Limits, Server, Shutdown, ShutdownHandle},
    tls::{ClientAuth, Identity, ServerTls},
};

use crate::{chain, stand::Stand};

/// What an attester does when it is asked for a quote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    Honest,
    /// Takes the question and never answers.
    Mute,
    /// Answers with its first quote for ever.
    Replay,
    /// Quotes other registers and labels them as those asked for.
    OtherRegisters,
    /// Signs with a key of its own.
    WrongAk,
    /// Shows another payload key than the one in PCR 16.
    WrongPayloadKey,
    /// Answers with a quote string that cannot be parsed, with the attestation's bytes in it.
    BrokenBlob,
    /// Answers with no quote at all.
    Garbage,
    Refuse(u16),
    /// Says that its IMA list begins with the last entry there can be.
    LastImaEntry,
    /// Speaks version 2.1 alone.
    Old,
}

pub(crate) struct State {
    pub(crate) manner: Manner,
    pub(crate) tpm: SoftTpm,
    pub(crate) nk: PKey<Private>,
    pub(crate) asked: u64,
    pub(crate) shares: Vec<Vec<u8>>,
    pub(crate) notices: Vec<RevocationNotice>,
    /// Kinds of the chain's entries at the moment a share arrived.
    pub(crate) chain_at_share: Vec<Vec<String>>,
    /// Lines of its measurement list.
    pub(crate) ima: Vec<String>,
    pub(crate) boot_log: Option<Vec<u8>>,
    /// From which entry the list was asked for last, and how many lines were sent.
    pub(crate) list_sent: (u64, usize),
    first: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Attester {
    pub(crate) id: AgentId,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: String,
    pub(crate) state: Arc<Mutex<State>>,
    _stop: Arc<ShutdownHandle>,
}

impl Attester {
    /// An attester whose TPM no other has; not enrolled yet.
    pub(crate) async fn start(stand: &Stand, id: &str) -> Self {
        Self::with_tpm(stand, id, SoftTpm::new(KeyKind::P256, stand.next_tpm())).await
    }

    pub(crate) async fn with_tpm(stand: &Stand, id: &str, mut tpm: SoftTpm) -> Self {
        let identity = transport::ca::self_sign(id, &[]).unwrap();
        let nk = shared(KeyKind::RSA_2048, 40);
        measure_nk(&mut tpm, &nk);
        let state = State {
            manner: Manner::Honest,
            tpm,
            nk,
            asked: 0,
            shares: vec![],
            notices: vec![],
            chain_at_share: vec![],
            ima: vec![],
            boot_log: None,
            list_sent: (0, 0),
            first: None,
        };
        let state = Arc::new(Mutex::new(state));
        let id: AgentId = id.parse().unwrap();
        let (stop, address) = serve(stand, &id, &identity, &state).await;
        let certificate = String::from_utf8(identity.certificate().to_pem().unwrap()).unwrap();
        Self { id, address, certificate, state, _stop: Arc::new(stop) }
    }

    pub(crate) fn set(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    pub(crate) fn measure(&self, index: u8) {
        self.state.lock().unwrap().tpm.measure(index, b"unexpected");
    }

    /// As an agent's restart: another payload key.
    pub(crate) fn new_payload_key(&self) {
        let mut state = self.state.lock().unwrap();
        state.nk = generate(KeyKind::RSA_2048);
        state.tpm.reset_register(16);
        let nk = state.nk.clone();
        measure_nk(&mut state.tpm, &nk);
    }

    pub(crate) fn shares(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().shares.clone()
    }

    pub(crate) fn asked(&self) -> u64 {
        self.state.lock().unwrap().asked
    }

    pub(crate) fn ak_tpm(&self) -> Vec<u8> {
        self.state.lock().unwrap().tpm.ak.tpm2b_public()
    }

    /// An add that this attester passes: PCR 15 as it is now.
    pub(crate) fn add(&self) -> AddAgent {
        let state = self.state.lock().unwrap();
        let value = hex::encode(state.tpm.read(Hash::Sha256, 15));
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        AddAgent {
            v: Some(STANDARD.encode(SHARE)),
            cloudagent_ip: Some(self.address.ip().to_string()),
            cloudagent_port: Some(self.address.port()),
            verifier_ip: Some("127.0.0.1".into()),
            verifier_port: Some(8881),
            tpm_policy: format!(r#"{{"15": ["{value}"], "mask": "0x8000"}}"#),
            runtime_policy: Some(String::new()),
            runtime_policy_name: Some(String::new()),
            runtime_policy_key: Some(String::new()),
            mb_policy: None,
            mb_policy_name: Some(String::new()),
            ima_sign_verification_keys: Some(String::new()),
            metadata: Some("{}".into()),
            revocation_key: Some(String::new()),
            accept_tpm_hash_algs: names(&["sha256"]),
            accept_tpm_encryption_algs: names(&["ecc", "rsa"]),
            accept_tpm_signing_algs: names(&["ecdsa", "rsassa"]),
            ak_tpm: STANDARD.encode(state.tpm.ak.tpm2b_public()),
            mtls_cert: Some(self.certificate.clone()),
            supported_version: Some("2.6".into()),
            attestry: Some(AddAgentExtension {
                interval_ms: Some(100),
                tolerance_ms: Some(60_000),
                ..AddAgentExtension::default()
            }),
        }
    }
}

pub(crate) const SHARE: [u8; 32] = [0x5a; 32];

/// A key that signed no policy.
pub(crate) fn public_pem() -> Vec<u8> {
    shared(KeyKind::P256, 50).public_key_to_pem().unwrap()
}

fn measure_nk(tpm: &mut SoftTpm, nk: &PKey<Private>) {
    tpm.measure(16, &nk.public_key_to_pem().unwrap());
}

async fn serve(
    stand: &Stand,
    id: &AgentId,
    identity: &Identity,
    state: &Arc<Mutex<State>>,
) -> (ShutdownHandle, SocketAddr) {
    let tls =
        ServerTls::new(identity, &ClientAuth::Required(vec![stand.authority().certificate().to_owned()])).unwrap();
    let (quotes, shares, notices) = (Arc::clone(state), Arc::clone(state), Arc::clone(state));
    let (ledger, id) = (stand.ledger(), id.clone());
    let access = Access::READER;
    let routes = vec![
        Route::new(Method::GET, "/version", access, 0, |_| async {
            ok(json!({"supported_version": "2.1", "supported_versions": ["2.1"]}))
        }),
        Route::new(Method::GET, "/:version/quotes/integrity", access, 0, move |request| {
            let state = Arc::clone(&quotes);
            async move { quote(&state, &request).await }
        }),
        Route::new(Method::POST, "/:version/keys/vkey", access, 1 << 16, move |request| {
            let (state, ledger, id) = (Arc::clone(&shares), ledger.clone(), id.clone());
            async move { take_share(&state, &ledger, &id, &request).await }
        }),
        Route::new(Method::POST, "/:version/notifications/revocation", access, 1 << 20, move |request| {
            let state = Arc::clone(&notices);
            async move {
                state.lock().unwrap().notices.push(serde_json::from_slice(&request.body).unwrap());
                ok(Value::Null)
            }
        }),
    ];
    let limits = Limits { drain_timeout: Duration::from_millis(10), ..Limits::default() };
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(address, Some(tls), Router::new(routes).unwrap(), limits).await.unwrap();
    let (stop, shutdown) = Shutdown::new();
    let address = server.local_addr();
    tokio::spawn(server.run(shutdown));
    (stop, address)
}

fn ok(results: Value) -> Response {
    answer(StatusCode::OK, &json!({"code": 200, "status": "Success", "results": results}))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    Response::new(status, "application/json", body.to_string())
}

async fn quote(state: &Mutex<State>, request: &Request) -> Response {
    let manner = {
        let mut state = state.lock().unwrap();
        state.asked += 1;
        state.manner
    };
    match manner {
        Manner::Mute => pending().await,
        Manner::Garbage => Response::new(StatusCode::OK, "application/json", "certainly no quote"),
        Manner::Refuse(code) => answer(StatusCode::from_u16(code).unwrap(), &json!({})),
        Manner::Old if request.param("version") != "v2.1" => {
            answer(StatusCode::BAD_REQUEST, &json!({"code": 400, "status": "API version not supported", "results": {}}))
        }
        _ => make_quote(&mut state.lock().unwrap(), manner, request),
    }
}

fn make_quote(state: &mut State, manner: Manner, request: &Request) -> Response {
    let nonce = request.query.get("nonce").unwrap().as_bytes().to_vec();
    let mask = request.query.get("mask").unwrap().trim_start_matches("0x").to_owned();
    let mask = u32::from_str_radix(&mask, 16).unwrap() | 1 << 16;
    let mut pem = String::from_utf8(state.nk.public_key_to_pem().unwrap()).unwrap();
    let honest = match manner {
        Manner::OtherRegisters => {
            let fields = state.tpm.attest(&nonce, Hash::Sha256, 1 << 16 | 1 << 14);
            state.tpm.sign_quote(&fields, Hash::Sha256, mask)
        }
        Manner::WrongAk => {
            let mut other = state.tpm.clone();
            other.ak = SoftAk::new(shared(KeyKind::P256, 999), Hash::Sha256);
            other.quote(&nonce, Hash::Sha256, mask)
        }
        _ => state.tpm.quote(&nonce, Hash::Sha256, mask),
    };
    let mut text = honest.keylime_string();
    match manner {
        Manner::Replay => text = state.first.get_or_insert(text).clone(),
        Manner::BrokenBlob => text = fixtures_softtpm::encode_keylime_quote(&honest.attest, &honest.signature, b"blob"),
        Manner::WrongPayloadKey => {
            pem = String::from_utf8(shared(KeyKind::RSA_2048, 41).public_key_to_pem().unwrap()).unwrap();
        }
        _ => {}
    }
    let mut results =
        json!({"quote": text, "hash_alg": "sha256", "enc_alg": "ecc256", "sign_alg": "ecdsa", "pubkey": pem});
    add_lists(state, mask, request, results.as_object_mut().unwrap());
    if manner == Manner::LastImaEntry {
        results["ima_measurement_list"] = json!("one\ntwo\n");
        results["ima_measurement_list_entry"] = json!(u64::MAX);
    }
    ok(results)
}

/// As a Keylime agent does: the list from the entry asked for, or all of it if it is shorter than that.
fn add_lists(state: &mut State, mask: u32, request: &Request, results: &mut serde_json::Map<String, Value>) {
    if let Some(log) = state.boot_log.as_ref().filter(|_| mask & 1 == 1) {
        results.insert("mb_measurement_list".into(), json!(STANDARD.encode(log)));
    }
    if !state.ima.is_empty() {
        let wanted: usize = request.query.get("ima_ml_entry").unwrap().parse().unwrap();
        let from = if wanted > state.ima.len() { 0 } else { wanted };
        let lines: String = state.ima.iter().skip(from).map(|line| format!("{line}\n")).collect();
        state.list_sent = (wanted as u64, state.ima.len() - from);
        results.insert("ima_measurement_list".into(), json!(lines));
        results.insert("ima_measurement_list_entry".into(), json!(from));
    }
}

async fn take_share(state: &Mutex<State>, ledger: &LedgerClient, id: &AgentId, request: &Request) -> Response {
    let kinds = chain::kinds(&chain::entries(ledger, id).await);
    let body: VKey = serde_json::from_slice(&request.body).unwrap();
    let wrapped = STANDARD.decode(body.encrypted_key).unwrap();
    let mut state = state.lock().unwrap();
    let rsa = state.nk.rsa().unwrap();
    let mut share = vec![0; rsa.size() as usize];
    let Ok(length) = rsa.private_decrypt(&wrapped, &mut share, Padding::PKCS1_OAEP) else {
        return answer(StatusCode::BAD_REQUEST, &json!({"code": 400, "status": "not for me", "results": {}}));
    };
    share.truncate(length);
    state.shares.push(share);
    state.chain_at_share.push(kinds);
    ok(Value::Null)
}

/// Attesters by id, for tests with many.
pub(crate) async fn start_many(stand: &Stand, prefix: &str, count: usize) -> HashMap<String, Attester> {
    let mut all = HashMap::new();
    for number in 0..count {
        let id = format!("{prefix}-{number}");
        all.insert(id.clone(), Attester::start(stand, &id).await);
    }
    all
}
