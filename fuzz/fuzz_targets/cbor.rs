//! What passes as deterministic CBOR is CBOR to another reader, which writes the same bytes.
#![no_main]

use ciborium::Value;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if messages::cbor::check(bytes).is_ok() {
        let value: Value = ciborium::from_reader(bytes).expect("CBOR");
        let mut again = Vec::new();
        ciborium::into_writer(&value, &mut again).expect("memory");
        assert_eq!(again, bytes);
    }
});
