#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn folder() -> (tempfile::TempDir, SecureFolder) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = SecureFolder::open(temporary.path(), 1 << 20, true).unwrap();
    (temporary, folder)
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default().unix_permissions(0o777)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn files_and_folders_come_out_closed_to_others() {
    let (temporary, folder) = folder();
    let zip = archive(&[("a", b"1"), ("b/c/d", b"2"), ("b/e", b"3")]);
    assert!(is_archive(&zip));
    unpack(&zip, &folder, &[], 100).unwrap();
    assert_eq!(std::fs::read(temporary.path().join("b/c/d")).unwrap(), b"2");
    let mode = |name: &str| std::fs::metadata(temporary.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("b"), mode("b/c")), (0o600, 0o700, 0o700));
}

#[test]
fn names_that_leave_the_folder_are_rejected_and_nothing_is_written() {
    for bad in ["../x", "/etc/x", "a/../../x", "a\\..\\x", "key"] {
        let (temporary, folder) = folder();
        let rejected = unpack(&archive(&[("good", b"1"), (bad, b"2")]), &folder, &["key"], 100);
        assert!(matches!(rejected, Err(ArchiveRejected::Name { .. })), "{bad}: {rejected:?}");
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "{bad}");
    }
}

#[test]
fn a_symbolic_link_is_rejected() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc", SimpleFileOptions::default()).unwrap();
    let zip = writer.finish().unwrap().into_inner();
    let (_temporary, folder) = folder();
    assert!(matches!(unpack(&zip, &folder, &[], 100), Err(ArchiveRejected::Kind { .. })));
}

#[test]
fn a_bomb_is_stopped_at_the_limit_and_nothing_is_written() {
    let (temporary, folder) = folder();
    let zip = archive(&[("small", b"1"), ("zeros", &vec![0; 10_000_000])]);
    assert!(zip.len() < 100_000);
    let rejected = unpack(&zip, &folder, &[], 1_000_000);
    assert!(matches!(rejected, Err(ArchiveRejected::TooLarge { bytes_max: 1_000_000 })));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_file_where_a_folder_must_be_and_a_truncated_archive_are_rejected() {
    let (_temporary, folder) = folder();
    let zip = archive(&[("a/b", b"1"), ("a", b"2")]);
    assert!(matches!(unpack(&zip, &folder, &[], 100), Err(ArchiveRejected::Name { .. })));
    let zip = archive(&[("a", b"1")]);
    let cut = zip.get(..zip.len() - 5).unwrap();
    assert!(matches!(unpack(cut, &folder, &[], 100), Err(ArchiveRejected::Malformed(_))));
}
