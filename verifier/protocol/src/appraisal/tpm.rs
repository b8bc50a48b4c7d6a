//! Clock, firmware, strength and registers against the TPM policy, which each finding names beside what it expected.

use evidence::{
    algorithm::HashAlgorithm,
    attest::{ClockInfo, ClockStep},
    pcr::PcrValues,
    public::Public,
};
use messages::FindingText;

use super::{findings::Findings, rejected};
use crate::policy::{Choice, ResetChoice, TpmPolicy, TpmRules};

/// The policy's rules and what findings call it.
pub(super) struct Rules<'a> {
    pub(super) rules: &'a TpmRules,
    pub(super) layer: &'a str,
}

impl Rules<'_> {
    fn broken(&self, place: &str, found: impl Into<String>, expected: impl Into<String>) -> FindingText {
        FindingText::new(place, found, expected).of_layer(self.layer)
    }

    /// Holds the clock against the last accepted one; the clock if it may be the next one's measure, and what happened
    /// in between.
    pub(super) fn check_clock(
        &self,
        found: &ClockInfo,
        previous: Option<ClockInfo>,
        findings: &mut Findings,
    ) -> (Option<ClockInfo>, Option<ClockStep>) {
        if !found.safe {
            let text = self.broken("quote clockInfo.safe", "a clock that the TPM calls unsafe", "a safe one");
            match self.rules.unsafe_clock {
                Choice::Fail => findings.quote("quote_validation", text),
                Choice::Warn => findings.quote_notice("clock_unsafe", text),
            }
        }
        let accepted = found.safe || self.rules.unsafe_clock == Choice::Warn;
        let Some(previous) = previous else { return (accepted.then_some(*found), None) };
        // Whether an unsafe clock may pass is decided; in which order it stands is not up to that.
        match (ClockInfo { safe: true, ..*found }).follows(&previous) {
            Ok(step) => (accepted.then_some(*found), Some(step)),
            Err(rejected) => {
                findings.quote("quote_validation", rejected::clock(&rejected));
                (None, None)
            }
        }
    }

    /// Whether what happened since the last accepted quote keeps the clock from being accepted.
    pub(super) fn check_reset(&self, step: Option<ClockStep>, booted_right: bool, findings: &mut Findings) -> bool {
        match step {
            None | Some(ClockStep::SameBoot { resumes: 0 }) => false,
            Some(ClockStep::SameBoot { resumes }) => {
                let found = format!("{resumes} suspends and resumes since the last accepted quote");
                let text = self.broken("quote clockInfo.restartCount", found, "none");
                match self.rules.restarts {
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
            Some(ClockStep::Rebooted { resets }) => self.check_reboot(resets, booted_right, findings),
        }
    }

    fn check_reboot(&self, resets: u32, booted_right: bool, findings: &mut Findings) -> bool {
        const PLACE: &str = "quote clockInfo.resetCount";
        let found = format!("{resets} resets since the last accepted quote");
        let mut refused = false;
        if let Some(max) = self.rules.resets_max.filter(|max| resets > *max) {
            findings.quote("clock_resets", self.broken(PLACE, found.clone(), format!("at most {max}")));
            refused = true;
        }
        match self.rules.resets {
            ResetChoice::Allow => (),
            ResetChoice::Warn => findings.quote_notice("clock_reset", self.broken(PLACE, found, "none")),
            ResetChoice::WithBootLog if booted_right => (),
            ResetChoice::WithBootLog => {
                let expected = "a boot log of this start that a measured-boot policy accepts";
                findings.quote("clock_reset", self.broken(PLACE, found, expected));
                refused = true;
            }
            ResetChoice::Fail => {
                findings.quote("clock_reset", self.broken(PLACE, found, "none"));
                refused = true;
            }
        }
        refused
    }

    pub(super) fn check_firmware(&self, found: u64, findings: &mut Findings) {
        if let Some(denied) = self.rules.firmware_denied.iter().find(|denied| denied.contains(found)) {
            let expected = format!("none of {denied}, which the policy denies");
            findings.quote("firmware_denied", self.broken("quote firmwareVersion", format!("{found:#018x}"), expected));
        }
    }

    /// Hash and key; the signature's hash is the bank's.
    pub(super) fn check_floors(&self, key: &Public, bank: HashAlgorithm, findings: &mut Findings) {
        let or_more = |min: u32| format!("{min} bits or more");
        let found = u32::try_from(bank.digest_bytes() * 8).unwrap_or(u32::MAX);
        if let Some(min) = self.rules.hash_bits_min.filter(|min| found < *min) {
            let text = format!("bank and hash {bank}, {found} bits");
            findings.quote("weak_hash", self.broken("quote signature", text, or_more(min)));
        }
        let algorithm = key.encryption_algorithm();
        let (found, min) =
            (algorithm.bits(), if algorithm.is_rsa() { self.rules.rsa_bits_min } else { self.rules.ecc_bits_min });
        if let Some(min) = min.filter(|min| found < *min) {
            let text = format!("{algorithm}, {found} bits");
            findings.quote("weak_key", self.broken("attestation key", text, or_more(min)));
        }
    }

    pub(super) fn check_registers(&self, values: &PcrValues, policy: &TpmPolicy, findings: &mut Findings) {
        let bank = values.bank().algorithm();
        let of_bank = self.rules.bank(bank);
        if of_bank.is_none() && self.rules.banks().next().is_some() {
            let banks: Vec<String> = self.rules.banks().map(|bank| bank.to_string()).collect();
            let expected = format!("one of {}, which have values", banks.join(", "));
            findings.pcr("bank_not_listed", self.broken("quote pcrSelect", format!("bank {bank}"), expected));
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
                let (place, expected) =
                    (format!("PCR {index} of bank {bank}"), format!("one of {}", expected.join(", ")));
                findings.pcr(&format!("invalid_pcr_{index}"), self.broken(&place, found.to_string(), expected));
            }
        }
        if !missing.is_empty() {
            let place = format!("PCR {}", missing.join(", "));
            let text = self.broken(&place, "not quoted", "the values that the policy names");
            findings.pcr("missing_pcrs", text);
        }
    }
}
