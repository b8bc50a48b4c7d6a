#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::convert::Infallible;

use ledger_tlog::hash::{EMPTY_ROOT, leaf_hash};
use ledger_tlog::key::KeyName;
use ledger_tlog::signer::NoteSigner;
use ledger_tlog::tree::{consistency_proof, tree_head};

use super::*;
use crate::logs::Logs;

const NOW: PosixSeconds = PosixSeconds(1_800_000_000);

fn name(name: &str) -> KeyName {
    KeyName::new(name).unwrap()
}

fn signer() -> NoteSigner {
    NoteSigner::from_seed(name("log.test"), &[1; 32]).unwrap()
}

fn cosigner() -> Cosigner {
    Cosigner::from_seed(name("w.test"), &[2; 32]).unwrap()
}

fn log() -> Log {
    let mut logs = Logs::default();
    logs.add(&signer().verifier().to_string()).unwrap();
    logs.get("log.test").unwrap().clone()
}

/// Level 0 of the history `history`: two histories share no leaf.
fn read(history: &str) -> impl Fn(u8, u64, &mut [Hash]) -> Result<(), Infallible> {
    move |_, start, out| {
        for (index, hash) in (start..).zip(out) {
            *hash = leaf_hash(format!("{history} {index}").as_bytes());
        }
        Ok(())
    }
}

fn head(history: &str, size: u64) -> TreeHead {
    tree_head(size, read(history)).unwrap()
}

fn note(head: TreeHead) -> Note {
    Checkpoint::new("log.test", head).unwrap().sign(&signer()).unwrap()
}

fn request(history: &str, old: u64, new: u64) -> AddCheckpoint {
    let proof = if old == 0 || old > new {
        ConsistencyProof::default()
    } else {
        consistency_proof(old, new, read(history)).unwrap()
    };
    AddCheckpoint { old_size: old, proof, note: note(head(history, new)) }
}

fn ask(recorded: Option<&Recorded>, request: AddCheckpoint, now: PosixSeconds) -> Result<Recorded, Refusal> {
    let permit = decide(recorded, authenticate(&log(), request)?, now)?;
    Ok(permit.cosign(&cosigner()).unwrap().0)
}

fn recorded(size: u64) -> Recorded {
    ask(None, request("a", 0, size), NOW).unwrap()
}

#[test]
fn any_first_checkpoint_and_every_extension_is_cosigned() {
    for old in 0..20 {
        let held = recorded(old);
        for new in old..20 {
            let grown = ask(Some(&held), request("a", old, new), PosixSeconds(NOW.0 + 1)).unwrap();
            assert_eq!((*grown.tree_head(), grown.time()), (head("a", new), PosixSeconds(NOW.0 + 1)));
        }
    }
}

#[test]
fn the_answer_is_a_genuine_cosignature_with_the_time_of_the_decision() {
    let authentic = authenticate(&log(), request("a", 0, 7)).unwrap();
    let (recorded, answer) = decide(None, authentic, NOW).unwrap().cosign(&cosigner()).unwrap();
    let cosigned = format!("{}{answer}", note(head("a", 7)));
    let keys = [cosigner().verifier().clone()];
    let opened = Checkpoint::open(cosigned.as_bytes(), "log.test", signer().verifier(), &keys).unwrap();
    assert_eq!(opened.cosignatures().map(|cosignature| cosignature.time).collect::<Vec<_>>(), [NOW]);
    assert_eq!(recorded.note().to_string(), cosigned);
}

#[test]
fn an_old_size_beyond_the_new_one_is_refused() {
    let held = recorded(5);
    let error = ask(Some(&held), request("a", 5, 4), NOW).unwrap_err();
    assert_eq!(error, Refusal::OldBeyondNew { old: 5, new: 4 });
}

#[test]
fn another_old_size_than_the_recorded_one_is_answered_with_it() {
    let held = recorded(5);
    for old in [0, 1, 4, 6] {
        let error = ask(Some(&held), request("a", old, 7), NOW).unwrap_err();
        assert_eq!(error, Refusal::OtherSize { recorded: 5 });
    }
    assert_eq!(ask(None, request("a", 1, 7), NOW).unwrap_err(), Refusal::OtherSize { recorded: 0 });
}

#[test]
fn a_second_history_is_refused_at_any_size() {
    let held = recorded(5);
    let error = ask(Some(&held), request("b", 5, 5), NOW).unwrap_err();
    assert!(matches!(error, Refusal::Forked { size: 5, .. }), "{error}");
    for new in 6..20 {
        let error = ask(Some(&held), request("b", 5, new), NOW).unwrap_err();
        assert!(matches!(error, Refusal::Inconsistent { .. }), "{error}");
    }
}

#[test]
fn a_proof_from_nothing_must_be_empty() {
    let mut asked = request("a", 0, 7);
    asked.proof = ConsistencyProof::new(vec![EMPTY_ROOT]);
    assert_eq!(ask(None, asked, NOW).unwrap_err(), Refusal::ProofFromNothing { found: 1 });
}

#[test]
fn a_proof_too_short_too_long_or_altered_is_refused() {
    let held = recorded(5);
    let hashes = request("a", 5, 9).proof.into_hashes();
    let mut altered = hashes.clone();
    altered[0] = EMPTY_ROOT;
    let longer = [hashes.clone(), vec![EMPTY_ROOT]].concat();
    for wrong in [hashes[1..].to_vec(), longer, altered, Vec::new()] {
        let asked = AddCheckpoint { proof: ConsistencyProof::new(wrong), ..request("a", 5, 9) };
        let error = ask(Some(&held), asked, NOW).unwrap_err();
        assert!(matches!(error, Refusal::Inconsistent { .. }), "{error}");
    }
    // The same checkpoint again is fine, but not with a proof of anything.
    let again = AddCheckpoint { proof: ConsistencyProof::new(hashes), ..request("a", 5, 5) };
    assert!(matches!(ask(Some(&held), again, NOW), Err(Refusal::Inconsistent { .. })));
}

#[test]
fn only_a_key_of_the_log_makes_a_checkpoint_authentic() {
    let checkpoint = Checkpoint::new("log.test", head("a", 3)).unwrap();
    let stranger = NoteSigner::from_seed(name("log.test"), &[9; 32]).unwrap();
    let by_stranger = checkpoint.sign(&stranger).unwrap();
    let asked = AddCheckpoint { note: by_stranger.clone(), ..request("a", 0, 3) };
    assert!(matches!(ask(None, asked, NOW), Err(Refusal::Signature { .. })));
    // A second, unknown signature is passed over and not recorded.
    let mut both = checkpoint.sign(&signer()).unwrap();
    both.add_signatures(by_stranger.signatures().to_vec());
    let held = ask(None, AddCheckpoint { note: both, ..request("a", 0, 3) }, NOW).unwrap();
    let lines: Vec<_> = held.note().signatures().iter().map(|line| line.key_id).collect();
    assert_eq!(lines, [signer().verifier().id(), cosigner().verifier().id()]);
    // A forged one under a known key spoils the note.
    let mut forged = note(head("a", 3));
    let mut line = forged.signatures()[0].clone();
    line.signature[0] ^= 1;
    forged.add_signatures([line]);
    let asked = AddCheckpoint { note: forged, ..request("a", 0, 3) };
    assert!(matches!(ask(None, asked, NOW), Err(Refusal::Signature { .. })));
}

#[test]
fn a_signed_text_that_is_no_checkpoint_is_told_apart_from_a_false_empty_root() {
    let signed = |text: &str| {
        let mut note = Note::new(text.to_owned()).unwrap();
        note.sign(&signer()).unwrap();
        ask(None, AddCheckpoint { note, ..request("a", 0, 1) }, NOW).unwrap_err()
    };
    let root = head("a", 1).root.to_base64();
    assert!(matches!(signed(&format!("log.test\n0\n{root}\n")), Refusal::EmptyRoot { .. }));
    assert!(matches!(signed(&format!("log.test\n01\n{root}\n")), Refusal::Checkpoint { .. }));
    assert!(ask(None, request("a", 0, 0), NOW).is_ok());
}

#[test]
fn a_clock_that_has_gone_back_cosigns_nothing_until_it_has_caught_up() {
    let held = recorded(5);
    let before = PosixSeconds(NOW.0 - 1);
    let error = ask(Some(&held), request("a", 5, 6), before).unwrap_err();
    assert_eq!(error, Refusal::ClockBehind { last: NOW, now: before });
    assert!(ask(Some(&held), request("a", 5, 6), NOW).is_ok());
}

#[test]
fn a_record_is_read_back_only_as_this_witness_wrote_it() {
    let held = recorded(5);
    let bytes = held.note().to_bytes();
    let witness = cosigner().verifier().clone();
    assert_eq!(Recorded::parse(&bytes, &witness, "log.test"), Ok(held));
    let other = Cosigner::from_seed(name("w.test"), &[3; 32]).unwrap();
    assert!(matches!(Recorded::parse(&bytes, other.verifier(), "log.test"), Err(RecordFlaw::Cosignature { .. })));
    assert!(matches!(Recorded::parse(&bytes, &witness, "other.test"), Err(RecordFlaw::Origin { .. })));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let read = Recorded::parse(&damaged, &witness, "log.test");
        let harmless = read.as_ref().is_ok_and(|read| *read.tree_head() == head("a", 5) && read.time() == NOW);
        assert!(read.is_err() || harmless, "byte {at}");
    }
}
