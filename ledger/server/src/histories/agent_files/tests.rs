#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

/// The file of terms of the agent in slot 0, `bytes` long without taking room.
fn long(folder: &Path, bytes: u64) -> PathBuf {
    let path = path(&folder.join(AGENTS_FOLDER), 0, TERMS);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

#[test]
fn terms_beyond_their_limit_are_refused_before_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let limit = TERMS_MAX * 8;
    long(folder.path(), limit);
    assert_eq!(read_terms(folder.path(), 0).unwrap().len() as u64, TERMS_MAX);
    for bytes in [limit + 1, 1 << 40] {
        let path = long(folder.path(), bytes);
        let refused = read_terms(folder.path(), 0).unwrap_err();
        assert!(matches!(&refused, HistoriesError::Long { found, .. } if *found == bytes), "{refused}");
        assert!(matches!(extent(&History::new(), 0, TERMS, &path), Err(HistoriesError::Long { .. })));
    }
}

#[test]
fn what_is_cut_inside_a_term_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    long(folder.path(), 8 * 3 + 5);
    assert_eq!(read_terms(folder.path(), 0).unwrap(), [0, 0, 0]);
}
