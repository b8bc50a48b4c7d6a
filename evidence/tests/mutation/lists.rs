//! Measurement lists: judged by a policy that lacks a file, and against a register of another machine.

use std::sync::Arc;

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    ima::{Evidence, ListSummary, MeasurementList, MeasurementState, Policies, Replay, SummaryError, appraise},
    pcr::{PcrBank, PcrIndex},
    runtime_policy::{PolicyBuilder, PolicyLayer, PolicyStack, Table},
};

use crate::{HEAD_BYTES, Outcome};

/// What a list is held against.
pub(crate) struct Machine {
    all: PolicyStack,
    lacking_one: PolicyStack,
    own: Digest,
    other: Digest,
}

impl Machine {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let files = files(bytes);
        let last = files.last().map(|(path, _)| path.clone()).unwrap_or_default();
        let without: Vec<(Vec<u8>, Vec<u8>)> = files.iter().filter(|(path, _)| *path != last).cloned().collect();
        let zero = Digest::zero(HashAlgorithm::Sha256);
        let replay = (10, Replay::Recomputed(HashAlgorithm::Sha256));
        let own = ListSummary::of(bytes).ok().and_then(|summary| summary.registers.get(&replay).copied());
        let other = Digest::new(HashAlgorithm::Sha256, &[0x5a; 32]).unwrap();
        Self { all: stack(&files), lacking_one: stack(&without), own: own.unwrap_or(zero), other }
    }

    pub(crate) fn passes_with_all(&self, bytes: &[u8]) -> bool {
        judge(bytes, &self.all, self.own) == Outcome::Passes
    }

    pub(crate) fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        if lacking { judge(bytes, &self.lacking_one, self.own) } else { judge(bytes, &self.all, self.other) }
    }
}

fn judge(bytes: &[u8], policy: &PolicyStack, quoted: Digest) -> Outcome {
    let state = MeasurementState::new(PcrIndex::try_from(10).unwrap(), PcrBank(quoted.algorithm()));
    let evidence = Evidence { list: bytes, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
    let appraisal = appraise(&evidence, &Policies { current: policy, earlier: &[] }, &state).unwrap();
    if appraisal.passed() {
        Outcome::Passes
    } else if ListSummary::of(bytes).is_ok() {
        Outcome::Fails
    } else {
        Outcome::Malformed
    }
}

/// Paths and digests of all files that the list shows.
fn files(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = MeasurementList::with_detected_log_hash(bytes).entries();
    let mut files = Vec::new();
    while let Ok(Some(entry)) = entries.read() {
        if let (Some(digest), Some(name)) = (entry.digest, entry.name) {
            files.push((name.to_vec(), digest.bytes.to_vec()));
        }
    }
    files
}

fn stack(files: &[(Vec<u8>, Vec<u8>)]) -> PolicyStack {
    let mut policy = PolicyBuilder::new();
    for (path, digest) in files {
        // A digest of a size that no algorithm has is not allowed, and its entry fails.
        let _ = policy.allow_bytes(Table::Files, path, digest);
    }
    let policy = Arc::new(policy.compile().unwrap());
    PolicyStack::new(vec![PolicyLayer { name: "files".to_owned(), policy }]).unwrap()
}

/// The first entries of a list.
pub(crate) fn head(bytes: &[u8]) -> Vec<u8> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    match ListSummary::of(head) {
        Err(SummaryError::Malformed { source, .. }) if source.offset > 0 => head[..source.offset].to_vec(),
        _ => head.to_vec(),
    }
}
