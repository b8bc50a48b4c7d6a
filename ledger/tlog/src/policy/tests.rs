#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_vectors::tlog;
use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::key::KeyName;
use crate::signer::{Cosigner, NoteSigner};
use crate::tree::TreeHead;

fn vkey(key: &str) -> &'static str {
    tlog::vkey(key)
}

fn witness(number: u8) -> String {
    format!("witness w{number} {}\n", vkey(&format!("witness{number}")))
}

fn three() -> String {
    [1, 2, 3].map(witness).concat()
}

/// The checkpoint of all entries, cosigned by witnesses 1 and 2 of those in the policy.
fn opened(quorum: &WitnessQuorum) -> AuthenticCheckpoint {
    let witnesses: Vec<NoteVerifier> = quorum.witnesses().cloned().collect();
    let log = vkey("log").parse().unwrap();
    Checkpoint::open(tlog::COSIGNED_300, tlog::ORIGIN, &log, &witnesses).unwrap()
}

fn is_met(policy: &str) -> bool {
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    policy.quorum().check(&opened(policy.quorum())).is_ok()
}

fn refused(policy: &str) -> MalformedPolicyLine {
    match Policy::parse(policy.as_bytes()).unwrap_err() {
        MalformedPolicy::Line { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn the_recorded_policy_is_met_by_the_recorded_checkpoint() {
    let policy = Policy::parse(tlog::POLICY_TWO_OF_THREE).unwrap();
    assert_eq!(policy.logs().len(), 1);
    assert_eq!(policy.logs()[0].name().as_str(), tlog::ORIGIN);
    policy.quorum().check(&opened(policy.quorum())).unwrap();
}

#[test]
fn quorums_count_members_of_groups() {
    let three = three();
    assert!(is_met("quorum none\n"));
    assert!(is_met(&format!("{three}quorum w1\n")));
    assert!(!is_met(&format!("{three}quorum w3\n")));
    assert!(is_met(&format!("{three}group g any w3 w2\nquorum g\n")));
    assert!(!is_met(&format!("{three}group g all w3 w2\nquorum g\n")));
    assert!(is_met(&format!("{three}group g 2 w3 w2 w1\nquorum g\n")));
    assert!(!is_met(&format!("{three}group g 3 w3 w2 w1\nquorum g\n")));
    let nested = "group g any w1 w3\ngroup h all g w2\n";
    assert!(is_met(&format!("{three}{nested}quorum h\n")));
    let unmet = "group g all w1 w3\ngroup h all g w2\n";
    assert!(!is_met(&format!("{three}{unmet}quorum h\n")));
}

#[test]
fn white_space_comments_and_urls_are_allowed() {
    let text = format!(
        "\t# c\u{f6}mment\n\n log\t{}  https://log.example/ \n  {}quorum w1",
        vkey("log"),
        witness(1).replace('\n', " https://w.example/\n"),
    );
    assert!(is_met(&text));
}

#[test]
fn malformed_policies_are_refused_by_kind() {
    use MalformedPolicyLine as Bad;
    let three = three();
    let (w1, w2) = (vkey("witness1"), vkey("witness2"));
    assert!(matches!(Policy::parse(b""), Err(MalformedPolicy::NoQuorum)));
    assert!(matches!(refused("quorum none\r\n"), Bad::Control { found: b'\r' }));
    assert!(matches!(refused("quorum none\nquorum none\n"), Bad::SecondQuorum));
    assert!(matches!(refused("quorum w1\n"), Bad::UnknownName { .. }));
    assert!(matches!(refused("quorum\n"), Bad::Shape));
    assert!(matches!(refused("Quorum none\n"), Bad::Shape));
    assert!(matches!(refused("log\n"), Bad::Shape));
    assert!(matches!(refused("log a+b\n"), Bad::Key { .. }));
    assert!(matches!(refused(&format!("log {w1}\n")), Bad::KeyKind { .. }));
    assert!(matches!(refused(&format!("witness w {}\n", vkey("log"))), Bad::KeyKind { .. }));
    let log = format!("log {}\n", vkey("log"));
    assert!(matches!(refused(&log.repeat(2)), Bad::DuplicateKey { .. }));
    assert!(matches!(refused(&format!("{three}witness w {w1}\n")), Bad::DuplicateKey { .. }));
    let same_name = format!("{}witness w1 {w2}\n", witness(1));
    assert!(matches!(refused(&same_name), Bad::DuplicateName { .. }));
    assert!(matches!(refused(&format!("witness none {w1}\n")), Bad::DuplicateName { .. }));
    assert!(matches!(refused(&format!("{three}group g any g\n")), Bad::UnknownName { .. }));
    assert!(matches!(refused(&format!("{three}group g any w1 w1\n")), Bad::MemberTwice { .. }));
    let shared = "group g any w1\ngroup h any w1\n";
    assert!(matches!(refused(&format!("{three}{shared}")), Bad::MemberTwice { .. }));
    for threshold in ["0", "4", "01", "-1", "some", "18446744073709551616"] {
        let group = format!("{three}group g {threshold} w1 w2 w3\n");
        assert!(matches!(refused(&group), Bad::Threshold { members: 3 }), "{threshold}");
    }
    assert!(matches!(refused(&format!("{three}group g any\n")), Bad::Threshold { members: 0 }));
}

#[test]
fn a_quorum_of_no_or_repeated_witnesses_is_refused() {
    let witness: NoteVerifier = vkey("witness1").parse().unwrap();
    let twice = vec![witness.clone(), witness.clone()];
    let refused = WitnessQuorum::of(1, twice).unwrap_err();
    assert!(matches!(refused, MalformedPolicyLine::DuplicateKey { .. }));
    let refused = WitnessQuorum::of(0, vec![witness.clone()]).unwrap_err();
    assert!(matches!(refused, MalformedPolicyLine::Threshold { members: 1 }));
    let refused = WitnessQuorum::of(2, vec![witness]).unwrap_err();
    assert!(matches!(refused, MalformedPolicyLine::Threshold { members: 1 }));
    let log = vec![vkey("log").parse().unwrap()];
    let refused = WitnessQuorum::of(1, log).unwrap_err();
    assert!(matches!(refused, MalformedPolicyLine::KeyKind { .. }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        lines in "((log|witness|group|quorum|#)( [a-z0-9+]{1,4}){0,5}\n){0,6}",
    ) {
        let _ = Policy::parse(&bytes);
        let _ = Policy::parse(lines.as_bytes());
    }
}

/// A checkpoint cosigned at these times by witnesses with keys of their own, and the policy `threshold` of them.
fn bounds(times: &[u64], threshold: usize) -> Option<(u64, u64)> {
    let log = NoteSigner::from_seed(KeyName::new("log.example/times").unwrap(), &[1; 32]).unwrap();
    let head = TreeHead { tree_size: 1, root: Hash::digest(b"root") };
    let mut note = Checkpoint::new("log.example/times", head).unwrap().sign(&log).unwrap();
    let mut keys = Vec::new();
    for (number, time) in (2u8..).zip(times) {
        let name = KeyName::new(&format!("witness.example/w{number}")).unwrap();
        let witness = Cosigner::from_seed(name, &[number; 32]).unwrap();
        note.cosign(&witness, PosixSeconds(*time)).unwrap();
        keys.push(witness.verifier().clone());
    }
    let absent = Cosigner::from_seed(KeyName::new("witness.example/absent").unwrap(), &[99; 32]).unwrap();
    keys.push(absent.verifier().clone());
    let quorum = WitnessQuorum::of(threshold, keys.clone()).unwrap();
    let opened = Checkpoint::open(&note.to_bytes(), "log.example/times", log.verifier(), &keys).unwrap();
    quorum.time_bounds(&opened).map(|bounds| (bounds.not_before.0, bounds.not_after.0))
}

#[test]
fn times_are_the_kth_largest_and_the_kth_smallest() {
    assert_eq!(bounds(&[30, 10, 20], 1), Some((30, 10)));
    assert_eq!(bounds(&[30, 10, 20], 2), Some((20, 20)));
    assert_eq!(bounds(&[30, 10, 20], 3), Some((10, 30)));
    // One liar far ahead and one far behind move nothing beyond an honest witness's time.
    assert_eq!(bounds(&[1, 100, 101, 9_999], 2), Some((101, 100)));
    assert_eq!(bounds(&[30, 10, 20], 4), None);
    assert!(!WitnessQuorum::none().asks());
}
