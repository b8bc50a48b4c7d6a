//! No measured-boot policy lets a boot pass whose registers nobody quoted.
#![no_main]

use evidence::{
    algorithm::HashAlgorithm,
    boot_log::BootLog,
    measured_boot::{KeylimePolicyName, Policy},
    pcr::{PcrBank, PcrValues},
};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let log = BootLog::parse(include_bytes!("../seeds/boot_log/grub")).expect("a log");
    for policy in [Policy::from_json(json), Policy::keylime(KeylimePolicyName::Example, json)] {
        let Ok(policy) = policy else { continue };
        let quoted = PcrValues::new(PcrBank(HashAlgorithm::Sha256));
        assert!(!policy.appraise(&log, &quoted).expect("the library hashes").passed());
    }
});
