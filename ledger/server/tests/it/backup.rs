//! Copies of a log at work, and logs made of them again.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger_server::{
    BackupError, Ledger, LockError, OpenError, PruneBelow, PruneRequest, RestoreError, RestoreRequest, backup,
    backup_without_keys, fsck, info, restore,
};

use crate::entries::{action, fleet, request};
use crate::rig::{Rig, copy};

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.lock = Some(rig.beside("lock-elsewhere"));
    rig.segment_bytes_max = 100_000;
    rig
}

fn grow(rig: &Rig, keys: std::ops::Range<u64>) {
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    for key in keys {
        ledger.append_blocking(request(key, vec![fleet(vec![action(&"x".repeat(200)); 50])])).unwrap();
    }
    ledger.close();
}

fn is_sound(path: &Path) -> u64 {
    let report = fsck(path).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    report.entries
}

fn ask(rig: &Rig, from: &Path, to: &Path) -> RestoreRequest {
    RestoreRequest {
        danger_new_lock: false,
        keys: None,
        from: from.to_owned(),
        lock: rig.lock.clone(),
        to: to.to_owned(),
        witnesses: None,
    }
}

/// The rig's log, in another folder.
fn open_at(rig: &Rig, path: &Path) -> Result<Ledger, OpenError> {
    let mut config = rig.log_config();
    config.path = path.to_owned();
    Ledger::open(&config)
}

fn command(rig: &Rig, to: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-ledger"));
    command.arg("backup").arg("--data").arg(rig.data()).arg("--to").arg(to);
    command.env("RUST_LOG", "off").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_copy_of_a_log_under_load_is_sound_and_takes_only_what_is_new() {
    let rig = rig();
    let to = rig.beside("copy");
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    let stop = AtomicBool::new(false);
    let sizes: Vec<u64> = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut key = 0;
            while !stop.load(Ordering::Relaxed) {
                key += 1;
                ledger.append_blocking(request(key, vec![fleet(vec![action(&"x".repeat(300)); 40])])).unwrap();
            }
        });
        let mut sizes = Vec::new();
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(150));
            let report = backup(&rig.data(), &to).unwrap();
            assert_eq!(is_sound(&to), report.tree_size);
            sizes.push(report.tree_size);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        sizes
    });
    assert!(sizes.is_sorted() && sizes.first() < sizes.last(), "{sizes:?}");
    let size = ledger.info().unwrap().durable_size;
    drop(ledger);
    backup(&rig.data(), &to).unwrap();
    grow(&rig, 1_000_000..1_000_002);
    let last = backup(&rig.data(), &to).unwrap();
    assert_eq!(last.tree_size, size + 1 + 100);
    let whole = fs::read_dir(rig.data().join("segments")).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    assert!(last.bytes < whole.sum::<u64>() / 2, "{last:?}");
    let again = backup(&rig.data(), &to).unwrap();
    assert_eq!((again.bytes, again.files), (0, 0), "nothing is new");
}

#[test]
fn a_log_made_of_a_copy_that_holds_everything_signed_goes_on() {
    let rig = rig();
    grow(&rig, 0..20);
    let copied = rig.beside("copy");
    backup(&rig.data(), &copied).unwrap();
    let before = info(&copied).err();
    assert!(matches!(before, Some(OpenError::Backup { .. })), "a copy is no log: {before:?}");
    fs::rename(rig.data(), rig.beside("lost")).unwrap();
    let report = restore(&ask(&rig, &copied, &rig.data())).unwrap();
    assert_eq!(report.tree_size, 1_002);
    grow(&rig, 100..102);
    let config = rig.log_config();
    let report = ledger_server::fsck_showing(&config, |_, _| {}).unwrap();
    assert!(report.is_sound() && report.entries == 1_002 + 1 + 100, "{report:?}");
    assert_eq!(backup(&rig.data(), &copied).unwrap().tree_size, 1_103, "the copy takes it from there");
    is_sound(&copied);
}

#[test]
fn a_restore_that_would_fork_the_log_is_refused() {
    let rig = rig();
    grow(&rig, 0..4);
    let (copied, target) = (rig.beside("copy"), rig.beside("target"));
    backup(&rig.data(), &copied).unwrap();
    let lock = rig.lock.clone().unwrap();
    copy(&lock, &rig.beside("old-lock"));
    grow(&rig, 4..6);
    let error = restore(&ask(&rig, &copied, &target)).unwrap_err();
    assert!(matches!(error, RestoreError::LockAhead { signed: 303, found: 202, .. }), "{error:?}");
    assert!(!target.exists(), "nothing was written");
    // Whoever overrules it by hand is refused at the start.
    copy(&copied, &target);
    fs::remove_file(target.join("backup.json")).unwrap();
    assert!(matches!(open_at(&rig, &target), Err(OpenError::SignedLost { signed: 303, found: 202 })));
    fs::remove_dir_all(&target).unwrap();

    backup(&rig.data(), &copied).unwrap();
    let mut old = ask(&rig, &copied, &target);
    old.lock = Some(rig.beside("old-lock"));
    assert!(matches!(restore(&old), Err(RestoreError::LockBehind { signed: 202, found: 303, .. })));
    let mut none = ask(&rig, &copied, &target);
    none.lock = Some(rig.beside("no-lock"));
    assert!(matches!(restore(&none), Err(RestoreError::Lock(LockError::Missing { .. }))));
    let running = Ledger::open(&rig.log_config()).unwrap();
    assert!(matches!(restore(&ask(&rig, &copied, &target)), Err(RestoreError::Lock(LockError::Ownership(_)))));
    drop(running);
    assert!(!target.exists());
    none.danger_new_lock = true;
    restore(&none).unwrap();
    let mut config = rig.log_config();
    (config.path, config.lock) = (target, none.lock);
    drop(Ledger::open(&config).unwrap());
}

#[test]
fn what_is_no_copy_or_was_altered_is_not_restored() {
    let rig = rig();
    grow(&rig, 0..20);
    let (copied, target) = (rig.beside("copy"), rig.beside("target"));
    let refused = |from: &Path| restore(&ask(&rig, from, &target)).unwrap_err();
    assert!(matches!(refused(&rig.data()), RestoreError::NotACopy { .. }));
    assert!(matches!(refused(&rig.beside("nothing")), RestoreError::Copy(_)));
    assert!(matches!(backup(&rig.data(), &rig.beside("tls")), Err(BackupError::NotACopy { .. })));
    let other = self::rig();
    grow(&other, 0..1);
    backup(&other.data(), &copied).unwrap();
    assert!(matches!(backup(&rig.data(), &copied), Err(BackupError::NotACopy { .. })), "another log's");
    fs::remove_dir_all(&copied).unwrap();
    backup(&rig.data(), &copied).unwrap();
    let levels = copied.join("levels/0");
    let mut bytes = fs::read(&levels).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&levels, bytes).unwrap();
    assert!(matches!(refused(&copied), RestoreError::Altered { .. }));
    fs::create_dir(&target).unwrap();
    fs::write(target.join("file"), "in the way").unwrap();
    assert!(matches!(refused(&copied), RestoreError::NotEmpty { .. }));
    // A segment that is damaged in the log does not get into a copy.
    let first = fs::read_dir(rig.data().join("segments")).unwrap().map(|file| file.unwrap().path()).min().unwrap();
    let mut bytes = fs::read(&first).unwrap();
    *bytes.get_mut(500).unwrap() ^= 1;
    fs::write(&first, bytes).unwrap();
    assert!(matches!(backup(&rig.data(), &rig.beside("second")), Err(BackupError::Damaged { .. })));
}

#[test]
fn a_copy_that_was_interrupted_still_holds_what_it_held_and_is_completed_later() {
    let rig = rig();
    let copied = rig.beside("copy");
    grow(&rig, 0..20);
    backup(&rig.data(), &copied).unwrap();
    let lock = rig.beside("lock-then");
    copy(rig.lock.as_ref().unwrap(), &lock);
    grow(&rig, 20..200);
    let mut killed = 0;
    for attempt in 0..12u64 {
        let half = rig.beside(&format!("half-{attempt}"));
        copy(&copied, &half);
        let mut child = command(&rig, &half).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(4 + 6 * attempt));
        child.kill().unwrap();
        killed += u64::from(!child.wait().unwrap().success());
        let target = rig.beside(&format!("restored-{attempt}"));
        let mut then = ask(&rig, &half, &target);
        then.lock = Some(lock.clone());
        match restore(&then) {
            Ok(report) => {
                assert_eq!(report.tree_size, 1_002);
                let mut config = rig.log_config();
                (config.path, config.lock) = (target, Some(lock.clone()));
                let report = ledger_server::fsck_showing(&config, |_, _| {}).unwrap();
                assert!(report.is_sound(), "attempt {attempt}: {:?}", report.findings);
            }
            // It was faster than the kill.
            Err(RestoreError::LockBehind { .. }) => {}
            Err(error) => panic!("attempt {attempt}: {error:?}"),
        }
        assert!(command(&rig, &half).status().unwrap().success());
        assert_eq!(is_sound(&half), 1_002 + 1 + 180 * 50);
        fs::remove_dir_all(half).unwrap();
    }
    assert!(killed > 3, "{killed} were killed before they were done");
}

#[test]
fn a_copy_follows_what_is_pruned_and_is_restored_pruned() {
    let rig = rig();
    let copied = rig.beside("copy");
    grow(&rig, 0..40);
    backup(&rig.data(), &copied).unwrap();
    let ledger = Arc::new(Ledger::open(&rig.log_config()).unwrap());
    let pruned = ledger.prune(&PruneRequest {
        actor: "a".into(),
        below: PruneBelow::Index(1_500),
        blob_grace: Duration::ZERO,
        reason: "r".into(),
    });
    let first = pruned.unwrap().first;
    drop(ledger);
    backup(&rig.data(), &copied).unwrap();
    is_sound(&copied);
    let segments = |path: PathBuf| fs::read_dir(path.join("segments")).unwrap().count();
    assert_eq!(segments(copied.clone()), segments(rig.data()), "what was pruned is not kept in copies");
    let target = rig.beside("target");
    restore(&ask(&rig, &copied, &target)).unwrap();
    let mut config = rig.log_config();
    config.path = target;
    let report = ledger_server::fsck_showing(&config, |_, _| {}).unwrap();
    assert!(report.is_sound() && report.pruned == first, "{report:?}");
    drop(Ledger::open(&config).unwrap());
    let fresh = rig.beside("fresh-copy");
    backup(&config.path, &fresh).unwrap();
    is_sound(&fresh);
}

#[test]
fn a_copy_without_keys_holds_none_and_is_made_a_log_with_those_of_the_log_alone() {
    let rig = rig();
    grow(&rig, 0..5);
    let copied = rig.beside("copy");
    backup_without_keys(&rig.data(), &copied).unwrap();
    let private = |path: &Path| {
        let names = fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".key")).collect::<Vec<_>>()
    };
    assert!(private(&copied).is_empty() && private(&rig.data()).len() == 2);
    is_sound(&copied);
    let size = info_of(&rig).durable_size;
    let keys = rig.beside("keys");
    fs::create_dir(&keys).unwrap();
    for name in private(&rig.data()) {
        fs::copy(rig.data().join(&name), keys.join(&name)).unwrap();
    }
    fs::rename(rig.data(), rig.beside("lost")).unwrap();
    let refused = restore(&ask(&rig, &copied, &rig.data()));
    assert!(matches!(refused, Err(RestoreError::KeysMissing { .. })), "{refused:?}");
    let other = Rig::new();
    grow(&other, 0..1);
    let refused = restore(&RestoreRequest { keys: Some(other.data()), ..ask(&rig, &copied, &rig.data()) });
    assert!(matches!(refused, Err(RestoreError::Keys(_))), "another log's: {refused:?}");
    assert!(!rig.data().exists());
    let asked = RestoreRequest { keys: Some(keys), ..ask(&rig, &copied, &rig.data()) };
    assert_eq!(restore(&asked).unwrap().tree_size, size);
    grow(&rig, 10..11);
    // Keys do not come into a copy made without, nor stay in one that had them.
    let with = rig.beside("with");
    backup(&rig.data(), &with).unwrap();
    assert!(matches!(backup_without_keys(&rig.data(), &with), Err(BackupError::HoldsKeys { .. })));
    let to = rig.beside("by-command");
    assert!(command(&rig, &to).arg("--without-keys").status().unwrap().success());
    assert!(private(&to).is_empty());
}

fn info_of(rig: &Rig) -> messages::ledger::Info {
    ledger_server::info_of(&rig.log_config()).unwrap().0
}
