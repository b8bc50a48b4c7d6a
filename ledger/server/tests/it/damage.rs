//! Files that were altered, shortened or removed: `fsck` finds each, and a start goes on only
//! where nothing is lost.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use ledger_protocol::Beacon;
use ledger_protocol::body::VerdictResult;
use ledger_server::{Ledger, OpenError, fsck, info, reindex};
use messages::Digest;
use messages::ledger::{GroupResult, Head};
use openssl::pkey::PKey;

use crate::entries::{action, agent, enrol, fleet, group, linked_verdict, quote, request};
use crate::rig::{Rig, copy};

/// A small log with everything in it: agents, several checkpoints, two levels, two segments.
fn log(rig: &mut Rig) {
    rig.segment_bytes_max = 60_000;
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    let node = agent("node-1");
    let answer = ledger.append_blocking(request(1, vec![group(&node, Head::default(), vec![enrol(0, binding(rig))])]));
    let GroupResult::Appended(receipts) = &answer.unwrap().results[0] else {
        panic!("enrolled");
    };
    let head = Head { seq: 1, prev: receipts[0].leaf_hash };
    let note = fs::read(rig.data().join("checkpoint")).unwrap();
    let beacon = Beacon { tree_size: 2, note_digest: Digest(openssl::sha::sha256(&note)) };
    let round = group(&node, head, vec![quote(beacon), linked_verdict(VerdictResult::Pass)]);
    let answer = ledger.append_blocking(request(2, vec![round])).unwrap();
    assert!(matches!(answer.results[..], [GroupResult::Appended(_)]), "{answer:?}");
    for key in 3..9 {
        ledger.append_blocking(request(key, vec![fleet(vec![action(&"x".repeat(100)); 90])])).unwrap();
    }
    drop(ledger);
    drop(Ledger::open(&rig.log_config()).unwrap());
    let report = fsck(&rig.data()).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    assert!(report.checkpoints > 2 && report.blobs == 1 && names(rig, "segments").len() > 1, "{report:?}");
    assert_eq!(names(rig, "levels").len(), 2);
}

/// A log as small as one can be with all kinds of files: two levels take 256 entries.
fn small_log(rig: &mut Rig) {
    rig.segment_bytes_max = 8_000;
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    let node = agent("node-1");
    let enrolled = group(&node, Head::default(), vec![enrol(0, binding(rig))]);
    ledger.append_blocking(request(1, vec![enrolled])).unwrap();
    for key in 2..5 {
        ledger.append_blocking(request(key, vec![fleet(vec![action(""); 90])])).unwrap();
    }
    drop(ledger);
    let report = fsck(&rig.data()).unwrap();
    assert!(report.findings.is_empty() && report.blobs == 1, "{report:?}");
    assert!(names(rig, "segments").len() > 1 && names(rig, "levels").len() == 2);
}

/// The binding's blob, put where the ledger keeps it.
fn binding(rig: &Rig) -> Digest {
    let digest = Digest(openssl::sha::sha256(b"binding"));
    let name = digest.to_string();
    let folder = rig.data().join("blobs").join(&name[..2]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), b"binding").unwrap();
    digest
}

fn names(rig: &Rig, folder: &str) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(rig.data().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// Every file but the index, which is made from the others, and the lock's carrier.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() && name != "index" {
            files.extend(self::files(&path));
        } else if path.is_file() && name != "pid" {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A key's last line end may be missing or another character: the key is the same.
fn is_same_key(file: &Path, whole: &[u8], altered: &[u8]) -> bool {
    let is_key = ["log.key", "log.vkey", "receipt.key"].iter().any(|name| file.ends_with(name));
    is_key && altered.starts_with(&whole[..whole.len() - 1])
}

/// The slack: bytes of a key's PEM around the key, such as the ends of its lines. A flipped one
/// is irrelevant if the key is the same.
fn is_slack(file: &Path, whole: &[u8], altered: &[u8]) -> bool {
    let key = |pem: &[u8]| PKey::private_key_from_pem(pem).and_then(|key| key.private_key_to_der());
    (file.ends_with("log.key") || file.ends_with("receipt.key"))
        && key(altered).is_ok_and(|altered| altered == key(whole).unwrap())
}

/// Flips one bit of the bytes in every file of a copy of the log, one after the other; `pick` says
/// which bytes. Each must be found by `fsck`, or be slack. Returns how many were flipped and how
/// many of these were slack.
fn flip(rig: &Rig, copy_name: &str, pick: impl Fn(usize) -> bool) -> (usize, usize) {
    let data = rig.data().with_file_name(copy_name);
    copy(&rig.data(), &data);
    // It knows nothing that is not elsewhere, and opening it takes most of the time.
    fs::remove_dir_all(data.join("index")).unwrap();
    let (mut flipped, mut slack, mut counted) = (0, 0, 0);
    for file in files(&data) {
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            counted += 1;
            if !pick(counted) {
                continue;
            }
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            // In place, as a disk does: the file keeps its mode.
            fs::write(&file, &altered).unwrap();
            if fsck(&data).unwrap().is_sound() {
                assert!(is_slack(&file, &whole, &altered), "byte {at} of {}", file.display());
                slack += 1;
            }
            flipped += 1;
        }
        fs::write(&file, &whole).unwrap();
    }
    assert!(fsck(&data).unwrap().is_sound());
    (flipped, slack)
}

/// Flips every byte whose number leaves `rest` when divided by `step`, on two threads.
fn flip_on_two_threads(step: usize, rest: usize) {
    let mut rig = Rig::new();
    small_log(&mut rig);
    let pick = |thread: usize| move |number: usize| number % step == rest && number / step % 2 == thread;
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(|| flip(&rig, "copy-0", pick(0)));
        (flip(&rig, "copy-1", pick(1)), other.join().unwrap())
    });
    let (flipped, slack) = (one.0 + two.0, one.1 + two.1);
    eprintln!("{flipped} bytes flipped, {slack} of them slack around a key");
    assert!(flipped > 20_000 / step && slack < 20, "{flipped} and {slack}");
}

#[test]
fn a_flipped_byte_in_any_file_is_found() {
    let mut random = [0];
    openssl::rand::rand_bytes(&mut random).unwrap();
    flip_on_two_threads(16, usize::from(random[0]) % 16);
}

#[test]
#[ignore = "minutes; every sixteenth byte is part of every test"]
fn every_flipped_byte_in_any_file_is_found() {
    flip_on_two_threads(1, 0);
}

/// Flips bytes of the index and has the log open as a large one, which trusts its index: it must
/// come to the very index that follows from the segments, or refuse. Every `step`th byte that is
/// not zero, from `rest` on.
fn flip_index(step: usize, rest: usize) {
    let mut rig = Rig::new();
    small_log(&mut rig);
    let mut config = rig.log_config();
    config.whole_bytes_max = 0;
    config.path = rig.data().with_file_name("scratch");
    let (mut opened, mut refused) = (0, 0);
    let mut counted = 0;
    for file in every_file(&rig.data().join("index")) {
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len()).filter(|at| whole[*at] != 0) {
            counted += 1;
            if counted % step != rest {
                continue;
            }
            let _ = fs::remove_dir_all(&config.path);
            copy(&rig.data(), &config.path);
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            fs::write(config.path.join(file.strip_prefix(rig.data()).unwrap()), &altered).unwrap();
            match Ledger::open(&config) {
                Ok(ledger) => drop(ledger),
                Err(OpenError::IndexAhead { .. } | OpenError::CheckpointMissing { .. } | OpenError::Index(_)) => {
                    refused += 1;
                    continue;
                }
                Err(error) => panic!("byte {at} of {}: {error:?}", file.display()),
            }
            let (_, grown) = info(&config.path).unwrap();
            assert_eq!(reindex(&config.path).unwrap(), grown, "byte {at} of {}", file.display());
            assert!(fsck(&config.path).unwrap().is_sound());
            opened += 1;
        }
    }
    eprintln!("index: {opened} opened and right, {refused} refused");
    assert!(opened + refused > 10);
}

fn every_file(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(every_file(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn a_flipped_byte_of_the_index_never_makes_a_wrong_answer() {
    let mut random = [0];
    openssl::rand::rand_bytes(&mut random).unwrap();
    flip_index(61, usize::from(random[0]) % 61);
}

#[test]
#[ignore = "minutes; every sixty-first byte is part of every test"]
fn flipped_bytes_of_the_index_never_make_a_wrong_answer() {
    flip_index(1, 0);
}

#[test]
fn a_missing_file_is_found_and_named() {
    let mut rig = Rig::new();
    log(&mut rig);
    for file in files(&rig.data()) {
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let report = fsck(&rig.data()).unwrap();
        fs::write(&file, &whole).unwrap();
        let relative = file.strip_prefix(rig.data()).unwrap().display().to_string();
        let stem = relative.rsplit('/').next().unwrap();
        let last_segment = file.parent() == names(&rig, "segments").last().unwrap().parent();
        let named = report.findings.iter().any(|finding| finding.file.contains(stem) || finding.text.contains(stem));
        assert!(!report.findings.is_empty() && (named || last_segment), "{relative}: {report:?}");
    }
}

#[test]
fn a_shortened_file_is_found() {
    let mut rig = Rig::new();
    log(&mut rig);
    for file in files(&rig.data()) {
        let whole = fs::read(&file).unwrap();
        for length in [whole.len() - 1, whole.len() / 2, 0] {
            if is_same_key(&file, &whole, &whole[..length]) {
                continue;
            }
            fs::write(&file, &whole[..length]).unwrap();
            let report = fsck(&rig.data()).unwrap();
            assert!(!report.is_sound(), "{} cut to {length}", file.display());
        }
        fs::write(&file, &whole).unwrap();
    }
}

/// Opens a copy of the log after `harm` was done to it, as a start does.
fn open_after(rig: &Rig, harm: impl FnOnce(&Path)) -> Result<(), OpenError> {
    let scratch = rig.data().with_file_name("scratch");
    let _ = fs::remove_dir_all(&scratch);
    copy(&rig.data(), &scratch);
    harm(&scratch);
    let mut config = rig.log_config();
    config.path = scratch;
    Ledger::open(&config).map(drop)
}

#[test]
fn a_start_mends_what_is_made_from_the_rest() {
    let mut rig = Rig::new();
    log(&mut rig);
    let mended: [&dyn Fn(&Path); 6] = [
        &|data| fs::remove_dir_all(data.join("index")).unwrap(),
        &|data| fs::remove_file(data.join("levels/0")).unwrap(),
        &|data| fs::write(data.join("levels/1"), [7; 640]).unwrap(),
        &|data| fs::write(data.join("levels/0"), [0; 96]).unwrap(),
        &|data| fs::remove_file(data.join("checkpoint")).unwrap(),
        &|data| fs::write(data.join("checkpoints/.tmp-0123"), "unfinished").unwrap(),
    ];
    for (number, harm) in mended.into_iter().enumerate() {
        open_after(&rig, harm).unwrap_or_else(|error| panic!("{number}: {error:?}"));
        let report = fsck(&rig.data().with_file_name("scratch")).unwrap();
        assert!(report.findings.is_empty(), "{number}: {report:?}");
    }
}

#[test]
fn a_start_refuses_where_something_is_lost() {
    let mut rig = Rig::new();
    log(&mut rig);
    let segments = names(&rig, "segments");
    let name = |position: usize| PathBuf::from("segments").join(segments[position].file_name().unwrap());
    let (first, last) = (name(0), name(segments.len() - 1));
    let flip = |path: PathBuf, at: usize| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };

    let error = open_after(&rig, |data| flip(data.join(&first), 100)).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged { offset: 64, .. }), "{error:?}");
    let error = open_after(&rig, |data| fs::remove_file(data.join(&first)).unwrap()).unwrap_err();
    assert!(matches!(&error, OpenError::SegmentMissing { expected: 0, .. }), "{error:?}");
    let error = open_after(&rig, |data| fs::remove_file(data.join(&last)).unwrap()).unwrap_err();
    assert!(matches!(&error, OpenError::SignedLost { .. }), "{error:?}");
    let error = open_after(&rig, |data| {
        let bytes = fs::read(data.join(&last)).unwrap();
        fs::write(data.join(&last), &bytes[..bytes.len() - 1]).unwrap();
    });
    assert!(matches!(error, Err(OpenError::SignedLost { .. })), "{error:?}");
    let error = open_after(&rig, |data| fs::remove_file(data.join("lock/checkpoint")).unwrap()).unwrap_err();
    assert!(matches!(&error, OpenError::Lock(ledger_server::LockError::Missing { .. })), "{error:?}");
    let error = open_after(&rig, |data| flip(data.join("lock/checkpoint"), 20)).unwrap_err();
    assert!(matches!(&error, OpenError::Note { .. }), "{error:?}");
    let error = open_after(&rig, |data| {
        fs::copy(data.join("checkpoints/2"), data.join("lock/checkpoint")).unwrap();
    });
    assert!(matches!(error, Err(OpenError::PublicNewer { signed: 2, .. })), "{error:?}");
    let error = open_after(&rig, |data| fs::remove_file(data.join("checkpoints/2")).unwrap()).unwrap_err();
    assert!(matches!(&error, OpenError::CheckpointMissing { .. }), "{error:?}");
    for file in ["log.key", "log.vkey"] {
        let error = open_after(&rig, |data| fs::remove_file(data.join(file)).unwrap()).unwrap_err();
        assert!(matches!(&error, OpenError::Identity(_)), "{error:?}");
    }
    let error = open_after(&rig, |data| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(data.join("log.key"), fs::Permissions::from_mode(0o640)).unwrap();
    });
    let Err(error) = error else {
        panic!("a key that others can read is refused");
    };
    let text = format!("{error:?}");
    assert!(text.contains("Exposed"), "{text}");
}

#[test]
fn an_unsigned_tail_that_the_index_knows_is_missed() {
    let rig = Rig::new();
    drop(Ledger::open(&rig.log_config()).unwrap());
    let old = rig.data().with_file_name("old");
    copy(&rig.data(), &old);
    drop(Ledger::open(&rig.log_config()).unwrap());
    // Everything but the index is put back to what it was.
    let index = rig.data().with_file_name("index-of-now");
    copy(&rig.data().join("index"), &index);
    fs::remove_dir_all(rig.data()).unwrap();
    copy(&old, &rig.data());
    fs::remove_dir_all(rig.data().join("index")).unwrap();
    copy(&index, &rig.data().join("index"));
    let error = info(&rig.data()).unwrap_err();
    assert!(matches!(error, OpenError::CheckpointMissing { .. } | OpenError::IndexAhead { .. }), "{error:?}");
    assert!(!fsck(&rig.data()).unwrap().is_sound());
    reindex(&rig.data()).unwrap();
    assert!(fsck(&rig.data()).unwrap().is_sound());
}

#[test]
fn the_binary_says_with_its_exit_code_whether_a_log_is_sound() {
    let mut rig = Rig::new();
    log(&mut rig);
    let run = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_attestry-ledger"))
            .args(arguments)
            .arg("--data")
            .arg(rig.data())
            .output()
            .unwrap()
    };
    let sound = run(&["fsck"]);
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    assert!(String::from_utf8_lossy(&sound.stdout).ends_with("sound\n"));
    let about = run(&["info", "--json"]);
    let about: serde_json::Value = serde_json::from_slice(&about.stdout).unwrap();
    let again = run(&["reindex", "--json"]);
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(about["index_digest"], again["index_digest"]);
    fs::write(rig.data().join("levels/1"), "short").unwrap();
    let damaged = run(&["fsck", "--json"]);
    assert_eq!(damaged.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert_eq!(report["findings"][0]["file"], "levels/1");
    assert_eq!(run(&["fsck", "--wrong"]).status.code(), Some(2));
    let nothing = std::process::Command::new(env!("CARGO_BIN_EXE_attestry-ledger"))
        .args(["info", "--data", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(nothing.status.code(), Some(1));
}
