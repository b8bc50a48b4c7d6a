//! kill -9 of everything in the middle: nothing acknowledged is lost, nobody becomes trusted by it.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    process::{text, wait_until},
    site::Site,
};

/// The leaf entries of a bundle by name, to compare two exports.
fn entries(bundle: &Path) -> Vec<(String, Vec<u8>)> {
    let mut entries: Vec<_> = fs::read_dir(bundle.join("entries"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect();
    entries.sort();
    entries
}

fn state(status: &Value) -> String {
    status.get("attestation_status").unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_killed_site_loses_no_recorded_entry_and_goes_on() {
    let mut site = Site::start(None);
    let machine = site.attested("node-1", 3);
    for round in 0..3 {
        let before = site.export(&machine, &format!("before-{round}"));
        site.kill();
        site.restart();
        let passes = site.passes(&machine);
        site.wait_for_passes(&machine, passes + 2);
        let after = site.export(&machine, &format!("after-{round}"));
        let now = entries(&after);
        for entry in entries(&before) {
            assert!(now.contains(&entry), "{} is gone or changed", entry.0);
        }
        let (code, report) = site.verify(&machine, &after);
        assert_eq!(code, 0, "{report:#}");
    }
}

#[test]
fn a_machine_tampered_with_while_the_site_was_dead_is_never_trusted_again() {
    let mut site = Site::start(None);
    let machine = site.attested("node-1", 2);
    site.kill();
    machine.measure(15);
    site.restart();
    site.wait_for_status(&machine, "attestation_status", "FAIL");
    let (code, report) = site.verify(&machine, &site.export(&machine, "bundle"));
    // Judged again, each pass on record is over the register as it was before the tampering.
    assert_eq!(code, 0, "{report:#}");
    // The verifier's own record may be older than its last pass, and catches up with the ledger's.
    let recorded = report.pointer("/statement/counts/passed").and_then(Value::as_u64);
    assert_eq!(recorded, Some(site.passes(&machine)), "no other pass is counted");
}

#[test]
fn a_killed_agent_is_unreachable_then_trusted_again_by_a_fresh_quote() {
    let site = Site::start(None);
    let mut machine = site.attested("node-1", 2);
    machine.kill_agent();
    // Five intervals of 200 ms without evidence: the last pass no longer counts.
    wait_until("the pass to age", || (state(&site.status(&machine)) != "PASS").then_some(()));
    let passes = site.passes(&machine);
    site.enrol(&mut machine);
    site.wait_for_passes(&machine, passes + 1);
    site.wait_for_status(&machine, "attestation_status", "PASS");
    let (code, report) = site.verify(&machine, &site.export(&machine, "bundle"));
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn a_reboot_with_good_values_passes_and_is_in_the_record() {
    let site = Site::start(None);
    let mut machine = site.attested("node-1", 2);
    machine.kill_agent();
    machine.tpm.reboot().unwrap();
    let passes = site.passes(&machine);
    site.enrol(&mut machine);
    site.wait_for_passes(&machine, passes + 2);
    let (code, report) = site.verify(&machine, &site.export(&machine, "bundle"));
    assert_eq!(code, 0, "{report:#}");
    assert!(report.to_string().contains("reset"), "{report:#}");
}

#[test]
fn an_orderly_stop_ends_with_0_and_leaves_a_sound_log() {
    let mut site = Site::start(None);
    let machine = site.attested("node-1", 1);
    assert_eq!(site.stop(), Some(0));
    let ledger = |word: &str| {
        let data = site.data();
        crate::process::run(
            std::process::Command::new(crate::process::program("attestry"))
                .args(["ledger", "--data"])
                .arg(data)
                .args(["--json", word]),
        )
    };
    let checked = ledger("fsck");
    assert!(checked.status.success(), "{}", text(&checked));
    let info = |output: std::process::Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    let before = info(ledger("info"));
    let rebuilt = info(ledger("reindex"));
    assert_eq!(before.get("index_digest").unwrap(), rebuilt.get("index_digest").unwrap());
    site.restart();
    let passes = site.passes(&machine);
    site.wait_for_passes(&machine, passes + 1);
}
