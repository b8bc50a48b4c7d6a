//! Failures at every operation of an append, and power cuts after every one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ledger_protocol::body::OperatorAction;
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::tree::root_of;
use messages::ledger::{IdempotencyKey, Receipt};
use tempfile::TempDir;

use super::*;
use crate::disk::faults::{Event, Fault, PowerCut, Watched};
use crate::fsck;
use crate::identity::load_verifier;

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

/// The leaves of a log that a start accepts.
fn leaves(path: &Path) -> Result<Vec<Hash>, OpenError> {
    let opened = opening::open(&config(path), |_| Ok(()))?;
    let mut leaves = Vec::new();
    let size = opened.state.totals().size;
    if size > 0 {
        let read = opened.segments.read(0, |_, entry| {
            leaves.push(leaf_hash(entry));
            std::ops::ControlFlow::Continue(())
        });
        read.unwrap();
    }
    assert_eq!((leaves.len() as u64, root_of(&leaves)), (size, opened.level_writer.tree_head().root));
    Ok(leaves)
}

/// A log with a few entries, closed.
fn begin(path: &Path) {
    let ledger = Ledger::open(&config(path)).unwrap();
    ledger.append_blocking(request(0)).unwrap();
}

/// What one run did to its files, and what it said.
struct Recording {
    acknowledged: BTreeMap<usize, Vec<Receipt>>,
    blobs: BTreeMap<usize, Digest>,
    events: Vec<Event>,
    folder: TempDir,
}

impl Recording {
    /// Appends across a change of segments, with a blob before each, as a verifier does.
    fn make() -> Self {
        let folder = scratch();
        let (base, live) = (folder.path().join("base"), folder.path().join("live"));
        begin(&live);
        copy(&live, &base);
        let watched = Watched::new(&live);
        let ledger = Ledger::open(&config(&live)).unwrap();
        let (mut acknowledged, mut blobs) = (BTreeMap::new(), BTreeMap::new());
        for number in 1..4u64 {
            let told = usize::try_from(number).unwrap();
            let bytes = number.to_be_bytes();
            let digest = Digest(openssl::sha::sha256(&bytes));
            ledger.shared.blobs.put(&digest, &bytes).unwrap();
            blobs.insert(told, digest);
            watched.told(told);
            let answer = ledger.append_blocking(request(number)).unwrap();
            acknowledged.insert(100 + told, receipts(answer));
            watched.told(100 + told);
            ledger.shared.wait_for_checkpoint(ledger.shared.durable_size());
        }
        drop(ledger);
        let events = watched.events();
        Self { acknowledged, blobs, events, folder }
    }

    /// Plays a power cut after every operation, in several ways each, on a disk that takes no
    /// notice of the syncs that `ignored` names; returns what was wrong first.
    fn cut_everywhere(&self, ignored: impl Fn(&Event) -> bool) -> Result<usize, String> {
        let (base, live) = (self.folder.path().join("base"), self.folder.path().join("live"));
        // The model names files as the run did.
        let original = self.folder.path().join("original");
        if !original.exists() {
            fs::rename(&live, &original).unwrap();
            copy(&base, &live);
            fs::remove_dir_all(live.join("index")).unwrap();
        }
        let mut disk = PowerCut::starting_from(&live).unwrap();
        let mut cuts = 0;
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for (number, event) in self.events.iter().enumerate() {
            if !ignored(event) {
                disk.follow(event);
            }
            for way in 0..3 {
                let state = self.folder.path().join("state");
                let keep = |changes: usize| match way {
                    0 => 0,
                    1 => changes,
                    _ => {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        usize::try_from(random >> 33).unwrap() % (changes + 1)
                    }
                };
                disk.strike(&live, &state, keep).unwrap();
                let judged = self.judge(&state, number + 1);
                fs::remove_dir_all(&state).unwrap();
                judged.map_err(|wrong| format!("cut after {event:?}, way {way}: {wrong}"))?;
                cuts += 1;
            }
        }
        Ok(cuts)
    }

    /// Everything promised up to the event `until` must be there after a start.
    fn judge(&self, state: &Path, until: usize) -> Result<(), String> {
        let leaves = leaves(state).map_err(|error| format!("the start was refused: {}", chain(&error)))?;
        let key = load_verifier(state).unwrap();
        let mut written = BTreeMap::new();
        for event in self.events.iter().take(until) {
            match event {
                Event::Told(told) => {
                    for receipt in self.acknowledged.get(told).into_iter().flatten() {
                        let found = leaves.get(usize::try_from(receipt.index).unwrap());
                        if found.map(Hash::as_bytes) != Some(receipt.leaf_hash.as_bytes()) {
                            return Err(format!("entry {} was acknowledged and is not there", receipt.index));
                        }
                    }
                    if let Some(digest) = self.blobs.get(told) {
                        let folder = state.join("blobs").join(&digest.to_string()[..2]);
                        let bytes = fs::read(folder.join(digest.to_string())).unwrap_or_default();
                        if openssl::sha::sha256(&bytes) != digest.0 {
                            return Err(format!("blob {digest} was stored and is not there"));
                        }
                    }
                }
                Event::Write { path, bytes, .. } => drop(written.insert(path.clone(), bytes.clone())),
                Event::Rename(from, to) if to.ends_with("lock/checkpoint") || to.ends_with("live/checkpoint") => {
                    let note = &written[from];
                    let opened = Checkpoint::open(note, "ledger.test/log", &key, &[]).unwrap();
                    let head = *opened.tree_head();
                    let size = usize::try_from(head.tree_size).unwrap();
                    if leaves.get(..size).map(root_of) != Some(head.root) {
                        return Err(format!("the checkpoint of {size} entries was signed and is no prefix"));
                    }
                    let kept = fs::read(state.join("checkpoints").join(size.to_string())).unwrap_or_default();
                    if to.ends_with("live/checkpoint") && kept != *note {
                        return Err(format!("the checkpoint of {size} entries was shown and is not kept"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether an event is a sync of a file in a folder of this name.
fn file_in(folder: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Sync(path) if path.components().any(|part| part.as_os_str() == folder))
}

/// Whether an event is a sync of the names in a folder of this name.
fn names_in(folder: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::SyncFolder(path) if path.ends_with(folder))
}

#[test]
fn a_power_cut_after_any_operation_loses_nothing_promised_and_every_sync_is_needed() {
    let recording = Recording::make();
    let segments = |event: &&Event| matches!(event, Event::Rename(_, to) if to.to_string_lossy().ends_with(".seg"));
    assert!(recording.events.iter().filter(segments).count() > 1, "segments change in the run");
    let cuts = recording.cut_everywhere(|_| false).unwrap();
    assert!(cuts > 150, "{cuts}");
    for folder in ["segments", "lock", "checkpoints", "blobs"] {
        let noticed = recording.cut_everywhere(file_in(folder)).unwrap_err();
        eprintln!("files of {folder} not synced: {noticed}");
        let noticed = recording.cut_everywhere(names_in(folder)).unwrap_err();
        eprintln!("names in {folder} not synced: {noticed}");
    }
}

#[test]
fn a_failure_at_any_operation_of_an_append_is_told_and_nothing_acknowledged_is_lost() {
    let folder = scratch();
    let base = folder.path().join("base");
    begin(&base);
    for fault in [Fault::Once, Fault::Stop] {
        let mut struck = Vec::new();
        for number in 0.. {
            let live = folder.path().join(format!("{fault:?}-{number}"));
            copy(&base, &live);
            let watched = Watched::new(&live);
            let ledger = Ledger::open(&config(&live)).unwrap();
            watched.arm(number, fault);
            let bytes = b"evidence";
            let digest = Digest(openssl::sha::sha256(bytes));
            let stored = ledger.shared.blobs.put(&digest, bytes);
            let mut answers = Vec::new();
            for number in 1..4 {
                answers.push(ledger.append_blocking(request(number)));
            }
            ledger.close();
            let told = stored.is_err() || ledger.failure().is_some();
            drop(ledger);
            let Some(operation) = watched.struck() else {
                assert!(!told && answers.iter().all(Result::is_ok));
                break;
            };
            assert!(told, "{operation} failed and nobody was told");
            let promised_after = answers.iter().skip_while(|answer| answer.is_ok()).any(Result::is_ok);
            assert!(!promised_after, "{operation}: nothing is promised after a failure");
            drop(watched);
            let leaves = leaves(&live).unwrap_or_else(|error| panic!("{operation}: {}", chain(&error)));
            for receipt in answers.into_iter().flatten().flat_map(receipts) {
                let found = leaves[usize::try_from(receipt.index).unwrap()];
                assert_eq!(found.as_bytes(), receipt.leaf_hash.as_bytes(), "{operation}");
            }
            if stored.is_ok() {
                let folder = live.join("blobs").join(&digest.to_string()[..2]);
                assert_eq!(fs::read(folder.join(digest.to_string())).unwrap(), bytes, "{operation}");
            }
            let report = fsck(&live).unwrap();
            assert!(report.is_sound(), "{operation}: {:?}", report.findings);
            struck.push(operation);
            fs::remove_dir_all(&live).unwrap();
        }
        for kind in ["Create(", "Open(", "Write(", "Sync(", "SyncFolder(", "Rename("] {
            assert!(struck.iter().any(|operation| operation.starts_with(kind)), "{kind} of {struck:?}");
        }
    }
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
