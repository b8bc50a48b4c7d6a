//! Reading an agent's chain from the ledger.

use evidence::attest::Attest;
use ledger_client::{LedgerClient, RequestError};
use ledger_protocol::{
    Entry, EntryError, Kind,
    body::{
        Body, Enrol, KeyRelease, Maintenance, QuoteBody, ReleasePhase, Revocation, RevocationPhase, Verdict,
        VerdictResult,
    },
};
use messages::{AgentId, Digest, FindingText, cbor::CborError, keylime::MaintenanceWindow, ledger::Head};
use verifier_protocol::{appraisal::Outcome, session::Fact};

use crate::store::ClockRow;

/// What an entry says, as far as a verifier cares.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// The agent was enrolled under this binding.
    Enrolled(Digest),
    /// A verdict that is no pass, its first finding; the verdict itself follows.
    Failed(FindingText),
    /// Something the session has to know.
    Fact(Fact),
    /// An absence was announced.
    Maintenance(MaintenanceWindow),
    /// A quote with this clock, if it could be read; a verdict follows.
    Quote(Option<ClockRow>),
    /// The agent left the fleet.
    Retired,
    /// Nothing that matters here.
    Other,
}

/// Why a chain could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    #[error("entry {seq} of the agent's chain has a malformed body")]
    Body { seq: u64, source: CborError },
    #[error("an entry of the agent's chain is malformed")]
    Entry(#[source] EntryError),
    #[error("the ledger's page does not continue the agent's chain; expected entry {expected}, found {found}")]
    Order { expected: u64, found: u64 },
    #[error("the ledger has {found} entries of this agent, fewer than the {expected} that were recorded before")]
    Shorter { expected: u64, found: u64 },
    #[error("the ledger was not read")]
    Unavailable(#[source] RequestError),
}

/// Hands every entry from number `from` on to `see`, in order, and returns the chain's end.
pub(crate) async fn read(
    ledger: &LedgerClient,
    agent: &AgentId,
    from: u64,
    mut see: impl FnMut(Seen) + Send,
) -> Result<Head, ChainError> {
    let mut next = from;
    loop {
        let page = ledger.entries(Some(agent), next, PAGE_ENTRIES).await.map_err(ChainError::Unavailable)?;
        if page.head.seq < next {
            return Err(ChainError::Shorter { expected: next, found: page.head.seq });
        }
        for (_, bytes) in &page.entries {
            let entry = Entry::decode(bytes).map_err(ChainError::Entry)?;
            if entry.seq != next || entry.agent.as_ref() != Some(agent) {
                return Err(ChainError::Order { expected: next, found: entry.seq });
            }
            seen(&entry, Entry::leaf_hash(bytes), &mut see).map_err(|source| ChainError::Body { seq: next, source })?;
            next += 1;
        }
        if next == page.head.seq {
            return Ok(page.head);
        }
        // The chain grew while it was read; an empty page would not bring it further.
        if page.entries.is_empty() {
            return Err(ChainError::Order { expected: next, found: page.head.seq });
        }
    }
}

fn seen(entry: &Entry, leaf_hash: Digest, see: &mut impl FnMut(Seen)) -> Result<(), CborError> {
    let seen = match entry.kind {
        Kind::Enrol => Seen::Enrolled(Enrol::decode(&entry.body)?.binding),
        Kind::Quote => Seen::Quote(clock(&QuoteBody::decode(&entry.body)?)),
        Kind::Verdict => {
            let verdict = Verdict::decode(&entry.body)?;
            let event = verdict.findings.first().map(|first| format!("{}.{}", first.component, first.event));
            let outcome = match verdict.result {
                VerdictResult::Pass => Outcome::Pass,
                VerdictResult::Fail => Outcome::Fail,
                VerdictResult::Error => Outcome::Error,
            };
            let event = event.unwrap_or_default();
            if let Some(first) = verdict.findings.first().filter(|_| outcome != Outcome::Pass) {
                see(Seen::Failed(FindingText::parse(&first.text)));
            }
            Seen::Fact(Fact::Verdict { at: entry.recorded, event, outcome, verdict: leaf_hash })
        }
        Kind::KeyRelease => {
            let KeyRelease { phase, recipient, .. } = KeyRelease::decode(&entry.body)?;
            Seen::Fact(match phase {
                ReleasePhase::Authorised => Fact::KeyAuthorised { recipient },
                ReleasePhase::Delivered => Fact::KeyDelivered { recipient },
                ReleasePhase::Revoked => Fact::KeyRevoked,
                ReleasePhase::Withheld => Fact::KeyWithheld,
            })
        }
        Kind::Revocation => match Revocation::decode(&entry.body)?.phase {
            RevocationPhase::Raised => Seen::Fact(Fact::RevocationRaised),
            RevocationPhase::Delivered | RevocationPhase::GivenUp => Seen::Other,
        },
        Kind::Maintenance => {
            let Maintenance { from, to, reason, actor: _ } = Maintenance::decode(&entry.body)?;
            Seen::Maintenance(MaintenanceWindow { from, to, reason })
        }
        Kind::Retire => Seen::Retired,
        Kind::Census
        | Kind::Checkpoint
        | Kind::Genesis
        | Kind::Miss
        | Kind::OperatorAction
        | Kind::Policy
        | Kind::ServiceStart
        | Kind::Timestamp
        | Kind::Unknown(_) => Seen::Other,
    };
    see(seen);
    Ok(())
}

fn clock(quote: &QuoteBody) -> Option<ClockRow> {
    Attest::parse(&quote.attest).ok().map(|attest| ClockRow::of(&attest.clock_info))
}

/// Entries asked for at once: about a megabyte of quotes and verdicts.
const PAGE_ENTRIES: u64 = 1_024;
