//! A monitor stopped at each write in turn, and taken up again.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use fixtures_histories::{ORIGIN, SyntheticLog};
use ledger_protocol::{
    Entry, Kind,
    body::{Body, CensusBody, VerdictResult},
};
use ledger_tlog::{bundle::append_entry, checkpoint::Checkpoint, frontier::Frontier, hash::leaf_hash};
use messages::UnixMillis;

use super::{Alarm, Monitor, NotWatched, Watch, files::STEPS_LEFT};
use crate::log::Log;

/// A log whose last census is false, as a folder that shows its first entries, or all.
struct Lie {
    log: SyntheticLog,
    entries: Vec<Vec<u8>>,
    folder: tempfile::TempDir,
}

impl Lie {
    fn new() -> Self {
        let (mut log, agent) = SyntheticLog::with_machine(3, 2);
        log.run(&[&agent], 70, VerdictResult::Pass);
        let mut entries = log.entries().to_vec();
        let at = entries.iter().rposition(|bytes| Entry::decode(bytes).unwrap().kind == Kind::Census).unwrap();
        let mut entry = Entry::decode(&entries[at]).unwrap();
        let mut body = CensusBody::decode(&entry.body).unwrap();
        body.root.0[0] ^= 1;
        entry.body = body.encode();
        entries[at] = entry.encode().unwrap();
        entries.truncate(at + 1);
        Self { log, entries, folder: tempfile::tempdir().unwrap() }
    }

    /// Shows so many entries, fewer than a bundle.
    fn show(&self, size: usize) -> Log {
        let folder = self.folder.path();
        let mut bundle = Vec::new();
        let mut frontier = Frontier::new();
        for entry in &self.entries[..size] {
            append_entry(&mut bundle, entry).unwrap();
            frontier.append(leaf_hash(entry), |_, _, _| {});
        }
        for name in ["tile/entries/000.p", "checkpoints", "blobs"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join(format!("tile/entries/000.p/{size}")), bundle).unwrap();
        for size in 0..=size as u64 {
            if let Some(note) = self.log.published(size).and_then(|digest| self.log.get_blob(&digest)) {
                fs::write(folder.join(format!("checkpoints/{size}")), note).unwrap();
            }
        }
        let policy = self.log.keys().policy_file();
        let name = hex::encode(openssl::sha::sha256(&policy));
        fs::write(folder.join("blobs").join(name), policy).unwrap();
        let note = Checkpoint::new(ORIGIN, frontier.tree_head()).unwrap().sign(self.log.keys().log_signer()).unwrap();
        fs::write(folder.join("checkpoint"), note.to_bytes()).unwrap();
        Log::folder(folder).unwrap()
    }

    /// Follows the log from what it shows first to all, and tells of alarms; whoever is told adds them to `told`.
    fn follow(&self, mirror: &Path, told: &mut Vec<Alarm>) -> Result<(), NotWatched> {
        let watch = Watch {
            log_key: self.log.log_key(),
            witnesses: None,
            question: None,
            age_ms: u64::MAX,
            repeat_ms: u64::MAX,
            allow_pruned: false,
        };
        let mut monitor = Monitor::open(mirror.to_owned(), watch, &mut |_, _, _| {})?;
        for size in [self.entries.len() / 2, self.entries.len()] {
            if size < usize::try_from(monitor.size()).unwrap() {
                continue;
            }
            let log = self.show(size);
            monitor.look(&log, UnixMillis(self.log.now() * 1_000), 0, &mut |_, _, _| {})?;
            while let Some(alarm) = monitor.untold() {
                told.push(alarm.clone());
                monitor.told()?;
            }
        }
        Ok(())
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_none_or(|end| end != "new") {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_monitor_stopped_at_any_write_comes_to_the_same_mirror_and_the_same_alarms() {
    let lie = Lie::new();
    let whole = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    lie.follow(whole.path(), &mut told).unwrap();
    let (expected, checks) = (files(whole.path()), told.iter().map(|alarm| alarm.check.as_str()).collect::<Vec<_>>());
    assert_eq!(checks, ["census"], "{told:?}");
    let mut stops = 0;
    loop {
        let mirror = tempfile::tempdir().unwrap();
        let mut told = Vec::new();
        STEPS_LEFT.set(Some(stops));
        let first = lie.follow(mirror.path(), &mut told);
        STEPS_LEFT.set(None);
        if first.is_ok() {
            break;
        }
        lie.follow(mirror.path(), &mut told).unwrap();
        let found = files(mirror.path());
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "stopped at {stops}");
        assert!(found == expected, "stopped at {stops}");
        assert!(told.iter().all(|alarm| alarm.number == 0) && !told.is_empty(), "stopped at {stops}: {told:?}");
        stops += 1;
    }
    assert!(stops > 60, "{stops}");
}
