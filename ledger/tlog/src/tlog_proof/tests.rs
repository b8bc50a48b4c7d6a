#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_vectors::tlog;
use proptest::prelude::*;

use super::*;
use crate::hash::leaf_hash;

fn verifier(key: &str) -> NoteVerifier {
    tlog::vkey(key).parse().unwrap()
}

fn quorum(threshold: usize) -> WitnessQuorum {
    let witnesses = ["witness1", "witness2", "witness3"].map(verifier);
    WitnessQuorum::of(threshold, witnesses.to_vec()).unwrap()
}

fn leaf() -> Hash {
    leaf_hash(&tlog::entry(77))
}

fn text() -> String {
    String::from_utf8(tlog::TLOG_PROOF_77.to_vec()).unwrap()
}

#[test]
fn the_recorded_proof_verifies_with_as_many_witnesses_as_cosigned() {
    let proof = TlogProof::parse(tlog::TLOG_PROOF_77).unwrap();
    assert_eq!(proof.to_string(), text());
    let log = verifier("log");
    proof.verify(&leaf(), tlog::ORIGIN, &log, &WitnessQuorum::none()).unwrap();
    let checkpoint = proof.verify(&leaf(), tlog::ORIGIN, &log, &quorum(2)).unwrap();
    assert_eq!(checkpoint.tree_head().tree_size, 300);
    let missed = TlogProofRejected::Quorum { source: QuorumMissed { cosigned: 2, known: 3, unverifiable: 0 } };
    assert_eq!(proof.verify(&leaf(), tlog::ORIGIN, &log, &quorum(3)), Err(missed));
}

#[test]
fn another_leaf_index_origin_or_key_is_refused() {
    let proof = TlogProof::parse(tlog::TLOG_PROOF_77).unwrap();
    let (log, none) = (verifier("log"), WitnessQuorum::none());
    let other_leaf = leaf_hash(&tlog::entry(78));
    let rejected = proof.verify(&other_leaf, tlog::ORIGIN, &log, &none);
    assert!(matches!(rejected, Err(TlogProofRejected::Inclusion { .. })));
    let moved = TlogProof { index: 78, ..proof.clone() };
    let rejected = moved.verify(&leaf(), tlog::ORIGIN, &log, &none);
    assert!(matches!(rejected, Err(TlogProofRejected::Inclusion { .. })));
    let rejected = proof.verify(&leaf(), "elsewhere", &log, &none);
    assert!(matches!(rejected, Err(TlogProofRejected::Checkpoint { .. })));
    let rejected = proof.verify(&leaf(), tlog::ORIGIN, &verifier("other"), &none);
    assert!(matches!(rejected, Err(TlogProofRejected::Checkpoint { .. })));
}

#[test]
fn extra_data_are_carried() {
    let with_extra = text().replace("index 77\n", "extra YWJj\nindex 77\n");
    let proof = TlogProof::parse(with_extra.as_bytes()).unwrap();
    assert_eq!(proof.extra.as_deref(), Some(b"abc".as_slice()));
    assert_eq!(proof.to_string(), with_extra);
}

#[test]
fn malformed_proofs_are_refused_by_line() {
    let refused = |from: &str, to: &str| {
        let altered = text().replacen(from, to, 1);
        assert_ne!(altered, text());
        TlogProof::parse(altered.as_bytes()).unwrap_err()
    };
    assert_eq!(refused("@v1", "@v2"), MalformedTlogProof::Header);
    assert_eq!(refused("index 77", "index 077"), MalformedTlogProof::Index);
    assert_eq!(refused("index 77", "Index 77"), MalformedTlogProof::Index);
    assert_eq!(refused("index 77\n", ""), MalformedTlogProof::Index);
    assert!(matches!(refused("index", "extra !\nindex"), MalformedTlogProof::Extra { .. }));
    let twice = refused("index", "extra YWJj\nextra YWJj\nindex");
    assert_eq!(twice, MalformedTlogProof::Index);
    let hash = refused("index 77\n", "index 77\nAAAA\n");
    assert!(matches!(hash, MalformedTlogProof::Hash { position: 0, .. }));
    let (head, _) = tlog::TLOG_PROOF_77.split_at(text().find("\n\n").unwrap());
    assert_eq!(TlogProof::parse(head), Err(MalformedTlogProof::NoCheckpoint));
    let line = format!("{}\n", leaf().to_base64());
    let many = format!("index 77\n{}", line.repeat(TLOG_PROOF_HASHES_MAX));
    assert_eq!(refused("index 77\n", &many), MalformedTlogProof::TooManyHashes);
    let note = refused("\u{2014}", "-");
    assert!(matches!(note, MalformedTlogProof::Checkpoint { .. }));
    let long = vec![b'a'; TLOG_PROOF_BYTES_MAX + 1];
    let found = long.len();
    assert_eq!(TlogProof::parse(&long), Err(MalformedTlogProof::TooLong { found }));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = tlog::TLOG_PROOF_77.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let believed = TlogProof::parse(&bytes).is_ok_and(|proof| {
            proof.verify(&leaf(), tlog::ORIGIN, &verifier("log"), &quorum(2)).is_ok()
        });
        prop_assert!(!believed);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), lines in "(extra .{0,9}\n)?index [0-9]{0,3}\n(.{0,44}\n){0,3}\n(.|\n){0,50}") {
        let _ = TlogProof::parse(&bytes);
        let _ = TlogProof::parse(format!("{HEADER}\n{lines}").as_bytes());
    }
}
