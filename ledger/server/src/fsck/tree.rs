//! The tree: every stored hash, and the root of every checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::TreeHead;
use messages::Digest;

use super::{Finding, Kept, Severity};
use crate::levels::level_bytes;

/// Makes all hashes anew from the entries and compares.
pub(super) struct TreeCheck {
    /// Roots to be met, by size, and whose they are.
    expected: BTreeMap<u64, Vec<(String, Hash)>>,
    findings: Vec<Finding>,
    folder: PathBuf,
    frontier: Frontier,
    levels: Vec<LevelCheck>,
}

/// One level: what is to be compared, and whether it was wrong already.
#[derive(Default)]
struct LevelCheck {
    bytes: Vec<u8>,
    offset: u64,
    wrong: bool,
}

impl TreeCheck {
    pub(super) fn new(folder: PathBuf, kept: &BTreeMap<u64, Kept>, signed: Option<&TreeHead>) -> Self {
        let mut expected: BTreeMap<u64, Vec<(String, Hash)>> = BTreeMap::new();
        for (size, kept) in kept {
            expected.entry(*size).or_default().push((format!("checkpoints/{size}"), kept.head.root));
        }
        if let Some(signed) = signed {
            expected.entry(signed.tree_size).or_default().push((super::LOCK.to_owned(), signed.root));
        }
        Self { expected, findings: Vec::new(), folder, frontier: Frontier::new(), levels: Vec::new() }
    }

    /// Expects a root that `file` says.
    pub(super) fn expect(&mut self, file: String, size: u64, root: &Digest) {
        self.expected.entry(size).or_default().push((file, Hash::from_bytes(root.0)));
    }

    /// Takes in leaves until no more come; returns what is wrong.
    pub(super) fn run(mut self, leaves: &Receiver<Vec<Hash>>) -> Vec<Finding> {
        while let Ok(leaves) = leaves.recv() {
            for leaf in leaves {
                self.append(leaf);
            }
        }
        self.finish();
        self.findings
    }

    fn damage(&mut self, file: impl Into<String>, text: impl Into<String>) {
        self.findings.push(Finding { file: file.into(), severity: Severity::Damage, text: text.into() });
    }

    fn append(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.frontier.append(leaf, |level, index, hash| {
            let level = usize::from(level);
            if levels.len() <= level {
                levels.resize_with(level + 1, LevelCheck::default);
            }
            if let Some(level) = levels.get_mut(level) {
                if level.bytes.is_empty() {
                    level.offset = index * Hash::LEN as u64;
                }
                level.bytes.extend_from_slice(hash.as_bytes());
            }
        });
        if self.levels.first().is_some_and(|level| level.bytes.len() >= COMPARE_BYTES) {
            self.compare();
        }
        if let Some(expected) = self.expected.remove(&self.frontier.tree_size()) {
            let TreeHead { tree_size, root } = self.frontier.tree_head();
            for (file, signed) in expected.into_iter().filter(|(_, signed)| *signed != root) {
                self.damage(file, format!("has the root {signed}; the first {tree_size} entries have {root}"));
            }
        }
    }

    fn compare(&mut self) {
        for (number, level) in self.levels.iter_mut().enumerate() {
            let wrong = compare(&self.folder.join(number.to_string()), level);
            if let Some(text) = wrong
                && !level.wrong
            {
                level.wrong = true;
                let (file, text) = (format!("levels/{number}"), format!("{text}; the next start mends it"));
                self.findings.push(Finding { file, severity: Severity::Damage, text });
            }
            level.bytes.clear();
        }
    }

    fn finish(&mut self) {
        self.compare();
        let size = self.frontier.tree_size();
        for (signed, expected) in std::mem::take(&mut self.expected) {
            for (file, _) in expected {
                self.damage(file, format!("covers {signed} entries; the segments hold {size}"));
            }
        }
        for level in 0..=u8::MAX {
            let path = self.folder.join(level.to_string());
            let expected = level_bytes(level, size);
            match path.metadata().map(|metadata| metadata.len()) {
                Ok(found) if found > expected => {
                    let text = format!("has {found} bytes; expected {expected}; the next start cuts it");
                    self.damage(format!("levels/{level}"), text);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}

/// The first hash that is not as it should be.
fn compare(path: &std::path::Path, level: &LevelCheck) -> Option<String> {
    let mut found = vec![0; level.bytes.len()];
    let read = File::open(path).and_then(|file| read_most(&file, &mut found, level.offset));
    let there = match read {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Some("is missing".to_owned()),
        Err(error) => return Some(super::unreadable(&error)),
    };
    let pairs = level.bytes.chunks_exact(Hash::LEN).zip(found.chunks_exact(Hash::LEN));
    let at = pairs.take_while(|(expected, found)| expected == found).count() * Hash::LEN;
    if there < level.bytes.len() && at >= there - there % Hash::LEN {
        return Some(format!("ends at byte {}", level.offset + there as u64));
    }
    (at < level.bytes.len()).then(|| format!("byte {}: a hash is not that of the entries", level.offset + at as u64))
}

fn read_most(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut there = 0;
    while let Some(rest) = out.get_mut(there..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + there as u64) {
            Ok(0) => break,
            Ok(read) => there += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(there)
}

/// Compared at once: 32,768 hashes.
const COMPARE_BYTES: usize = 1 << 20;
