//! Logs of our own making, each with one thing changed.

use crate::algorithm::HashAlgorithm;
use crate::boot_log::tests::builder::{self, Draft, Machine, SHA1, SHA256, SHA384};
use crate::boot_log::{
    BootLog, Coverage, EVENTS_MAX, EventDetails, Ipl, LOG_BYTES_MAX, LogFormat, MalformedBootLog, NoAction, Tag,
    VariableValue,
};
use crate::pcr::{PcrBank, PcrIndex};

fn replayed(log: &BootLog<'_>, algorithm: HashAlgorithm, index: u8) -> Vec<u8> {
    let replay = log.replay(PcrBank(algorithm)).unwrap();
    replay.value(log, PcrIndex::try_from(index).unwrap()).as_bytes().to_vec()
}

fn details(drafts: &[Draft]) -> Vec<(Coverage, Option<bool>, String)> {
    let bytes = builder::agile(&[SHA256], drafts);
    let log = BootLog::parse(&bytes).unwrap();
    let examined = log.examine(PcrBank(HashAlgorithm::Sha256)).unwrap();
    examined.iter().skip(1).map(|event| (event.covers, event.verified, event.details.to_string())).collect()
}

#[test]
fn each_bank_of_an_agile_log_replays_to_what_the_tpm_holds() {
    let events = Machine::default().events();
    let bytes = builder::agile(&[SHA1, SHA256, SHA384], &events);
    let log = BootLog::parse(&bytes).unwrap();
    assert_eq!(log.format(), LogFormat::CryptoAgile);
    for (id, algorithm) in
        [(SHA1, HashAlgorithm::Sha1), (SHA256, HashAlgorithm::Sha256), (SHA384, HashAlgorithm::Sha384)]
    {
        for (index, value) in builder::registers(id, &events) {
            assert_eq!(replayed(&log, algorithm, index), value, "{algorithm} PCR {index}");
        }
    }
}

#[test]
fn a_sha1_log_replays_and_has_no_other_bank() {
    let events = Machine::default().events();
    let bytes = builder::legacy(&events);
    let log = BootLog::parse(&bytes).unwrap();
    assert_eq!(log.format(), LogFormat::LegacySha1);
    assert_eq!(replayed(&log, HashAlgorithm::Sha1, 7), builder::registers(SHA1, &events)[&7]);
    assert_eq!(log.banks().collect::<Vec<_>>(), [PcrBank(HashAlgorithm::Sha1)]);
}

#[test]
fn pcr_0_starts_at_the_startup_locality_and_no_other_register_does() {
    let locality = Draft::plain(0, builder::NO_ACTION, b"StartupLocality\0\x03");
    let events = [locality.clone(), Draft::plain(0, builder::SEPARATOR, &[0; 4])];
    let bytes = builder::agile(&[SHA256], &events);
    let log = BootLog::parse(&bytes).unwrap();
    let mut start = [0; 32];
    start[31] = 3;
    let expected = builder::digest(SHA256, &[start.as_slice(), &builder::digest(SHA256, &[0; 4])].concat());
    assert_eq!(replayed(&log, HashAlgorithm::Sha256, 0), expected);
    assert_eq!(replayed(&log, HashAlgorithm::Sha256, 1), [0; 32]);

    let twice = builder::agile(&[SHA256], &[locality.clone(), locality]);
    assert!(matches!(BootLog::parse(&twice), Err(MalformedBootLog::SecondStartupLocality { .. })));
    let odd = builder::agile(&[SHA256], &[Draft::plain(0, builder::NO_ACTION, b"StartupLocality\0\x07")]);
    let error = BootLog::parse(&odd).unwrap_err();
    assert!(matches!(error, MalformedBootLog::Value { field: "StartupLocality", found: 7, .. }), "{error}");
}

#[test]
fn padding_of_either_kind_ends_a_log_and_anything_behind_it_does_not_parse() {
    let bytes = builder::agile(&[SHA256], &Machine::default().events());
    for value in [0, 0xff] {
        for count in [1, 7, 8, 4096] {
            let padded = [bytes.clone(), vec![value; count]].concat();
            assert_eq!(BootLog::parse(&padded).unwrap().padding_bytes(), count);
        }
    }
    let behind = [bytes, vec![0xff; 64], b"x".to_vec()].concat();
    assert!(matches!(BootLog::parse(&behind), Err(MalformedBootLog::Register { found: u32::MAX, .. })));
}

#[test]
fn logs_cut_anywhere_fail_or_are_whole_events() {
    let bytes = builder::agile(&[SHA1, SHA256], &Machine::default().events());
    let whole = BootLog::parse(&bytes).unwrap();
    let ends: Vec<usize> = whole.events().iter().skip(1).map(|event| event.place().offset).collect();
    for end in 0..bytes.len() {
        match BootLog::parse(&bytes[..end]) {
            // What begins with padding's bytes may end as padding.
            Ok(log) => assert!(ends.contains(&end) || log.padding_bytes() > 0, "cut at {end}"),
            Err(MalformedBootLog::Truncated { offset, .. }) => assert!(offset <= end),
            Err(MalformedBootLog::Empty { bytes }) => assert!(bytes <= 8),
            Err(error) => panic!("cut at {end}: {error}"),
        }
    }
}

#[test]
fn sizes_and_counts_are_bounded_before_anything_is_allocated() {
    let events = Machine::default().events();
    let header = builder::agile(&[SHA256], &[]);
    let huge_event = [header.clone(), [0; 12].to_vec(), u32::MAX.to_le_bytes().to_vec()].concat();
    let error = BootLog::parse(&huge_event).unwrap_err();
    assert!(matches!(error, MalformedBootLog::Truncated { field: "event data", needed: 0xffff_ffff, .. }), "{error}");

    let many_digests = [header.clone(), vec![1, 0, 0, 0, 1, 0, 0, 0], u32::MAX.to_le_bytes().to_vec()].concat();
    let error = BootLog::parse(&many_digests).unwrap_err();
    assert!(matches!(error, MalformedBootLog::Count { field: "digests", max: 1, .. }), "{error}");

    let shortest = [vec![1, 0, 0, 0, 1, 0, 0, 0], vec![0; 8]].concat();
    let many_events = [header.clone(), shortest.repeat(EVENTS_MAX)].concat();
    let error = BootLog::parse(&many_events).unwrap_err();
    assert!(matches!(error, MalformedBootLog::Count { field: "events", max: EVENTS_MAX, .. }), "{error}");

    let mut long = builder::agile(&[SHA256], &events);
    long.resize(LOG_BYTES_MAX + 1, 0xff);
    assert!(matches!(BootLog::parse(&long), Err(MalformedBootLog::TooLong { .. })));

    let no_such_register = [header, vec![24, 0, 0, 0, 1, 0, 0, 0]].concat();
    assert!(matches!(BootLog::parse(&no_such_register), Err(MalformedBootLog::Register { found: 24, .. })));
}

#[test]
fn a_header_of_another_version_or_with_wrong_sizes_is_refused_where_it_is_wrong() {
    let good = builder::agile(&[SHA1, SHA256], &[]);
    assert_eq!(BootLog::parse(&good).unwrap().banks().count(), 2);
    // Version, number of algorithms, the second algorithm, its size, the vendor's bytes.
    for (at, value, expected) in [(53, 1, 53), (56, 0, 56), (56, 17, 56), (64, 4, 64), (66, 20, 66), (68, 9, 69)] {
        let mut changed = good.clone();
        changed[at] = value;
        let offset = match BootLog::parse(&changed).unwrap_err() {
            MalformedBootLog::Value { offset, .. }
            | MalformedBootLog::Count { offset, .. }
            | MalformedBootLog::Truncated { offset, .. } => offset,
            error => panic!("byte {at}: {error}"),
        };
        assert_eq!(offset, expected, "byte {at} changed to {value}");
    }
}

#[test]
fn a_digest_of_an_unlisted_algorithm_or_twice_of_one_is_refused() {
    let event = Draft::plain(0, builder::SEPARATOR, &[0; 4]);
    let listed = builder::agile(&[SHA1, SHA256], &[]);
    let with = |banks: &[u16]| [listed.clone(), builder::agile_event(banks, &event)].concat();
    let unlisted = with(&[SHA384]);
    assert!(matches!(BootLog::parse(&unlisted), Err(MalformedBootLog::UnlistedAlgorithm { found: SHA384, .. })));
    let twice = with(&[SHA256, SHA256]);
    assert!(matches!(BootLog::parse(&twice), Err(MalformedBootLog::DuplicateDigest { algorithm: SHA256, .. })));
    let lacking = with(&[SHA256]);
    let log = BootLog::parse(&lacking).unwrap();
    let gap = |algorithm| log.replay(PcrBank(algorithm)).unwrap().gap(PcrIndex::try_from(0).unwrap());
    assert_eq!((gap(HashAlgorithm::Sha1).map(|place| place.number), gap(HashAlgorithm::Sha256)), (Some(1), None));
}

#[test]
fn td_shims_log_is_a_confidential_guests_and_another_vendors_in_register_0_is_not() {
    let header = |vendor: &[u8]| {
        let mut body = b"Spec ID Event03\0".to_vec();
        body.extend([0, 0, 0, 0, 0, 2, 105, 2, 1, 0, 0, 0, 0x0c, 0, 48, 0]);
        body.push(u8::try_from(vendor.len()).unwrap());
        body.extend(vendor);
        builder::legacy_event(0, builder::NO_ACTION, &[0; 20], &body)
    };
    for (vendor, format) in [
        (b"td-shim".as_slice(), LogFormat::ConfidentialComputing),
        (b"td-shim2".as_slice(), LogFormat::CryptoAgile),
        (b"".as_slice(), LogFormat::CryptoAgile),
    ] {
        let bytes = header(vendor);
        let log = BootLog::parse(&bytes).unwrap();
        assert_eq!(log.format(), format);
        assert_eq!(log.spec_id().unwrap().vendor_info, vendor);
    }
}

#[test]
fn windows_trust_point_belongs_to_no_register_and_only_as_no_action() {
    let trust_point = |event_type| [Draft::plain(u32::MAX, event_type, b"signed statement")];
    let bytes = builder::agile(&[SHA256], &trust_point(builder::NO_ACTION));
    let log = BootLog::parse(&bytes).unwrap();
    assert_eq!(log.events()[1].register(), None);
    assert_eq!(log.events()[1].details(), EventDetails::NoAction(NoAction::WindowsTrustPoint));
    assert!(log.replay(PcrBank(HashAlgorithm::Sha256)).unwrap().values().is_empty());
    let measured = builder::agile(&[SHA256], &trust_point(builder::IPL));
    assert!(matches!(BootLog::parse(&measured), Err(MalformedBootLog::Register { .. })));
}

#[test]
fn words_are_verified_exactly_as_far_as_digests_cover_them() {
    let secure_boot = builder::variable(builder::GLOBAL, "SecureBoot", &[1]);
    let off = builder::variable(builder::GLOBAL, "SecureBoot", &[0]);
    let order = builder::variable(builder::GLOBAL, "BootOrder", &[1, 0]);
    let shim = builder::variable(builder::SHIM_LOCK, "Shim", &builder::certificate("ca"));
    let padded = [shim.clone(), vec![0; 6]].concat();
    let line = builder::utf16("root=/dev/vda1");
    let section = [builder::utf16(".linux"), vec![0, 0]].concat();
    let cases = [
        (Draft::plain(7, builder::DRIVER_CONFIG, &secure_boot), Coverage::EventData, Some(true)),
        (Draft::new(7, builder::DRIVER_CONFIG, &secure_boot, &off), Coverage::EventData, Some(false)),
        // The value alone covers a boot variable, and nothing else.
        (Draft::new(1, builder::VARIABLE_BOOT, &order, &[1, 0]), Coverage::VariableValue, Some(true)),
        (Draft::new(7, builder::DRIVER_CONFIG, &secure_boot, &[1]), Coverage::EventData, Some(false)),
        // Old shims hash all but the last byte of their padding; without padding that byte would be the key's.
        (
            Draft::new(7, builder::AUTHORITY, &padded, &padded[..padded.len() - 1]),
            Coverage::EventDataButPadding,
            Some(true),
        ),
        (Draft::new(7, builder::AUTHORITY, &shim, &shim[..shim.len() - 1]), Coverage::EventData, Some(false)),
        (builder::grub_text("kernel_cmdline: ", "ro"), Coverage::Text, Some(true)),
        (Draft::new(8, builder::IPL, b"kernel_cmdline: ro\0", b"rw"), Coverage::Text, Some(false)),
        // GRUB under TDX logs a byte more than it should, of whatever stood there.
        (Draft::new(8, builder::IPL, b"grub_cmd [  ]\0`", b"[  ]"), Coverage::Text, Some(true)),
        (Draft::new(8, builder::IPL, b"grub_cmd [  ]\0`x", b"[  ]"), Coverage::Text, Some(false)),
        (Draft::new(8, builder::IPL, b"grub_cmd [  ]`", b"[  ]"), Coverage::Text, Some(false)),
        (Draft::plain(12, builder::IPL, &line), Coverage::EventData, Some(true)),
        (Draft::new(11, builder::IPL, &section, b".linux\0"), Coverage::SectionName, Some(true)),
        (Draft::new(11, builder::IPL, &section, b"a kernel"), Coverage::Elsewhere, None),
        (Draft::new(9, builder::IPL, b"/vmlinuz\0", b"a kernel"), Coverage::Elsewhere, None),
        (Draft::new(4, builder::APPLICATION, &builder::image("a"), b"image"), Coverage::Elsewhere, None),
        (Draft::plain(0, builder::SEPARATOR, &[0; 4]), Coverage::EventData, Some(true)),
        (Draft::new(0, builder::SEPARATOR, &[0; 4], &[1, 0, 0, 0]), Coverage::Elsewhere, Some(false)),
        (Draft::new(0, builder::POST_CODE, b"POST CODE", b"the code"), Coverage::Unknown, None),
        (Draft::plain(0, builder::POST_CODE, b"POST CODE"), Coverage::EventData, Some(true)),
    ];
    let drafts: Vec<Draft> = cases.iter().map(|(draft, _, _)| draft.clone()).collect();
    for ((found, verified, words), (draft, covers, expected)) in details(&drafts).into_iter().zip(cases) {
        assert_eq!((found, verified), (covers, expected), "{words} in PCR {}", draft.register);
    }
}

#[test]
fn events_say_what_they_are_in_words() {
    let machine = details(&Machine::default().events());
    let words: Vec<&str> = machine.iter().map(|(_, _, words)| words.as_str()).collect();
    for expected in [
        "SecureBoot is on",
        "key database dbx with 2 entries",
        "boot order 0001 0000",
        "the firmware hands over",
        r"image of 4096 bytes from \\EFI\\BOOT\\BOOTX64.EFI",
        "shim's MokList",
        r#"kernel command line (GRUB) "/vmlinuz-6.1 root=/dev/vda1 ro""#,
        r#"GRUB read "/initrd.img-6.1""#,
        "Exit Boot Services Returned with Success",
        "partition table of disk 00000000-0000-0000-0000-000000000000 with 1 partitions",
    ] {
        assert!(words.contains(&expected), "{expected:?} among {words:#?}");
    }
}

#[test]
fn linux_stubs_and_systemds_events_are_known() {
    let tagged = |tag: u32, text: &[u8]| {
        [tag.to_le_bytes().to_vec(), u32::try_from(text.len()).unwrap().to_le_bytes().to_vec(), text.to_vec()].concat()
    };
    let bytes = builder::agile(
        &[SHA256],
        &[
            Draft::new(9, 6, &tagged(0x8f3b_22ec, b"Linux initrd\0"), b"an initrd"),
            Draft::new(9, 6, b"LOADED_IMAGE::LoadOptions\0", b"options"),
            Draft::new(11, builder::IPL, &builder::utf16(".initrd\0"), b".initrd\0"),
            Draft::plain(12, builder::IPL, &builder::utf16(" console=ttyS0\0")),
        ],
    );
    let log = BootLog::parse(&bytes).unwrap();
    let kinds: Vec<EventDetails<'_>> = log.events().iter().skip(1).map(crate::boot_log::Event::details).collect();
    assert!(matches!(&kinds[0], EventDetails::Tagged(tagged) if tagged.tag == Tag::LinuxInitrd));
    assert!(matches!(&kinds[1], EventDetails::Tagged(tagged) if tagged.tag == Tag::LinuxLoadOptions));
    assert_eq!(kinds[2], EventDetails::Ipl(Ipl::UkiSection(".initrd".to_owned())));
    assert!(matches!(&kinds[3], EventDetails::Ipl(Ipl::CommandLine { text, .. }) if text == " console=ttyS0"));
}

#[test]
fn a_malformed_database_is_the_events_fault_and_not_the_logs() {
    let mut list = builder::database(&[&builder::certificate("ca")], &[]);
    let at = list.len() - 1;
    list.truncate(at);
    let bytes = builder::agile(
        &[SHA256],
        &[Draft::plain(7, builder::DRIVER_CONFIG, &builder::variable(builder::GLOBAL, "PK", &list))],
    );
    let log = BootLog::parse(&bytes).unwrap();
    let EventDetails::Variable(variable) = log.events()[1].details() else { panic!("a variable") };
    assert!(matches!(variable.value, VariableValue::Malformed(_)), "{variable}");
}
