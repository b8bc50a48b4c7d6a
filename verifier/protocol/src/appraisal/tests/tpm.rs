//! The TPM policy's own rules: each with what it lets pass and what it fails.

use super::*;

impl Bench {
    fn ruled(rules: &str) -> Self {
        let mut bench = Self::new();
        bench.rule(rules);
        bench
    }

    pub(super) fn rule(&mut self, rules: &str) {
        let policy = format!(r#"{{"mask": "0x8000", "x-attestry": {rules}}}"#);
        self.policy = TpmPolicy::parse(&policy, self.accepted.hash()).unwrap();
    }

    /// A round whose clock is taken over.
    fn round(&mut self) -> Appraisal {
        let answer = self.honest();
        let appraisal = self.appraise(&answer);
        self.previous_clock = appraisal.clock().or(self.previous_clock);
        appraisal
    }

    fn reboot(&mut self) {
        self.tpm.reboot();
        self.tpm.measure(16, NK.as_bytes());
    }
}

#[track_caller]
fn passes_telling(appraisal: &Appraisal, expected: &[&str]) {
    assert_eq!(appraisal.outcome(), Outcome::Pass, "{:?}", appraisal.findings());
    assert_eq!(events(appraisal), expected);
    assert!(appraisal.findings().iter().all(|finding| finding.severity == SEVERITY_NOTICE));
}

#[test]
fn a_denied_firmware_version_fails_and_its_neighbours_pass() {
    let version = SoftTpm::new(KeyKind::P256, 0).attest(NONCE, Hash::Sha256, MASK).firmware_version;
    let range = |first: u64, last: u64| format!(r#"{{"firmware-version-deny": ["{first:#x}-{last:#x}"]}}"#);
    for (rules, denied) in [
        (format!(r#"{{"firmware-version-deny": ["0x1", "{version:#x}"]}}"#), true),
        (range(version - 1, version), true),
        (range(version, version + 1), true),
        (range(version + 1, version + 2), false),
        (range(0, version - 1), false),
    ] {
        let appraisal = Bench::ruled(&rules).round();
        match denied {
            true => fails_with(&appraisal, &["qoute_validation.firmware_denied"]),
            false => passes_telling(&appraisal, &[]),
        }
    }
}

#[test]
fn an_unsafe_clock_may_be_told_only_and_still_goes_forward() {
    let mut bench = Bench::ruled(r#"{"unsafe-clock": "warn"}"#);
    bench.tpm.clock.safe = false;
    passes_telling(&bench.round(), &["qoute_validation.clock_unsafe"]);
    passes_telling(&bench.round(), &["qoute_validation.clock_unsafe"]);
    let replayed = bench.previous_clock;
    bench.tpm.clock.clock_ms = 0;
    let back = bench.round();
    assert_eq!(back.outcome(), Outcome::Fail);
    assert_eq!(bench.previous_clock, replayed);
    assert!(back.findings().iter().any(|finding| finding.text.to_string().contains("must go forward")), "{back:?}");
    let mut strict = Bench::ruled("{}");
    strict.tpm.clock.safe = false;
    fails_with(&strict.round(), &["qoute_validation.quote_validation"]);
}

#[test]
fn a_reboot_is_what_the_policy_makes_of_it() {
    for (rules, told, fails) in [
        ("{}", vec![], false),
        (r#"{"resets": "warn"}"#, vec!["qoute_validation.clock_reset"], false),
        (r#"{"resets": "fail"}"#, vec!["qoute_validation.clock_reset"], true),
        (r#"{"resets": "with-boot-log"}"#, vec!["qoute_validation.clock_reset"], true),
        (r#"{"resets-max": 1}"#, vec![], false),
        (r#"{"resets-max": 0}"#, vec!["qoute_validation.clock_resets"], true),
    ] {
        let mut bench = Bench::ruled(rules);
        passes_telling(&bench.round(), &[]);
        bench.reboot();
        for _ in 0..2 {
            let appraisal = bench.round();
            if fails {
                // It stays so: the clock of before is what counts.
                fails_with(&appraisal, &told);
                assert_eq!(appraisal.clock(), None);
            }
        }
        if !fails {
            bench.reboot();
            passes_telling(&bench.round(), &told);
            passes_telling(&bench.round(), &[]);
        }
    }
}

#[test]
fn more_resets_than_allowed_between_two_rounds_fail() {
    let mut bench = Bench::ruled(r#"{"resets-max": 1}"#);
    passes_telling(&bench.round(), &[]);
    bench.reboot();
    bench.reboot();
    let appraisal = bench.round();
    fails_with(&appraisal, &["qoute_validation.clock_resets"]);
    let text = appraisal.findings().first().unwrap().text.to_string();
    assert!(text.contains("2 resets") && text.contains("at most 1"), "{text}");
}

#[test]
fn a_suspended_machine_is_what_the_policy_makes_of_it() {
    for (rules, told, outcome) in [
        ("{}", vec![], Outcome::Pass),
        (r#"{"restarts": "warn"}"#, vec!["qoute_validation.clock_restart"], Outcome::Pass),
        (r#"{"restarts": "fail"}"#, vec!["qoute_validation.clock_restart"], Outcome::Fail),
    ] {
        let mut bench = Bench::ruled(rules);
        passes_telling(&bench.round(), &[]);
        bench.tpm.suspend();
        let appraisal = bench.round();
        assert_eq!(
            (appraisal.outcome(), events(&appraisal)),
            (outcome, told.iter().map(ToString::to_string).collect())
        );
    }
}

#[test]
fn keys_and_hashes_below_the_floor_fail_by_name() {
    let mut bench = Bench::ruled(r#"{"hash-bits-min": 384, "ecc-bits-min": 384, "rsa-bits-min": 4096}"#);
    fails_with(&bench.round(), &["qoute_validation.weak_hash", "qoute_validation.weak_key"]);
    passes_telling(&Bench::ruled(r#"{"hash-bits-min": 256, "ecc-bits-min": 256, "rsa-bits-min": 4096}"#).round(), &[]);
    let mut rsa = Bench::of(KeyKind::RSA_2048, 0);
    for (bits, events) in [(2048, [].as_slice()), (3072, ["qoute_validation.weak_key"].as_slice())] {
        rsa.rule(&format!(r#"{{"rsa-bits-min": {bits}}}"#));
        let answer = IntegrityQuote { enc_alg: "rsa".into(), sign_alg: "rsassa".into(), ..rsa.honest() };
        let found: Vec<String> = rsa.appraise(&answer).findings().iter().map(Finding::event_id).collect();
        assert_eq!(found, events);
    }
}

#[test]
fn registers_of_the_quotes_bank_hold_one_of_their_values() {
    let mut bench = Bench::new();
    let right = hex::encode(bench.tpm.read(Hash::Sha256, 15));
    let zero = "11".repeat(32);
    let of = |bank: &str, values: &str| format!(r#"{{"pcrs": {{"{bank}": {{"15": [{values}]}}}}}}"#);
    bench.rule(&of("sha256", &format!(r#""{zero}", "{right}""#)));
    passes_telling(&bench.round(), &[]);
    bench.rule(&of("sha256", &format!(r#""{zero}""#)));
    fails_with(&bench.round(), &["pcr_validation.invalid_pcr_15"]);
    bench.rule(&of("sha384", &format!(r#""{}""#, "22".repeat(48))));
    fails_with(&bench.round(), &["pcr_validation.bank_not_listed"]);
}

#[test]
fn named_registers_are_asked_for() {
    let accepted = Bench::new().accepted;
    let policy = format!(r#"{{"x-attestry": {{"pcrs": {{"sha256": {{"7": ["{}"]}}}}}}}}"#, "00".repeat(32));
    assert_eq!(TpmPolicy::parse(&policy, accepted.hash()).unwrap().mask(), 1 << 7);
}
