//! Both forms of a list, and what is wrong with those that are none.

use super::builder::{bytes_field, digest_field, name_field};
use super::*;

fn every_template() -> ListBuilder {
    let mut list = ListBuilder::default();
    list.original("/init", b"init")
        .file("/usr/bin/a", b"a")
        .signed("/usr/bin/b", b"b", b"")
        .signed("/usr/bin/c", b"c", &[3, 2, 4])
        .buffer("kexec-cmdline", b"ro quiet")
        .signed_v2("ima", "/usr/bin/d", b"d", b"")
        .signed_v2("verity", "/usr/bin/e", b"e", &[6, 3, 4])
        .violation("/var/log/x")
        .push("ima-ngv2", &[digest_field("verity:", b"f"), name_field("/f")])
        .push(
            "ima-modsig",
            &[
                digest_field("", b"g"),
                name_field("/g.ko"),
                bytes_field(b""),
                digest_field("", b"h"),
                bytes_field(&[0x30, 0]),
            ],
        )
        .push(
            "ima-modsig",
            &[digest_field("", b"g"), name_field("/g.ko"), bytes_field(b""), bytes_field(b""), bytes_field(b"")],
        )
        .push(
            "evm-sig",
            &[
                digest_field("", b"i"),
                name_field("/i"),
                bytes_field(&[5, 2, 4]),
                name_field("security.selinux|security.ima"),
                bytes_field(&[37, 0, 0, 0]),
                bytes_field(b"label"),
                (vec![0xe8, 3, 0, 0], "1000".to_owned()),
                (vec![0; 4], "0".to_owned()),
                (vec![0xa4, 0x81], "33188".to_owned()),
            ],
        )
        .push("d-ng|sig", &[digest_field("", b"j"), bytes_field(b"")])
        .push("n-ng|d-ng", &[name_field("/k"), digest_field("", b"k")]);
    list
}

/// Template, data and name of each entry.
type Read = (String, Vec<u8>, Option<Vec<u8>>);

fn read_all(bytes: &[u8]) -> Result<Vec<Read>, MalformedList> {
    let mut entries = MeasurementList::new(bytes, HashAlgorithm::Sha1).entries();
    let mut all = Vec::new();
    while let Some(entry) = entries.read()? {
        all.push((entry.template.to_string(), entry.data.to_vec(), entry.name.map(<[u8]>::to_vec)));
    }
    Ok(all)
}

#[test]
fn both_forms_give_the_data_that_were_hashed() {
    let list = every_template();
    let (ascii, binary) = (read_all(&list.ascii()).unwrap(), read_all(&list.binary()).unwrap());
    assert_eq!(ascii, binary);
    for (read, built) in ascii.iter().zip(&list.entries) {
        assert_eq!((read.0.as_str(), &read.1), (built.template, &built.data));
    }
}

#[test]
fn fields_come_out_of_every_template() {
    let list = every_template();
    let bytes = list.ascii();
    let mut entries = MeasurementList::new(&bytes, HashAlgorithm::Sha1).entries();
    let mut kinds = Vec::new();
    while let Some(entry) = entries.read().unwrap() {
        kinds.push(entry.digest.map(|digest| digest.kind));
        if entry.name == Some(b"/usr/bin/c".as_slice()) {
            assert_eq!(entry.signature, [3, 2, 4]);
        }
        if entry.name == Some(b"kexec-cmdline".as_slice()) {
            assert_eq!(entry.buffer, b"ro quiet");
        }
        assert_eq!(entry.is_violation(HashAlgorithm::Sha1), entry.name == Some(b"/var/log/x".as_slice()));
    }
    assert_eq!(kinds[6], Some(DigestKind::Verity));
    assert_eq!(kinds.iter().filter(|kind| **kind == Some(DigestKind::Content)).count(), 12);
}

#[test]
fn names_with_spaces_and_a_lost_last_space_are_read() {
    let digest = "0".repeat(40);
    let line = format!("10 {digest} ima-sig sha256:{} /opt/my file 0302\n", "1".repeat(64));
    assert_eq!(read_all(line.as_bytes()).unwrap()[0].2.as_deref(), Some(b"/opt/my file".as_slice()));
    let line = format!("10 {digest} ima-sig sha256:{} boot_aggregate", "1".repeat(64));
    assert_eq!(read_all(line.as_bytes()).unwrap()[0].2.as_deref(), Some(b"boot_aggregate".as_slice()));
}

#[test]
fn every_truncation_of_a_binary_list_is_told_with_its_place() {
    let list = small_list();
    let (bytes, first) = (list.binary(), list.select([0]).binary().len());
    // One byte alone is a line feed: an ASCII list without entries.
    for end in 2..bytes.len() {
        match read_all(&bytes[..end]) {
            Ok(entries) => assert!(end == first || end == list.select([0, 1]).binary().len(), "{end}: {entries:?}"),
            Err(malformed) => {
                assert!(matches!(malformed.problem, MalformedEntry::Truncated { .. }), "{end}: {malformed}");
                assert!(malformed.offset <= end);
            }
        }
    }
}

#[test]
fn malformed_lines_name_entry_byte_and_field() {
    let digest = "a".repeat(40);
    let good = format!("10 {digest} ima-ng sha256:{} /a\n", "1".repeat(64));
    let cases = [
        ("x".to_owned(), "register"),
        (format!("24 {digest} ima-ng sha256:00 /a"), "register"),
        (format!("010 {digest} ima-ng sha256:00 /a"), "register"),
        (format!("10 {} ima-ng sha256:00 /a", "A".repeat(40)), "template digest"),
        ("10 abcd ima-ng sha256:00 /a".to_owned(), "template digest"),
        (format!("10 {digest} ima-xy sha256:00 /a"), "template \"ima-xy\""),
        (format!("10 {digest} ima-ng sha256:00 /a"), "d-ng"),
        (format!("10 {digest} ima-ng sha256 /a"), "d-ng"),
        (format!("10 {digest} ima-ng"), "d-ng"),
        (format!("10 {digest} ima-sig sha256:{} /a 0g", "1".repeat(64)), "field"),
        (format!("10 {digest} ima-ng sha256:{} /a\0b", "1".repeat(64)), "name"),
        (format!("10 {digest} ima {} /a", "1".repeat(38)), "digest"),
        (format!("10 {digest} ima {} {}", "1".repeat(40), "a".repeat(256)), "name"),
    ];
    for (line, field) in cases {
        let malformed = read_all(format!("{good}{line}\n").as_bytes()).unwrap_err();
        assert_eq!((malformed.entry, malformed.offset), (1, good.len()), "{line}");
        assert!(malformed.to_string().contains(field), "{line}: {malformed}");
    }
}

#[test]
fn fields_of_another_size_are_refused() {
    let mut list = ListBuilder::default();
    list.push("ima-ng", &[digest_field("", b"a"), name_field("/a"), bytes_field(b"more")]);
    let malformed = read_all(&list.binary()).unwrap_err();
    assert_eq!(malformed.problem, MalformedEntry::TrailingBytes { count: 8 });
    let mut list = ListBuilder::default();
    list.push("ima-sig", &[digest_field("", b"a"), name_field("/a")]);
    let malformed = read_all(&list.binary()).unwrap_err();
    assert!(matches!(malformed.problem, MalformedEntry::Truncated { .. }), "{malformed}");
    let mut list = ListBuilder::default();
    list.push("ima-ng", &[digest_field("ima:", b"a"), name_field("/a")]);
    assert!(read_all(&list.binary()).is_err());
}

#[test]
fn lengths_beyond_the_limit_are_refused_before_anything_is_reserved() {
    let mut bytes = small_list().select([0]).binary();
    let length_at = 4 + 20 + 4 + 6;
    bytes[length_at..length_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let malformed = read_all(&bytes).unwrap_err();
    assert!(matches!(malformed.problem, MalformedEntry::Length { found: 0xffff_ffff, .. }), "{malformed}");
}

#[test]
fn big_endian_lists_are_named_as_such() {
    let mut bytes = small_list().binary();
    bytes[..4].copy_from_slice(&10_u32.to_be_bytes());
    assert_eq!(read_all(&bytes).unwrap_err().problem, MalformedEntry::BigEndian);
}

#[test]
fn binary_registers_a_tpm_has_not_are_refused_as_in_ascii() {
    let small = small_list();
    for (register, is_read) in [(23_u32, true), (24, false), (255, false)] {
        let mut bytes = small.binary();
        bytes[..4].copy_from_slice(&register.to_le_bytes());
        let read = read_all(&bytes);
        assert_eq!(read.is_ok(), is_read, "{register}");
        assert!(is_read || read.unwrap_err().to_string().contains("expected a number from 0 to 23"), "{register}");
    }
    let text = b"# a comment\n10 0000";
    assert!(read_all(text).unwrap_err().to_string().contains("register is \"#\""));
}

#[test]
fn the_size_of_zeros_tells_the_algorithm_of_a_list_of_violations() {
    for (size, algorithm) in [(20, HashAlgorithm::Sha1), (32, HashAlgorithm::Sha256), (64, HashAlgorithm::Sha512)] {
        let line = format!("10 {} ima-ng sha256:{} /x\n", "00".repeat(size), "00".repeat(32));
        let summary = ListSummary::of(line.repeat(20).as_bytes()).unwrap();
        assert_eq!((summary.log_hash, summary.violations.count, summary.mismatches.count), (algorithm, 20, 0));
        let wrong = line.replacen("00", "11", 1);
        let summary = ListSummary::of(wrong.as_bytes()).unwrap();
        let told = (summary.log_hash, summary.violations.count, summary.mismatches.count);
        assert_eq!(told, (HashAlgorithm::Sha1, 0, 1));
    }
}

#[test]
fn names_cannot_steer_a_terminal() {
    let excerpt = Excerpt::of("/a\x1b[2J\n\u{202e}b\u{fe0f}".as_bytes());
    assert_eq!(excerpt.as_str(), "/a\\u{1b}[2J\\n\\u{202e}b\u{fe0f}");
    assert_eq!(Excerpt::of(&[b'/', 0xff, b'a']).as_str(), "/\\xffa");
    assert!(Excerpt::of(&[b'a'; 5000]).as_str().len() < 300);
}

#[test]
fn summaries_count_and_replay_both_ways() {
    let list = every_template();
    for bytes in [list.ascii(), list.binary()] {
        let summary = ListSummary::of(&bytes).unwrap();
        assert_eq!((summary.entries, summary.log_hash), (14, HashAlgorithm::Sha1));
        assert_eq!(summary.violations.first, [(7, "/var/log/x".to_owned())]);
        assert_eq!(summary.mismatches.count, 0);
        assert_eq!(summary.by_template["ima-modsig"], 2);
        for (bank, digest) in
            [(HashAlgorithm::Sha1, MessageDigest::sha1()), (HashAlgorithm::Sha384, MessageDigest::sha384())]
        {
            let expected = list.register(digest, list.entries.len());
            assert_eq!(summary.registers[&(10, Replay::Recomputed(bank))].as_bytes(), expected);
        }
        let recorded = &summary.registers[&(10, Replay::Recorded(HashAlgorithm::Sha1))];
        assert_eq!(recorded, &summary.registers[&(10, Replay::Recomputed(HashAlgorithm::Sha1))]);
    }
}

#[test]
fn a_wrong_template_digest_parts_recorded_from_recomputed() {
    let mut list = small_list();
    list.entries[1].recorded[0] ^= 1;
    let summary = ListSummary::of(&list.ascii()).unwrap();
    assert_eq!(summary.mismatches.first, [1]);
    let register = |replay| summary.registers[&(10, replay)];
    assert_ne!(register(Replay::Recorded(HashAlgorithm::Sha1)), register(Replay::Recomputed(HashAlgorithm::Sha1)));
}
