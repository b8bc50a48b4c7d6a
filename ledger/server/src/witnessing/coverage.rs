//! Up to where entries are committed and witnessed, and waiting for it.

use std::sync::Arc;
use std::time::Duration;

use messages::ledger::{AppendAnswer, GroupResult};
use tokio::sync::watch;

use super::report::Reports;

/// How much must be true of entries before their submitter is answered.
///
/// Source: `docs/spec/witness.md` §Acknowledgements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ack {
    /// A published checkpoint, which the lock holds, covers them.
    Committed,
    /// They are on the disk.
    Durable,
    /// A published checkpoint with a quorum of cosignatures covers them.
    Witnessed,
}

/// Why a caller's wish cannot be met at all.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum MalformedAck {
    #[error("ack is {found:?}; expected durable, committed or witnessed")]
    Unknown { found: String },
    #[error("ack is witnessed, but this ledger has no witnesses")]
    NoWitnesses,
}

/// Entries are durable but not yet as well covered as was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the entries are durable, but the first {size} entries are not yet covered as asked; ask again with the same key"
)]
pub(crate) struct Uncovered {
    /// Entries that must be covered.
    size: u64,
}

/// What is covered, for those who wait.
#[derive(Debug)]
pub(crate) struct Coverage {
    covered: watch::Sender<Covered>,
    /// `None` for a log without witnesses.
    reports: Option<Arc<Reports>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Covered {
    committed: u64,
    witnessed: u64,
    /// Nothing more will be.
    ended: bool,
}

impl Ack {
    /// Reads the parameter `ack` of a request for a log that has witnesses or not.
    pub(crate) fn parse(text: Option<&str>, coverage: &Coverage) -> Result<Self, MalformedAck> {
        match text {
            None | Some("durable") => Ok(Self::Durable),
            Some("committed") => Ok(Self::Committed),
            Some("witnessed") if coverage.reports.is_some() => Ok(Self::Witnessed),
            Some("witnessed") => Err(MalformedAck::NoWitnesses),
            Some(other) => Err(MalformedAck::Unknown { found: other.to_owned() }),
        }
    }
}

impl Coverage {
    pub(crate) fn new(reports: Option<Arc<Reports>>) -> Self {
        Self { covered: watch::Sender::default(), reports }
    }

    /// A checkpoint of `size` entries is published.
    pub(crate) fn published(&self, size: u64, witnessed: bool) {
        self.covered.send_modify(|covered| {
            covered.committed = covered.committed.max(size);
            if witnessed {
                covered.witnessed = covered.witnessed.max(size);
            }
        });
    }

    /// No checkpoint follows any more.
    pub(crate) fn end(&self) {
        self.covered.send_modify(|covered| covered.ended = true);
    }

    pub(super) fn reports(&self) -> Option<&Reports> {
        self.reports.as_deref()
    }

    pub(super) fn witnessed_size(&self) -> u64 {
        self.covered.borrow().witnessed
    }

    /// Waits until what `answer` appended is covered as `ack` asks, at most [`ACK_WAIT_MAX`].
    pub(crate) async fn wait(&self, ack: Ack, answer: &AppendAnswer) -> Result<(), Uncovered> {
        let receipts = answer.results.iter().filter_map(|result| match result {
            GroupResult::Appended(receipts) => receipts.last(),
            GroupResult::Conflict(_) | GroupResult::Refused(_) => None,
        });
        let size = receipts.map(|receipt| receipt.index + 1).max().unwrap_or(0);
        let covers = |covered: &Covered| match ack {
            Ack::Durable => true,
            Ack::Committed => covered.committed >= size,
            Ack::Witnessed => covered.witnessed >= size,
        };
        let mut news = self.covered.subscribe();
        let waiting = news.wait_for(|covered| covered.ended || covers(covered));
        match tokio::time::timeout(ACK_WAIT_MAX, waiting).await {
            Ok(Ok(covered)) if covers(&covered) => Ok(()),
            _ => Err(Uncovered { size }),
        }
    }
}

/// Half of what the listener allows an answer: whoever waits longer asks again.
const ACK_WAIT_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
