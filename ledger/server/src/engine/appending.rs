//! The way in: requests of callers, and what the log itself has to say.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};

use ledger_protocol::body::Body;
use messages::ledger::{AppendAnswer, AppendRequest, Group, GroupResult};
use tokio::sync::oneshot;

use super::sequencing::{Reply, Submission};
use super::{AppendFailed, Shared, item, lock};
use crate::entropy;

/// Where requests go in; empty when the log is being closed.
pub(super) type Input = Arc<Mutex<Option<SyncSender<Submission>>>>;

/// Hands a request in.
pub(super) fn submit(
    input: &Input,
    shared: &Shared,
    request: AppendRequest,
    submitter: Option<Arc<str>>,
) -> Result<oneshot::Receiver<Reply>, AppendFailed> {
    if shared.failure.get().is_some() {
        return Err(shared.failed());
    }
    let (reply, answer) = oneshot::channel();
    let input = lock(input);
    let input = input.as_ref().ok_or(AppendFailed::Stopping)?;
    let queued = &shared.metrics.queued;
    queued.fetch_add(1, Ordering::Relaxed);
    let sent = input.try_send(Submission { reply, request, submitter });
    if sent.is_err() {
        queued.fetch_sub(1, Ordering::Relaxed);
    }
    match sent {
        Ok(()) => Ok(answer),
        Err(TrySendError::Full(_)) => Err(AppendFailed::Busy),
        Err(TrySendError::Disconnected(_)) => Err(shared.failed()),
    }
}

/// What came of a request.
pub(super) fn received(
    shared: &Shared,
    reply: Result<Reply, oneshot::error::RecvError>,
) -> Result<AppendAnswer, AppendFailed> {
    match reply {
        Ok(reply) => reply,
        Err(_) => Err(shared.failed()),
    }
}

/// Appends what the log itself has to say, from a thread beside the line.
#[derive(Clone, Debug)]
pub(crate) struct Appender {
    input: Input,
    pub(crate) shared: Arc<Shared>,
}

impl Appender {
    pub(super) fn new(input: &Input, shared: &Arc<Shared>) -> Self {
        Self { input: Arc::clone(input), shared: Arc::clone(shared) }
    }

    /// Appends one entry to the fleet's chain and says whether the rules allow it; blocks until it is durable.
    pub(crate) fn append<B: Body>(&self, body: &B) -> Result<bool, AppendFailed> {
        let idempotency_key = entropy::idempotency_key()
            .map_err(|error| AppendFailed::Failed { reason: format!("no random bytes: {error}") })?;
        let groups = vec![Group { agent: None, expected: None, items: vec![item(body)] }];
        let request = AppendRequest { version: 1, idempotency_key, groups };
        let reply = submit(&self.input, &self.shared, request, None)?;
        let answer = received(&self.shared, reply.blocking_recv())?;
        match answer.results.as_slice() {
            [GroupResult::Appended(_)] => Ok(true),
            other => {
                tracing::debug!(?other, "an entry of the log's own was not taken");
                Ok(false)
            }
        }
    }
}
