//! Every quote of a full proof judged again, from its entry and the blobs it names.

use std::collections::BTreeMap;

use ledger_history::interval::IntervalProof;
use ledger_protocol::{EntryRef, Kind};

use super::Evidence;
use crate::{
    cause,
    history::ProvenEntry,
    report::Check,
    verify::{judge as judge_run, read_entry},
};

/// Judges the entries of a proof that was verified; they are called by their numbers in the agent's chain.
pub(super) fn judge(proof: &IntervalProof, quotes: u64, evidence: Evidence<'_>) -> Result<Vec<Check>, String> {
    if proof.entries.is_empty() && quotes > 0 {
        return Err("the proof has no entries to judge; make it with --full".to_owned());
    }
    let mut entries: BTreeMap<u64, ProvenEntry> = BTreeMap::new();
    for bytes in proof.terms.entries.iter().chain(&proof.entries) {
        // Verified: each decodes. What governs the agent but does not concern its evidence is left to the statement.
        let entry = EntryRef::decode_head(bytes).map_err(|error| cause::chain(&error))?;
        if entry.kind != Kind::Maintenance {
            let read = read_entry(entry.seq, bytes)
                .map_err(|error| format!("entry {}: {}", entry.seq, cause::chain(&error)))?;
            entries.insert(entry.seq, read);
        }
    }
    let last = proof.entries.last().and_then(|bytes| EntryRef::decode_head(bytes).ok());
    let end = last.map_or(0, |entry| entry.seq);
    entries.retain(|seq, _| *seq <= end);
    let question = evidence.question;
    Ok(judge_run(entries.into_values().collect(), &proof.agent, evidence.blob, question))
}
