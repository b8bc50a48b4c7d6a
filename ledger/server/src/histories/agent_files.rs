//! Leaves, nodes and terms of each agent, in append-only files of fixed records.
//!
//! `agents/<slot / 1000>/<slot % 1000>.leaves`, `.1`, `.2`, … for nodes of 256, 65,536, … leaves, and
//! `.terms`: the indices of the entries that govern the agent. Written in bulk.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ledger_history::history::{History, NewLeaf, NewNode, Sink};
use ledger_history::node::{LEAF_BYTES, Leaf, NODE_BYTES, Node};

use super::error::{HistoriesError, io};

/// The files of all agents, for the one who writes them.
#[derive(Debug)]
pub(super) struct AgentFiles {
    /// Bytes of what waits.
    bytes: usize,
    made: HashSet<u32>,
    path: PathBuf,
    waiting: BTreeMap<u32, Waiting>,
}

/// What is not written yet of one agent.
#[derive(Debug, Default)]
struct Waiting {
    leaves: Vec<u8>,
    /// Number of the first of `leaves`.
    leaves_from: u64,
    nodes: Vec<NewNode>,
    terms: Vec<u8>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.nodes.is_empty() && self.terms.is_empty()
    }

    fn clear(&mut self) {
        self.leaves.clear();
        self.nodes.clear();
        self.terms.clear();
    }
}

impl AgentFiles {
    pub(super) fn new(histories: &Path) -> Self {
        let path = histories.join(AGENTS_FOLDER);
        Self { bytes: 0, made: HashSet::new(), path, waiting: BTreeMap::new() }
    }

    /// The entry `index` governs the agent from here on.
    pub(super) fn term(&mut self, slot: u32, index: u64) {
        self.waiting.entry(slot).or_default().terms.extend_from_slice(&index.to_be_bytes());
        self.bytes += TERM_BYTES;
    }

    /// Whether enough waits to be written.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > WAITING_BYTES_MAX.min(self.waiting.len() * AGENT_BYTES_FULL)
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> Result<(), HistoriesError> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.write(&waiting)?;
        self.bytes = 0;
        // A busy agent fills the same room again.
        if waiting.len() <= ROOMS_KEPT_MAX {
            waiting.values_mut().for_each(Waiting::clear);
            self.waiting = waiting;
        }
        Ok(())
    }

    fn write(&mut self, waiting: &BTreeMap<u32, Waiting>) -> Result<(), HistoriesError> {
        for (slot, waiting) in waiting.iter().filter(|(_, waiting)| !waiting.is_empty()) {
            let slot = *slot;
            let group = slot / FOLDER_SLOTS;
            if !self.made.contains(&group) {
                let folder = self.path.join(group_name(group));
                fs::create_dir_all(&folder).map_err(io("create", &folder))?;
                self.made.insert(group);
            }
            if !waiting.leaves.is_empty() {
                let offset = waiting.leaves_from * LEAF_BYTES as u64;
                write_at(&path(&self.path, slot, LEAVES), &waiting.leaves, offset)?;
            }
            for NewNode { level, number, node, .. } in &waiting.nodes {
                let offset = number * NODE_BYTES as u64;
                write_at(&path(&self.path, slot, &level.to_string()), &node.to_bytes(), offset)?;
            }
            if !waiting.terms.is_empty() {
                let path = path(&self.path, slot, TERMS);
                let opened = OpenOptions::new().append(true).create(true).open(&path);
                opened.and_then(|mut file| file.write_all(&waiting.terms)).map_err(io("write", &path))?;
            }
        }
        Ok(())
    }

    /// Cuts off what is newer than `history`; nothing that it needs may be missing.
    pub(super) fn trim(&self, history: &History) -> Result<(), HistoriesError> {
        let mut there = HashSet::new();
        for (slot, end, path) in self.list()? {
            let found = fs::metadata(&path).map_err(io("look at", &path))?.len();
            let expected = extent(history, slot, &end, &path)?;
            match found {
                _ if expected == 0 => fs::remove_file(&path).map_err(io("remove", &path))?,
                _ if found < expected => return Err(HistoriesError::Short { path, expected, found }),
                _ if found > expected => {
                    let opened = OpenOptions::new().write(true).open(&path);
                    opened.and_then(|file| file.set_len(expected)).map_err(io("cut", &path))?;
                }
                _ => {}
            }
            there.insert((slot, end));
        }
        for slot in (0..).take_while(|slot| history.agent(*slot).is_some()) {
            let levels = (1..).map(|level| (level.to_string(), nodes(history.leaves(slot), level)));
            let levels = levels.take_while(|(_, count)| *count > 0);
            let leaves = (LEAVES.to_owned(), history.leaves(slot));
            // Its enrolment, at least.
            let terms = (TERMS.to_owned(), TERM_BYTES as u64);
            for (end, count) in [leaves, terms].into_iter().chain(levels).filter(|(_, count)| *count > 0) {
                let path = path(&self.path, slot, &end);
                if !there.contains(&(slot, end)) {
                    return Err(HistoriesError::Short { path, expected: count, found: 0 });
                }
            }
        }
        Ok(())
    }

    /// Every file that `history` rests on, relative to the folder of the histories, and as many of its bytes.
    pub(super) fn extents(&self, history: &History) -> Result<Vec<(PathBuf, u64)>, HistoriesError> {
        let mut extents = Vec::new();
        for (slot, end, path) in self.list()? {
            let bytes = extent(history, slot, &end, &path)?;
            if bytes > 0 {
                extents.push((self::path(Path::new(AGENTS_FOLDER), slot, &end), bytes));
            }
        }
        Ok(extents)
    }

    /// Every file: slot, end of the name, path.
    fn list(&self) -> Result<Vec<(u32, String, PathBuf)>, HistoriesError> {
        let mut files = Vec::new();
        for group in names(&self.path)? {
            let folder = self.path.join(&group);
            for name in names(&folder)? {
                let path = folder.join(&name);
                let slot = name.split_once('.').and_then(|(slot, end)| {
                    let slot = group.parse::<u32>().ok()?.checked_mul(FOLDER_SLOTS)?.checked_add(slot.parse().ok()?)?;
                    Some((slot, end.to_owned()))
                });
                if let Some((slot, end)) = slot {
                    files.push((slot, end, path));
                }
            }
        }
        Ok(files)
    }
}

impl Sink for AgentFiles {
    fn leaf(&mut self, new: NewLeaf) {
        let waiting = self.waiting.entry(new.slot).or_default();
        if waiting.leaves.is_empty() {
            waiting.leaves_from = new.number;
        }
        waiting.leaves.extend_from_slice(&new.leaf.to_bytes());
        self.bytes += LEAF_BYTES;
    }

    fn node(&mut self, new: NewNode) {
        self.waiting.entry(new.slot).or_default().nodes.push(new);
        self.bytes += size_of::<NewNode>();
    }
}

/// Bytes of a file that `history` rests on; what is behind them is newer.
fn extent(history: &History, slot: u32, end: &str, path: &Path) -> Result<u64, HistoriesError> {
    Ok(match end {
        TERMS => {
            let terms = read_terms_at(path)?;
            terms.iter().filter(|index| **index < history.size()).count() as u64 * TERM_BYTES as u64
        }
        LEAVES => history.leaves(slot) * LEAF_BYTES as u64,
        level => level.parse().map_or(0, |level: u32| nodes(history.leaves(slot), level) * NODE_BYTES as u64),
    })
}

/// Leaves of an agent's tree.
pub(super) fn read_leaves(histories: &Path, slot: u32, start: u64, count: u64) -> Result<Vec<Leaf>, HistoriesError> {
    read_records(histories, slot, LEAVES, start, count, Leaf::from_bytes)
}

/// Nodes of a level of an agent's tree.
pub(super) fn read_nodes(
    histories: &Path,
    slot: u32,
    level: u8,
    start: u64,
    count: u64,
) -> Result<Vec<Node>, HistoriesError> {
    read_records(histories, slot, &level.to_string(), start, count, Node::from_bytes)
}

/// Indices of the entries that govern an agent, ascending; some may be newer than any census.
pub(super) fn read_terms(histories: &Path, slot: u32) -> Result<Vec<u64>, HistoriesError> {
    read_terms_at(&path(&histories.join(AGENTS_FOLDER), slot, TERMS))
}

/// At most [`TERMS_MAX`] of them are read: the file's length is looked at before its bytes are taken into memory.
fn read_terms_at(path: &Path) -> Result<Vec<u64>, HistoriesError> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let found = file.metadata().map_err(io("look at", path))?.len();
    let limit = TERMS_MAX * TERM_BYTES as u64;
    if found > limit {
        return Err(HistoriesError::Long { path: path.to_owned(), limit, found });
    }
    let mut bytes = Vec::new();
    (&mut file).take(limit).read_to_end(&mut bytes).map_err(io("read", path))?;
    Ok(bytes.as_chunks().0.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect())
}

fn read_records<const N: usize, T>(
    histories: &Path,
    slot: u32,
    end: &str,
    start: u64,
    count: u64,
    decode: impl Fn(&[u8; N]) -> T,
) -> Result<Vec<T>, HistoriesError> {
    let path = path(&histories.join(AGENTS_FOLDER), slot, end);
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(N)];
    let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, start * N as u64));
    read.map_err(io("read", &path))?;
    Ok(bytes.as_chunks().0.iter().map(decode).collect())
}

fn write_at(path: &Path, bytes: &[u8], offset: u64) -> Result<(), HistoriesError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.and_then(|file| file.write_all_at(bytes, offset)).map_err(io("write", path))
}

/// Complete subtrees of `256^level` leaves.
fn nodes(leaves: u64, level: u32) -> u64 {
    level.checked_mul(8).and_then(|height| leaves.checked_shr(height)).unwrap_or(0)
}

fn group_name(group: u32) -> String {
    format!("{group:07}")
}

fn path(agents: &Path, slot: u32, end: &str) -> PathBuf {
    agents.join(group_name(slot / FOLDER_SLOTS)).join(format!("{:03}.{end}", slot % FOLDER_SLOTS))
}

/// Names in a folder; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, HistoriesError> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(io("list", folder))?,
    };
    let names = listed.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(io("list", folder))
}

const AGENTS_FOLDER: &str = "agents";
const LEAVES: &str = "leaves";
const TERMS: &str = "terms";
const TERM_BYTES: usize = 8;
/// Entries that govern one agent: a policy or maintenance every ten minutes for 19 years. Eight MB are read for a proof.
const TERMS_MAX: u64 = 1 << 20;

/// Leaves, nodes and terms that wait to be written: those of 160,000 quotes.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// So much for each agent with anything that waits is worth the ten microseconds that its file costs: a few for each quote.
const AGENT_BYTES_FULL: usize = 64 << 10;

/// Agents whose room is used again, of a megabyte each at most where few agents are busy: 64 MB, twice what waits.
const ROOMS_KEPT_MAX: usize = 512;

/// Slots of one folder: a few thousand files each.
const FOLDER_SLOTS: u32 = 1_000;

#[cfg(test)]
mod tests;
