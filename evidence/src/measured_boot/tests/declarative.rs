//! The declarative policy: what it accepts, what each requirement finds, and what is not a policy.

use serde_json::{Value, json};

use super::support::{self, codes, document, full_alternative, judge, policy, sha256, x509};
use crate::boot_log::BootLog;
use crate::boot_log::tests::builder::{self, Draft, Machine, SHA1, SHA256, SHA384};
use crate::measured_boot::{FindingKind, MalformedPolicy, Policy};

#[test]
fn a_machine_that_meets_every_requirement_passes() {
    let appraisal = judge(&policy(&[full_alternative()]), &Machine::default().events());
    assert_eq!(appraisal.findings(), []);
    assert!(appraisal.passed() && !appraisal.everything_accepted());
    assert_eq!(appraisal.accepted_alternative(), Some("rack server, linux 6.1"));
}

#[test]
fn each_change_of_the_machine_is_found_by_its_true_name() {
    let good = Machine::default;
    let changes: [(Machine, &[&str]); 10] = [
        (Machine { secure_boot: 0, ..good() }, &["secure-boot-state"]),
        (Machine { firmware: "firmware 0.9", ..good() }, &["pcr-value-not-accepted"]),
        (Machine { db: vec!["vendor", "attacker"], ..good() }, &["key-not-accepted"]),
        (Machine { dbx: vec!["revoked b"], ..good() }, &["key-required"]),
        (Machine { signer: "another vendor", ..good() }, &["key-not-accepted"]),
        (Machine { kernel: "backdoor", ..good() }, &["digest-not-accepted", "missing"]),
        (Machine { initrd: "backdoor", ..good() }, &["digest-not-accepted", "missing"]),
        (
            Machine { command_line: "/vmlinuz-6.1 root=/dev/vda1 ro init=/bin/sh", ..good() },
            &["command-line-not-accepted", "missing"],
        ),
        (Machine { grub_command: "linux /vmlinuz-6.1 init=/bin/sh", ..good() }, &["grub-command-not-accepted"]),
        (Machine { mok: "another list", ..good() }, &["digest-not-accepted"]),
    ];
    let policy = policy(&[full_alternative()]);
    for (machine, expected) in changes {
        let appraisal = judge(&policy, &machine.events());
        assert_eq!(codes(&appraisal), expected, "{machine:?}: {:#?}", appraisal.findings());
        let named = appraisal.findings().iter().all(|finding| finding.alternative.is_some());
        assert!(named, "the alternative is named: {:?}", appraisal.findings());
    }
}

#[test]
fn secure_boot_off_cannot_be_called_anything_else() {
    let required = json!({"name": "on", "secure_boot": {"enabled": true}});
    let policy = policy(&[required]);
    let off = Machine { secure_boot: 0, ..Machine::default() };
    assert_eq!(codes(&judge(&policy, &off.events())), ["secure-boot-state"]);
    let on = Draft::plain(7, builder::DRIVER_CONFIG, &builder::variable(builder::GLOBAL, "SecureBoot", &[1]));
    let at = |events: &[Draft]| events.iter().position(|event| event.register == 7).unwrap();
    // The measured "off" under every other type, then a measured "on" that the running system extended.
    for other in [1, 3, 4, 5, 6, 8, 12, 13, builder::AUTHORITY, builder::APPLICATION, builder::EFI_ACTION, 0x8000_0008]
    {
        for data in [None, Some(b"harmless".to_vec())] {
            for end in [false, true] {
                let mut events = off.events();
                let happened = {
                    let mut happened = events.clone();
                    let position = if end { happened.len() } else { at(&events) + 1 };
                    happened.insert(position, on.clone());
                    happened
                };
                events.clone_from(&happened);
                let position = at(&events);
                events[position].event_type = other;
                if let Some(data) = data.clone() {
                    events[position].data = data;
                }
                let appraisal = support::judge_log(&policy, &builder::agile(&[SHA256], &events), &happened);
                assert!(!appraisal.passed(), "type {other:#x}, at the end: {end}");
            }
        }
    }
    // A variable whose data says "on" over a digest that says "off".
    let mut events = off.events();
    let position = at(&events);
    events[position].data = on.data;
    let appraisal = support::judge_log(&policy, &builder::agile(&[SHA256], &events), &off.events());
    assert_eq!(codes(&appraisal), ["data-not-measured", "missing"]);
}

#[test]
fn whatever_is_required_and_not_measured_is_missing() {
    let register = |index: u32| move |event: &Draft| event.register == index;
    let named = |name: &'static [u8]| move |event: &Draft| event.data.windows(name.len()).any(|part| part == name);
    let db = builder::variable(builder::SECURITY_DATABASE, "db", b"");
    let is_db = move |event: &Draft| event.event_type == builder::DRIVER_CONFIG && event.data.starts_with(&db[..16]);
    let separator = |event: &Draft| event.register == 7 && event.event_type == builder::SEPARATOR;
    type IsDropped = Box<dyn Fn(&Draft) -> bool>;
    let drops: [(&str, IsDropped); 8] = [
        ("everything in PCR 7", Box::new(register(7))),
        ("db and dbx", Box::new(is_db)),
        ("the separator", Box::new(separator)),
        ("everything in PCR 4", Box::new(register(4))),
        ("everything in PCR 8", Box::new(register(8))),
        ("the kernel's file and image", Box::new(|event| event.measured == b"linux 6.1")),
        ("the initrd", Box::new(named(b"initrd"))),
        ("everything in PCR 14", Box::new(register(14))),
    ];
    let policy = policy(&[full_alternative()]);
    for (what, is_dropped) in drops {
        // The machine itself did not measure it: log and registers agree.
        let mut events = Machine::default().events();
        events.retain(|event| !is_dropped(event));
        let appraisal = judge(&policy, &events);
        assert!(codes(&appraisal).contains(&"missing"), "{what}: {:?}", appraisal.findings());
    }
}

#[test]
fn a_required_register_that_is_not_quoted_fails_and_says_which() {
    let policy = policy(&[full_alternative()]);
    let events = Machine::default().events();
    let bytes = builder::agile(&[SHA256], &events);
    let log = BootLog::parse(&bytes).unwrap();
    let required: Vec<u8> = policy.required_registers().map(|index| index.get()).collect();
    assert_eq!(required, [0, 2, 3, 4, 7, 8, 9, 12, 14]);
    for missing in &required {
        let indices: Vec<u8> = required.iter().copied().filter(|index| index != missing).collect();
        let appraisal = policy.appraise(&log, &support::quoted(SHA256, &events, &indices)).unwrap();
        let found = appraisal.findings().iter().any(
            |finding| matches!(finding.kind, FindingKind::PcrNotQuoted { register } if register.get() == *missing),
        );
        assert!(found, "PCR {missing}: {:?}", appraisal.findings());
    }
    assert!(policy.appraise(&log, &support::quoted(SHA256, &events, &required)).unwrap().passed());
    assert!(!policy.appraise(&log, &support::quoted(SHA256, &events, &[])).unwrap().passed());
}

#[test]
fn digests_of_another_bank_than_the_quoted_accept_nothing() {
    let events = Machine::default().events();
    let bytes = builder::agile(&[SHA1, SHA256, SHA384], &events);
    let log = BootLog::parse(&bytes).unwrap();
    let policy = policy(&[full_alternative()]);
    assert!(policy.appraise(&log, &support::quoted(SHA256, &events, &support::QUOTED)).unwrap().passed());
    for bank in [SHA1, SHA384] {
        let appraisal = policy.appraise(&log, &support::quoted(bank, &events, &support::QUOTED)).unwrap();
        assert!(codes(&appraisal).contains(&"nothing-stated-for-bank"), "{bank:#x}: {:?}", appraisal.findings());
    }
}

#[test]
fn one_accepted_alternative_is_enough_and_all_failed_ones_are_told() {
    let mut next = full_alternative();
    next["name"] = json!("linux 6.2");
    next["kernels"] = json!([sha256(b"linux 6.2")]);
    next["images"]["digests"] = json!([sha256(b"shim"), sha256(b"grub"), sha256(b"linux 6.2")]);
    let policy = policy(&[full_alternative(), next]);
    let updated = Machine { kernel: "linux 6.2", ..Machine::default() };
    assert_eq!(judge(&policy, &updated.events()).accepted_alternative(), Some("linux 6.2"));
    assert!(judge(&policy, &Machine::default().events()).passed());
    let other = Machine { kernel: "linux 6.3", ..Machine::default() };
    let appraisal = judge(&policy, &other.events());
    let alternatives: std::collections::BTreeSet<_> =
        appraisal.findings().iter().filter_map(|finding| finding.alternative.as_deref()).collect();
    assert_eq!(alternatives.len(), 2, "{:?}", appraisal.findings());
}

#[test]
fn an_empty_policy_accepts_nothing() {
    let appraisal = judge(&policy(&[]), &Machine::default().events());
    assert_eq!(codes(&appraisal), ["nothing-is-accepted"]);
}

#[test]
fn a_unified_kernel_image_is_judged_by_its_sections_and_its_boot_phases_are_known() {
    let section = |name: &str, contents: &[u8]| {
        let data = [builder::utf16(name), vec![0, 0]].concat();
        let name = [name.as_bytes(), b"\0"].concat();
        [Draft::new(11, builder::IPL, &data, &name), Draft::new(11, builder::IPL, &data, contents)]
    };
    let events = [section(".linux", b"kernel"), section(".initrd", b"initrd")].concat();
    let policy = policy(&[json!({
        "name": "uki",
        "uki": {".linux": [sha256(b"kernel")], ".initrd": [sha256(b"initrd"), sha256(b"old initrd")]},
    })]);
    assert!(judge(&policy, &events).passed());

    // systemd extends its phases after the log's end.
    let phase = |name: &str| Draft::new(11, builder::IPL, b"", name.as_bytes());
    let log = builder::agile(&[SHA256], &events);
    let running = |phases: &[&str]| [events.clone(), phases.iter().map(|name| phase(name)).collect()].concat();
    assert!(
        support::judge_log(&policy, &log, &running(&["enter-initrd", "leave-initrd", "sysinit", "ready"])).passed()
    );
    assert!(!support::judge_log(&policy, &log, &running(&["leave-initrd"])).passed());
    assert!(!support::judge_log(&policy, &log, &running(&["enter-initrd", "something"])).passed());

    let changed = [section(".linux", b"backdoor"), section(".initrd", b"initrd")].concat();
    assert_eq!(codes(&judge(&policy, &changed)), ["digest-not-accepted", "missing"]);
    let unnamed = [section(".linux", b"kernel"), section(".initrd", b"initrd"), section(".cmdline", b"ro")].concat();
    assert_eq!(codes(&judge(&policy, &unnamed)), ["digest-not-accepted"]);
    let swapped = [section(".initrd", b"kernel"), section(".linux", b"initrd")].concat();
    assert!(!judge(&policy, &swapped).passed());
    assert_eq!(codes(&judge(&policy, &section(".linux", b"kernel"))), ["missing"]);
    let bare = [events.clone(), vec![phase("extended by anybody")]].concat();
    assert_eq!(codes(&judge(&policy, &bare)), ["unexplained-event"]);
}

#[test]
fn a_systemd_command_line_and_linux_load_options_are_judged() {
    let line = |text: &str| Draft::plain(12, builder::IPL, &builder::utf16(text));
    let options = |text: &[u8]| Draft::new(9, 6, b"LOADED_IMAGE::LoadOptions\0", text);
    let policy = policy(&[json!({
        "name": "stub", "command_line": {"patterns": ["console=tty[0-9]"], "digests": [sha256(b"ro")]},
    })]);
    assert!(judge(&policy, &[line("console=tty1")]).passed());
    assert!(judge(&policy, &[options(b"ro")]).passed());
    // Load options in a register that nobody quoted are anybody's.
    let forged = builder::agile(&[SHA256], &[options(b"ro")]);
    let unquoted = support::quoted(SHA256, &[], &[8, 12]);
    let appraisal = policy.appraise(&BootLog::parse(&forged).unwrap(), &unquoted).unwrap();
    assert_eq!(codes(&appraisal), ["pcr-not-quoted"]);
    assert_eq!(codes(&judge(&policy, &[line("console=tty12")])), ["command-line-not-accepted", "missing"]);
    assert_eq!(codes(&judge(&policy, &[options(b"rw")])), ["digest-not-accepted", "missing"]);
    assert_eq!(codes(&judge(&policy, &[line("console=tty1"), line("init=/bin/sh")])), ["command-line-not-accepted"]);
    assert_eq!(codes(&judge(&policy, &[])), ["missing"]);
}

#[test]
fn a_command_line_cannot_hide_as_a_grub_command() {
    let policy = policy(&[full_alternative()]);
    let evil = Machine { command_line: "/vmlinuz-6.1 root=/dev/vda1 ro init=/bin/sh", ..Machine::default() };
    // The running system extends the accepted line afterwards, and the log calls the true one a command.
    let mut happened = evil.events();
    happened.push(builder::grub_text("kernel_cmdline: ", Machine::default().command_line));
    let mut told = happened.clone();
    for event in &mut told {
        if event.data.starts_with(b"kernel_cmdline: ") && event.measured == evil.command_line.as_bytes() {
            *event = builder::grub_text("grub_cmd: ", evil.command_line);
        }
    }
    let appraisal = support::judge_log(&policy, &builder::agile(&[SHA256], &told), &happened);
    assert_eq!(codes(&appraisal), ["grub-command-not-accepted"]);
}

#[test]
fn signers_demand_secure_boot() {
    let policy = policy(&[json!({"name": "signed", "images": {"signers": [x509("vendor")]}})]);
    assert!(judge(&policy, &Machine::default().events()).passed());
    let off = Machine { secure_boot: 0, ..Machine::default() };
    assert_eq!(codes(&judge(&policy, &off.events())), ["secure-boot-state"]);
    let other = Machine { signer: "attacker", ..Machine::default() };
    assert_eq!(codes(&judge(&policy, &other.events())), ["key-not-accepted"]);
}

#[test]
fn what_weakens_secure_boot_is_found_unless_named() {
    let mut events = Machine::default().events();
    let at = events.iter().position(|event| event.register == 7).unwrap();
    events.insert(at, Draft::plain(7, builder::EFI_ACTION, b"DMA Protection Disabled"));
    let required = |actions: Value| json!({"name": "on", "secure_boot": {"enabled": true, "actions": actions}});
    assert_eq!(codes(&judge(&policy(&[required(json!([]))]), &events)), ["unexplained-event"]);
    assert!(judge(&policy(&[required(json!(["DMA Protection Disabled"]))]), &events).passed());
}

#[test]
fn findings_are_bounded_and_the_rest_is_counted() {
    let machine = Machine { more_commands: 400, ..Machine::default() };
    let appraisal = judge(&policy(&[full_alternative()]), &machine.events());
    assert_eq!((appraisal.findings().len(), appraisal.findings_cut()), (256, 144));
    assert!(!appraisal.passed());
}

/// Whether the error is of a member that is stated and demands nothing.
fn named(error: &MalformedPolicy, member: &str) -> bool {
    matches!(error, MalformedPolicy::Empty { place } if place == member)
}

#[test]
fn documents_that_are_no_policies_are_refused_where_they_are_wrong() {
    type Check = fn(&MalformedPolicy) -> bool;
    let cases: [(Value, Check); 16] = [
        (json!({"version": 2, "accept": []}), |error| matches!(error, MalformedPolicy::Version { found: 2 })),
        (json!({"version": 1}), |error| matches!(error, MalformedPolicy::Json { .. })),
        (json!({"version": 1, "accept": [], "allow": []}), |error| matches!(error, MalformedPolicy::Json { .. })),
        (document(&[json!({"name": "a"})]), |error| matches!(error, MalformedPolicy::Empty { .. })),
        (document(&[json!({"name": "a", "images": {}})]), |error| matches!(error, MalformedPolicy::Empty { .. })),
        (document(&[json!({"name": "a", "pcrs": {}})]), |error| matches!(error, MalformedPolicy::Empty { .. })),
        (document(&[json!({"name": "a", "uki": {}})]), |error| matches!(error, MalformedPolicy::Empty { .. })),
        (document(&[json!({"name": "a", "mok": [], "images": {}})]), |error| named(error, "accept[0].images")),
        (document(&[json!({"name": "a", "mok": [], "firmware": {}})]), |error| named(error, "accept[0].firmware")),
        (document(&[json!({"name": "a", "mok": [], "pcrs": {}})]), |error| named(error, "accept[0].pcrs")),
        (document(&[json!({"name": "a", "secure_boot": {}})]), |error| matches!(error, MalformedPolicy::Json { .. })),
        (document(&[json!({"name": "a", "pcrs": {"24": []}})]), |error| {
            matches!(error, MalformedPolicy::Register { .. })
        }),
        (document(&[json!({"name": "a", "pcrs": {"07": []}})]), |error| {
            matches!(error, MalformedPolicy::Register { .. })
        }),
        (document(&[json!({"name": "a", "kernels": ["sha256:00"]})]), |error| {
            matches!(error, MalformedPolicy::Digest { .. })
        }),
        (document(&[json!({"name": "a", "secure_boot": {"enabled": true, "pk": ["md5:00"]}})]), |error| {
            matches!(error, MalformedPolicy::Key { .. })
        }),
        (document(&[json!({"name": "a", "command_line": {"patterns": ["(?=x)"]}})]), |error| {
            matches!(error, MalformedPolicy::Pattern { .. })
        }),
    ];
    for (document, check) in cases {
        let error = Policy::from_json(document.to_string().as_bytes()).unwrap_err();
        assert!(check(&error), "{document}: {error}");
    }
    let twice = br#"{"version": 1, "accept": [{"name": "a", "pcrs": {"7": [], "7": []}}]}"#;
    assert!(matches!(Policy::from_json(twice), Err(MalformedPolicy::Json { .. })));
}

#[test]
fn patterns_match_whole_texts_whatever_is_in_them() {
    for pattern in ["ro", "ro|quiet", "(?x) ro"] {
        let command_line = json!({"patterns": [pattern]});
        let policy = policy(&[json!({"name": "a", "command_line": command_line})]);
        let line = |text: &str| judge(&policy, &[builder::grub_text("kernel_cmdline: ", text)]).passed();
        assert!(line("ro") && !line("ro init=/bin/sh") && !line("x ro") && !line("ro\nx"), "{pattern}");
    }
    for pattern in ["a)|(b", "(?x) a #"] {
        let document = document(&[json!({"name": "a", "command_line": {"patterns": [pattern]}})]);
        assert!(Policy::from_json(document.to_string().as_bytes()).is_err(), "{pattern}");
    }
}

/// A file under `docs/spec`, if the workspace is around this crate.
fn spec(name: &str) -> String {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap();
    std::fs::read_to_string(root.join("docs/spec").join(name)).unwrap()
}

#[test]
fn the_specifications_example_is_a_policy() {
    let text = spec("measured-boot-policy.md");
    let (_, rest) = text.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let policy = Policy::from_json(example.as_bytes()).unwrap();
    let required: Vec<u8> = policy.required_registers().map(|index| index.get()).collect();
    assert_eq!(required, [0, 4, 7, 8, 11, 12]);
}

#[test]
fn the_schema_names_exactly_the_members_the_reader_knows() {
    let schema: Value = serde_json::from_str(&spec("measured-boot-policy.schema.json")).unwrap();
    let names = |pointer: &str| -> Vec<String> {
        schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    // A member the reader does not know fails as JSON; one it knows fails, if at all, for its value's type.
    let is_known = |document: Value| match Policy::from_json(document.to_string().as_bytes()) {
        Err(error) => !format!("{:?}", error).contains("unknown field"),
        Ok(_) => true,
    };
    for name in names("/properties") {
        assert!(is_known(json!({name.as_str(): 0})), "{name}");
    }
    for name in names("/$defs/alternative/properties") {
        assert!(is_known(document(&[json!({name.as_str(): 0})])), "{name}");
    }
    for part in ["secure_boot", "images", "command_line"] {
        for name in names(&format!("/$defs/{part}/properties")) {
            assert!(is_known(document(&[json!({part: {name.as_str(): 0}})])), "{part}.{name}");
        }
        assert!(!is_known(document(&[json!({part: {"other": 0}})])), "{part}.other");
    }
    assert!(!is_known(document(&[json!({"other": 0})])));
    let full = full_alternative();
    for name in full.as_object().unwrap().keys() {
        assert!(names("/$defs/alternative/properties").contains(name), "{name}");
    }
}

#[test]
fn a_finding_says_where_it_is_what_is_there_and_what_the_policy_has() {
    let machine = Machine { kernel: "backdoor", ..Machine::default() };
    let digests = ["shim", "grub", "linux 6.1", "linux 6.2"].map(|content| sha256(content.as_bytes()));
    let policy = policy(&[json!({"name": "rack", "images": {"digests": digests}})]);
    let appraisal = judge(&policy, &machine.events());
    let [finding] = appraisal.findings() else { panic!("{appraisal:?}") };
    assert_eq!(finding.register.map(|register| register.get()), Some(4));
    let place = finding.event.unwrap();
    assert_eq!(finding.place(), format!("boot log {place}, PCR 4"));
    assert!(finding.found().ends_with(&format!("with digest {}", sha256(b"backdoor"))), "{finding}");
    let mut sorted = digests.clone();
    sorted.sort();
    let [a, b, c, _] = sorted;
    assert_eq!(finding.expected(), format!("one of {a}, {b}, {c} and 1 more"));
    assert!(finding.is_of_policy() && finding.alternative.as_deref() == Some("rack"));
}
