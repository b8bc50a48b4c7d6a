//! Every log of real machines in the shared data gives the register values its origin and two other replays state.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::boot_log::{BootLog, EventDetails, LogFormat, MalformedBootLog, Replay, VariableValue};
use crate::pcr::PcrBank;

/// The shared folder beside the worktree, if it is there.
pub(crate) fn shared_logs() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file())?;
    let folder = root.parent()?.join("shared/data/eventlogs");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no ../shared/data/eventlogs beside the workspace, real machines' logs are not tested");
    None
}

/// The logs by name: everything that is not somebody's description of a log.
pub(crate) fn logs() -> Option<BTreeMap<String, Vec<u8>>> {
    let mut logs = BTreeMap::new();
    for entry in fs::read_dir(shared_logs()?).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && ![".json", ".yaml", ".dat"].iter().any(|end| name.ends_with(end)) {
            logs.insert(name, fs::read(&path).unwrap());
        }
    }
    assert!(logs.len() >= 60, "the shared data has at least sixty logs, found {}", logs.len());
    Some(logs)
}

fn expectation(name: &str) -> Option<Value> {
    let path = shared_logs()?.join("expected").join(format!("{name}.json"));
    fs::read(path).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

fn hex_values(log: &BootLog<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let values =
        |replay: Replay| replay.values().iter().map(|(index, value)| (index.to_string(), value.to_string())).collect();
    log.banks().map(|bank| (bank.to_string(), values(log.replay(bank).unwrap()))).collect()
}

/// Named errors of the files that are no logs, and of the one whose header is cut short.
fn expected_error(name: &str) -> Option<fn(&MalformedBootLog) -> bool> {
    Some(match name {
        "malformed_event_size_too_large.bin" | "malformed_keylime_bogus" | "not_a_log_ccel_acpi_table.bin" => {
            |error| matches!(error, MalformedBootLog::Register { offset: 0, .. })
        }
        "specid_body_invalid_version.bin" | "specid_body_sha1_and_sha256.bin" => {
            |error| matches!(error, MalformedBootLog::Register { offset: 0, found: 0x6365_7053 })
        }
        "specid-vendordata.bin" => |error| {
            matches!(error, MalformedBootLog::Truncated { field: "vendorInfo", offset: 0x45, needed: 4, left: 0 })
        },
        _ => return None,
    })
}

#[test]
fn every_real_log_replays_to_its_expected_values_or_fails_by_name_and_place() {
    let Some(logs) = logs() else { return };
    for (name, bytes) in logs {
        let log = match (BootLog::parse(&bytes), expected_error(&name)) {
            (Ok(log), None) => log,
            (Err(error), Some(expected)) => {
                assert!(expected(&error), "{name}: {error}");
                continue;
            }
            (Ok(_), Some(_)) => panic!("{name} parsed, an error was expected"),
            (Err(error), None) => panic!("{name}: {error}"),
        };
        let expected = expectation(&name).unwrap_or_else(|| panic!("{name} has no expectation"));
        assert_eq!(log.events().len() as u64, expected["events_including_spec_id"].as_u64().unwrap(), "{name}");
        assert_eq!(log.padding_bytes() as u64, expected["padding_bytes_after_last_event"].as_u64().unwrap(), "{name}");
        // The expectations leave the first event of a SHA-1 log out of this question.
        if name != "malformed_short_no_action" {
            assert_eq!(log.startup_locality().map(u64::from), expected["startup_locality"].as_u64(), "{name}");
        }
        let registerless = log.events().iter().filter(|event| event.register().is_none()).count();
        assert_eq!(registerless as u64, expected["events_with_pcr_index_ffffffff"].as_u64().unwrap(), "{name}");
        let algorithms: Vec<String> = log.banks().map(|bank| bank.to_string()).collect();
        let listed: Vec<&str> = expected["algorithms"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(algorithms, listed, "{name}");
        let ours = hex_values(&log);
        let theirs: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_value(expected["independent_replay"]["pcrs"].clone()).unwrap();
        let ours: BTreeMap<_, _> = ours.into_iter().filter(|(_, values)| !values.is_empty()).collect();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn values_read_from_real_tpms_equal_the_replay() {
    let Some(logs) = logs() else { return };
    let mut compared = 0;
    for (name, bytes) in logs {
        let Some(expected) = expectation(&name) else { continue };
        let Some(banks) = expected["origin_values"]["pcrs"].as_object() else { continue };
        let differing: Vec<&str> = expected["origin_values"]["mismatch_with_replay"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let ours = hex_values(&BootLog::parse(&bytes).unwrap());
        for (bank, values) in banks {
            for (index, value) in values.as_object().unwrap() {
                let Some(replayed) = ours.get(bank).and_then(|values| values.get(index)) else { continue };
                let differs = differing.contains(&format!("{bank}:{index}").as_str());
                assert_eq!(differs, replayed != value.as_str().unwrap(), "{name} {bank}:{index}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "at least a hundred values are stated by the origins, compared {compared}");
}

#[test]
fn secure_boot_state_of_real_logs_is_as_expected_and_covered_by_its_digest() {
    let Some(logs) = logs() else { return };
    for (name, bytes) in logs {
        let (Ok(log), Some(expected)) = (BootLog::parse(&bytes), expectation(&name)) else { continue };
        let bank = log.banks().find(|bank| bank.to_string() != "sm3_256").unwrap();
        let mut found = None;
        for event in log.examine(bank).unwrap() {
            let EventDetails::Variable(variable) = &event.details else { continue };
            if variable.name == "SecureBoot" {
                assert!(event.is_covered_whole(), "{name}: {}", event.event.place());
                let empty = variable.data.is_empty();
                found = match variable.value {
                    VariableValue::Switch(true) => Some("on"),
                    VariableValue::Switch(false) => Some(if empty { "empty" } else { "off" }),
                    _ => panic!("{name}: SecureBoot is a switch"),
                };
            }
        }
        assert_eq!(found, expected["secure_boot_variable"].as_str(), "{name}");
    }
}

#[test]
fn data_of_real_logs_that_must_give_its_digest_does_but_where_the_machine_itself_errs() {
    let Some(logs) = logs() else { return };
    let (mut verified, mut differing, mut malformed) = (0, Vec::new(), Vec::new());
    for (name, bytes) in logs {
        let Ok(log) = BootLog::parse(&bytes) else { continue };
        for bank in log.banks().filter(|bank| bank.to_string() != "sm3_256") {
            for event in log.examine(bank).unwrap() {
                match event.verified {
                    Some(true) => verified += 1,
                    Some(false) => differing.push(format!("{name} {}", event.event.place().number)),
                    None => (),
                }
                if let EventDetails::Malformed(error) = &event.details {
                    malformed.push(format!("{name} {}: {error}", event.event.place()));
                }
            }
        }
    }
    // A Power machine's own firmware, and a boot loader that logged its command line cut short.
    differing
        .retain(|place| !place.starts_with("acs_tpm2bios.log") && !place.starts_with("arch-linux-workstation.bin"));
    assert!(verified > 4000, "{verified}");
    assert_eq!(differing, Vec::<String>::new());
    // A load option that this laptop logged behind the variable's end.
    let laptop = "tpm12_windows_lenovo_x1carbonv3 event 23 at byte 14082: 1235 bytes left over at byte 14182, \
         expected the variable to end there";
    assert_eq!(malformed, [laptop]);
}

#[test]
fn a_confidential_guests_log_is_told_from_a_tpms() {
    let Some(logs) = logs() else { return };
    for (name, bytes) in logs {
        let Ok(log) = BootLog::parse(&bytes) else { continue };
        assert_eq!(log.format() == LogFormat::ConfidentialComputing, name.starts_with("ccel"), "{name}");
    }
}

#[test]
fn a_bank_that_windows_leaves_out_is_a_gap_at_the_first_such_event() {
    let Some(logs) = logs() else { return };
    let log = BootLog::parse(&logs["p511_windows.log"]).unwrap();
    let gaps = |name: &str| {
        let bank: PcrBank = log.banks().find(|bank| bank.to_string() == name).unwrap();
        let replay = log.replay(bank).unwrap();
        crate::pcr::PcrIndex::all().filter_map(|index| replay.gap(index)).map(|place| place.number).min()
    };
    assert_eq!((gaps("sha1"), gaps("sha256")), (Some(43), None));
}
