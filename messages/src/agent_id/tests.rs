#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn usual_ids_are_accepted() {
    for id in ["a", "d432fbb3-d2f1-4a97-9ef7-75bd81c00000", "host_1.example-2", &"f".repeat(80)] {
        assert_eq!(id.parse::<AgentId>().unwrap().as_str(), id);
    }
}

#[test]
fn ids_that_could_leave_their_place_are_refused() {
    for id in ["", ".", "..", "a/b", "a\nb", "a b", "\u{1b}[31m", "ä", "a\0", &"f".repeat(81)] {
        assert!(id.parse::<AgentId>().is_err(), "{id:?}");
    }
}

#[test]
fn a_bad_character_is_named_with_its_place() {
    let error = "ab/c".parse::<AgentId>().unwrap_err();
    assert_eq!(error, AgentIdError::Character { offset: 2, found: '/' });
}
