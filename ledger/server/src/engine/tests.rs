//! What no failure, kill or power cut may break, and random histories against a naive log.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod failures;
mod histories;
mod power;

use std::fs;
use std::path::Path;

use ledger_protocol::body::OperatorAction;
use ledger_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use ledger_tlog::tree::root_of;
use messages::ledger::{IdempotencyKey, Receipt};
use tempfile::TempDir;

use super::*;
use crate::disk::faults::Watched;

/// Memory if there is a file system in it: these tests sync a great deal, and only what they
/// remember of it counts.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn config(path: &Path) -> LogConfig {
    let mut config = LogConfig::new(path);
    config.checkpoint_interval = Duration::from_millis(1);
    config.origin = Some("ledger.test/log".to_owned());
    config.segment_bytes_max = 700;
    config
}

fn request(number: u64) -> AppendRequest {
    let detail = format!("{number} {}", "x".repeat(200));
    let action = OperatorAction { action: "test".into(), actor: "a".into(), target: None, detail };
    let groups = vec![Group { agent: None, expected: None, items: vec![item(&action), item(&action)] }];
    AppendRequest { version: 1, idempotency_key: IdempotencyKey(u128::from(number).to_be_bytes()), groups }
}

fn receipts(answer: AppendAnswer) -> Vec<Receipt> {
    match answer.results.into_iter().next() {
        Some(GroupResult::Appended(receipts)) => receipts,
        other => panic!("{other:?}"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

/// The leaves of a log that a start accepts, and the tree signed last; or why there are none.
fn opened(config: &LogConfig) -> Result<(Vec<Hash>, TreeHead), String> {
    let opened =
        opening::open(config, |_| Ok(())).map_err(|error| format!("the start was refused: {}", chain(&error)))?;
    let mut leaves = Vec::new();
    let size = opened.state.totals().size;
    if size > 0 {
        let read = opened.segments.read(0, |_, entry| {
            leaves.push(leaf_hash(entry));
            std::ops::ControlFlow::Continue(())
        });
        read.map_err(|error| chain(&error))?;
    }
    if (leaves.len() as u64, root_of(&leaves)) != (size, opened.level_writer.tree_head().root) {
        return Err("the tree is not that of the entries".to_owned());
    }
    let mut stored = vec![EMPTY_ROOT; leaves.len()];
    let read = if size > 0 { opened.levels.read(0, 0, &mut stored) } else { Ok(()) };
    if read.is_err() || stored != leaves {
        return Err("the stored hashes are not those of the entries".to_owned());
    }
    Ok((leaves, *opened.guard.last()))
}

/// The leaves of a log that a start accepts.
fn leaves(path: &Path) -> Result<Vec<Hash>, String> {
    opened(&config(path)).map(|(leaves, _)| leaves)
}

/// A log with a few entries, closed.
fn begin(path: &Path) {
    let ledger = Ledger::open(&config(path)).unwrap();
    ledger.append_blocking(request(0)).unwrap();
}

#[test]
fn a_large_log_opens_from_its_index_and_reads_the_same() {
    let folder = scratch();
    let path = folder.path().join("log");
    let mut config = config(&path);
    config.whole_bytes_max = 0;
    let ledger = Ledger::open(&config).unwrap();
    for number in 0..400 {
        ledger.append_blocking(request(number)).unwrap();
    }
    drop(ledger);
    let whole = leaves(&path).unwrap();
    let opened = opening::open(&config, |_| Ok(())).unwrap();
    assert_eq!(opened.level_writer.tree_head().root, root_of(&whole));
    for index in [0, 1, 255, 256, 300, 513, whole.len() - 1] {
        let entry = opened.segments.entry(index as u64).unwrap();
        assert_eq!(leaf_hash(&entry), whole[index], "{index}");
    }
    drop(opened);
    // What a start that trusts its index does not see is for fsck; lengths and the edge it sees.
    let last = fs::read_dir(path.join("segments")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let first = path.join("segments").join(format!("{:020}.seg", 0));
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(opening::open(&config, |_| Ok(())), Err(OpenError::Damaged { .. })));
    fs::write(&first, &bytes).unwrap();
    let length = fs::metadata(&last).unwrap().len();
    fs::write(&last, &fs::read(&last).unwrap()[..usize::try_from(length).unwrap() - 1]).unwrap();
    assert!(matches!(opening::open(&config, |_| Ok(())), Err(OpenError::SignedLost { .. })));
}

#[test]
fn a_stalled_disk_fills_the_queue_and_no_more_is_taken_until_it_goes_on() {
    let folder = scratch();
    let path = folder.path().join("log");
    let mut config = config(&path);
    config.segment_bytes_max = SEGMENT_BYTES_MAX;
    config.checkpoint_interval = Duration::from_secs(60);
    let ledger = Ledger::open(&config).unwrap();
    let watched = Watched::new(&path);
    let stalled = watched.stall();
    // One in the writer's hands, one growing to 4 MiB, and the queue: more than that cannot wait.
    let detail = "x".repeat(60_000);
    let action = OperatorAction { action: "test".into(), actor: "a".into(), target: None, detail };
    let groups = vec![Group { agent: None, expected: None, items: vec![item(&action)] }];
    let mut waiting = Vec::new();
    let mut refused = None;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    for number in 0u128.. {
        let request = AppendRequest {
            version: 1,
            idempotency_key: IdempotencyKey((number + (1 << 64)).to_be_bytes()),
            groups: groups.clone(),
        };
        match ledger.submit(request, None) {
            Ok(reply) => waiting.push(reply),
            Err(error) => {
                refused = Some(error);
                // The sequencer may just have taken one; when it takes no more, all refuse.
                if waiting.len() >= QUEUE_REQUESTS_MAX + 64 || std::time::Instant::now() > deadline {
                    break;
                }
                std::thread::yield_now();
            }
        }
        assert!(waiting.len() < QUEUE_REQUESTS_MAX + 200, "what waits is bounded");
    }
    assert_eq!(refused, Some(AppendFailed::Busy));
    assert!(waiting.iter_mut().all(|reply| reply.try_recv().is_err()), "nothing is promised that is not durable");
    drop(stalled);
    for reply in waiting {
        ledger.received(reply.blocking_recv()).unwrap();
    }
    ledger.append_blocking(request(0)).unwrap();
}
