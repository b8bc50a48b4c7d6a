//! Clock, firmware, strength and registers against the TPM policy. Each finding names what was found and expected.

use evidence::{
    algorithm::HashAlgorithm,
    attest::{ClockInfo, ClockStep},
    pcr::PcrValues,
    public::Public,
};

use super::findings::Findings;
use crate::policy::{Choice, ResetChoice, TpmPolicy, TpmRules};

/// Holds the clock against the last accepted one; the clock if it may be the next one's measure, and what happened
/// in between.
pub(super) fn check_clock(
    found: &ClockInfo,
    previous: Option<ClockInfo>,
    rules: &TpmRules,
    findings: &mut Findings,
) -> (Option<ClockInfo>, Option<ClockStep>) {
    if !found.safe {
        let text = "the TPM says its clock is not safe; expected a safe one";
        match rules.unsafe_clock {
            Choice::Fail => findings.quote("quote_validation", text.to_owned()),
            Choice::Warn => findings.quote_notice("clock_unsafe", text.to_owned()),
        }
    }
    let accepted = found.safe || rules.unsafe_clock == Choice::Warn;
    let Some(previous) = previous else { return (accepted.then_some(*found), None) };
    // Whether an unsafe clock may pass is decided; in which order it stands is not up to that.
    match (ClockInfo { safe: true, ..*found }).follows(&previous) {
        Ok(step) => (accepted.then_some(*found), Some(step)),
        Err(rejected) => {
            findings.quote("quote_validation", rejected.to_string());
            (None, None)
        }
    }
}

/// Whether what happened since the last accepted quote keeps the clock from being accepted.
pub(super) fn check_reset(
    step: Option<ClockStep>,
    booted_right: bool,
    rules: &TpmRules,
    findings: &mut Findings,
) -> bool {
    match step {
        None | Some(ClockStep::SameBoot { resumes: 0 }) => false,
        Some(ClockStep::SameBoot { resumes }) => {
            let text = format!("the machine was suspended and resumed {resumes} times; expected that it is not");
            match rules.restarts {
                None => false,
                Some(Choice::Warn) => {
                    findings.quote_notice("clock_restart", text);
                    false
                }
                Some(Choice::Fail) => {
                    findings.quote("clock_restart", text);
                    true
                }
            }
        }
        Some(ClockStep::Rebooted { resets }) => {
            let mut refused = false;
            if let Some(max) = rules.resets_max.filter(|max| resets > *max) {
                let text = format!("{resets} resets since the last accepted quote; expected at most {max}");
                findings.quote("clock_resets", text);
                refused = true;
            }
            let rebooted = format!("the machine rebooted ({resets} resets); expected");
            match rules.resets {
                ResetChoice::Allow => (),
                ResetChoice::Warn => findings.quote_notice("clock_reset", format!("{rebooted} that it does not")),
                ResetChoice::WithBootLog if booted_right => (),
                ResetChoice::WithBootLog => {
                    let text = format!("{rebooted} a boot log of this start that a measured-boot policy accepts");
                    findings.quote("clock_reset", text);
                    refused = true;
                }
                ResetChoice::Fail => {
                    findings.quote("clock_reset", format!("{rebooted} that it does not"));
                    refused = true;
                }
            }
            refused
        }
    }
}

pub(super) fn check_firmware(found: u64, rules: &TpmRules, findings: &mut Findings) {
    if let Some(denied) = rules.firmware_denied.iter().find(|denied| denied.contains(found)) {
        let text = format!("the TPM's firmware is {found:#018x}; expected none of {denied}, which the policy denies");
        findings.quote("firmware_denied", text);
    }
}

/// Hash and key; the signature's hash is the bank's.
pub(super) fn check_floors(key: &Public, bank: HashAlgorithm, rules: &TpmRules, findings: &mut Findings) {
    let found = u32::try_from(bank.digest_bytes() * 8).unwrap_or(u32::MAX);
    if let Some(min) = rules.hash_bits_min.filter(|min| found < *min) {
        findings.quote("weak_hash", format!("bank and signature are of {bank}, {found} bits; expected {min} or more"));
    }
    let algorithm = key.encryption_algorithm();
    let (found, min) = (algorithm.bits(), if algorithm.is_rsa() { rules.rsa_bits_min } else { rules.ecc_bits_min });
    if let Some(min) = min.filter(|min| found < *min) {
        findings.quote("weak_key", format!("the attestation key is {algorithm}, {found} bits; expected {min} or more"));
    }
}

pub(super) fn check_registers(values: &PcrValues, policy: &TpmPolicy, findings: &mut Findings) {
    let bank = values.bank().algorithm();
    let rules = policy.rules();
    let of_bank = rules.bank(bank);
    if of_bank.is_none() && rules.banks().next().is_some() {
        let banks: Vec<String> = rules.banks().map(|bank| bank.to_string()).collect();
        let text = format!("the quote is of bank {bank}; expected one of {}, which have values", banks.join(", "));
        findings.pcr("bank_not_listed", text);
    }
    let by_bank = of_bank.into_iter().flatten().map(|(index, allowed)| (*index, allowed.as_slice()));
    let mut missing = Vec::new();
    for (index, allowed) in policy.requirements().chain(by_bank) {
        let Some(found) = values.get(index) else {
            missing.push(index.to_string());
            continue;
        };
        if !allowed.iter().any(|value| value == found.as_bytes()) {
            let expected: Vec<String> = allowed.iter().map(hex::encode).collect();
            let text = format!("PCR {index} is {found}; expected one of {}", expected.join(", "));
            findings.pcr(&format!("invalid_pcr_{index}"), text);
        }
    }
    if !missing.is_empty() {
        findings.pcr("missing_pcrs", format!("policy names PCR {}, which is not quoted", missing.join(", ")));
    }
}
