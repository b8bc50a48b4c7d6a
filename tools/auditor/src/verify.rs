//! Checking a bundle offline: the checks of `docs/spec/bundle.md` in their order, then the statement.

mod appraisal;
mod beacons;
mod blobs;
mod chain;
mod entries;
mod files;
mod identity;
mod quotes;
pub(crate) use quotes::{Findings, values_of};
mod releases;
mod run;
pub(crate) use run::{judge, read_entry};
mod stamps;
pub(crate) use stamps::stamp_flaw;
mod verdicts;
mod witnesses;

use std::path::Path;

use evidence::{ek_certificate::TrustStore, runtime_policy::Signers};
use ledger_timestamp::Authorities;
use ledger_tlog::{
    checkpoint::{AuthenticCheckpoint, Checkpoint},
    key::NoteVerifier,
    policy::WitnessQuorum,
};
use messages::{AgentId, UnixMillis};

use crate::{
    bundle::{Bundle, BundleUnreadable, CHECKPOINT, ManifestRejected},
    history::History,
    report::{Check, CheckName, Report},
    statement,
};

/// What the auditor brings: everything that is trusted, and what is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The log's key. Its name is the origin that is expected.
    pub log_key: &'a NoteVerifier,
    /// Manufacturers' certificates; without them no EK certificate can be traced.
    pub roots: Option<&'a TrustStore>,
    /// The agent the bundle must be about; any if none.
    pub agent: Option<&'a AgentId>,
    /// Start of the interval; the bundle's own if none.
    pub from: Option<UnixMillis>,
    /// End of the interval; the bundle's own if none.
    pub to: Option<UnixMillis>,
    /// Who may sign runtime policies. If given, each runtime policy in force must come in an envelope that one of
    /// them signed; without them the envelopes are only held against the keys recorded with them.
    pub policy_signers: Option<&'a Signers>,
    /// The witnesses trusted, and how many of them must have cosigned; without them cosignatures
    /// are passed over.
    pub witnesses: Option<&'a WitnessQuorum>,
    /// The time-stamping authorities trusted, with revocation lists; without them a stamp proves no time.
    pub stamps: Option<&'a Authorities>,
}

/// Checks the bundle in `folder`.
///
/// In order: files, checkpoint, inclusion, entries, chain, blobs, beacons, timestamps, identity, nonces,
/// quotes, verdicts, appraisal, releases, coverage. If one of the first five fails the rest is
/// not run, since it would judge bytes nobody vouches for.
#[must_use]
pub fn verify(folder: &Path, question: &Question<'_>) -> Report {
    let mut report = Report::new(question.log_key.name().to_string());
    if let Some(audit) = authenticate(folder, question, &mut report) {
        audit.judge(question, &mut report);
    }
    report.conclude()
}

/// A bundle whose entries are known to be in the log.
struct Audit {
    bundle: Bundle,
    checkpoint: AuthenticCheckpoint,
    checkpoint_bytes: Vec<u8>,
    history: History,
}

/// From bytes to entries that the log has signed for.
fn authenticate(folder: &Path, question: &Question<'_>, report: &mut Report) -> Option<Audit> {
    let bundle = open(folder, report)?;
    report.agent = Some(bundle.manifest().agent.to_string());
    if !report.add(files::check(&bundle, question.agent)) {
        return None;
    }
    let (check, checkpoint) = check_checkpoint(&bundle, question);
    report.add(check);
    let (checkpoint_bytes, checkpoint) = checkpoint?;
    report.tree_size = Some(checkpoint.tree_head().tree_size);
    let (check, proven) = entries::check_inclusion(&bundle, &checkpoint, &checkpoint_bytes);
    if !report.add(check) {
        return None;
    }
    let (check, entries) = entries::check_form(&bundle, proven);
    if !report.add(check) {
        return None;
    }
    report.entries = entries.len() as u64;
    let history = History::new(entries);
    if !report.add(chain::check(&history)) {
        return None;
    }
    Some(Audit { bundle, checkpoint, checkpoint_bytes, history })
}

impl Audit {
    fn judge(&self, question: &Question<'_>, report: &mut Report) {
        let agent = &self.bundle.manifest().agent;
        let ground = stamps::Ground {
            bundle: &self.bundle,
            checkpoint: &self.checkpoint,
            checkpoint_bytes: &self.checkpoint_bytes,
            question,
        };
        let stamps = stamps::prove(ground);
        let (check, blobs) = blobs::check(&self.bundle, &self.history, stamps.blobs());
        report.add(check);
        report.add(beacons::check(&self.bundle, &self.history, &self.checkpoint, &self.checkpoint_bytes, question));
        let (check, identities) = identity::check(&self.history, &blobs, agent, question);
        report.add(check);
        let findings = quotes::examine(&self.history, &identities, agent);
        report.add(quotes::check_nonces(&self.history, &findings));
        report.add(quotes::check_quotes(&self.history, &findings));
        report.add(verdicts::check(&self.history));
        report.add(appraisal::check(&self.history, &blobs, &identities, &findings, question));
        report.add(releases::check(&self.history));
        let manifest = self.bundle.manifest();
        let interval = statement::Interval { from: question.from.or(manifest.from), to: question.to.or(manifest.to) };
        report.add(chain::check_coverage(&self.history, interval));
        let bounds = witnesses::bounds(&self.bundle, &self.history, &findings, &self.checkpoint_bytes, question);
        let (check, stamped) = stamps.judge(ground, &blobs, &self.history, &findings);
        report.add(check);
        report.not_proven = statement::not_proven(
            &self.history,
            self.checkpoint.tree_head().tree_size,
            (bounds, stamped.as_ref()),
            question.witnesses.is_some(),
        );
        report.statement = statement::draw(&self.history, interval, &findings, (bounds, stamped));
    }
}

fn open(folder: &Path, report: &mut Report) -> Option<Bundle> {
    let mut check = Check::new(CheckName::Files);
    check.examine();
    let error = match Bundle::open(folder) {
        Ok(bundle) => return Some(bundle),
        Err(error) => error,
    };
    let text = crate::cause::chain(&error);
    match &error {
        BundleUnreadable::File { path, .. } => {
            check.doubt(path.display().to_string(), text, "give the directory that attestry-audit export wrote");
        }
        BundleUnreadable::Manifest { path, source: ManifestRejected::Format { .. } } => {
            check.doubt(path.display().to_string(), text, "use a version of attestry-audit that knows this format");
        }
        BundleUnreadable::Manifest { path, .. } => {
            check.refute(path.display().to_string(), text, "get the bundle again from whoever exported it");
        }
    }
    report.add(check);
    None
}

/// 1. the note is signed by the log's key, and no witness's signature is forged; 2. its origin is the key's name;
/// 3. it is the tree the index speaks of; 4. enough witnesses cosigned it, if the auditor names any.
fn check_checkpoint(bundle: &Bundle, question: &Question<'_>) -> (Check, Option<(Vec<u8>, AuthenticCheckpoint)>) {
    let log_key = question.log_key;
    let mut check = Check::new(CheckName::Checkpoint);
    check.examine();
    let bytes = match bundle.read(CHECKPOINT) {
        Ok(bytes) => bytes,
        Err(problem) => {
            check.refute(CHECKPOINT, problem.to_string(), "get the bundle again from whoever exported it");
            return (check, None);
        }
    };
    let origin = log_key.name().as_str();
    match Checkpoint::open(&bytes, origin, log_key, &witnesses::keys(question)) {
        Err(error) => {
            let remedy = "make sure that --log-key is the key of this log, from a source you trust";
            check.refute(CHECKPOINT, crate::cause::chain(&error), remedy);
            (check, None)
        }
        Ok(checkpoint) => {
            let (manifest, size) = (bundle.manifest(), checkpoint.tree_head().tree_size);
            if manifest.origin != origin || manifest.tree_size != size {
                let found = format!("the manifest names {:?} with {} entries", manifest.origin, manifest.tree_size);
                let problem = format!("{found}; the checkpoint is of {origin:?} with {size}");
                check.refute(CHECKPOINT, problem, "get the bundle again from whoever exported it");
            }
            if let Some(missed) = witnesses::missed(&checkpoint, question) {
                check.doubt(CHECKPOINT, missed, witnesses::REMEDY);
            }
            let sound = !check.is_false();
            (check, sound.then_some((bytes, checkpoint)))
        }
    }
}
