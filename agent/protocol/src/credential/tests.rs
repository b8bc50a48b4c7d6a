#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

fn blob(id_object: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];
    for part in [id_object, secret] {
        bytes.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

#[test]
fn both_parts_are_read() {
    let parsed = CredentialBlob::parse(&blob(b"id", b"secret")).unwrap();
    assert_eq!((parsed.id_object.as_slice(), parsed.encrypted_secret.as_slice()), (&b"id"[..], &b"secret"[..]));
}

#[test]
fn every_truncation_is_refused() {
    let whole = blob(b"id", b"secret");
    for end in 0..whole.len() {
        let cut = whole.get(..end).unwrap();
        assert!(matches!(CredentialBlob::parse(cut), Err(MalformedCredentialBlob::Truncated { .. })), "{end}");
    }
}

#[test]
fn other_magic_version_empty_and_long_parts_and_trailing_bytes_are_refused() {
    let mut bad = blob(b"id", b"secret");
    *bad.first_mut().unwrap() = 0;
    assert!(matches!(CredentialBlob::parse(&bad), Err(MalformedCredentialBlob::Constant { field: "magic", .. })));
    let mut bad = blob(b"id", b"secret");
    *bad.get_mut(7).unwrap() = 2;
    assert!(matches!(CredentialBlob::parse(&bad), Err(MalformedCredentialBlob::Constant { field: "version", .. })));
    assert!(matches!(CredentialBlob::parse(&blob(b"", b"s")), Err(MalformedCredentialBlob::Size { found: 0, .. })));
    let long = CredentialBlob::parse(&blob(b"id", &[0; 513]));
    assert!(matches!(long, Err(MalformedCredentialBlob::Size { found: 513, .. })));
    let trailing = [blob(b"id", b"secret"), vec![0]].concat();
    assert_eq!(CredentialBlob::parse(&trailing), Err(MalformedCredentialBlob::Trailing { found: 1 }));
}
