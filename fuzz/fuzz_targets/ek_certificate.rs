//! An EK certificate that is read is read again from its own DER, and leads to no root where none is trusted.
#![no_main]

use evidence::ek_certificate::{EkCertificate, TrustStore};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = EkCertificate::parse(bytes);
    if let Ok((certificate, chain)) = EkCertificate::parse_with_chain(bytes) {
        for der in chain.iter().map(|link| link.der()) {
            let _ = EkCertificate::parse(der);
        }
        assert!(TrustStore::new().verify_chain(&certificate, &chain, 1_800_000_000).is_err());
    }
});
