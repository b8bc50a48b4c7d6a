//! Remarks on policies.

use serde_json::json;

use super::{Folder, policy, runtime_policy, sha256};

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

#[test]
fn kernel_rules_that_leave_out_where_programs_can_be_put_are_told() {
    let folder = Folder::new();
    let good = "measure func=BPRM_CHECK\nmeasure func=MMAP_CHECK mask=MAY_EXEC\nmeasure func=MODULE_CHECK\n\
        measure func=FIRMWARE_CHECK\nmeasure func=KEXEC_KERNEL_CHECK\nmeasure func=POLICY_CHECK\nmeasure func=KEY_CHECK\n\
        measure func=FILE_CHECK mask=^MAY_READ euid=0\ndont_measure fsmagic=0x9fa0\n";
    let lint = |rules: &str| {
        let path = folder.put("ima-policy", rules);
        policy(&["lint", "--ima-rules", &path, "--strict"]).map_err(|failure| failure.to_string())
    };
    lint(good).unwrap();
    for hole in ["dont_measure fsmagic=0x01021994", "dont_measure obj_type=tmp_t", "dont_measure fsname=tmpfs"] {
        assert_eq!(lint(&format!("{hole}\n{good}")).unwrap_err(), "0 errors, 1 warnings", "{hole}");
    }
    assert_eq!(lint(&format!("dont_measure func=BPRM_CHECK\n{good}")).unwrap_err(), "1 errors, 0 warnings");
    for rule in good.lines().filter(|rule| rule.starts_with("measure")) {
        assert_eq!(lint(&good.replace(rule, "")).unwrap_err(), "0 errors, 1 warnings", "without {rule}");
    }
}
