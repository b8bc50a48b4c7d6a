#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn a_member_twice_is_refused_at_every_depth_and_by_its_unescaped_name() {
    for text in [
        r#"{"a": 1, "a": 1}"#,
        r#"{"a": 1, "\u0061": 2}"#,
        r#"{"x": {"a": [], "b": 1, "a": []}}"#,
        r#"{"x": [1, {"a": null, "a": null}]}"#,
    ] {
        let error = object(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("duplicate member \"a\" at line 1"), "{text}: {error}");
    }
    assert!(serde_json::from_str::<UniqueMap<u8>>(r#"{"a": 1, "a": 1}"#).is_err());
}

#[test]
fn values_without_doubled_members_are_what_other_readers_read() {
    let text = r#"{"a": [1, -1, 1.5, "t", null, true], "b": {"a": {}, "b": [[]]}, "c": 18446744073709551615}"#;
    let read: Map<String, Value> = serde_json::from_str(text).unwrap();
    assert_eq!(object(text.as_bytes()).unwrap(), read);
    let map: UniqueMap<u8> = serde_json::from_str(r#"{"b": 1, "a": 2}"#).unwrap();
    assert_eq!(map.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert!(object(b"[]").is_err() && object(b"{} x").is_err());
}
