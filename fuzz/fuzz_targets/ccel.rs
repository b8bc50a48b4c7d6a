//! A confidential guest's log is read as data and never passes for a TPM's.
#![no_main]

use evidence::{
    algorithm::HashAlgorithm,
    boot_log::{BootLog, LogFormat},
    measured_boot::{KeylimePolicyName, Policy},
    pcr::{PcrBank, PcrValues},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(log) = BootLog::parse(bytes) else { return };
    if log.format() != LogFormat::ConfidentialComputing {
        return;
    }
    for bank in log.banks() {
        let _ = log.replay(bank);
    }
    let policy = Policy::keylime(KeylimePolicyName::AcceptAll, b"{\"all\": true}").expect("a policy");
    for bank in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
        let quoted = PcrValues::new(PcrBank(bank));
        assert!(!policy.appraise(&log, &quoted).expect("the library hashes").passed());
    }
});
