#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use super::*;

fn secret() -> CredentialSecret {
    CredentialSecret::from_randomness(&[0; CREDENTIAL_CHARS]).unwrap()
}

#[test]
fn a_credential_is_letters_and_digits_without_bias() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut counts = [0; 256];
    for byte in &every_byte {
        let randomness = [*byte; CREDENTIAL_CHARS];
        match CredentialSecret::from_randomness(&randomness) {
            Some(secret) => counts[usize::from(secret.as_bytes()[0])] += 1,
            None => assert!(*byte >= FAIR_LIMIT),
        }
    }
    for (character, count) in counts.iter().enumerate() {
        let expected = if ALPHABET.contains(&u8::try_from(character).unwrap()) { 4 } else { 0 };
        assert_eq!(*count, expected, "{character}");
    }
}

#[test]
fn too_little_randomness_makes_no_credential() {
    assert!(CredentialSecret::from_randomness(&[7; CREDENTIAL_CHARS - 1]).is_none());
    assert!(CredentialSecret::from_randomness(&[255; 1_000]).is_none());
}

/// `printf %s node-1 | openssl dgst -sha384 -hmac "$(printf A%.0s {1..32} | base64)"`.
#[test]
fn the_tag_is_the_hmac_that_other_tools_compute() {
    let tag = auth_tag(secret().as_bytes(), &"node-1".parse().unwrap()).unwrap();
    assert_eq!(tag.to_hex().as_str(), TAG_OF_NODE_1);
    assert!(tag.is(&AuthTag::parse(&TAG_OF_NODE_1.to_uppercase()).unwrap()));
}

#[test]
fn any_changed_digit_of_a_tag_differs() {
    let tag = auth_tag(secret().as_bytes(), &"node-1".parse().unwrap()).unwrap();
    for place in 0..TAG_OF_NODE_1.len() {
        let mut other = TAG_OF_NODE_1.to_owned().into_bytes();
        other[place] = if other[place] == b'0' { b'1' } else { b'0' };
        assert!(!tag.is(&AuthTag::parse(&String::from_utf8(other).unwrap()).unwrap()), "{place}");
    }
}

#[test]
fn a_tag_of_another_agent_or_credential_differs() {
    let tag = auth_tag(secret().as_bytes(), &"node-1".parse().unwrap()).unwrap();
    assert!(!tag.is(&auth_tag(secret().as_bytes(), &"node-2".parse().unwrap()).unwrap()));
    assert!(!tag.is(&auth_tag(b"other", &"node-1".parse().unwrap()).unwrap()));
}

#[test]
fn text_that_is_no_tag_is_refused() {
    let long = format!("{TAG_OF_NODE_1}00");
    for text in ["", "00", &TAG_OF_NODE_1[1..], &long, &"zz".repeat(AUTH_TAG_BYTES)] {
        assert!(AuthTag::parse(text).is_none(), "{text}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let tag = auth_tag(secret().as_bytes(), &"node-1".parse().unwrap()).unwrap();
    assert_eq!(format!("{:?} {tag:?}", secret()), "CredentialSecret(..) AuthTag(..)");
}

const TAG_OF_NODE_1: &str =
    "f9d1983983519647df66b7151203c8f7f75193150cce023e2939db0735bc94c01ebc42aa94e88ddd88cc10f6c8081251";
