//! Keylime's JSON and flat lists.

use super::*;
use crate::testing::recorded;

#[test]
fn every_member_of_keylimes_json_is_taken_over() {
    let policy = compile(&serde_json::json!({
        "digests": {"/usr/bin/a": [digest(1), digest(2)], "boot_aggregate": [hex::encode([3; 20])]},
        "keyrings": {".ima": [digest(4)]},
        "ima-buf": {"kexec-cmdline": [digest(5)]},
        "excludes": ["/tmp/.*"],
        "ima": {"ignored_keyrings": [".platform"], "log_hash_alg": "sha256", "dm_policy": null},
    }));
    let policy = policy.unwrap();
    let expected = [
        (Table::Files, "/usr/bin/a".to_owned(), vec![digest(1), digest(2)]),
        (Table::Files, "boot_aggregate".to_owned(), vec![hex::encode([3; 20])]),
        (Table::Keyrings, ".ima".to_owned(), vec![digest(4)]),
        (Table::Buffers, "kexec-cmdline".to_owned(), vec![digest(5)]),
    ];
    assert_eq!(content(&policy), expected);
    assert_eq!(policy.excludes(), ["/tmp/.*"]);
    let stack = stack(vec![policy]).unwrap();
    assert_eq!(stack.log_hash().name(), "sha256");
    assert!(stack.ignores_keyring(b".platform") && !stack.ignores_keyring(b".ima"));
}

#[test]
fn a_missing_doubled_or_unknown_member_is_refused_with_its_name() {
    let whole: serde_json::Value = serde_json::from_slice(&json(&serde_json::json!({}))).unwrap();
    for name in whole.as_object().unwrap().keys() {
        let mut policy = whole.clone();
        policy.as_object_mut().unwrap().remove(name);
        let error = PolicyBuilder::from_keylime_json(policy.to_string().as_bytes()).unwrap_err();
        assert!(
            matches!(&error, ImportError::Json { source } if source.to_string().contains(name.as_str())),
            "{error:?}"
        );
        let text = whole.to_string();
        let doubled = format!("{}, \"{name}\": {}}}", &text[..text.len() - 1], whole[name]);
        let error = PolicyBuilder::from_keylime_json(doubled.as_bytes()).unwrap_err();
        assert!(matches!(&error, ImportError::Json { source } if source.to_string().contains("twice")), "{error:?}");
    }
    let unknown = json(&serde_json::json!({"deny": {}}));
    assert!(PolicyBuilder::from_keylime_json(&unknown).is_err());
    let trailing = [json(&serde_json::json!({})).as_slice(), b"x"].concat();
    assert!(PolicyBuilder::from_keylime_json(&trailing).is_err());
}

#[test]
fn digests_of_all_sizes_that_keylime_takes_are_taken() {
    for bytes in 20..=64 {
        let digest = "5a".repeat(bytes);
        let policy = compile(&serde_json::json!({"digests": {"/a": [digest]}})).unwrap();
        assert_eq!(content(&policy), [(Table::Files, "/a".to_owned(), vec![digest])]);
    }
    for wrong in
        ["5a".repeat(19), "5a".repeat(65), format!("{}5", "5a".repeat(32)), format!("sha256:{}", "5a".repeat(31))]
    {
        let policy = json(&serde_json::json!({"digests": {"/a": [wrong]}}));
        assert!(PolicyBuilder::from_keylime_json(&policy).is_err(), "{wrong}");
    }
}

#[test]
fn patterns_for_one_critical_datum_are_stated_once() {
    let policy = String::from_utf8(json(&serde_json::json!({"x-attestry": {"critical-data": {"dm": ["a"]}}}))).unwrap();
    assert!(PolicyBuilder::from_keylime_json(policy.as_bytes()).is_ok());
    let doubled = policy.replacen("{\"dm\":", "{\"dm\":[\".*\"],\"dm\":", 1);
    assert_ne!(policy, doubled);
    let error = PolicyBuilder::from_keylime_json(doubled.as_bytes()).unwrap_err();
    assert!(format!("{error:?}").contains("duplicate member"), "{error:?}");
}

#[test]
fn what_could_not_be_kept_is_refused() {
    let import = |members| PolicyBuilder::from_keylime_json(&json(&members));
    let later = serde_json::json!({"meta": {"version": 2, "generator": 3}});
    assert!(matches!(import(later), Err(ImportError::Version { found: 2 })));
    for wrong in ["", "00", "zz", "sha256:00"] {
        assert!(import(serde_json::json!({"digests": {"/a": [wrong]}})).is_err(), "{wrong}");
    }
    assert!(import(serde_json::json!({"digests": {"/a": []}})).is_err());
    assert!(import(serde_json::json!({"x-attestry": {"danger": true}})).is_err());
}

#[test]
fn a_device_mapper_policy_is_kept_whole_and_in_order_and_a_wrong_one_is_refused() {
    let rule = |name: &str| {
        serde_json::json!({
            "required": false, "device_resume_required": false, "allow_clear": false,
            "device_rename": {"valid_name": null, "valid_uuid": false}, "device_remove": {"allow_removal": true},
            "table_load": {
                "allow_multiple_loads": false, "name": name, "uuid": "", "major": 253, "minor": 0, "minor_count": 1,
                "num_targets": 1, "targets": [{"start": 0}],
            },
        })
    };
    let import = |dm_policy: serde_json::Value| {
        let ima = serde_json::json!({"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": dm_policy});
        PolicyBuilder::from_keylime_json(&json(&serde_json::json!({"ima": ima})))
    };
    let good = serde_json::json!({"version": 1, "match_on": "name", "rules": {"z": rule("b"), "a": rule(".*")}});
    let policy = import(good.clone()).unwrap().compile().unwrap();
    let again = RuntimePolicy::load(policy.as_bytes()).unwrap();
    assert_eq!(again.id(), policy.id());
    let none = PolicyBuilder::from_keylime_json(&json(&serde_json::json!({}))).unwrap().compile().unwrap();
    assert_ne!(none.id(), policy.id());
    assert!(!none.as_bytes().windows(13).any(|window| window == b"device_mapper"));
    let changed = |path: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(path).unwrap() = value;
        import(changed).map(|builder| builder.compile().is_ok()).unwrap_or(false)
    };
    assert!(changed("/match_on", serde_json::json!("name")));
    for (path, value) in [
        ("/version", serde_json::json!(2)),
        ("/match_on", serde_json::json!("major")),
        ("/rules/a/required", serde_json::json!("yes")),
        ("/rules/a/table_load/name", serde_json::json!(null)),
        ("/rules/a/table_load/name", serde_json::json!("(")),
        ("/rules/a/table_load/num_targets", serde_json::json!(2)),
        ("/rules/a/table_load/targets/0/start", serde_json::json!([])),
        ("/rules/a/device_remove", serde_json::json!({"allow_removal": true, "x": 1})),
        ("/rules/a/device_remove", serde_json::json!({})),
    ] {
        assert!(!changed(path, value.clone()), "{path} {value}");
    }
}

#[test]
fn a_path_listed_twice_is_refused_in_json_and_added_up_in_flat_lists() {
    let text = String::from_utf8(json(&serde_json::json!({}))).unwrap();
    let doubled = format!(r#""digests":{{"/a":["{}"],"/a":["{}"]}}"#, digest(1), digest(2));
    let text = text.replace(r#""digests":{}"#, &doubled);
    let builder = PolicyBuilder::from_keylime_json(text.as_bytes()).unwrap();
    assert!(matches!(builder.compile(), Err(CompileError::DoublePath { .. })));
    let mut builder = PolicyBuilder::new();
    builder.add_flat_list(format!("{} /a\n{}  /a\n", digest(1), digest(2)).as_bytes()).unwrap();
    assert_eq!(content(&builder.compile().unwrap()), [(Table::Files, "/a".to_owned(), vec![digest(1), digest(2)])]);
}

#[test]
fn escaped_paths_and_named_algorithms_are_read() {
    let text = String::from_utf8(json(&serde_json::json!({}))).unwrap();
    let listed = format!(r#""digests":{{"/a\u0020\"b\"":["sha256:{}"]}}"#, digest(1).to_uppercase());
    let policy = PolicyBuilder::from_keylime_json(text.replace(r#""digests":{}"#, &listed).as_bytes()).unwrap();
    assert_eq!(content(&policy.compile().unwrap()), [(Table::Files, "/a \"b\"".to_owned(), vec![digest(1)])]);
}

#[test]
fn patterns_that_are_no_linear_ones_are_refused_and_none_gets_out_of_its_anchor() {
    for pattern in ["", "(?!/usr)", "(a", "a)|(b", r"(a)\1", "[", "(?x) /c # "] {
        let error = compile(&serde_json::json!({"excludes": [pattern]})).unwrap_err();
        assert!(matches!(error, CompileError::Rules { source: RulesError::Exclude { .. } }), "{pattern}: {error:?}");
    }
    let policy = compile(&serde_json::json!({"excludes": ["/a|/b", "/c", "/d$"]})).unwrap();
    let stack = stack(vec![policy]).unwrap();
    let hidden = |path: &[u8]| stack.exclude(path).map(|(_, pattern)| pattern);
    assert_eq!([hidden(b"/a/x"), hidden(b"/b"), hidden(b"/x/b"), hidden(b"/x/a")], [Some(0), Some(0), None, None]);
    assert_eq!([hidden(b"/d"), hidden(b"/d/e"), hidden(b"/x/d")], [Some(2), None, None]);
}

#[test]
fn flat_lists_name_the_line_that_is_wrong() {
    let good = format!("# comment\n\n{}  /a b\n", digest(1));
    let mut builder = PolicyBuilder::new();
    builder.add_flat_list(good.as_bytes()).unwrap();
    assert_eq!(content(&builder.compile().unwrap()), [(Table::Files, "/a b".to_owned(), vec![digest(1)])]);
    let wrong = |line: &str| PolicyBuilder::new().add_flat_list(format!("{good}{line}").as_bytes()).unwrap_err();
    assert!(matches!(wrong("xyz /a"), FlatListError::Digest { line: 4, .. }));
    assert!(matches!(wrong(&digest(1)), FlatListError::Path { line: 4 }));
}

#[test]
fn recorded_policies_are_imported_with_all_they_list() {
    for name in [
        "keylime_tests_test1_output1.json",
        "keylime_tests_test2_output1.json",
        "keylime_tests_test2_output3.json",
        "keylime_tests_test2_output4.json",
        "keylime_tests_test4_output1.json",
        "policy-sha1",
        "policy-sha256",
        "runtime-policy-test.json",
        "runtime-policy.json",
    ] {
        let Some(bytes) = recorded(&format!("policies/{name}")) else { return };
        let text: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let policy = PolicyBuilder::from_keylime_json(&bytes).unwrap().compile().unwrap();
        let mut expected = Vec::new();
        for table in [Table::Files, Table::Keyrings, Table::Buffers] {
            for (path, digests) in text[table.name()].as_object().unwrap() {
                let mut digests: Vec<String> = serde_json::from_value(digests.clone()).unwrap();
                digests.iter_mut().for_each(|digest| *digest = digest.trim_start_matches("sha256:").to_owned());
                digests.sort();
                expected.push((table, path.clone(), digests));
            }
        }
        expected.sort();
        assert_eq!(content(&policy), expected, "{name}");
    }
    let Some(old) = recorded("policies/allowlist.json") else { return };
    assert!(PolicyBuilder::from_keylime_json(&old).is_err());
}

#[test]
fn recorded_flat_lists_are_imported() {
    let lists = [
        ("allowlist-sha1", 1),
        ("allowlist-sha256", 1),
        ("ima-allowlist-short.txt", 22),
        ("keylime_tests_test4_allowlist-1", 4),
    ];
    for (name, count) in lists {
        let Some(bytes) = recorded(&format!("policies/{name}")) else { return };
        let mut builder = PolicyBuilder::new();
        builder.add_flat_list(&bytes).unwrap();
        let policy = builder.compile().unwrap();
        assert_eq!(policy.len(), count, "{name}");
        if name == "ima-allowlist-short.txt" {
            let keyring: Vec<_> =
                content(&policy).into_iter().filter(|(table, ..)| *table == Table::Keyrings).collect();
            assert_eq!(keyring[0].1, ".ima");
        }
    }
    let Some(bytes) = recorded("policies/keylime_tests_test3_exclude-list-1") else { return };
    let mut builder = PolicyBuilder::new();
    builder.add_exclude_list(&bytes).unwrap();
    assert_eq!(builder.compile().unwrap().excludes(), ["/home/xyz"]);
}
