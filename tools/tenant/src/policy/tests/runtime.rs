//! Runtime policies made, merged and compared.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use super::{Folder, policy, runtime_policy, sha256, shared};

#[test]
fn a_root_is_listed_without_following_links_and_without_passed_over_folders() {
    let folder = Folder::new();
    folder.put("outside/secret", b"secret");
    folder.put("root/usr/bin/tool", b"tool");
    folder.put("root/proc/1/mem", b"x");
    folder.put("root/var/log/messages", b"x");
    folder.put("root/usr/proc/kept", b"kept");
    symlink(folder.path("outside"), folder.path("root/usr/escape")).unwrap();
    symlink("/etc/passwd", folder.path("root/usr/bin/link")).unwrap();
    let (root, output) = (folder.path("root"), folder.path("policy.json"));
    policy(&["create", "runtime", "--root", &root, "--skip", "/var/log/", "--exclude", "/var/log/.*", "-o", &output])
        .unwrap();
    let made = folder.json("policy.json");
    assert_eq!(made["digests"], json!({"/usr/bin/tool": [sha256(b"tool")], "/usr/proc/kept": [sha256(b"kept")]}));
    assert_eq!(made["excludes"], json!(["/var/log/.*"]));
}

#[test]
fn digests_are_of_the_algorithm_asked_for() {
    let folder = Folder::new();
    folder.put("root/x", b"x");
    let (root, output) = (folder.path("root"), folder.path("policy.json"));
    policy(&["create", "runtime", "--root", &root, "--algorithm", "sha512", "-o", &output]).unwrap();
    let digest = folder.json("policy.json")["digests"]["/x"][0].as_str().unwrap().to_owned();
    assert_eq!(digest, hex::encode(openssl::sha::sha512(b"x")));
}

#[test]
fn a_policy_of_nothing_is_wrong_usage() {
    assert!(policy(&["create", "runtime"]).unwrap_err().to_string().contains("nothing to make a policy from"));
}

#[test]
fn an_unusable_exclude_is_refused_and_nothing_is_written() {
    let folder = Folder::new();
    folder.put("root/x", b"x");
    let (root, output) = (folder.path("root"), folder.path("policy.json"));
    let failure = policy(&["create", "runtime", "--root", &root, "--exclude", "/tmp/(?!x)", "-o", &output]);
    assert!(failure.unwrap_err().to_string().contains("excludes"));
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 1, "a file was left behind");
}

#[test]
fn measurement_lists_give_the_policies_keylimes_tool_gives() {
    let (Some(lists), Some(policies)) = (shared("ima"), shared("policies")) else { return };
    let folder = Folder::new();
    let output = folder.path("policy.json");
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let signed = text(lists.join("keylime_tests_ima-sig.txt"));
    let buffers = text(lists.join("keylime_tests_ima-buf_dm.txt"));
    let flat = text(policies.join("keylime_tests_test4_allowlist-1"));
    let both = ["--ima-list", &signed, "--ima-list", &buffers, "--ima-buf"];
    let ignored = [&both[..], &["--keyrings", "--ignored-keyring", ".builtin_trusted_keys"]].concat();
    for (sources, expected, keyrings) in [
        (&["--ima-list", &signed][..], "keylime_tests_test2_output1.json", 0),
        (&both, "keylime_tests_test2_output3.json", 0),
        (&["--flat-list", &flat], "keylime_tests_test4_output1.json", 0),
        (&ignored, "keylime_tests_test2_output4.json", 1),
    ] {
        policy(&[&["create", "runtime", "-o", &output], sources].concat()).unwrap();
        let made = folder.json("policy.json");
        assert_eq!(made["keyrings"].as_object().unwrap().len(), keyrings, "{expected}");
        if keyrings == 0 {
            policy(&["diff", &output, &text(policies.join(expected))]).unwrap();
        }
    }
}

#[test]
fn merging_allows_what_either_allows_and_diff_tells_the_rest() {
    let folder = Folder::new();
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let one = folder.put("one.json", runtime_policy(&json!({"/x": [a], "/y": [a]}), &["/tmp/.*"]));
    let other =
        folder.put("other.json", runtime_policy(&json!({"/x": [format!("sha256:{b}")], "/z": [b]}), &["/run/.*"]));
    let output = folder.path("merged.json");
    policy(&["merge", &one, &other, "-o", &output]).unwrap();
    let merged = folder.json("merged.json");
    assert_eq!(merged["digests"]["/x"].as_array().unwrap().len(), 2);
    assert_eq!(merged["digests"].as_object().unwrap().len(), 3);
    assert_eq!(merged["excludes"], json!(["/tmp/.*", "/run/.*"]));
    policy(&["diff", &output, &output]).unwrap();
    assert_eq!(policy(&["diff", &one, &other]).unwrap_err().to_string(), "the policies differ");
}

#[test]
fn diff_ignores_order_and_spelling_and_finds_each_kind_of_change() {
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let value = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let old = value(&runtime_policy(&json!({"/x": [a, b], "/y": [a]}), &["/a", "/b"]));
    let same = value(&runtime_policy(&json!({"/y": [format!("sha256:{a}")], "/x": [b, a]}), &["/b", "/a"]));
    assert!(super::super::diff::Difference::between(&old, &same).is_empty());
    let new = value(&runtime_policy(&json!({"/x": [a], "/z": [b]}), &["/a", "/b"]));
    let difference = super::super::diff::Difference::between(&old, &new).to_value();
    assert_eq!(difference["added"], json!([{"place": ["digests", "/z"], "values": [b]}]));
    assert_eq!(difference["removed"], json!([{"place": ["digests", "/y"], "values": [a]}]));
    assert_eq!(difference["changed"], json!([{"place": ["digests", "/x"], "added": [], "removed": [b]}]));
}

#[test]
fn policies_that_contradict_each_other_are_not_merged() {
    let folder = Folder::new();
    let one = folder.put("one.json", runtime_policy(&json!({}), &[]));
    let other = folder.put("other.json", runtime_policy(&json!({}), &[]).replace("sha1", "sha256"));
    let boot = folder.put("boot.json", r#"{"version": 1, "accept": []}"#);
    let output = folder.path("merged.json");
    let said = |other: &str| policy(&["merge", &one, other, "-o", &output]).unwrap_err().to_string();
    assert!(said(&other).contains("log_hash_alg"));
    assert!(said(&boot).contains("cannot be merged"));
}

/// A policy with two rules over device-mapper records, in an order that is not the alphabet's.
fn with_device_rules(order: [&str; 2]) -> String {
    let rule = |name: &str| {
        let load = concat!(
            r#"{"allow_multiple_loads": false, "name": "n", "uuid": "u", "major": null, "minor": 0, "minor_count": 1, "#,
            r#""num_targets": 1, "targets": [{"target_name": "linear", "device_name": "8:1"}]}"#
        );
        format!(
            r#""{name}": {{"required": true, "device_resume_required": true, "device_rename": {{"valid_name": false,
            "valid_uuid": false}}, "device_remove": {{"allow_removal": false}}, "allow_clear": false, "table_load": {load}}}"#
        )
    };
    let rules = order.map(rule).join(",");
    let policy = format!(r#"{{"version": 1, "match_on": "uuid", "rules": {{{rules}}}}}"#);
    runtime_policy(&json!({}), &[]).replace(r#""dm_policy":null"#, &format!(r#""dm_policy":{policy}"#))
}

#[test]
fn device_rules_are_carried_through_in_their_order() {
    let folder = Folder::new();
    let plain = folder.put("plain.json", runtime_policy(&json!({"/x": [sha256(b"x")]}), &[]));
    let rules = folder.put("rules.json", with_device_rules(["swap", "root"]));
    let turned = folder.put("turned.json", with_device_rules(["root", "swap"]));
    let digests = runtime_policy(&json!({}), &[])
        .replace(r#""ima-buf":{}"#, &format!(r#""ima-buf":{{"dm_table_load":["{}"]}}"#, sha256(b"record")));
    let digests = folder.put("digests.json", digests);
    let output = folder.path("merged.json");
    for (one, other) in [(&rules, &plain), (&plain, &rules), (&rules, &rules)] {
        policy(&["merge", one, other, "-o", &output]).unwrap();
        let text = fs::read_to_string(&output).unwrap();
        assert!(text.find("\"swap\"").unwrap() < text.find("\"root\"").unwrap(), "{text}");
    }
    policy(&["create", "runtime", "--base", &rules, "-o", &output]).unwrap();
    policy(&["diff", &rules, &output]).unwrap();
    assert!(policy(&["diff", &rules, &turned]).is_err(), "another order is another policy");
    assert!(policy(&["diff", &rules, &plain]).is_err());
    let said = |one: &str, other: &str| policy(&["merge", one, other, "-o", &output]).unwrap_err().to_string();
    assert!(said(&rules, &turned).contains("differ in ima.dm_policy"));
    assert!(said(&rules, &digests).contains("digests of device-mapper records"));
    assert!(said(&digests, &rules).contains("digests of device-mapper records"));
}
