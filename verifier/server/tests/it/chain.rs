//! What the ledger holds of an agent.

use ledger_client::LedgerClient;
use ledger_protocol::{
    Entry, Kind,
    body::{Body, KeyRelease, ReleasePhase, Revocation, RevocationPhase, Verdict, VerdictResult},
};
use messages::{AgentId, Digest};

/// An entry and its leaf hash.
pub(crate) type Logged = (Entry, Digest);

pub(crate) async fn entries(ledger: &LedgerClient, id: &AgentId) -> Vec<Logged> {
    let mut all = Vec::new();
    loop {
        let page = ledger.entries(Some(id), all.len() as u64, 4_096).await.unwrap();
        for (_, bytes) in &page.entries {
            all.push((Entry::decode(bytes).unwrap(), Entry::leaf_hash(bytes)));
        }
        if all.len() as u64 >= page.head.seq {
            return all;
        }
    }
}

/// Each entry in a word or two: `quote`, `pass`, `authorised`, …
pub(crate) fn kinds(entries: &[Logged]) -> Vec<String> {
    entries.iter().map(|(entry, _)| word(entry)).collect()
}

pub(crate) fn count(entries: &[Logged], wanted: &str) -> usize {
    entries.iter().filter(|(entry, _)| word(entry) == wanted).count()
}

fn word(entry: &Entry) -> String {
    let word = match entry.kind {
        Kind::Verdict => match Verdict::decode(&entry.body).unwrap().result {
            VerdictResult::Pass => "pass",
            VerdictResult::Fail => "fail",
            VerdictResult::Error => "error",
        },
        Kind::KeyRelease => match KeyRelease::decode(&entry.body).unwrap().phase {
            ReleasePhase::Authorised => "authorised",
            ReleasePhase::Delivered => "delivered",
            ReleasePhase::Withheld => "withheld",
            ReleasePhase::Revoked => "revoked",
        },
        Kind::Revocation => match Revocation::decode(&entry.body).unwrap().phase {
            RevocationPhase::Raised => "raised",
            RevocationPhase::Delivered => "told",
            RevocationPhase::GivenUp => "given-up",
        },
        kind => kind.name(),
    };
    word.to_owned()
}

pub(crate) fn first_verdict(entries: &[Logged]) -> Verdict {
    verdicts(entries).next().unwrap()
}

pub(crate) fn last_verdict(entries: &[Logged]) -> Verdict {
    verdicts(entries).last().unwrap()
}

fn verdicts(entries: &[Logged]) -> impl Iterator<Item = Verdict> {
    let verdicts = entries.iter().filter(|(entry, _)| entry.kind == Kind::Verdict);
    verdicts.map(|(entry, _)| Verdict::decode(&entry.body).unwrap())
}

/// `component.event` of every finding of the chain's first failing verdict.
pub(crate) fn first_failure(entries: &[Logged]) -> Vec<String> {
    let failed = verdicts(entries).find(|verdict| verdict.result == VerdictResult::Fail).unwrap();
    failed.findings.iter().map(|finding| format!("{}.{}", finding.component, finding.event)).collect()
}
