//! Kernels allowed by who signed them: Secure Boot's keys, shim's keys, and what happens without.

use fixtures_softtpm::{
    measured::BootEvent,
    secure_boot::{BootImage, ImageSigner, SecureBoot, signer_policy},
};
use openssl::sha::sha256;
use serde_json::Value;

use crate::{machine::Machine, process::text, process::wait_until, site::Site};

const COMMAND_LINE: &str = "/vmlinuz root=/dev/vda1 ro";

/// A machine's makers of images, and what its firmware and shim go by.
struct Chain {
    vendor: ImageSigner,
    distribution: ImageSigner,
    platform: SecureBoot,
}

impl Chain {
    fn new() -> Self {
        let [vendor, distribution] = ["vendor", "distribution"].map(ImageSigner::new);
        let (db, mok) = (vec![vendor.certificate().clone()], vec![distribution.certificate().clone()]);
        Self { platform: SecureBoot { is_on: true, db, mok, ..SecureBoot::default() }, vendor, distribution }
    }

    /// What this kernel's start measures on `platform`.
    fn boot(&self, platform: &SecureBoot, kernel: BootImage) -> Vec<BootEvent> {
        let grub = self.distribution.sign("grubx64.efi", b"grub");
        platform.boot(&self.vendor.sign("shimx64.efi", b"shim"), &[grub, kernel], COMMAND_LINE).unwrap()
    }
}

/// Switches the machine off and on again into this boot; an operator wants it judged afresh.
fn reboot(site: &Site, machine: &mut Machine, events: &[BootEvent]) {
    machine.reboot();
    machine.boot(events);
    site.enrol(machine);
    assert!(site.tenant(&["reactivate", &machine.id]).status.success());
}

/// The status' account of the last failure, once what was found has `found` in it.
fn finding(site: &Site, machine: &Machine, found: &str) -> Value {
    wait_until(&format!("a finding of {found}"), || {
        let status = site.status(machine);
        let finding = status.get("last_finding")?.clone();
        finding.get("found")?.as_str()?.contains(found).then_some(finding)
    })
}

fn part<'f>(finding: &'f Value, name: &str) -> &'f str {
    finding.get(name).unwrap().as_str().unwrap()
}

/// The number in the log of the event whose data hold this; the log's first event is its header.
fn number(events: &[BootEvent], data: &[u8]) -> usize {
    1 + events.iter().position(|event| event.data.windows(data.len()).any(|window| window == data)).unwrap()
}

#[test]
fn a_kernel_is_allowed_by_its_signer_and_no_other_way() {
    let site = Site::start(None);
    let mut machine = site.machine("node-1");
    let chain = Chain::new();
    let signed = |content: &[u8]| chain.distribution.sign("vmlinuz", content);
    machine.boot(&chain.boot(&chain.platform, signed(b"linux 6.1")));
    site.enrol(&mut machine);
    let policy = site.folder.path().join("boot.json");
    std::fs::write(&policy, signer_policy(&[&chain.vendor, &chain.distribution], r"/vmlinuz root=/dev/vda1 ro"))
        .unwrap();
    let added = site.tenant(&["add", &machine.id, "--mb-policy", policy.to_str().unwrap()]);
    assert!(added.status.success(), "{}", text(&added));
    site.wait_for_passes(&machine, 1);

    // An update by the same signer needs no other policy.
    reboot(&site, &mut machine, &chain.boot(&chain.platform, signed(b"linux 6.12")));
    let passes = site.passes(&machine);
    site.wait_for_passes(&machine, passes + 1);
    assert!(site.status(&machine).get("last_event_id").unwrap().is_null());

    // Not signed, and let pass by its digest in the firmware's database.
    let by_hash = SecureBoot { db_images: vec![sha256(b"backdoor")], ..chain.platform.clone() };
    let events = chain.boot(&by_hash, BootImage::unsigned("vmlinuz", b"backdoor"));
    reboot(&site, &mut machine, &events);
    let digest = format!("authority sha256:{}", hex::encode(sha256(b"backdoor")));
    let told = finding(&site, &machine, &digest);
    // The database has the digest, and the authority event behind it too.
    let behind = events.iter().rposition(|event| event.data.ends_with(&sha256(b"backdoor"))).unwrap() + 1;
    let place = part(&told, "place");
    assert!(place.starts_with(&format!("boot log event {behind} ")) && place.ends_with(", PCR 7"), "{told}");
    assert!(part(&told, "expected").contains(&chain.distribution.policy_key()), "{told}");
    assert!(part(&told, "layer").ends_with(", alternative \"signed kernels\""), "{told}");
    assert_eq!(site.status(&machine).get("last_event_id").unwrap(), "measured_boot.policy_key_not_accepted");

    // Signed by somebody whose key was added to shim's list.
    let stranger = ImageSigner::new("stranger");
    let mut enrolled = chain.platform.clone();
    enrolled.mok.push(stranger.certificate().clone());
    let events = chain.boot(&enrolled, stranger.sign("vmlinuz", b"backdoor"));
    reboot(&site, &mut machine, &events);
    let told = finding(&site, &machine, &format!("authority {}", stranger.policy_key()));
    let behind = number(&events, &stranger.certificate().to_der().unwrap());
    assert!(part(&told, "place").starts_with(&format!("boot log event {behind} ")), "{told}");

    // Not signed, and shim told to check nothing.
    let unchecked = SecureBoot { shim_is_off: true, ..chain.platform.clone() };
    let events = chain.boot(&unchecked, BootImage::unsigned("vmlinuz", b"backdoor"));
    reboot(&site, &mut machine, &events);
    let told = finding(&site, &machine, "MokSBState");
    let state: Vec<u8> = "MokSBState".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let behind = number(&events, &state);
    assert!(part(&told, "place").starts_with(&format!("boot log event {behind} ")), "{told}");
    assert_eq!(site.status(&machine).get("last_event_id").unwrap(), "measured_boot.policy_unexplained_event");

    // Not signed, and the firmware told to check nothing.
    let off = SecureBoot { is_on: false, ..chain.platform.clone() };
    reboot(&site, &mut machine, &chain.boot(&off, BootImage::unsigned("vmlinuz", b"backdoor")));
    let told = finding(&site, &machine, "Secure Boot is off");
    assert!(part(&told, "place").starts_with("boot log event 1 "), "{told}");
    assert_eq!(site.status(&machine).get("last_event_id").unwrap(), "measured_boot.policy_secure_boot_state");

    reboot(&site, &mut machine, &chain.boot(&chain.platform, signed(b"linux 6.12")));
    site.wait_for_status(&machine, "attestation_status", "PASS");
    let bundle = site.export(&machine, "bundle");
    let (code, report) = site.verify(&machine, &bundle);
    assert_eq!(code, 0, "{report:#}");
    let reasons = report.pointer("/statement/reasons").unwrap().as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason.get("found").unwrap() == digest.as_str()), "{reasons:#?}");
}
