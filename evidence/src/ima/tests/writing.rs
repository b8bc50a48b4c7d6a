//! Binary lists written as the kernel's ASCII lists.

use super::builder::{bytes_field, digest_field, name_field};
use super::*;
use crate::testing::recorded;

fn ascii_of(binary: &[u8]) -> Vec<u8> {
    let mut entries = MeasurementList::with_detected_log_hash(binary).entries();
    let mut out = Vec::new();
    while let Some(entry) = entries.read().unwrap() {
        entry.write_ascii(&mut out);
    }
    out
}

#[test]
fn every_templates_entries_are_written_as_the_kernel_writes_them() {
    let mut list = ListBuilder::default();
    list.original("boot_aggregate", b"boot").file("/usr/bin/sh", b"sh").violation("/var/log/x");
    list.signed("/usr/bin/a", b"a", &[3, 2, 4]).signed("/usr/bin/b", b"b", &[]);
    list.signed_v2("verity", "/usr/bin/c", b"c", &[6]).buffer("kexec-cmdline", b"quiet");
    let empty = || (Vec::new(), String::new());
    let number = |bytes: &[u8], text: &str| (bytes.to_vec(), text.to_owned());
    list.push(
        "ima-modsig",
        &[digest_field("", b"d"), name_field("/d"), empty(), digest_field("", b"e"), bytes_field(b"p")],
    );
    list.push("ima-modsig", &[digest_field("", b"d"), name_field("/d"), empty(), empty(), empty()]);
    let attributes = [
        digest_field("", b"f"),
        name_field("/f"),
        bytes_field(&[5, 2]),
        name_field("security.selinux|security.ima"),
        bytes_field(&[1, 0, 0, 0]),
        bytes_field(&[7]),
        number(&1000_u32.to_le_bytes(), "1000"),
        number(&[0; 4], "0"),
        number(&0o100_755_u16.to_le_bytes(), "33261"),
    ];
    list.push("evm-sig", &attributes);
    list.push("d-ng|n-ng", &[digest_field("", b"g"), name_field("/g")]);
    list.entries[1].pcr = 9;
    assert_eq!(String::from_utf8(ascii_of(&list.binary())).unwrap(), String::from_utf8(list.ascii()).unwrap());
    // And of an ASCII list the same comes out again.
    assert_eq!(ascii_of(&list.ascii()), list.ascii());
}

#[test]
fn a_recorded_list_is_the_same_in_both_forms() {
    let (Some(binary), Some(ascii)) =
        (recorded("ima/h12ssl.binary_measurements"), recorded("ima/h12ssl.ascii_measurements"))
    else {
        return;
    };
    // The ASCII list was taken a little later.
    let written = ascii_of(&binary);
    assert!(written.len() > 200_000 && ascii.starts_with(&written));
}
