#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn numbers_and_names_lead_back_to_the_same_algorithm() {
    for algorithm in HashAlgorithm::ALL {
        assert_eq!(HashAlgorithm::from_tpm_id(algorithm.tpm_id()), Some(algorithm));
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
        assert_eq!(algorithm.message_digest().size(), algorithm.digest_bytes());
    }
    for scheme in SignatureScheme::ALL {
        assert_eq!(SignatureScheme::from_tpm_id(scheme.tpm_id()), Some(scheme));
        assert_eq!(scheme.name().parse(), Ok(scheme));
    }
    for algorithm in EncryptionAlgorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
        assert_eq!(algorithm.short_name().parse(), Ok(algorithm));
    }
}

#[test]
fn short_names_stand_for_the_default_sizes_only() {
    assert_eq!("rsa".parse(), Ok(EncryptionAlgorithm::Rsa2048));
    assert_eq!("ecc".parse(), Ok(EncryptionAlgorithm::Ecc256));
    assert_eq!(EncryptionAlgorithm::Ecc384.short_name(), "ecc384");
}

#[test]
fn unknown_names_are_named_in_the_error() {
    let error = "md5".parse::<HashAlgorithm>().unwrap_err();
    assert_eq!(error.to_string(), "unknown hash algorithm \"md5\"");
    assert!("SHA256".parse::<HashAlgorithm>().is_err());
    assert!("ecdaa".parse::<SignatureScheme>().is_err());
    assert_eq!("x".repeat(99).parse::<EncryptionAlgorithm>().unwrap_err().name.len(), 32);
    assert_eq!(HashAlgorithm::from_tpm_id(0x0010), None);
}

#[test]
fn only_sha1_is_below_the_floor() {
    let below: Vec<_> = HashAlgorithm::ALL.into_iter().filter(|algorithm| !algorithm.meets_floor()).collect();
    assert_eq!(below, [HashAlgorithm::Sha1]);
}

#[test]
fn digests_have_their_algorithms_size() {
    for algorithm in HashAlgorithm::ALL {
        let digest = algorithm.digest(b"abc").unwrap();
        assert_eq!(digest.as_bytes().len(), algorithm.digest_bytes());
        assert_eq!(Digest::new(algorithm, digest.as_bytes()), Ok(digest));
        let short = digest.as_bytes().split_last().unwrap().1;
        assert_eq!(Digest::new(algorithm, short), Err(DigestSize { algorithm, found: short.len() }));
    }
    let sha256 = HashAlgorithm::Sha256.digest(b"abc").unwrap();
    assert!(sha256.to_string().starts_with("ba7816bf8f01cfea"), "{sha256}");
}

#[test]
fn equal_bytes_of_different_banks_are_different_digests() {
    assert_ne!(Digest::zero(HashAlgorithm::Sha256), Digest::zero(HashAlgorithm::Sm3_256));
}
