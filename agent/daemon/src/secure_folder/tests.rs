#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn a_folder_in_memory_is_taken_and_one_on_a_disk_is_not() {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    SecureFolder::open(memory.path(), 1 << 20, false).unwrap_or_else(|error| panic!("{error:?}"));

    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().join("secure");
    match SecureFolder::open(&path, 1 << 20, false) {
        Err(SecureFolderError::OnDisk { .. }) => {}
        // The process may mount, or the temporary folder is in memory: then what is open is in memory.
        Ok(folder) => {
            assert!(folder.is_in_memory().unwrap());
            drop(folder);
            let _ = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::empty());
        }
        Err(other) => panic!("{other:?}"),
    }
    SecureFolder::open(&path, 1 << 20, true).unwrap();
}

#[test]
fn a_folder_open_to_others_is_closed() {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(memory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    SecureFolder::open(memory.path(), 1, false).unwrap();
    assert_eq!(std::fs::metadata(memory.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn symbolic_links_are_replaced_and_not_followed() {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("kept"), b"kept").unwrap();
    symlink(elsewhere.path(), memory.path().join("unzipped")).unwrap();
    let folder = SecureFolder::open(memory.path(), 1, false).unwrap();
    let inner = folder.recreate("unzipped").unwrap();
    symlink(elsewhere.path().join("kept"), inner.path().join("file")).unwrap();
    symlink(elsewhere.path().join("kept"), inner.path().join(TEMPORARY)).unwrap();
    assert!(inner.write("file", b"new").is_err());
    assert!(inner.read("file", 10).is_err());
    let inner = folder.recreate("unzipped").unwrap();
    symlink(elsewhere.path().join("kept"), inner.path().join("file")).unwrap();
    inner.write("file", b"new").unwrap();
    assert_eq!(std::fs::read(elsewhere.path().join("kept")).unwrap(), b"kept");
    assert_eq!(std::fs::read(memory.path().join("unzipped/file")).unwrap(), b"new");
}
