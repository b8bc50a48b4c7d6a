//! The lock apart from the data: who may go on, and which copy of a log must not.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ledger_client::AppendError;
use ledger_server::{Ledger, LockError, OpenError, OwnershipError, fsck_showing};

use crate::entries::{action, fleet, request};
use crate::rig::{Rig, copy};

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.lock = Some(rig.beside("lock-elsewhere"));
    rig
}

/// Starts, appends `texts`, stops.
fn grow(rig: &Rig, key: u64, texts: &[&str]) {
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    let items = texts.iter().map(|text| action(text)).collect();
    ledger.append_blocking(request(key, vec![fleet(items)])).unwrap();
    ledger.close();
}

fn refused(rig: &Rig) -> OpenError {
    Ledger::open(&rig.log_config()).map(drop).unwrap_err()
}

fn replace_data(rig: &Rig, by: &str) {
    fs::remove_dir_all(rig.data()).unwrap();
    copy(&rig.beside(by), &rig.data());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_on_one_lock_one_wins_and_the_other_ends() {
    let rig = rig();
    tokio::task::block_in_place(|| grow(&rig, 1, &["begun"]));
    let mut other = self::rig();
    copy(&rig.data(), &other.data());
    other.lock.clone_from(&rig.lock);
    let first = rig.spawn("");
    let mut second = other.spawn("");
    assert_eq!(second.url, None, "it does not listen");
    assert!(!second.ended().expect("it ends").success());
    rig.ledger_client(first.url.as_ref().unwrap()).append(fleet(vec![action("goes on")])).await.unwrap();
    let taken = tokio::task::block_in_place(|| refused(&other));
    assert!(matches!(taken, OpenError::Lock(LockError::Ownership(OwnershipError::Taken { .. }))), "{taken:?}");
    first.kill();
    let taken = tokio::task::block_in_place(|| refused(&other));
    assert!(matches!(taken, OpenError::SignedLost { .. }), "the copy stays behind what was signed: {taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_when_its_lock_was_moved_by_another() {
    let rig = rig();
    tokio::task::block_in_place(|| grow(&rig, 1, &["begun"]));
    let lock = rig.lock.clone().unwrap().join("checkpoint");
    let stale = fs::read(&lock).unwrap();
    let mut process = rig.spawn("");
    let client = rig.ledger_client(process.url.as_ref().unwrap());
    client.append(fleet(vec![action("fine")])).await.unwrap();
    // As a machine would that shares the lock's folder and knows nothing of our flock.
    fs::write(&lock, &stale).unwrap();
    let status = loop {
        match client.append(fleet(vec![action("too late")])).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            Err(AppendError::Unavailable { .. }) => break process.ended().expect("it ends by itself"),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(!status.success());
    assert_eq!(fs::read(&lock).unwrap(), stale, "nothing was signed over the other's checkpoint");
}

#[test]
fn yesterdays_copy_of_the_data_is_refused() {
    let rig = rig();
    grow(&rig, 1, &["yesterday"]);
    copy(&rig.data(), &rig.beside("yesterday"));
    grow(&rig, 2, &["today"]);
    copy(&rig.data(), &rig.beside("today"));
    replace_data(&rig, "yesterday");
    let error = refused(&rig);
    assert!(matches!(error, OpenError::SignedLost { signed: 5, found: 3 }), "{error:?}");
    assert!(error.to_string().contains("restore the missing segments"), "{error}");
    let report = fsck_showing(&rig.log_config(), |_, _| {}).unwrap();
    assert!(!report.is_sound(), "{report:?}");
    replace_data(&rig, "today");
    assert!(fsck_showing(&rig.log_config(), |_, _| {}).unwrap().is_sound());
    grow(&rig, 3, &["goes on"]);
}

#[test]
fn another_history_of_the_same_length_is_refused() {
    let rig = rig();
    grow(&rig, 1, &["common"]);
    copy(&rig.data(), &rig.beside("fork"));
    let mut fork = rig.log_config();
    fork.path = rig.beside("fork");
    fork.lock = Some(rig.beside("lock-of-the-fork"));
    copy(rig.lock.as_ref().unwrap(), fork.lock.as_ref().unwrap());
    let ledger = Ledger::open(&fork).unwrap();
    ledger.append_blocking(request(2, vec![fleet(vec![action("theirs")])])).unwrap();
    drop(ledger);
    grow(&rig, 2, &["ours"]);
    // Without its own record of what it signed, only the root tells.
    for name in ["checkpoints/5", "checkpoints/4"] {
        let _ = fs::remove_file(fork.path.join(name));
    }
    fs::remove_file(fork.path.join("checkpoint")).unwrap();
    fs::remove_dir_all(fork.path.join("index")).unwrap();
    fork.lock.clone_from(&rig.lock);
    let error = Ledger::open(&fork).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::SignedOther { size: 5, .. }), "{error:?}");
}

#[test]
fn a_lock_that_is_an_old_copy_is_refused() {
    let rig = rig();
    grow(&rig, 1, &["yesterday"]);
    let lock = rig.lock.clone().unwrap().join("checkpoint");
    let old = fs::read(&lock).unwrap();
    grow(&rig, 2, &["today"]);
    fs::write(&lock, old).unwrap();
    let error = refused(&rig);
    assert!(matches!(error, OpenError::PublicNewer { public: 5, signed: 3, .. }), "{error:?}");
}

#[test]
fn a_lock_is_never_made_anew() {
    let rig = rig();
    grow(&rig, 1, &["begun"]);
    fs::remove_dir_all(rig.lock.as_ref().unwrap()).unwrap();
    let error = refused(&rig);
    let OpenError::Lock(missing @ LockError::Missing { .. }) = &error else { panic!("{error:?}") };
    assert!(missing.to_string().contains("--lock"), "{missing}");
    assert!(!rig.lock.as_ref().unwrap().exists());
}

#[test]
fn a_new_log_does_not_take_the_lock_of_another() {
    let rig = rig();
    grow(&rig, 1, &["begun"]);
    fs::remove_dir_all(rig.data()).unwrap();
    let error = refused(&rig);
    assert!(matches!(error, OpenError::Lock(LockError::Held { .. })), "{error:?}");
    let mut other = self::rig();
    grow(&other, 1, &["another log"]);
    other.lock.clone_from(&rig.lock);
    let error = refused(&other);
    assert!(matches!(error, OpenError::Note { .. }), "{error:?}");
}

#[test]
fn the_data_directory_is_private() {
    let rig = Rig::new();
    grow(&rig, 1, &["begun"]);
    assert_eq!(fs::metadata(rig.data()).unwrap().permissions().mode() & 0o777, 0o700);
    for mode in [0o770, 0o702] {
        fs::set_permissions(rig.data(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(refused(&rig), OpenError::Writable { mode: found, .. } if found == mode));
    }
    fs::set_permissions(rig.data(), fs::Permissions::from_mode(0o755)).unwrap();
    grow(&rig, 2, &["readable is fine"]);
}
