#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use openssl::{rsa::Rsa, symm::decrypt_aead};

use super::*;

#[test]
fn the_halves_make_the_key_and_the_key_opens_the_payload() {
    let split = SplitKey::generate().unwrap();
    let nk = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let pem = String::from_utf8(nk.public_key_to_pem().unwrap()).unwrap();
    let encrypted = STANDARD.decode(split.u_for(&pem).unwrap()).unwrap();
    let mut u = vec![0; 256];
    let length = nk.rsa().unwrap().private_decrypt(&encrypted, &mut u, Padding::PKCS1_OAEP).unwrap();
    let v = STANDARD.decode(split.v_base64().as_bytes()).unwrap();
    let key: Vec<u8> = u[..length].iter().zip(&v).map(|(u, v)| u ^ v).collect();
    let whole = STANDARD.decode(split.encrypt(b"secret").unwrap()).unwrap();
    let (iv, rest) = whole.split_at(IV_BYTES);
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG_BYTES);
    assert_eq!(decrypt_aead(Cipher::aes_256_gcm(), &key, Some(iv), &[], ciphertext, tag).unwrap(), b"secret");
    let mut wrong = tag.to_vec();
    wrong[0] ^= 1;
    assert!(decrypt_aead(Cipher::aes_256_gcm(), &key, Some(iv), &[], ciphertext, &wrong).is_err());
}

#[test]
fn two_keys_share_nothing() {
    let (a, b) = (SplitKey::generate().unwrap(), SplitKey::generate().unwrap());
    assert_ne!(a.id(), b.id());
    assert_ne!(*a.v_base64(), *b.v_base64());
    assert_ne!(a.encrypt(b"x").unwrap(), b.encrypt(b"x").unwrap());
}

#[test]
fn the_tag_has_96_digits_and_depends_on_the_agent() {
    let split = SplitKey::generate().unwrap();
    let tag = split.auth_tag(&"a".parse().unwrap()).unwrap();
    assert_eq!(tag.len(), 96);
    assert_ne!(tag, split.auth_tag(&"b".parse().unwrap()).unwrap());
}
