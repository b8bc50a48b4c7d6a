//! A real machine's boot log, replayed into a software TPM as it is and as it would be after other boots.

use std::path::{Path, PathBuf};

use fixtures_softtpm::measured::{BootEvent, boot_log, runtime_policy};
use openssl::sha::sha256;

use crate::{
    machine::Machine,
    process::{program, succeed, text},
    site::Site,
};

/// A boot with Secure Boot through shim and GRUB, of a log with SHA-256 alone.
fn recorded() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/eventlogs/keylime_mb_secureboot");
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there, no real machine's boot is replayed", path.display());
        return None;
    }
    Some(path)
}

/// The events of a crypto-agile log with SHA-256 alone, by a reader of its own: what is extended here was not parsed by
/// what is tested.
fn events(log: &[u8]) -> Vec<BootEvent> {
    fn number(rest: &mut &[u8]) -> u32 {
        let (bytes, behind) = rest.split_first_chunk::<4>().unwrap();
        *rest = behind;
        u32::from_le_bytes(*bytes)
    }
    fn take<'a>(rest: &mut &'a [u8], count: u32) -> &'a [u8] {
        let (bytes, behind) = rest.split_at(usize::try_from(count).unwrap());
        *rest = behind;
        bytes
    }
    let mut rest = log;
    // The header is in the old form: register, type, SHA-1, size.
    take(&mut rest, 28);
    let header = number(&mut rest);
    take(&mut rest, header);
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (register, event_type, digests) = (number(&mut rest), number(&mut rest), number(&mut rest));
        assert_eq!((digests, take(&mut rest, 2)), (1, [0x0b, 0].as_slice()), "SHA-256 alone");
        let digest = take(&mut rest, 32).try_into().unwrap();
        let size = number(&mut rest);
        let data = take(&mut rest, size).to_vec();
        events.push(BootEvent { register: u8::try_from(register).unwrap(), event_type, data, digest });
    }
    events
}

/// The last event that fits.
fn last(events: &mut [BootEvent], fits: impl Fn(&BootEvent) -> bool) -> &mut BootEvent {
    events.iter_mut().rfind(|event| fits(event)).unwrap()
}

/// The boot of a kernel that nobody signed: the firmware measures its image, GRUB its file.
fn with_another_kernel(mut events: Vec<BootEvent>) -> Vec<BootEvent> {
    last(&mut events, |event| event.event_type == APPLICATION).digest = sha256(b"unsigned image");
    last(&mut events, |event| event.register == 9 && contains(&event.data, b"vmlinuz")).digest = sha256(b"unsigned");
    events
}

/// The boot with this behind the kernel's command line.
fn with_more_of_a_command_line(mut events: Vec<BootEvent>, more: &str) -> Vec<BootEvent> {
    const PREFIX: &[u8] = b"kernel_cmdline: ";
    let event = last(&mut events, |event| event.data.starts_with(PREFIX));
    let line = event.data.strip_prefix(PREFIX).unwrap().strip_suffix(b"\0").unwrap();
    assert_eq!(sha256(line), event.digest, "what GRUB measures");
    let line = [line, more.as_bytes()].concat();
    event.digest = sha256(&line);
    event.data = [PREFIX, &line, b"\0"].concat();
    events
}

/// The boot with Secure Boot switched off in the firmware's menu.
fn without_secure_boot(mut events: Vec<BootEvent>) -> Vec<BootEvent> {
    let name: Vec<u8> = "SecureBoot".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let event = last(&mut events, |event| event.event_type == VARIABLE && contains(&event.data, &name));
    *event.data.last_mut().unwrap() = 0;
    event.digest = sha256(&event.data);
    events
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}

/// Switches the machine off and boots it so; an operator wants it judged afresh.
fn reboot(site: &Site, machine: &mut Machine, events: &[BootEvent], log: &[u8]) {
    machine.reboot();
    machine.boot_with(events, log);
    site.enrol(machine);
    assert!(site.tenant(&["reactivate", &machine.id]).status.success());
}

#[test]
fn a_real_boot_passes_and_each_change_of_it_is_found() {
    let Some(path) = recorded() else { return };
    let log = std::fs::read(&path).unwrap();
    let events = events(&log);
    let site = Site::start(None);
    let policy = |name: &str| site.folder.path().join(name).to_str().unwrap().to_owned();
    let (boot, runtime) = (policy("boot.json"), policy("runtime.json"));
    std::fs::write(&runtime, runtime_policy(&[("/usr/bin/app", b"app"), ("/usr/bin/tool", b"tool")], &[])).unwrap();
    let mut create = std::process::Command::new(program("attestry"));
    succeed(create.args(["policy", "create", "measured-boot", "-o", &boot]).arg(&path));

    let mut machine = site.machine("node-1");
    machine.boot_with(&events, &log);
    site.enrol(&mut machine);
    let added = site.tenant(&["add", &machine.id, "--runtime-policy", &runtime, "--mb-policy", &boot]);
    assert!(added.status.success(), "{}", text(&added));
    for (path, content) in [("/usr/bin/app", b"app".as_slice()), ("/usr/bin/tool", b"tool")] {
        machine.run(path, content);
        let passes = site.passes(&machine);
        site.wait_for_passes(&machine, passes + 2);
    }
    machine.run("/usr/bin/tool", b"trojan");
    site.wait_for_status(&machine, "last_event_id", "ima.validation.ima-ng.runtime_policy_hash");

    for (events, finding) in [
        (with_another_kernel(events.clone()), "measured_boot.policy_digest_not_accepted"),
        (
            with_more_of_a_command_line(events.clone(), " init=/bin/sh"),
            "measured_boot.policy_command_line_not_accepted",
        ),
        (without_secure_boot(events.clone()), "measured_boot.policy_secure_boot_state"),
    ] {
        reboot(&site, &mut machine, &events, &boot_log(&events));
        site.wait_for_status(&machine, "last_event_id", finding);
    }
    // The log of the good boot on a machine that booted something else.
    reboot(&site, &mut machine, &with_another_kernel(events.clone()), &log);
    site.wait_for_status(&machine, "last_event_id", "measured_boot.invalid_pcr_4");

    reboot(&site, &mut machine, &events, &log);
    site.wait_for_status(&machine, "attestation_status", "PASS");
}

/// `EV_EFI_BOOT_SERVICES_APPLICATION`.
const APPLICATION: u32 = 0x8000_0003;
/// `EV_EFI_VARIABLE_DRIVER_CONFIG`.
const VARIABLE: u32 = 0x8000_0001;
