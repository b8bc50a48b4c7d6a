#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use openssl::sign::Verifier;

use super::*;

#[test]
fn a_notice_is_signed_as_keylime_agents_check_it() {
    let key = fixtures_softtpm::shared(fixtures_softtpm::KeyKind::RSA_2048, 0);
    let signature = sign(&key.private_key_to_pem_pkcs8().unwrap(), b"message").unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let verifies = |message: &[u8]| {
        let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
        verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        verifier.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        // 256 bytes of modulus, less the hash and two: the longest salt.
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(222)).unwrap();
        verifier.verify_oneshot(&signature, message).unwrap()
    };
    assert!(verifies(b"message"));
    assert!(!verifies(b"massage"));
}
