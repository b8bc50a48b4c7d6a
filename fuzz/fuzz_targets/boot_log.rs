//! A boot log's registers are its digests, extended one by one; a quote of other registers never passes.
#![no_main]

use std::collections::BTreeMap;

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    boot_log::{BootLog, LogFormat},
    measured_boot::{KeylimePolicyName, Policy},
    pcr::{PcrBank, PcrIndex, PcrValues},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(log) = BootLog::parse(bytes) else { return };
    if log.format() == LogFormat::ConfidentialComputing {
        return;
    }
    for bank in log.banks() {
        let Ok(replay) = log.replay(bank) else { continue };
        let zero = Digest::zero(bank.algorithm());
        let mut registers = BTreeMap::new();
        if let Some(locality) = log.startup_locality() {
            let mut start = zero.as_bytes().to_vec();
            *start.last_mut().expect("a digest") = locality;
            registers.insert(PcrIndex::try_from(0).expect("below 24"), start);
        }
        for event in log.events().iter().filter(|event| event.is_measured()) {
            let (Some(register), Some(digest)) = (event.register(), event.digest(bank)) else { continue };
            let value = registers.entry(register).or_insert_with(|| zero.as_bytes().to_vec());
            let both = [value.as_slice(), digest.as_bytes()].concat();
            *value = bank.algorithm().digest(&both).expect("the library hashes").as_bytes().to_vec();
        }
        for (register, value) in registers {
            assert!(replay.gap(register).is_some() || replay.value(&log, register).as_bytes() == value);
        }
    }
    let mut quoted = PcrValues::new(PcrBank(HashAlgorithm::Sha256));
    let other = Digest::new(HashAlgorithm::Sha256, &[0x5a; 32]).expect("32 bytes");
    quoted.insert(PcrIndex::try_from(4).expect("below 24"), other).expect("of the bank");
    for policy in [
        Policy::keylime(KeylimePolicyName::AcceptAll, b"{\"all\": true}"),
        Policy::from_json(include_bytes!("../seeds/measured_boot_policy/whole")),
    ] {
        let policy = policy.expect("a policy");
        assert!(!policy.appraise(&log, &quoted).expect("the library hashes").passed());
    }
});
