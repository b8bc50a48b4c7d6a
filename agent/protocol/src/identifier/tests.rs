#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn the_three_options_are_told_apart() {
    assert_eq!(IdOption::parse("generate").unwrap(), IdOption::Generate);
    assert_eq!(IdOption::parse("hash_ek").unwrap(), IdOption::HashEk);
    assert_eq!(IdOption::parse("node-1.site").unwrap(), IdOption::Literal("node-1.site".parse().unwrap()));
}

#[test]
fn a_uuid_is_taken_in_lower_case_and_other_ids_as_they_are() {
    let parsed = IdOption::parse("D432FBB3-D2F1-4A97-9EF7-75BD81C00000").unwrap();
    assert_eq!(parsed, IdOption::Literal("d432fbb3-d2f1-4a97-9ef7-75bd81c00000".parse().unwrap()));
    assert_eq!(IdOption::parse("Node").unwrap(), IdOption::Literal("Node".parse().unwrap()));
}

#[test]
fn an_id_with_a_slash_or_line_break_is_refused() {
    assert!(IdOption::parse("a/b").is_err());
    assert!(IdOption::parse("a\nb").is_err());
    assert!(IdOption::parse("").is_err());
}

#[test]
fn a_random_uuid_has_version_and_variant() {
    assert_eq!(random_uuid([0xff; 16]).unwrap().as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_eq!(random_uuid([0; 16]).unwrap().as_str(), "00000000-0000-4000-8000-000000000000");
}

#[test]
fn the_ek_names_the_agent_by_sha256() {
    let id = hash_of_ek("").unwrap();
    assert_eq!(id.as_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
