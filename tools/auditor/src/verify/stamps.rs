//! Check "timestamps": what time-stamping authorities say of the log (RFC 3161), by the auditor's own roots.

use ledger_protocol::{
    Entry, Kind,
    body::{Body, TimestampBody},
};
use ledger_timestamp::{Authorities, Revocation, Token, TokenRejected, VerifiedToken};
use ledger_tlog::{
    checkpoint::{AuthenticCheckpoint, Checkpoint},
    proof::verify_consistency,
};
use messages::{Digest, UnixMillis};

use super::{Findings, Question, blobs::Blobs, entries, witnesses};
use crate::{
    bundle::{Bundle, ListedStamp, consistency_path, parse_consistency, stamp_path, stamp_proof_path},
    cause,
    history::History,
    report::{Check, CheckName},
    statement::{Stamp, StampBounds},
};

const AGAIN: &str = "get the bundle again from whoever exported it";
const FALSE_LOG: &str = "keep the bundle: it is signed proof against the log's operator";
const UNSTAMPED: &str = "export again after the log's next stamp, or name the roots of the authorities it asks";

/// What the bundle's `timestamp` entries name; the tokens are still to be judged.
pub(super) struct Stamps {
    check: Check,
    named: Vec<(u64, TimestampBody)>,
}

/// The bundle's checkpoint, and what the auditor brings.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) checkpoint: &'a AuthenticCheckpoint,
    pub(super) checkpoint_bytes: &'a [u8],
    pub(super) question: &'a Question<'a>,
}

/// For each listed entry: 1. it is in the checkpoint's tree; 2. it is a `timestamp` of the fleet's chain; 3. about a
/// checkpoint of the size listed, which the log had when it took the entry.
pub(super) fn prove(ground: Ground<'_>) -> Stamps {
    let mut check = Check::new(CheckName::Timestamps);
    let mut named = Vec::new();
    for listed in &ground.bundle.manifest().timestamps {
        check.examine();
        match named_by(ground, listed) {
            Ok(body) => named.push((listed.index, body)),
            Err((place, problem)) => check.refute(place, problem, AGAIN),
        }
    }
    Stamps { check, named }
}

fn named_by(ground: Ground<'_>, listed: &ListedStamp) -> Result<TimestampBody, (String, String)> {
    let (name, proof_name, index) = (stamp_path(listed.index), stamp_proof_path(listed.index), listed.index);
    let Ground { bundle, checkpoint, checkpoint_bytes, .. } = ground;
    let included = entries::include(bundle, &name, &proof_name, index, checkpoint, checkpoint_bytes)?;
    let problem = |problem: String| (name.clone(), problem);
    let entry = Entry::decode(included.bytes()).map_err(|error| problem(cause::chain(&error)))?;
    if entry.agent.is_some() || entry.kind != Kind::Timestamp {
        return Err(problem(format!("a {} entry; expected a timestamp of the fleet's chain", entry.kind.name())));
    }
    let body = TimestampBody::decode(&entry.body).map_err(|error| problem(cause::chain(&error)))?;
    if body.tree_size != listed.tree_size || body.tree_size > index {
        let found = format!("a stamp on a tree of {} entries", body.tree_size);
        return Err(problem(format!("{found}; the manifest lists {}, and the entry is {index}", listed.tree_size)));
    }
    Ok(body)
}

impl Stamps {
    /// The blobs that the entries name: notes and tokens.
    pub(super) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.named.iter().flat_map(|(_, body)| [body.note, body.token])
    }

    /// For each stamp: 4. its note is a checkpoint of this log, and the bundle's tree extends it; 5. its token is
    /// over that note, unaltered, and of the time the entry states; 6. with authorities to trust, it leads to one of
    /// their roots at its own time and is not revoked; one at least that covers the run.
    pub(super) fn judge(
        self,
        ground: Ground<'_>,
        blobs: &Blobs<'_>,
        history: &History,
        findings: &Findings,
    ) -> (Check, Option<StampBounds>) {
        let Self { mut check, named } = self;
        let mut believed: Vec<Stamp> = Vec::new();
        let mut reasons = Vec::new();
        for (index, body) in &named {
            let (Some(note), Some(token)) = (blobs.get(&body.note), blobs.get(&body.token)) else {
                // The check of blobs says what is missing.
                continue;
            };
            let place = stamp_path(*index);
            if let Err((place, problem, remedy)) = is_of_this_log(ground, body.tree_size, note) {
                check.refute(place, problem, remedy);
                continue;
            }
            match judge_token(body, note, token, ground.question.stamps) {
                Judged::Believed(verified, accuracy_us) => believed.push(stamp(body, &verified, accuracy_us)),
                Judged::Unknown => {}
                Judged::NotTrusted(reason) => reasons.push(format!("{}: {reason}", body.tsa)),
                Judged::False(problem) => check.refute(place, problem, FALSE_LOG),
            }
        }
        let bounds = bounds(history, findings, believed);
        if ground.question.stamps.is_some() && bounds.as_ref().is_none_or(|bounds| bounds.all_before.is_none()) {
            let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
            let problem = format!("no stamp of an authority you trust covers the last entry{reasons}");
            check.doubt("timestamps", problem, UNSTAMPED);
        }
        (check, bounds)
    }
}

fn is_of_this_log(ground: Ground<'_>, size: u64, note: &[u8]) -> Result<(), (String, String, &'static str)> {
    let Ground { bundle, checkpoint, checkpoint_bytes, question } = ground;
    let proof_name = consistency_path(size);
    let place = format!("the stamped checkpoint of {size} entries");
    let opened = Checkpoint::open(note, question.log_key.name().as_str(), question.log_key, &witnesses::keys(question))
        .map_err(|error| (place.clone(), cause::chain(&error), FALSE_LOG))?;
    if opened.tree_head().tree_size != size {
        let problem = format!("it has {} entries", opened.tree_head().tree_size);
        return Err((place, problem, FALSE_LOG));
    }
    let proof = bundle.read(&proof_name).map_err(|problem| (proof_name.clone(), problem.to_string(), AGAIN))?;
    let proof = parse_consistency(&proof, size, checkpoint_bytes)
        .ok_or_else(|| (proof_name.clone(), "not a consistency proof to the bundle's checkpoint".to_owned(), AGAIN))?;
    verify_consistency(opened.tree_head(), checkpoint.tree_head(), &proof)
        .map_err(|error| (proof_name, cause::chain(&error), FALSE_LOG))
}

/// What is false of a token in itself, whoever its authority is.
pub(crate) fn stamp_flaw(body: &TimestampBody, note: &[u8], token: &[u8]) -> Option<String> {
    match judge_token(body, note, token, None) {
        Judged::False(problem) => Some(problem),
        _ => None,
    }
}

/// What becomes of a token.
enum Judged {
    Believed(Box<VerifiedToken>, u64),
    False(String),
    NotTrusted(String),
    /// Sound as far as it can be said without roots.
    Unknown,
}

fn judge_token(body: &TimestampBody, note: &[u8], token: &[u8], trusted: Option<&Authorities>) -> Judged {
    let token = match Token::parse(token) {
        Ok(token) => token,
        Err(error) => return Judged::False(format!("its token is none: {}", cause::chain(&error))),
    };
    let stated = token.info().gen_time.0;
    if stated != body.gen_time.0 {
        return Judged::False(format!("its token is of {stated}, the entry says {}", body.gen_time.0));
    }
    let judged = match trusted {
        Some(trusted) => token.verify(note, None, trusted),
        None => match token.verify_integrity(note, None, &Authorities::new()) {
            Ok(()) => return Judged::Unknown,
            Err(error) => Err(error),
        },
    };
    match judged {
        Ok(verified) => Judged::Believed(Box::new(verified), token.info().accuracy.map_or(0, |accuracy| accuracy.0)),
        Err(
            error @ (TokenRejected::Imprint
            | TokenRejected::MessageDigest
            | TokenRejected::Nonce
            | TokenRejected::Signature
            | TokenRejected::SignerOther),
        ) => Judged::False(format!("its token does not hold: {}", cause::chain(&error))),
        Err(error) => Judged::NotTrusted(cause::chain(&error)),
    }
}

fn stamp(body: &TimestampBody, verified: &VerifiedToken, accuracy_us: u64) -> Stamp {
    Stamp {
        tree_size: body.tree_size,
        authority: verified.authority(),
        // By the far end of what the authority says of its clock.
        before: UnixMillis(verified.gen_time.0.saturating_add(accuracy_us.div_ceil(1_000))),
        revocation: match verified.revocation {
            Revocation::Checked => "checked",
            Revocation::Unknown => "unknown",
        },
    }
}

/// The earliest stamp on a tree with the last entry, and that on one with the first authentic quote.
fn bounds(history: &History, findings: &Findings, mut stamps: Vec<Stamp>) -> Option<StampBounds> {
    if stamps.is_empty() {
        return None;
    }
    stamps.sort_by_key(|stamp| (stamp.before, stamp.tree_size));
    let covering = |index: u64| stamps.iter().find(|stamp| stamp.tree_size > index).map(|stamp| stamp.before);
    let authentic = |position: &usize| findings.get(position).is_some_and(|examined| examined.is_authentic());
    let mut quotes = history.quotes().filter(|(position, _, _)| authentic(position));
    let first = quotes.next().and_then(|(_, entry, _)| covering(entry.index));
    let all = history.run().next_back().and_then(|(_, last)| covering(last.index));
    Some(StampBounds { first_quote_before: first, all_before: all, stamps })
}
