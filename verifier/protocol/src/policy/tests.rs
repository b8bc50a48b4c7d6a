#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const SHA256: [HashAlgorithm; 1] = [HashAlgorithm::Sha256];

fn parse(text: &str) -> Result<TpmPolicy, TpmPolicyError> {
    TpmPolicy::parse(text, &SHA256)
}

fn zeros() -> String {
    "00".repeat(32)
}

#[test]
fn a_stock_tenants_policy_is_read() {
    let policy = parse(&format!(r#"{{"15": ["{}", "{}"], "mask": "0x80ffff"}}"#, zeros(), "AB".repeat(32))).unwrap();
    assert_eq!(policy.mask(), 0x80_ffff);
    let (index, values) = policy.requirements().next().unwrap();
    assert_eq!((index.get(), values), (15, [vec![0; 32], vec![0xab; 32]].as_slice()));
}

#[test]
fn a_single_text_is_a_list_of_one_and_the_mask_is_computed() {
    let policy = parse(&format!(r#"{{"0": "{}", "23": ["{}"]}}"#, zeros(), zeros())).unwrap();
    assert_eq!(policy.mask(), 0x80_0001);
    assert_eq!(policy.requirements().count(), 2);
}

#[test]
fn an_empty_policy_requires_nothing() {
    let policy = parse("{}").unwrap();
    assert_eq!(policy.mask(), 0);
}

#[test]
fn registers_that_change_by_themselves_cannot_be_named() {
    for index in [10, 16] {
        let error = parse(&format!(r#"{{"{index}": "{}"}}"#, zeros())).unwrap_err();
        assert!(matches!(error, TpmPolicyError::Reserved { .. }), "{error}");
    }
    assert!(parse(&format!(r#"{{"11": "{}"}}"#, zeros())).is_ok());
}

#[test]
fn a_mask_that_leaves_out_a_named_register_is_refused() {
    let error = parse(&format!(r#"{{"15": "{}", "mask": "0x7fff"}}"#, zeros())).unwrap_err();
    assert_eq!(error, TpmPolicyError::Mask { mask: 0x7fff, named: 0x8000 });
    assert!(parse(&format!(r#"{{"15": "{}", "mask": "0x8000"}}"#, zeros())).is_ok());
}

#[test]
fn masks_in_other_forms_are_refused() {
    for mask in
        [r#""ffff""#, r#""0x1000000""#, r#""0x""#, r#""0x+1""#, r#""""#, "[]", r#"["0x1", "0x2"]"#, r#""0x123456789""#]
    {
        assert!(matches!(parse(&format!(r#"{{"mask": {mask}}}"#)), Err(TpmPolicyError::MaskText(_))), "{mask}");
    }
    assert!(parse(r#"{"mask": "0xFFFFFF"}"#).is_ok());
}

#[test]
fn unknown_members_and_odd_numbers_are_refused() {
    for name in ["24", "-1", "015", "+1", " 1", "", "pcr1", "Mask", "256"] {
        let error = parse(&format!(r#"{{"{name}": "{}"}}"#, zeros())).unwrap_err();
        assert_eq!(error, TpmPolicyError::Member(name.to_owned()));
    }
}

#[test]
fn a_member_twice_is_refused() {
    let twice = format!(r#"{{"15": "{}", "15": "{}"}}"#, zeros(), zeros());
    assert_eq!(parse(&twice), Err(TpmPolicyError::Twice("15".into())));
    assert_eq!(parse(r#"{"mask": "0x1", "mask": "0x1"}"#), Err(TpmPolicyError::Twice("mask".into())));
}

#[test]
fn a_bank_or_register_twice_among_the_rules_drops_no_requirement() {
    let zeros = zeros();
    let rules = |pcrs: &str| parse(&format!(r#"{{"x-attestry": {{"pcrs": {pcrs}}}}}"#));
    let bank = format!(r#""sha256": {{"0": ["{zeros}"]}}"#);
    assert_eq!(rules(&format!("{{{bank}}}")).unwrap().mask(), 1);
    for doubled in [
        format!(r#"{{{bank}, "sha256": {{"7": ["{zeros}"]}}}}"#),
        format!(r#"{{"sha256": {{"0": ["{zeros}"], "0": ["{}"]}}}}"#, "11".repeat(32)),
    ] {
        let error = rules(&doubled).unwrap_err().to_string();
        assert!(error.contains("duplicate member"), "{error}");
    }
}

#[test]
fn values_that_no_register_can_hold_are_refused() {
    let with = |value: &str| parse(&format!(r#"{{"15": {value}}}"#)).unwrap_err();
    assert!(matches!(with(r#""xyz""#), TpmPolicyError::Hex { .. }));
    assert!(matches!(with(&format!(r#""{}""#, "00".repeat(20))), TpmPolicyError::ValueLength { found: 20, .. }));
    assert!(matches!(with("[]"), TpmPolicyError::ValueCount { found: 0, .. }));
    assert!(matches!(with("7"), TpmPolicyError::Json(_)));
    assert!(matches!(with(r#"{"a": "b"}"#), TpmPolicyError::Json(_)));
    let many = vec![format!(r#""{}""#, zeros()); VALUES_MAX + 1].join(",");
    assert!(matches!(with(&format!("[{many}]")), TpmPolicyError::ValueCount { .. }));
}

#[test]
fn text_that_is_no_object_is_refused() {
    for text in ["", "[]", "null", "{", "{}x", "{'mask': '0x1'}"] {
        assert!(matches!(parse(text), Err(TpmPolicyError::Json(_))), "{text}");
    }
    assert!(matches!(parse(&" ".repeat(TPM_POLICY_BYTES_MAX + 1)), Err(TpmPolicyError::TooLong { .. })));
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_stock_tenants_lists_are_read() {
    let accepted = AlgorithmsAccepted::from_names(
        &names(&["sha512", "sha384", "sha256", "sha1"]),
        &names(&["ecc", "rsa"]),
        &names(&["ecschnorr", "rsassa"]),
    )
    .unwrap();
    assert_eq!(accepted.hash(), [HashAlgorithm::Sha512, HashAlgorithm::Sha384, HashAlgorithm::Sha256]);
    assert_eq!(accepted.encryption(), [EncryptionAlgorithm::Ecc256, EncryptionAlgorithm::Rsa2048]);
    assert_eq!(accepted.signing(), [SignatureScheme::RsaSsa]);
}

#[test]
fn a_list_that_leaves_nothing_is_refused_by_name() {
    let (hash, rsa, rsassa) = (names(&["sha256"]), names(&["rsa"]), names(&["rsassa"]));
    let list = |result: Result<AlgorithmsAccepted, NothingAccepted>| result.unwrap_err().list;
    assert_eq!(list(AlgorithmsAccepted::from_names(&names(&["sha1"]), &rsa, &rsassa)), "accept_tpm_hash_algs");
    assert_eq!(list(AlgorithmsAccepted::from_names(&hash, &[], &rsassa)), "accept_tpm_encryption_algs");
    assert_eq!(list(AlgorithmsAccepted::from_names(&hash, &rsa, &names(&["x"]))), "accept_tpm_signing_algs");
}

#[test]
fn rules_of_our_own_are_read_strictly() {
    let rules = |rules: &str| parse(&format!(r#"{{"x-attestry": {rules}}}"#));
    for good in [
        "{}",
        r#"{"firmware-version-deny": ["0x0", "0x1-0xffffffffffffffff"], "unsafe-clock": "warn", "resets": "with-boot-log"}"#,
        r#"{"resets-max": 0, "restarts": "fail", "hash-bits-min": 256, "rsa-bits-min": 3072, "ecc-bits-min": 256}"#,
    ] {
        rules(good).unwrap();
    }
    for bad in [
        "[]",
        r#"{"unknown": 1}"#,
        r#"{"firmware-version-deny": ["1"]}"#,
        r#"{"firmware-version-deny": ["0x"]}"#,
        r#"{"firmware-version-deny": ["0x2-0x1"]}"#,
        r#"{"firmware-version-deny": ["0x10000000000000000"]}"#,
        r#"{"unsafe-clock": "allow"}"#,
        r#"{"resets": "yes"}"#,
        r#"{"resets-max": -1}"#,
        r#"{"pcrs": {"sha1": {"0": ["00"]}}}"#,
        r#"{"pcrs": {"sha256": {"0": ["00"]}}}"#,
        r#"{"pcrs": {"sha256": {"10": []}}}"#,
    ] {
        assert!(rules(bad).is_err(), "{bad}");
    }
    let twice = parse(r#"{"x-attestry": {}, "x-attestry": {}}"#).unwrap_err();
    assert_eq!(twice, TpmPolicyError::Twice("x-attestry".into()));
}

#[test]
fn the_published_schema_names_every_rule() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/tpm-policy.schema.json");
    let schema: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rules = schema.pointer("/properties/x-attestry/properties").unwrap().as_object().unwrap();
    let number = |name: &str| name.starts_with("resets-max") || name.ends_with("-min");
    for (name, rule) in rules {
        let value = match rule.pointer("/enum/0") {
            Some(value) => value.clone(),
            None if number(name) => serde_json::json!(1),
            None if name == "pcrs" => serde_json::json!({}),
            None => serde_json::json!([]),
        };
        let policy = serde_json::json!({"x-attestry": {name: value}});
        parse(&policy.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(rules.len(), 9);
    let doc = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/tpm-policy.md");
    let doc = std::fs::read_to_string(doc).unwrap();
    assert!(rules.keys().all(|name| doc.contains(&format!("`{name}`"))));
}
