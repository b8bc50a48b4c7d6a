//! Failures and kills at every operation, from an empty folder to the end.

use std::io::Write;
use std::process::Command;

use super::*;
use crate::disk::faults::{Fault, Watched};
use crate::fsck;

/// A log that was killed between signing and publishing, in the middle of the next batch.
fn begin_and_kill(path: &Path) {
    begin(path);
    let watched = Watched::new(path);
    for number in 0.. {
        let ledger = Ledger::open(&config(path)).unwrap();
        watched.arm(number, Fault::Stop);
        let _ = ledger.append_blocking(request(1_000 + number as u64));
        drop(ledger);
        let struck = watched.struck();
        watched.disarm();
        if struck.is_some_and(|struck| struck.contains("checkpoints")) {
            break;
        }
    }
    let last = fs::read_dir(path.join("segments")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(&[0, 7, 1, 2]);
    fs::write(last, bytes).unwrap();
}

/// Opens the log, stores a blob, appends across a change of segments and closes; gives what was
/// answered to `tell` at once. Whether everything went well.
fn live(path: &Path, mut tell: impl FnMut(&Receipt)) -> bool {
    let Ok(ledger) = Ledger::open(&config(path)) else {
        return false;
    };
    let (digest, bytes) = blob();
    let stored = ledger.shared.blobs.put(&digest, bytes);
    let mut refused = false;
    for number in 11..14 {
        let answer = ledger.append_blocking(request(number));
        assert!(!refused || answer.is_err(), "nothing is promised after a failure");
        refused |= answer.is_err();
        answer.into_iter().flat_map(receipts).for_each(|receipt| tell(&receipt));
    }
    ledger.close();
    stored.is_ok() && !refused && ledger.failure().is_none()
}

fn blob() -> (Digest, &'static [u8]) {
    let bytes = b"evidence";
    (Digest(openssl::sha::sha256(bytes)), bytes)
}

/// What was told is there after a start, and nothing is damaged.
fn judge(path: &Path, told: &[(u64, [u8; 32])], what: &str) {
    let leaves = leaves(path).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (index, leaf) in told {
        assert_eq!(leaves[usize::try_from(*index).unwrap()].as_bytes(), leaf, "{what}");
    }
    let report = fsck(path).unwrap();
    assert!(report.is_sound(), "{what}: {:?}", report.findings);
}

/// How a life begins, and what makes that beginning.
type Beginning = (&'static str, fn(&Path));

fn beginnings() -> [Beginning; 2] {
    [("new", |path| drop(fs::remove_dir_all(path))), ("killed", begin_and_kill)]
}

#[test]
fn a_failure_at_any_operation_from_start_to_end_is_told_and_nothing_acknowledged_is_lost() {
    let folder = scratch();
    for (beginning, begin) in beginnings() {
        let base = folder.path().join(beginning);
        begin(&base);
        for fault in [Fault::Once, Fault::Full, Fault::Stop] {
            let mut struck = Vec::new();
            let mut spared = 0;
            for number in 0.. {
                let path = folder.path().join(format!("{beginning}-{fault:?}-{number}"));
                if base.exists() {
                    copy(&base, &path);
                }
                let watched = Watched::new(&path);
                watched.arm(number, fault);
                let mut told = Vec::new();
                let well = live(&path, |receipt| told.push((receipt.index, receipt.leaf_hash.0)));
                let Some(operation) = watched.struck() else {
                    assert!(well && told.len() == 6);
                    break;
                };
                if well {
                    // Zeros ahead of batches are not missed where there is no room for them.
                    let spares = fault == Fault::Full && operation.starts_with("Write(") && operation.contains(".seg");
                    assert!(spares && told.len() == 6, "{operation} failed and nobody was told");
                    spared += 1;
                }
                drop(watched);
                judge(&path, &told, &format!("{beginning}, {fault:?} at {number}, {operation}"));
                struck.push(operation);
                fs::remove_dir_all(&path).unwrap();
            }
            assert_eq!(spared > 0, fault == Fault::Full, "{spared}");
            let mut kinds = vec!["Create(", "CreateFolder(", "Open(", "Write(", "Sync(", "SyncFolder(", "Rename("];
            kinds.push(if beginning == "new" { "WriteSecret(" } else { "Cut(" });
            for kind in kinds {
                assert!(struck.iter().any(|operation| operation.starts_with(kind)), "{kind} of {struck:?}");
            }
            eprintln!("{beginning}, {fault:?}: {} operations", struck.len());
        }
    }
}

#[test]
fn a_process_killed_at_every_seventh_operation_loses_nothing_it_acknowledged() {
    kill_at_operations(7);
}

#[test]
#[ignore = "a minute; the same at every seventh operation is part of every test"]
fn a_process_killed_at_any_operation_loses_nothing_it_acknowledged() {
    kill_at_operations(1);
}

fn kill_at_operations(step: usize) {
    let folder = scratch();
    let mut random = [0];
    openssl::rand::rand_bytes(&mut random).unwrap();
    for (beginning, begin) in beginnings() {
        let base = folder.path().join(beginning);
        begin(&base);
        let mut killed = 0;
        for number in (usize::from(random[0]) % step..).step_by(step) {
            let path = folder.path().join(format!("{beginning}-{number}"));
            if base.exists() {
                copy(&base, &path);
            }
            let mut process = Command::new(std::env::current_exe().unwrap());
            process.args([
                "engine::tests::failures::the_process_that_is_killed",
                "--exact",
                "--ignored",
                "--nocapture",
            ]);
            let ended = process.env(KILL_AT, number.to_string()).env(KILL_LOG, &path).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stdout);
            let told: Vec<_> = said.lines().filter_map(|line| parse(line.strip_prefix(TOLD)?)).collect();
            if !ended.status.success() {
                let what = String::from_utf8_lossy(&ended.stderr).into_owned();
                assert!(what.contains("killed at"), "{what}");
                judge(&path, &told, &format!("{beginning}, kill {number}, {what}"));
                killed += 1;
                fs::remove_dir_all(&path).unwrap();
                continue;
            }
            assert_eq!(told.len(), 6, "{said}");
            break;
        }
        assert!(killed > 60 / step, "{beginning}: {killed}");
        eprintln!("{beginning}: killed at {killed} operations");
    }
}

fn parse(line: &str) -> Option<(u64, [u8; 32])> {
    let (index, leaf) = line.split_once(' ')?;
    Some((index.parse().ok()?, leaf.parse::<Digest>().ok()?.0))
}

#[test]
#[ignore = "run by the tests above, in a process of its own"]
fn the_process_that_is_killed() {
    let (Ok(number), Ok(path)) = (std::env::var(KILL_AT), std::env::var(KILL_LOG)) else {
        return;
    };
    let path = Path::new(&path);
    let watched = Watched::new(path);
    watched.arm(number.parse().unwrap(), Fault::Abort);
    let well = live(path, |receipt| {
        let mut out = std::io::stdout();
        writeln!(out, "\n{TOLD}{} {}", receipt.index, receipt.leaf_hash).unwrap();
    });
    assert!(well);
}

const KILL_AT: &str = "LEDGER_TEST_KILL_AT";
const KILL_LOG: &str = "LEDGER_TEST_KILL_LOG";
const TOLD: &str = "told ";
