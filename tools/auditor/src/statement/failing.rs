//! Why the machine failed, as its verdicts say.

use ledger_protocol::body::VerdictResult;
use messages::{FindingText, UnixMillis};
use serde::Serialize;
use verifier_protocol::appraisal::{SEVERITY_NOTICE, severity_label};

use super::rfc_3339;
use crate::history::{Decoded, History};

/// One reason of a failing verdict, its text in parts. It may quote the machine's evidence: untrusted text.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reason {
    /// The verdict's index in the log.
    pub entry: u64,
    /// When it was recorded.
    #[serde(serialize_with = "rfc_3339")]
    pub recorded: UnixMillis,
    /// Which check: `ima`.
    pub component: String,
    /// Which event of it: `pcr_mismatch`.
    pub event: String,
    /// The severity's label.
    pub severity: &'static str,
    /// Where, what was found and expected, and by which policy.
    #[serde(flatten)]
    pub text: FindingText,
}

/// The reasons of every verdict in the run that is no pass, and how many more there are. A verdict that repeats the one
/// before it is passed over.
pub(super) fn reasons(history: &History) -> (Vec<Reason>, u64) {
    let (mut reasons, mut cut) = (Vec::new(), 0);
    let mut before = None;
    for (_, entry) in history.run() {
        let Decoded::Verdict(verdict) = &entry.body else { continue };
        let findings = Some(&verdict.findings).filter(|_| verdict.result != VerdictResult::Pass);
        if before.replace(findings) == Some(findings) {
            continue;
        }
        for finding in findings.into_iter().flatten().filter(|finding| finding.severity > SEVERITY_NOTICE) {
            if reasons.len() == REASONS_MAX {
                cut += 1;
                continue;
            }
            reasons.push(Reason {
                entry: entry.index,
                recorded: entry.recorded,
                component: finding.component.clone(),
                event: finding.event.clone(),
                severity: severity_label(finding.severity),
                text: FindingText::parse(&finding.text),
            });
        }
    }
    (reasons, cut)
}

/// More than a person reads; the entries have them all.
const REASONS_MAX: usize = 100;
