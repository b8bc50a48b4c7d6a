//! What other people's tools say about extracted quotes.

use std::{fs, path::Path, process::Command};

use fixtures_softtpm::{KeyKind, Scheme};
use tools_auditor::extract::{Choice, Extracted, extract};

use crate::machine::Story;

/// Runs a printed command as a user would; true if it accepts.
fn accepts(command: &str) -> bool {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("not found"), "{command}: {text}; run `make setup`");
    output.status.success()
}

fn flip_last(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

fn extracted(story: &mut Story, choice: Choice) -> Vec<Extracted> {
    story.machine.pass(&mut story.log);
    story.machine.pass(&mut story.log);
    let bundle = story.export();
    extract(&bundle, choice, &story.folder.path().join("out 'of' it")).unwrap()
}

/// openssl and tpm2_checkquote accept the quote as it is and refuse it with a changed byte.
fn check(quote: &Extracted, tools: usize) {
    for command in quote.commands.iter().take(tools) {
        assert!(accepts(command), "{command}");
    }
    let attest = quote.folder.join("attest.bin");
    flip_last(&attest);
    for command in quote.commands.iter().take(tools) {
        assert!(!accepts(command), "{command}");
    }
    flip_last(&attest);
}

#[test]
fn openssl_and_tpm2_tools_accept_a_genuine_quote_and_refuse_a_changed_one() {
    for kind in [KeyKind::RSA_2048, KeyKind::P256] {
        let mut story = Story::begun(kind);
        for quote in extracted(&mut story, Choice::All) {
            check(&quote, 2);
            // tpm2_checkquote compares nonce and register values too.
            let nonce = fs::read_to_string(quote.folder.join("nonce.hex")).unwrap();
            let other = format!("{}00", &nonce[..nonce.len() - 2]);
            assert!(!accepts(&quote.commands[1].replace(&nonce, &other)));
            let pcrs = quote.folder.join("pcrs.bin");
            let mut bytes = fs::read(&pcrs).unwrap();
            // The first byte of the first register's value: behind 4 + 16 * 8 + 4 + 4 + 2 bytes of layout.
            bytes[142] ^= 1;
            fs::write(&pcrs, bytes).unwrap();
            assert!(!accepts(&quote.commands[1]));
        }
    }
}

#[test]
fn openssl_accepts_a_pss_signature() {
    let mut story = Story::begun(KeyKind::RSA_2048);
    story.machine.tpm.ak = story.machine.tpm.ak.clone().with_scheme(Scheme::RsaPss);
    story.machine.binding.ak = serde_bytes::ByteBuf::from(story.machine.tpm.ak.tpm2b_public());
    let Story { log, machine, .. } = &mut story;
    let retire = ledger_protocol::body::Retire { actor: "a".into(), reason: "new scheme".into() };
    log.append(Some(&machine.agent), &retire);
    machine.enrol(log);
    machine.set_policy(log);
    let quotes = extracted(&mut story, Choice::Last);
    assert_eq!(quotes.len(), 1);
    check(&quotes[0], 1);
}

#[test]
fn an_index_that_is_no_quote_is_refused() {
    let mut story = Story::told();
    let bundle = story.export();
    let error = extract(&bundle, Choice::Index(1), &story.folder.path().join("out")).unwrap_err();
    assert!(error.to_string().contains("index 1"), "{error}");
    assert!(!story.folder.path().join("out").exists());
}
