//! The ledger's API over a log in memory, sequenced by the real rules.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use http::{Method, StatusCode};
use ledger_protocol::{Entry, LogState, Outcome, Sequencer};
use messages::ledger::{AppendAnswer, AppendRequest, EntryPage, FLEET_PATH, GroupResult, Receipt};
use messages::{AgentId, UnixMillis, cbor};
use serde_bytes::ByteBuf;
use tokio::task::JoinHandle;
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::router::{Access, Request, Response, Route, Router};
use transport::server::{Drained, Limits, Server, Shutdown, ShutdownHandle};
use transport::tls::{ClientAuth, ServerTls};

pub(crate) struct Ledger {
    address: SocketAddr,
    running: JoinHandle<Drained>,
    stop: ShutdownHandle,
}

struct Log {
    sequencer: Sequencer,
    entries: Vec<Vec<u8>>,
    receipts: Vec<Receipt>,
    blobs: BTreeMap<String, Vec<u8>>,
    answers: BTreeMap<[u8; 16], Vec<u8>>,
}

fn log_of(folder: &Path) -> Arc<Mutex<Log>> {
    static LOGS: OnceLock<Mutex<BTreeMap<PathBuf, Arc<Mutex<Log>>>>> = OnceLock::new();
    let mut logs = LOGS.get_or_init(Mutex::default).lock().unwrap();
    let new = || {
        let sequencer = Sequencer::new(LogState::restore(Default::default(), []));
        let mut log =
            Log { sequencer, entries: vec![], receipts: vec![], blobs: BTreeMap::new(), answers: BTreeMap::new() };
        use ledger_protocol::body::{Body, Genesis};
        let genesis = Genesis { format: 1, origin: "t".into(), vkey: "v".into(), created: UnixMillis(1) };
        let item = messages::ledger::Item { kind: 0, body: ByteBuf::from(genesis.encode()), after: None };
        let group = messages::ledger::Group { agent: None, expected: None, items: vec![item] };
        let request = AppendRequest {
            version: 1,
            idempotency_key: messages::ledger::IdempotencyKey([0; 16]),
            groups: vec![group],
        };
        let answer = append(&mut log, &cbor::encode(&request));
        let _ = answer;
        Arc::new(Mutex::new(log))
    };
    Arc::clone(logs.entry(folder.to_owned()).or_insert_with(new))
}

fn append(log: &mut Log, body: &[u8]) -> Response {
    let request: AppendRequest = cbor::decode(body).unwrap();
    if let Some(answer) = log.answers.get(&request.idempotency_key.0) {
        return Response::new(StatusCode::OK, "application/cbor", answer.clone());
    }
    let now = UnixMillis(1);
    let sequenced = log.sequencer.sequence(&request, now, |_| None).unwrap();
    for group in sequenced.groups {
        for entry in group.entries {
            log.entries.push(entry.encoded);
            log.receipts.push(entry.receipt);
        }
    }
    let results = sequenced
        .outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Appended { first, count } => {
                let first = usize::try_from(first).unwrap();
                let count = usize::try_from(count).unwrap();
                GroupResult::Appended(log.receipts[first..first + count].to_vec())
            }
            Outcome::Conflict(head) => GroupResult::Conflict(head),
            Outcome::Refused(text) => GroupResult::Refused(text),
        })
        .collect();
    let answer = cbor::encode(&AppendAnswer { version: 1, results });
    log.answers.insert(request.idempotency_key.0, answer.clone());
    Response::new(StatusCode::OK, "application/cbor", answer)
}

impl Ledger {
    pub(crate) async fn start(authority: &Authority, folder: &Path, address: SocketAddr) -> Self {
        let log = log_of(folder);
        let identity = authority.issue(&Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256).unwrap();
        let tls = ServerTls::new(&identity, &ClientAuth::Optional(vec![authority.certificate().to_owned()])).unwrap();
        let route = |method: Method, pattern: &str, access, handle: fn(&mut Log, &Request) -> Response| {
            let log = Arc::clone(&log);
            Route::new(method, pattern, access, 1 << 22, move |request| {
                let answer = handle(&mut log.lock().unwrap(), &request);
                async move { answer }
            })
        };
        let routes = vec![
            route(Method::POST, "/ledger/v1/append", Access::SERVICE, |log, request| append(log, &request.body)),
            route(Method::PUT, "/ledger/v1/blobs/:name", Access::SERVICE, |log, request| {
                log.blobs.insert(request.param("name").to_owned(), request.body.to_vec());
                Response::empty(StatusCode::NO_CONTENT)
            }),
            route(Method::GET, "/ledger/v1/blobs/:name", Access::READER, |log, request| {
                match log.blobs.get(request.param("name")) {
                    Some(blob) => Response::new(StatusCode::OK, "application/octet-stream", blob.clone()),
                    None => Response::empty(StatusCode::NOT_FOUND),
                }
            }),
            route(Method::GET, "/ledger/v1/heads/:agent", Access::READER, |log, request| {
                let head = log.sequencer.state().head(agent(request).as_ref());
                Response::new(StatusCode::OK, "application/cbor", cbor::encode(&head))
            }),
            route(Method::GET, "/ledger/v1/agents/:agent/entries", Access::READER, |log, request| {
                let agent = agent(request);
                let from: u64 = request.query.get("from_seq").unwrap().parse().unwrap();
                let entries = (0..)
                    .zip(&log.entries)
                    .filter(|(_, entry)| {
                        let entry = Entry::decode(entry).unwrap();
                        entry.agent == agent && entry.seq >= from
                    })
                    .map(|(index, entry)| (index, ByteBuf::from(entry.as_slice())))
                    .collect();
                let page = EntryPage { head: log.sequencer.state().head(agent.as_ref()), entries };
                Response::new(StatusCode::OK, "application/cbor", cbor::encode(&page))
            }),
            route(Method::GET, "/ledger/v1/info", Access::READER, |log, _| {
                let info = serde_json::json!({
                    "origin": "t", "vkey": "v", "durable_size": 1, "checkpoint_size": 1,
                    "next_slot": log.sequencer.state().totals().next_slot, "minimum_index": 0,
                });
                Response::new(StatusCode::OK, "application/json", info.to_string())
            }),
        ];
        let server = Server::bind(address, Some(tls), Router::new(routes).unwrap(), Limits::default()).await.unwrap();
        let (stop, shutdown) = Shutdown::new();
        let address = server.local_addr();
        Self { address, running: tokio::spawn(server.run(shutdown)), stop }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(self) {
        self.stop.start();
        self.running.await.unwrap();
    }
}

fn agent(request: &Request) -> Option<AgentId> {
    match request.param("agent") {
        FLEET_PATH => None,
        id => Some(id.parse().unwrap()),
    }
}
