//! Enrol, provision, attest, violate, withhold, prove.

use std::{fs, time::Duration};

use crate::{
    process::{text, wait_until},
    site::{Site, kinds},
    webhook,
};

#[test]
fn a_machine_is_enrolled_provisioned_attested_caught_and_proven() {
    let (url, alarms) = webhook::listen();
    let site = Site::start(Some(url));
    let mut machine = site.machine("node-1");
    site.enrol(&mut machine);
    let payload = site.folder.path().join("payload.txt");
    fs::write(&payload, "the payload").unwrap();
    assert_eq!(machine.payload(), None);
    let added = site.add(&machine, Some(&payload));
    assert!(added.status.success(), "{}", text(&added));
    let arrived = wait_until("the payload", || machine.payload());
    assert_eq!(arrived, b"the payload");
    site.wait_for_passes(&machine, 3);
    machine.measure(15);
    site.wait_for_status(&machine, "attestation_status", "FAIL");
    let alarm = alarms.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(alarm.get("agent_id").unwrap(), "node-1");
    assert_eq!(alarm.get("event_id").unwrap(), "pcr_validation.invalid_pcr_15");
    assert_eq!(site.status(&machine).get("key_state").unwrap(), "revoked");
    // Asked again by the operator, it fails again and gets nothing.
    assert!(site.tenant(&["reactivate", "node-1"]).status.success());
    site.wait_for_status(&machine, "key_state", "withheld");
    let bundle = site.export(&machine, "bundle");
    let (code, report) = site.verify(&machine, &bundle);
    assert_eq!(code, 0, "{report:#}");
    let kinds = kinds(&bundle);
    let first_of =
        |kind: &str| kinds.iter().find(|(_, k)| k == kind).unwrap_or_else(|| panic!("no {kind}: {kinds:?}")).0;
    assert!(first_of("enrol") < first_of("policy"));
    assert!(first_of("policy") < first_of("quote"));
    assert!(first_of("verdict") < first_of("key-release"));
    let sequence: Vec<u64> = kinds.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(sequence, (0..sequence.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_changed_byte_and_a_missing_entry_are_refused() {
    let site = Site::start(None);
    let machine = site.attested("node-1", 2);
    let bundle = site.export(&machine, "bundle");
    assert_eq!(site.verify(&machine, &bundle).0, 0);
    let entry = fs::read_dir(bundle.join("entries")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&entry).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&entry, &bad).unwrap();
    assert_eq!(site.verify(&machine, &bundle).0, 1);
    fs::remove_file(&entry).unwrap();
    assert_eq!(site.verify(&machine, &bundle).0, 1);
    fs::write(&entry, &good).unwrap();
    assert_eq!(site.verify(&machine, &bundle).0, 0);
}

#[test]
fn a_machine_that_never_passes_never_gets_its_payload() {
    let site = Site::start(None);
    let mut machine = site.machine("node-1");
    site.enrol(&mut machine);
    machine.measure(23);
    let payload = site.folder.path().join("payload.txt");
    fs::write(&payload, "the payload").unwrap();
    let added = site.add(&machine, Some(&payload));
    assert!(added.status.success(), "{}", text(&added));
    site.wait_for_status(&machine, "key_state", "withheld");
    assert_eq!(machine.payload(), None);
    assert_eq!(site.passes(&machine), 0);
    let bundle = site.export(&machine, "bundle");
    let (code, report) = site.verify(&machine, &bundle);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn a_second_tpm_cannot_take_an_id() {
    let site = Site::start(None);
    let machine = site.attested("node-1", 1);
    let before = site.status(&machine).get("binding").unwrap().clone();
    let mut thief = crate::machine::Machine::new(&site.folder.path().join("elsewhere"), "node-1");
    // Its TPM is as genuine as the first; only the id is not its own.
    site.trust(&thief, "thief");
    thief.launch_agent(&site.endpoint("registrar"), &site.client_ca());
    wait_until("the refusal", || fs::read_to_string(thief.log()).unwrap_or_default().contains("403").then_some(()));
    let passes = site.passes(&machine);
    site.wait_for_passes(&machine, passes + 2);
    assert_eq!(site.status(&machine).get("binding").unwrap(), &before);
}

#[test]
fn a_tpm_of_an_unknown_maker_is_not_enrolled() {
    let site = Site::start(None);
    let mut stranger = crate::machine::Machine::new(site.folder.path(), "stranger");
    stranger.launch_agent(&site.endpoint("registrar"), &site.client_ca());
    wait_until("the refusal", || {
        let log = fs::read_to_string(stranger.log()).unwrap_or_default();
        log.contains("400").then_some(())
    });
    let added = site.add(&stranger, None);
    assert_eq!(added.status.code(), Some(1));
    assert!(text(&added).contains("remedy"), "{}", text(&added));
}
