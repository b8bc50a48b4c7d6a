//! A log whose older entries were pruned, read from the first that is left.
//!
//! What is known of the others: their leaf hashes, which are those that were signed; small entries that were kept, each
//! of them a leaf; and by the log's word alone where every chain stood, and what the machines' histories had come to.
//! Leaves and kept entries say how far that word can be checked; censuses on record behind it must come out of it.

use std::collections::HashMap;

use ledger_protocol::{
    Entry, EntryRef, Kind, Standing,
    body::{Body, Enrol, OperatorAction, PolicyBody},
};
use ledger_tlog::{
    frontier::Frontier,
    hash::Hash,
    key::NoteVerifier,
    tree::{TreeHead, tree_head},
};
use messages::{AgentId, Digest};
use serde::Serialize;

use super::{Findings, NotReplayed, Reader, Runs};
use crate::{
    cause,
    hashes::HashFiles,
    log::{Boundary, Log},
};

/// What is told of the part of a log that was pruned.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PrunedPart {
    /// The first entry that was read.
    pub first: u64,
    /// The entry that says that those before were pruned.
    pub policy_index: u64,
    /// Small entries among the pruned ones that are here, each of them a leaf of the signed tree.
    pub kept: u64,
    /// Entries that the histories had taken which are the log's word; none were there if null.
    pub histories_of: Option<u64>,
    /// The first census on record that came out of them, by its entry.
    pub census: Option<u64>,
}

/// A reader that stands behind the pruned entries.
pub(crate) struct TakenUp {
    pub(crate) reader: Reader,
    pub(crate) part: PrunedPart,
}

/// Checks what a log of `size` entries says of those that were pruned, and goes on behind them. `whole` is the same log, or
/// that of which `log` is about to become a copy.
///
/// Checks: 1. the leaf hashes give the root that the log names; 2. each kept entry is a leaf; 3. every chain ended in a
/// leaf; 4. slots, standing and bindings are those of the kept entries; 5. an entry of the log says that it was pruned.
pub(crate) fn take_up(
    (log, whole): (&Log, &Log),
    key: &NoteVerifier,
    boundary: &Boundary,
    size: u64,
    runs: &mut Runs,
    findings: &mut Findings,
) -> Result<TakenUp, NotReplayed> {
    let first = boundary.first;
    let (mut hashes, mut frontier) = (HashFiles::default(), Frontier::new());
    let mut taken = Ok(());
    log.leaves(first, size, |leaf| {
        if taken.is_ok() {
            taken = hashes.append(&mut frontier, leaf);
        }
    })?;
    taken?;
    if frontier.tree_head().root != boundary.root {
        let text = format!(
            "the leaf hashes of the first {first} entries give the root {}; the log says {}",
            frontier.tree_head().root,
            boundary.root
        );
        findings.refute("pruned", None, text);
    }
    let kept = log.kept(boundary)?;
    check_kept(&kept, boundary, &hashes, findings)?;
    check_ends(boundary, &hashes, findings)?;
    check_said(whole, boundary, size, findings)?;
    for (index, bytes) in &kept {
        runs.context(*index, bytes);
    }
    let outlived = log.outlived_histories()?;
    let history = match outlived {
        None => {
            let text =
                "the log kept no histories when it was pruned; histories and censuses are not computed".to_owned();
            findings.doubt("histories", None, text);
            None
        }
        Some(outlived) if outlived.history.size() < first || outlived.history.size() > size => {
            let text = format!(
                "the histories that outlived the pruned entries are of {} entries; expected {first} to {size}",
                outlived.history.size()
            );
            findings.refute("pruned", None, text);
            None
        }
        Some(outlived) => Some(outlived),
    };
    let part = PrunedPart {
        first,
        policy_index: boundary.policy_index,
        kept: kept.len() as u64,
        histories_of: history.as_ref().map(|outlived| outlived.history.size()),
        census: None,
    };
    Ok(TakenUp { reader: Reader::behind(key.clone(), boundary, (hashes, frontier), history), part })
}

fn check_kept(
    kept: &[(u64, Vec<u8>)],
    boundary: &Boundary,
    hashes: &HashFiles,
    findings: &mut Findings,
) -> Result<(), NotReplayed> {
    if kept.first().is_none_or(|(index, _)| *index != 0) {
        findings.refute("pruned", 0, "the log's first entry was not kept".to_owned());
    }
    /// Slot, standing, binding.
    type Known = (u64, Standing, Option<Digest>);
    let mut known: HashMap<AgentId, Known> = HashMap::new();
    for (index, bytes) in kept {
        let leaf = Hash::from_bytes(Entry::leaf_hash(bytes).0);
        if leaf_at(hashes, *index)? != leaf {
            findings.refute("pruned", *index, "a kept entry is not the one that was signed".to_owned());
            continue;
        }
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                findings.refute("entries", *index, cause::chain(&error));
                continue;
            }
        };
        let Some(agent) = entry.agent else { continue };
        match entry.kind {
            Kind::Enrol => {
                let slot = Enrol::decode(&entry.body).map_or(u64::MAX, |body| body.slot);
                known.insert(agent, (slot, Standing::Enrolled, None));
            }
            Kind::Policy => {
                if let (Some(known), Ok(PolicyBody::Agent(policy))) =
                    (known.get_mut(&agent), PolicyBody::decode(&entry.body))
                {
                    known.2 = Some(policy.binding);
                }
            }
            Kind::Retire => {
                if let Some(known) = known.get_mut(&agent) {
                    known.1 = Standing::Retired;
                }
            }
            _ => {}
        }
    }
    for (agent, chain) in &boundary.agents {
        let said = (chain.slot, chain.standing, chain.binding);
        match known.remove(agent) {
            Some(found) if found == said => {}
            found => {
                let text = format!("of {agent} the log says {said:?}; its kept entries say {found:?}");
                findings.refute("pruned", None, text);
            }
        }
    }
    for agent in known.keys() {
        findings.refute(
            "pruned",
            None,
            format!("{agent} was enrolled, and the log does not say where its chain stood"),
        );
    }
    Ok(())
}

/// Every chain ends in a leaf of the signed tree.
fn check_ends(boundary: &Boundary, hashes: &HashFiles, findings: &mut Findings) -> Result<(), NotReplayed> {
    let fleet = boundary.totals.fleet_index.map(|index| ("the fleet", index, boundary.totals.fleet.prev));
    let agents = boundary.agents.iter().map(|(agent, chain)| (agent.as_str(), chain.last_index, chain.head.prev));
    for (whose, index, leaf) in fleet.into_iter().chain(agents) {
        if index >= boundary.first || leaf_at(hashes, index)? != Hash::from_bytes(leaf.0) {
            let text = format!("the chain of {whose} did not end in entry {index} as the log says");
            findings.refute("pruned", None, text);
        }
    }
    Ok(())
}

/// The entry that is to say so does.
fn check_said(log: &Log, boundary: &Boundary, size: u64, findings: &mut Findings) -> Result<(), NotReplayed> {
    let (index, minimum) = (boundary.policy_index, boundary.minimum_index);
    if index >= size {
        let text = format!("entry {index}, which is to say that entries were pruned, is under no checkpoint yet");
        findings.doubt("pruned", index, text);
        return Ok(());
    }
    let entry = Entry::decode(&log.entry(index, size)?).ok();
    if entry.as_ref().and_then(|entry| pruned_by(&entry.into())) != Some(minimum) {
        let text = format!("it does not say that bundles below {minimum} were pruned, as the log claims");
        findings.refute("pruned", index, text);
    }
    Ok(())
}

/// Below which index an entry says that bundles are not served any more.
pub(super) fn pruned_by(entry: &EntryRef<'_>) -> Option<u64> {
    let fleets = entry.agent.is_none() && entry.kind == Kind::OperatorAction;
    let action = fleets.then(|| OperatorAction::decode(entry.body).ok()).flatten()?;
    (action.action == "prune").then(|| action.target?.parse().ok()).flatten()
}

fn leaf_at(hashes: &HashFiles, index: u64) -> Result<Hash, NotReplayed> {
    let mut leaf = [ledger_tlog::hash::EMPTY_ROOT];
    hashes.read(0, index, &mut leaf)?;
    let [leaf] = leaf;
    Ok(leaf)
}

/// Whether the tree that was read has the root that histories name for as many entries.
pub(super) fn is_tree(hashes: &HashFiles, size: u64, root: Hash) -> bool {
    let read = |level, start, out: &mut [Hash]| hashes.read(level, start, out);
    tree_head(size, read).is_ok_and(|head| head == TreeHead { tree_size: size, root })
}
