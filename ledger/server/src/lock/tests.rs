#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_lock_moves_on_only_from_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let lock = FileLock::create(&path).unwrap();
    assert_eq!(lock.load().unwrap(), b"");
    lock.swap(b"", b"one").unwrap();
    lock.swap(b"one", b"two").unwrap();
    assert!(matches!(lock.swap(b"one", b"three"), Err(LockError::Taken { .. })));
    assert_eq!(lock.load().unwrap(), b"two", "what was refused changes nothing");
}

#[test]
fn one_process_at_a_time_has_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let lock = FileLock::create(folder.path()).unwrap();
    assert!(matches!(FileLock::open(folder.path()), Err(LockError::Ownership(_))));
    assert_eq!(FileLock::look(folder.path()).unwrap().load().unwrap(), b"", "it can be looked at");
    drop(lock);
    FileLock::open(folder.path()).unwrap();
}

#[test]
fn a_lock_is_made_with_its_log_and_never_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    assert!(matches!(FileLock::open(&path), Err(LockError::Missing { .. })));
    let lock = FileLock::create(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    drop(lock);
    let lock = FileLock::create(&path).unwrap();
    lock.swap(b"", b"one").unwrap();
    drop(lock);
    assert!(matches!(FileLock::create(&path), Err(LockError::Held { .. })));
}
