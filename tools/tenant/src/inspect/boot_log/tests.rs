#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::{fs, path::Path};

use serde_json::Value;

use super::inspect;

/// A SHA-1 log of one separator, whose digest is of four zeros.
fn separator() -> Vec<u8> {
    let digest = hex::decode("9069ca78e7450a285173431b3e52c5c25299e473").unwrap();
    [&[7, 0, 0, 0, 4, 0, 0, 0], digest.as_slice(), &[4, 0, 0, 0], &[0; 4]].concat()
}

#[test]
fn a_log_gives_registers_and_events_in_words() {
    let value = inspect(&separator()).unwrap();
    assert_eq!(value["event_count"], 1);
    assert_eq!(value["pcrs"]["sha1"]["7"], "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236");
    assert_eq!(value["events"][0]["what"], "the firmware hands over");
    assert_eq!(value["events"][0]["verified"], true);
}

#[test]
fn altered_data_is_marked_as_not_measured() {
    let mut log = separator();
    log[32] = 1;
    let value = inspect(&log).unwrap();
    assert_eq!(value["events"][0]["verified"], false);
}

#[test]
fn banks_that_cannot_be_replayed_are_named() {
    let digests = [vec![0x0b, 0], vec![0x55; 32], vec![0x27, 0], vec![0x55; 32]].concat();
    let mut spec_id = b"Spec ID Event03\0".to_vec();
    spec_id.extend([0, 0, 0, 0, 0, 2, 0, 2, 2, 0, 0, 0, 0x0b, 0, 32, 0, 0x27, 0, 32, 0, 0]);
    let size = u8::try_from(spec_id.len()).unwrap();
    let header = [vec![0, 0, 0, 0, 3, 0, 0, 0], vec![0; 20], vec![size, 0, 0, 0], spec_id].concat();
    let event = [vec![7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0], digests, vec![0; 4]].concat();
    let value = inspect(&[header, event].concat()).unwrap();
    assert_eq!(value["unknown_banks"], serde_json::json!(["0x0027"]));
    assert_eq!(value["banks"], serde_json::json!(["sha256"]));
    assert!(value["pcrs"]["sha256"]["7"].is_string());
}

#[test]
fn a_malformed_log_fails_and_says_where() {
    let log = separator();
    let failure = inspect(&log[..35]).unwrap_err().to_string();
    assert!(failure.contains("event data at byte 32 needs 4 bytes, 3 are left"), "{failure}");
    assert!(inspect(b"").is_err() && inspect(b"no log at all, but some text instead").is_err());
}

#[test]
fn logs_of_real_machines_give_their_expected_registers() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap();
    let folder = root.parent().unwrap().join("shared/data/eventlogs");
    let Ok(expectations) = fs::read_dir(folder.join("expected")) else {
        eprintln!("SKIPPED: no ../shared/data/eventlogs beside the workspace, real machines' logs are not inspected");
        return;
    };
    let mut inspected = 0;
    for expectation in expectations {
        let expectation: Value = serde_json::from_slice(&fs::read(expectation.unwrap().path()).unwrap()).unwrap();
        let file = expectation["file"].as_str().unwrap();
        let Ok(value) = inspect(&fs::read(folder.join(file)).unwrap()) else {
            assert!(!expectation["independent_replay"]["error"].is_null(), "{file}");
            continue;
        };
        for (bank, values) in expectation["independent_replay"]["pcrs"].as_object().unwrap() {
            assert_eq!(value["pcrs"][bank], *values, "{file} {bank}");
        }
        assert_eq!(value["event_count"], expectation["events_including_spec_id"], "{file}");
        inspected += 1;
    }
    assert!(inspected > 50, "{inspected}");
}
