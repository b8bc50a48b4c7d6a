//! Where a log begins whose older entries were pruned, and what is left of those: `docs/spec/segment.md` §Pruned logs,
//! `docs/spec/receipts.md` §Static export.
//!
//! All of it is the ledger's word. Leaf hashes say of the entries whether they are the log's; of the state they say
//! where chains ended.

use std::path::{Path, PathBuf};

use ledger_history::history::{History, SnapshotError};
use ledger_protocol::{AgentChain, LogTotals};
use ledger_tlog::hash::Hash;
use messages::{
    AgentId, Digest,
    cbor::{self, CborError},
    ledger::{ENTRY_BYTES_MAX, PAGE_BYTES_MAX},
};
use openssl::sha::sha256;
use serde_bytes::ByteBuf;

use super::{Log, LogUnreadable, Place, read};
use crate::ledger::Ledger;

/// The state of a log before its first entry that still has its body.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// That entry's index.
    pub first: u64,
    /// Bundles of entries below it are not served.
    pub minimum_index: u64,
    /// The entry that says that the others were pruned.
    pub policy_index: u64,
    pub(crate) root: Hash,
    pub(crate) totals: LogTotals,
    pub(crate) agents: Vec<(AgentId, AgentChain)>,
}

/// The machines' histories as they outlived the entries.
#[derive(Debug)]
pub(crate) struct OutlivedHistories {
    /// Root of the log's tree of as many entries as they have taken.
    pub(crate) root: Hash,
    pub(crate) history: History,
}

/// Why what a log says of its pruned entries is not usable.
#[derive(Debug, thiserror::Error)]
pub enum PrunedUnreadable {
    /// It is not what the specification says.
    #[error("it is malformed")]
    Form(#[source] CborError),
    /// The histories are none.
    #[error("the histories in it are not usable")]
    Histories(#[source] SnapshotError),
    /// Its parts contradict each other.
    #[error("it contradicts itself: {what}")]
    Contradiction {
        /// What is wrong.
        what: &'static str,
    },
}

impl Boundary {
    /// ```cddl
    /// boundary = [ version: 1, first: uint, root: digest, minimum_index: uint, policy_index: uint, totals,
    ///              [* [agent: tstr, chain]] ]
    /// ```
    fn parse(bytes: &[u8]) -> Result<Self, PrunedUnreadable> {
        type Wire = (u64, u64, Digest, u64, u64, LogTotals, Vec<(AgentId, AgentChain)>);
        let wire: Wire = cbor::decode(bytes).map_err(PrunedUnreadable::Form)?;
        let (version, first, root, minimum_index, policy_index, totals, agents) = wire;
        let contradiction = |what| PrunedUnreadable::Contradiction { what };
        if version != 1 {
            return Err(contradiction("its version is not 1"));
        }
        if totals.size != first || minimum_index < first || first == 0 {
            return Err(contradiction("the state is not of as many entries as were pruned"));
        }
        let root = Hash::from_bytes(root.0);
        Ok(Self { first, minimum_index, policy_index, root, totals, agents })
    }
}

/// The boundary out of a data directory's state file, whose other parts concern the ledger alone.
fn of_state(bytes: &[u8]) -> Result<Vec<u8>, PrunedUnreadable> {
    let (state, _) = checked(bytes)?;
    let items = cbor::array_items::<11>(state).map_err(PrunedUnreadable::Form)?;
    let [version, first, root, minimum, policy, _, totals, agents, ..] = items;
    let mut boundary = Vec::new();
    cbor::push_head(&mut boundary, ARRAY, 7);
    for item in [version, first, root, minimum, policy, totals, agents] {
        boundary.extend_from_slice(state.get(item).unwrap_or_default());
    }
    Ok(boundary)
}

impl OutlivedHistories {
    /// `saved ‖ SHA-256 of it`; saved holds the root and the histories among what concerns the ledger alone.
    fn parse(bytes: &[u8]) -> Result<Self, PrunedUnreadable> {
        let (saved, _) = checked(bytes)?;
        let [_, root, _, _, _, _, history] = cbor::array_items::<7>(saved).map_err(PrunedUnreadable::Form)?;
        let root: Digest = cbor::decode(saved.get(root).unwrap_or_default()).map_err(PrunedUnreadable::Form)?;
        let history: ByteBuf = cbor::decode(saved.get(history).unwrap_or_default()).map_err(PrunedUnreadable::Form)?;
        let history = History::restore(&history).map_err(PrunedUnreadable::Histories)?;
        Ok(Self { root: Hash::from_bytes(root.0), history })
    }
}

impl Log {
    /// Where the log begins, `None` if nothing was pruned.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub fn boundary(&self) -> Result<Option<Boundary>, LogUnreadable> {
        let Some((path, bytes)) = self.boundary_bytes()? else { return Ok(None) };
        Boundary::parse(&bytes).map(Some).map_err(|source| LogUnreadable::Boundary { path, source })
    }

    /// The bytes of the boundary and of the histories as an exported folder has them, for a mirror.
    pub(crate) fn boundary_files(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), LogUnreadable> {
        let missing = || LogUnreadable::Missing { what: "pruned/boundary".to_owned() };
        let (_, boundary) = self.boundary_bytes()?.ok_or_else(missing)?;
        Ok((boundary, self.histories_bytes()?.map(|(_, bytes)| bytes)))
    }

    /// The histories that outlived the entries, `None` if the log kept none when it was pruned.
    pub(crate) fn outlived_histories(&self) -> Result<Option<OutlivedHistories>, LogUnreadable> {
        let Some((path, bytes)) = self.histories_bytes()? else { return Ok(None) };
        OutlivedHistories::parse(&bytes).map(Some).map_err(|source| LogUnreadable::Boundary { path, source })
    }

    fn boundary_bytes(&self) -> Result<Option<(String, Vec<u8>)>, LogUnreadable> {
        let Place::Data(folder, _) = &self.0 else { return self.pruned_bytes("boundary") };
        let Some((path, state)) = data_bytes(folder, ".state")? else { return Ok(None) };
        match of_state(&state) {
            Ok(boundary) => Ok(Some((path, boundary))),
            Err(source) => Err(LogUnreadable::Boundary { path, source }),
        }
    }

    fn histories_bytes(&self) -> Result<Option<(String, Vec<u8>)>, LogUnreadable> {
        match &self.0 {
            Place::Data(folder, _) => data_bytes(folder, ".histories"),
            Place::Ledger(_) | Place::Tiles(_) => self.pruned_bytes("histories"),
        }
    }

    /// Small entries that were kept among the pruned ones, by their index.
    pub(crate) fn kept(&self, boundary: &Boundary) -> Result<Vec<(u64, Vec<u8>)>, LogUnreadable> {
        let below = |entries: Vec<(u64, Vec<u8>)>| entries.into_iter().filter(|(index, _)| *index < boundary.first);
        match &self.0 {
            Place::Data(folder, _) => {
                let Some(path) = data_file(folder, ".kept") else { return Ok(Vec::new()) };
                Ok(below(kept_in(&path)?).collect())
            }
            Place::Tiles(folder) => Ok(below(kept_in(&folder.join(KEPT))?).collect()),
            Place::Ledger(ledger) => kept_of(ledger).map(|entries| below(entries).collect()),
        }
    }

    /// Entries from one index to before another that no bundle has, but that are there one by one.
    pub(super) fn bodiless(&self, from: u64, to: u64) -> Result<Option<Vec<Vec<u8>>>, LogUnreadable> {
        let mut found = Vec::new();
        match &self.0 {
            Place::Data(..) => return Ok(None),
            Place::Tiles(folder) => {
                let path = folder.join(KEPT);
                if !path.exists() {
                    return Ok(None);
                }
                for (index, entry) in kept_in(&path)? {
                    if index == from + found.len() as u64 && index < to {
                        found.push(entry);
                    }
                }
            }
            Place::Ledger(ledger) => {
                for index in from..to {
                    match ledger.api(&format!("/ledger/v1/entries/{index}"), ENTRY_BYTES_MAX)? {
                        Some(entry) => found.push(entry),
                        None => return Ok(None),
                    }
                }
            }
        }
        Ok((found.len() as u64 == to.saturating_sub(from)).then_some(found))
    }

    fn pruned_bytes(&self, name: &str) -> Result<Option<(String, Vec<u8>)>, LogUnreadable> {
        let path = format!("pruned/{name}");
        let bytes = match &self.0 {
            Place::Ledger(ledger) => ledger.api(&format!("/ledger/v1/{path}"), BOUNDARY_BYTES_MAX)?,
            Place::Data(folder, _) | Place::Tiles(folder) => read(&folder.join(&path))?,
        };
        Ok(bytes.map(|bytes| (path, bytes)))
    }
}

/// The newest file in a data directory's `pruned/` that ends so, with its path.
fn data_bytes(folder: &Path, end: &str) -> Result<Option<(String, Vec<u8>)>, LogUnreadable> {
    let Some(path) = data_file(folder, end) else { return Ok(None) };
    Ok(read(&path)?.map(|bytes| (path.display().to_string(), bytes)))
}

fn data_file(folder: &Path, end: &str) -> Option<PathBuf> {
    let folder = folder.join("pruned");
    let names = std::fs::read_dir(&folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.ends_with(end) && !name.starts_with('.')).max();
    newest.map(|name| folder.join(name))
}

/// The part before a SHA-256 of it.
fn checked(bytes: &[u8]) -> Result<(&[u8], &[u8; 32]), PrunedUnreadable> {
    let split = bytes.split_last_chunk::<32>().filter(|(content, checksum)| sha256(content) == **checksum);
    split.ok_or(PrunedUnreadable::Contradiction { what: "its checksum is not that of its content" })
}

/// `file = (u64 index ‖ u16 length ‖ entry)*`.
fn kept_in(path: &Path) -> Result<Vec<(u64, Vec<u8>)>, LogUnreadable> {
    let Some(bytes) = read(path)? else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    let mut rest = bytes.as_slice();
    let what = "a file of kept entries ends within one";
    let torn = || LogUnreadable::Boundary {
        path: path.display().to_string(),
        source: PrunedUnreadable::Contradiction { what },
    };
    while !rest.is_empty() {
        let (index, after) = rest.split_first_chunk().ok_or_else(torn)?;
        let (length, after) = after.split_first_chunk().ok_or_else(torn)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or_else(torn)?;
        entries.push((u64::from_be_bytes(*index), entry.to_vec()));
        rest = after;
    }
    Ok(entries)
}

/// A file of kept entries.
pub(crate) fn kept_file(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, entry) in entries {
        bytes.extend_from_slice(&index.to_be_bytes());
        // Fits: an entry has at most 65,535 bytes.
        bytes.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    bytes
}

fn kept_of(ledger: &Ledger) -> Result<Vec<(u64, Vec<u8>)>, LogUnreadable> {
    let mut entries: Vec<(u64, Vec<u8>)> = Vec::new();
    loop {
        let from = entries.last().map_or(0, |(index, _)| index + 1);
        let path = format!("/ledger/v1/kept?from={from}");
        let page = ledger.api(&path, PAGE_MAX)?.unwrap_or_default();
        let page: Vec<(u64, ByteBuf)> = cbor::decode(&page)
            .map_err(|source| LogUnreadable::Boundary { path, source: PrunedUnreadable::Form(source) })?;
        // A page that does not go on would be asked for again for ever.
        if page.first().is_none_or(|(index, _)| *index < from) {
            return Ok(entries);
        }
        entries.extend(page.into_iter().map(|(index, entry)| (index, entry.into_vec())));
    }
}

/// CBOR's major type of arrays.
const ARRAY: u8 = 4;
/// Where an exported folder and a mirror have the entries that no bundle has.
const KEPT: &str = "pruned/kept";
/// Bytes of the state or the histories at most: 2,100 of each of 100,000 machines.
const BOUNDARY_BYTES_MAX: usize = 256 << 20;
/// Bytes of a page of kept entries at most, the last one and the frame of each included.
const PAGE_MAX: usize = PAGE_BYTES_MAX + ENTRY_BYTES_MAX + 16 * 4_096;
