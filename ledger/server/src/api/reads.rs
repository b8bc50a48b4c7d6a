//! What readers ask: chains, entries, proofs, checkpoints, blobs.

use std::ops::ControlFlow;

use http::StatusCode;
use ledger_protocol::Entry;
use ledger_tlog::tree::TreeError;
use messages::ledger::{CHECKPOINTS_MAX, EntryPage, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, Proof};
use messages::{AgentId, Digest, UnixMillis};
use serde_bytes::ByteBuf;
use transport::router::{Request, Response};

use super::writes::digest;
use super::{Refusal, cbor, chain_of, immutable, note, number, numbers};
use crate::engine::Ledger;
use crate::segment::ReadError;
use crate::witnessing::Described;

pub(super) fn blob(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let wanted = digest(request)?;
    match ledger.shared.blobs.get(&wanted) {
        Ok(Some(bytes)) => Ok(immutable(bytes)),
        Ok(None) => match ledger.shared.pruned() {
            Some(pruned) if pruned.has_deleted(&wanted) => Err(Refusal::pruned(&pruned, None)),
            _ => Err(Refusal::NotFound("There is no blob of this digest")),
        },
        Err(error) => Err(Refusal::broken(&error)),
    }
}

pub(super) fn head(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let head = ledger.shared.index.head(chain_of(request)?.as_ref());
    head.map(|head| cbor(&head)).map_err(|error| Refusal::broken(&error))
}

pub(super) fn entries(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let agent = chain_of(request)?;
    let [from_seq, limit] = numbers(request, [("from_seq", Some(0)), ("limit", Some(PAGE_ENTRIES_MAX))])?;
    let limit = usize::try_from(limit.min(PAGE_ENTRIES_MAX)).unwrap_or(usize::MAX);
    // First the head: entries that come later may be in the page as well, but none is left out.
    let head = ledger.shared.index.head(agent.as_ref()).map_err(|error| Refusal::broken(&error))?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    walk(ledger, agent.as_ref(), from_seq, head.seq, |index, entry| {
        bytes += entry.len();
        if entries.len() >= limit || (bytes > PAGE_BYTES_MAX && !entries.is_empty()) {
            return ControlFlow::Break(());
        }
        entries.push((index, ByteBuf::from(entry)));
        ControlFlow::Continue(())
    })?;
    Ok(cbor(&EntryPage { head, entries }))
}

/// Shows a chain's entries from `from_seq` up to `end` to `visit`, run by run.
fn walk(
    ledger: &Ledger,
    agent: Option<&AgentId>,
    from_seq: u64,
    end: u64,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), Refusal> {
    let shared = &ledger.shared;
    let mut seq = from_seq;
    while seq < end {
        let found = shared.index.run(agent, seq).map_err(|error| Refusal::broken(&error))?;
        let Some((run, next)) = found else {
            if let Some(pruned) = shared.pruned() {
                let first_seq = shared.index.first_seq(agent).map_err(|error| Refusal::broken(&error))?;
                return Err(Refusal::pruned(&pruned, Some(first_seq.unwrap_or(end))));
            }
            return Err(Refusal::Broken(format!("entry {seq} of a chain that has {end} is not in the index")));
        };
        let run_end = run.index + (next.unwrap_or(end).min(end) - run.seq);
        let wanted = run.index + (seq - run.seq);
        let mut done = ControlFlow::Continue(());
        let read = shared.segments.read_from(run.index, run.location, |index, entry| {
            if index >= run_end {
                return ControlFlow::Break(());
            }
            if index >= wanted {
                done = visit(index, entry);
            }
            if done.is_break() || index + 1 == run_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        read.map_err(|error| Refusal::broken(&error))?;
        if done.is_break() {
            return Ok(());
        }
        seq = run.seq + (run_end - run.index);
    }
    Ok(())
}

pub(super) fn seq_at(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let agent = chain_of(request)?;
    let [ms] = numbers(request, [("ms", None)])?;
    let head = ledger.shared.index.head(agent.as_ref()).map_err(|error| Refusal::broken(&error))?;
    // The sequencer's clock never goes back, so half of what is left can be ruled out each time.
    let shared = &ledger.shared;
    let first = match shared.pruned() {
        Some(_) => shared.index.first_seq(agent.as_ref()).map_err(|error| Refusal::broken(&error))?.unwrap_or(head.seq),
        None => 0,
    };
    let (mut low, mut high) = (first, head.seq);
    while low < high {
        let middle = low.midpoint(high);
        if recorded(ledger, agent.as_ref(), middle)? < UnixMillis(ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if let Some(pruned) = shared.pruned()
        && low == first
        && first > 0
    {
        // It may have been one of those that were pruned.
        return Err(Refusal::pruned(&pruned, Some(first)));
    }
    if low == head.seq {
        return Err(Refusal::NotFound("No entry of this chain was recorded at or after that time"));
    }
    Ok(cbor(&[low]))
}

fn recorded(ledger: &Ledger, agent: Option<&AgentId>, seq: u64) -> Result<UnixMillis, Refusal> {
    let mut found = None;
    walk(ledger, agent, seq, seq + 1, |_, entry| {
        found = Some(Entry::decode(entry).map(|entry| entry.recorded));
        ControlFlow::Break(())
    })?;
    match found {
        Some(Ok(recorded)) => Ok(recorded),
        Some(Err(error)) => Err(Refusal::broken(&error)),
        None => Err(Refusal::Broken(format!("entry {seq} of a chain is not where the index says"))),
    }
}

pub(super) fn entry(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let index = number(request.param("index"), "the index")?;
    if index >= ledger.shared.durable_size() {
        return Err(Refusal::NotFound("The log has no such entry"));
    }
    match ledger.shared.segments.entry(index) {
        Ok(entry) => Ok(immutable(entry)),
        Err(ReadError::Missing { .. }) if let Some(pruned) = ledger.shared.pruned() => match pruned.kept.entry(index) {
            Ok(Some(entry)) => Ok(immutable(entry)),
            Ok(None) => Err(Refusal::pruned(&pruned, None)),
            Err(error) => Err(Refusal::broken(&error)),
        },
        Err(ReadError::Missing { .. }) => Err(Refusal::NotFound("The log has no such entry")),
        Err(error) => Err(Refusal::broken(&error)),
    }
}

/// Small entries that were kept when those around them were pruned.
pub(super) fn kept(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let [from] = numbers(request, [("from", Some(0))])?;
    let mut page: Vec<(u64, ByteBuf)> = Vec::new();
    let mut bytes = 0;
    if let Some(pruned) = ledger.shared.pruned() {
        let limit = usize::try_from(PAGE_ENTRIES_MAX).unwrap_or(usize::MAX);
        for found in pruned.kept.from(from).take(limit) {
            let (index, entry) = found.map_err(|error| Refusal::broken(&error))?;
            bytes += entry.len();
            if bytes > PAGE_BYTES_MAX && !page.is_empty() {
                break;
            }
            page.push((index, ByteBuf::from(entry)));
        }
    }
    Ok(cbor(&page))
}

pub(super) fn inclusion(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let [index, size] = numbers(request, [("index", None), ("tree_size", None)])?;
    within(ledger, size)?;
    proof(ledger.inclusion_proof(index, size).map(|proof| proof.into_hashes()))
}

pub(super) fn consistency(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let [old, new] = numbers(request, [("old", None), ("new", None)])?;
    within(ledger, new)?;
    proof(ledger.consistency_proof(old, new).map(|proof| proof.into_hashes()))
}

fn within(ledger: &Ledger, size: u64) -> Result<(), Refusal> {
    let durable = ledger.shared.durable_size();
    if size <= durable {
        Ok(())
    } else {
        Err(Refusal::Malformed(format!("a tree of {size} entries was asked for; the log has {durable}")))
    }
}

fn proof(made: Result<Vec<ledger_tlog::hash::Hash>, TreeError<std::io::Error>>) -> Result<Response, Refusal> {
    match made {
        Ok(hashes) => {
            let hashes = hashes.iter().map(|hash| Digest(*hash.as_bytes())).collect();
            Ok(cbor(&Proof { hashes }))
        }
        Err(error @ TreeError::Read { .. }) => Err(Refusal::broken(&error)),
        Err(error) => Err(Refusal::Malformed(error.to_string())),
    }
}

pub(super) fn checkpoints(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let [from, to] = numbers(request, [("from", Some(0)), ("to", Some(u64::MAX))])?;
    let sizes = ledger.shared.index.checkpoints(from, to, CHECKPOINTS_MAX);
    sizes.map(|sizes| cbor(&sizes)).map_err(|error| Refusal::broken(&error))
}

pub(super) fn checkpoint(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let size = number(request.param("size"), "the size")?;
    let unknown = Refusal::NotFound("This log has signed no checkpoint of this size");
    if ledger.shared.signed(size).is_none() {
        return Err(unknown);
    }
    match ledger.shared.checkpoints.read(size) {
        Ok(Some(bytes)) => Ok(note(bytes, "public, max-age=31536000, immutable")),
        Ok(None) => Err(unknown),
        Err(error) => Err(Refusal::broken(&error)),
    }
}

pub(super) fn info(ledger: &Ledger, _: &Request) -> Result<Response, Refusal> {
    let info = ledger.info().map_err(|error| Refusal::broken(&error))?;
    let info = Described::new(info, &ledger.shared.coverage);
    let body = serde_json::to_vec(&info).map_err(|error| Refusal::broken(&error))?;
    Ok(Response::new(StatusCode::OK, "application/json", body))
}
