#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::tree::{Branch, empty, over};
use super::*;

fn row(slot: u32, fails: u64, status: Status) -> CensusRow {
    let aggregate =
        Aggregate { quotes: 9, first: 1, last: 40 + fails, max_gap: 7, fails, misses: 1, resets: 1, late: 0 };
    let digest = Digest([u8::try_from(slot % 251).unwrap(); 32]);
    CensusRow { slot, agent: digest, status, last_index: 5, aggregate, root: digest, terms: digest }
}

/// The tree by its definition: the smallest power of two of slots, halves down to the leaves.
fn naive(rows: &[CensusRow]) -> Branch {
    fn subtree(rows: &[CensusRow], start: u32, size: u32) -> Branch {
        if size == 1 {
            let row = rows.iter().find(|row| row.slot == start);
            return row.map_or_else(|| empty(start), |row| (Sums::of(row), row.hash()));
        }
        over(&subtree(rows, start, size / 2), &subtree(rows, start + size / 2, size / 2))
    }
    subtree(rows, 0, u32::try_from(rows.len()).unwrap().max(1).next_power_of_two())
}

#[test]
fn the_tree_is_the_definitions_for_every_number_of_slots_to_70() {
    for slots in 0..=70 {
        let rows: Vec<_> = (0..slots).map(|slot| row(slot, u64::from(slot % 3), Status::Met)).collect();
        let census = Census::from_rows(1, 2, Clock::default(), rows.clone());
        assert_eq!(census.tree.top(), naive(&rows), "{slots} slots");
        let body = census.head().body();
        for slot in 0..slots + 2 {
            let opening = census.open(slot);
            assert_eq!(opening.verify(slot, &body).unwrap(), census.head());
            assert_eq!(opening.row.is_some(), slot < slots);
        }
    }
}

#[test]
fn sums_leave_the_retired_out_of_the_fleet_but_not_what_they_did() {
    let rows =
        vec![row(0, 2, Status::Met), row(1, 3, Status::Missed), row(2, 4, Status::Retired), row(3, 0, Status::Idle)];
    let sums = Census::from_rows(1, 0, Clock::default(), rows).head().sums;
    assert_eq!((sums.agents, sums.due, sums.missed), (3, 2, 1));
    assert_eq!((sums.oldest, sums.fails, sums.quotes, sums.worst_gap), (40, 9, 36, 7));
    assert_eq!(Sums::from_bytes(&sums.to_bytes()), sums);
}

#[test]
fn an_opening_of_another_slot_or_census_is_refused() {
    let rows: Vec<_> = (0..5).map(|slot| row(slot, 0, Status::Met)).collect();
    let census = Census::from_rows(1, 0, Clock::default(), rows.clone());
    let body = census.head().body();
    let opening = census.open(2);
    assert_eq!(opening.verify(3, &body), Err(OpeningRefused::Slot { expected: 3, found: 2 }));
    let taken_for_free = CensusOpening { row: None, path: vec![], top: Some(Digest::ZERO), ..opening.clone() };
    assert!(matches!(taken_for_free.verify(2, &body), Err(OpeningRefused::Form { .. })));
    let other = Census::from_rows(1, 0, Clock { seconds: 1, ..Clock::default() }, rows).head().body();
    assert!(matches!(opening.verify(2, &other), Err(OpeningRefused::Root { .. })));
    let mut longer = opening;
    longer.path.push((Sums::NONE, Digest::ZERO));
    assert!(matches!(longer.verify(2, &body), Err(OpeningRefused::Path { expected: 3, found: 4, .. })));
}

proptest! {
    #[test]
    fn changes_one_by_one_and_all_at_once_come_to_the_same(
        slots in 1..40u32, changes in prop::collection::vec((any::<u32>(), 0..9u64), 0..30),
    ) {
        let mut rows: Vec<_> = (0..slots).map(|slot| row(slot, 0, Status::Met)).collect();
        let mut census = Census::empty();
        for part in rows.chunks(7) {
            census.update(1, 0, Clock::default(), part);
        }
        for (slot, fails) in changes {
            let slot = slot % slots;
            let changed = row(slot, fails, Status::Missed);
            rows[slot as usize] = changed;
            census.update(1, 0, Clock::default(), &[changed]);
        }
        prop_assert_eq!(census.tree.top(), naive(&rows));
        prop_assert_eq!(census.head(), Census::from_rows(1, 0, Clock::default(), rows).head());
    }
}
