//! What `timestamp` entries say of their tokens.

use ledger_protocol::{
    EntryRef, Kind,
    body::{Body, TimestampBody},
};
use messages::Digest;

use super::Findings;
use crate::{log::Log, verify::stamp_flaw};

/// The token that a `timestamp` entry names is over the note that it names, unaltered, and of the time that it says. Whose
/// it is decides whoever trusts authorities.
pub(super) fn check(log: &Log, index: u64, entry: &EntryRef<'_>, findings: &mut Findings) {
    if entry.kind != Kind::Timestamp || entry.agent.is_some() {
        return;
    }
    // A body that is none breaks a rule, which is told.
    let Ok(body) = TimestampBody::decode(entry.body) else { return };
    let is_it = |note: &Vec<u8>, digest: &Digest| openssl::sha::sha256(note) == digest.0;
    let blob = |digest: &Digest| log.blob(digest).ok().flatten();
    let kept = log.note(body.tree_size).ok().flatten().filter(|note| is_it(note, &body.note));
    match (kept.or_else(|| blob(&body.note)), blob(&body.token)) {
        (Some(note), Some(token)) => {
            if let Some(flaw) = stamp_flaw(&body, &note, &token) {
                findings.refute("timestamps", index, flaw);
            }
        }
        _ => findings.doubt("timestamps", index, "the token or the note that it names is not here".to_owned()),
    }
}
