//! Judging entries of one agent that are known to be in the log, wherever they came from.

use ledger_protocol::{Entry, EntryError, EntryRef};
use messages::{AgentId, Digest};

use super::{Question, appraisal, blobs::Blobs, identity, quotes, releases, verdicts};
use crate::{
    history::{BodyRejected, Decoded, History, ProvenEntry},
    report::Check,
};

/// Why an entry cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the entry is malformed")]
    Entry(#[source] EntryError),
    #[error(transparent)]
    Body(BodyRejected),
}

/// An entry whose inclusion is known, by its bytes; `index` is what reports call it.
pub(crate) fn read_entry(index: u64, bytes: &[u8]) -> Result<ProvenEntry, Malformed> {
    let entry = EntryRef::decode(bytes).map_err(Malformed::Entry)?;
    let body = Decoded::of(entry).map_err(Malformed::Body)?;
    let EntryRef { seq, prev, recorded, .. } = entry;
    Ok(ProvenEntry { index, leaf: Entry::leaf_hash(bytes), seq, prev, recorded, body })
}

/// Makes the checks of a bundle that are about evidence: identity, nonces, quotes, verdicts, appraisal, releases.
///
/// `entries` ascend by index: enrolments, policies and retirements from before, then a run without a hole. Blobs come from
/// `read`, which has checked nothing.
pub(crate) fn judge(
    entries: Vec<ProvenEntry>,
    agent: &AgentId,
    read: &dyn Fn(&Digest) -> Option<Vec<u8>>,
    question: &Question<'_>,
) -> Vec<Check> {
    let history = History::new(entries);
    let blobs = Blobs::of(&history, read);
    let (identity, identities) = identity::check(&history, &blobs, agent, question);
    let findings = quotes::examine(&history, &identities, agent);
    vec![
        identity,
        quotes::check_nonces(&history, &findings),
        quotes::check_quotes(&history, &findings),
        verdicts::check(&history),
        appraisal::check(&history, &blobs, &identities, &findings, question),
        releases::check(&history),
    ]
}
