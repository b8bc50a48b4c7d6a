//! The command line as a user meets it: exit codes, first lines, remedies.

use std::{fs, path::Path, process::Command};

use crate::machine::Story;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn audit(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-audit"));
    command.env_remove("ATTESTRY_LEDGER_URL").env_remove("ATTESTRY_TLS_DIR");
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A told story with its bundle, its key and its roots as files.
struct Desk {
    story: Story,
    bundle: String,
    key: String,
    roots: String,
}

fn desk() -> Desk {
    let mut story = Story::told();
    let bundle = story.export().display().to_string();
    let folder = story.folder.path();
    let (key, roots) = (folder.join("log.vkey"), folder.join("roots"));
    fs::write(&key, format!("{}\n", story.log.vkey())).unwrap();
    fs::create_dir(&roots).unwrap();
    fs::write(roots.join("root.pem"), story.ca.pem()).unwrap();
    fs::write(roots.join("README"), "not a certificate").unwrap();
    let [key, roots] = [key, roots].map(|path| path.display().to_string());
    Desk { story, bundle, key, roots }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[test]
fn a_true_bundle_exits_with_0_and_says_so_first() {
    let desk = desk();
    let ran = audit(&["verify", &desk.bundle, "--log-key", &desk.key, "--roots", &desk.roots, "--agent", "node-1"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(
        first_line(&ran.out),
        "VERIFIED: all 15 entries about agent node-1 are in the log log.example/test and every check holds."
    );
    assert!(ran.out.contains("claimed by the log's clock, not proven"), "{}", ran.out);
    assert!(ran.out.contains("fail"), "{}", ran.out);
    assert!(ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn the_key_may_be_given_as_text_and_the_report_as_json() {
    let desk = desk();
    let vkey = desk.story.log.vkey();
    let ran = audit(&["verify", &desk.bundle, "--log-key", &vkey, "--roots", &desk.roots, "--json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["conclusion"], "verified");
    assert_eq!(report["checks"].as_array().unwrap().len(), 15);
    assert_eq!(report["statement"]["counts"]["failed"], 2);
    assert_eq!(report["statement"]["periods"][1]["state"], "pass");
}

#[test]
fn a_false_bundle_exits_with_1_and_names_file_and_reason() {
    let desk = desk();
    let entry = Path::new(&desk.bundle).join("entries/5.cbor");
    let mut bytes = fs::read(&entry).unwrap();
    bytes[100] ^= 1;
    fs::write(&entry, bytes).unwrap();
    let ran = audit(&["verify", &desk.bundle, "--log-key", &desk.key, "--roots", &desk.roots]);
    assert_eq!(ran.code, 1);
    assert!(
        first_line(&ran.out).starts_with("FALSE: inclusion: entries/5.cbor: the entry is not in the log"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("not run"));
    fs::remove_file(&entry).unwrap();
    let ran = audit(&["verify", &desk.bundle, "--log-key", &desk.key, "--json"]);
    assert_eq!(ran.code, 1);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["checks"][0]["problems"][0]["place"], "entries/5.cbor");
}

#[test]
fn missing_roots_exit_with_3_and_the_remedy() {
    let desk = desk();
    let ran = audit(&["verify", &desk.bundle, "--log-key", &desk.key]);
    assert_eq!(ran.code, 3);
    assert!(first_line(&ran.out).starts_with("NOT FULLY CHECKED: nothing is false, but identity: "), "{}", ran.out);
    assert!(first_line(&ran.out).contains("--roots"), "{}", ran.out);
}

#[test]
fn an_interval_can_be_asked_about() {
    let desk = desk();
    let common = ["verify", &desk.bundle, "--log-key", &desk.key, "--roots", &desk.roots, "--json"];
    let from = "2027-01-15T08:00:01Z";
    let ran = audit(&[&common[..], &["--from", from, "--to", "2027-01-15T08:00:03Z"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.out);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["statement"]["pass_ms"], 2_000);
    assert_eq!(report["statement"]["from"], "2027-01-15T08:00:01.000Z");
}

#[test]
fn arguments_that_cannot_be_used_exit_with_2_and_the_remedy() {
    let desk = desk();
    let nowhere = desk.story.folder.path().join("nowhere").display().to_string();
    let empty = desk.story.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.display().to_string();
    let verify = |rest: &[&str]| audit(&[&["verify", desk.bundle.as_str()], rest].concat());
    let cases = [
        (verify(&[]), "--log-key"),
        (verify(&["--log-key", "nonsense"]), "neither a verifier key"),
        (verify(&["--log-key", &format!("{}/README", desk.roots)]), "does not hold a verifier key"),
        (verify(&["--log-key", &desk.key, "--roots", &nowhere]), "cannot read"),
        (verify(&["--log-key", &desk.key, "--roots", &empty]), "holds no root certificate"),
        (verify(&["--log-key", &desk.key, "--roots", &desk.key]), "holds no certificates"),
        (verify(&["--log-key", &desk.key, "--from", "soon"]), "-15m"),
        (verify(&["--log-key", &desk.key, "--from", "now", "--to", "-1h"]), "is after"),
        (verify(&["--log-key", &desk.key, "--agent", "a/b"]), "agent id"),
        (audit(&["verify"]), "Usage"),
        (audit(&["explain"]), "Usage"),
        (audit(&["export", "--agent", "a", "-o", &nowhere]), "--url"),
        (audit(&["export", "--agent", "a", "-o", &nowhere, "--url", "http://x", "--tls-dir", "."]), "https://"),
        (
            audit(&["export", "--agent", "a", "-o", &nowhere, "--url", "https://x", "--tls-dir", "/nowhere"]),
            "--tls-dir",
        ),
        (audit(&["extract", &desk.bundle, "--all", "--index", "3", "-o", &nowhere]), "cannot be used with"),
    ];
    for (number, (ran, remedy)) in cases.iter().enumerate() {
        assert_eq!(ran.code, 2, "case {number}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(remedy), "case {number}: {}", ran.err);
        assert!(ran.out.is_empty(), "case {number}: {}", ran.out);
    }
    assert!(!Path::new(&nowhere).exists());
}

#[test]
fn what_is_not_there_exits_with_3() {
    let desk = desk();
    let nowhere = desk.story.folder.path().join("nowhere").display().to_string();
    let ran = audit(&["verify", &nowhere, "--log-key", &desk.key]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("cannot read") && ran.out.is_empty(), "{}", ran.err);
    assert_eq!(audit(&["extract", &nowhere, "-o", &nowhere]).code, 3);
    assert_eq!(audit(&["extract", &desk.bundle, "--index", "1", "-o", &nowhere]).code, 3);
}

#[test]
fn an_existing_directory_is_not_overwritten() {
    let desk = desk();
    let arguments = ["export", "--agent", "a", "-o", &desk.bundle, "--url", "https://127.0.0.1:1", "--tls-dir"];
    // The TLS files are read first; without them it does not come to the directory.
    let ran = audit(&[&arguments[..], &["/nowhere"]].concat());
    assert_eq!(ran.code, 2);
    assert!(Path::new(&desk.bundle).join("manifest.json").exists());
}

#[test]
fn extract_prints_commands_that_a_shell_runs() {
    let desk = desk();
    let out = desk.story.folder.path().join("out").display().to_string();
    let ran = audit(&["extract", &desk.bundle, "--all", "-o", &out]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("openssl dgst -sha256 -verify ")).count(), 5);
    let script = Command::new("sh").args(["-e", "-c", &ran.out]).output().unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
}

#[test]
fn help_has_examples_and_exit_codes() {
    for command in ["export", "verify", "extract"] {
        let ran = audit(&[command, "--help"]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("Examples:"), "{}", ran.out);
    }
    assert!(audit(&["--help"]).out.contains("Exit codes: 0"));
}
