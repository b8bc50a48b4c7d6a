//! Device-mapper records against Keylime's structured policy.

use serde_json::{Value, json};

use super::*;

const METADATA: &str = "uuid=CRYPT-VERITY-1-test,major=253,minor=0,minor_count=1,num_targets=1;";
const TARGET: &str = "target_index=0,target_begin=0,target_len=204808,target_name=verity,target_version=1.8.0,";
const VERITY: &str = "hash_failed=V,verity_version=1,data_device_name=7:1,hash_device_name=7:0,\
    verity_algorithm=sha256,root_digest=6eaf,salt=d738,ignore_zero_blocks=n,check_at_most_once=n;";
const CAPACITY: &str = "current_device_capacity=204808;";

fn load() -> Vec<u8> {
    format!("dm_version=4.45.0;name=test,{METADATA}{TARGET}{VERITY}").into_bytes()
}

fn resume(table: &[u8]) -> Vec<u8> {
    let table = builder::hex(&builder::sha256(table));
    format!("dm_version=4.45.0;name=test,{METADATA}active_table_hash=sha256:{table};{CAPACITY}").into_bytes()
}

fn remove() -> Vec<u8> {
    let table = builder::hex(&builder::sha256(&load()));
    let hash = format!("active_table_hash=sha256:{table},remove_all=n;");
    format!("dm_version=4.45.0;device_active_metadata=name=test,{METADATA}{hash}{CAPACITY}").into_bytes()
}

fn clear() -> Vec<u8> {
    let zeros = "\0".repeat(18);
    format!("dm_version=4.45.0;name=test,uuid=CRYPT-VERITY-1-test;table_clear=no_data;{zeros}{CAPACITY}").into_bytes()
}

fn rename(to: &str) -> Vec<u8> {
    let uuid = "new_uuid=CRYPT-VERITY-1-test";
    format!("dm_version=4.45.0;name=test,{METADATA}new_name={to},{uuid};{CAPACITY}").into_bytes()
}

fn update(failed: &str) -> Vec<u8> {
    let target = VERITY.replace("hash_failed=V", &format!("hash_failed={failed}"));
    format!("dm_version=4.45.0;name=test,{METADATA}{TARGET}{target}").into_bytes()
}

fn rule() -> Value {
    json!({
        "required": true, "device_resume_required": true,
        "device_rename": {"valid_name": "test|other", "valid_uuid": false},
        "device_remove": {"allow_removal": false}, "allow_clear": false,
        "table_load": {
            "allow_multiple_loads": false, "name": "test", "uuid": "CRYPT-VERITY-.*", "major": 253, "minor": 0,
            "minor_count": 1, "num_targets": 1,
            "targets": [{
                "target_index": 0, "target_begin": 0, "target_len": 204_808, "target_name": "verity",
                "target_version": "1\\.8\\.0", "hash_failed": "V", "verity_version": 1, "root_digest": "6eaf",
                "ignore_zero_blocks": "n", "check_at_most_once": false, "salt": null,
            }],
        },
    })
}

fn policy_of(rule: &Value) -> PolicyStack {
    let dm_policy = json!({"version": 1, "match_on": "uuid", "rules": {"root": rule}});
    let ima = json!({"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": dm_policy});
    stack(&json!({"ima": ima}))
}

#[test]
fn a_record_is_taken_back_whole_whatever_it_changed() {
    let mut rule = rule();
    rule["device_remove"]["allow_removal"] = json!(true);
    rule["allow_clear"] = json!(true);
    let stack = policy_of(&rule);
    let (_, policy) = stack.device_mapper().unwrap();
    let table = |record: &[u8]| format!("sha256:{}", builder::hex(&builder::sha256(record)));
    let mut devices = crate::ima::devices::Devices::default();
    let steps = [
        ("dm_table_load", load()),
        ("dm_device_resume", resume(b"another table")),
        ("dm_table_load", load()),
        ("dm_device_rename", rename("third")),
        ("dm_device_rename", rename("other")),
        ("dm_target_update", update("C")),
        ("dm_table_clear", clear()),
        ("dm_device_remove", remove()),
        ("dm_device_remove", remove()),
        ("dm_table_load", b"no record".to_vec()),
    ];
    for (name, record) in &steps {
        devices.begin();
        let start = devices.clone();
        let first = devices.take(policy, name.as_bytes(), record, table(record));
        assert_eq!(devices.before(), start, "{name}");
        devices.take_back();
        assert_eq!(devices, start, "{name}");
        assert_eq!(devices.take(policy, name.as_bytes(), record, table(record)), first, "{name}");
    }
}

fn list_of(records: &[(&str, Vec<u8>)]) -> ListBuilder {
    let mut list = ListBuilder::default();
    for (name, record) in records {
        list.buffer(name, record);
    }
    list
}

fn told(records: &[(&str, Vec<u8>)], rule: &Value) -> Vec<&'static str> {
    let appraisal = Round::whole(&list_of(records)).appraise(&policy_of(rule), &state(HashAlgorithm::Sha256));
    assert!(appraisal.authentic);
    appraisal.findings.kept().iter().map(|finding| finding.event.name()).collect()
}

fn booted() -> Vec<(&'static str, Vec<u8>)> {
    vec![("dm_table_load", load()), ("dm_device_resume", resume(&load()))]
}

fn after_boot(name: &'static str, record: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let mut records = booted();
    records.push((name, record));
    records
}

#[test]
fn a_device_loaded_and_resumed_by_its_rule_passes() {
    assert_eq!(told(&booted(), &rule()), [] as [&str; 0]);
    assert_eq!(told(&after_boot("dm_target_update", update("V")), &rule()), [] as [&str; 0]);
}

#[test]
fn a_device_that_is_not_resumed_or_not_there_fails_the_required_rule() {
    let missing = ["validation.dm.device_invalid_state", "validation.dm.required_policy_not_in_use"];
    assert_eq!(told(&booted()[..1], &rule()), missing);
    let mut list = ListBuilder::default();
    list.file("/usr/bin/sh", b"sh");
    let appraisal = Round::whole(&list).appraise(&policy_of(&rule()), &state(HashAlgorithm::Sha256));
    let names: Vec<_> = appraisal.findings.kept().iter().map(|finding| finding.event.name()).collect();
    assert_eq!(names[1], "validation.dm.required_policy_not_in_use");
    let mut free = rule();
    (free["required"], free["device_resume_required"]) = (json!(false), json!(false));
    assert_eq!(told(&booted()[..1], &free), [] as [&str; 0]);
}

#[test]
fn each_thing_that_must_not_happen_to_a_device_is_told_by_its_name() {
    let cases = [
        ("dm_table_load", load(), "validation.dm.dm_table_load.multiple_table_loads"),
        ("dm_device_resume", resume(&load()), "validation.dm.dm_device_resume.already_active"),
        ("dm_device_remove", remove(), "validation.dm.dm_device_remove.device_removed"),
        ("dm_table_clear", clear(), "validation.dm.dm_table_clear.table_cleared"),
        ("dm_device_rename", rename("evil"), "validation.dm.dm_device_rename.new_name_invalid"),
        ("dm_target_update", update("C"), "validation.dm.dm_target_update.target_data_invalid"),
    ];
    for (name, record, expected) in cases {
        assert_eq!(told(&after_boot(name, record), &rule())[0], expected);
    }
    let mut lenient = rule();
    lenient["device_remove"]["allow_removal"] = json!(true);
    lenient["allow_clear"] = json!(true);
    lenient["table_load"]["allow_multiple_loads"] = json!(true);
    lenient["required"] = json!(false);
    lenient["device_resume_required"] = json!(false);
    for (name, record) in [("dm_table_load", load()), ("dm_device_remove", remove()), ("dm_table_clear", clear())] {
        assert_eq!(told(&after_boot(name, record), &lenient), [] as [&str; 0], "{name}");
    }
    assert_eq!(told(&after_boot("dm_device_rename", rename("other")), &rule()), [] as [&str; 0]);
}

#[test]
fn what_happens_to_a_device_that_was_not_loaded_is_told() {
    let cases = [
        ("dm_device_resume", resume(&load()), "validation.dm.dm_device_resume.resume_before_table_load"),
        ("dm_device_remove", remove(), "validation.dm.dm_device_remove.remove_before_table_load"),
        ("dm_table_clear", clear(), "validation.dm.dm_table_clear.clear_before_table_load"),
        ("dm_device_rename", rename("other"), "validation.dm.dm_device_rename.rename_before_table_load"),
        ("dm_target_update", update("V"), "validation.dm.dm_target_update.update_before_table_load"),
    ];
    for (name, record, expected) in cases {
        assert_eq!(told(&[(name, record)], &rule())[0], expected);
    }
}

#[test]
fn another_table_another_device_and_another_target_are_refused() {
    let text = String::from_utf8(load()).unwrap();
    let changed = |from: &str, to: &str| vec![("dm_table_load", text.replace(from, to).into_bytes())];
    let cases = [
        ("root_digest=6eaf", "root_digest=6eae", "validation.dm.dm_table_load.target_data_invalid"),
        ("check_at_most_once=n", "check_at_most_once=y", "validation.dm.dm_table_load.target_data_invalid"),
        ("target_len=204808", "target_len=204809", "validation.dm.dm_table_load.target_data_invalid"),
        ("major=253", "major=254", "validation.dm.dm_table_load.invalid_entry"),
        ("name=test", "name=tess", "validation.dm.dm_table_load.invalid_entry"),
        ("CRYPT-VERITY", "CRYPT-LUKS", "validation.dm.dm_table_load.no_matching_policy"),
        ("num_targets=1", "num_targets=2", "validation.dm.dm_table_load.num_targets_mismatch"),
        ("name=test", "name=te st", "validation.dm.parsing_failed"),
        ("salt=d738,", "", "validation.dm.parsing_failed"),
        ("hash_failed=V", "stripes=2", "validation.dm.parsing_failed"),
        ("check_at_most_once=n;", "check_at_most_once=n;x", "validation.dm.parsing_failed"),
    ];
    for (from, to, expected) in cases {
        assert_eq!(told(&changed(from, to), &rule())[0], expected, "{to}");
    }
    // A salt the rule leaves open, and an optional attribute, pass.
    for (from, to) in [("salt=d738", "salt=0"), ("once=n;", "once=n,verity_mode=restart_on_corruption;")] {
        let load = text.replace(from, to).into_bytes();
        let records = [("dm_table_load", load.clone()), ("dm_device_resume", resume(&load))];
        assert_eq!(told(&records, &rule()), [] as [&str; 0], "{to}");
    }
    let other = [("dm_table_load", load()), ("dm_device_resume", resume(b"other"))];
    assert_eq!(told(&other, &rule())[0], "validation.dm.dm_device_resume.active_table_mismatch");
}

#[test]
fn devices_are_kept_between_rounds_and_forgotten_with_a_reset() {
    let list = list_of(&after_boot("dm_device_remove", remove()));
    let policy = policy_of(&rule());
    let first = Round::whole(&list.select([0, 1])).appraise(&policy, &state(HashAlgorithm::Sha256));
    assert!(first.passed(), "{first:?}");
    let stored = MeasurementState::decode(&first.state.encode()).unwrap();
    let second = Round { from: 2, ..Round::whole(&list) }.appraise(&policy, &stored);
    assert_eq!(second.findings.kept()[0].event, Event::Device(DeviceFault::Removed));
    // The removal is judged again in the next round, with the device as it was before it.
    let third = Round { from: 2, ..Round::whole(&list) }.appraise(&policy, &second.state);
    assert_eq!(third.findings.kept()[0].event, Event::Device(DeviceFault::Removed));
    let resumed = list.select([1]);
    let reset = Round { reset_count: 2, ..Round::whole(&resumed) }.appraise(&policy, &stored);
    assert_eq!(reset.findings.kept()[0].event, Event::Device(DeviceFault::NotLoaded(Happening::Resume)));
}

#[test]
fn a_policy_that_comes_later_asks_for_no_device_of_before() {
    let mut list = list_of(&booted());
    list.file("/usr/bin/sh", b"sh");
    let no_devices = json!({
        "digests": {"/usr/bin/sh": listed(b"sh")},
        "ima-buf": {"dm_table_load": listed(&load()), "dm_device_resume": listed(&resume(&load()))},
    });
    let before = Round::whole(&list.select([0, 1])).appraise(&stack(&no_devices), &state(HashAlgorithm::Sha256));
    assert!(before.passed());
    let dm_policy = json!({"version": 1, "match_on": "uuid", "rules": {"root": rule()}});
    let mut with_devices = no_devices;
    with_devices["ima"] = json!({"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": dm_policy});
    let after = Round { from: 2, ..Round::whole(&list) }.appraise(&stack(&with_devices), &before.state);
    assert!(after.passed(), "{after:?}");
    let warning = &after.findings.kept()[0];
    assert_eq!((warning.event, warning.severity), (Event::Device(DeviceFault::RequiredMissing), Severity::Warning));
    assert_eq!(warning.layer.as_deref(), Some("base"));
}

#[test]
fn a_listed_record_does_not_pass_by_its_digest_where_a_structured_policy_is_in_force() {
    let dm_policy = json!({"version": 1, "match_on": "name", "rules": {}});
    let ima = json!({"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": dm_policy});
    let stack = stack(&json!({"ima": ima, "ima-buf": {"dm_table_load": listed(&load())}}));
    let appraisal = Round::whole(&list_of(&booted()[..1])).appraise(&stack, &state(HashAlgorithm::Sha256));
    assert_eq!(events(&appraisal), [Event::Device(DeviceFault::NoRule)]);
}

#[test]
fn recorded_device_records_are_read() {
    let Some(list) = crate::testing::recorded("ima/keylime_tests_ima-buf_dm.txt") else { return };
    let mut entries = MeasurementList::new(&list, HashAlgorithm::Sha1).entries();
    let mut records = 0;
    while let Some(entry) = entries.read().unwrap() {
        let name = entry.name.unwrap();
        if device_mapper::Record::is_named(name) {
            device_mapper::Record::parse(name, entry.buffer).unwrap();
            records += 1;
        }
    }
    assert!(records > 0);
}
