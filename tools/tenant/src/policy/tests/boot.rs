//! Measured-boot policies made of logs.

use std::fs;

use serde_json::json;

use super::{Folder, policy, shared};

/// A SHA-1 log as old firmware writes it: register, type, digest of the data, data.
fn legacy_log(events: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut log = Vec::new();
    for (register, kind, data) in events {
        log.extend(register.to_le_bytes());
        log.extend(kind.to_le_bytes());
        log.extend(openssl::sha::sha1(data));
        log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        log.extend(*data);
    }
    log
}

const S_CRTM_VERSION: u32 = 8;
const IPL: u32 = 13;
const SEPARATOR: u32 = 4;

/// Firmware and GRUB, with this command line. The digest of GRUB's texts covers what follows the prefix.
fn log_with(command_line: &str) -> Vec<u8> {
    let mut log = legacy_log(&[(0, S_CRTM_VERSION, b"1.0"), (0, SEPARATOR, &[0; 4])]);
    log.extend(8_u32.to_le_bytes());
    log.extend(IPL.to_le_bytes());
    log.extend(openssl::sha::sha1(command_line.as_bytes()));
    let data = format!("kernel_cmdline: {command_line}");
    log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    log.extend(data.as_bytes());
    log
}

#[test]
fn a_policy_of_a_log_accepts_it_and_not_another() {
    let folder = Folder::new();
    let (good, bad) =
        (folder.put("good.log", log_with("ro quiet")), folder.put("bad.log", log_with("ro init=/bin/sh")));
    let output = folder.path("boot.json");
    policy(&["create", "measured-boot", &good, "--name", "old server", "-o", &output]).unwrap();
    let made = folder.json("boot.json");
    assert_eq!(made["accept"][0]["name"], "old server");
    assert_eq!(made["accept"][0]["command_line"]["patterns"], json!(["ro quiet"]));
    let trial = |log: &str| policy(&["try", &output, "--boot-log", log, "--bank", "sha1"]);
    trial(&good).unwrap();
    trial(&bad).unwrap_err();
}

#[test]
fn a_register_with_nothing_known_in_it_is_pinned() {
    let folder = Folder::new();
    let unknown = |data: &[u8]| legacy_log(&[(0, S_CRTM_VERSION, b"1.0"), (9, IPL, data)]);
    let (good, bad) = (folder.put("good.log", unknown(b"\x01ro")), folder.put("bad.log", unknown(b"\x01rw")));
    let output = folder.path("boot.json");
    policy(&["create", "measured-boot", &good, "-o", &output]).unwrap();
    policy(&["try", &output, "--boot-log", &good, "--bank", "sha1"]).unwrap();
    policy(&["try", &output, "--boot-log", &bad, "--bank", "sha1"]).unwrap_err();
}

#[test]
fn logs_that_give_the_same_share_an_alternative_and_others_get_their_own() {
    let folder = Folder::new();
    let (one, same) = (folder.put("one.log", log_with("ro")), folder.put("same.log", log_with("ro")));
    let other = folder.put("other.log", log_with("rw"));
    let output = folder.path("boot.json");
    policy(&["create", "measured-boot", &one, &same, &other, "--name", "server", "-o", &output]).unwrap();
    let made = folder.json("boot.json");
    let names: Vec<_> = made["accept"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, [json!("server"), json!("server 2")]);
}

#[test]
fn a_malformed_log_makes_no_policy() {
    let folder = Folder::new();
    let (log, output) = (folder.put("x.log", b"not a log"), folder.path("boot.json"));
    let failure = policy(&["create", "measured-boot", &log, "-o", &output]).unwrap_err().to_string();
    assert!(failure.contains("x.log as a boot event log") && !fs::exists(&output).unwrap(), "{failure}");
}

#[test]
fn merged_alternatives_of_one_name_must_be_the_same() {
    let folder = Folder::new();
    let output = folder.path("merged.json");
    let put = |name: &str, digit: &str| {
        let pcr0 = json!([format!("sha256:{}", digit.repeat(64))]);
        let alternative = json!({"name": "server", "firmware": {"pcr0": pcr0}});
        folder.put(name, json!({"version": 1, "accept": [alternative]}).to_string())
    };
    let (one, same, other) = (put("one", "1"), put("same", "1"), put("other", "2"));
    policy(&["merge", &one, &same, "-o", &output]).unwrap();
    assert_eq!(folder.json("merged.json")["accept"].as_array().unwrap().len(), 1);
    assert!(policy(&["merge", &one, &other, "-o", &output]).unwrap_err().to_string().contains("named \"server\""));
}

#[test]
fn every_recorded_tpm_log_gives_a_policy_that_accepts_it() {
    let Some(logs) = shared("eventlogs") else { return };
    let folder = Folder::new();
    let (output, mut made, mut states) = (folder.path("boot.json"), 0, 0);
    for entry in fs::read_dir(logs).unwrap() {
        let path = entry.unwrap().path();
        let is_log = path.is_file() && !path.extension().is_some_and(|ending| ending == "json" || ending == "yaml");
        let log = path.to_str().unwrap();
        // Creating checks by the verifier's engine that the log is accepted; malformed and confidential guests' logs fail.
        if is_log && policy(&["create", "measured-boot", log, "-o", &output]).is_ok() {
            made += 1;
            states += usize::from(policy(&["create", "measured-boot", "--keylime", log, "-o", &output]).is_ok());
        }
    }
    assert!(made >= 40 && states >= 4, "{made} policies, {states} reference states");
}

#[test]
fn a_reference_state_accepts_its_log_and_not_one_of_another_machine() {
    let Some(logs) = shared("eventlogs") else { return };
    let folder = Folder::new();
    let path = |name: &str| logs.join(name).to_str().unwrap().to_owned();
    let output = folder.path("state.json");
    policy(&["create", "measured-boot", "--keylime", &path("keylime_mb_secureboot"), "-o", &output]).unwrap();
    policy(&["try", &output, "--boot-log", &path("keylime_mb_secureboot")]).unwrap();
    policy(&["try", &output, "--boot-log", &path("event-bootorder.bin")]).unwrap_err();
}
