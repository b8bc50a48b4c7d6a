#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

fn parts(text: &FindingText) -> [Option<&str>; 4] {
    [text.place(), Some(text.found()), text.expected(), text.layer()]
}

#[test]
fn a_finding_is_one_text_and_its_parts() {
    let finding =
        FindingText::new("PCR 7 of bank sha256", "aa", "one of bb, cc").of_layer("tpm_policy 0123456789abcdef");
    let text = "PCR 7 of bank sha256: aa; expected one of bb, cc; layer tpm_policy 0123456789abcdef";
    assert_eq!(finding.to_string(), text);
    assert_eq!(FindingText::parse(text), finding);
    let remark = FindingText::remark("measurement list", "3 entries pass for exclude \"^/tmp\" alone", "base");
    let text = "measurement list: 3 entries pass for exclude \"^/tmp\" alone; layer base";
    assert_eq!(remark.to_string(), text);
    assert_eq!(FindingText::parse(text), remark);
}

#[test]
fn quoted_evidence_passes_for_no_other_part() {
    let path = "/tmp/x: sha256:00; expected sha256:00; layer base \" \\";
    let finding = FindingText::new(format!("entry 7 {path:?}"), "sha256:11", "no such file");
    let again = FindingText::parse(&finding.to_string());
    assert_eq!(again, finding);
    assert_eq!(again.layer(), None);
    assert_eq!(again.place(), Some(format!("entry 7 {path:?}").as_str()));
}

#[test]
fn an_open_quote_and_separators_outside_of_quotes_are_put_in_other_words() {
    let finding = FindingText::new("a: \"b", "c; expected d; layer \"e", "f; layer g; expected h").of_layer("\"");
    assert_eq!(
        parts(&finding),
        [Some("a, 'b"), Some("c, expected d, layer 'e"), Some("f, layer g, expected h"), Some("'"),]
    );
    assert_eq!(FindingText::parse(&finding.to_string()), finding);
}

#[test]
fn texts_of_another_shape_stay_whole() {
    for text in [
        "",
        "905 more findings were cut",
        "the quote is malformed: the bytes end early",
        ": x; expected y",
        "x; expected ",
        "x: ; expected y",
        "a; layer ",
        "\"a: b; expected c",
    ] {
        assert_eq!(parts(&FindingText::parse(text)), [None, Some(text), None, None], "{text}");
    }
    let earlier = "PCR 15 is aa; expected one of bb";
    assert_eq!(parts(&FindingText::parse(earlier)), [None, Some("PCR 15 is aa"), Some("one of bb"), None]);
}

#[test]
fn the_longest_parts_are_cut_and_the_others_kept() {
    let long = format!("{:?}", "ä\\".repeat(400));
    let finding = FindingText::new("PCR 15", long.clone(), long).of_layer("tpm_policy");
    assert!(finding.to_string().len() <= FINDING_TEXT_BYTES_MAX);
    assert_eq!((finding.place(), finding.layer()), (Some("PCR 15"), Some("tpm_policy")));
    assert!(finding.found().len() > 200 && finding.found().ends_with("…\""), "{finding}");
    assert_eq!(FindingText::parse(&finding.to_string()), finding);
    // Two digests of SHA-512 and a usual place are never cut.
    let digest = "5a".repeat(64);
    let finding = FindingText::new("PCR 15 of bank sha512", &digest, format!("one of {digest}"));
    assert_eq!(finding.expected(), Some(format!("one of {digest}").as_str()));
}

#[test]
fn parts_stand_apart_in_json() {
    let finding = FindingText::new("quote", "a", "b");
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json, serde_json::json!({"place": "quote", "found": "a", "expected": "b", "layer": null}));
    assert_eq!(serde_json::from_value::<FindingText>(json).unwrap(), finding);
}

/// Text with much of what separates.
fn odd() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(": ".to_owned()),
        Just("; expected ".to_owned()),
        Just("; layer ".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("; expected".to_owned()),
        Just("ä".repeat(60)),
        ".{0,4}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_text_comes_back_whole(text in odd()) {
        prop_assert_eq!(FindingText::parse(&text).to_string(), text);
    }

    #[test]
    fn parts_come_back_as_they_were(place in odd(), found in odd(), expected in odd(), layer in odd()) {
        let finding = FindingText::new(&place, found.clone(), expected).of_layer(layer.clone());
        prop_assert!(finding.to_string().len() <= FINDING_TEXT_BYTES_MAX);
        prop_assert_eq!(FindingText::parse(&finding.to_string()), finding);
        let remark = FindingText::remark(place, found, layer);
        prop_assert!(remark.to_string().len() <= FINDING_TEXT_BYTES_MAX);
        prop_assert_eq!(FindingText::parse(&remark.to_string()), remark);
    }
}
