#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use ledger_protocol::Entry;
use ledger_protocol::body::{NamedPolicy, PolicyBody};
use messages::UnixMillis;

use super::*;

fn fleet<B: Body>(seq: u64, body: &B) -> Entry {
    Entry { kind: B::KIND, agent: None, seq, prev: Digest::ZERO, recorded: UnixMillis(5_000), body: body.encode() }
}

fn genesis() -> Entry {
    fleet(0, &Genesis { format: 1, origin: "o".into(), vkey: "v".into(), created: UnixMillis(0) })
}

fn no_blob(_: &Digest) -> Option<Vec<u8>> {
    None
}

#[test]
fn entries_come_one_after_the_other() {
    let mut history = History::new();
    let refused = history.push(1, &genesis(), Digest::ZERO, no_blob).unwrap_err();
    assert!(matches!(refused, PushError::Index { expected: 0, found: 1 }));
    history.push(0, &genesis(), Digest::ZERO, no_blob).unwrap();
    assert_eq!(history.size(), 1);
}

#[test]
fn a_missing_blob_stops_the_history_until_it_is_there() {
    let mut history = History::new();
    history.push(0, &genesis(), Digest::ZERO, no_blob).unwrap();
    let content = Some(Digest([4; 32]));
    let (role, name, actor) = (WITNESS_ROLE.to_owned(), "w".to_owned(), "a".to_owned());
    let policy = PolicyBody::Named(NamedPolicy { role, name, content, actor });
    history.push(1, &fleet(1, &policy), Digest::ZERO, no_blob).unwrap();
    let checkpoint = fleet(2, &CheckpointBody { tree_size: 2, note: Digest([5; 32]) });
    let before = history.snapshot();
    let missing = history.push(2, &checkpoint, Digest::ZERO, no_blob).unwrap_err();
    assert!(matches!(missing, PushError::Blob { digest, .. } if digest == Digest([4; 32])));
    assert_eq!(history.snapshot(), before, "nothing has changed");
    // A blob that is no policy is none: times stay claimed.
    history.push(2, &checkpoint, Digest::ZERO, |_| Some(b"no policy".to_vec())).unwrap();
    assert_eq!(history.clock(), Clock { seconds: 5, basis: Digest::ZERO });
}

#[test]
fn a_checkpoint_entry_that_does_not_grow_is_refused() {
    let mut history = History::new();
    history.push(0, &genesis(), Digest::ZERO, no_blob).unwrap();
    let checkpoint = |tree_size| fleet(1, &CheckpointBody { tree_size, note: Digest::ZERO });
    assert!(matches!(history.push(1, &checkpoint(2), Digest::ZERO, no_blob), Err(PushError::Checkpoint { .. })));
    history.push(1, &checkpoint(1), Digest::ZERO, no_blob).unwrap();
    assert!(matches!(history.push(2, &checkpoint(1), Digest::ZERO, no_blob), Err(PushError::Checkpoint { .. })));
}

#[test]
fn a_false_census_is_seen() {
    let mut history = History::new();
    history.push(0, &genesis(), Digest::ZERO, no_blob).unwrap();
    history.push(1, &fleet(1, &CheckpointBody { tree_size: 1, note: Digest::ZERO }), Digest::ZERO, no_blob).unwrap();
    let truth = history.census().head().body();
    let check = |history: &mut History, body: &CensusBody| {
        history.clone().push(2, &fleet(2, body), Digest::ZERO, no_blob).unwrap().census.unwrap().is_true()
    };
    assert!(check(&mut history, &truth));
    assert!(!check(&mut history, &CensusBody { root: Digest::ZERO, ..truth.clone() }));
    assert!(!check(&mut history, &CensusBody { epoch: 1, ..truth }));
}

#[test]
fn bytes_that_are_no_snapshot_are_refused() {
    let bytes = History::new().snapshot();
    History::restore(&bytes).unwrap();
    assert!(matches!(History::restore(&bytes[1..]), Err(SnapshotError::Form(_))));
    let mut other = bytes;
    other[1] = 2;
    assert!(matches!(History::restore(&other), Err(SnapshotError::Version { found: 2 })));
}
