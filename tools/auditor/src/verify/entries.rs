//! Checks "inclusion" and "entries": bytes that are in the log, and what they say.

use ledger_protocol::Entry;
use ledger_tlog::{checkpoint::AuthenticCheckpoint, hash::Hash, proof::verify_inclusion, tlog_proof::TlogProof};
use messages::Digest;

use crate::{
    bundle::{Bundle, ListedEntry, entry_path, proof_path},
    cause,
    history::{Decoded, ProvenEntry},
    report::{Check, CheckName},
};

const AGAIN: &str = "get the bundle again from whoever exported it; if it stays so, the log's operator must explain";

/// An entry's bytes that are a leaf of the log.
pub(super) struct Included {
    bytes: Vec<u8>,
    leaf: Hash,
}

impl Included {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// For each listed entry: 1. its proof is a tlog-proof, in the one form there is; 2. for this index; 3. under the
/// bundle's own checkpoint; 4. and leads from the entry's bytes to the checkpoint's root.
pub(super) fn check_inclusion(
    bundle: &Bundle,
    checkpoint: &AuthenticCheckpoint,
    checkpoint_bytes: &[u8],
) -> (Check, Vec<Included>) {
    let mut check = Check::new(CheckName::Inclusion);
    let mut included = Vec::with_capacity(bundle.manifest().entries.len());
    for ListedEntry { index, .. } in &bundle.manifest().entries {
        check.examine();
        let (entry, proof) = (entry_path(*index), proof_path(*index));
        match include(bundle, &entry, &proof, *index, checkpoint, checkpoint_bytes) {
            Ok(entry) => included.push(entry),
            Err((place, problem)) => check.refute(place, problem, AGAIN),
        }
    }
    (check, included)
}

/// The four points for one entry and its proof, by the names of their files.
pub(super) fn include(
    bundle: &Bundle,
    entry_name: &str,
    proof_name: &str,
    index: u64,
    checkpoint: &AuthenticCheckpoint,
    checkpoint_bytes: &[u8],
) -> Result<Included, (String, String)> {
    let (entry_name, proof_name) = (entry_name.to_owned(), proof_name.to_owned());
    let bytes = bundle.read(&entry_name).map_err(|problem| (entry_name.clone(), problem.to_string()))?;
    let proof_bytes = bundle.read(&proof_name).map_err(|problem| (proof_name.clone(), problem.to_string()))?;
    let proof = TlogProof::parse(&proof_bytes).map_err(|error| (proof_name.clone(), cause::chain(&error)))?;
    // One form only, so that nothing can hide in a proof.
    if proof.extra.is_some() || proof.to_string().as_bytes() != proof_bytes {
        return Err((proof_name, "the proof is not written as export writes it".to_owned()));
    }
    if proof.index != index {
        return Err((proof_name, format!("the proof is for index {}; expected {index}", proof.index)));
    }
    // Another checkpoint would have to be checked by itself, and could be of another history.
    if !proof_bytes.ends_with(checkpoint_bytes) || proof.note.to_bytes() != checkpoint_bytes {
        return Err((proof_name, "the proof rests on another checkpoint than the bundle's".to_owned()));
    }
    let leaf = ledger_tlog::hash::leaf_hash(&bytes);
    match verify_inclusion(&leaf, index, checkpoint.tree_head(), &proof.inclusion) {
        Ok(()) => Ok(Included { bytes, leaf }),
        Err(error) => Err((entry_name, format!("the entry is not in the log: {}", cause::chain(&error)))),
    }
}

/// For each entry: 1. it is an entry; 2. of the bundle's agent; 3. as the index lists it; 4. with a body of its kind.
pub(super) fn check_form(bundle: &Bundle, included: Vec<Included>) -> (Check, Vec<ProvenEntry>) {
    let mut check = Check::new(CheckName::Entries);
    let mut proven = Vec::with_capacity(included.len());
    for (listed, Included { bytes, leaf }) in bundle.manifest().entries.iter().zip(included) {
        check.examine();
        match prove(bundle, listed, &bytes, leaf) {
            Ok(entry) => proven.push(entry),
            Err(problem) => check.refute(entry_path(listed.index), problem, AGAIN),
        }
    }
    (check, proven)
}

fn prove(bundle: &Bundle, listed: &ListedEntry, bytes: &[u8], leaf: Hash) -> Result<ProvenEntry, String> {
    let entry = Entry::decode(bytes).map_err(|error| cause::chain(&error))?;
    let agent = &bundle.manifest().agent;
    if entry.agent.as_ref() != Some(agent) {
        let found = entry.agent.as_ref().map_or("the fleet", |agent| agent.as_str());
        return Err(format!("the entry is of {found}; the bundle is about agent {agent}"));
    }
    if (entry.seq, entry.kind.name()) != (listed.seq, listed.kind.as_str()) {
        let found = format!("the entry is {} {}", entry.kind.name(), entry.seq);
        return Err(format!("{found}; the manifest lists {} {}", listed.kind, listed.seq));
    }
    let body = Decoded::of(&entry).map_err(|error| error.to_string())?;
    let Entry { seq, prev, recorded, .. } = entry;
    Ok(ProvenEntry { index: listed.index, leaf: Digest(*leaf.as_bytes()), seq, prev, recorded, body })
}
