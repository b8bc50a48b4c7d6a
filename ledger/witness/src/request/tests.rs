#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const NOTE: &str = "log.test\n1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— log.test AAAAAAA=\n";
const HASH: &str = "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

fn parse(head: &str) -> Result<AddCheckpoint, MalformedRequest> {
    AddCheckpoint::parse(format!("{head}\n{NOTE}").as_bytes())
}

#[test]
fn a_request_has_an_old_size_a_proof_and_a_note() {
    let request = parse(&format!("old 20\n{HASH}{HASH}")).unwrap();
    assert_eq!((request.old_size, request.proof.hashes().len(), request.origin()), (20, 2, "log.test"));
    assert_eq!(request.note.to_bytes(), NOTE.as_bytes());
    assert_eq!(parse("old 0\n").unwrap().proof.hashes().len(), 0);
}

#[test]
fn an_old_size_that_is_no_canonical_decimal_is_malformed() {
    for head in ["", "old\n", "old \n", "old 01\n", "old +1\n", "old -1\n", "old 18446744073709551616\n", "size 1\n"] {
        assert_eq!(parse(head), Err(MalformedRequest::OldSize), "{head:?}");
    }
    assert_eq!(parse("old 18446744073709551615\n").unwrap().old_size, u64::MAX);
}

#[test]
fn a_proof_of_more_than_63_hashes_is_malformed() {
    assert_eq!(parse(&format!("old 1\n{}", HASH.repeat(63))).unwrap().proof.hashes().len(), 63);
    let long = parse(&format!("old 1\n{}", HASH.repeat(64)));
    assert_eq!(long, Err(MalformedRequest::ProofTooLong { found: 64 }));
}

#[test]
fn a_proof_line_that_is_no_hash_is_named() {
    let error = parse(&format!("old 1\n{HASH}AAAA\n")).unwrap_err();
    assert!(matches!(error, MalformedRequest::ProofHash { number: 2, .. }), "{error}");
}

#[test]
fn a_body_without_a_signed_note_is_malformed() {
    for body in ["old 1\n", "old 1\n\n", "old 1\n\nlog.test\n1\nroot\n", "old 1\n\nlog.test\n\nunsigned\n"] {
        assert!(AddCheckpoint::parse(body.as_bytes()).is_err(), "{body:?}");
    }
    assert_eq!(AddCheckpoint::parse(&[0xff; 40]), Err(MalformedRequest::NoCheckpoint));
    assert_eq!(AddCheckpoint::parse(b"old \xff\n\nlog"), Err(MalformedRequest::OldSize));
}
