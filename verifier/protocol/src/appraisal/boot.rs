//! The boot log against the quoted registers and the measured-boot policy, once per log and registers.

use evidence::{
    boot_log::BootLog,
    crypto::CryptoUnavailable,
    measured_boot::{self, FindingKind},
    pcr::PcrValues,
};
use messages::{Digest, FindingText};
use openssl::sha::{Sha256, sha256};

use super::{findings::Findings, lists::ListPart};
use crate::policy::{MeasuredBootPolicy, PCR_IMA, PCR_PAYLOAD_KEY, layer_name};

const COMPONENT: &str = "measured_boot";

/// What a boot log is held against.
#[derive(Clone, Copy, Debug)]
pub struct BootReference<'a> {
    /// What may boot.
    pub policy: &'a MeasuredBootPolicy,
    /// What was made of the log in an earlier round; taken over if log, registers and policy are the same.
    pub before: Option<&'a BootJudgement>,
}

/// What was made of a boot log, and over what exactly.
#[derive(Clone, Debug)]
pub struct BootJudgement {
    /// SHA-256 over all that the judgement depends on.
    input: [u8; 32],
    findings: Findings,
}

impl BootJudgement {
    /// Whether nothing was found wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Adds what is wrong with the log; the judgement, if there is a log to judge.
pub(super) fn judge(
    reference: &BootReference<'_>,
    log: &ListPart<Vec<u8>>,
    values: &PcrValues,
    findings: &mut Findings,
) -> Result<Option<BootJudgement>, CryptoUnavailable> {
    let layer = layer(reference.policy);
    let log = match log {
        ListPart::Present(log) => log,
        ListPart::Absent => {
            let text = FindingText::new("boot log", "none came along", "one, which the policy requires");
            findings.push(COMPONENT, "parser.missing_log", text.of_layer(layer));
            return Ok(None);
        }
        ListPart::Unusable(reason) => {
            let text = FindingText::new("boot log", reason, "a log that can be kept and judged");
            findings.push(COMPONENT, "parser.log.base64decode", text.of_layer(layer));
            return Ok(None);
        }
    };
    let values = firmware_values(values);
    let input = input(reference.policy.digest(), log, &values);
    let judgement = match reference.before.filter(|before| before.input == input) {
        Some(before) => before.clone(),
        None => BootJudgement { input, findings: judge_anew(reference.policy, log, &values)? },
    };
    findings.extend(&judgement.findings);
    Ok(Some(judgement))
}

/// The quoted registers without those that change while the machine runs: no boot depends on them.
fn firmware_values(values: &PcrValues) -> PcrValues {
    let mut kept = PcrValues::new(values.bank());
    for (index, value) in values.iter() {
        if !matches!(index.get(), PCR_IMA | PCR_PAYLOAD_KEY) {
            // A value out of the same bank always fits.
            let _ = kept.insert(index, *value);
        }
    }
    kept
}

fn input(policy: Digest, log: &[u8], values: &PcrValues) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&policy.0);
    hash.update(&sha256(log));
    hash.update(&values.bank().algorithm().tpm_id().to_be_bytes());
    for (index, value) in values.iter() {
        hash.update(&[index.get()]);
        hash.update(value.as_bytes());
    }
    hash.finish()
}

fn judge_anew(policy: &MeasuredBootPolicy, log: &[u8], values: &PcrValues) -> Result<Findings, CryptoUnavailable> {
    let mut findings = Findings::default();
    let layer = layer(policy);
    let log = match BootLog::parse(log) {
        Ok(log) => log,
        Err(malformed) => {
            let text = FindingText::new("boot log", malformed.to_string(), "a log as firmware writes it");
            findings.push(COMPONENT, "parser.tpm2_eventlog.error", text);
            return Ok(findings);
        }
    };
    let appraisal = policy.policy().appraise(&log, values)?;
    for finding in appraisal.findings() {
        findings.push(COMPONENT, &boot_event(&finding.kind), boot_text(finding, &layer));
    }
    findings.cut(appraisal.findings_cut());
    if appraisal.everything_accepted() {
        let text = FindingText::remark("boot log", "no event is judged by the policy accept-all", layer);
        findings.notice(COMPONENT, "accept_all", text);
    }
    Ok(findings)
}

fn layer(policy: &MeasuredBootPolicy) -> String {
    layer_name(COMPONENT, policy.digest())
}

/// A boot log's finding in its parts. `policy` is what the policy is called; the alternative stands behind it.
#[must_use]
pub fn boot_text(finding: &measured_boot::Finding, policy: &str) -> FindingText {
    let text = FindingText::new(finding.place(), finding.found(), finding.expected());
    match &finding.alternative {
        _ if !finding.is_of_policy() => text,
        Some(alternative) => text.of_layer(format!("{policy}, alternative {alternative:?}")),
        None => text.of_layer(policy),
    }
}

/// Keylime's name where it has one; else `policy_` and the rule, as Keylime writes `policy_` and the policy.
#[must_use]
pub fn boot_event(kind: &FindingKind) -> String {
    match kind {
        FindingKind::PcrMismatch { register, .. } => format!("invalid_pcr_{register}"),
        FindingKind::PcrNotQuoted { .. } => "missing_pcrs".to_owned(),
        FindingKind::BankNotInLog { .. } | FindingKind::DigestNotStated { .. } => {
            "parser.invalid_pcrs_hashes".to_owned()
        }
        kind => format!("policy_{}", kind.code().replace('-', "_")),
    }
}
