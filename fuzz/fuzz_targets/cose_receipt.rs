//! A receipt that is read, written in our order and read again says the same.
#![no_main]

use ledger_tlog::cose::Receipt;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(Receipt::parse(&receipt.to_bytes()).expect("a receipt of ours"), receipt);
    }
});
