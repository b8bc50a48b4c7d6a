#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn checkpoints_beyond_a_folder_go_into_further_ones_and_all_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Checkpoints::open(Folder::open(folder.path()).unwrap()).unwrap();
    // Made by hand: keeping one syncs.
    for size in 1..=SHARD_FILES {
        std::fs::write(folder.path().join((2 * size).to_string()), "note").unwrap();
    }
    let last = 2 * SHARD_FILES as u64;
    let checkpoints = open();
    checkpoints.keep(last, b"note").unwrap();
    assert!(checkpoints.keep(last, b"other").is_err(), "what was signed does not change");
    checkpoints.keep(last + 5, b"next").unwrap();
    checkpoints.keep(last + 9, b"after").unwrap();
    assert!(folder.path().join(format!("{:020}/{}", last + 5, last + 9)).exists());
    for checkpoints in [checkpoints, open()] {
        assert_eq!(checkpoints.read(2).unwrap().unwrap(), b"note");
        assert_eq!(checkpoints.read(last + 5).unwrap().unwrap(), b"next");
        assert_eq!(checkpoints.read(last + 6).unwrap(), None);
        assert_eq!(checkpoints.newest().unwrap(), Some(last + 9));
        assert_eq!(checkpoints.sizes_around(last + 7).unwrap(), (last + 5, vec![last + 5, last + 9]));
        assert_eq!(checkpoints.sizes_around(4).unwrap().1.len(), SHARD_FILES + 2);
        assert_eq!(checkpoints.sizes().unwrap().0.len(), SHARD_FILES + 2);
    }
}

#[test]
fn names_that_are_no_sizes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["7", "07", "x", "00000000000000000009"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let checkpoints = Checkpoints::open(Folder::open(folder.path()).unwrap()).unwrap();
    assert_eq!(checkpoints.sizes().unwrap(), (vec![7], vec!["07".to_owned(), "x".to_owned()]));
}
