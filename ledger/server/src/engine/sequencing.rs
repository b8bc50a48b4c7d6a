//! First in line: gives entries their place and gathers them into batches.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::Duration;

use ledger_protocol::{
    AgentChain, Answered, Answers, Kind, LogState, LogTotals, Outcome, Sequenced, SequencedGroup, Sequencer,
};
use ledger_tlog::hash::Hash;
use messages::ledger::{AppendAnswer, AppendRequest, Group, GroupResult, Receipt};
use messages::{AgentId, Digest};
use tokio::sync::oneshot;

use super::{AppendFailed, Shared};
use crate::histories::Histories;
use crate::segment::{Batch, RememberedAnswer};

/// What the caller gets.
pub(super) type Reply = Result<AppendAnswer, AppendFailed>;

/// A request and who waits for its answer.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) request: AppendRequest,
    /// The name on the certificate of whoever asks; `None` is this process.
    pub(super) submitter: Option<Arc<str>>,
}

/// A batch with everything that follows from it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) batch: Batch,
    /// Chains as they are after it.
    pub(super) chains: HashMap<AgentId, AgentChain>,
    /// How many of the oldest remembered answers are forgotten.
    pub(super) forgotten: u64,
    pub(super) groups: Vec<Place>,
    pub(super) leaves: Vec<Hash>,
    /// Answers to remember, in order.
    pub(super) remembered: Vec<RememberedAnswer>,
    pub(super) replies: Vec<Pending>,
    pub(super) totals: LogTotals,
}

/// Where a group is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) agent: Option<AgentId>,
    pub(super) index: u64,
    /// Offset of its first frame from the batch's start.
    pub(super) offset: u64,
    pub(super) previous_index: Option<u64>,
    pub(super) seq: u64,
}

/// An answer that waits for its entries to be durable.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) answer: PendingAnswer,
    pub(super) reply: oneshot::Sender<Reply>,
}

#[derive(Debug)]
pub(super) enum PendingAnswer {
    /// Ready.
    Known(Reply),
    /// Given before, with the groups that it must be for; its receipts are read from the entries.
    Repeated(Vec<(Group, Outcome)>),
}

/// The sequencing thread.
pub(super) struct Sequencing {
    answers: Answers,
    /// Checkpoints that quotes rest on, of late.
    checkpoints: RefCell<HashMap<u64, Digest>>,
    sequencer: Sequencer,
    shared: Arc<Shared>,
}

impl Sequencing {
    pub(super) fn new(shared: Arc<Shared>, state: LogState, answers: Answers) -> Self {
        Self { answers, checkpoints: RefCell::default(), sequencer: Sequencer::new(state), shared }
    }

    /// Runs until nobody can submit any more, or nobody writes.
    ///
    /// A batch is handed over as soon as the writer is free; until then it grows, up to
    /// [`SEAL_BYTES`]. So a lone request waits for nothing, and under load batches are large.
    /// `ready` tells that the writer waits for a batch, and gives back the buffer of the one before.
    pub(super) fn run(
        mut self,
        submissions: &Receiver<Submission>,
        ready: &Receiver<Vec<u8>>,
        sealed: &SyncSender<Sealed>,
    ) {
        let mut spare = Vec::new();
        while let Ok(first) = submissions.recv() {
            let mut batch = self.new_batch(std::mem::take(&mut spare));
            self.take(first, &mut batch);
            let mut open = true;
            loop {
                while open && batch.batch.frames_bytes() < SEAL_BYTES {
                    match submissions.try_recv() {
                        Ok(next) => self.take(next, &mut batch),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => open = false,
                    }
                }
                let full = !open || batch.batch.frames_bytes() >= SEAL_BYTES;
                let is_ready = if full { ready.recv().ok() } else { ready.try_recv().ok() };
                if is_ready.is_some() || full {
                    spare = is_ready.unwrap_or_default();
                    self.finish(&mut batch);
                    if sealed.send(batch).is_err() {
                        return;
                    }
                    break;
                }
                match submissions.recv_timeout(WRITER_POLL) {
                    Ok(next) => self.take(next, &mut batch),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => open = false,
                }
            }
        }
    }

    fn new_batch(&self, buffer: Vec<u8>) -> Sealed {
        let totals = *self.sequencer.state().totals();
        Sealed {
            batch: Batch::new(totals.size, buffer),
            chains: HashMap::new(),
            forgotten: 0,
            groups: Vec::new(),
            leaves: Vec::new(),
            remembered: Vec::new(),
            replies: Vec::new(),
            totals,
        }
    }

    fn take(&mut self, submission: Submission, batch: &mut Sealed) {
        let Submission { reply, request, submitter } = submission;
        self.shared.metrics.queued.fetch_sub(1, Ordering::Relaxed);
        let submitter = submitter.as_deref();
        let answer = match self.answers.get(&request.idempotency_key) {
            Some(answered) => match answered.outcomes_for(submitter, &request.groups) {
                Some(outcomes) => {
                    let outcomes = outcomes.to_vec();
                    PendingAnswer::Repeated(request.groups.into_iter().zip(outcomes).collect())
                }
                None => PendingAnswer::Known(Err(AppendFailed::KeyReused)),
            },
            None => PendingAnswer::Known(self.sequence(&request, submitter, batch)),
        };
        batch.replies.push(Pending { answer, reply });
    }

    fn sequence(&mut self, request: &AppendRequest, submitter: Option<&str>, batch: &mut Sealed) -> Reply {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let checkpoints = &self.checkpoints;
        let signed = |size| signed(&shared, checkpoints, size);
        if has_census(request) {
            self.sequencer.expect_census(shared.histories.as_ref().and_then(Histories::permitted));
        }
        let sequenced = self.sequencer.sequence(request, now, signed, batch.batch.frames_mut());
        let sequenced = sequenced.map_err(AppendFailed::Refused)?;
        for group in &sequenced.groups {
            place(group, batch);
        }
        if !sequenced.groups.is_empty() {
            let answered = Answered::new(submitter, &request.groups, sequenced.outcomes.clone());
            let remembered = (request.idempotency_key, answered);
            batch.batch.remember(remembered.clone());
            batch.forgotten += self.answers.remember(remembered.0, remembered.1.clone()).len() as u64;
            batch.remembered.push(remembered);
        }
        Ok(answer(sequenced))
    }

    /// Takes down the chains as they are now.
    fn finish(&self, batch: &mut Sealed) {
        let state = self.sequencer.state();
        batch.totals = *state.totals();
        for agent in batch.groups.iter().filter_map(|place| place.agent.as_ref()) {
            if let Some(chain) = state.agent(agent) {
                batch.chains.insert(agent.clone(), chain.clone());
            }
        }
    }
}

/// The digest of the checkpoint of a size, if this log has signed one; what was signed stays.
fn signed(shared: &Shared, checkpoints: &RefCell<HashMap<u64, Digest>>, size: u64) -> Option<Digest> {
    if let Some(known) = checkpoints.borrow().get(&size) {
        return Some(*known);
    }
    let found = shared.signed(size)?;
    let mut checkpoints = checkpoints.borrow_mut();
    if checkpoints.len() >= CHECKPOINTS_KNOWN_MAX {
        checkpoints.clear();
    }
    checkpoints.insert(size, found);
    Some(found)
}

fn has_census(request: &AppendRequest) -> bool {
    let fleet = request.groups.iter().filter(|group| group.agent.is_none());
    fleet.flat_map(|group| &group.items).any(|item| item.kind == Kind::Census.number())
}

fn place(group: &SequencedGroup, batch: &mut Sealed) {
    // Fits: a request has a few thousand entries.
    let count = u32::try_from(group.receipts.len()).unwrap_or(u32::MAX);
    batch.batch.count_in(count, &group.bundles);
    let offset = group.frames.start as u64;
    batch.leaves.extend(group.receipts.iter().map(|receipt| Hash::from_bytes(receipt.leaf_hash.0)));
    if let Some(Receipt { index, seq, .. }) = group.receipts.first().copied() {
        let (agent, previous_index) = (group.agent.clone(), group.previous_index);
        batch.groups.push(Place { agent, index, offset, previous_index, seq });
    }
}

fn answer(sequenced: Sequenced) -> AppendAnswer {
    let mut groups = sequenced.groups.into_iter();
    let results = sequenced.outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Appended { .. } => GroupResult::Appended(groups.next().map_or_else(Vec::new, |group| group.receipts)),
        Outcome::Conflict(head) => GroupResult::Conflict(head),
        Outcome::Refused(reason) => GroupResult::Refused(reason),
    });
    AppendAnswer { version: 1, results: results.collect() }
}

/// Checkpoints kept in mind: quotes rest on the last few.
const CHECKPOINTS_KNOWN_MAX: usize = 1_024;

/// Frames after which a batch takes no further request: what a disk writes in about 10 ms.
const SEAL_BYTES: usize = 4 << 20;

/// How often to look whether the writer is free, when no request comes meanwhile: a fraction of
/// the fastest fdatasync.
const WRITER_POLL: Duration = Duration::from_micros(200);
