//! What booted and what ran: a machine with its logs, judged round by round, and judged again by the auditor.

use std::{fs, path::PathBuf};

use fixtures_softtpm::measured::{boot, boot_policy, runtime_policy};

use crate::{machine::Machine, process::text, site::Site};

/// Path and content.
type File<'a> = (&'a str, &'a [u8]);

const KERNEL: &[u8] = b"linux 6.1";
const COMMAND_LINE: &str = "/vmlinuz-6.1 root=/dev/vda1 ro";
const PATTERN: &str = r"/vmlinuz-6\.1 root=/dev/vda1 ro";

fn write(site: &Site, name: &str, content: &str) -> String {
    let path: PathBuf = site.folder.path().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Adds a machine with both policies.
fn add(site: &Site, machine: &Machine, files: &[File<'_>]) {
    let runtime = write(site, "runtime.json", &runtime_policy(files, &[]));
    let boot = write(site, "boot.json", &boot_policy(&[KERNEL], PATTERN));
    let added = site.tenant(&["add", &machine.id, "--runtime-policy", &runtime, "--mb-policy", &boot]);
    assert!(added.status.success(), "{}", text(&added));
}

/// Switches the machine off and boots it with this kernel and command line; an operator wants it judged afresh.
fn reboot(site: &Site, machine: &mut Machine, kernel: &[u8], command_line: &str) {
    machine.reboot();
    machine.boot(&boot(kernel, command_line));
    site.enrol(machine);
    assert!(site.tenant(&["reactivate", &machine.id]).status.success());
}

fn audit(site: &Site, machine: &Machine) {
    let bundle = site.export(machine, "bundle");
    let (code, report) = site.verify(machine, &bundle);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn a_bad_file_an_unsigned_kernel_and_a_changed_command_line_are_each_found() {
    let site = Site::start(None);
    let mut machine = site.machine("node-1");
    machine.boot(&boot(KERNEL, COMMAND_LINE));
    machine.run("/usr/bin/app", b"app 1");
    site.enrol(&mut machine);
    add(&site, &machine, &[("/usr/bin/app", b"app 1"), ("/usr/bin/tool", b"tool")]);
    site.wait_for_passes(&machine, 1);
    machine.run("/usr/bin/tool", b"tool");
    let passes = site.passes(&machine);
    site.wait_for_passes(&machine, passes + 2);

    machine.run("/usr/bin/app", b"trojan");
    site.wait_for_status(&machine, "last_event_id", "ima.validation.ima-ng.runtime_policy_hash");
    site.wait_for_status(&machine, "attestation_status", "FAIL");

    reboot(&site, &mut machine, b"backdoor", COMMAND_LINE);
    site.wait_for_status(&machine, "last_event_id", "measured_boot.policy_digest_not_accepted");

    reboot(&site, &mut machine, KERNEL, "/vmlinuz-6.1 root=/dev/vda1 ro init=/bin/sh");
    site.wait_for_status(&machine, "last_event_id", "measured_boot.policy_command_line_not_accepted");

    reboot(&site, &mut machine, KERNEL, COMMAND_LINE);
    site.wait_for_status(&machine, "attestation_status", "PASS");
    audit(&site, &machine);
}

#[test]
fn a_package_update_across_two_policy_epochs_raises_no_alarm() {
    let site = Site::start(None);
    let mut machine = site.machine("node-1");
    machine.boot(&boot(KERNEL, COMMAND_LINE));
    machine.run("/usr/bin/app", b"app 1");
    site.enrol(&mut machine);
    let old: File<'_> = ("/usr/bin/app", b"app 1");
    let new: File<'_> = ("/usr/bin/app", b"app 2");
    add(&site, &machine, &[old]);
    site.wait_for_passes(&machine, 1);
    let boot_policy = site.folder.path().join("boot.json").to_str().unwrap().to_owned();
    let epoch = |number: u32, files: &[File<'_>]| {
        let runtime = write(&site, &format!("runtime-{number}.json"), &runtime_policy(files, &[]));
        let updated = site.tenant(&["update", &machine.id, "--runtime-policy", &runtime, "--mb-policy", &boot_policy]);
        assert!(updated.status.success(), "{}", text(&updated));
        let passes = site.passes(&machine);
        site.wait_for_passes(&machine, passes + 2);
    };
    epoch(1, &[old, new]);
    machine.run(new.0, new.1);
    let passes = site.passes(&machine);
    site.wait_for_passes(&machine, passes + 2);
    epoch(2, &[new]);
    assert_eq!(site.status(&machine).get("attestation_status").unwrap(), "PASS");
    assert!(site.status(&machine).get("last_event_id").unwrap().is_null());
    audit(&site, &machine);
    // What ran before the retirement is settled; running it again is another matter.
    machine.run("/opt/app", old.1);
    site.wait_for_status(&machine, "last_event_id", "ima.validation.ima-ng.not_in_allowlist");
}
