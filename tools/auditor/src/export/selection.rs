//! Which of an agent's entries a bundle needs.

use std::collections::BTreeMap;

use ledger_protocol::{
    Entry, Kind,
    body::{Body, KeyRelease, ReleasePhase},
};
use messages::{AgentId, Digest, UnixMillis, ledger::EntryPage};

use super::{ExportError, Request};
use crate::ledger::Ledger;

/// The entries of a bundle: single ones from before the run, and the run by its numbers.
#[derive(Debug)]
pub(super) struct Selection {
    context: Vec<(u64, Vec<u8>)>,
    first_seq: u64,
    last_seq: u64,
    last_index: u64,
}

impl Selection {
    /// Reads the agent's chain and chooses: all entries recorded in the interval, one before and one after; back from
    /// there to a quote, so that the state at the start is known, and to what deliveries in the run rest on; on from
    /// there over a verdict whose quote would otherwise end the run. Before the run, enrolments, policies and
    /// retirements.
    pub(super) fn choose(ledger: &Ledger, request: &Request<'_>) -> Result<Self, ExportError> {
        let mut survey = Survey::new(request);
        let mut next_seq = 0;
        loop {
            let EntryPage { head, entries } = ledger.entries(request.agent, next_seq)?;
            for (index, bytes) in &entries {
                let entry = Entry::decode(bytes).map_err(|source| ExportError::Entry { index: *index, source })?;
                next_seq = entry.seq + 1;
                if survey.take(*index, bytes, &entry)? == Reach::Complete {
                    return survey.finish();
                }
            }
            if entries.is_empty() || next_seq >= head.seq {
                return survey.finish();
            }
        }
    }

    /// Index of the run's last entry, the largest of all.
    pub(super) fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The entries from before the run.
    pub(super) fn context(&self) -> &[(u64, Vec<u8>)] {
        &self.context
    }

    /// Reads the run once more and hands over each entry.
    pub(super) fn run(
        &self,
        ledger: &Ledger,
        agent: &AgentId,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let mut seq = self.first_seq;
        while seq <= self.last_seq {
            let page = ledger.entries(agent, seq)?;
            if page.entries.is_empty() {
                return Err(ExportError::NoEntries { agent: agent.clone() });
            }
            for (index, bytes) in page.entries {
                if seq > self.last_seq {
                    break;
                }
                each(index, &bytes)?;
                seq += 1;
            }
        }
        Ok(())
    }
}

#[derive(Eq, PartialEq)]
enum Reach {
    Complete,
    Open,
}

/// What has been seen of the chain so far.
struct Survey<'a> {
    request: &'a Request<'a>,
    context: Vec<(u64, u64, Vec<u8>)>,
    /// Number of the latest quote or enrolment: where a run may begin.
    latest_start: u64,
    /// The `latest_start` when a key was last authorised, by key.
    authorised: BTreeMap<Digest, u64>,
    first_seq: Option<u64>,
    last: Option<(u64, u64, Kind, UnixMillis)>,
}

impl<'a> Survey<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let (context, authorised) = (Vec::new(), BTreeMap::new());
        Self { request, context, latest_start: 0, authorised, first_seq: None, last: None }
    }

    fn take(&mut self, index: u64, bytes: &[u8], entry: &Entry) -> Result<Reach, ExportError> {
        let after = |end: Option<UnixMillis>| end.is_some_and(|end| entry.recorded > end);
        if let Some((_, _, kind, recorded)) = self.last {
            // One entry past the end is enough, unless it is a quote whose verdict follows.
            let past = self.request.to.is_some_and(|to| recorded > to);
            if past && !(kind == Kind::Quote && entry.kind == Kind::Verdict) {
                return Ok(Reach::Complete);
            }
        }
        let inside = self.request.from.is_none_or(|from| entry.recorded >= from) || after(self.request.to);
        if inside && self.first_seq.is_none() {
            self.first_seq = Some(self.latest_start);
        }
        match entry.kind {
            Kind::Enrol | Kind::Quote => self.latest_start = entry.seq,
            Kind::KeyRelease => self.release(index, entry)?,
            _ => {}
        }
        if matches!(entry.kind, Kind::Enrol | Kind::Policy | Kind::Retire) && self.first_seq.is_none() {
            self.context.push((entry.seq, index, bytes.to_vec()));
        }
        self.last = Some((entry.seq, index, entry.kind, entry.recorded));
        Ok(Reach::Open)
    }

    fn release(&mut self, index: u64, entry: &Entry) -> Result<(), ExportError> {
        let body = KeyRelease::decode(&entry.body).map_err(|source| ExportError::Body { index, source })?;
        match (body.phase, self.first_seq) {
            (ReleasePhase::Authorised, _) => {
                self.authorised.insert(body.key_id, self.latest_start);
            }
            (ReleasePhase::Delivered, Some(first)) => {
                let rests_on = self.authorised.get(&body.key_id).copied().unwrap_or(first);
                self.first_seq = Some(first.min(rests_on));
            }
            (ReleasePhase::Delivered | ReleasePhase::Withheld | ReleasePhase::Revoked, _) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Selection, ExportError> {
        let Some((last_seq, last_index, _, _)) = self.last else {
            return Err(ExportError::NoEntries { agent: self.request.agent.clone() });
        };
        // With nothing in the interval the run is what was before it.
        let first_seq = self.first_seq.unwrap_or(self.latest_start);
        let context = self.context.into_iter().filter(|(seq, _, _)| *seq < first_seq);
        let context = context.map(|(_, index, bytes)| (index, bytes)).collect();
        Ok(Selection { context, first_seq, last_seq, last_index })
    }
}
