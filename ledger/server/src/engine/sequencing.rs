//! First in line: gives entries their place and gathers them into batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

use ledger_protocol::{AgentChain, Answers, LogState, LogTotals, Outcome, Sequenced, Sequencer};
use ledger_tlog::hash::Hash;
use messages::AgentId;
use messages::ledger::{AppendAnswer, AppendRequest, GroupResult};
use tokio::sync::oneshot;

use super::{AppendFailed, Shared};
use crate::segment::{Batch, RememberedAnswer};

/// What the caller gets.
pub(super) type Reply = Result<AppendAnswer, AppendFailed>;

/// A request and who waits for its answer.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) request: AppendRequest,
    pub(super) reply: oneshot::Sender<Reply>,
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
    /// Given before; its receipts are read from the entries.
    Repeated(Vec<Outcome>),
}

/// The sequencing thread.
pub(super) struct Sequencing {
    answers: Answers,
    sequencer: Sequencer,
    shared: Arc<Shared>,
}

impl Sequencing {
    pub(super) fn new(shared: Arc<Shared>, state: LogState, answers: Answers) -> Self {
        Self { answers, sequencer: Sequencer::new(state), shared }
    }

    /// Runs until nobody can submit any more, or nobody writes.
    ///
    /// A batch is handed over as soon as the writer is free; until then it grows, up to
    /// [`SEAL_BYTES`]. So a lone request waits for nothing, and under load batches are large.
    pub(super) fn run(mut self, submissions: &Receiver<Submission>, sealed: &SyncSender<Sealed>) {
        while let Ok(first) = submissions.recv() {
            let mut batch = self.new_batch();
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
                self.finish(&mut batch);
                if !open || batch.batch.frames_bytes() >= SEAL_BYTES {
                    if sealed.send(batch).is_err() {
                        return;
                    }
                    break;
                }
                batch = match sealed.try_send(batch) {
                    Ok(()) => break,
                    Err(TrySendError::Full(batch)) => batch,
                    Err(TrySendError::Disconnected(_)) => return,
                };
                match submissions.recv_timeout(WRITER_POLL) {
                    Ok(next) => self.take(next, &mut batch),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => open = false,
                }
            }
        }
    }

    fn new_batch(&self) -> Sealed {
        let totals = *self.sequencer.state().totals();
        Sealed {
            batch: Batch::new(totals.size),
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
        let Submission { request, reply } = submission;
        let answer = match self.answers.get(&request.idempotency_key) {
            Some(outcomes) => PendingAnswer::Repeated(outcomes.to_vec()),
            None => PendingAnswer::Known(self.sequence(&request, batch)),
        };
        batch.replies.push(Pending { answer, reply });
    }

    fn sequence(&mut self, request: &AppendRequest, batch: &mut Sealed) -> Reply {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let sequenced = self.sequencer.sequence(request, now, |size| shared.signed(size));
        let sequenced = sequenced.map_err(AppendFailed::Refused)?;
        for group in &sequenced.groups {
            self.place(group, batch);
        }
        let answer = answer(&sequenced);
        if !sequenced.groups.is_empty() {
            let remembered = (request.idempotency_key, sequenced.outcomes);
            batch.batch.remember(remembered.clone());
            batch.forgotten += self.answers.remember(remembered.0, remembered.1.clone()).len() as u64;
            batch.remembered.push(remembered);
        }
        Ok(answer)
    }

    fn place(&self, group: &ledger_protocol::SequencedGroup, batch: &mut Sealed) {
        let mut first_offset = None;
        for entry in &group.entries {
            let pushed = batch.batch.push(&entry.encoded);
            let offset = pushed.expect("invariant: the sequencer hands out no entry longer than a frame");
            first_offset.get_or_insert(offset);
            batch.leaves.push(Hash::from_bytes(entry.receipt.leaf_hash.0));
        }
        if let (Some(offset), Some(first)) = (first_offset, group.entries.first()) {
            let (index, seq) = (first.receipt.index, first.receipt.seq);
            let (agent, previous_index) = (group.agent.clone(), group.previous_index);
            batch.groups.push(Place { agent, index, offset, previous_index, seq });
        }
    }

    /// Takes down the chains as they are now; called again when the batch has grown.
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

fn answer(sequenced: &Sequenced) -> AppendAnswer {
    let mut groups = sequenced.groups.iter();
    let results = sequenced.outcomes.iter().map(|outcome| match outcome {
        Outcome::Appended { .. } => {
            let entries = groups.next().map_or(&[][..], |group| &group.entries);
            GroupResult::Appended(entries.iter().map(|entry| entry.receipt).collect())
        }
        Outcome::Conflict(head) => GroupResult::Conflict(*head),
        Outcome::Refused(reason) => GroupResult::Refused(reason.clone()),
    });
    AppendAnswer { version: 1, results: results.collect() }
}

/// Frames after which a batch takes no further request: what a disk writes in about 10 ms.
const SEAL_BYTES: usize = 4 << 20;

/// How often to look whether the writer is free, when no request comes meanwhile: a fraction of
/// the fastest fdatasync.
const WRITER_POLL: Duration = Duration::from_micros(200);
