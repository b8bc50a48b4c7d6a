//! A file's signature that is read has as many bytes as its header states, for a digest of the header's algorithm.
#![no_main]

use evidence::ima::{DigestKind, FileDigest, FileSignature};

libfuzzer_sys::fuzz_target!(|attribute: &[u8]| {
    for kind in [DigestKind::Content, DigestKind::Verity] {
        for (algorithm, bytes) in [(b"sha1".as_slice(), 20), (b"sha256", 32), (b"sha384", 48), (b"sha512", 64)] {
            let digest = FileDigest { kind, algorithm, bytes: &[7; 64][..bytes] };
            if let Ok(signature) = FileSignature::parse(attribute, &digest) {
                assert_eq!(usize::from(u16::from_be_bytes([attribute[7], attribute[8]])), attribute.len() - 9);
                let _ = signature.key_id();
            }
        }
    }
});
