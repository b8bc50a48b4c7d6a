//! A policy's keys are those that its own lines name.
#![no_main]

use ledger_tlog::policy::Policy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        let text = String::from_utf8_lossy(bytes);
        let keys = policy.logs().iter().chain(policy.quorum().witnesses());
        keys.for_each(|key| assert!(text.contains(&key.to_string()), "{key}"));
    }
});
