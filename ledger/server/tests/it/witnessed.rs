//! The ledger before real witnesses over sockets: dead, lying, or knowing better.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use ledger_protocol::body::{Body, PolicyBody};
use ledger_protocol::{Beacon, Entry, Kind};
use ledger_server::{
    Contradiction, HistoriesConfig, LogConfig, OpenError, Running, StartError, WitnessConfig, WitnessPolicy,
    WitnessesRefuse, fsck, start,
};
use ledger_tlog::checkpoint::{AuthenticCheckpoint, Checkpoint};
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::note::NoteSignature;
use ledger_witness::logs::Logs;
use ledger_witness::service::{self, Config};
use ledger_witness::{Witness, identity};
use messages::Digest;
use messages::ledger::{AppendAnswer, GroupResult};
use serde_json::Value;
use tempfile::TempDir;
use transport::client::{Answer, Client, Outgoing};
use transport::router::{Access, Response, Route, Router};
use transport::server::{Limits, Server, Shutdown, ShutdownHandle};
use transport::tls::{ClientTls, ClientTlsConfig, HostNames};

use crate::entries::{action, agent, enrol, fleet, group, quote, request};
use crate::rig::{Caller, Rig, body, copy, get, send};

/// Witnesses `0..n`, each with a key and an address of its own, whether they run or not.
struct Witnesses {
    addresses: Vec<SocketAddr>,
    folder: TempDir,
    keys: Vec<NoteVerifier>,
}

/// A witness at work.
struct Witnessing {
    running: service::Running,
    stop: ShutdownHandle,
}

impl Witnesses {
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = (0..count).map(|n| {
            identity::create(&folder.path().join(n.to_string()), &format!("w{n}.test"), ledger_server::KeyType::Ed25519)
        });
        let keys = keys.map(Result::unwrap).collect();
        // All at once, so that none is given twice; they are free again afterwards.
        let held: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = held.iter().map(|listener| listener.local_addr().unwrap()).collect();
        Self { addresses, folder, keys }
    }

    fn policy(&self, quorum: usize) -> String {
        let mut text = String::new();
        for (number, (key, address)) in self.keys.iter().zip(&self.addresses).enumerate() {
            text.push_str(&format!("witness w{number} {key} http://{address}/\n"));
        }
        let names: Vec<_> = (0..self.keys.len()).map(|number| format!("w{number}")).collect();
        format!("{text}group g {quorum} {}\nquorum g\n", names.join(" "))
    }

    fn config(&self, quorum: usize) -> WitnessConfig {
        let tls = ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: None };
        let policy = WitnessPolicy::parse(self.policy(quorum).as_bytes()).unwrap();
        let mut config = WitnessConfig::new(policy, ClientTls::new(&tls).unwrap());
        config.timeout = Duration::from_millis(400);
        config
    }

    async fn run(&self, number: usize, log: &NoteVerifier) -> Witnessing {
        let data = self.folder.path().join(number.to_string());
        let mut logs = Logs::default();
        logs.add(&log.to_string()).unwrap();
        let witness = Witness::open(&data, identity::load(&data).unwrap(), logs).unwrap();
        let (stop, shutdown) = Shutdown::new();
        let config = Config {
            address: self.addresses[number],
            limits: service::limits(),
            prefix: String::new(),
            tls: None,
            witness,
        };
        Witnessing { running: service::start(config, shutdown).await.unwrap(), stop }
    }

    /// Answers each request with a line that names witness `number` and is not by it.
    async fn lie(&self, number: usize) -> ShutdownHandle {
        let key = &self.keys[number];
        let (name, key_id) = (key.name().clone(), key.id());
        let line = NoteSignature { name, key_id, signature: vec![7; 72] }.to_string();
        let added = Route::new(Method::POST, "/add-checkpoint", Access::PUBLIC, 1 << 20, move |_| {
            let line = line.clone();
            async move { Response::new(StatusCode::OK, "text/plain", format!("{line}\n")) }
        });
        let (stop, shutdown) = Shutdown::new();
        let router = Router::new(vec![added]).unwrap();
        let server = Server::bind(self.addresses[number], None, router, Limits::default()).await.unwrap();
        tokio::spawn(server.run(shutdown));
        stop
    }
}

impl Witnessing {
    async fn stop(self) {
        self.stop.start();
        self.running.wait().await.unwrap();
    }
}

/// A log that has begun without witnesses, so that they can be told its key.
async fn begun() -> (Rig, NoteVerifier) {
    let rig = Rig::new();
    rig.serve().await.stop().await;
    let key = rig.key();
    (rig, key)
}

async fn append(client: &Client, url: &str, key: u64, ack: &str) -> Answer {
    let body = messages::cbor::encode(&request(key, vec![fleet(vec![action("x")])]));
    let outgoing = Outgoing::new(Method::POST, format!("{url}/ledger/v1/append{ack}"));
    send(client, outgoing.with_body("application/cbor", body)).await
}

/// Entries up to and with the one appended.
fn size(answer: &Answer) -> u64 {
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let answer: AppendAnswer = messages::cbor::decode(&answer.body).unwrap();
    match &answer.results[..] {
        [GroupResult::Appended(receipts)] => receipts[0].index + 1,
        other => panic!("{other:?}"),
    }
}

async fn latest(client: &Client, url: &str, log: &NoteVerifier, witnesses: &Witnesses) -> AuthenticCheckpoint {
    let note = body(client, url, "/checkpoint").await;
    Checkpoint::open(&note, log.name().as_str(), log, &witnesses.keys).unwrap()
}

async fn described(client: &Client, url: &str) -> Value {
    serde_json::from_slice(&body(client, url, "/ledger/v1/info").await).unwrap()
}

fn checkpoints(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(data.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| !path.to_string_lossy().contains(".tmp"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

async fn serve_copy(rig: &Rig, log: LogConfig) -> Result<(Running, ShutdownHandle), StartError> {
    let (stop, shutdown) = Shutdown::new();
    let running = start(ledger_server::Config { log, ..rig.config() }, shutdown).await?;
    Ok((running, stop))
}

fn contradiction(refused: StartError) -> Contradiction {
    match refused {
        StartError::Open(OpenError::Witnesses(WitnessesRefuse::Contradiction(contradiction))) => contradiction,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_checkpoint_is_published_with_the_cosignatures_of_a_quorum() {
    let (mut rig, log) = begun().await;
    let witnesses = Witnesses::new(3);
    let mut running = Vec::new();
    for number in 0..3 {
        running.push(witnesses.run(number, &log).await);
    }
    rig.witnesses = Some(witnesses.config(2));
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    for key in 0..5 {
        let size = size(&append(&client, &served.url, key, "?ack=witnessed").await);
        let published = latest(&client, &served.url, &log, &witnesses).await;
        assert!(published.tree_head().tree_size >= size);
        assert!(published.cosignatures().count() >= 2);
        // What is kept, what is shown and what nonces name are the same bytes.
        let kept = format!("/ledger/v1/checkpoints/{}", published.tree_head().tree_size);
        let kept = body(&client, &served.url, &kept).await;
        assert_eq!(kept, published.note().note().to_bytes());
    }
    let info = described(&client, &served.url).await;
    assert_eq!(info["witnessing"]["witnessed_size"], info["checkpoint_size"]);
    assert_eq!(info["witnessing"]["witnesses"].as_array().unwrap().len(), 3);
    // A quote may rest on the cosigned note, and on no other version of it.
    let published = latest(&client, &served.url, &log, &witnesses).await;
    let beacon = |digest: ledger_tlog::hash::Hash| Beacon {
        tree_size: published.tree_head().tree_size,
        note_digest: Digest(*digest.as_bytes()),
    };
    let ledger = rig.ledger_client(&served.url);
    let (node, binding) = (agent("node"), ledger.put_blob(b"binding".to_vec()).await.unwrap());
    ledger.append(group(&node, messages::ledger::Head::default(), vec![enrol(0, binding)])).await.unwrap();
    let head = ledger.head(Some(&node)).await.unwrap();
    let mut bare = ledger_tlog::note::Note::new(published.note().note().text().to_owned()).unwrap();
    bare.add_signatures(published.note().note().signatures().iter().take(1).cloned());
    ledger.append(group(&node, head, vec![quote(beacon(bare.digest()))])).await.unwrap_err();
    ledger.append(group(&node, head, vec![quote(beacon(published.note_digest()))])).await.unwrap();
    served.stop().await;
    for witness in running {
        witness.stop().await;
    }
    assert!(fsck(&rig.data()).unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_dead_and_one_lying_nothing_false_is_published_and_a_third_mends_it() {
    let (mut rig, log) = begun().await;
    let witnesses = Witnesses::new(3);
    let good = witnesses.run(0, &log).await;
    let _liar = witnesses.lie(1).await;
    rig.witnesses = Some(witnesses.config(2));
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    let committed = size(&append(&client, &served.url, 1, "?ack=committed").await);
    // Opening it refuses a forged line of any known witness.
    let published = latest(&client, &served.url, &log, &witnesses).await;
    assert!(published.tree_head().tree_size >= committed);
    assert_eq!(published.cosignatures().map(|line| line.name.as_str()).collect::<Vec<_>>(), ["w0.test"]);
    let info = described(&client, &served.url).await;
    let of = |number: usize, field: &str| info["witnessing"]["witnesses"][number][field].clone();
    assert_eq!(info["witnessing"]["witnessed_size"], 0);
    assert!(of(0, "cosigned_size").as_u64().unwrap() >= committed && of(0, "problem").is_null());
    assert!(of(1, "problem").as_str().unwrap().contains("no genuine cosignature"));
    assert!(of(2, "problem").as_str().unwrap().contains("does not answer"));
    assert!(of(2, "failures").as_u64().unwrap() > 0);
    let third = witnesses.run(2, &log).await;
    let witnessed = size(&append(&client, &served.url, 2, "?ack=witnessed").await);
    let published = latest(&client, &served.url, &log, &witnesses).await;
    assert!(published.tree_head().tree_size >= witnessed);
    assert_eq!(published.cosignatures().count(), 2);
    served.stop().await;
    good.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_folder_from_before_is_refused_because_a_witness_knows_more() {
    let (mut rig, log) = begun().await;
    let witnesses = Witnesses::new(1);
    let witness = witnesses.run(0, &log).await;
    let old = rig.data().with_file_name("old");
    copy(&rig.data(), &old);
    rig.witnesses = Some(witnesses.config(1));
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    let witnessed = size(&append(&client, &served.url, 1, "?ack=witnessed").await);
    served.stop().await;
    let mut copied = rig.log_config();
    copied.path = old;
    let refused = contradiction(serve_copy(&rig, copied).await.unwrap_err());
    assert!(matches!(&refused, Contradiction::Ahead { theirs, .. } if *theirs >= witnessed), "{refused}");
    assert!(refused.to_string().contains("older copy") && refused.to_string().contains("Restore"), "{refused}");
    // The newest folder starts.
    rig.serve().await.stop().await;
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_witness_to_ask_the_log_starts_only_when_told_so() {
    let (mut rig, _) = begun().await;
    let witnesses = Witnesses::new(2);
    rig.witnesses = Some(witnesses.config(1));
    let refused = serve_copy(&rig, rig.log_config()).await.unwrap_err();
    let StartError::Open(OpenError::Witnesses(WitnessesRefuse::Silent { reasons })) = refused else {
        panic!("{refused:?}");
    };
    assert!(reasons.contains("w0.test") && reasons.contains("w1.test"), "{reasons}");
    rig.witnesses.as_mut().unwrap().danger_start_unchecked = true;
    rig.serve().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_started_unchecked_stops_at_a_witness_s_first_word() {
    let (mut rig, log) = begun().await;
    let witnesses = Witnesses::new(1);
    let old = rig.data().with_file_name("old");
    copy(&rig.data(), &old);
    rig.witnesses = Some(witnesses.config(1));
    let witness = witnesses.run(0, &log).await;
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    size(&append(&client, &served.url, 1, "?ack=witnessed").await);
    served.stop().await;
    witness.stop().await;
    // The copy grows past what was witnessed, with entries of its own.
    let mut copied = rig.log_config();
    copied.path = old;
    copied.witnesses.as_mut().unwrap().danger_start_unchecked = true;
    let (running, stop) = serve_copy(&rig, copied).await.unwrap();
    let url = format!("https://{}", running.address());
    for key in 10..15 {
        size(&append(&client, &url, key, "").await);
    }
    let witness = witnesses.run(0, &log).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut key = 20;
    let refused = loop {
        let answer = append(&client, &url, key, "").await;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            break answer;
        }
        assert!(Instant::now() < deadline, "the copy goes on");
        key += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let reason = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(reason.contains("two histories"), "{reason}");
    stop.start();
    running.wait().await.unwrap_err();
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_note_never_changes_however_the_log_is_killed() {
    let (mut rig, log) = begun().await;
    let witnesses = Witnesses::new(2);
    let witness = witnesses.run(0, &log).await;
    // The second one takes connections and never answers: each checkpoint waits for it.
    let _mute = std::net::TcpListener::bind(witnesses.addresses[1]).unwrap();
    rig.witnesses = Some(witnesses.config(2));
    let policy = rig.data().with_file_name("policy");
    fs::write(&policy, witnesses.policy(2)).unwrap();
    rig.arguments = vec!["--witness-policy".into(), policy.into(), "--witness-timeout-ms".into(), "150".into()];
    let client = rig.http(Caller::Service);
    let mut published = checkpoints(&rig.data());
    for round in 0..6_u64 {
        let process = rig.spawn("");
        let url = process.url.clone().unwrap();
        for key in 0..3 {
            size(&append(&client, &url, round * 10 + key, "").await);
        }
        tokio::time::sleep(Duration::from_millis(35 * round)).await;
        process.kill();
        let now = checkpoints(&rig.data());
        for (path, note) in &published {
            assert_eq!(now.get(path), Some(note), "{}", path.display());
        }
        published = now;
    }
    rig.arguments.clear();
    rig.serve().await.stop().await;
    let report = fsck(&rig.data()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_nobody_can_give_is_refused_before_anything_is_appended() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    let before = described(&client, &served.url).await;
    assert!(before.get("witnessing").is_none());
    for ack in ["?ack=witnessed", "?ack=certain", "?ack=", "?wait=1"] {
        assert_eq!(append(&client, &served.url, 1, ack).await.status, StatusCode::BAD_REQUEST, "{ack}");
    }
    assert_eq!(described(&client, &served.url).await, before);
    let committed = size(&append(&client, &served.url, 1, "?ack=committed").await);
    let answer = get(&client, &served.url, "/checkpoint").await;
    let note = ledger_tlog::note::Note::parse(&answer.body).unwrap();
    assert!(Checkpoint::parse(note.text()).unwrap().tree_head().tree_size >= committed);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_witness_knows_to_be_old_is_not_restored() {
    let (mut rig, log) = begun().await;
    let witnesses = Witnesses::new(1);
    let witness = witnesses.run(0, &log).await;
    rig.witnesses = Some(witnesses.config(1));
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    append(&client, &served.url, 1, "?ack=witnessed").await;
    let (data, copied) = (rig.data(), rig.beside("copy"));
    let old = tokio::task::spawn_blocking({
        let (data, copied) = (data.clone(), copied.clone());
        move || ledger_server::backup(&data, &copied).unwrap()
    });
    let old = old.await.unwrap().tree_size;
    append(&client, &served.url, 2, "?ack=witnessed").await;
    served.stop().await;
    let request = ledger_server::RestoreRequest {
        danger_new_lock: true,
        keys: None,
        from: copied.clone(),
        lock: Some(rig.beside("new-lock")),
        to: rig.beside("restored"),
        witnesses: rig.witnesses.clone(),
    };
    let restore = || {
        let request = request.clone();
        tokio::task::spawn_blocking(move || ledger_server::restore(&request))
    };
    match restore().await.unwrap() {
        Err(ledger_server::RestoreError::Witnesses(WitnessesRefuse::Contradiction(Contradiction::Ahead {
            theirs,
            signed,
            ..
        }))) => assert!(signed == old && theirs > old),
        other => panic!("{other:?}"),
    }
    assert!(!rig.beside("restored").exists() && !rig.beside("new-lock").exists());
    tokio::task::spawn_blocking(move || ledger_server::backup(&data, &copied).unwrap()).await.unwrap();
    restore().await.unwrap().unwrap();
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_witness_policy_is_on_record_whenever_it_changes_and_times_rest_on_it() {
    let (mut rig, key) = begun().await;
    let witnesses = Witnesses::new(2);
    let (first, second) = (witnesses.run(0, &key).await, witnesses.run(1, &key).await);
    let epoch = Duration::from_millis(50);
    rig.histories = Some(HistoriesConfig { epoch, idle_checkpoint_interval: Duration::from_millis(200) });
    let mut expected = Vec::new();
    for quorum in [None, Some(1), Some(1), Some(2), None, None] {
        rig.witnesses = quorum.map(|quorum| witnesses.config(quorum));
        let served = rig.serve().await;
        let content = quorum.map(|quorum| Digest(openssl::sha::sha256(witnesses.policy(quorum).as_bytes())));
        if expected.last().copied().flatten() != content {
            expected.push(content);
        }
        let client = rig.ledger_client(&served.url);
        // A census whose clock rests on the policy, or on none.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let page = client.entries(None, 0, 4_096).await.unwrap();
            let entries: Vec<Entry> = page.entries.iter().map(|(_, bytes)| Entry::decode(bytes).unwrap()).collect();
            let mut recorded = Vec::new();
            let mut censuses = 0;
            for entry in &entries {
                match PolicyBody::decode(&entry.body) {
                    Ok(PolicyBody::Named(policy)) if entry.kind == Kind::Policy => {
                        assert_eq!(policy.role, "witness");
                        recorded.push(policy.content);
                        censuses = 0;
                    }
                    _ => censuses += usize::from(entry.kind == Kind::Census),
                }
            }
            if recorded == expected && censuses > 0 {
                if let Some(digest) = content {
                    let file = witnesses.policy(quorum.unwrap());
                    assert_eq!(client.blob(&digest).await.unwrap(), file.as_bytes());
                }
                break;
            }
            assert!(recorded.len() <= expected.len() && Instant::now() < deadline, "{recorded:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        served.stop().await;
    }
    assert_eq!(expected.len(), 3);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_quorum_is_late_is_not_ready_until_it_is_there() {
    let (mut rig, log) = begun().await;
    let witnesses = Witnesses::new(2);
    let first = witnesses.run(0, &log).await;
    rig.witnesses = Some(witnesses.config(2));
    rig.monitoring.uncovered_max = Duration::from_secs(5);
    rig.monitoring.unwitnessed_periods_max = 1;
    // Such entries have a checkpoint long before they are late.
    rig.interval = Duration::from_millis(50);
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    size(&append(&client, &served.url, 1, "?ack=committed").await);
    let reasons = async || {
        let answer = get(&client, &served.url, "/readyz").await;
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, told["reasons"].to_string())
    };
    assert_eq!(reasons().await, (StatusCode::OK, "[]".to_owned()), "not late yet");
    let wait = async |wanted: StatusCode| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let (status, told) = reasons().await;
            if status == wanted {
                return told;
            }
            assert!(tokio::time::Instant::now() < deadline, "{told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = wait(StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(told.contains("quorum of witnesses") && !told.contains("wait for a checkpoint"), "{told}");
    let second = witnesses.run(1, &log).await;
    size(&append(&client, &served.url, 2, "?ack=witnessed").await);
    assert_eq!(wait(StatusCode::OK).await, "[]");
    served.stop().await;
    first.stop().await;
    second.stop().await;
}
