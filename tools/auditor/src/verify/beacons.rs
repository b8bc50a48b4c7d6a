//! Check "beacons": the checkpoints that the nonces rest on.

use std::collections::{BTreeMap, BTreeSet};

use ledger_protocol::Beacon;
use ledger_tlog::{
    checkpoint::{AuthenticCheckpoint, Checkpoint},
    hash::Hash,
    proof::verify_consistency,
};
use messages::Digest;

use super::{Question, witnesses};
use crate::{
    bundle::{Bundle, beacon_path, consistency_path, parse_consistency},
    cause,
    history::{History, place},
    report::{Check, CheckName},
};

const AGAIN: &str = "get the bundle again from whoever exported it";
const FALSE_LOG: &str = "keep the bundle: it is signed proof against the log's operator";

/// For each quote's beacon: 1. its note is there and has the digest named; 2. it is signed by the log's key and of the
/// size named; 3. the bundle's tree extends it, so it is of this history; 4. it precedes its quote; 5. it is no older
/// than the beacon of the quote before; 6. enough witnesses cosigned it, if the auditor names any. And no checkpoint is
/// there that no quote names.
pub(super) fn check(
    bundle: &Bundle,
    history: &History,
    checkpoint: &AuthenticCheckpoint,
    checkpoint_bytes: &[u8],
    question: &Question<'_>,
) -> Check {
    let mut check = Check::new(CheckName::Beacons);
    let mut notes: BTreeMap<u64, Digest> = BTreeMap::new();
    for size in &bundle.manifest().checkpoints {
        match open(bundle, *size, checkpoint, checkpoint_bytes, question) {
            Ok((digest, missed)) => {
                notes.insert(*size, digest);
                if let Some(missed) = missed {
                    check.doubt(beacon_path(*size), missed, witnesses::REMEDY);
                }
            }
            Err((place, problem, remedy)) => check.refute(place, problem, remedy),
        }
    }
    let mut newest = 0;
    for (_, entry, quote) in history.quotes() {
        check.examine();
        let Beacon { tree_size, note_digest } = quote.beacon;
        match notes.get(&tree_size) {
            // One that is there and bad has its problem already.
            None if bundle.manifest().checkpoints.binary_search(&tree_size).is_ok() => {}
            None => check.refute(place(entry), format!("its beacon, checkpoint {tree_size}, is missing"), AGAIN),
            Some(digest) if *digest != note_digest => {
                let problem =
                    format!("its beacon has digest {note_digest}; checkpoint {tree_size} of this log is {digest}");
                check.refute(place(entry), problem, FALSE_LOG);
            }
            Some(_) => {}
        }
        if tree_size > entry.index {
            let problem = format!("its beacon has {tree_size} entries; a beacon precedes its quote");
            check.refute(place(entry), problem, FALSE_LOG);
        }
        if tree_size < newest {
            let problem = format!("its beacon has {tree_size} entries, the one before had {newest}");
            check.refute(place(entry), problem, FALSE_LOG);
        }
        newest = newest.max(tree_size);
    }
    let used: BTreeSet<u64> = history.quotes().map(|(_, _, quote)| quote.beacon.tree_size).collect();
    for size in bundle.manifest().checkpoints.iter().filter(|size| !used.contains(size)) {
        check.refute(beacon_path(*size), "no quote of the bundle names this checkpoint", AGAIN);
    }
    check
}

fn open(
    bundle: &Bundle,
    size: u64,
    checkpoint: &AuthenticCheckpoint,
    checkpoint_bytes: &[u8],
    question: &Question<'_>,
) -> Result<(Digest, Option<String>), (String, String, &'static str)> {
    let (name, proof_name) = (beacon_path(size), consistency_path(size));
    let note = bundle.read(&name).map_err(|problem| (name.clone(), problem.to_string(), AGAIN))?;
    let proof = bundle.read(&proof_name).map_err(|problem| (proof_name.clone(), problem.to_string(), AGAIN))?;
    let origin = question.log_key.name().as_str();
    let beacon = Checkpoint::open(&note, origin, question.log_key, &witnesses::keys(question))
        .map_err(|error| (name.clone(), cause::chain(&error), FALSE_LOG))?;
    if beacon.tree_head().tree_size != size {
        let problem = format!("the checkpoint has {} entries; expected {size}", beacon.tree_head().tree_size);
        return Err((name, problem, AGAIN));
    }
    let proof = parse_consistency(&proof, size, checkpoint_bytes).ok_or_else(|| {
        let problem = "not a consistency proof to the bundle's checkpoint".to_owned();
        (proof_name.clone(), problem, AGAIN)
    })?;
    verify_consistency(beacon.tree_head(), checkpoint.tree_head(), &proof)
        .map_err(|error| (proof_name, cause::chain(&error), FALSE_LOG))?;
    Ok((Digest(*Hash::digest(&note).as_bytes()), witnesses::missed(&beacon, question)))
}
