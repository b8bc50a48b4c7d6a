//! Lists of real machines, with what others computed from them.

use serde_json::Value;

use super::*;
use crate::testing::recorded;

const LISTS: [&str; 20] = [
    "acs_imasig.log",
    "h12ssl.ascii_measurements",
    "h12ssl.before.measurements",
    "h12ssl.binary_measurements",
    "h12ssl_values_ima.bin",
    "ibmtss_imatest.log",
    "ibmtss_sha1.log",
    "ibmtss_sha256.log",
    "ima_verify_sha1.bin",
    "keylime_ima-log-sha1",
    "keylime_ima-log-sha256",
    "keylime_ima-log-sm3_256",
    "keylime_measurements.txt",
    "keylime_signatures.txt",
    "keylime_tests_ima-buf_dm.txt",
    "keylime_tests_ima-sig.txt",
    "rust_keylime_ascii",
    "tss_sml-ima-ng-sha1.bin",
    "tss_sml-ima-sha1-invalidated.bin",
    "tss_sml-ima-sha1.bin",
];

fn list(name: &str) -> Option<(Vec<u8>, Value)> {
    let expected = recorded(&format!("ima/expected/{name}.json"))?;
    Some((recorded(&format!("ima/{name}"))?, serde_json::from_slice(&expected).unwrap()))
}

#[test]
fn every_recorded_list_replays_as_expected_or_errs_where_expected() {
    for name in LISTS {
        let Some((bytes, expected)) = list(name) else { return };
        let read = expected["entries"].as_u64().unwrap();
        let summary = match ListSummary::of(&bytes) {
            Err(SummaryError::Malformed { read: found, source }) if !expected["parse_error"].is_null() => {
                assert_eq!((found, source.entry), (read, read), "{name}");
                // The stray byte at the end: what stands in front of it replays as expected.
                ListSummary::of(&bytes[..source.offset]).unwrap()
            }
            other => other.unwrap_or_else(|error| panic!("{name}: {error:?}")),
        };
        compare(name, &summary, &expected);
    }
}

fn compare(name: &str, summary: &ListSummary, expected: &Value) {
    assert_eq!(summary.entries, expected["entries"].as_u64().unwrap(), "{name}");
    assert!(expected["form"].as_str().unwrap().starts_with(summary.form.name()), "{name}");
    assert_eq!(summary.log_hash.name(), expected["template_digest_algorithm"], "{name}");
    assert_eq!(summary.violations.count, expected["violations"].as_u64().unwrap(), "{name}");
    let mismatches: Vec<u64> = serde_json::from_value(expected["template_hash_mismatch"][1].clone()).unwrap();
    assert_eq!(summary.mismatches.first, mismatches, "{name}");
    let templates: std::collections::BTreeMap<String, u64> =
        serde_json::from_value(expected["templates"].clone()).unwrap();
    assert_eq!(summary.by_template, templates, "{name}");
    let mut compared = 0;
    for ((pcr, replay), register) in &summary.registers {
        let key = match replay {
            Replay::Recorded(bank) => format!("pcr{pcr}:{bank}"),
            Replay::RecordedPadded(bank) => format!("pcr{pcr}:{bank}(sha1-padded)"),
            Replay::Recomputed(bank) => format!("pcr{pcr}:{bank}(rehash)"),
        };
        if let Some(value) = expected["replay"].get(&key) {
            assert_eq!(register.to_string(), value.as_str().unwrap(), "{name} {key}");
            compared += 1;
        }
    }
    assert_eq!(compared, expected["replay"].as_object().unwrap().len(), "{name}");
}

#[test]
fn each_valid_entry_of_keylimes_is_read() {
    let Some(entries) = recorded("ima/keylime_valid_entries.json") else { return };
    let entries: std::collections::BTreeMap<String, String> = serde_json::from_slice(&entries).unwrap();
    for (name, line) in entries {
        let summary = ListSummary::of(line.as_bytes()).unwrap();
        assert_eq!((summary.entries, summary.mismatches.count), (1, 0), "{name}");
    }
}

#[test]
fn recorded_lists_meet_the_registers_their_machines_had() {
    let register = |text: &str, algorithm| Digest::new(algorithm, &hex::decode(text).unwrap()).unwrap();
    for (name, algorithm) in [
        ("h12ssl_values_ima.bin", HashAlgorithm::Sha1),
        ("h12ssl_values_ima.bin", HashAlgorithm::Sha256),
        ("ima_verify_sha1.bin", HashAlgorithm::Sha1),
    ] {
        let Some((bytes, expected)) = list(name) else { return };
        let quoted = register(expected["origin_values"]["pcrs"][algorithm.name()].as_str().unwrap(), algorithm);
        let everything = stack(&serde_json::json!({
            "excludes": [".+"], "x-attestry": {"violations": [{"path": ".*", "choice": "warn"}]},
        }));
        let evidence = Evidence { list: &bytes, first_entry: 0, quoted, reset_count: 7, boot_aggregates: &[] };
        let policies = Policies { current: &everything, earlier: &[] };
        let appraisal = appraise(&evidence, &policies, &state(algorithm)).unwrap();
        assert!(appraisal.passed(), "{name}: {:?}", appraisal.findings.kept().first());
        let violations = expected["violations"].as_u64().unwrap();
        assert_eq!(appraisal.findings.kept().len() as u64, violations, "{name}");
        assert_eq!(appraisal.excluded.iter().map(|hidden| hidden.count).sum::<u64>(), appraisal.judged - violations);
        // The same without a policy that hides everything: every path but those hidden is told.
        let nothing = stack(&serde_json::json!({}));
        let policies = Policies { current: &nothing, earlier: &[] };
        let appraisal = appraise(&evidence, &policies, &state(algorithm)).unwrap();
        assert!(!appraisal.passed() && appraisal.authentic);
        assert_eq!(appraisal.findings.failures(), appraisal.judged, "{name}");
        assert_eq!(appraisal.findings.kept().len(), FINDINGS_MAX);
        assert_eq!(appraisal.findings.cut(), appraisal.judged - FINDINGS_MAX as u64);
    }
}

#[test]
fn a_recorded_boot_aggregate_follows_from_the_recorded_registers() {
    let (Some(bytes), Some(text)) = (recorded("ima/ima_verify_sha1.bin"), recorded("ima/ima_verify_pcrs_sha1.txt"))
    else {
        return;
    };
    let mut values = crate::pcr::PcrValues::new(PcrBank(HashAlgorithm::Sha1));
    for line in String::from_utf8(text).unwrap().lines() {
        let Some((index, value)) = line.split_once(": 0x") else { continue };
        let value = Digest::new(HashAlgorithm::Sha1, &hex::decode(value.trim()).unwrap()).unwrap();
        values.insert(PcrIndex::try_from(index.trim().parse::<u8>().unwrap()).unwrap(), value).unwrap();
    }
    let aggregates = boot_aggregates(&values).unwrap();
    let mut entries = MeasurementList::new(&bytes, HashAlgorithm::Sha1).entries();
    let first = entries.read().unwrap().unwrap();
    assert!(first.is_boot_aggregate());
    assert_eq!(first.digest.unwrap().bytes, aggregates[0].as_bytes());
}
