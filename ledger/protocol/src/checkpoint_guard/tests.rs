#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::convert::Infallible;

use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::tree::{consistency_proof, root_of};

use super::*;

fn leaves(count: u8) -> Vec<Hash> {
    (0..count).map(|leaf| leaf_hash(&[leaf])).collect()
}

fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { tree_size: leaves.len() as u64, root: root_of(leaves) }
}

fn proof(old: u64, leaves: &[Hash]) -> ConsistencyProof {
    let read = |_: u8, start: u64, out: &mut [Hash]| {
        let start = usize::try_from(start).unwrap();
        out.copy_from_slice(&leaves[start..start + out.len()]);
        Ok::<_, Infallible>(())
    };
    consistency_proof(old, leaves.len() as u64, read).unwrap()
}

fn guard() -> CheckpointGuard {
    let mut guard = CheckpointGuard::new("log.test", TreeHead::EMPTY, UnixMillis(10)).unwrap();
    guard.next(head(&leaves(3)), &ConsistencyProof::default(), UnixMillis(10)).unwrap();
    guard
}

#[test]
fn a_grown_tree_is_signed() {
    let mut guard = guard();
    let now = leaves(7);
    let checkpoint = guard.next(head(&now), &proof(3, &now), UnixMillis(11)).unwrap();
    assert_eq!(checkpoint.tree_head(), &head(&now));
    assert_eq!(guard.last(), &head(&now));
}

#[test]
fn a_tree_that_has_not_grown_is_not_signed() {
    let mut guard = guard();
    for size in 0..=3 {
        let refused = guard.next(head(&leaves(size)), &ConsistencyProof::default(), UnixMillis(11)).unwrap_err();
        assert_eq!(refused, CheckpointRefused::NotGrown { last: 3, found: size.into() });
    }
}

#[test]
fn another_history_is_not_signed_and_changes_nothing() {
    let mut guard = guard();
    let mut other = leaves(7);
    other[1] = leaf_hash(b"other");
    let refused = guard.next(head(&other), &proof(3, &other), UnixMillis(11)).unwrap_err();
    assert!(matches!(refused, CheckpointRefused::Inconsistent { size: 3, .. }));
    let now = leaves(7);
    assert!(guard.next(head(&now), &proof(3, &now), UnixMillis(11)).is_ok());
}

#[test]
fn a_clock_that_went_back_signs_nothing() {
    let now = leaves(7);
    let refused = guard().next(head(&now), &proof(3, &now), UnixMillis(9)).unwrap_err();
    assert_eq!(refused, CheckpointRefused::Clock { last: UnixMillis(10), now: UnixMillis(9) });
}
