//! Keylime's reference states under its policy `example`.

use serde_json::{Value, json};

use super::support::{self, codes, example, keylime_events, reference_state};
use crate::boot_log::tests::builder::{self, Draft, Machine, SHA1, SHA256};
use crate::boot_log::tests::vectors;
use crate::boot_log::{BootLog, EventDetails, EventType, Ipl, VariableValue};
use crate::measured_boot::{Appraisal, KeylimePolicyName, MalformedPolicy, Policy};
use crate::pcr::{PcrIndex, PcrValues};

fn judge(machine: &Machine) -> Appraisal {
    support::judge(&example(&reference_state()), &keylime_events(machine))
}

#[test]
fn the_referred_machine_passes() {
    let appraisal = judge(&Machine::default());
    assert_eq!(appraisal.findings(), []);
    assert!(!appraisal.everything_accepted());
}

#[test]
fn each_change_of_the_machine_is_found_by_its_true_name() {
    let good = Machine::default;
    let changes: [(Machine, &[&str]); 10] = [
        (Machine { secure_boot: 0, ..good() }, &["secure-boot-state"]),
        (Machine { firmware: "firmware 0.9", ..good() }, &["digest-not-accepted"]),
        (Machine { db: vec!["vendor", "attacker"], ..good() }, &["key-not-accepted"]),
        (Machine { dbx: vec!["revoked b"], ..good() }, &["key-required"]),
        (Machine { kernel: "backdoor", ..good() }, &["digest-not-accepted"]),
        (Machine { initrd: "backdoor", ..good() }, &["digest-not-accepted"]),
        (Machine { command_line: "/vmlinuz-6.1 init=/bin/sh", ..good() }, &["command-line-not-accepted"]),
        (Machine { mok: "another list", ..good() }, &["digest-not-accepted"]),
        // Commands and the image's signer are free, and so is more in dbx.
        (Machine { grub_command: "set x=y", ..good() }, &[]),
        (Machine { dbx: vec!["revoked a", "revoked b", "revoked c"], ..good() }, &[]),
    ];
    for (machine, expected) in changes {
        let appraisal = judge(&machine);
        assert_eq!(codes(&appraisal), expected, "{machine:?}: {:#?}", appraisal.findings());
    }
}

#[test]
fn events_it_does_not_list_are_rejected() {
    let policy = example(&reference_state());
    let with = |draft: Draft| {
        let mut events = keylime_events(&Machine::default());
        events.push(draft);
        codes(&support::judge(&policy, &events))
    };
    assert_eq!(with(Draft::plain(0, builder::POST_CODE, b"code")), ["unexplained-event"]);
    assert_eq!(with(Draft::plain(0, builder::NO_ACTION, b"SP800-155 Event3")), ["unexplained-event"]);
    assert_eq!(with(Draft::new(9, builder::IPL, b"/etc/shadow\0", b"x")), ["unexplained-event"]);
    assert_eq!(with(Draft::plain(4, builder::EFI_ACTION, b"Something else")), ["unexplained-event"]);
    assert_eq!(with(Draft::new(9, builder::IPL, b"/initrd.img\0", b"initrd 6.1")), ["missing"]);
    assert_eq!(with(Draft::new(9, builder::IPL, b"/grub/x.mod\0", b"x")), Vec::<&str>::new());
    // The kernel may be measured twice.
    let again = Draft::new(4, builder::APPLICATION, &builder::image("vmlinuz"), b"linux 6.1");
    assert_eq!(with(again), Vec::<&str>::new());
}

#[test]
fn what_must_be_there_is_missed() {
    let policy = example(&reference_state());
    let dropped = |is_dropped: &dyn Fn(&Draft) -> bool| {
        let mut events = keylime_events(&Machine::default());
        events.retain(|event| !is_dropped(event));
        !support::judge(&policy, &events).passed()
    };
    assert!(!dropped(&|_| false));
    assert!(dropped(&|event| event.register == 7 && event.event_type == builder::DRIVER_CONFIG));
    for event_type in [builder::CRTM_VERSION, builder::FIRMWARE_BLOB, builder::APPLICATION, builder::IPL] {
        assert!(dropped(&|event| event.event_type == event_type), "{event_type:#x}");
    }
}

#[test]
fn words_its_tests_go_by_must_be_measured() {
    let policy = example(&reference_state());
    let happened = keylime_events(&Machine { command_line: "init=/bin/sh", secure_boot: 0, ..Machine::default() });
    let mut told = keylime_events(&Machine::default());
    for (told, happened) in told.iter_mut().zip(&happened) {
        told.measured.clone_from(&happened.measured);
    }
    let appraisal = support::judge_log(&policy, &builder::agile(&[SHA256], &told), &happened);
    assert_eq!(codes(&appraisal), ["data-not-measured", "missing"], "{:#?}", appraisal.findings());
}

#[test]
fn every_relevant_register_must_be_quoted_in_a_bank_the_state_speaks_of() {
    let policy = example(&reference_state());
    let events = keylime_events(&Machine::default());
    let bytes = builder::agile(&[SHA1, SHA256], &events);
    let log = BootLog::parse(&bytes).unwrap();
    let required: Vec<u8> = policy.required_registers().map(PcrIndex::get).collect();
    assert_eq!(required, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14]);
    assert!(policy.appraise(&log, &support::quoted(SHA256, &events, &required)).unwrap().passed());
    let appraisal = policy.appraise(&log, &support::quoted(SHA256, &events, &required[1..])).unwrap();
    assert_eq!(codes(&appraisal), ["pcr-not-quoted"]);
    assert!(!policy.appraise(&log, &support::quoted(SHA1, &events, &required)).unwrap().passed());
}

#[test]
fn owners_of_either_byte_order_are_the_same() {
    let mut state = reference_state();
    state["db"][0]["SignatureOwner"] = json!("bd9afa77-5903-324d-bd60-28f4e78f784b");
    assert!(support::judge(&example(&state), &keylime_events(&Machine::default())).passed());
    state["db"][0]["SignatureOwner"] = json!("00000000-5903-324d-bd60-28f4e78f784b");
    assert!(!support::judge(&example(&state), &keylime_events(&Machine::default())).passed());
}

#[test]
fn an_empty_state_and_states_that_lack_fields_are_refused() {
    for name in [KeylimePolicyName::AcceptAll, KeylimePolicyName::Example, KeylimePolicyName::RejectAll] {
        assert!(matches!(Policy::keylime(name, b"{}"), Err(MalformedPolicy::Empty { .. })), "{name}");
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    assert!("accept".parse::<KeylimePolicyName>().is_err());
    for field in ["scrtm_and_bios", "pk", "kek", "db", "dbx", "mokdig", "mokxdig", "kernels"] {
        let mut state = reference_state();
        state.as_object_mut().unwrap().remove(field);
        let refused = Policy::keylime(KeylimePolicyName::Example, state.to_string().as_bytes());
        assert!(matches!(refused, Err(MalformedPolicy::ReferenceState { .. })), "{field}");
    }
}

#[test]
fn a_member_that_is_there_twice_is_refused_wherever_it_is() {
    let text = reference_state().to_string();
    assert!(Policy::keylime(KeylimePolicyName::Example, text.as_bytes()).is_ok());
    for (once, twice) in [
        ("\"dbx\":", "\"dbx\": [], \"dbx\":"),
        ("\"kernel_cmdline\":", "\"kernel_cmdline\": \".*\", \"kernel_cmdline\":"),
        ("\"scrtm\":", "\"scrtm\": {}, \"scrtm\":"),
    ] {
        assert!(text.contains(once), "{once}");
        let doubled = text.replacen(once, twice, 1);
        let error = Policy::keylime(KeylimePolicyName::Example, doubled.as_bytes()).unwrap_err();
        assert!(format!("{error:?}").contains("duplicate member"), "{error:?}");
    }
}

/// A reference state from a log, as `keylime-policy create measured-boot` makes it.
fn create(log: &BootLog<'_>) -> Option<Value> {
    let bank = log.banks().find(|bank| bank.algorithm().name() == "sha256")?;
    let events = log.examine(bank).ok()?;
    let prefixed = |event: &crate::boot_log::ExaminedEvent<'_, '_>| format!("0x{}", event.event.digest(bank).unwrap());
    let of_type = |event_type: EventType| events.iter().filter(move |event| event.event.event_type() == event_type);
    let map = |event| json!({"sha256": prefixed(event)});
    let texts = |register: u8, part: &str| {
        let part = part.to_owned();
        of_type(EventType::IPL)
            .filter(move |event| event.event.register().is_some_and(|index| index.get() == register))
            .find(move |event| String::from_utf8_lossy(event.event.data()).contains(&part))
    };
    let mut keys = json!({"PK": [], "KEK": [], "db": [], "dbx": []});
    for event in &events {
        let EventDetails::Variable(variable) = &event.details else { continue };
        let VariableValue::SignatureDatabase(lists) = &variable.value else { continue };
        let signatures = lists.iter().flat_map(|list| &list.signatures).map(|signature| {
            let data = format!("0x{}", hex::encode(signature.data));
            json!({"SignatureOwner": signature.owner.to_string(), "SignatureData": data})
        });
        keys[variable.name.as_str()] = signatures.collect();
    }
    let vendor = events.iter().filter_map(|event| match &event.details {
        EventDetails::Variable(variable) if variable.name == "vendor_db" => match &variable.value {
            VariableValue::Authority(authority) => Some(json!({
                "SignatureOwner": authority.owner?.to_string(),
                "SignatureData": format!("0x{}", hex::encode(authority.data)),
            })),
            _ => None,
        },
        _ => None,
    });
    let vendor: Vec<Value> = vendor.collect();
    let applications: Vec<String> = of_type(EventType::EFI_BOOT_SERVICES_APPLICATION).map(prefixed).collect();
    let line = events.iter().find_map(|event| match &event.details {
        EventDetails::Ipl(Ipl::CommandLine { text, .. }) => Some(text),
        _ => None,
    })?;
    let named =
        |name: &str| of_type(EventType::IPL).filter(|event| event.details.to_string() == name).map(map).collect();
    let (mok, mokx): (Vec<Value>, Vec<Value>) = (named("shim's MokList"), named("shim's MokListX"));
    Some(json!({
        "scrtm_and_bios": [{
            "scrtm": of_type(EventType::S_CRTM_VERSION).map(map).next()?,
            "platform_firmware": events.iter()
                .filter(|event| matches!(event.details, EventDetails::Firmware(_))).map(map).collect::<Vec<_>>(),
        }],
        "pk": keys["PK"], "kek": keys["KEK"], "db": keys["db"], "dbx": keys["dbx"],
        "vendor_db": vendor,
        "mokdig": mok, "mokxdig": mokx,
        "kernels": [{
            "shim_authcode_sha256": applications.first()?, "grub_authcode_sha256": applications.get(1)?,
            "kernel_authcode_sha256": applications.get(2)?,
            "initrd_plain_sha256": prefixed(texts(9, "initr")?), "kernel_cmdline": regex::escape(line),
        }],
    }))
}

#[test]
fn the_log_keylime_tests_with_passes_its_own_reference_state_and_fails_each_change_of_it() {
    let Some(logs) = vectors::logs() else { return };
    let log = BootLog::parse(&logs["keylime_mb_secureboot"]).unwrap();
    let state = create(&log).unwrap();
    let bank = log.banks().next().unwrap();
    let replay = log.replay(bank).unwrap();
    let mut values = PcrValues::new(bank);
    for index in PcrIndex::all() {
        values.insert(index, replay.value(&log, index)).unwrap();
    }
    let appraise = |state: &Value| example(state).appraise(&log, &values).unwrap();
    let appraisal = appraise(&state);
    assert_eq!(appraisal.findings(), [], "the state made from the log");
    for (field, value) in [
        ("kernels", json!([])),
        ("scrtm_and_bios", json!([])),
        ("pk", json!([])),
        ("kek", json!([])),
        ("db", json!([])),
        ("vendor_db", json!([])),
        ("mokdig", json!([])),
        ("mokxdig", json!([])),
        ("has_secureboot", json!(false)),
        ("dbx", json!([{"SignatureOwner": builder::OWNER, "SignatureData": "0x00"}])),
    ] {
        let mut changed = state.clone();
        changed[field] = value;
        if field == "has_secureboot" {
            let kernel = changed["kernels"][0]["kernel_authcode_sha256"].clone();
            changed["kernels"][0]["vmlinuz_plain_sha256"] = kernel;
        }
        assert!(!appraise(&changed).passed(), "{field}");
    }
}
