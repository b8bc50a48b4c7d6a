//! A signed envelope is authentic under nobody's key.
#![no_main]

use evidence::runtime_policy::{Envelope, Signers};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let Ok(envelope) = Envelope::parse(json) else { return };
    let mut signers = Signers::new();
    assert!(envelope.verify(&signers, 1_800_000_000).is_err());
    signers.trust("somebody", include_bytes!("shared/signer.pem")).expect("a key");
    assert!(envelope.verify(&signers, 1_800_000_000).is_err());
});
