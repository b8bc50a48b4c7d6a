//! Receipts as an auditor checks them, from a log in memory.

use std::process::Command;

use ledger_tlog::{
    checkpoint::Checkpoint,
    cose::{Receipt, ReceiptSigner},
    frontier::Frontier,
    hash::{Hash, leaf_hash},
    key::KeyName,
    signer::NoteSigner,
    tree::{self, TreeHead},
};
use openssl::pkey::PKey;

/// A log of a few entries with its keys and a checkpoint of each size, as files.
struct Desk {
    folder: tempfile::TempDir,
}

const ENTRIES: u64 = 5;

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = Self { folder };
        let signer = ReceiptSigner::new(PKey::ec_gen("prime256v1").unwrap()).unwrap();
        let log = NoteSigner::from_seed(KeyName::new("log.test").unwrap(), &[1; 32]).unwrap();
        desk.write("receipt.pub", signer.verifier().to_pem().unwrap().as_bytes());
        desk.write(
            "other.pub",
            ReceiptSigner::new(PKey::generate_ed25519().unwrap()).unwrap().verifier().to_pem().unwrap().as_bytes(),
        );
        desk.write("log.vkey", log.verifier().to_string().as_bytes());
        let (mut frontier, mut levels, mut heads) = (Frontier::new(), Vec::<Vec<Hash>>::new(), Vec::new());
        for index in 0..ENTRIES {
            let entry = format!("entry {index}");
            desk.write(&format!("{index}.entry"), entry.as_bytes());
            frontier.append(leaf_hash(entry.as_bytes()), |level, _, hash| {
                let level = usize::from(level);
                levels.resize(levels.len().max(level + 1), Vec::new());
                levels[level].push(hash);
            });
            let head = frontier.tree_head();
            let note = Checkpoint::new("log.test", head).unwrap().sign(&log).unwrap();
            desk.write(&format!("{}.checkpoint", head.tree_size), &note.to_bytes());
            heads.push(head);
        }
        let read = |level: u8, start: u64, out: &mut [Hash]| -> Result<(), std::convert::Infallible> {
            let start = usize::try_from(start).unwrap();
            out.copy_from_slice(&levels[usize::from(level)][start..start + out.len()]);
            Ok(())
        };
        let head: TreeHead = frontier.tree_head();
        let path = tree::inclusion_proof(2, ENTRIES, read).unwrap();
        let leaf = leaf_hash(b"entry 2");
        let receipt = Receipt::issue_inclusion(&signer, "https://log.test", &leaf, 2, &head, path).unwrap();
        desk.write("2.receipt", &receipt.to_bytes());
        let path = tree::consistency_proof(3, ENTRIES, read).unwrap();
        let receipt = Receipt::issue_consistency(&signer, "https://log.test", &heads[2], &head, path).unwrap();
        desk.write("growth.receipt", &receipt.to_bytes());
        desk
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// Exit code and what is said, of `attestry-audit receipt` in the folder.
    fn run(&self, arguments: &str) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-audit"));
        command.current_dir(self.folder.path()).arg("receipt").args(arguments.split_whitespace());
        let ran = command.output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap())
    }
}

#[test]
fn a_receipt_holds_for_its_entry_key_and_checkpoint_and_for_no_others() {
    let desk = Desk::new();
    let (code, told) = desk.run("2.receipt --entry 2.entry --key receipt.pub");
    assert_eq!(code, 0, "{told}");
    assert!(told.starts_with("VERIFIED: the entry is number 2 in a tree of 5 entries."), "{told}");
    assert!(told.contains("Numbers are not signed"), "{told}");
    let all = "--entry 2.entry --key receipt.pub --log-key log.vkey";
    let (code, told) = desk.run(&format!("2.receipt {all} --checkpoint 5.checkpoint"));
    assert_eq!(code, 0, "{told}");
    assert!(!told.contains("Numbers are not signed"), "{told}");
    for wrong in [
        "2.receipt --entry 3.entry --key receipt.pub".to_owned(),
        "2.receipt --entry 2.entry --key other.pub".to_owned(),
        "growth.receipt --entry 2.entry --key receipt.pub".to_owned(),
        "2.entry --entry 2.entry --key receipt.pub".to_owned(),
        format!("2.receipt {all} --checkpoint 4.checkpoint"),
    ] {
        let (code, told) = desk.run(&wrong);
        assert_eq!(code, 1, "{wrong}: {told}");
        assert!(told.starts_with("FALSE: "), "{told}");
    }
}

#[test]
fn a_receipt_of_growth_holds_from_its_older_checkpoint_alone() {
    let desk = Desk::new();
    let keys = "--key receipt.pub --log-key log.vkey --json";
    let (code, told) = desk.run(&format!("growth.receipt --old-checkpoint 3.checkpoint {keys}"));
    assert_eq!(code, 0, "{told}");
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&report["kind"], &report["old_size"]), (&"consistency".into(), &3.into()));
    for wrong in ["growth.receipt --old-checkpoint 2.checkpoint", "2.receipt --old-checkpoint 3.checkpoint"] {
        assert_eq!(desk.run(&format!("{wrong} {keys}")).0, 1, "{wrong}");
    }
}

#[test]
fn arguments_that_say_too_little_are_refused() {
    let desk = Desk::new();
    for arguments in [
        "2.receipt --key receipt.pub",
        "growth.receipt --old-checkpoint 3.checkpoint --key receipt.pub",
        "2.receipt --entry 2.entry --key log.vkey",
        "2.receipt --entry 2.entry --key receipt.pub --checkpoint 5.checkpoint",
    ] {
        assert_eq!(desk.run(arguments).0, 2, "{arguments}");
    }
    assert_eq!(desk.run("absent --entry 2.entry --key receipt.pub").0, 3);
}
