//! The log before its witnesses: no checkpoint is published before they were asked.
//!
//! A checkpoint is signed and the lock holds it; then the witnesses cosign, each after checking
//! that it extends the last one it has seen; then the note is published with all its lines and
//! never changes again. See `docs/spec/witness.md` and the decision record beside it.

mod coverage;
mod peer;
mod policy;
mod report;
mod standing;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::note::{Note, NoteSignature};
use ledger_tlog::policy::WitnessQuorum;
use ledger_tlog::tree::TreeHead;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use transport::client::Client;
use transport::tls::ClientTls;

pub(crate) use self::coverage::{Ack, Coverage};
use self::peer::{Peer, Statement, SubmitFailed};
pub use self::policy::{WitnessPolicy, WitnessPolicyError};
pub(crate) use self::report::Described;
use self::report::Reports;
pub use self::standing::Contradiction;
use crate::levels::Levels;

/// Whom a log asks to cosign, and how.
#[derive(Clone, Debug)]
pub struct WitnessConfig {
    /// Start although no witness says what it has cosigned: a log restored from an old copy then
    /// starts, and has two histories.
    pub danger_start_unchecked: bool,
    /// The witnesses, their addresses, and how many of them suffice.
    pub policy: WitnessPolicy,
    /// How long a checkpoint waits for cosignatures before it is published with those it has.
    pub timeout: Duration,
    /// Trust in the witnesses' servers; without effect on those asked over plain HTTP.
    pub tls: ClientTls,
}

impl WitnessConfig {
    /// The witnesses of `policy`, with [`WITNESS_TIMEOUT`], checked at start.
    #[must_use]
    pub const fn new(policy: WitnessPolicy, tls: ClientTls) -> Self {
        Self { danger_start_unchecked: false, policy, timeout: WITNESS_TIMEOUT, tls }
    }
}

/// Why a log does not start before its witnesses.
#[derive(Debug, thiserror::Error)]
pub enum WitnessesRefuse {
    /// A witness knows of another history than this one.
    #[error("the log in this folder must not go on")]
    Contradiction(#[source] Contradiction),
    /// The policy lists logs, but not this one.
    #[error("the witness policy is for other logs than {log}; add the line: log {log}")]
    OtherLog {
        /// The log's verifier key.
        log: String,
    },
    /// The runtime that speaks with the witnesses was not made.
    #[error("cannot start to speak with the witnesses")]
    Runtime(#[source] io::Error),
    /// No witness says what it has cosigned.
    #[error(
        "no witness says what it has cosigned of this log ({reasons}); make one reachable: only they can tell an old \
         copy of this folder from the newest"
    )]
    Silent {
        /// What each answered.
        reasons: String,
    },
}

/// A log's conversation with its witnesses. Blocks whoever calls it; not for use inside a runtime.
pub(crate) struct Witnessing {
    keys: Vec<NoteVerifier>,
    peers: Vec<Arc<Peer>>,
    quorum: WitnessQuorum,
    reports: Arc<Reports>,
    runtime: Runtime,
    timeout: Duration,
    log: NoteVerifier,
    levels: Arc<Levels>,
}

/// A note ready to be published.
pub(crate) struct Cosigned {
    /// With the log's signature and the cosignatures that came in time.
    pub(crate) note: Vec<u8>,
    /// Whether they are a quorum.
    pub(crate) witnessed: bool,
}

impl Witnessing {
    /// Begins to work with the witnesses of `config`, if there are any; what is covered so far
    /// follows from the last checkpoint, `signed`.
    ///
    /// # Errors
    /// As [`Witnessing::start`].
    pub(crate) fn begin(
        config: Option<&WitnessConfig>,
        log: &NoteVerifier,
        signed: Option<(TreeHead, &[u8])>,
        levels: &Arc<Levels>,
    ) -> Result<(Option<Self>, Coverage), WitnessesRefuse> {
        let head = signed.map_or(TreeHead::EMPTY, |(head, _)| head);
        let witnessing = config.map(|config| Self::start(config, log, head, levels)).transpose()?;
        let coverage = Coverage::new(witnessing.as_ref().map(|witnessing| Arc::clone(&witnessing.reports)));
        if let Some((head, note)) = signed {
            let witnessed = witnessing.as_ref().is_some_and(|witnessing| witnessing.is_witnessed(note));
            coverage.published(head.tree_size, witnessed);
        }
        Ok((witnessing, coverage))
    }

    /// Asks the witnesses what they have cosigned of `log`, whose last checkpoint is `signed`.
    ///
    /// # Errors
    /// [`WitnessesRefuse`] if one of them shows that this is not the newest state of the log, or
    /// if none answers.
    fn start(
        config: &WitnessConfig,
        log: &NoteVerifier,
        signed: TreeHead,
        levels: &Arc<Levels>,
    ) -> Result<Self, WitnessesRefuse> {
        if !config.policy.covers(log) {
            return Err(WitnessesRefuse::OtherLog { log: log.to_string() });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-witness")
            .enable_all()
            .build()
            .map_err(WitnessesRefuse::Runtime)?;
        let client = Client::new(config.tls.clone());
        let peers = config.policy.addresses().iter();
        let peers: Vec<_> =
            peers.map(|(key, url)| Arc::new(Peer::new(client.clone(), key.clone(), url, log))).collect();
        let witnessing = Self {
            keys: config.policy.quorum().witnesses().cloned().collect(),
            quorum: config.policy.quorum().clone(),
            reports: Arc::new(Reports::new(&peers)),
            peers,
            runtime,
            timeout: config.timeout,
            log: log.clone(),
            levels: Arc::clone(levels),
        };
        witnessing.runtime.block_on(witnessing.check_start(signed, config.danger_start_unchecked))?;
        Ok(witnessing)
    }

    /// Whether the checkpoint `note` of this log bears a quorum.
    fn is_witnessed(&self, note: &[u8]) -> bool {
        let opened = Checkpoint::open(note, self.log.name().as_str(), &self.log, &self.keys);
        opened.is_ok_and(|opened| self.quorum.check(&opened).is_ok())
    }

    async fn check_start(&self, signed: TreeHead, danger_unchecked: bool) -> Result<(), WitnessesRefuse> {
        let mut asking = JoinSet::new();
        for (number, peer) in self.peers.iter().enumerate() {
            let (peer, levels) = (Arc::clone(peer), Arc::clone(&self.levels));
            asking.spawn(async move { (number, peer.check(signed, &levels, START_TIMEOUT).await) });
        }
        let mut answered = false;
        let mut reasons = Vec::new();
        while let Some(asked) = asking.join_next().await {
            let Ok((number, checked)) = asked else { continue };
            let name = self.peers.get(number).map_or("", |peer| peer.name());
            match checked {
                Ok(size) => {
                    answered = true;
                    tracing::info!(witness = name, size, signed = signed.tree_size, "a witness knows this log");
                }
                Err(SubmitFailed::Contradiction(source)) => return Err(WitnessesRefuse::Contradiction(source)),
                Err(error) => {
                    let reason = crate::engine::chain(&error);
                    tracing::warn!(witness = name, reason, "a witness does not say what it has cosigned");
                    reasons.push(format!("{name}: {reason}"));
                    self.reports.failed(number, reason);
                }
            }
        }
        match (answered, danger_unchecked) {
            (true, _) => Ok(()),
            (false, true) => {
                tracing::error!("no witness was heard; if this folder is an old copy, the log now gets two histories");
                Ok(())
            }
            (false, false) => Err(WitnessesRefuse::Silent { reasons: reasons.join("; ") }),
        }
    }

    /// Asks all witnesses to cosign `note`, a checkpoint of `head` that the lock already holds.
    ///
    /// Waits for a quorum and then as long again for the rest, but no longer than the timeout.
    ///
    /// # Errors
    /// [`Contradiction`] proven by a checkpoint with this log's own signature: nothing more may be
    /// signed. Everything else a witness does wrong is only reported.
    pub(crate) fn cosign(&self, head: TreeHead, note: &Note) -> Result<Cosigned, Contradiction> {
        self.runtime.block_on(self.collect(head, note))
    }

    async fn collect(&self, head: TreeHead, note: &Note) -> Result<Cosigned, Contradiction> {
        let begun = Instant::now();
        let statement = Arc::new(Statement { head, note: note.clone(), levels: Arc::clone(&self.levels) });
        let mut asking = JoinSet::new();
        for (number, peer) in self.peers.iter().enumerate() {
            let (peer, statement) = (Arc::clone(peer), Arc::clone(&statement));
            let timeout = self.timeout;
            asking.spawn(async move { (number, peer.submit(&statement, timeout).await) });
        }
        let deadline = begun + self.timeout;
        let mut cosigned = note.clone();
        let mut witnessed = self.is_witnessed(&cosigned.to_bytes());
        let mut until = if witnessed { deadline.min(begun + REST_MIN) } else { deadline };
        let mut waiting = vec![true; self.peers.len()];
        while let Ok(Some(asked)) = tokio::time::timeout_at(until, asking.join_next()).await {
            let Ok((number, submitted)) = asked else { continue };
            if let Some(waiting) = waiting.get_mut(number) {
                *waiting = false;
            }
            match submitted {
                Ok((line, time)) => {
                    match time {
                        Some(time) => self.reports.cosigned(number, head.tree_size, time),
                        None => self.reports.failed(number, UNVERIFIABLE.to_owned()),
                    }
                    cosigned.add_signatures([line]);
                    if !witnessed && self.is_witnessed(&cosigned.to_bytes()) {
                        witnessed = true;
                        until = deadline.min(Instant::now() + begun.elapsed().max(REST_MIN));
                    }
                }
                Err(SubmitFailed::Contradiction(contradiction)) => return Err(contradiction),
                Err(error) => self.reports.failed(number, crate::engine::chain(&error)),
            }
        }
        for (number, _) in waiting.iter().enumerate().filter(|(_, waiting)| **waiting) {
            let waited = begun.elapsed().as_millis();
            self.reports.failed(number, format!("no answer within {waited} ms, when the checkpoint was published"));
        }
        let lines = cosigned.signatures().len() - note.signatures().len();
        if !witnessed {
            let (size, known) = (head.tree_size, self.keys.len());
            tracing::warn!(size, cosignatures = lines, known, "a checkpoint is published without a quorum");
        }
        Ok(Cosigned { note: cosigned.to_bytes(), witnessed })
    }
}

impl fmt::Debug for Witnessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witnessing").field("peers", &self.peers).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A signature line and the time it states; none if the openssl that is linked cannot verify it.
type Line = (NoteSignature, Option<ledger_tlog::key::PosixSeconds>);

/// What is told of a line that is published and does not count.
const UNVERIFIABLE: &str =
    "its ML-DSA-44 cosignature is published but not verifiable here (needs OpenSSL 3.5 or later)";

/// How long a checkpoint waits for its witnesses unless told otherwise: the period of checkpoints,
/// so that dead witnesses at most double the age of a beacon.
pub const WITNESS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a start waits for each witness to say what it has cosigned: a TLS handshake and an
/// answer with room for two lost packets sent again.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// The least that the rest of the witnesses is waited for after a quorum: a round trip within a
/// continent, when the quorum answered from this very machine.
const REST_MIN: Duration = Duration::from_millis(30);
