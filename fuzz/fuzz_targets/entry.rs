//! An entry that is read is encoded as it was, whatever its body.
#![no_main]

use ledger_protocol::Entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(entry.encode().expect("it was decoded"), bytes);
        let _ = entry.blobs();
    }
});
