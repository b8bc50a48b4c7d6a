//! Check "releases": no key share left without a pass behind it.

use std::collections::BTreeMap;

use evidence::{algorithm::HashAlgorithm, pcr::PcrIndex};
use ledger_protocol::body::{KeyRelease, ReleasePhase, VerdictResult};
use messages::Digest;

use super::quotes::values_of;
use crate::{
    history::{Decoded, History, InForce, ProvenEntry, place},
    report::{Check, CheckName},
};

const FALSE_LOG: &str = "keep the bundle: it is signed proof against the log's operator";
const EARLIER: &str = "export again with an earlier --from, so that the authorisation is in the run";

/// The register a Keylime agent extends with its payload key's hash before each quote.
const PCR_PAYLOAD_KEY: u8 = 16;

/// For each release: 1. it names the chain's latest verdict, or a delivery the one that authorised it; 2. *authorised* rests on a pass; 3. the key
/// it is encrypted to is the one in the quote's payload key register; 4. *delivered* follows an *authorised* of the
/// same key to the same recipient that nothing has ended.
pub(super) fn check(history: &History) -> Check {
    let mut check = Check::new(CheckName::Releases);
    let mut open: BTreeMap<(Option<usize>, Digest), KeyRelease> = BTreeMap::new();
    for (position, entry) in history.run() {
        let Decoded::KeyRelease(release) = &entry.body else { continue };
        check.examine();
        let before = history.in_force(position);
        let key = (before.enrol, release.key_id);
        let authorised = open.get(&key);
        // Delivery may become known after the next verdict: it may name the one that authorised it.
        let late = release.phase == ReleasePhase::Delivered
            && authorised.is_some_and(|authorised| authorised.verdict == release.verdict);
        if !late {
            check_latest_verdict(history, before, entry, release, &mut check);
        }
        match release.phase {
            ReleasePhase::Authorised => {
                check_pass(history, before, entry, &mut check);
                check_recipient(history, before, entry, release, &mut check);
                open.insert(key, release.clone());
            }
            ReleasePhase::Delivered => {
                check_delivery(history, authorised, entry, release, &mut check);
                open.remove(&key);
            }
            ReleasePhase::Withheld | ReleasePhase::Revoked => {
                open.remove(&key);
            }
        }
    }
    check
}

fn check_latest_verdict(
    history: &History,
    before: InForce,
    entry: &ProvenEntry,
    release: &KeyRelease,
    check: &mut Check,
) {
    let latest = before.verdict.and_then(|position| history.get(position));
    if latest.is_none_or(|latest| latest.leaf != release.verdict) {
        let latest = latest.map_or("none".to_owned(), |latest| format!("entry {}", latest.index));
        let problem = format!("it rests on verdict {}; the latest is {latest}", release.verdict);
        check.refute(place(entry), problem, FALSE_LOG);
    }
}

fn check_pass(history: &History, before: InForce, entry: &ProvenEntry, check: &mut Check) {
    if history.verdict(before.verdict).is_none_or(|verdict| verdict.result != VerdictResult::Pass) {
        check.refute(place(entry), "a key release was authorised without a passing verdict", FALSE_LOG);
    }
}

/// PCR 16 of the SHA-256 bank is H(0… ‖ H(PEM)), and the recipient is H(PEM).
fn check_recipient(history: &History, before: InForce, entry: &ProvenEntry, release: &KeyRelease, check: &mut Check) {
    if release.recipient == Digest::ZERO {
        check.refute(place(entry), "a key release was authorised to no recipient", FALSE_LOG);
        return;
    }
    let Some(values) = history.quote(before.quote).and_then(|quote| values_of(&quote.pcrs).ok()) else { return };
    let register = PcrIndex::try_from(PCR_PAYLOAD_KEY).ok().and_then(|index| values.get(index));
    if values.bank().algorithm() != HashAlgorithm::Sha256 {
        let problem = "the recipient cannot be compared with PCR 16, which is not of the sha256 bank";
        check.doubt(place(entry), problem, "nothing to do: the log holds the recipient's SHA-256 only");
        return;
    }
    let expected = openssl::sha::sha256(&[[0; 32], *release.recipient.as_bytes()].concat());
    if register.is_none_or(|register| register.as_bytes() != expected) {
        let problem = format!("its recipient {} is not the key that the quote's PCR 16 attests", release.recipient);
        check.refute(place(entry), problem, FALSE_LOG);
    }
}

fn check_delivery(
    history: &History,
    authorised: Option<&KeyRelease>,
    entry: &ProvenEntry,
    release: &KeyRelease,
    check: &mut Check,
) {
    match authorised {
        None if history.is_whole() => {
            check.refute(place(entry), "a key share was delivered without an open authorisation", FALSE_LOG);
        }
        None => check.doubt(place(entry), "the authorisation of this delivery is not in the run", EARLIER),
        Some(authorised) if authorised.recipient != release.recipient => {
            let problem = format!("it went to {}; authorised was {}", release.recipient, authorised.recipient);
            check.refute(place(entry), problem, FALSE_LOG);
        }
        Some(_) => {}
    }
}
