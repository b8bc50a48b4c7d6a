//! Histories beside a log at work: what goes on record by itself, and proofs that a stranger verifies.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use ledger_client::{AppendError, LedgerClient, RequestError};
use ledger_history::fleet as fleet_proof;
use ledger_history::interval::{IntervalProof, IntervalStatement, Strength, Trust, verify};
use ledger_protocol::body::{
    AgentPolicy, Body, CensusBody, CheckpointBody, ImaDelta, Label, PolicyBody, QuoteBody, VerdictResult,
};
use ledger_protocol::{Entry, Kind, NonceInputs};
use ledger_server::{HistoriesConfig, fsck, reindex};
use ledger_tlog::key::NoteVerifier;
use messages::ledger::{Head, Item};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;
use transport::client::Outgoing;

use crate::entries::{action, agent, enrol, fleet, group, item, linked_verdict};
use crate::rig::{Caller, Rig, body, get, send};

const EPOCH: Duration = Duration::from_millis(100);

pub(crate) fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.interval = Duration::from_millis(40);
    rig.histories = Some(HistoriesConfig { epoch: EPOCH, idle_checkpoint_interval: Duration::from_millis(200) });
    rig
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A machine whose quotes answer their nonces.
pub(crate) struct Machine {
    pub(crate) id: AgentId,
    head: Head,
    resets: u32,
}

impl Machine {
    pub(crate) async fn enrol(client: &LedgerClient, name: &str, slot: u64, role: &str) -> Self {
        let policy = PolicyBody::Agent(AgentPolicy {
            interval_ms: 1_000,
            tolerance_ms: 60_000,
            hash_algs: vec![],
            enc_algs: vec![],
            sign_algs: vec![],
            labels: vec![Label { name: "role".into(), value: role.into() }],
            policies: vec![],
            binding: Digest([1; 32]),
        });
        let binding = client.put_blob(name.as_bytes().to_vec()).await.unwrap();
        let mut machine = Self { id: agent(name), head: Head::default(), resets: 7 };
        machine.append(client, vec![enrol(slot, binding), item(&policy)]).await.unwrap();
        machine
    }

    async fn append(&mut self, client: &LedgerClient, items: Vec<Item>) -> Result<(), AppendError> {
        let receipts = client.append(group(&self.id, self.head, items)).await?;
        let last = receipts.last().unwrap();
        self.head = Head { seq: last.seq + 1, prev: last.leaf_hash };
        Ok(())
    }

    pub(crate) async fn quote(&mut self, client: &LedgerClient, result: VerdictResult) -> Result<(), AppendError> {
        let beacon = client.beacon().await.map_err(|_| AppendError::Unavailable { attempts: 0, source: None })?;
        let salt = Digest([9; 32]);
        let nonce = NonceInputs { beacon, agent: &self.id, head: self.head, salt }.derive();
        let quote = item(&QuoteBody {
            beacon,
            salt,
            attest: ByteBuf::from(self.attest(nonce.as_str())),
            signature: ByteBuf::from([4; 72]),
            pcrs: vec![],
            ima: ImaDelta::default(),
            boot_log: None,
        });
        self.append(client, vec![quote, linked_verdict(result)]).await
    }

    /// `TPMS_ATTEST` of a quote of no registers.
    fn attest(&self, nonce: &str) -> Vec<u8> {
        let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let clock = [&[0; 7][..], &[1], &self.resets.to_be_bytes(), &[0; 4], &[1], &[0; 8]].concat();
        [
            &[0xff, 0x54, 0x43, 0x47, 0x80, 0x18][..],
            &sized(&[0, 0x0b]),
            &sized(nonce.as_bytes()),
            &clock,
            &[0; 4],
            &sized(&[5; 32]),
        ]
        .concat()
    }
}

/// The statement of a proof, verified with the log's key alone.
pub(crate) fn stated(proof: &[u8], id: &AgentId, key: &NoteVerifier) -> IntervalStatement {
    let trust = Trust { origin: "ledger.test/log", log: key, witnesses: None, authorities: None };
    verify(proof, id, &trust).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Asks again until the proof counts `quotes`.
pub(crate) async fn proof_of(
    client: &LedgerClient,
    id: &AgentId,
    span: (u64, u64),
    quotes: u64,
    key: &NoteVerifier,
) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let told = match client.interval_proof(id, span.0, span.1, &["boots=1"]).await {
            Ok(proof) => match stated(&proof, id, key).quotes {
                found if found == quotes => return proof,
                found => format!("{found} quotes"),
            },
            Err(error) => error.to_string(),
        };
        assert!(Instant::now() < deadline, "{told}; expected {quotes} quotes");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// The fleet's entries.
async fn fleet_entries(client: &LedgerClient) -> Vec<Entry> {
    let page = client.entries(None, 0, 4_096).await.unwrap();
    page.entries.iter().map(|(_, bytes)| Entry::decode(bytes).unwrap()).collect()
}

fn count(entries: &[Entry], kind: Kind) -> usize {
    entries.iter().filter(|entry| entry.kind == kind).count()
}

/// Every file of the histories.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut self::files(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_are_served_and_verify_while_entries_are_appended() {
    let rig = rig();
    let served = rig.serve().await;
    let (client, begin) = (rig.ledger_client(&served.url), now() - 1);
    let mut machines = Vec::new();
    for slot in 0..3 {
        machines.push(Machine::enrol(&client, &format!("node-{slot}"), slot, "hypervisor").await);
    }
    let ids: Vec<AgentId> = machines.iter().map(|machine| machine.id.clone()).collect();
    let (stop, key) = (Arc::new(AtomicBool::new(false)), rig.key());
    let quotes = Arc::new(AtomicU64::new(0));
    let load = tokio::spawn({
        let (client, stop, quotes) = (client.clone(), Arc::clone(&stop), Arc::clone(&quotes));
        async move {
            while !stop.load(Ordering::Relaxed) {
                for machine in &mut machines {
                    let round = quotes.load(Ordering::Relaxed);
                    let result = if round == 3 { VerdictResult::Fail } else { VerdictResult::Pass };
                    machine.resets += u32::from(round == 5);
                    machine.quote(&client, result).await.unwrap();
                }
                quotes.fetch_add(1, Ordering::Relaxed);
            }
            machines
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut proven = BTreeMap::new();
    while proven.len() < 4 {
        for id in &ids {
            if let Ok(proof) = client.interval_proof(id, begin, now() + 3_600, &[]).await {
                let least = quotes.load(Ordering::Relaxed) + 1;
                let statement = stated(&proof, id, &key);
                assert!(statement.quotes <= least, "no more than there are");
                proven.insert(statement.quotes, proof.len());
            }
        }
        assert!(Instant::now() < deadline, "{proven:?}");
    }
    stop.store(true, Ordering::Relaxed);
    let machines = load.await.unwrap();
    let total = quotes.load(Ordering::Relaxed);
    for machine in &machines {
        let proof = proof_of(&client, &machine.id, (begin, now() + 3_600), total, &key).await;
        let statement = stated(&proof, &machine.id, &key);
        assert_eq!((statement.failed, statement.resets, statement.missed), (1, 1, 0));
        assert_eq!(statement.times, Strength::Claimed, "nobody witnesses this log");
        let full = client.interval_proof(&machine.id, begin, now() + 3_600, &["full=1"]).await.unwrap();
        assert_eq!(stated(&full, &machine.id, &key).full_entries, 2 * total);
        // Nobody else's proof, and nothing altered.
        let trust = Trust { origin: "ledger.test/log", log: &key, witnesses: None, authorities: None };
        assert!(verify(&proof, &agent("node-9"), &trust).is_err());
        let mut altered = proof.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        assert!(verify(&altered, &machine.id, &trust).is_err());
    }
    served.stop().await;
    let report = fsck(&rig.data()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_proof_counts_all_machines_and_shows_those_with_the_label() {
    let rig = rig();
    let served = rig.serve().await;
    let (client, begin, key) = (rig.ledger_client(&served.url), now() - 1, rig.key());
    for (slot, role) in ["hypervisor", "builder", "hypervisor"].into_iter().enumerate() {
        let mut machine = Machine::enrol(&client, &format!("node-{slot}"), slot as u64, role).await;
        for _ in 0..2 {
            machine.quote(&client, VerdictResult::Pass).await.unwrap();
        }
    }
    proof_of(&client, &agent("node-2"), (begin, now() + 3_600), 2, &key).await;
    let trust = Trust { origin: "ledger.test/log", log: &key, witnesses: None, authorities: None };
    let shown = async |label: Option<&str>| {
        let proof = client.fleet_interval_proof(begin, now() + 3_600, label).await.unwrap();
        let statement = fleet_proof::verify(&proof, &trust).unwrap();
        assert_eq!(statement.total.quotes, 6, "counts are those of all");
        let mut altered = proof.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        assert!(fleet_proof::verify(&altered, &trust).is_err());
        statement.machines.iter().map(|machine| machine.agent.to_string()).collect::<Vec<_>>()
    };
    assert!(shown(None).await.is_empty(), "nothing went wrong on any");
    assert_eq!(shown(Some("role=hypervisor")).await, ["node-0", "node-2"]);
    assert_eq!(shown(Some("role=builder")).await, ["node-1"]);
    assert!(shown(Some("role=printer")).await.is_empty());
    let auditor = rig.http(Caller::Auditor);
    let path = format!("/ledger/v1/fleet/interval-proof?from={begin}&to={}&all=1", now() + 3_600);
    let whole = fleet_proof::verify(&body(&auditor, &served.url, &path).await, &trust).unwrap();
    assert_eq!((whole.machines.len(), whole.others, whole.labels_complete), (3, 0, true));
    for (path, expected) in [
        ("/ledger/v1/agents/node-0/interval-proof?from=2&to=1", 400),
        ("/ledger/v1/agents/node-0/interval-proof?from=1", 400),
        ("/ledger/v1/agents/node-0/interval-proof?from=1&to=2&full=2", 400),
        ("/ledger/v1/agents/node-0/interval-proof?from=1&to=2&form=1", 400),
        ("/ledger/v1/agents/node-9/interval-proof?from=1&to=2", 404),
        ("/ledger/v1/agents/~fleet/interval-proof?from=1&to=2", 404),
        ("/ledger/v1/fleet/interval-proof?from=1&to=2&label=role", 400),
        ("/ledger/v1/fleet/interval-proof?from=1&to=2&full=1", 400),
        ("/ledger/v1/fleet/interval-proof?from=1&to=2&all=2", 400),
        ("/ledger/v1/fleet/interval-proof?from=1&to=2&all=1&label=role%3Dhypervisor", 400),
        // Before there was anything: an empty statement, but a proof.
        ("/ledger/v1/agents/node-0/interval-proof?from=1&to=2", 200),
    ] {
        assert_eq!(get(&auditor, &served.url, path).await.status.as_u16(), expected, "{path}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_altered_behind_the_ledger_becomes_no_proof() {
    let rig = rig();
    let served = rig.serve().await;
    let (client, begin, key) = (rig.ledger_client(&served.url), now() - 1, rig.key());
    let mut machine = Machine::enrol(&client, "node-0", 0, "hypervisor").await;
    for _ in 0..4 {
        machine.quote(&client, VerdictResult::Fail).await.unwrap();
    }
    proof_of(&client, &machine.id, (begin, now() + 3_600), 4, &key).await;
    let auditor = rig.http(Caller::Auditor);
    let to = now() + 3_600;
    let machines = format!("/ledger/v1/agents/node-0/interval-proof?from={begin}&to={to}");
    let fleets = format!("/ledger/v1/fleet/interval-proof?from={begin}&to={to}&label=role%3Dhypervisor");
    let written = files(&rig.data().join("histories"));
    let named = |end: &str| written.keys().find(|path| path.extension().is_some_and(|found| found == end)).unwrap();
    for (path, file, at) in [
        // The first leaf's `fails`, behind seq and four numbers of its aggregate.
        (&machines, named("leaves"), 8 + 4 * 8 + 7),
        // The index of the policy's entry.
        (&machines, named("terms"), 8 + 7),
        (&fleets, named("terms"), 8 + 7),
    ] {
        let good = fs::read(file).unwrap();
        assert_eq!(get(&auditor, &served.url, path).await.status, StatusCode::OK, "{path}");
        let mut altered = good.clone();
        altered[at] ^= 1;
        fs::write(file, &altered).unwrap();
        let answer = get(&auditor, &served.url, path).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {}", file.display());
        fs::write(file, &good).unwrap();
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_ledger_gives_the_same_proofs_again_and_reindexing_the_same_bytes() {
    let rig = rig();
    let process = rig.spawn("");
    let url = process.url.clone().unwrap();
    let client = rig.ledger_client(&url);
    let begin = now() - 1;
    let mut machine = Machine::enrol(&client, "node-0", 0, "hypervisor").await;
    for _ in 0..20 {
        machine.quote(&client, VerdictResult::Pass).await.unwrap();
    }
    let (end, key) = (now(), rig.key());
    let before = proof_of(&client, &machine.id, (begin, end + 1), 20, &key).await;
    // The census after the interval stays the census after the interval.
    let deadline = Instant::now() + Duration::from_secs(60);
    let before = loop {
        let proof = IntervalProof::decode(&before).unwrap();
        if proof.end.opening.clock.seconds > end + 1 {
            break proof;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let again = client.interval_proof(&machine.id, begin, end + 1, &["boots=1"]).await.unwrap();
        let again = IntervalProof::decode(&again).unwrap();
        if again.end.opening.clock.seconds > end + 1 {
            break again;
        }
    };
    process.kill();
    let process = rig.spawn("");
    let client = rig.ledger_client(process.url.as_deref().unwrap());
    let after = proof_of(&client, &machine.id, (begin, end + 1), 20, &key).await;
    let after = IntervalProof::decode(&after).unwrap();
    let facts = |proof: &IntervalProof| {
        let evidence: Vec<_> =
            proof.evidence.iter().map(|evidence| (evidence.number, evidence.verdict.clone())).collect();
        let parts = (proof.end.entry.clone(), proof.end.opening.clone(), proof.start.clone().map(|start| start.entry));
        (parts, proof.tree.clone(), proof.terms.clone(), evidence)
    };
    assert_eq!(facts(&after), facts(&before), "the same interval, told twice");
    process.kill();
    // Brought up to date, then made anew: not a byte differs.
    let histories = rig.data().join("histories");
    let (_, digest) = ledger_server::info(&rig.data()).unwrap();
    let grown = files(&histories);
    assert!(grown.len() > 4, "{:?}", grown.keys());
    assert_eq!(reindex(&rig.data()).unwrap(), digest);
    assert!(files(&histories) == grown, "made anew from the entries");
    // A lost leaf is noticed; a start mends it.
    let leaves = grown.keys().find(|path| path.extension().is_some_and(|end| end == "leaves")).unwrap();
    fs::write(leaves, &grown[leaves][..100]).unwrap();
    assert_eq!(ledger_server::info(&rig.data()).unwrap().1, digest);
    assert!(files(&histories) == grown, "mended");
    assert!(fsck(&rig.data()).unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_log_does_not_feed_itself() {
    let mut rig = rig();
    let day = Duration::from_secs(86_400);
    rig.histories = Some(HistoriesConfig { epoch: Duration::from_millis(1), idle_checkpoint_interval: day });
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    // Genesis, start, their checkpoint, its census.
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(&fleet_entries(&client).await, Kind::Census) < 1 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Many times as long as a checkpoint and a census take.
    tokio::time::sleep(20 * rig.interval).await;
    let kinds: Vec<Kind> = fleet_entries(&client).await.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Genesis, Kind::ServiceStart, Kind::Checkpoint, Kind::Census]);
    // Something of somebody else's brings one of each.
    client.append(fleet(vec![action("x")])).await.unwrap();
    while count(&fleet_entries(&client).await, Kind::Census) < 2 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(20 * rig.interval).await;
    let entries = fleet_entries(&client).await;
    assert_eq!((count(&entries, Kind::Checkpoint), count(&entries, Kind::Census)), (2, 2));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_logs_time_goes_on_at_the_stated_rate() {
    let rig = rig();
    let idle = rig.histories.unwrap().idle_checkpoint_interval.as_millis();
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    let deadline = Instant::now() + Duration::from_secs(60);
    let entries = loop {
        let entries = fleet_entries(&client).await;
        if count(&entries, Kind::Checkpoint) >= 6 && count(&entries, Kind::Census) >= 5 {
            break entries;
        }
        assert!(Instant::now() < deadline, "{}", entries.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let own: Vec<&Entry> = entries.iter().filter(|entry| entry.kind == Kind::Checkpoint).collect();
    for pair in own[1..].array_windows() {
        let [first, second] = pair;
        let apart = second.recorded.0 - first.recorded.0;
        assert!(u128::from(apart) + 1 >= idle, "{apart} ms between two checkpoint entries of an idle log");
    }
    let mut covered = 0;
    for entry in &entries {
        match entry.kind {
            Kind::Checkpoint => {
                let body = CheckpointBody::decode(&entry.body).unwrap();
                assert!(body.tree_size > covered);
                covered = body.tree_size;
                let note = client.blob(&body.note).await.unwrap();
                assert_eq!(Digest(openssl::sha::sha256(&note)), body.note);
            }
            Kind::Census => assert_eq!(CensusBody::decode(&entry.body).unwrap().prefix_size, covered),
            _ => {}
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_census_of_somebody_elses_is_refused() {
    let rig = rig();
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut told = Vec::new();
    while told.len() < 3 {
        assert!(Instant::now() < deadline);
        let entries = fleet_entries(&client).await;
        let last = |kind| entries.iter().rev().find(|entry| entry.kind == kind);
        let (Some(census), Some(checkpoint)) = (last(Kind::Census), last(Kind::Checkpoint)) else { continue };
        let mut body = CensusBody::decode(&census.body).unwrap();
        body.prefix_size = CheckpointBody::decode(&checkpoint.body).unwrap().tree_size;
        body.epoch += 1;
        match client.append(fleet(vec![item(&body)])).await {
            Err(AppendError::Refused(reason)) => told.push(reason),
            other => panic!("{other:?}"),
        }
    }
    assert!(told.iter().any(|reason| reason.contains("come to")), "{told:?}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_histories_nothing_goes_on_record_by_itself_and_no_proofs_are_made() {
    let mut rig = rig();
    rig.histories = None;
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    client.append(fleet(vec![action("x")])).await.unwrap();
    tokio::time::sleep(10 * rig.interval).await;
    assert_eq!(fleet_entries(&client).await.len(), 3);
    let refused = client.interval_proof(&agent("node-0"), 1, 2, &[]).await.unwrap_err();
    assert!(matches!(refused, RequestError::Status { status: StatusCode::NOT_FOUND, .. }), "{refused}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_log_still_proves_what_came_after_and_says_what_is_gone() {
    let mut rig = rig();
    rig.segment_bytes_max = 20_000;
    let served = rig.serve().await;
    let (client, key) = (rig.ledger_client(&served.url), rig.key());
    let mut machine = Machine::enrol(&client, "node-0", 0, "hypervisor").await;
    let begin = now();
    for _ in 0..60 {
        machine.quote(&client, VerdictResult::Pass).await.unwrap();
    }
    // A second of its own, so that an interval can begin after it.
    let middle = now() + 1;
    while now() <= middle {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..60 {
        machine.quote(&client, VerdictResult::Pass).await.unwrap();
    }
    proof_of(&client, &machine.id, (begin - 1, now() + 3_600), 120, &key).await;
    let wanted = r#"{"below": 100, "reason": "old"}"#;
    let prune = Outgoing::new(Method::POST, format!("{}/ledger/v1/prune", served.url))
        .with_body("application/json", wanted.to_owned());
    let pruned = send(&rig.http(Caller::Admin), prune).await;
    assert_eq!(pruned.status, StatusCode::OK, "{:?}", pruned.body);
    // The first 60 quotes are in sums still, and the last of them is shown, from a segment that is there.
    let proof = proof_of(&client, &machine.id, (middle, now() + 3_600), 60, &key).await;
    assert!(stated(&proof, &machine.id, &key).before.is_some());
    let full = format!("/ledger/v1/agents/node-0/interval-proof?from={}&to={}&full=1", begin - 1, now() + 3_600);
    assert_eq!(get(&rig.http(Caller::Auditor), &served.url, &full).await.status, StatusCode::GONE);
    served.stop().await;
    // Made anew they cannot be: reindexing leaves them as they are.
    let grown = files(&rig.data().join("histories"));
    let digest = reindex(&rig.data()).unwrap();
    assert!(files(&rig.data().join("histories")) == grown);
    assert_eq!(reindex(&rig.data()).unwrap(), digest);
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    proof_of(&client, &machine.id, (middle, now() + 3_600), 60, &key).await;
    served.stop().await;
}
