//! A tile's path that is read is written as it was.
#![no_main]

use ledger_tlog::tile::TilePath;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text);
    }
});
