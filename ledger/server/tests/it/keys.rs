//! Logs with keys of several types, and with a key other than Ed25519.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::Command;

use ledger_server::{ExportedBlobs, InitError, KeyType, Ledger, OpenError, fsck, init};
use ledger_tlog::checkpoint::{AuthenticCheckpoint, Checkpoint, CheckpointRejected};
use ledger_tlog::key::NoteVerifier;

use crate::rig::Rig;

const ORIGIN: &str = "ledger.test/log";

/// Opens the log, which signs its first entries, and closes it.
fn run(rig: &Rig) {
    drop(Ledger::open(&rig.log_config()).unwrap());
}

fn open(data: &Path, key: &NoteVerifier) -> Result<AuthenticCheckpoint, CheckpointRejected> {
    Checkpoint::open(&std::fs::read(data.join("checkpoint")).unwrap(), ORIGIN, key, &[])
}

#[test]
fn a_log_of_two_keys_signs_each_checkpoint_with_both_in_their_order() {
    let rig = Rig::new();
    let keys = init(&rig.log_config(), &[KeyType::Ed25519, KeyType::P256]).unwrap();
    let other = init(&Rig::new().log_config(), &[KeyType::P256]).unwrap();
    for _ in 0..2 {
        run(&rig);
        for key in &keys {
            let opened = open(&rig.data(), key).unwrap();
            let lines = opened.note().note().signatures();
            assert_eq!(lines.iter().map(|line| line.key_id).collect::<Vec<_>>(), [keys[0].id(), keys[1].id()]);
        }
        assert!(open(&rig.data(), &other[0]).is_err(), "another log's key of the same name");
    }
    assert!(fsck(&rig.data()).unwrap().is_sound());
}

#[test]
fn a_log_whose_own_key_is_p256_is_served_checked_and_exported() {
    let rig = Rig::new();
    let keys = init(&rig.log_config(), &[KeyType::P256]).unwrap();
    run(&rig);
    run(&rig);
    assert_eq!(open(&rig.data(), &keys[0]).unwrap().note().signatures().len(), 1);
    assert!(fsck(&rig.data()).unwrap().is_sound());
    let out = rig.data().with_file_name("export");
    let report = ledger_server::export(&rig.data(), &out, ExportedBlobs::Histories).unwrap();
    assert!(report.tree_size > 1);
    open(&out, &keys[0]).unwrap();
}

#[test]
fn a_log_that_is_there_gets_further_keys_and_keeps_its_own() {
    let rig = Rig::new();
    run(&rig);
    let own = rig.key();
    let keys = init(&rig.log_config(), &[KeyType::Ed25519, KeyType::P256]).unwrap();
    assert_eq!((keys.len(), keys[0].to_string()), (2, own.to_string()));
    let again = init(&rig.log_config(), &[KeyType::P256]).unwrap();
    assert_eq!(again[1].to_string(), keys[1].to_string(), "a key that is there is kept");
    run(&rig);
    for key in &keys {
        open(&rig.data(), key).unwrap();
    }
    assert!(fsck(&rig.data()).unwrap().is_sound(), "checkpoints of one line and of two");
}

#[test]
fn an_exchanged_further_key_stops_the_start_and_is_found() {
    let (rig, other) = (Rig::new(), Rig::new());
    for rig in [&rig, &other] {
        init(&rig.log_config(), &[KeyType::Ed25519, KeyType::P256]).unwrap();
    }
    run(&rig);
    std::fs::copy(other.data().join("log.p256.key"), rig.data().join("log.p256.key")).unwrap();
    assert!(matches!(Ledger::open(&rig.log_config()), Err(OpenError::Identity(_))));
    assert!(!fsck(&rig.data()).unwrap().is_sound());
}

#[test]
fn the_first_key_is_one_that_everybody_verifies() {
    let rig = Rig::new();
    let refused = init(&rig.log_config(), &[KeyType::MlDsa44, KeyType::Ed25519]);
    assert!(matches!(refused, Err(InitError::First { found: KeyType::MlDsa44 })));
    assert!(!rig.data().join("log.vkey").exists());
}

#[test]
fn a_running_log_gets_no_keys() {
    let rig = Rig::new();
    let ledger = Ledger::open(&rig.log_config()).unwrap();
    assert!(matches!(init(&rig.log_config(), &[KeyType::P256]), Err(InitError::Ownership(_))));
    drop(ledger);
}

#[test]
fn an_ml_dsa_line_says_when_or_the_key_is_refused_with_the_reason() {
    let rig = Rig::new();
    match init(&rig.log_config(), &[KeyType::Ed25519, KeyType::MlDsa44]) {
        Ok(keys) => {
            run(&rig);
            let opened = open(&rig.data(), &keys[1]).unwrap();
            assert!(opened.note().signatures()[0].time.is_some());
            open(&rig.data(), &keys[0]).unwrap();
        }
        Err(error) => {
            let text = format!("{:?}", error);
            assert!(text.contains("Unsupported"), "{text}");
            assert!(!rig.data().join("log.vkey").exists(), "half a log is none");
            run(&rig);
        }
    }
}

#[test]
fn the_command_prints_the_keys_and_refuses_another_name() {
    let rig = Rig::new();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-ledger"));
        command.args(["init", "--data"]).arg(rig.data()).args(arguments).output().unwrap()
    };
    let made = command(&["--origin", ORIGIN, "--key-type", "p256,ed25519"]);
    assert!(made.status.success());
    let printed = String::from_utf8(made.stdout).unwrap();
    let keys: Vec<NoteVerifier> = printed.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(keys.iter().map(KeyType::of).collect::<Vec<_>>(), [Some(KeyType::P256), Some(KeyType::Ed25519)]);
    assert_eq!(command(&["--origin", "other.test"]).status.code(), Some(1));
    assert_eq!(command(&["--key-type", "rsa"]).status.code(), Some(2));
}

#[test]
fn a_log_with_its_lock_elsewhere_is_made_with_it_there() {
    let (rig, elsewhere) = (Rig::new(), tempfile::tempdir().unwrap());
    let mut config = rig.log_config();
    config.lock = Some(elsewhere.path().join("lock"));
    init(&config, &[KeyType::P256]).unwrap();
    assert!(!rig.data().join("lock").exists());
    drop(Ledger::open(&config).unwrap());
    assert!(Ledger::open(&rig.log_config()).is_err(), "without its lock it is not opened");
}
