//! What entries name is kept before they are judged by it: notes, policies, evidence, time-stamps.

use std::{collections::HashSet, ops::ControlFlow};

use ledger_history::history::WITNESS_ROLE;
use ledger_protocol::{
    Entry, Kind,
    body::{AgentPolicy, Body, CheckpointBody, Enrol, PolicyBody, QuoteBody, TimestampBody, Verdict},
};
use messages::Digest;

use super::{NotWatched, mirror::Mirror};
use crate::{
    bundle::{NamesBlobs, beacon_path, blob_path},
    log::{Log, LogUnreadable},
};

/// Fetches what the mirror's entries from one index to before another name, as far as the log gives it.
///
/// Nothing is judged here, so that a log that goes away in between leaves nothing half judged. `progress` is told how many
/// entries of how many were looked at.
///
/// # Errors
/// [`LogUnreadable`] if the log does not answer, or withholds what nothing behind it can be computed without: the note of
/// a checkpoint entry, a witness policy.
pub(super) fn keep_named(
    mirror: &Mirror,
    log: &Log,
    (from, to): (u64, u64),
    mut progress: impl FnMut(u64),
) -> Result<(), NotWatched> {
    let mut kept = Ok(());
    let mut keeping = Keeping::new(mirror, log);
    mirror.log().read(from, to, |index, bytes| {
        kept = keeping.keep_of(index, bytes);
        progress(index + 1 - from);
        if kept.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    kept
}

/// What is fetched from where to where.
pub(super) struct Keeping<'a> {
    mirror: &'a Mirror,
    log: &'a Log,
    /// What was seen in the mirror: policies and notes are named by many entries, and looking means hashing.
    there: HashSet<Digest>,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(mirror: &'a Mirror, log: &'a Log) -> Self {
        Self { mirror, log, there: HashSet::new() }
    }

    /// Fetches what one entry names.
    pub(super) fn keep_of(&mut self, index: u64, bytes: &[u8]) -> Result<(), NotWatched> {
        let Ok(entry) = Entry::decode(bytes) else { return Ok(()) };
        let body = &entry.body;
        let mut blobs = Vec::new();
        match (&entry.agent, entry.kind) {
            (None, Kind::Checkpoint) => {
                if let Ok(CheckpointBody { tree_size, note: digest }) = CheckpointBody::decode(body)
                    && !self.note(tree_size, &digest)?
                {
                    return Err(withheld(format!("the checkpoint of {tree_size} entries that entry {index} names")));
                }
            }
            (None, Kind::Timestamp) => {
                if let Ok(TimestampBody { tree_size, note: digest, token, .. }) = TimestampBody::decode(body) {
                    self.note(tree_size, &digest)?;
                    blobs.push(token);
                }
            }
            (_, Kind::Policy) => match PolicyBody::decode(body) {
                Ok(PolicyBody::Agent(policy)) => blobs = AgentPolicy::blobs(&policy),
                Ok(PolicyBody::Named(policy)) => {
                    if let Some(digest) = policy.content
                        && !self.blob(&digest)?
                        && policy.role == WITNESS_ROLE
                    {
                        return Err(withheld(format!("the witness policy {digest} that entry {index} names")));
                    }
                }
                Err(_) => {}
            },
            (Some(_), Kind::Enrol) => blobs = Enrol::decode(body).map(|body| body.blobs()).unwrap_or_default(),
            (Some(_), Kind::Quote) => {
                if let Ok(quote) = QuoteBody::decode(body) {
                    self.note(quote.beacon.tree_size, &quote.beacon.note_digest)?;
                    blobs = quote.blobs();
                }
            }
            (Some(_), Kind::Verdict) => blobs = Verdict::decode(body).map(|body| body.blobs()).unwrap_or_default(),
            _ => {}
        }
        for digest in blobs {
            self.blob(&digest)?;
        }
        Ok(())
    }

    /// Whether the mirror has the note now.
    fn note(&mut self, size: u64, digest: &Digest) -> Result<bool, NotWatched> {
        let path = beacon_path(size);
        if self.is_there(&path, digest) {
            return Ok(true);
        }
        let is_it = |note: &Vec<u8>| openssl::sha::sha256(note) == digest.0;
        let note = match self.log.note(size)?.filter(is_it) {
            Some(note) => Some(note),
            None => self.log.blob(digest)?,
        };
        note.map_or(Ok(false), |note| self.mirror.keep(&path, &note).map(|()| true))
    }

    /// Whether the mirror has the blob now.
    fn blob(&mut self, digest: &Digest) -> Result<bool, NotWatched> {
        let path = blob_path(digest);
        if self.is_there(&path, digest) {
            return Ok(true);
        }
        self.log.blob(digest)?.map_or(Ok(false), |bytes| self.mirror.keep(&path, &bytes).map(|()| true))
    }

    fn is_there(&mut self, path: &str, digest: &Digest) -> bool {
        if self.there.contains(digest) {
            return true;
        }
        let is_there = self.mirror.has(path, digest);
        if is_there {
            self.there.insert(*digest);
        }
        is_there
    }
}

fn withheld(what: String) -> NotWatched {
    NotWatched::Log(LogUnreadable::Missing { what })
}
