#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

#[test]
fn deterministic_items_are_accepted() {
    for text in
        ["00", "17", "1818", "190100", "1a00010000", "1b0000000100000000", "20", "40", "6161", "80", "a0", "f4", "f6"]
    {
        check(&hex::decode(text).unwrap()).unwrap();
    }
    check(&hex::decode("a2016161026162").unwrap()).unwrap();
    check(&hex::decode("8301820203a0").unwrap()).unwrap();
}

#[test]
fn every_other_form_is_refused() {
    let cases = [
        ("1817", "one-byte head for 23"),
        ("190017", "two-byte head for 23"),
        ("1a0000ffff", "four-byte head for 65535"),
        ("1b00000000ffffffff", "eight-byte head for 2^32-1"),
        ("9f00ff", "indefinite array"),
        ("5f4100ff", "indefinite bytes"),
        ("f97e00", "half float"),
        ("fb3ff199999999999a", "double"),
        ("f7", "undefined"),
        ("f0", "simple value"),
        ("c000", "tag"),
        ("61ff", "text that is not UTF-8"),
        ("a2026162016161", "keys out of order"),
        ("a2016161016161", "duplicate key"),
        ("0000", "trailing byte"),
        ("", "nothing"),
        ("8200", "array that ends early"),
        ("5bffffffffffffffff00", "byte string longer than memory"),
        ("9bffffffffffffffff00", "array longer than memory"),
    ];
    for (text, what) in cases {
        assert!(check(&hex::decode(text).unwrap()).is_err(), "{what} must be refused");
    }
}

#[test]
fn nesting_has_a_limit() {
    let mut deep = vec![0x81; DEPTH_MAX];
    deep.push(0);
    check(&deep).unwrap();
    deep.insert(0, 0x81);
    assert!(matches!(check(&deep), Err(CborError::Depth { .. })));
}

#[test]
fn arrays_split_into_their_items() {
    let bytes = hex::decode("8301426162f6").unwrap();
    let [a, b, c] = array_items::<3>(&bytes).unwrap();
    assert_eq!((&bytes[a], &bytes[b], &bytes[c]), (&[1u8][..], &[0x42, 0x61, 0x62][..], &[0xf6][..]));
    assert!(array_items::<2>(&bytes).is_err());
}

proptest! {
    #[test]
    fn heads_agree_with_another_library(argument: u64, shift in 0u32..64) {
        let argument = argument >> shift;
        let mut ours = Vec::new();
        push_head(&mut ours, UNSIGNED, argument);
        let mut theirs = Vec::new();
        ciborium::into_writer(&argument, &mut theirs).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn random_bytes_never_panic_and_what_is_accepted_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if check(&bytes).is_ok() {
            let second: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
            let mut out = Vec::new();
            ciborium::into_writer(&second, &mut out).unwrap();
            prop_assert_eq!(out, bytes);
        }
    }
}
