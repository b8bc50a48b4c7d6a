#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

/// A list of `ima-ng` entries in both forms.
fn list(names: &[&str]) -> (Vec<u8>, String) {
    let (mut binary, mut text) = (Vec::new(), String::new());
    for name in names {
        let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
        let digest = openssl::sha::sha256(name.as_bytes());
        let data =
            [sized(&[b"sha256:\0".as_slice(), &digest].concat()), sized(format!("{name}\0").as_bytes())].concat();
        let template = openssl::sha::sha1(&data);
        binary.extend_from_slice(&10_u32.to_le_bytes());
        binary.extend_from_slice(&template);
        binary.extend([sized(b"ima-ng"), sized(&data)].concat());
        text.push_str(&format!("10 {} ima-ng sha256:{} {name}\n", hex::encode(template), hex::encode(digest)));
    }
    (binary, text)
}

fn lists(content: &[u8]) -> (tempfile::TempDir, MeasuredLists) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ima");
    std::fs::write(&path, content).unwrap();
    (folder, MeasuredLists::new(path, "/nonexistent".into()))
}

#[test]
fn a_binary_list_is_sent_as_the_lines_of_the_ascii_list() {
    let (binary, text) = list(&["boot_aggregate", "/usr/bin/sh", "/usr/bin/init"]);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (folder, mut lists) = lists(&binary);
    for (wanted, entry, skipped) in [(0, 0, 0), (1, 1, 1), (3, 3, 3), (4, 0, 0), (2, 2, 2)] {
        let found = lists.ima(wanted).unwrap().unwrap();
        assert_eq!((found.entry, found.text), (entry, lines.iter().skip(skipped).copied().collect()), "{wanted}");
    }
    // An entry that is being written is left for the next time.
    let (longer, more) = list(&["boot_aggregate", "/usr/bin/sh", "/usr/bin/init", "/usr/bin/next"]);
    std::fs::write(folder.path().join("ima"), longer.get(..longer.len() - 3).unwrap()).unwrap();
    assert_eq!(lists.ima(3).unwrap().unwrap().text, "");
    std::fs::write(folder.path().join("ima"), &longer).unwrap();
    assert_eq!(lists.ima(3).unwrap().unwrap().text, more.split_inclusive('\n').nth(3).unwrap());
}

#[test]
fn what_is_neither_form_is_told_with_its_place() {
    let (mut binary, _) = list(&["boot_aggregate", "/usr/bin/sh"]);
    *binary.get_mut(24).unwrap() = 0xff;
    let (_folder, mut broken) = lists(&binary);
    assert!(matches!(broken.ima(0), Err(ListError::Malformed { source: MalformedList { entry: 0, .. }, .. })));
    let (_folder, mut short) = lists(&[10, 0]);
    assert!(matches!(short.ima(0), Err(ListError::Malformed { .. })));
    let (_folder, mut neither) = lists(&[0xff, 0xfe, b'\n']);
    assert!(matches!(neither.ima(0), Err(ListError::NotText { .. })));
}

#[test]
fn an_ascii_list_is_sent_as_it_is() {
    let (_, text) = list(&["boot_aggregate", "/usr/bin/sh"]);
    let (_folder, mut lists) = lists(text.as_bytes());
    assert_eq!(lists.ima(0).unwrap().unwrap().text, text);
    assert_eq!(lists.ima(1).unwrap().unwrap().text, text.split_inclusive('\n').nth(1).unwrap());
}
