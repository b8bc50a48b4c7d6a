//! Evidence tried and explained.

use std::fs;

use evidence::{
    algorithm::HashAlgorithm,
    ima::{ListSummary, Replay},
};
use serde_json::json;

use super::{Folder, policy, runtime_policy, sha256};
use crate::policy::explain;

/// The template data of an ima-ng entry.
pub(super) fn template_data(path: &str, digest: &str) -> Vec<u8> {
    let field = |content: &[u8]| [&u32::try_from(content.len()).unwrap().to_le_bytes()[..], content].concat();
    let digest_field = [b"sha256:\0".to_vec(), hex::decode(digest).unwrap()].concat();
    [field(&digest_field), field(&[path.as_bytes(), b"\0"].concat())].concat()
}

/// An ima-ng line with its template digest.
pub(super) fn line(path: &str, digest: &str) -> String {
    let data = template_data(path, digest);
    format!("10 {} ima-ng sha256:{digest} {path}\n", hex::encode(openssl::sha::sha1(&data)))
}

fn list(folder: &Folder, files: &[(&str, &[u8])]) -> String {
    let lines: Vec<String> = files.iter().map(|(path, data)| line(path, &sha256(data))).collect();
    folder.put("list", lines.concat())
}

#[test]
fn a_list_passes_under_layers_that_list_it_and_fails_without_one() {
    let folder = Folder::new();
    let list = list(&folder, &[("boot_aggregate", b"0"), ("/usr/bin/x", b"x"), ("/opt/y", b"y")]);
    let base = json!({"boot_aggregate": [sha256(b"0")], "/usr/bin/x": [sha256(b"x")]});
    let base = folder.put("base.json", runtime_policy(&base, &[]));
    let site = folder.put("site.json", runtime_policy(&json!({"/opt/y": [sha256(b"y")]}), &[]));
    policy(&["try", &base, &site, "--ima-list", &list]).unwrap();
    policy(&["try", &base, "--ima-list", &list]).unwrap_err();
}

#[test]
fn entries_of_another_register_do_not_slip_by_behind_the_computed_one() {
    let folder = Folder::new();
    let listed = json!({"boot_aggregate": [sha256(b"0")], "/usr/bin/x": [sha256(b"x")]});
    let rules = folder.put("policy.json", runtime_policy(&listed, &[]));
    let (aggregate, other) = (line("boot_aggregate", &sha256(b"0")), line("/usr/bin/x", &sha256(b"x")));
    let own = folder.put("own", format!("{aggregate}{other}"));
    policy(&["try", &rules, "--ima-list", &own]).unwrap();
    let foreign = folder.put("foreign", format!("{aggregate}{}", other.replacen("10 ", "11 ", 1)));
    policy(&["try", &rules, "--ima-list", &foreign]).unwrap_err();
}

#[test]
fn registers_given_are_compared() {
    let folder = Folder::new();
    let list = list(&folder, &[("boot_aggregate", b"0"), ("/usr/bin/x", b"x")]);
    let listed = json!({"boot_aggregate": [sha256(b"0")], "/usr/bin/x": [sha256(b"x")]});
    let rules = folder.put("policy.json", runtime_policy(&listed, &[]));
    let summary = ListSummary::of(&fs::read(&list).unwrap()).unwrap();
    let register = summary.registers[&(10, Replay::Recomputed(HashAlgorithm::Sha256))].to_string();
    let trial = |value: &str| {
        let pcrs = folder.put("pcrs.json", json!({"pcrs": {"sha256": {"10": value}}}).to_string());
        policy(&["try", &rules, "--ima-list", &list, "--pcrs", &pcrs])
    };
    trial(&register).unwrap();
    trial(&sha256(b"another register")).unwrap_err();
    assert!(trial("beef").unwrap_err().to_string().contains("no value of a register"));
}

#[test]
fn evidence_that_is_missing_is_wrong_usage() {
    let folder = Folder::new();
    let rules = folder.put("policy.json", runtime_policy(&json!({}), &[]));
    let boot = folder.put("boot.json", r#"{"version": 1, "accept": []}"#);
    let list = list(&folder, &[("/usr/bin/x", b"x")]);
    let said = |arguments: &[&str]| policy(arguments).unwrap_err().to_string();
    assert!(said(&["try", &rules]).contains("needs --ima-list"));
    assert!(said(&["try", &boot]).contains("needs --boot-log"));
    assert!(said(&["try", &boot, "--ima-list", &list]).contains("--boot-log"));
}

#[test]
fn every_name_of_the_engines_is_explained() {
    use evidence::ima::{DeviceFault, Event, Happening};
    let events = [
        Event::BootAggregate,
        Event::BufferDigest,
        Event::Device(DeviceFault::Removed),
        Event::Device(DeviceFault::NotLoaded(Happening::Resume)),
        Event::EvmSignature,
        Event::ListGap,
        Event::ListMissing,
        Event::ModuleSignature,
        Event::NoValidator,
        Event::NotInAllowlist,
        Event::ParserEntry,
        Event::PcrMismatch,
        Event::PrefixRewritten,
        Event::QuoteProgress,
        Event::RuntimePolicyHash,
        Event::SignatureInvalid,
        Event::TemplateHash,
        Event::Violation,
        Event::WrongPcr,
    ];
    for event in events {
        assert!(explain::is_known("ima", event.name()), "{event}");
    }
    for event in
        ["quote_validation", "invalid_data", "no_pubkey", "invalid_hash_alg", "invalid_enc_alg", "invalid_sign_alg"]
    {
        assert!(explain::is_known("qoute_validation", event), "{event}");
    }
    for event in
        ["firmware_denied", "clock_unsafe", "clock_reset", "clock_resets", "clock_restart", "weak_hash", "weak_key"]
    {
        assert!(explain::is_known("qoute_validation", event), "{event}");
    }
    assert!(explain::is_known("pcr_validation", "bank_not_listed"));
    assert!(explain::is_known("pcr_validation", "invalid_pcr_15"));
    assert!(explain::is_known("measured_boot", "policy_unexplained_event"));
    assert!(!explain::is_known("ima", "no such check"));
}

#[test]
fn explain_takes_verdicts_only() {
    let folder = Folder::new();
    let said = |bytes: &[u8]| policy(&["explain", &folder.put("x", bytes)]).unwrap_err().to_string();
    assert!(said(b"{}").contains("no trial's JSON"));
    assert!(said(&[0x87, 1]).contains("as a ledger entry"));
    // The operator's action of docs/spec/entry.md.
    let action =
        format!("87010b666e6f64652d3118185820{}1b000001a0c4506c00846473746f706561646d696ef660", "07".repeat(32));
    assert!(said(&hex::decode(&action).unwrap()).contains("kind operator-action, expected a verdict"));
    let trial = r#"{"type": "attestry policy trial", "result": "fail", "findings": [{"component": "ima", "event": "pcr_mismatch", "severity": "failure", "text": "x"}]}"#;
    policy(&["explain", &folder.put("trial.json", trial)]).unwrap();
}
