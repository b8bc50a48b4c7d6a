//! The agent's chain: catching up with it and appending to it.

use ledger_client::AppendError;
use messages::{
    Digest,
    ledger::{Group, Head, Item, Receipt},
};
use verifier_protocol::{
    appraisal::Outcome,
    session::{Fact, Input},
};

use super::Agent;
use crate::{
    chain::{self, ChainError, Seen},
    error_chain,
};

impl Agent {
    /// Where the chain ends, once everything before is taken in.
    pub(super) async fn head(&mut self) -> Result<Head, Input> {
        match self.head {
            Some(head) => Ok(head),
            None => {
                let caught_up = self.catch_up().await;
                caught_up.map_err(|error| Input::LedgerUnavailable(error_chain::chain(&error)))
            }
        }
    }

    /// Takes in what the ledger holds beyond what this task knows: entries of before a crash, of
    /// an append whose answer was lost, of the registrar or of another verifier.
    async fn catch_up(&mut self) -> Result<Head, ChainError> {
        let ledger = self.services.ledger.clone();
        let id = self.id.clone();
        let mut seen = Vec::new();
        let head = chain::read(&ledger, &id, self.next_seq, |entry| seen.push(entry)).await?;
        let news = !seen.is_empty();
        let mut clock = None;
        let mut raised = false;
        for entry in seen {
            match entry {
                Seen::Enrolled(binding) => {
                    self.enrolled = Some(binding);
                    self.windows.clear();
                }
                Seen::Maintenance(window) => self.windows.push(window),
                Seen::Retired => self.enrolled = None,
                Seen::Quote(found) => clock = found,
                Seen::Failed(finding) => self.finding = Some(finding),
                Seen::Fact(fact) => {
                    if let Fact::Verdict { outcome, .. } = &fact {
                        // Only a passed quote's clock is known to be the TPM's and to follow.
                        self.clock = clock.take().filter(|_| *outcome == Outcome::Pass).or(self.clock);
                        raised = false;
                    }
                    raised |= fact == Fact::RevocationRaised;
                    self.session.replay(fact);
                }
                Seen::Other => {}
            }
        }
        self.next_seq = head.seq;
        self.head = Some(head);
        if raised {
            // Raised by us, and perhaps not yet handed to the outbox when we stopped.
            self.tell_of_failure().await;
        }
        if news {
            self.persist();
        }
        Ok(head)
    }

    /// Appends entries where the chain ends, all or nothing. Returns when they are durable.
    ///
    /// A conflict is caught up with before it is reported; after an answer that did not come the
    /// chain is read again before anything else is done.
    pub(super) async fn append(&mut self, expected: Head, items: Vec<Item>) -> Result<Vec<Receipt>, Input> {
        let group = Group { agent: Some(self.id.clone()), expected: Some(expected), items };
        match self.services.ledger.append(group).await {
            Ok(receipts) => {
                if let Some(last) = receipts.last() {
                    let head = Head { seq: last.seq + 1, prev: last.leaf_hash };
                    (self.head, self.next_seq) = (Some(head), head.seq);
                }
                Ok(receipts)
            }
            Err(AppendError::Conflict(_)) => {
                self.head = None;
                match self.head().await {
                    Ok(_) => Err(Input::Conflict),
                    Err(unavailable) => Err(unavailable),
                }
            }
            Err(AppendError::Refused(text)) => Err(Input::LedgerRefused(text)),
            Err(error @ AppendError::Unavailable { .. }) => {
                self.head = None;
                Err(Input::LedgerUnavailable(error_chain::chain(&error)))
            }
        }
    }

    /// Appends one entry that depends on nothing but the chain's end.
    pub(super) async fn append_one(&mut self, item: Item) -> Result<Digest, Input> {
        let head = self.head().await?;
        let receipts = self.append(head, vec![item]).await?;
        Ok(receipts.first().map(|receipt| receipt.leaf_hash).unwrap_or_default())
    }
}
