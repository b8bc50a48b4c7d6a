#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use openssl::symm;

use super::*;

fn share(byte: u8, length: usize) -> KeyShare {
    KeyShare::new(Zeroizing::new(vec![byte; length])).unwrap()
}

fn seal(key: &[u8], plain: &[u8]) -> Vec<u8> {
    let cipher = if key.len() == 16 { symm::Cipher::aes_128_gcm() } else { symm::Cipher::aes_256_gcm() };
    let iv = [7; 16];
    let mut tag = [0; 16];
    let ciphertext = symm::encrypt_aead(cipher, key, Some(&iv), &[], plain, &mut tag).unwrap();
    [&iv[..], &ciphertext, &tag].concat()
}

#[test]
fn shares_combine_by_xor() {
    let key = share(0b1100, 32).combine(&share(0b1010, 32)).unwrap();
    assert_eq!(key.as_bytes(), [0b0110; 32]);
}

#[test]
fn shares_of_two_lengths_make_no_key() {
    assert!(share(1, 16).combine(&share(2, 32)).is_none());
    for length in [0, 15, 17, 31, 33] {
        assert_eq!(KeyShare::new(Zeroizing::new(vec![0; length])), Err(ShareLength { found: length }));
    }
}

#[test]
fn payloads_of_both_key_lengths_and_any_size_open() {
    for length in [16, 32] {
        let key = share(1, length).combine(&share(2, length)).unwrap();
        for size in [0, 1, 15, 16, 17, 5000] {
            let plain = vec![9; size];
            assert_eq!(*key.decrypt(&seal(key.as_bytes(), &plain)).unwrap(), plain, "{length} {size}");
        }
    }
}

#[test]
fn any_flipped_byte_and_another_key_are_rejected() {
    let key = share(1, 32).combine(&share(2, 32)).unwrap();
    let sealed = seal(key.as_bytes(), b"secret");
    for position in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[position] ^= 1;
        assert!(matches!(key.decrypt(&bad), Err(PayloadRejected::NotAuthentic)), "{position}");
    }
    let other = share(1, 32).combine(&share(3, 32)).unwrap();
    assert!(matches!(other.decrypt(&sealed), Err(PayloadRejected::NotAuthentic)));
    assert!(matches!(key.decrypt(&sealed[..31]), Err(PayloadRejected::Short { found: 31 })));
}

#[test]
fn debug_output_holds_no_key() {
    let (half, key) = (share(0x41, 32), share(0x41, 32).combine(&share(0, 32)).unwrap());
    assert_eq!(format!("{half:?} {key:?}"), "KeyShare(secret) BootstrapKey(secret)");
}
