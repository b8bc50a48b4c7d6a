//! The compiled form, and layers of it.

use proptest::prelude::*;

use super::*;

fn sample() -> RuntimePolicy {
    let mut builder = PolicyBuilder::new();
    for number in 0..200_u8 {
        let path = format!("/usr/{}/file{number}", number % 7);
        builder.allow_bytes(Table::Files, path.as_bytes(), &[number; 32]).unwrap();
    }
    builder.allow_bytes(Table::Keyrings, b".ima", &[7; 20]).unwrap();
    builder.exclude(["/tmp/".to_owned()]);
    builder.compile().unwrap()
}

#[test]
fn loading_gives_the_same_policy_under_the_same_name() {
    let policy = sample();
    let loaded = RuntimePolicy::load(policy.as_bytes()).unwrap();
    assert_eq!((loaded.id(), loaded.len(), content(&loaded)), (policy.id(), 201, content(&policy)));
    let name = openssl::sha::sha256(policy.as_bytes());
    assert_eq!(policy.id(), PolicyId(name));
}

#[test]
fn the_order_of_additions_does_not_change_the_name() {
    let mut builders = [PolicyBuilder::new(), PolicyBuilder::new()];
    for number in 0..100_u8 {
        for (builder, number) in builders.iter_mut().zip([number, 99 - number]) {
            let path = format!("/usr/{}/file{number}", number % 7);
            builder.allow_bytes(Table::Files, path.as_bytes(), &[number; 32]).unwrap();
            builder.allow_bytes(Table::Files, b"/many", &[number; 32]).unwrap();
        }
    }
    let [a, b] = builders.map(|builder| builder.compile().unwrap());
    assert_eq!(a.id(), b.id());
    assert_ne!(a.id(), sample().id());
}

#[test]
fn only_the_listed_digest_at_the_listed_path_in_the_listed_table_is_allowed() {
    let stack = stack(vec![sample()]).unwrap();
    assert_eq!(stack.look_up(Table::Files, b"/usr/3/file10", &[10; 32]), Lookup::Allowed);
    assert_eq!(stack.look_up(Table::Files, b"/usr/3/file10", &[11; 32]), Lookup::OtherDigest);
    assert_eq!(stack.look_up(Table::Files, b"/usr/3/file10", &[10; 20]), Lookup::OtherDigest);
    assert_eq!(stack.look_up(Table::Files, b"/usr/4/file10", &[10; 32]), Lookup::Unknown);
    assert_eq!(stack.look_up(Table::Buffers, b"/usr/3/file10", &[10; 32]), Lookup::Unknown);
    assert_eq!(stack.look_up(Table::Keyrings, b".ima", &[7; 20]), Lookup::Allowed);
    assert_eq!(stack.look_up(Table::Files, b"", &[0; 32]), Lookup::Unknown);
}

#[test]
fn an_empty_policy_allows_nothing() {
    let empty = PolicyBuilder::new().compile().unwrap();
    assert!(empty.is_empty());
    let stack = stack(vec![empty]).unwrap();
    assert_eq!(stack.look_up(Table::Files, b"/a", &[1; 32]), Lookup::Unknown);
    assert_eq!(stack.exclude(b"/a"), None);
}

#[test]
fn truncated_and_lengthened_forms_are_refused() {
    let bytes = sample().as_bytes().to_vec();
    for end in 0..bytes.len() {
        assert!(RuntimePolicy::load(&bytes[..end]).is_err(), "{end}");
    }
    assert!(RuntimePolicy::load([bytes.as_slice(), b" "].concat()).is_err());
}

/// Found by fuzzing: such a record was counted and never listed or looked up.
#[test]
fn a_record_of_a_table_that_is_not_there_is_refused() {
    let mut builder = PolicyBuilder::new();
    builder.allow_bytes(Table::Files, b"/usr/bin/true", &[7; 32]).unwrap();
    let mut bytes = builder.compile().unwrap().as_bytes().to_vec();
    let name = bytes.windows(4).position(|window| window == b"true").unwrap();
    let table = name - 8;
    for (number, whole) in [(1, true), (2, true), (3, false)] {
        bytes[table + 3] = number << 6;
        let loaded = RuntimePolicy::load(bytes.as_slice());
        assert_eq!(loaded.is_ok(), whole, "{number}");
        assert!(whole || matches!(loaded, Err(MalformedPolicy::Record { number: 0 })));
    }
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_anything_is_reserved() {
    let mut bytes = sample().as_bytes().to_vec();
    for at in 8..28 {
        let kept = bytes[at];
        bytes[at] = 0xff;
        assert!(RuntimePolicy::load(bytes.as_slice()).is_err(), "{at}");
        bytes[at] = kept;
    }
}

proptest! {
    #[test]
    fn changed_bytes_are_refused_or_change_the_name(changes in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4)) {
        let policy = sample();
        let mut bytes = policy.as_bytes().to_vec();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        if let Ok(changed) = RuntimePolicy::load(bytes.as_slice()) {
            prop_assert_eq!(changed.id() == policy.id(), bytes == policy.as_bytes());
            let _ = changed.entries().count();
            for (table, path, _) in policy.entries() {
                let _ = changed.find(table, &path, compiled::path_hash(&path));
            }
        }
    }

    #[test]
    fn every_path_is_found_again(paths in proptest::collection::hash_set("[a-z/]{0,12}", 0..200)) {
        let mut builder = PolicyBuilder::new();
        for path in &paths {
            builder.allow_bytes(Table::Files, path.as_bytes(), &[path.len().try_into().unwrap(); 32]).unwrap();
        }
        let stack = stack(vec![builder.compile().unwrap()]).unwrap();
        for path in &paths {
            let digest = [path.len().try_into().unwrap(); 32];
            prop_assert_eq!(stack.look_up(Table::Files, path.as_bytes(), &digest), Lookup::Allowed);
        }
    }
}

#[test]
fn paths_and_digest_counts_beyond_the_limits_are_named() {
    let mut builder = PolicyBuilder::new();
    builder.allow_bytes(Table::Files, &[b'a'; 4097], &[1; 32]).unwrap();
    assert!(matches!(builder.compile(), Err(CompileError::PathLimit { found: 4097, .. })));
    let mut builder = PolicyBuilder::new();
    for number in 0..=u32::from(u16::MAX) {
        let mut digest = [0; 20];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        builder.allow_bytes(Table::Files, b"boot_aggregate", &digest).unwrap();
    }
    assert!(matches!(builder.compile(), Err(CompileError::PathLimit { found: 65536, .. })));
}

#[test]
fn stacks_that_contradict_themselves_are_refused() {
    let sha256 =
        || compile(&serde_json::json!({"ima": {"ignored_keyrings": [], "log_hash_alg": "sha256", "dm_policy": null}}));
    let padded = || compile(&serde_json::json!({"x-attestry": {"pcr-extension": "danger-padded-sha1"}}));
    assert!(matches!(stack(vec![]), Err(StackRejected::Empty)));
    assert!(matches!(stack(vec![sample(), sha256().unwrap()]), Err(StackRejected::LogHash { .. })));
    assert!(matches!(stack(vec![sample(), padded().unwrap()]), Err(StackRejected::Extension { .. })));
    assert!(matches!(stack((0..17).map(|_| sample()).collect()), Err(StackRejected::TooMany { .. })));
    let padded_sha256 = compile(&serde_json::json!({
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha256", "dm_policy": null},
        "x-attestry": {"pcr-extension": "danger-padded-sha1"},
    }));
    assert!(matches!(padded_sha256, Err(CompileError::Rules { source: RulesError::Padding { .. } })));
}

#[test]
fn a_stacks_name_is_of_its_layers_and_their_order() {
    let other = || compile(&serde_json::json!({"digests": {"/a": [digest(1)]}})).unwrap();
    let ids = [
        stack(vec![sample()]).unwrap().id(),
        stack(vec![sample(), other()]).unwrap().id(),
        stack(vec![other(), sample()]).unwrap().id(),
    ];
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert_eq!(ids[1], stack(vec![sample(), other()]).unwrap().id());
}
