#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use fixtures_vectors::tlog::{self, CheckpointVerdict};
use proptest::prelude::*;

use super::*;
use crate::signer::Cosigner;

fn verifier(key: &str) -> NoteVerifier {
    tlog::vkey(key).parse().unwrap()
}

fn witnesses() -> [NoteVerifier; 3] {
    ["witness1", "witness2", "witness3"].map(verifier)
}

fn verdict(result: &Result<AuthenticCheckpoint, CheckpointRejected>) -> CheckpointVerdict {
    match result {
        Ok(checkpoint) => CheckpointVerdict::Authentic {
            tree_size: checkpoint.tree_head().tree_size,
            cosignatures: checkpoint.cosignatures().count(),
        },
        Err(CheckpointRejected::Malformed { .. }) => CheckpointVerdict::MalformedCheckpoint,
        Err(CheckpointRejected::MalformedNote { .. }) => CheckpointVerdict::MalformedNote,
        Err(CheckpointRejected::NotSignedByLog { .. }) => CheckpointVerdict::NotSignedByLog,
        Err(CheckpointRejected::Origin { .. }) => CheckpointVerdict::OtherOrigin,
        Err(CheckpointRejected::Signature { source }) => match source {
            NoteRejected::NoKnownSignature { .. } => CheckpointVerdict::NoKnownSignature,
            _ => CheckpointVerdict::Forged,
        },
    }
}

#[test]
fn recorded_checkpoints_get_the_recorded_verdicts() {
    for vector in tlog::CHECKPOINTS {
        let result = Checkpoint::open(vector.note, tlog::ORIGIN, &verifier("log"), &witnesses());
        assert_eq!(verdict(&result), vector.verdict, "{}: {result:?}", vector.name);
        if let Ok(checkpoint) = result {
            assert_eq!(checkpoint.note_digest(), Hash::digest(vector.note));
            let (_, root) = tlog::roots().find(|(size, _)| *size == checkpoint.tree_head().tree_size).unwrap();
            assert_eq!(checkpoint.tree_head().root.to_string(), root);
        }
    }
}

#[test]
fn we_sign_and_cosign_as_recorded_byte_for_byte() {
    let (_, root) = tlog::roots().last().unwrap();
    let head = TreeHead { tree_size: tlog::ENTRIES, root: Hash::from_hex(root).unwrap() };
    let seed = |label| *Hash::digest(label).as_bytes();
    let name = |name| KeyName::new(name).unwrap();
    let log = NoteSigner::from_seed(name(tlog::ORIGIN), &seed(tlog::LOG_KEY_LABEL)).unwrap();
    let mut note = Checkpoint::new(tlog::ORIGIN, head).unwrap().sign(&log).unwrap();
    let witnesses = [
        ("witness1.attestry.example", tlog::WITNESS_1_KEY_LABEL),
        ("witness2.attestry.example", tlog::WITNESS_2_KEY_LABEL),
    ];
    for (time, (witness, label)) in (tlog::COSIGNED_AT..).zip(witnesses) {
        let cosigner = Cosigner::from_seed(name(witness), &seed(label)).unwrap();
        note.cosign(&cosigner, PosixSeconds(time)).unwrap();
    }
    assert_eq!(String::from_utf8_lossy(&note.to_bytes()), String::from_utf8_lossy(tlog::COSIGNED_300));
}

#[test]
fn cosignature_times_are_those_of_the_witnesses() {
    let checkpoint = Checkpoint::open(tlog::COSIGNED_300, tlog::ORIGIN, &verifier("log"), &witnesses()).unwrap();
    let times: Vec<_> = checkpoint.cosignatures().map(|cosignature| cosignature.time.0).collect();
    assert_eq!(times, [tlog::COSIGNED_AT, tlog::COSIGNED_AT + 1]);
    let unwitnessed = Checkpoint::open(tlog::COSIGNED_300, tlog::ORIGIN, &verifier("log"), &[]).unwrap();
    assert_eq!(unwitnessed.cosignatures().count(), 0, "unknown witnesses do not count");
}

#[test]
fn malformed_texts_are_refused_by_line() {
    let root = EMPTY_ROOT.to_base64();
    let parse = |text: &str| Checkpoint::parse(text).unwrap_err();
    Checkpoint::parse(&format!("log\n0\n{root}\n")).unwrap();
    let extended = Checkpoint::parse(&format!("log\n7\n{root}\nmore\nand more\n")).unwrap();
    assert_eq!(extended.extensions(), ["more", "and more"]);

    assert_eq!(parse(&format!("log\n0\n{root}")), MalformedCheckpoint::TextEnd);
    assert_eq!(parse(&format!("\n0\n{root}\n")), MalformedCheckpoint::Origin);
    assert_eq!(parse("log\n0\n"), MalformedCheckpoint::Lines { found: 2 });
    assert_eq!(parse("\n"), MalformedCheckpoint::Lines { found: 1 });
    assert_eq!(parse(&format!("log\n7\n{root}\n\n")), MalformedCheckpoint::EmptyExtension);
    for size in ["", "00", "01", "+1", "-1", " 1", "1 ", "0x1", "1e3", "18446744073709551616"] {
        let found = size.to_owned();
        assert_eq!(parse(&format!("log\n{size}\n{root}\n")), MalformedCheckpoint::TreeSize { found });
    }
    let cut = root.trim_end_matches('=');
    assert!(matches!(parse(&format!("log\n1\n{cut}\n")), MalformedCheckpoint::Root { .. }));
    let found = Hash::digest(b"x");
    let root = found.to_base64();
    assert_eq!(parse(&format!("log\n0\n{root}\n")), MalformedCheckpoint::EmptyTreeRoot { found });
}

proptest! {
    #[test]
    fn checkpoints_read_back(origin in "[^\\p{Cc}]{1,30}", tree_size in any::<u64>(), root in any::<[u8; 32]>()) {
        let root = if tree_size == 0 { EMPTY_ROOT } else { Hash::from_bytes(root) };
        let checkpoint = Checkpoint::new(&origin, TreeHead { tree_size, root }).unwrap();
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()).unwrap(), checkpoint);
    }

    #[test]
    fn arbitrary_texts_never_panic_and_what_parses_reads_back(text in "[a-z]{0,3}\n[0-9]{0,21}\n[A-Za-z0-9+/]{42,43}=?\n(.{0,3}\n){0,2}", any in "(.|\n){0,80}") {
        for text in [text, any] {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }
    }
}
