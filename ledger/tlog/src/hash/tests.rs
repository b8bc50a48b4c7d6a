#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn hashes_are_those_of_rfc_6962() {
    assert_eq!(Hash::digest(b""), EMPTY_ROOT);
    // Published with the reference implementation: the hash of an empty leaf.
    let empty_leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(leaf_hash(b"").to_string(), empty_leaf);
    let left = Hash::digest(b"left");
    let right = Hash::digest(b"right");
    let node = [&[1], left.as_ref(), right.as_ref()].concat();
    assert_eq!(node_hash(&left, &right), Hash::digest(&node));
    assert_ne!(node_hash(&left, &right), node_hash(&right, &left));
    assert_ne!(leaf_hash(&node[..]), Hash::digest(&node), "a leaf is never a node");
}

#[test]
fn text_forms_read_back() {
    let hash = Hash::digest(b"x");
    assert_eq!(Hash::from_base64(&hash.to_base64()).unwrap(), hash);
    assert_eq!(Hash::from_hex(&hash.to_string()).unwrap(), hash);
    assert_eq!(Hash::from_hex(&hash.to_string().to_uppercase()).unwrap(), hash);
}

#[test]
fn other_lengths_and_alphabets_are_refused() {
    let hash = Hash::digest(b"x");
    let base64 = hash.to_base64();
    let unpadded = base64.trim_end_matches('=');
    assert!(matches!(Hash::from_base64(unpadded), Err(MalformedHash::Base64 { .. })));
    assert!(matches!(Hash::from_base64(&format!("{base64} ")), Err(MalformedHash::Base64 { .. })));
    assert!(matches!(Hash::from_base64("AAAA"), Err(MalformedHash::Length { found: 3 })));
    assert!(matches!(Hash::from_base64(""), Err(MalformedHash::Length { found: 0 })));
    assert!(matches!(Hash::from_hex("zz"), Err(MalformedHash::Hex { .. })));
    assert!(matches!(Hash::from_hex(&format!("{hash}00")), Err(MalformedHash::Length { found: 33 })));
    // 44 characters whose last one has bits that no byte takes up: a second name of one hash.
    let spare_bits = base64.replace("=", "");
    let last = spare_bits.chars().last().unwrap();
    let altered = char::from(last as u8 + 1);
    let spare_bits = format!("{}{altered}=", &spare_bits[..spare_bits.len() - 1]);
    assert!(matches!(Hash::from_base64(&spare_bits), Err(MalformedHash::Base64 { .. })));
}
