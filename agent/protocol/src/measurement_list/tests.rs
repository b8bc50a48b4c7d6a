#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

/// Reads as the daemon does: from the nearest mark, and from the start when told to.
fn ask(index: &mut ListIndex, list: &[u8], wanted: u64) -> (u64, Vec<u8>) {
    let mut wanted = wanted;
    for _ in 0..2 {
        let mark = index.nearest(wanted);
        let read = list.get(usize::try_from(mark.read_from()).unwrap()..).unwrap_or_default();
        match index.increment(mark, read, wanted) {
            Increment::Text { entry, range } => return (entry, read[range].to_vec()),
            Increment::StartOver => wanted = 0,
        }
    }
    panic!("entry 0 is always found");
}

#[test]
fn increments_follow_each_other() {
    let mut index = ListIndex::default();
    assert_eq!(ask(&mut index, b"a\nbb\nccc\n", 0), (0, b"a\nbb\nccc\n".to_vec()));
    assert_eq!(ask(&mut index, b"a\nbb\nccc\n", 3), (3, Vec::new()));
    assert_eq!(ask(&mut index, b"a\nbb\nccc\nd\n", 3), (3, b"d\n".to_vec()));
    assert_eq!(ask(&mut index, b"a\nbb\nccc\nd\n", 1), (1, b"bb\nccc\nd\n".to_vec()));
}

#[test]
fn an_entry_beyond_the_end_is_answered_from_the_start() {
    let mut index = ListIndex::default();
    assert_eq!(ask(&mut index, b"a\nb\n", 3), (0, b"a\nb\n".to_vec()));
    assert_eq!(ask(&mut index, b"", 1), (0, Vec::new()));
}

#[test]
fn a_line_still_being_written_is_left_out() {
    let mut index = ListIndex::default();
    assert_eq!(ask(&mut index, b"a\nhalf", 0), (0, b"a\n".to_vec()));
    assert_eq!(ask(&mut index, b"a\nhalf done\n", 1), (1, b"half done\n".to_vec()));
}

#[test]
fn a_replaced_list_is_noticed() {
    let mut index = ListIndex::default();
    ask(&mut index, b"aaaa\nbbbb\n", 0);
    assert_eq!(ask(&mut index, b"cc\ndddddddddddd\n", 2), (0, b"cc\ndddddddddddd\n".to_vec()));
    assert_eq!(ask(&mut index, b"x\n", 2), (0, b"x\n".to_vec()));
}

#[test]
fn at_most_32_places_are_kept() {
    let list: Vec<u8> = b"x\n".repeat(100);
    let mut index = ListIndex::default();
    for wanted in 0..100 {
        ask(&mut index, &list, wanted);
    }
    assert_eq!(index.marks.len(), 32);
}

proptest! {
    #[test]
    fn any_order_of_questions_is_answered_as_without_an_index(
        lines in prop::collection::vec("[a-z]{0,5}", 0..50),
        questions in prop::collection::vec((0u64..60, 0usize..50), 1..40),
    ) {
        let mut index = ListIndex::default();
        let mut length = 0;
        for (wanted, growth) in questions {
            length = (length + growth).min(lines.len());
            let list: String = lines[..length].iter().map(|line| format!("{line}\n")).collect();
            let entries = u64::try_from(length).unwrap();
            let start = if wanted <= entries { wanted } else { 0 };
            let expected: String = lines[usize::try_from(start).unwrap()..length].iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(ask(&mut index, list.as_bytes(), wanted), (start, expected.into_bytes()));
        }
    }
}
