//! The log as static files.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ledger_protocol::body::{NamedPolicy, PolicyBody};
use ledger_server::{ExportError, ExportedBlobs, Ledger, export};
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::tile::TilePath;
use messages::Digest;
use messages::ledger::Head;

use crate::entries::{action, agent, enrol, fleet, group, item, request};
use crate::rig::{Caller, Rig, body, copy};

fn grow(rig: &Rig, key: u64, entries: usize) {
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    ledger.append_blocking(request(key, vec![fleet(vec![action("x"); entries])])).unwrap();
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_export_of_a_running_log_is_what_the_log_serves() {
    let mut rig = Rig::new();
    rig.segment_bytes_max = 40_000;
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    for _ in 0..10 {
        client.append(fleet(vec![action("a longer entry than usual"); 70])).await.unwrap();
    }
    let out = rig.data().with_file_name("out");
    let report = export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    let found = files(&out);
    let note = &found[Path::new("checkpoint")];
    let head = *Checkpoint::open(note, "ledger.test/log", &rig.key(), &[]).unwrap().tree_head();
    assert_eq!((report.tree_size, report.root), (head.tree_size, head.root.to_string()));
    assert_eq!((report.kept, report.written), (0, TilePath::all(head.tree_size).count() as u64));
    let http = rig.http(Caller::Auditor);
    for path in TilePath::all(head.tree_size) {
        assert_eq!(found[Path::new(&path.to_string())], body(&http, &served.url, &format!("/{path}")).await, "{path}");
    }
    let tiles = found.keys().filter(|path| path.starts_with("tile")).count();
    assert_eq!(tiles, TilePath::all(head.tree_size).count());
    served.stop().await;
}

#[test]
fn notes_and_stamps_are_exported_and_the_blobs_that_are_asked_for() {
    let rig = Rig::new();
    grow(&rig, 1, 30);
    let put = |bytes: &[u8]| {
        let digest = Digest(openssl::sha::sha256(bytes));
        let name = digest.to_string();
        let folder = rig.data().join("blobs").join(&name[..2]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
        digest
    };
    let (role, name, actor) = ("tpm".to_owned(), "x".to_owned(), "a".to_owned());
    let policy = PolicyBody::Named(NamedPolicy { role, name, content: Some(put(b"a policy")), actor });
    let machine = agent("node-1");
    let enrolled = group(&machine, Head::default(), vec![enrol(0, put(b"a binding"))]);
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    ledger.append_blocking(request(2, vec![fleet(vec![item(&policy)]), enrolled])).unwrap();
    drop(ledger);
    // As stamping leaves it; an answer that is still being written is none.
    let stamps = rig.data().join("timestamps/5");
    fs::create_dir_all(&stamps).unwrap();
    for name in ["tsa.tsq", "tsa.chain.pem", "tsa.tsr", "tsa.logged", ".tmp-tsa.tsr"] {
        fs::write(stamps.join(name), name).unwrap();
    }
    fs::create_dir_all(rig.data().join("timestamps/99999999")).unwrap();
    fs::write(rig.data().join("timestamps/99999999/tsa.tsr"), "later").unwrap();
    let out = rig.data().with_file_name("out");
    let report = export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    let found = files(&out);
    let notes = files(&rig.data().join("checkpoints"));
    assert_eq!((usize::try_from(report.notes), report.stamps), (Ok(notes.len()), 1));
    assert!(notes.iter().all(|(path, bytes)| found[&Path::new("checkpoints").join(path)] == *bytes));
    let stamps: Vec<_> = found.keys().filter(|path| path.starts_with("timestamps")).collect();
    assert_eq!(stamps.len(), 3, "{stamps:?}");
    assert_eq!(found.keys().filter(|path| path.starts_with("blobs")).count(), 1, "the fleet's policy");
    // Half a note that a crash has left is written again.
    let note = out.join("checkpoints").join(notes.keys().next().unwrap());
    fs::write(&note, "half").unwrap();
    assert_eq!(export(&rig.data(), &out, ExportedBlobs::All).unwrap().blobs, 2);
    assert_eq!(files(&out).len(), found.len() + 1, "the binding came along");
    assert_eq!(files(&out)[note.strip_prefix(&out).unwrap()], *notes.values().next().unwrap());
}

#[test]
fn exporting_again_writes_only_what_is_new() {
    let rig = Rig::new();
    let out = rig.data().with_file_name("out");
    grow(&rig, 1, 300);
    let first = export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    assert_eq!(first.kept, 0);
    let before = files(&out);
    let again = export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    assert_eq!((again.kept, again.written), (first.written, 0));
    assert_eq!(files(&out), before);
    grow(&rig, 2, 300);
    let grown = export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    assert_eq!(grown.tree_size, 603);
    // The first bundle and the first tile of 256.
    assert_eq!(grown.kept, 2);
    let after = files(&out);
    // What readers of the older checkpoint need is still there.
    assert!(before.iter().all(|(path, bytes)| path == Path::new("checkpoint") || after.get(path) == Some(bytes)));
}

#[test]
fn nothing_is_exported_over_another_log_a_newer_export_or_an_altered_file() {
    let (rig, mut other) = (Rig::new(), Rig::new());
    let out = rig.data().with_file_name("out");
    grow(&rig, 1, 300);
    let old = rig.data().with_file_name("old");
    copy(&rig.data(), &old);
    grow(&rig, 2, 10);
    export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    assert!(matches!(export(&old, &out, ExportedBlobs::Histories), Err(ExportError::Newer { .. })));

    other.interval = std::time::Duration::from_millis(50);
    grow(&other, 1, 400);
    assert!(matches!(export(&other.data(), &out, ExportedBlobs::Histories), Err(ExportError::Note { .. })));

    let tile = out.join("tile/0/000");
    let whole = fs::read(&tile).unwrap();
    let mut altered = whole.clone();
    altered[77] ^= 1;
    fs::write(&tile, &altered).unwrap();
    assert!(
        matches!(export(&rig.data(), &out, ExportedBlobs::Histories), Err(ExportError::Differs { path }) if path == tile)
    );
    // What no checkpoint covers may be half a file that a crash has left.
    fs::remove_file(out.join("checkpoint")).unwrap();
    export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    assert_eq!(fs::read(&tile).unwrap(), whole);
}

#[test]
fn a_log_whose_entries_are_not_those_signed_is_not_exported() {
    let rig = Rig::new();
    let out = rig.data().with_file_name("out");
    assert!(export(&rig.data(), &out, ExportedBlobs::Histories).is_err());
    grow(&rig, 1, 20);
    let segment = fs::read_dir(rig.data().join("segments")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&segment).unwrap();
    let mut altered = whole.clone();
    let middle = whole.len() / 2;
    altered[middle] ^= 1;
    fs::write(&segment, &altered).unwrap();
    assert!(matches!(export(&rig.data(), &out, ExportedBlobs::Histories), Err(ExportError::Damaged { .. })));
    fs::write(&segment, &whole[..middle]).unwrap();
    assert!(export(&rig.data(), &out, ExportedBlobs::Histories).is_err());
    assert!(!out.join("checkpoint").exists());
    fs::write(&segment, &whole).unwrap();
    export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
}
