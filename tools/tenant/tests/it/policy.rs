//! `attestry policy` as a process: what goes to which output, and exit codes.

use std::{fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{program, run, text};

#[test]
fn policies_are_made_tried_and_explained_with_exit_codes_for_scripts() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let attestry = |arguments: &[&str]| run(Command::new(program("attestry")).arg("policy").args(arguments));
    fs::create_dir(path("root")).unwrap();
    fs::write(path("root/tool"), "tool").unwrap();

    let made = attestry(&["create", "runtime", "--root", &path("root")]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let policy: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert!(policy.pointer("/digests/~1tool").is_some(), "{policy}");
    fs::write(path("one.json"), &made.stdout).unwrap();
    let summary = attestry(&["create", "runtime", "--root", &path("root"), "-o", &path("two.json"), "--json"]);
    let summary: Value = serde_json::from_slice(&summary.stdout).unwrap();
    assert_eq!(summary.get("files"), Some(&Value::from(1)));

    assert_eq!(attestry(&["diff", &path("one.json"), &path("two.json")]).status.code(), Some(0));
    fs::write(path("root/more"), "more").unwrap();
    let again = attestry(&["create", "runtime", "--root", &path("root"), "-o", &path("two.json")]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    let diff = attestry(&["diff", &path("one.json"), &path("two.json"), "--json"]);
    assert_eq!(diff.status.code(), Some(1));
    let diff: Value = serde_json::from_slice(&diff.stdout).unwrap();
    assert_eq!(diff.pointer("/added/0/place/1"), Some(&Value::from("/more")));

    let list =
        "10 0000000000000000000000000000000000000000 ima-ng sha1:0000000000000000000000000000000000000000 /tool\n";
    fs::write(path("list"), list).unwrap();
    let trial = attestry(&["try", &path("one.json"), "--ima-list", &path("list"), "--json"]);
    assert_eq!(trial.status.code(), Some(1), "a violation passed: {}", text(&trial));
    fs::write(path("trial.json"), &trial.stdout).unwrap();
    let explained = attestry(&["explain", &path("trial.json")]);
    assert_eq!(explained.status.code(), Some(0), "{}", text(&explained));
    assert!(text(&explained).contains("open for writing while it was measured"), "{}", text(&explained));

    let wrong = attestry(&["create", "runtime"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("remedy: give at least one of"), "{}", text(&wrong));
}
