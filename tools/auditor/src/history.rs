//! One agent's entries in the chain's order, and what was in force at each.

use ledger_protocol::{
    EntryRef, Kind,
    body::{
        AgentPolicy, Body, Enrol, KeyRelease, Miss, OperatorAction, PolicyBody, QuoteBody, Retire, Revocation, Verdict,
    },
};
use messages::{Digest, UnixMillis, cbor::CborError};

use crate::bundle::NamesBlobs;

/// An entry whose inclusion in the log has been proven, with its body decoded.
#[derive(Debug)]
pub(crate) struct ProvenEntry {
    pub(crate) index: u64,
    pub(crate) leaf: Digest,
    pub(crate) seq: u64,
    pub(crate) prev: Digest,
    pub(crate) recorded: UnixMillis,
    pub(crate) body: Decoded,
}

/// An entry's body by kind.
#[derive(Debug)]
pub(crate) enum Decoded {
    Enrol(Enrol),
    KeyRelease(KeyRelease),
    Miss,
    /// A kind that says nothing about the machine: kept in the chain, not interpreted.
    Opaque,
    OperatorAction,
    Policy(AgentPolicy),
    Quote(Box<QuoteBody>),
    Retire,
    Revocation,
    Verdict(Verdict),
}

/// Why a body does not belong on an agent's chain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyRejected {
    #[error("the {kind} body is malformed: {source}")]
    Malformed { kind: &'static str, source: CborError },
    #[error("a {kind} entry stands on an agent's chain; expected it on the fleet's only")]
    Fleet { kind: &'static str },
}

impl Decoded {
    pub(crate) fn of<'a>(entry: impl Into<EntryRef<'a>>) -> Result<Self, BodyRejected> {
        let entry = entry.into();
        let malformed = |source| BodyRejected::Malformed { kind: entry.kind.name(), source };
        let fleet = Err(BodyRejected::Fleet { kind: entry.kind.name() });
        let bytes = entry.body;
        Ok(match entry.kind {
            Kind::Enrol => Self::Enrol(Enrol::decode(bytes).map_err(malformed)?),
            Kind::KeyRelease => Self::KeyRelease(KeyRelease::decode(bytes).map_err(malformed)?),
            Kind::Miss => Miss::decode(bytes).map(|_| Self::Miss).map_err(malformed)?,
            Kind::OperatorAction => OperatorAction::decode(bytes).map(|_| Self::OperatorAction).map_err(malformed)?,
            Kind::Policy => match PolicyBody::decode(bytes).map_err(malformed)? {
                PolicyBody::Agent(policy) => Self::Policy(policy),
                PolicyBody::Named(_) => return fleet,
            },
            Kind::Quote => Self::Quote(Box::new(QuoteBody::decode(bytes).map_err(malformed)?)),
            Kind::Retire => Retire::decode(bytes).map(|_| Self::Retire).map_err(malformed)?,
            Kind::Revocation => Revocation::decode(bytes).map(|_| Self::Revocation).map_err(malformed)?,
            Kind::Verdict => Self::Verdict(Verdict::decode(bytes).map_err(malformed)?),
            Kind::Genesis | Kind::Checkpoint | Kind::Timestamp | Kind::Census | Kind::ServiceStart => return fleet,
            Kind::Maintenance | Kind::Unknown(_) => Self::Opaque,
        })
    }

    /// The blobs the body names.
    pub(crate) fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::Enrol(body) => body.blobs(),
            Self::Policy(body) => body.blobs(),
            Self::Quote(body) => body.blobs(),
            Self::Verdict(body) => body.blobs(),
            Self::KeyRelease(_)
            | Self::Miss
            | Self::Opaque
            | Self::OperatorAction
            | Self::Retire
            | Self::Revocation => Vec::new(),
        }
    }
}

/// Positions, in the history, of what was in force just before an entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InForce {
    pub(crate) enrol: Option<usize>,
    pub(crate) policy: Option<usize>,
    pub(crate) quote: Option<usize>,
    pub(crate) verdict: Option<usize>,
}

/// The entries of a bundle: single ones from before the run, then the run without a hole.
#[derive(Debug)]
pub(crate) struct History {
    entries: Vec<ProvenEntry>,
    in_force: Vec<InForce>,
    run_start: usize,
}

impl History {
    /// Takes entries ascending by index; the run is what follows the last hole in the numbering.
    pub(crate) fn new(entries: Vec<ProvenEntry>) -> Self {
        let hole = entries.windows(2).rposition(|pair| match pair {
            [earlier, later] => earlier.seq.checked_add(1) != Some(later.seq),
            _ => false,
        });
        let run_start = hole.map_or(0, |position| position + 1);
        let mut state = InForce::default();
        let mut in_force = Vec::with_capacity(entries.len());
        for (position, entry) in entries.iter().enumerate() {
            in_force.push(state);
            state.apply(position, &entry.body);
        }
        Self { entries, in_force, run_start }
    }

    pub(crate) fn entries(&self) -> &[ProvenEntry] {
        &self.entries
    }

    pub(crate) fn get(&self, position: usize) -> Option<&ProvenEntry> {
        self.entries.get(position)
    }

    /// What was in force just before the entry at that position.
    pub(crate) fn in_force(&self, position: usize) -> InForce {
        self.in_force.get(position).copied().unwrap_or_default()
    }

    /// The entries from before the run.
    pub(crate) fn context(&self) -> &[ProvenEntry] {
        self.entries.get(..self.run_start).unwrap_or_default()
    }

    /// The numbers that are not in the bundle, all from before the run: first and last of each hole.
    pub(crate) fn holes(&self) -> Vec<(u64, u64)> {
        let pairs = self.entries.windows(2).filter_map(|pair| match pair {
            [earlier, later] => Some((earlier.seq + 1, later.seq.checked_sub(1)?)),
            _ => None,
        });
        pairs.filter(|(from, to)| from <= to).collect()
    }

    /// The entries of the run, with their positions in the history.
    pub(crate) fn run(&self) -> impl DoubleEndedIterator<Item = (usize, &ProvenEntry)> {
        self.entries.iter().enumerate().skip(self.run_start)
    }

    /// True if the run begins with the chain itself.
    pub(crate) fn is_whole(&self) -> bool {
        self.run_start == 0 && self.entries.first().is_some_and(|entry| entry.seq == 0)
    }

    /// The policies of the agent, of before the run too: they are in force in it.
    pub(crate) fn agent_policies(&self) -> impl Iterator<Item = (&ProvenEntry, &AgentPolicy)> {
        self.entries.iter().filter_map(|entry| match &entry.body {
            Decoded::Policy(policy) => Some((entry, policy)),
            _ => None,
        })
    }

    pub(crate) fn quotes(&self) -> impl Iterator<Item = (usize, &ProvenEntry, &QuoteBody)> {
        self.run().filter_map(|(position, entry)| match &entry.body {
            Decoded::Quote(quote) => Some((position, entry, quote.as_ref())),
            _ => None,
        })
    }

    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (usize, &ProvenEntry, &Verdict)> {
        self.run().filter_map(|(position, entry)| match &entry.body {
            Decoded::Verdict(verdict) => Some((position, entry, verdict)),
            _ => None,
        })
    }

    pub(crate) fn enrol(&self, position: Option<usize>) -> Option<&Enrol> {
        match &self.get(position?)?.body {
            Decoded::Enrol(enrol) => Some(enrol),
            _ => None,
        }
    }

    pub(crate) fn policy(&self, position: Option<usize>) -> Option<&AgentPolicy> {
        match &self.get(position?)?.body {
            Decoded::Policy(policy) => Some(policy),
            _ => None,
        }
    }

    pub(crate) fn verdict(&self, position: Option<usize>) -> Option<&Verdict> {
        match &self.get(position?)?.body {
            Decoded::Verdict(verdict) => Some(verdict),
            _ => None,
        }
    }

    pub(crate) fn quote(&self, position: Option<usize>) -> Option<&QuoteBody> {
        match &self.get(position?)?.body {
            Decoded::Quote(quote) => Some(quote),
            _ => None,
        }
    }
}

impl InForce {
    fn apply(&mut self, position: usize, body: &Decoded) {
        match body {
            // A new enrolment starts anew: nothing judged before it says anything after it.
            Decoded::Enrol(_) => *self = Self { enrol: Some(position), ..Self::default() },
            Decoded::Retire => *self = Self::default(),
            Decoded::Policy(_) => self.policy = Some(position),
            Decoded::Quote(_) => self.quote = Some(position),
            Decoded::Verdict(_) => self.verdict = Some(position),
            Decoded::KeyRelease(_)
            | Decoded::Miss
            | Decoded::Opaque
            | Decoded::OperatorAction
            | Decoded::Revocation => {}
        }
    }
}

/// How an entry is named in a report.
pub(crate) fn place(entry: &ProvenEntry) -> String {
    let kind = match &entry.body {
        Decoded::Enrol(_) => "enrol",
        Decoded::KeyRelease(_) => "key-release",
        Decoded::Miss => "miss",
        Decoded::Opaque => "entry of a kind not known here",
        Decoded::OperatorAction => "operator-action",
        Decoded::Policy(_) => "policy",
        Decoded::Quote(_) => "quote",
        Decoded::Retire => "retire",
        Decoded::Revocation => "revocation",
        Decoded::Verdict(_) => "verdict",
    };
    format!("entry {} ({kind}, seq {})", entry.index, entry.seq)
}
