//! The quote and verdict behind a leaf.

use ledger_protocol::body::{Body, QuoteBody, Verdict, VerdictResult};
use ledger_protocol::{Beacon, Entry, EntryRef, Kind, NonceInputs};
use ledger_tlog::proof::verify_inclusion;
use ledger_tlog::tree::TreeHead;
use messages::ledger::Head;
use messages::{AgentId, Digest};

use super::format::{Evidence, hash, inclusion};
use super::refused::IntervalRefused;
use super::verify::Trust;
use crate::clock_info::{ClockInfo, extra_data};
use crate::node::{Leaf, sha256};
use crate::reading::QuoteFacts;

/// Verifies that the entries are those of `leaf`, in this order: the verdict is the one the leaf names, of this
/// agent, and counted as it says; it is in the log; the quote is the one the verdict names, with the leaf's seq; a quote
/// that passed answers the nonce that its entry demands; the beacon is the one its nonce rests on.
pub(super) fn check(
    evidence: &Evidence,
    leaf: &Leaf,
    agent: &AgentId,
    head: &TreeHead,
    trust: &Trust<'_>,
) -> Result<QuoteFacts, IntervalRefused> {
    let number = evidence.number;
    let other = |what| IntervalRefused::EvidenceOther { number, what };
    let verdict_hash = Entry::leaf_hash(&evidence.verdict);
    if verdict_hash != leaf.verdict {
        return Err(other("verdict"));
    }
    let verdict = entry_of(&evidence.verdict, Kind::Verdict, agent).ok_or_else(|| other("verdict"))?;
    let verdict = Verdict::decode(&verdict.body).map_err(|_| other("verdict"))?;
    let passed = verdict.result == VerdictResult::Pass;
    if passed != (leaf.aggregate.fails == 0) {
        return Err(IntervalRefused::EvidenceResult { number });
    }
    verify_inclusion(&hash(&verdict_hash), evidence.index, head, &inclusion(&evidence.inclusion))
        .map_err(|source| IntervalRefused::EvidenceInclusion { number, source })?;
    if Entry::leaf_hash(&evidence.quote) != verdict.quote {
        return Err(other("quote"));
    }
    let entry = entry_of(&evidence.quote, Kind::Quote, agent).ok_or_else(|| other("quote"))?;
    let quote = QuoteBody::decode(&entry.body).map_err(|_| other("quote"))?;
    if entry.seq != leaf.seq {
        return Err(other("quote"));
    }
    if passed && !answers(&entry, &quote, agent) {
        return Err(IntervalRefused::Nonce { number });
    }
    let not_before = match &evidence.beacon {
        None => None,
        Some(note) if sha256(note) != quote.beacon.note_digest => return Err(other("beacon")),
        Some(note) => trust.bounds(note, quote.beacon.tree_size).map(|(low, _)| low),
    };
    Ok(QuoteFacts {
        binding: verdict.binding,
        clock: ClockInfo::of_quote(&quote.attest),
        ima_count: verdict.ima_state.count,
        passed,
        not_before,
        not_after: None,
    })
}

/// Whether the TPM's quote contains the nonce that its entry demands.
fn answers(entry: &Entry, quote: &QuoteBody, agent: &AgentId) -> bool {
    let head = Head { seq: entry.seq, prev: entry.prev };
    let nonce = NonceInputs { beacon: quote.beacon, agent, head, salt: quote.salt }.derive();
    extra_data(&quote.attest) == Some(nonce.as_str().as_bytes())
}

/// The beacon that a quote's entry names, and whether the quote answers the nonce that rests on it.
pub(super) fn challenge(bytes: &[u8], agent: &AgentId) -> Option<(Beacon, bool)> {
    let entry = entry_of(bytes, Kind::Quote, agent)?;
    let quote = QuoteBody::decode(&entry.body).ok()?;
    Some((quote.beacon, answers(&entry, &quote, agent)))
}

fn entry_of(bytes: &[u8], kind: Kind, agent: &AgentId) -> Option<Entry> {
    Entry::decode(bytes).ok().filter(|entry| entry.kind == kind && entry.agent.as_ref() == Some(agent))
}

/// Verifies the entries of a full proof against the leaves that are opened: they are one chain without gap, and their
/// verdicts are those leaves' and no others', from the first of them to the last.
pub(super) fn check_full<'a>(
    entries: &[impl AsRef<[u8]>],
    agent: &AgentId,
    leaves: impl Iterator<Item = (u64, &'a Leaf)>,
) -> Result<u64, IntervalRefused> {
    let mut leaves = leaves.peekable();
    let mut head: Option<Head> = None;
    let mut open: Option<(u64, Digest)> = None;
    let mut last = 0;
    for (position, bytes) in entries.iter().enumerate() {
        let bytes = bytes.as_ref();
        let broken = || IntervalRefused::FullChain { position };
        let entry = EntryRef::decode(bytes).map_err(|_| broken())?;
        let follows = head.is_none_or(|head| head == Head { seq: entry.seq, prev: entry.prev });
        if entry.agent != Some(agent.into()) || !follows {
            return Err(broken());
        }
        let leaf_hash = Entry::leaf_hash(bytes);
        head = Some(Head { seq: entry.seq.saturating_add(1), prev: leaf_hash });
        match entry.kind {
            Kind::Quote => open = Some((entry.seq, leaf_hash)),
            Kind::Verdict => {
                let Some((seq, quote)) = open.take() else { continue };
                let body = Verdict::decode(entry.body).map_err(|_| broken())?;
                let Some((number, leaf)) = leaves.next() else { return Err(broken()) };
                last = number;
                let fails = u64::from(body.result != VerdictResult::Pass);
                let same = leaf.verdict == leaf_hash && leaf.seq == seq && leaf.aggregate.fails == fails;
                if !same || body.quote != quote {
                    return Err(IntervalRefused::FullLeaf { number });
                }
            }
            _ => {}
        }
    }
    match leaves.peek() {
        Some((number, _)) if !entries.is_empty() => Err(IntervalRefused::FullLeaf { number: (*number).max(last) }),
        _ => Ok(entries.len() as u64),
    }
}
