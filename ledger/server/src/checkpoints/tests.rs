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

/// Prints how long a log with a million checkpoints takes to start. The checkpoints are only names:
/// a start reads none but the latest.
#[test]
#[ignore = "writes a million files; run it when the start or the folders change"]
fn a_log_with_a_million_checkpoints_starts() {
    const CHECKPOINTS: u64 = 1_000_000;
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join("log");
    let config = crate::LogConfig::new(&path);
    let append = |key: u128| {
        let body = messages::cbor::encode(&("test", "a", None::<&str>, ""));
        let item = messages::ledger::Item { kind: 11, body: serde_bytes::ByteBuf::from(body), after: None };
        let group = messages::ledger::Group { agent: None, expected: None, items: vec![item; 4_096] };
        let idempotency_key = messages::ledger::IdempotencyKey(key.to_be_bytes());
        messages::ledger::AppendRequest { version: 1, idempotency_key, groups: vec![group] }
    };
    let ledger = crate::Ledger::open(&config).unwrap();
    for key in 0..=u128::from(CHECKPOINTS / 4_096) {
        ledger.append_blocking(append(key)).unwrap();
    }
    drop(ledger);
    let signed = crate::info(&path).unwrap().0.checkpoint_size;
    let checkpoints = path.join("checkpoints");
    let index = crate::store::Index::open(&path.join("index")).unwrap();
    let mut shard = checkpoints.clone();
    for size in 1..=signed {
        if size % SHARD_FILES as u64 == 0 {
            shard = checkpoints.join(shard_name(size));
            std::fs::create_dir(&shard).unwrap();
        }
        // Those that the log itself has signed lie in the first folder.
        let (file, real) = (shard.join(size.to_string()), checkpoints.join(size.to_string()));
        if !real.exists() {
            std::fs::write(file, "note").unwrap();
        } else if real != file {
            std::fs::rename(real, file).unwrap();
        }
        index.add_checkpoint(size, &messages::Digest([7; 32])).unwrap();
    }
    index.flush().unwrap();
    drop(index);
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        let opened = crate::info(&path).unwrap();
        eprintln!("opened {} entries and as many checkpoints in {:?}", opened.0.durable_size, begun.elapsed());
    }
}
