//! Time-stamps under the beacons of quotes: before which times the quotes were not made.

use ledger_protocol::body::{Body, TimestampBody};
use ledger_protocol::{Entry, Kind};
use ledger_timestamp::{MalformedToken, Token, TokenRejected};
use ledger_tlog::checkpoint::CheckpointRejected;
use ledger_tlog::proof::{InclusionError, verify_inclusion};
use ledger_tlog::tree::TreeHead;
use messages::{AgentId, Digest};

use super::evidence;
use super::format::{BeaconStamp, BeaconStamps, Evidence, IntervalProof, LoggedToken, StampedNote, hash, inclusion};
use super::refused::IntervalRefused;
use super::statement::{NotBefore, ProvenTime, Strength};
use super::verify::Trust;
use crate::node::sha256;

/// Why a time-stamp under a beacon bounds no quote.
#[derive(Debug, thiserror::Error)]
pub enum BeaconStampFlaw {
    /// The beacon is none of this log's checkpoints.
    #[error("the quote's beacon is not a checkpoint of this log")]
    Beacon(#[source] CheckpointRejected),
    /// The beacon is of another size than the quote says.
    #[error("the quote's beacon covers {found} entries; expected {expected}, as the quote says")]
    BeaconSize {
        /// Of the quote.
        expected: u64,
        /// Of the beacon.
        found: u64,
    },
    /// No entry of the kind, or not of the fleet's chain, or one that stamps what was to come after it.
    #[error("its entry is no timestamp entry of the fleet's chain")]
    Entry,
    /// The entry is not under the beacon.
    #[error("its entry is not in the tree of the quote's beacon")]
    Inclusion(#[source] InclusionError),
    /// The note is not the one that the entry names, or no checkpoint of this log.
    #[error("what it stamps is not the checkpoint of this log that its entry names")]
    Note,
    /// Out of order, of no evidence with a beacon, or of use to no quote.
    #[error("it is out of order, or of no quote that is shown with its beacon")]
    Quote,
    /// The token is malformed.
    #[error("the token is malformed")]
    TokenForm(#[source] MalformedToken),
    /// The token is not the one that the entry names, or of another time.
    #[error("the token is not the one that its entry names")]
    TokenOther,
    /// The token is not believed.
    #[error("the token is not believed")]
    TokenRejected(#[source] TokenRejected),
}

impl BeaconStampFlaw {
    /// The check's name in `docs/spec/interval-proof.md`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Beacon(_) | Self::BeaconSize { .. } => "beacon-checkpoint",
            Self::Entry => "beacon-entry",
            Self::Inclusion(_) => "beacon-inclusion",
            Self::Note => "beacon-note",
            Self::Quote => "beacon-quote",
            Self::TokenForm(_) | Self::TokenOther => "beacon-token",
            Self::TokenRejected(_) => "beacon-rejected",
        }
    }
}

/// Verifies the time-stamps under beacons, in this order.
///
/// Each token: its entry is a `timestamp` of the fleet's chain; the note is the one that it names, a checkpoint of this
/// log of the size stated; the token is the one that it names, of the time stated, and if authorities are trusted
/// is signed over the note. Each beacon: it is that of a shown quote which answers its nonce; a checkpoint of this log of
/// the size that the quote says; the token's entry is in its tree. Each token is of use.
///
/// The bound rests on the nonce, the beacon's root and the entry alone: the quote contains a digest of the token, and
/// nobody but the authority could make that before its time.
pub(super) fn check(
    proof: &IntervalProof,
    times: impl Fn(u64) -> Option<u64>,
    trust: &Trust<'_>,
) -> Result<Vec<NotBefore>, IntervalRefused> {
    let Some(BeaconStamps { tokens, beacons }) = &proof.beacon_stamps else { return Ok(Vec::new()) };
    let flawed = |position| move |source| IntervalRefused::BeaconStamp { position, source };
    let mut bounds = Vec::with_capacity(tokens.len());
    for (position, token) in tokens.iter().enumerate() {
        bounds.push(check_token(token, trust).map_err(flawed(position))?);
    }
    let mut used = vec![false; tokens.len()];
    let mut stated = Vec::new();
    let mut last = None;
    for (position, beacon) in beacons.iter().enumerate() {
        let flawed = flawed(position);
        let place = Some((beacon.number, beacon.token));
        let evidence = proof.evidence.iter().find(|evidence| evidence.number == beacon.number);
        let at = usize::try_from(beacon.token).unwrap_or(usize::MAX);
        let (Some(evidence), true, Some(quote)) = (evidence, place > last, times(beacon.number)) else {
            return Err(flawed(BeaconStampFlaw::Quote));
        };
        let (Some(token), Some(bound), Some(used)) = (tokens.get(at), bounds.get(at), used.get_mut(at)) else {
            return Err(flawed(BeaconStampFlaw::Quote));
        };
        let high = check_beacon(beacon, evidence, token, &proof.agent, trust).map_err(|refused| match refused {
            BeaconRefused::Nonce => IntervalRefused::Nonce { number: beacon.number },
            BeaconRefused::Flaw(source) => flawed(source),
        })?;
        (last, *used) = (place, true);
        stated.extend(bound.map(|(seconds, accuracy_ms)| NotBefore {
            quote,
            number: beacon.number,
            time: ProvenTime { seconds, strength: Strength::Stamped },
            accuracy_ms,
            beacon_by: high.map(|seconds| ProvenTime { seconds, strength: Strength::Witnessed }),
        }));
    }
    match used.iter().position(|used| !used) {
        Some(position) => Err(flawed(position)(BeaconStampFlaw::Quote)),
        None => Ok(stated),
    }
}

/// The earliest second at which the token was made and its accuracy, if its authority is trusted.
fn check_token(of: &LoggedToken, trust: &Trust<'_>) -> Result<Option<(u64, Option<u64>)>, BeaconStampFlaw> {
    let entry = Entry::decode(&of.entry).ok().filter(|entry| entry.kind == Kind::Timestamp && entry.agent.is_none());
    let body = entry.and_then(|entry| TimestampBody::decode(&entry.body).ok());
    let body = body.filter(|body| body.tree_size <= of.index).ok_or(BeaconStampFlaw::Entry)?;
    let opened = trust.open(&of.note, StampedNote::Last).ok().map(|note| note.tree_head().tree_size);
    if sha256(&of.note) != body.note || opened != Some(body.tree_size) {
        return Err(BeaconStampFlaw::Note);
    }
    if sha256(&of.token) != body.token {
        return Err(BeaconStampFlaw::TokenOther);
    }
    let token = Token::parse(&of.token).map_err(BeaconStampFlaw::TokenForm)?;
    if token.info().gen_time.0 != body.gen_time.0 {
        return Err(BeaconStampFlaw::TokenOther);
    }
    if !trust.believes(&token, &of.note).map_err(BeaconStampFlaw::TokenRejected)? {
        return Ok(None);
    }
    let accuracy_ms = token.info().accuracy.map(|accuracy| accuracy.0.div_ceil(1_000));
    let earliest_ms = token.info().gen_time.0.saturating_sub(accuracy_ms.unwrap_or(0));
    Ok(Some((earliest_ms / 1_000, accuracy_ms)))
}

enum BeaconRefused {
    Flaw(BeaconStampFlaw),
    Nonce,
}

/// By when trusted witnesses saw the beacon, once it is shown to have the token's entry in its tree.
fn check_beacon(
    beacon: &BeaconStamp,
    evidence: &Evidence,
    token: &LoggedToken,
    agent: &AgentId,
    trust: &Trust<'_>,
) -> Result<Option<u64>, BeaconRefused> {
    let (Some(note), Some((named, answered))) = (&evidence.beacon, evidence::challenge(&evidence.quote, agent)) else {
        return Err(BeaconRefused::Flaw(BeaconStampFlaw::Quote));
    };
    // A quote that answers another nonce commits to nothing of its entry's.
    if !answered {
        return Err(BeaconRefused::Nonce);
    }
    let opened = trust.opened(note).map_err(BeaconStampFlaw::Beacon).map_err(BeaconRefused::Flaw)?;
    let head: TreeHead = *opened.tree_head();
    if head.tree_size != named.tree_size {
        let (expected, found) = (named.tree_size, head.tree_size);
        return Err(BeaconRefused::Flaw(BeaconStampFlaw::BeaconSize { expected, found }));
    }
    let leaf: Digest = Entry::leaf_hash(&token.entry);
    verify_inclusion(&hash(&leaf), token.index, &head, &inclusion(&beacon.inclusion))
        .map_err(|source| BeaconRefused::Flaw(BeaconStampFlaw::Inclusion(source)))?;
    Ok(trust.bounds(note, named.tree_size).map(|(_, high)| high))
}
