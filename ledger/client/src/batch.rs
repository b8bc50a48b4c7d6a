//! Many callers' groups in one request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use messages::cbor;
use messages::ledger::{
    APPEND_BYTES_MAX, APPEND_ENTRIES_MAX, AppendAnswer, AppendRequest, Group, GroupResult, Item, Receipt,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::entropy;
use crate::error::{AppendError, RequestError};
use crate::request::Requests;

type Outcome = Result<Vec<Receipt>, AppendError>;

/// A group and who waits for it.
#[derive(Debug)]
pub(crate) struct Job {
    bytes: usize,
    group: Group,
    reply: oneshot::Sender<Outcome>,
}

impl Job {
    /// # Errors
    /// [`AppendError::Refused`] if no request can hold the group.
    pub(crate) fn new(group: Group, reply: oneshot::Sender<Outcome>) -> Result<Self, AppendError> {
        let bytes = GROUP_BYTES + group.items.iter().map(item_bytes).sum::<usize>();
        let entries = group.items.len();
        if entries > APPEND_ENTRIES_MAX || bytes > BATCH_BYTES_MAX {
            let limits = format!("at most {APPEND_ENTRIES_MAX} and {BATCH_BYTES_MAX}");
            return Err(AppendError::Refused(format!(
                "the group has {entries} entries in {bytes} bytes; expected {limits}"
            )));
        }
        Ok(Self { bytes, group, reply })
    }
}

/// What goes into one request.
#[derive(Default)]
struct Batch {
    bytes: usize,
    entries: usize,
    jobs: Vec<Job>,
}

impl Batch {
    fn has_room_for(&self, job: &Job) -> bool {
        self.jobs.is_empty()
            || (self.bytes + job.bytes <= BATCH_BYTES_MAX && self.entries + job.group.items.len() <= APPEND_ENTRIES_MAX)
    }

    fn push(&mut self, job: Job) {
        self.bytes += job.bytes;
        self.entries += job.group.items.len();
        self.jobs.push(job);
    }

    /// Sends the batch until it is answered or the time is over, and tells everyone.
    async fn deliver(self, requests: Requests, give_up_after: Duration) {
        let (groups, replies): (Vec<Group>, Vec<_>) = self.jobs.into_iter().map(|job| (job.group, job.reply)).unzip();
        match send(groups, &requests, give_up_after).await {
            Ok(results) => {
                for (reply, result) in replies.into_iter().zip(results) {
                    // The caller may have gone; the group is in the log all the same.
                    let _ = reply.send(outcome(result));
                }
            }
            Err((attempts, error)) => {
                let source = Some(Arc::new(error));
                for reply in replies {
                    let _ = reply.send(Err(AppendError::Unavailable { attempts, source: source.clone() }));
                }
            }
        }
    }
}

/// Gathers jobs into batches until all senders are gone. While as many batches as allowed are on
/// their way, the queue grows into the next one: the busier the ledger, the larger the batches.
pub(crate) async fn run(mut queue: mpsc::Receiver<Job>, requests: Requests, give_up_after: Duration) {
    let on_their_way = Arc::new(Semaphore::new(BATCHES_MAX));
    let mut left_over: Option<Job> = None;
    loop {
        let Ok(place) = Arc::clone(&on_their_way).acquire_owned().await else {
            return;
        };
        let first = match left_over.take() {
            Some(job) => job,
            None => match queue.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let mut batch = Batch::default();
        batch.push(first);
        while let Ok(job) = queue.try_recv() {
            if !batch.has_room_for(&job) {
                left_over = Some(job);
                break;
            }
            batch.push(job);
        }
        let requests = requests.clone();
        tokio::spawn(async move {
            batch.deliver(requests, give_up_after).await;
            drop(place);
        });
    }
}

/// One batch under one idempotency key, however often it must be sent.
async fn send(
    groups: Vec<Group>,
    requests: &Requests,
    give_up_after: Duration,
) -> Result<Vec<GroupResult>, (u32, RequestError)> {
    let count = groups.len();
    let idempotency_key = entropy::idempotency_key().map_err(|source| (0, RequestError::Random(source)))?;
    let body = Bytes::from(cbor::encode(&AppendRequest { version: 1, idempotency_key, groups }));
    let deadline = Instant::now() + give_up_after;
    let mut pause = PAUSE_MIN;
    for attempts in 1.. {
        let error = match attempt(requests, body.clone(), count).await {
            Ok(results) => return Ok(results),
            Err(error) => error,
        };
        // A ledger that says when it wants to be asked again is not asked before.
        let wait = error.retry_after().map_or(pause, |asked| asked.max(pause));
        if !error.may_pass() || Instant::now() + wait >= deadline {
            return Err((attempts, error));
        }
        tracing::warn!(%error, attempts, groups = count, "the ledger did not answer; the batch is sent again");
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Err((u32::MAX, RequestError::malformed(APPEND_PATH, "an answer")))
}

async fn attempt(requests: &Requests, body: Bytes, count: usize) -> Result<Vec<GroupResult>, RequestError> {
    let bytes = requests.post_cbor(APPEND_PATH, body, ANSWER_BYTES_MAX).await?;
    let malformed = || RequestError::malformed(APPEND_PATH, "one result for each group in CBOR");
    let answer: AppendAnswer = cbor::decode(&bytes).map_err(|_| malformed())?;
    if answer.version == 1 && answer.results.len() == count { Ok(answer.results) } else { Err(malformed()) }
}

fn outcome(result: GroupResult) -> Outcome {
    match result {
        GroupResult::Appended(receipts) => Ok(receipts),
        GroupResult::Conflict(head) => Err(AppendError::Conflict(head)),
        GroupResult::Refused(reason) => Err(AppendError::Refused(reason)),
    }
}

/// Bytes of an item in a request, rounded up: three heads of at most nine bytes beside its content.
fn item_bytes(item: &Item) -> usize {
    3 * 9 + 9 + item.body.len() + item.after.as_ref().map_or(1, |after| after.len())
}

const APPEND_PATH: &str = "/ledger/v1/append";

/// Bytes of a group beside its items, rounded up: an agent id of 80 bytes, a head of 45, heads.
const GROUP_BYTES: usize = 160;

/// Bytes of the groups of one request: what the ledger takes, less the request's own heads.
const BATCH_BYTES_MAX: usize = APPEND_BYTES_MAX - 64;

/// An answer's length: 4,096 receipts of at most 64 bytes, or as many refusals of a few hundred.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Batches on their way at one time: one being made durable, one being sequenced, two travelling.
const BATCHES_MAX: usize = 4;

/// The first pause before a batch is sent again: longer than the ledger's own commit.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause: an operator who restarts the ledger should not wait for us.
const PAUSE_MAX: Duration = Duration::from_secs(1);
