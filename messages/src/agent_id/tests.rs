#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn usual_ids_are_accepted() {
    for id in ["a", "d432fbb3-d2f1-4a97-9ef7-75bd81c00000", "host_1.example-2", &"f".repeat(80)] {
        assert_eq!(id.parse::<AgentId>().unwrap().as_str(), id);
        assert_eq!(AgentIdRef::parse(id).unwrap().to_id(), id.parse().unwrap());
    }
}

#[test]
fn ids_that_could_leave_their_place_are_refused() {
    for id in ["", ".", "..", "a/b", "a\nb", "a b", "\u{1b}[31m", "ä", "a\0", &"f".repeat(81)] {
        assert!(id.parse::<AgentId>().is_err(), "{id:?}");
    }
}

#[test]
fn a_map_by_id_is_asked_with_a_text() {
    let id: AgentId = "host-1".parse().unwrap();
    let known = std::collections::HashMap::from([(id, 7)]);
    assert_eq!(known.get("host-1"), Some(&7));
    assert_eq!(known.get("host-2"), None);
}

#[test]
fn a_bad_character_is_named_with_its_place() {
    for (text, offset, found) in [("ab/c", 2, '/'), ("abä", 2, 'ä')] {
        assert_eq!(text.parse::<AgentId>().unwrap_err(), AgentIdError::Character { offset, found });
    }
}
