//! What the commands say and how they exit.

use std::{fs, process::Command};

use ledger_protocol::{
    Entry, Kind,
    body::{Body, CensusBody, CheckpointBody, Maintenance, TimestampBody},
};
use messages::{Digest, UnixMillis};
use tempfile::TempDir;

use crate::process::{program, run, text};

fn attestry(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(Command::new(program("attestry")).args(arguments));
    (output.status.code(), text(&output))
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["frobnicate"][..],
        &["tenant", "add"],
        &["tenant", "status", "a/b"],
        &["tenant", "add", "node-1", "--label", "role"],
        &["inspect", "quote"],
        &["tenant", "add", "node-1", "--tpm-policy", "{"],
        &["tenant", "add", "node-1", "--tpm-policy", "[]"],
    ] {
        let (code, said) = attestry(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
}

#[test]
fn a_site_that_does_not_run_is_an_error_with_a_remedy() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().to_str().unwrap();
    let (code, said) = attestry(&["tenant", "status", "node-1", "--data", data]);
    assert_eq!(code, Some(1));
    assert!(said.contains("remedy: start the site with: attestry up"), "{said}");
    let (code, said) = attestry(&["ledger", "--data", data, "fsck"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("remedy"), "{said}");
}

#[test]
fn help_of_every_command_has_a_sentence_and_exits_with_0() {
    for arguments in [
        &["--help"][..],
        &["up", "--help"],
        &["tenant", "--help"],
        &["tenant", "add", "--help"],
        &["trust", "--help"],
        &["ledger", "--help"],
        &["inspect", "--help"],
    ] {
        let (code, said) = attestry(arguments);
        assert_eq!(code, Some(0), "{arguments:?}");
        assert!(said.contains("Usage: attestry"), "{said}");
    }
}

#[test]
fn files_that_are_not_what_they_should_be_are_named_and_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("noise");
    fs::write(&file, [0x87, 0x01, 0xff]).unwrap();
    let path = file.to_str().unwrap();
    for what in ["quote", "ek-cert", "entry"] {
        let (code, said) = attestry(&["inspect", what, path]);
        assert_eq!(code, Some(1), "{what}");
        assert!(said.contains("cannot read this as") && said.contains("remedy: expected"), "{said}");
    }
    let (code, said) = attestry(&["trust", "add", path, "--data", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("remedy"), "{said}");
    assert!(!folder.path().join("trust").exists(), "a refused file left something behind");
}

#[test]
fn entries_about_checkpoints_are_shown_in_words() {
    let digest = Digest([7; 32]);
    let checkpoint = CheckpointBody { tree_size: 41, note: digest }.encode();
    let (tsa, gen_time) = ("tsa1".to_owned(), UnixMillis(1_800_000_000_000));
    let stamp = TimestampBody { tree_size: 41, note: digest, token: digest, tsa, gen_time }.encode();
    let folder = TempDir::new().unwrap();
    for (kind, body, said_too) in [(Kind::Checkpoint, checkpoint, "note: "), (Kind::Timestamp, stamp, "tsa: tsa1")] {
        let entry = Entry { kind, agent: None, seq: 3, prev: digest, recorded: UnixMillis(1_800_000_000_500), body };
        let file = folder.path().join("entry.cbor");
        fs::write(&file, entry.encode().unwrap()).unwrap();
        let (code, said) = attestry(&["inspect", "entry", file.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("tree_size: 41") && said.contains(said_too), "{said}");
    }
}

#[test]
fn a_census_and_a_maintenance_are_shown_in_words() {
    let digest = Digest([7; 32]);
    let longs = [1_800_000_000_u64, 7_200, 1_000, 4, 3, 2, 1].into_iter().flat_map(u64::to_be_bytes);
    let sums: Vec<u8> = [9_u32, 8, 1].into_iter().flat_map(u32::to_be_bytes).chain(longs).collect();
    let census = |sums| CensusBody { prefix_size: 41, sums, root: digest, epoch: 6 }.encode();
    let nobody = [&[0; 12][..], &[0xff; 8], &[0; 48]].concat();
    let (from, to) = (UnixMillis(1_800_000_000_000), UnixMillis(1_800_007_200_000));
    let maintenance = Maintenance { from, to, reason: "new fans".to_owned(), actor: "admin".to_owned() }.encode();
    let agent: Option<messages::AgentId> = Some("node-1".parse().unwrap());
    let folder = TempDir::new().unwrap();
    for (kind, agent, body, words) in [
        (
            Kind::Census,
            None,
            census(serde_bytes::ByteBuf::from(sums)),
            ["epoch: 6", "agents: 9", "oldest_last_quote: 2027-01-15T08:00:00.000Z", "failed: 4", "late: 1"],
        ),
        (
            Kind::Census,
            None,
            census(serde_bytes::ByteBuf::from(nobody)),
            ["prefix_size: 41", "agents: 0", "oldest_last_quote: null", "worst_gap_seconds: 0", "root: 0707"],
        ),
        (Kind::Census, None, census(serde_bytes::ByteBuf::from(vec![5; 67])), ["malformed: 0505"; 5]),
        (
            Kind::Maintenance,
            agent,
            maintenance,
            ["from: 2027-01-15T08:00:00.000Z", "to: 2027-01-15T10:00:00.000Z", "new fans", "actor: admin", "node-1"],
        ),
    ] {
        let entry = Entry { kind, agent, seq: 3, prev: digest, recorded: UnixMillis(1_800_000_000_500), body };
        let file = folder.path().join("entry.cbor");
        fs::write(&file, entry.encode().unwrap()).unwrap();
        let (code, said) = attestry(&["inspect", "entry", file.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

#[test]
fn an_entry_is_shown_in_words_and_as_json() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("entry.cbor");
    // The worked example of docs/spec/entry.md.
    let entry = concat!(
        "87010b666e6f64652d31181858200707070707070707070707070707070707070707070707070707070707070707",
        "1b000001a0c4506c00846473746f706561646d696ef660"
    );
    fs::write(&file, hex::decode(entry).unwrap()).unwrap();
    let (code, said) = attestry(&["inspect", "entry", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("kind: operator-action") && said.contains("action: stop"), "{said}");
    let (code, said) = attestry(&["inspect", "entry", file.to_str().unwrap(), "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let value: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(value.pointer("/body/actor").unwrap(), "admin");
    assert_eq!(value.get("seq").unwrap(), 24);
}
