//! Remarks on policies.

use std::path::Path;

use serde_json::json;

use super::{Folder, policy, runtime_policy, sha256};
use crate::policy::loaded::Loaded;

fn lint(text: &str, strict: bool) -> Result<(), String> {
    let folder = Folder::new();
    let path = folder.put("policy.json", text);
    let arguments = if strict { vec!["lint", &path, "--strict"] } else { vec!["lint", &path] };
    policy(&arguments).map_err(|failure| failure.to_string())
}

fn with_exclude(pattern: &str, strict: bool) -> Result<(), String> {
    lint(&runtime_policy(&json!({"/usr/bin/x": [sha256(b"x")]}), &[pattern]), strict)
}

#[test]
fn a_narrow_policy_passes_even_strictly() {
    with_exclude("/var/log/messages$", true).unwrap();
    with_exclude("/etc/resolv\\.conf$", true).unwrap();
}

#[test]
fn excludes_that_hide_programs_are_errors() {
    for pattern in [".*", "/", "/usr", "/usr/.*", "/(usr|opt)/.*", "/lib/modules|/lib", "/root/.*"] {
        assert!(with_exclude(pattern, false).unwrap_err().starts_with("1 errors"), "{pattern}");
    }
}

/// The codes of the remarks on a policy.
fn codes(text: &str) -> Vec<&'static str> {
    let folder = Folder::new();
    let policy = Loaded::read(Path::new(&folder.put("policy.json", text))).unwrap_or_else(|error| panic!("{error}"));
    let Loaded::Runtime(document) = policy else { panic!("another kind of policy") };
    crate::policy::lint::runtime_codes(&document)
}

#[test]
fn excludes_that_take_listing_its_sense_are_told() {
    let policy = |digests: &serde_json::Value, exclude: &str| codes(&runtime_policy(digests, &[exclude]));
    let listed = json!({"/usr/bin/perl": [sha256(b"x")], "boot_aggregate": [sha256(b"b")]});
    assert!(policy(&listed, "/usr/bin/per.*").contains(&"exclude-of-listed"));
    assert!(!policy(&listed, "/usr/bin/perx$").contains(&"exclude-of-listed"));
    assert!(policy(&listed, "boot_.*").contains(&"boot-aggregate-hidden"));
    assert!(!policy(&listed, "/boot/grub/grubenv$").contains(&"boot-aggregate-hidden"));
    assert!(policy(&listed, "/usr/share/.*").contains(&"script-exclude"));
    assert!(!policy(&listed, "/usr/share/doc/.*").contains(&"script-exclude"));
}

#[test]
fn notes_and_warnings_on_what_is_listed_come_with_their_cause_only() {
    let (good, digest) = (json!({"/usr/bin/true": [sha256(b"x")], "boot_aggregate": [sha256(b"b")]}), sha256(b"x"));
    let with = |path: &str, digests: &[String]| {
        let mut listed = good.clone();
        listed[path] = json!(digests);
        codes(&runtime_policy(&listed, &[]))
    };
    let one = std::slice::from_ref(&digest);
    assert_eq!(with("/usr/bin/tool", one), ["sha1-list", "boot-aggregate"]);
    for (path, code) in
        [("/usr/bin/python3.11", "interpreter"), ("/srv/x/tool", "writable-path"), ("tool", "relative-path")]
    {
        assert!(with(path, one).contains(&code), "{path}");
    }
    assert!(!with("/usr/bin/bashbug", one).contains(&"interpreter"));
    let many: Vec<String> = (0..9_u8).map(|number| sha256(&[number])).collect();
    assert!(with("/usr/bin/tool", &many).contains(&"many-digests"));
    assert!(!with("/usr/bin/tool", &many[..8]).contains(&"many-digests"));
    let without = runtime_policy(&json!({"/usr/bin/tool": [digest]}), &[]);
    assert!(codes(&without).contains(&"no-boot-aggregate"));
    assert!(!codes(&without.replace(r#""log_hash_alg":"sha1""#, r#""log_hash_alg":"sha256""#)).contains(&"sha1-list"));
}

#[test]
fn keyrings_that_are_ignored_and_own_rules_that_are_broad_are_told() {
    let policy = |from: &str, to: &str| {
        let good = runtime_policy(&json!({"/usr/bin/true": [sha256(b"x")]}), &[]);
        assert!(good.contains(from), "{good}");
        codes(&good.replace(from, to))
    };
    let ignoring = |name: &str| policy(r#""ignored_keyrings":[]"#, &format!(r#""ignored_keyrings":["{name}"]"#));
    assert!(ignoring("*").contains(&"all-keyrings-ignored"));
    assert!(ignoring(".ima").contains(&"keyring-ignored"));
    // A policy that trusts by learned keys alone is not empty.
    let learned = format!(r#""keyrings":{{".ima":["{}"]}}"#, sha256(b"key"));
    let empty = runtime_policy(&json!({}), &[]);
    assert!(codes(&empty).contains(&"empty-policy"));
    assert!(!codes(&empty.replace(r#""keyrings":{}"#, &learned)).contains(&"empty-policy"));
    let own = |rules: &str| policy(r#""release":0"#, &format!(r#""release":0,"x-attestry":{rules}"#));
    let violation = |path: &str| own(&format!(r#"{{"violations":[{{"path":"{path}","choice":"warn"}}]}}"#));
    assert!(violation("/usr/.*").contains(&"violation-of-programs"));
    assert!(violation("/var/log/messages").contains(&"violation-let-pass"));
    let critical = |pattern: &str| own(&format!(r#"{{"critical-data":{{"dm_table_load":["{pattern}"]}}}}"#));
    assert!(critical(".*").contains(&"broad-critical-data"));
    assert!(!critical("name=root,.*").contains(&"broad-critical-data"));
    assert!(own(r#"{"pcr-extension":"danger-padded-sha1"}"#).contains(&"padded-sha1"));
    assert!(!own(r#"{}"#).contains(&"padded-sha1"));
}

#[test]
fn excludes_of_writable_folders_memory_files_and_open_ends_are_warnings() {
    for pattern in ["/tmp/.*", "/var/tmp/.*", "/dev/shm/.*", "/home/.*", "memfd:.*", "/var/log/messages"] {
        with_exclude(pattern, false).unwrap();
        assert!(with_exclude(pattern, true).unwrap_err().starts_with("0 errors, 1 warnings"), "{pattern}");
    }
}

#[test]
fn empty_policies_are_errors_and_sha1_digests_warnings() {
    assert!(lint(&runtime_policy(&json!({}), &[]), false).unwrap_err().starts_with("1 errors"));
    assert!(lint(r#"{"version": 1, "accept": []}"#, false).unwrap_err().starts_with("1 errors"));
    let sha1 = runtime_policy(&json!({"/usr/bin/x": ["a".repeat(40)]}), &[]);
    assert!(lint(&sha1, true).unwrap_err().starts_with("0 errors, 1 warnings"));
}

#[test]
fn patterns_for_any_command_line_are_errors() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let policy = |pattern: &str| {
        let alternative = json!({
            "name": "x", "secure_boot": {"enabled": true}, "images": {"digests": [digest]}, "firmware": {"pcr0": [digest]},
            "command_line": {"patterns": [pattern]},
        });
        json!({"version": 1, "accept": [alternative]}).to_string()
    };
    lint(&policy("/vmlinuz root=UUID=[0-9a-f-]{36} ro"), true).unwrap();
    assert!(lint(&policy(".*"), false).unwrap_err().starts_with("1 errors"));
    assert!(lint(&policy("/vmlinuz ro.*"), true).unwrap_err().starts_with("0 errors, 1 warnings"));
    let free = format!(r#"{{"version": 1, "accept": [{{"name": "x", "firmware": {{"pcr0": ["{digest}"]}}}}]}}"#);
    assert!(lint(&free, false).unwrap_err().starts_with("1 errors"));
}

const GOOD_RULES: &str = "measure func=BPRM_CHECK\nmeasure func=MMAP_CHECK mask=MAY_EXEC\nmeasure func=MODULE_CHECK\n\
    measure func=FIRMWARE_CHECK\nmeasure func=KEXEC_KERNEL_CHECK\nmeasure func=KEXEC_INITRAMFS_CHECK\n\
    measure func=KEXEC_CMDLINE\nmeasure func=CRITICAL_DATA\nmeasure func=POLICY_CHECK\nmeasure func=KEY_CHECK\n\
    measure func=FILE_CHECK mask=^MAY_READ euid=0\ndont_measure fsmagic=0x9fa0\n";

#[test]
fn kernel_rules_that_leave_out_where_programs_can_be_put_are_told() {
    let folder = Folder::new();
    let good = GOOD_RULES;
    let lint = |rules: &str| {
        let path = folder.put("ima-policy", rules);
        policy(&["lint", "--ima-rules", &path, "--strict"]).map_err(|failure| failure.to_string())
    };
    lint(good).unwrap();
    for pseudo in ["0x9fa0", "0x62656572", "0x6e736673"] {
        lint(&format!("dont_measure fsmagic={pseudo}\n{good}")).unwrap();
    }
    for hole in [
        "dont_measure fsmagic=0x01021994",
        "dont_measure fsmagic=0x858458f6",
        "dont_measure fsmagic=0x794c7630",
        "dont_measure fsmagic=0xef53",
        "dont_measure func=BPRM_CHECK fsmagic=0x01021994",
        "dont_measure obj_type=tmp_t",
        "dont_measure fsname=tmpfs",
        "dont_measure subj_type=unconfined_t",
        "dont_measure uid=1000",
        "dont_measure fowner=1000",
    ] {
        assert_eq!(lint(&format!("{hole}\n{good}")).unwrap_err(), "0 errors, 1 warnings", "{hole}");
        // Behind the rules that measure, it takes nothing out.
        lint(&format!("{good}{hole}\n")).unwrap();
    }
    let behind_executions =
        good.replace("measure func=FILE_CHECK", "dont_measure obj_type=tmp_t\nmeasure func=FILE_CHECK");
    assert_eq!(lint(&behind_executions).unwrap_err(), "0 errors, 1 warnings", "scripts are taken out");
    // Measuring some is not measuring all; but only root loads modules.
    for (rule, narrow) in [
        ("func=BPRM_CHECK", "func=BPRM_CHECK uid=0"),
        ("func=BPRM_CHECK", "func=BPRM_CHECK fowner=0"),
        ("func=MMAP_CHECK mask", "func=MMAP_CHECK obj_type=bin_t mask"),
        ("func=KEY_CHECK", "func=KEY_CHECK keyrings=.builtin_trusted_keys"),
        ("func=FILE_CHECK mask", "func=FILE_CHECK obj_type=bin_t mask"),
    ] {
        assert_eq!(lint(&good.replace(rule, narrow)).unwrap_err(), "0 errors, 1 warnings", "{narrow}");
    }
    lint(&good.replace("func=MODULE_CHECK", "func=MODULE_CHECK uid=0")).unwrap();
    lint(&good.replace("func=KEY_CHECK", "func=KEY_CHECK keyrings=.ima|.evm")).unwrap();
    assert_eq!(lint(&format!("dont_measure\n{good}")).unwrap_err(), "1 errors, 0 warnings");
    assert_eq!(lint(&format!("dont_measure func=BPRM_CHECK\n{good}")).unwrap_err(), "1 errors, 0 warnings");
    for rule in good.lines().filter(|rule| rule.starts_with("measure")) {
        assert_eq!(lint(&good.replace(rule, "")).unwrap_err(), "0 errors, 1 warnings", "without {rule}");
    }
}
