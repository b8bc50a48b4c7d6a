//! A bundle of as many entries as the first byte says is made of just these entries.
#![no_main]

use ledger_tlog::bundle::{append_entry, parse_entries};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((width, bundle)) = bytes.split_first() else { return };
    if let Ok(entries) = parse_entries(bundle, u16::from(*width) + 1) {
        assert_eq!(entries.len(), usize::from(*width) + 1);
        let mut again = Vec::new();
        entries.into_iter().for_each(|entry| append_entry(&mut again, entry).expect("it had this length"));
        assert_eq!(again, bundle);
    }
});
