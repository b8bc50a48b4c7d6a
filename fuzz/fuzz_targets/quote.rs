//! A quote string that is read is written as it was; one whose quote is read is not authentic under another key.
#![no_main]

use std::sync::LazyLock;

use evidence::{
    keylime::KeylimeQuote,
    public::{Ak, Public},
};

/// A key whose private half is forgotten.
static AK: LazyLock<Ak> = LazyLock::new(|| {
    let public = Public::from_tpm2b(include_bytes!("../seeds/public/ak-p256")).expect("a key");
    Ak::new(public).expect("an attestation key")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(parsed) = KeylimeQuote::parse(text) else { return };
    assert_eq!(parsed.encode(), text);
    if let Ok(quote) = parsed.quote() {
        assert_eq!(quote.attest_bytes(), parsed.attest);
        assert!(quote.verify_signature(&AK).is_err());
    }
});
