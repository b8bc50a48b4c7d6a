#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use messages::UnixMillis;

use super::*;

fn entry(kind: Kind, body: Vec<u8>) -> Entry {
    Entry { kind, agent: None, seq: 0, prev: Digest::ZERO, recorded: UnixMillis(0), body }
}

#[test]
fn an_enrol_entry_names_its_binding() {
    let body = Enrol { slot: 0, binding: Digest([7; 32]), ek_certificate: 0, registrar: "r".into() };
    assert_eq!(entry(Kind::Enrol, body.encode()).blobs().unwrap(), [Digest([7; 32])]);
    assert!(entry(Kind::Quote, body.encode()).blobs().is_err());
}

#[test]
fn a_timestamp_entry_names_note_and_token() {
    let (note, token) = (Digest([1; 32]), Digest([2; 32]));
    let body = TimestampBody { tree_size: 9, note, token, tsa: "t".into(), gen_time: UnixMillis(1) };
    assert_eq!(entry(Kind::Timestamp, body.encode()).blobs().unwrap(), [note, token]);
    assert!(entry(Kind::Timestamp, vec![0xf6]).blobs().is_err());
}

#[test]
fn an_unknown_kind_names_nothing() {
    assert!(entry(Kind::Unknown(99), vec![0xf6]).blobs().unwrap().is_empty());
}
