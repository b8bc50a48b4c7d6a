//! A policy's keys are those that its own lines name.
#![no_main]

use ledger_tlog::policy::Policy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        let text = String::from_utf8_lossy(bytes);
        let keys = policy.logs().iter().chain(policy.quorum().witnesses());
        // The ID may be in capitals: it follows from the rest.
        let [mut names, mut encoded] = [Vec::new(), Vec::new()];
        for key in keys.map(ToString::to_string) {
            let mut parts = key.splitn(3, '+').map(str::to_owned);
            names.extend(parts.next());
            encoded.extend(parts.nth(1));
        }
        assert!(names.iter().chain(&encoded).all(|part| text.contains(part)), "{names:?} {encoded:?}");
    }
});
