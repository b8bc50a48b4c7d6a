#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

/// RFC 4231, test case 2.
#[test]
fn tag_is_hmac_sha384() {
    let tag = hmac_sha384(b"Jefe", b"what do ya want for nothing?").unwrap();
    let expected = "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649";
    assert_eq!(tag.to_hex(), expected);
    assert!(tag.matches(&Tag::from_hex(&expected.to_uppercase()).unwrap()));
}

#[test]
fn another_tag_does_not_match() {
    let tag = hmac_sha384(b"Jefe", b"a").unwrap();
    assert!(!tag.matches(&hmac_sha384(b"Jefe", b"b").unwrap()));
    assert!(!tag.matches(&hmac_sha384(b"jefe", b"a").unwrap()));
}

#[test]
fn text_of_other_length_or_alphabet_is_no_tag() {
    assert_eq!(Tag::from_hex("ab"), Err(MalformedTag { found: 2 }));
    assert_eq!(Tag::from_hex(&"g".repeat(96)), Err(MalformedTag { found: 96 }));
    assert_eq!(Tag::from_hex(&"a".repeat(98)), Err(MalformedTag { found: 98 }));
}

#[test]
fn activation_is_keyed_by_the_base64_text() {
    let id: AgentId = "node".parse().unwrap();
    let tag = activation_tag(b"credential", &id).unwrap();
    assert_eq!(tag, hmac_sha384(b"Y3JlZGVudGlhbA==", b"node").unwrap());
    assert_ne!(tag, hmac_sha384(b"credential", b"node").unwrap());
}
