//! Histories of a log whose older entries were pruned: proofs, starts, reindexing, copies.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::time::Duration;

use http::{Method, StatusCode};
use ledger_client::RequestError;
use ledger_protocol::body::VerdictResult;
use ledger_server::{
    HistoriesError, Ledger, OpenError, PruneBelow, PruneRequest, RestoreRequest, backup, fsck, info, reindex, restore,
};
use messages::Digest;
use transport::client::Outgoing;

use crate::entries::{action, fleet, request};
use crate::histories::{Machine, files, now, proof_of, rig, stated};
use crate::rig::{Caller, Rig, get, send};

async fn prune(rig: &Rig, url: &str, below: u64) {
    let outgoing = Outgoing::new(Method::POST, format!("{url}/ledger/v1/prune"));
    let wanted = format!(r#"{{"below": {below}, "reason": "test"}}"#);
    let answer = send(&rig.http(Caller::Admin), outgoing.with_body("application/json", wanted)).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
}

/// A log in small segments with its lock elsewhere.
fn small() -> Rig {
    let mut rig = rig();
    rig.lock = Some(rig.beside("lock-elsewhere"));
    rig.segment_bytes_max = 6_000;
    rig
}

fn digest_of(rig: &Rig) -> Digest {
    ledger_server::info_of(&rig.log_config()).unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_outlive_the_entries_they_were_made_of() {
    let rig = small();
    let served = rig.serve().await;
    let (client, begin) = (rig.ledger_client(&served.url), now() - 1);
    let mut machine = Machine::enrol(&client, "node-0", 0, "hypervisor").await;
    let key = rig.key();
    for _ in 0..20 {
        machine.quote(&client, VerdictResult::Pass).await.unwrap();
    }
    let below = client.info().await.unwrap().durable_size;
    for _ in 0..10 {
        machine.quote(&client, VerdictResult::Fail).await.unwrap();
    }
    proof_of(&client, &machine.id, (begin, now() + 3_600), 30, &key).await;
    // The second interval begins in a second of its own.
    let middle = now() + 2;
    while now() < middle {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..5 {
        machine.quote(&client, VerdictResult::Pass).await.unwrap();
    }
    prune(&rig, &served.url, below).await;
    let minimum = client.info().await.unwrap().minimum_index;
    assert!(minimum > 0);
    let pruned = rig.data().join("pruned");
    assert!(files(&pruned).keys().any(|path| path.extension().is_some_and(|end| end == "histories")));

    // Later intervals with all their evidence, earlier ones by their sums.
    let later = (middle, now() + 3_600);
    proof_of(&client, &machine.id, later, 5, &key).await;
    let id = machine.id.clone();
    let whole = async |client: &ledger_client::LedgerClient, quotes: u64| {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let told = match client.interval_proof(&id, begin, now() + 3_600, &[]).await {
                Ok(proof) => {
                    let statement = stated(&proof, &id, &key);
                    if statement.quotes == quotes {
                        assert_eq!(statement.failed, 10);
                        return;
                    }
                    format!("{} quotes", statement.quotes)
                }
                Err(error) => error.to_string(),
            };
            assert!(std::time::Instant::now() < deadline, "{told}; expected {quotes} quotes");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    whole(&client, 35).await;
    // What needs a pruned quote is answered as pruned.
    let path = format!("/ledger/v1/agents/node-0/interval-proof?from={begin}&to={}&full=1", now() + 3_600);
    let refused = get(&rig.http(Caller::Auditor), &served.url, &path).await;
    assert_eq!(refused.status, StatusCode::GONE, "{:?}", refused.body);
    let told: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(told.pointer("/results/minimum_index").unwrap().as_u64(), Some(minimum));
    served.stop().await;

    // Reindexed: not a byte differs, and proofs go on.
    assert!(ledger_server::fsck_showing(&rig.log_config(), |_, _| {}).unwrap().is_sound());
    let grown = digest_of(&rig);
    let histories = rig.data().join("histories");
    let kept = files(&histories);
    assert_eq!(ledger_server::reindex_log(&rig.log_config()).unwrap(), grown);
    assert!(files(&histories) == kept, "from the snapshot that the prune left");
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    proof_of(&client, &machine.id, later, 5, &key).await;
    whole(&client, 35).await;

    // A copy of a log at work, and a second prune, which it follows.
    let copied = rig.beside("copy");
    backup(&rig.data(), &copied).unwrap();
    let below = client.info().await.unwrap().durable_size;
    for _ in 0..10 {
        machine.quote(&client, VerdictResult::Pass).await.unwrap();
    }
    whole(&client, 45).await;
    prune(&rig, &served.url, below).await;
    whole(&client, 45).await;
    served.stop().await;
    let last = backup(&rig.data(), &copied).unwrap();
    assert!(backup(&rig.data(), &copied).unwrap().bytes == 0, "{last:?}");
    fs::rename(rig.data(), rig.beside("lost")).unwrap();
    let wanted = RestoreRequest {
        danger_new_lock: false,
        keys: None,
        from: copied.clone(),
        lock: rig.lock.clone(),
        to: rig.data(),
        witnesses: None,
    };
    restore(&wanted).unwrap();
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    whole(&client, 45).await;
    machine.quote(&client, VerdictResult::Pass).await.unwrap();
    whole(&client, 46).await;
    served.stop().await;

    // What no entry can make anew is missed.
    digest_of(&rig);
    let leaves = files(&histories).into_keys().find(|path| path.extension().is_some_and(|end| end == "leaves"));
    fs::File::options().write(true).open(leaves.unwrap()).unwrap().set_len(84).unwrap();
    let refused = ledger_server::reindex_log(&rig.log_config()).unwrap_err();
    assert!(matches!(refused, OpenError::Histories(HistoriesError::Short { .. })), "{refused:?}");
}

fn ask(below: u64) -> PruneRequest {
    PruneRequest {
        actor: "test".into(),
        below: PruneBelow::Index(below),
        blob_grace: Duration::ZERO,
        reason: "test".into(),
    }
}

fn grow(rig: &Rig) {
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    for key in 0..10 {
        ledger.append_blocking(request(key, vec![fleet(vec![action(&"x".repeat(200)); 20])])).unwrap();
    }
    // A checkpoint covers what is to be pruned.
    ledger.close();
    Ledger::open(&rig.log_config()).unwrap().prune(&ask(100)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_pruned_without_histories_goes_on_without_them_and_says_so() {
    let mut rig = rig();
    rig.segment_bytes_max = 6_000;
    let kept = rig.histories.take();
    let rig = tokio::task::spawn_blocking(move || {
        grow(&rig);
        rig
    });
    let mut rig = rig.await.unwrap();
    assert_eq!(reindex(&rig.data()).unwrap(), info(&rig.data()).unwrap().1);
    rig.histories = kept;
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    let id = crate::entries::agent("node-0");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let refused = client.interval_proof(&id, 1, 2, &[]).await.unwrap_err();
        match refused {
            RequestError::Status { status: StatusCode::SERVICE_UNAVAILABLE, ref text, .. }
                if text.contains("was pruned") =>
            {
                break;
            }
            other => assert!(std::time::Instant::now() < deadline, "{other}"),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    client.append(fleet(vec![action("goes on")])).await.unwrap();
    prune(&rig, &served.url, 150).await;
    served.stop().await;
    assert!(fsck(&rig.data()).unwrap().is_sound());
    assert_eq!(reindex(&rig.data()).unwrap(), info(&rig.data()).unwrap().1);
}
