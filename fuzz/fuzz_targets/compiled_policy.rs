//! A compiled policy that loads is read to its last entry, keeps its bytes, and is named by them.
#![no_main]

use evidence::runtime_policy::RuntimePolicy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(policy) = RuntimePolicy::load(bytes.to_vec()) else { return };
    assert_eq!(policy.as_bytes(), bytes);
    assert_eq!(policy.entries().count(), policy.len());
    assert_eq!(RuntimePolicy::load(bytes.to_vec()).expect("it loaded").id(), policy.id());
});
