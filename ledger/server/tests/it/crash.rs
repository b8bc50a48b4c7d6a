//! Processes that are killed, starved of disk, or two at once; files that end in the middle.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger_client::{AppendError, LedgerClient};
use ledger_server::{AppendFailed, Ledger, OpenError, OwnershipError, fsck, reindex};
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::tree::root_of;
use messages::Digest;
use messages::ledger::{GroupResult, Head, Receipt};

use crate::entries::{action, agent, enrol, fleet, group, request, retire};
use crate::rig::{Rig, Served, copy};

/// Appends until told to stop or refused: an agent of its own once, then to the fleet's chain.
/// Returns what was acknowledged.
async fn load(client: LedgerClient, number: usize, slot: u64, stop: Arc<AtomicBool>) -> Vec<Receipt> {
    let name = agent(&format!("load-{number}-{slot}"));
    let mut acknowledged = Vec::new();
    let mut enrolled = false;
    while !stop.load(Ordering::Relaxed) {
        let group = if enrolled {
            fleet(vec![action(&format!("{name} {}", acknowledged.len())); 3])
        } else {
            let (Ok(info), Ok(binding)) = (client.info().await, client.put_blob(b"binding".to_vec()).await) else {
                return acknowledged;
            };
            group(&name, Head::default(), vec![enrol(info.next_slot, binding)])
        };
        match client.append(group).await {
            Ok(receipts) => {
                enrolled = true;
                acknowledged.extend(receipts);
            }
            // Another one took the slot.
            Err(AppendError::Refused(_)) => {}
            Err(AppendError::Conflict(head)) => panic!("{name} is written by one only, but ends at {head:?}"),
            Err(AppendError::Unavailable { .. }) => return acknowledged,
        }
    }
    acknowledged
}

async fn leaves(served: &Served, rig: &Rig) -> Vec<Hash> {
    let http = rig.http(crate::rig::Caller::Auditor);
    let info = rig.ledger_client(&served.url).info().await.unwrap();
    let mut leaves = Vec::new();
    for path in ledger_tlog::tile::TilePath::all(info.checkpoint_size) {
        if let ledger_tlog::tile::TilePath::Entries(span) = path {
            let bundle = crate::rig::body(&http, &served.url, &format!("/{path}")).await;
            leaves
                .extend(ledger_tlog::bundle::parse_entries(&bundle, span.width()).unwrap().into_iter().map(leaf_hash));
        }
    }
    leaves
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_instant_it_keeps_what_it_acknowledged_and_signed() {
    kill_at_random(20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes; the same with 20 runs is part of every test"]
async fn killed_two_hundred_times_it_keeps_what_it_acknowledged_and_signed() {
    kill_at_random(200).await;
}

async fn kill_at_random(runs: usize) {
    let rig = Rig::new();
    let mut acknowledged: Vec<Receipt> = Vec::new();
    let mut notes: Vec<Vec<u8>> = Vec::new();
    for number in 0..runs {
        let process = rig.spawn("");
        let url = process.url.clone().expect("it starts again after each kill");
        let stop = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> =
            (0..6).map(|slot| tokio::spawn(load(rig.ledger_client(&url), number, slot, Arc::clone(&stop)))).collect();
        let watcher = rig.ledger_client(&url);
        let mut random = [0; 2];
        openssl::rand::rand_bytes(&mut random).unwrap();
        let instant =
            tokio::time::Instant::now() + Duration::from_millis(150 + u64::from(u16::from_le_bytes(random)) / 160);
        while tokio::time::Instant::now() < instant {
            if let Ok(note) = watcher.checkpoint().await
                && notes.last() != Some(&note)
            {
                notes.push(note);
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        process.kill();
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            acknowledged.extend(task.await.unwrap());
        }
    }
    assert!(acknowledged.len() > 100 && notes.len() > 6, "{} and {}", acknowledged.len(), notes.len());
    let served = rig.serve().await;
    let leaves = leaves(&served, &rig).await;
    for receipt in &acknowledged {
        let index = usize::try_from(receipt.index).unwrap();
        assert_eq!(leaves[index].as_bytes(), receipt.leaf_hash.as_bytes(), "entry {index} was acknowledged");
    }
    for note in &notes {
        let signed = *Checkpoint::open(note, "ledger.test/log", &rig.key(), &[]).unwrap().tree_head();
        let size = usize::try_from(signed.tree_size).unwrap();
        assert_eq!(root_of(&leaves[..size]), signed.root, "checkpoint of {size} was shown");
    }
    served.stop().await;
    let report = fsck(&rig.data()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let first = reindex(&rig.data()).unwrap();
    assert_eq!(reindex(&rig.data()).unwrap(), first);
}

#[test]
fn an_index_made_anew_is_identical_to_the_one_that_grew() {
    let mut rig = Rig::new();
    rig.segment_bytes_max = 20_000;
    let config = rig.log_config();
    let ledger = Ledger::open(&config).unwrap();
    let mut key = 0;
    for round in 0..40 {
        let node = agent(&format!("node-{}", round % 7));
        let slot = round % 7;
        let head = match ledger
            .append_blocking(request(key, vec![group(&node, Head { seq: 99, ..Head::default() }, vec![retire()])]))
        {
            Ok(answer) => match answer.results[..] {
                [GroupResult::Conflict(head)] => head,
                ref other => panic!("{other:?}"),
            },
            Err(error) => panic!("{error}"),
        };
        let item = if head.seq % 2 == 0 { enrol(slot, Digest::ZERO) } else { retire() };
        let groups = vec![fleet(vec![action("a"); 5]), group(&node, head, vec![item])];
        let answer = ledger.append_blocking(request(key + 1, groups)).unwrap();
        assert!(answer.results.iter().all(|result| matches!(result, GroupResult::Appended(_))), "{answer:?}");
        key += 2;
    }
    ledger.close();
    drop(ledger);
    let (info, grown) = ledger_server::info(&rig.data()).unwrap();
    assert_eq!(info.durable_size, info.checkpoint_size);
    assert_eq!(reindex(&rig.data()).unwrap(), grown);
    fs::remove_dir_all(rig.data().join("index")).unwrap();
    assert_eq!(ledger_server::info(&rig.data()).unwrap().1, grown);
}

#[test]
fn a_batch_torn_at_any_byte_is_cut_and_kept_aside() {
    let rig = Rig::new();
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    ledger.append_blocking(request(1, vec![fleet(vec![action("kept")])])).unwrap();
    drop(ledger);
    let before = rig.data().with_file_name("before");
    copy(&rig.data(), &before);
    let segment = |data: &std::path::Path| data.join("segments").join(format!("{:020}.seg", 0));
    let kept = fs::metadata(segment(&before)).unwrap().len();
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    drop(ledger);
    let whole = fs::read(segment(&rig.data())).unwrap();
    let scratch = rig.data().with_file_name("scratch");
    let mut config = rig.log_config();
    config.path = scratch.clone();
    for length in usize::try_from(kept).unwrap()..whole.len() {
        copy(&before, &scratch);
        fs::write(segment(&scratch), &whole[..length]).unwrap();
        let report = fsck(&scratch).unwrap();
        assert!(report.is_sound(), "{length}: {:?}", report.findings);
        assert_eq!((report.entries, report.findings.is_empty()), (3, length == usize::try_from(kept).unwrap()));
        // `info` opens as a start does.
        let (info, _) = ledger_server::info(&scratch).unwrap();
        assert_eq!(info.durable_size, 3);
        assert_eq!(fs::metadata(segment(&scratch)).unwrap().len(), kept);
        assert_eq!(scratch.join("torn").exists(), length > usize::try_from(kept).unwrap());
        if length % 40 == 0 {
            drop(Ledger::open(&config).unwrap());
        }
        fs::remove_dir_all(&scratch).unwrap();
    }
}

#[test]
fn a_batch_with_holes_is_cut_by_a_start_and_no_damage_to_fsck() {
    let rig = Rig::new();
    drop(Ledger::open(&rig.log_config()).unwrap());
    let before = rig.data().with_file_name("before");
    copy(&rig.data(), &before);
    let segment = |data: &std::path::Path| data.join("segments").join(format!("{:020}.seg", 0));
    let kept = usize::try_from(fs::metadata(segment(&before)).unwrap().len()).unwrap();
    drop(Ledger::open(&rig.log_config()).unwrap());
    let whole = fs::read(segment(&rig.data())).unwrap();
    let scratch = rig.data().with_file_name("scratch");
    for (from, to) in [(0, 2), (0, 40), (1, 90), (60, 70), (100, 150)] {
        let mut holed = whole.clone();
        holed[kept + from..kept + to].fill(0);
        for behind in [0, 1, 4096] {
            copy(&before, &scratch);
            holed.resize(whole.len() + behind, 0);
            fs::write(segment(&scratch), &holed).unwrap();
            let report = fsck(&scratch).unwrap();
            let what = format!("{from}..{to}, {behind} zeros: {:?}", report.findings);
            assert!(report.is_sound() && report.entries == 2 && report.findings.len() == 1, "{what}");
            assert_eq!(ledger_server::info(&scratch).unwrap().0.durable_size, 2, "{what}");
            assert_eq!(fs::read(segment(&scratch)).unwrap(), whole[..kept], "{what}");
            assert!(scratch.join("torn").exists() && fsck(&scratch).unwrap().findings.is_empty(), "{what}");
            fs::remove_dir_all(&scratch).unwrap();
        }
        // The same of a batch that was signed, or has another behind it.
        for signed in [&rig.data(), &before] {
            copy(signed, &scratch);
            let mut holed = whole.clone();
            let at = if signed == &before { 64 } else { kept };
            holed[at + from..at + to].fill(0);
            fs::write(segment(&scratch), &holed).unwrap();
            assert!(!fsck(&scratch).unwrap().is_sound(), "{from}..{to}");
            ledger_server::info(&scratch).expect_err("a start refuses it");
            fs::remove_dir_all(&scratch).unwrap();
        }
    }
}

#[test]
fn a_second_process_is_told_who_has_the_log() {
    let rig = Rig::new();
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    let error = Ledger::open(&rig.log_config()).unwrap_err();
    let OpenError::Ownership(OwnershipError::Taken { pid, .. }) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*pid, std::process::id().to_string());
    assert!(fsck(&rig.data()).is_err());
    assert!(reindex(&rig.data()).is_err());
    assert!(rig.spawn("").url.is_none(), "another process is refused as well");
    drop(ledger);
    Ledger::open(&rig.log_config()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_acknowledges_nothing_and_a_restart_goes_on() {
    let rig = Rig::new();
    // As a full disk: no file may grow beyond 600 KiB, and the signal that says so is ignored. It is less
    // than the zeros that are written ahead.
    let process = rig.spawn("trap '' XFSZ; ulimit -f 1200;");
    let client = rig.ledger_client(process.url.as_ref().expect("it starts"));
    let mut acknowledged = Vec::new();
    let text = "x".repeat(900);
    let failed = loop {
        match client.append(fleet(vec![action(&text); 16])).await {
            Ok(receipts) => acknowledged.extend(receipts),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 5_000, "the limit is met");
    };
    let AppendError::Unavailable { source: Some(source), .. } = &failed else {
        panic!("{failed:?}");
    };
    assert!(source.to_string().contains("503"), "{source:?}");
    // 16 entries of about 1,000 bytes and their answer: the last batch would not have fitted.
    assert!(acknowledged.len() > 500, "{}", acknowledged.len());
    // Nothing small gets through either: after one failure nothing is promised any more.
    let mut small = 0;
    while small < 3 {
        assert!(matches!(client.append(fleet(vec![action("y")])).await, Err(AppendError::Unavailable { .. })));
        small += 1;
    }
    assert!(client.info().await.is_ok(), "what is there can still be read");
    process.kill();
    let served = rig.serve().await;
    let leaves = leaves(&served, &rig).await;
    for receipt in &acknowledged {
        assert_eq!(leaves[usize::try_from(receipt.index).unwrap()].as_bytes(), receipt.leaf_hash.as_bytes());
    }
    rig.ledger_client(&served.url).append(fleet(vec![action("goes on")])).await.unwrap();
    served.stop().await;
    let report = fsck(&rig.data()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[test]
fn a_log_under_another_name_is_refused() {
    let rig = Rig::new();
    drop(Ledger::open(&rig.log_config()).unwrap());
    let mut other = rig.log_config();
    other.origin = Some("ledger.test/other".to_owned());
    assert!(matches!(Ledger::open(&other), Err(OpenError::Identity(_))));
    other.origin = None;
    Ledger::open(&other).unwrap();
}

#[test]
fn a_closed_ledger_accepts_nothing_and_what_came_before_is_signed() {
    let rig = Rig::new();
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    ledger.append_blocking(request(1, vec![fleet(vec![action("last")])])).unwrap();
    ledger.close();
    assert_eq!(ledger.append_blocking(request(2, vec![])), Err(AppendFailed::Stopping));
    let info = ledger.info().unwrap();
    assert_eq!((info.durable_size, info.checkpoint_size), (3, 3));
    assert_eq!(ledger.failure(), None);
}

#[test]
fn many_callers_at_once_each_get_their_own_answer() {
    let rig = Rig::new();
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    std::thread::scope(|scope| {
        for caller in 0..16u64 {
            let ledger = &ledger;
            scope.spawn(move || {
                for round in 0..25 {
                    let text = format!("{caller} {round}");
                    let groups = vec![fleet(vec![action(&text)]), fleet(vec![action(&text), action("second")])];
                    let answer = ledger.append_blocking(request(caller * 1_000 + round, groups)).unwrap();
                    let [GroupResult::Appended(one), GroupResult::Appended(two)] = &answer.results[..] else {
                        panic!("{answer:?}");
                    };
                    assert_eq!((one.len(), two.len(), two[0].index), (1, 2, one[0].index + 1));
                }
            });
        }
    });
    drop(ledger);
    let report = fsck(&rig.data()).unwrap();
    assert!(report.is_sound() && report.entries == 2 + 16 * 25 * 3, "{report:?}");
}
