//! A pruned log as its readers meet it, and prunes as an operator asks for them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::process::{Command, Stdio};
use std::time::Instant;

use http::{Method, StatusCode};
use ledger_protocol::Entry;
use ledger_server::{Ledger, fsck, info, reindex};
use ledger_tlog::hash::leaf_hash;
use messages::Digest;
use messages::ledger::{Group, Head};
use serde_bytes::ByteBuf;
use transport::client::{Answer, Outgoing};

use crate::entries::{action, agent, enrol, fleet, group, request, retire};
use crate::rig::{Caller, Rig, body, copy, get, send};

/// A log of one agent that comes and goes, in small segments.
fn grown() -> Rig {
    let mut rig = Rig::new();
    rig.segment_bytes_max = 20_000;
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    let node = agent("node");
    let binding = Digest(openssl::sha::sha256(b"binding"));
    let folder = rig.data().join(format!("blobs/{:.2}", binding.to_string()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(binding.to_string()), "binding").unwrap();
    let mut head = Head::default();
    for round in 0..30 {
        let pair = vec![enrol(0, binding), retire()];
        let groups: Vec<Group> = vec![group(&node, head, pair), fleet(vec![action(&"x".repeat(100)); 20])];
        let answer = ledger.append_blocking(request(round, groups)).unwrap();
        let messages::ledger::GroupResult::Appended(receipts) = &answer.results[0] else { panic!("{answer:?}") };
        head = Head { seq: receipts[1].seq + 1, prev: receipts[1].leaf_hash };
    }
    ledger.close();
    rig
}

async fn prune(rig: &Rig, url: &str, caller: Caller, wanted: &str) -> Answer {
    let outgoing = Outgoing::new(Method::POST, format!("{url}/ledger/v1/prune"));
    send(&rig.http(caller), outgoing.with_body("application/json", wanted.to_owned())).await
}

fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_answered_as_such_and_proofs_stay() {
    let rig = tokio::task::spawn_blocking(grown).await.unwrap();
    let served = rig.serve().await;
    let http = rig.http(Caller::Auditor);
    let url = served.url.as_str();
    let size = rig.ledger_client(url).info().await.unwrap().checkpoint_size;
    let proof = format!("/ledger/v1/proof/inclusion?index=5&tree_size={size}");
    let old = body(&http, url, &proof).await;
    let bundle = body(&http, url, "/tile/entries/000").await;
    let wanted = r#"{"below": 400, "reason": "seven years are over"}"#;
    for caller in [Caller::Anonymous, Caller::Auditor, Caller::Service] {
        assert_eq!(prune(&rig, url, caller, wanted).await.status, StatusCode::FORBIDDEN, "{caller:?}");
    }
    let both = r#"{"below": 4, "older_than_s": 1, "reason": ""}"#;
    for wrong in ["{}", both, r#"{"below": 3, "reason": "before the first segment's end"}"#] {
        assert_eq!(prune(&rig, url, Caller::Admin, wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let done = prune(&rig, url, Caller::Admin, wanted).await;
    assert_eq!(done.status, StatusCode::OK, "{:?}", done.body);
    let report = json(&done);
    let (first, minimum) = (report["first"].as_u64().unwrap(), report["minimum_index"].as_u64().unwrap());
    let policy = report["policy_index"].as_u64().unwrap();
    assert!(first > 300 && minimum == 512, "{report}");
    assert_eq!(rig.ledger_client(url).info().await.unwrap().minimum_index, minimum);

    // Entries, chains, bundles: gone, and the answer names the entry that says so.
    let gone = [
        "/tile/entries/000",
        "/tile/entries/001",
        "/ledger/v1/agents/node/entries",
        "/ledger/v1/agents/~fleet/seq-at?ms=0",
    ];
    for path in gone {
        let answer = get(&http, url, path).await;
        assert_eq!(answer.status, StatusCode::GONE, "{path}");
        let results = json(&answer)["results"].clone();
        assert_eq!(
            (results["minimum_index"].as_u64(), results["policy_index"].as_u64()),
            (Some(minimum), Some(policy))
        );
    }
    let recorded = Entry::decode(&body(&http, url, &format!("/ledger/v1/entries/{policy}")).await).unwrap();
    assert_eq!(recorded.kind, ledger_protocol::Kind::OperatorAction);

    // What is there is answered from its first entry on.
    let answer = get(&http, url, "/ledger/v1/agents/node/entries").await;
    let from = json(&answer)["results"]["first_seq"].as_u64().unwrap();
    assert!(from > 0);
    let rest = body(&http, url, &format!("/ledger/v1/agents/node/entries?from_seq={from}")).await;
    let page: messages::ledger::EntryPage = messages::cbor::decode(&rest).unwrap();
    assert_eq!(page.entries.len() as u64, page.head.seq - from);

    // Small entries stay, each with its proof as before.
    assert_eq!(body(&http, url, &proof).await, old);
    let kept: Vec<(u64, ByteBuf)> = messages::cbor::decode(&body(&http, url, "/ledger/v1/kept").await).unwrap();
    assert_eq!(kept[0].0, 0, "genesis");
    let whole = ledger_tlog::bundle::parse_entries(&bundle, 256).unwrap();
    let (index, entry) = kept.iter().find(|(index, _)| *index == 5).unwrap();
    assert_eq!((leaf_hash(entry), *index), (leaf_hash(whole[5]), 5));
    assert_eq!(body(&http, url, "/ledger/v1/entries/5").await, **entry);
    let answer = get(&http, url, "/ledger/v1/entries/1").await;
    assert_eq!(answer.status, StatusCode::GONE, "a service-start is not kept");
    // What an auditor goes on from: the state, without the answers to submitters.
    let boundary = body(&http, url, "/ledger/v1/pruned/boundary").await;
    let [_, at, ..] = messages::cbor::array_items::<7>(&boundary).unwrap();
    assert_eq!(messages::cbor::decode::<u64>(&boundary[at]).unwrap(), first);
    let answer = get(&http, url, "/ledger/v1/pruned/histories").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "it kept none");
    rig.ledger_client(url).append(fleet(vec![action("goes on")])).await.unwrap();
    served.stop().await;
    let report = fsck(&rig.data()).unwrap();
    assert!(report.is_sound() && report.pruned == first, "{:?}", report.findings);
    let served = rig.serve().await;
    assert_eq!(get(&http, &served.url, "/tile/entries/000").await.status, StatusCode::GONE, "also after a start");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_policy_prunes_by_itself() {
    let mut rig = tokio::task::spawn_blocking(grown).await.unwrap();
    rig.arguments = ["--retain", "1s"].map(Into::into).to_vec();
    let process = rig.spawn("");
    let client = rig.ledger_client(process.url.as_ref().unwrap());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while client.info().await.unwrap().minimum_index == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[test]
fn a_stopped_log_is_pruned_from_the_command_line() {
    let rig = grown();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-ledger"));
        command.arg("prune").arg("--data").arg(rig.data()).args(arguments).env("RUST_LOG", "off").output().unwrap()
    };
    assert_eq!(run(&["--below", "400"]).status.code(), Some(2), "a reason is needed");
    assert_eq!(run(&["--older-than", "3x", "--reason", "r"]).status.code(), Some(2));
    assert_eq!(run(&["--older-than", "1h", "--reason", "r"]).status.code(), Some(1), "nothing is that old");
    let done = run(&["--below", "400", "--reason", "r", "--json"]);
    assert!(done.status.success(), "{done:?}");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(report["segments"].as_u64().unwrap() > 1, "{report}");
    let grown = info(&rig.data()).unwrap();
    assert_eq!(grown.0.minimum_index, report["minimum_index"].as_u64().unwrap());
    assert_eq!(reindex(&rig.data()).unwrap(), grown.1);
    assert!(fsck(&rig.data()).unwrap().is_sound());
}

#[test]
fn a_prune_killed_at_any_instant_is_whole_or_not_begun_after_the_next_start() {
    let grown = grown();
    let prune = |rig: &Rig| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-ledger"));
        command.arg("prune").arg("--data").arg(rig.data()).args(["--below", "400", "--reason", "r"]);
        command.env("RUST_LOG", "off").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let of_its_own = |number: u32| {
        let rig = Rig::new();
        copy(&grown.data(), &rig.data());
        make_private(&rig.data());
        (rig, number)
    };
    let (rig, _) = of_its_own(0);
    let begun = Instant::now();
    assert!(prune(&rig).wait().unwrap().success());
    let whole = begun.elapsed();
    let (mut pruned, runs) = (0, 12);
    for (rig, number) in (0..runs).map(of_its_own) {
        let mut process = prune(&rig);
        std::thread::sleep(whole.mul_f64(f64::from(number) / f64::from(runs)));
        process.kill().unwrap();
        process.wait().unwrap();
        let found = fsck(&rig.data()).unwrap();
        let mended = found.findings.iter().all(|finding| finding.text.contains("the next start"));
        assert!(found.is_sound() || mended, "run {number}: {:?}", found.findings);
        let ledger = Ledger::open(&rig.log_config()).unwrap();
        let minimum = ledger.info().unwrap().minimum_index;
        assert!(minimum == 0 || minimum == 512, "{minimum}");
        pruned += u32::from(minimum > 0);
        drop(ledger);
        assert!(fsck(&rig.data()).unwrap().is_sound());
        assert!(minimum > 0 || prune(&rig).wait().unwrap().success());
        let after = info(&rig.data()).unwrap();
        assert_eq!(after.0.minimum_index, 512);
        assert_eq!(reindex(&rig.data()).unwrap(), after.1);
    }
    eprintln!("{runs} prunes of about {whole:?} were killed; {pruned} had been decided");
}

/// Copies have the modes that new folders have.
fn make_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}
