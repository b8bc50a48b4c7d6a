//! A runtime policy's JSON that compiles gives a compiled form that loads as the same policy.
#![no_main]

use evidence::runtime_policy::{PolicyBuilder, RuntimePolicy};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let Ok(policy) = PolicyBuilder::from_keylime_json(json).map(PolicyBuilder::compile) else { return };
    let Ok(policy) = policy else { return };
    let loaded = RuntimePolicy::load(policy.as_bytes().to_vec()).expect("it was just compiled");
    assert_eq!(loaded.id(), policy.id());
    assert_eq!(loaded.entries().count(), policy.len());
});
