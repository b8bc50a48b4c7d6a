//! Whole logs replayed and followed: honest ones are quiet, each lie is told by its name.

use std::{fs, path::Path};

use fixtures_histories::{ORIGIN, SyntheticLog};
use fixtures_softtpm::KeyKind;
use ledger_protocol::{
    Entry,
    body::{Body, CensusBody, VerdictResult},
};
use ledger_tlog::{checkpoint::Checkpoint, frontier::Frontier, hash::leaf_hash};
use serde_json::Value;

use crate::{
    intervals::{Desk, Ran, audit, newest, write_mirror},
    machine::Story,
};

/// Every age is allowed: the logs are of the past.
pub(crate) const ANY_AGE: &str = "1000000000";

fn honest() -> SyntheticLog {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 600, VerdictResult::Pass);
    log
}

/// A note over whatever entries are given, signed by the log's own key: an operator who lies.
fn signed(log: &SyntheticLog, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut frontier = Frontier::new();
    entries.iter().for_each(|entry| frontier.append(leaf_hash(entry), |_, _, _| {}));
    Checkpoint::new(ORIGIN, frontier.tree_head()).unwrap().sign(log.keys().log_signer()).unwrap().to_bytes()
}

pub(crate) fn publish(log: &SyntheticLog, entries: &[Vec<u8>], folder: &Path) {
    write_mirror(log, entries, &signed(log, entries), folder);
}

pub(crate) fn replay(desk: &Desk, folder: &Path) -> (Ran, Value) {
    let folder = folder.display().to_string();
    let ran = audit(&["replay", &folder, "--log-key", &desk.key, "--without-evidence", "--json"]);
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
    (ran, report)
}

fn look(desk: &Desk, served: &Path, more: &[&str]) -> (i32, Vec<String>) {
    let (served, mirror) = (served.display().to_string(), desk.path("own").display().to_string());
    let common = ["monitor", "--ledger", &served, "--mirror", &mirror, "--log-key", &desk.key, "--once"];
    let ran = audit(&[&common[..], &["--without-evidence"], more].concat());
    assert!(ran.err.is_empty(), "{}", ran.err);
    (ran.code, raised(&ran.out))
}

/// Checks of the alarms in a monitor's output; not those that say that something is over.
pub(crate) fn raised(out: &str) -> Vec<String> {
    let alarms = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    alarms.filter(|alarm| alarm["over"] == false).map(|alarm| alarm["check"].as_str().unwrap().to_owned()).collect()
}

/// The same log with one entry of a kind altered by `alter`, signed again; false from there on.
pub(crate) fn altered(log: &SyntheticLog, kind: ledger_protocol::Kind, alter: impl Fn(&mut Entry)) -> Vec<Vec<u8>> {
    let mut entries = log.entries().to_vec();
    let of_kind = |bytes: &Vec<u8>| Entry::decode(bytes).unwrap().kind == kind;
    let at = entries.iter().rposition(of_kind).unwrap();
    let mut entry = Entry::decode(&entries[at]).unwrap();
    alter(&mut entry);
    entries[at] = entry.encode().unwrap();
    entries.truncate(at + 1);
    entries
}

#[test]
fn an_honest_log_replays_and_each_lie_is_found_by_its_check() {
    let log = honest();
    let desk = Desk::of(&log);
    let (size, note) = newest(&log);
    let folder = desk.path("honest");
    write_mirror(&log, &log.entries()[..size], &note, &folder);
    let (ran, report) = replay(&desk, &folder);
    assert_eq!((ran.code, &report["conclusion"]), (0, &Value::from("verified")), "{}", ran.out);
    assert_eq!(report["counts"]["entries"], size);
    assert_eq!(report["counts"]["quotes"], 60);
    assert!(report["counts"]["censuses"].as_u64().unwrap() >= 10, "{}", ran.out);

    let census = altered(&log, ledger_protocol::Kind::Census, |entry| {
        let mut body = CensusBody::decode(&entry.body).unwrap();
        body.sums[67] ^= 1;
        entry.body = body.encode();
    });
    let chain = altered(&log, ledger_protocol::Kind::Verdict, |entry| entry.seq += 1);
    let back = altered(&log, ledger_protocol::Kind::Quote, |entry| entry.recorded.0 -= 100_000);
    for (name, check, entries) in [("a", "census", census), ("b", "rules", chain), ("c", "rules", back)] {
        let folder = desk.path(name);
        publish(&log, &entries, &folder);
        let (ran, report) = replay(&desk, &folder);
        assert_eq!(ran.code, 1, "{check}: {}", ran.out);
        let found: Vec<&Value> = report["findings"]["list"].as_array().unwrap().iter().collect();
        assert!(
            found.iter().any(|finding| finding["check"] == check && finding["false"] == true),
            "{check}: {}",
            ran.out
        );
    }
}

#[test]
fn a_root_other_than_the_one_signed_and_a_foreign_key_are_found() {
    let log = honest();
    let desk = Desk::of(&log);
    let (size, note) = newest(&log);
    let mut entries = log.entries()[..size].to_vec();
    let at = size - 3;
    entries[at] = entries[at - 1].clone();
    let folder = desk.path("log");
    write_mirror(&log, &entries, &note, &folder);
    let (ran, report) = replay(&desk, &folder);
    assert_eq!(ran.code, 1);
    let checks = report["findings"]["list"].to_string();
    assert!(checks.contains("\"root\""), "{checks}");
    fs::write(&desk.key, SyntheticLog::new(0, 0).keys().log_key().to_string().replace("histories", "other")).unwrap();
    assert_eq!(audit(&["replay", &folder.display().to_string(), "--log-key", &desk.key]).code, 2);
}

#[test]
fn a_passed_quote_for_another_challenge_is_found() {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 60, VerdictResult::Pass);
    log.machine(&agent).stale = true;
    log.run(&[&agent], 10, VerdictResult::Pass);
    let desk = Desk::of(&log);
    let (size, note) = newest(&log);
    write_mirror(&log, &log.entries()[..size], &note, &desk.path("log"));
    let (ran, report) = replay(&desk, &desk.path("log"));
    assert_eq!((ran.code, report["findings"]["false_count"].as_u64()), (1, Some(1)), "{}", ran.out);
    assert_eq!(report["findings"]["list"][0]["check"], "nonces");
}

#[test]
fn verdicts_that_do_not_follow_from_their_evidence_are_found() {
    let mut story = Story::told();
    let mut lie = Story::begun(KeyKind::P256);
    lie.machine.pass(&mut lie.log);
    lie.machine.tpm.measure(15, b"something unexpected");
    lie.machine.pass(&mut lie.log);
    for (story, code, check) in [(&mut story, 1, "rules"), (&mut lie, 1, "appraisal")] {
        let size = story.log.sign().tree_size;
        let folder = tempfile::tempdir().unwrap();
        write_story(story, usize::try_from(size).unwrap(), folder.path());
        let key = folder.path().join("key");
        fs::write(&key, story.log.vkey()).unwrap();
        let roots = folder.path().join("root.pem");
        fs::write(&roots, story.ca.pem()).unwrap();
        let [path, key, roots] = [folder.path(), &key, &roots].map(|path| path.display().to_string());
        let ran = audit(&["replay", &path, "--log-key", &key, "--roots", &roots, "--json"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        let list = report["findings"]["list"].as_array().unwrap();
        let false_checks: Vec<&str> = list
            .iter()
            .filter(|finding| finding["false"] == true)
            .map(|finding| finding["check"].as_str().unwrap())
            .collect();
        assert!(false_checks.contains(&check), "{check}: {}", ran.out);
        // These stories' logs have no genesis, which breaks the rules; what was told in them is true.
        assert_eq!(false_checks.contains(&"appraisal"), check == "appraisal", "{}", ran.out);
        assert!(report["counts"]["judged"].as_u64().unwrap() >= 2);
    }
}

pub(crate) fn write_story(story: &Story, size: usize, folder: &Path) {
    let synthetic = SyntheticLog::new(0, 0);
    let note = story.log.notes[&(size as u64)].clone();
    write_mirror(&synthetic, &story.log.entries[..size], &note, folder);
    for (size, note) in &story.log.notes {
        fs::write(folder.join("checkpoints").join(size.to_string()), note).unwrap();
    }
    for (digest, blob) in &story.log.blobs {
        fs::write(folder.join("blobs").join(digest.to_string()), blob).unwrap();
    }
}

#[test]
fn a_monitor_follows_an_honest_log_quietly_and_its_mirror_is_a_whole_log() {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    let desk = Desk::of(&log);
    let served = desk.path("served");
    for round in 0..4 {
        log.run(&[&agent], 300, VerdictResult::Pass);
        let (size, note) = newest(&log);
        write_mirror(&log, &log.entries()[..size], &note, &served);
        let policy = desk.policy.clone();
        let (code, alarms) = look(&desk, &served, &["--max-age", ANY_AGE, "--witness-policy", &policy]);
        assert_eq!((code, alarms), (0, vec![]), "round {round}");
    }
    let (ran, report) = replay(&desk, &desk.path("own"));
    assert_eq!((ran.code, report["counts"]["entries"].as_u64()), (0, Some(newest(&log).0 as u64)), "{}", ran.out);
}

#[test]
fn each_lie_to_a_monitor_raises_its_alarm_and_is_not_taken_over() {
    let log = honest();
    let desk = Desk::of(&log);
    let served = desk.path("served");
    let all = &log.entries()[..newest(&log).0];
    let early = &all[..100];
    publish(&log, early, &served);
    assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (0, vec![]));
    // An older checkpoint than one that was shown.
    publish(&log, &all[..60], &served);
    assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (1, vec!["rollback".to_owned()]));
    // Another history of the same length, and of a greater one.
    let mut forked = all.to_vec();
    forked[90] = forked[89].clone();
    for entries in [&forked[..100], &forked[..]] {
        publish(&log, entries, &served);
        assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (1, vec!["fork".to_owned()]));
    }
    let evidence = fs::read_dir(desk.path("own/evidence")).unwrap().count();
    assert_eq!(evidence, 2 * 3, "what proves it is kept, beside what the mirror had");
    // A checkpoint that the log's key has not signed.
    let note = fs::read(served.join("checkpoint")).unwrap();
    let broken = String::from_utf8(note).unwrap().replacen("\n1", "\n2", 1);
    fs::write(served.join("checkpoint"), broken).unwrap();
    assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (1, vec!["checkpoint".to_owned()]));
    // No checkpoint at all.
    fs::remove_file(served.join("checkpoint")).unwrap();
    fs::create_dir(served.join("segments")).unwrap();
    assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (3, vec!["answer".to_owned()]));
    fs::remove_dir(served.join("segments")).unwrap();
    // The honest history is still followed.
    publish(&log, all, &served);
    assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (0, vec![]));
    let recorded = fs::read_to_string(desk.path("own/alarms.jsonl")).unwrap();
    assert_eq!(raised(&recorded), ["rollback", "fork", "fork", "checkpoint", "answer"]);
    assert_eq!(recorded.lines().filter(|line| line.contains("\"over\":true")).count(), 1, "{recorded}");
}

#[test]
fn late_logs_missing_epochs_and_false_censuses_raise_alarms() {
    let log = honest();
    let desk = Desk::of(&log);
    let served = desk.path("served");
    let all = &log.entries()[..newest(&log).0];
    publish(&log, all, &served);
    assert_eq!(look(&desk, &served, &[]), (1, vec!["late".to_owned(), "epoch".to_owned()]));
    // Epochs that the log itself leaves out.
    let (mut quiet, agent) = SyntheticLog::with_machine(3, 2);
    quiet.run(&[&agent], 60, VerdictResult::Pass);
    for _ in 0..60 {
        quiet.advance_ms(60_000);
        quiet.checkpoint();
    }
    quiet.census();
    let _ = quiet.publish();
    let desk = Desk::of(&quiet);
    publish(&quiet, &quiet.entries()[..newest(&quiet).0], &desk.path("served"));
    let (code, alarms) = look(&desk, &desk.path("served"), &["--max-age", "900"]);
    assert_eq!(
        (code, alarms.iter().filter(|alarm| *alarm == "epoch").count()),
        (1, 2),
        "one between, one since: {alarms:?}"
    );
    // A census that the entries do not come to; the log goes on behind it.
    let log = honest();
    let desk = Desk::of(&log);
    let entries = altered(&log, ledger_protocol::Kind::Census, |entry| {
        let mut body = CensusBody::decode(&entry.body).unwrap();
        body.root.0[0] ^= 1;
        entry.body = body.encode();
    });
    publish(&log, &entries[..entries.len() - 1], &desk.path("served"));
    assert_eq!(look(&desk, &desk.path("served"), &["--max-age", ANY_AGE]), (0, vec![]));
    publish(&log, &entries, &desk.path("served"));
    assert_eq!(look(&desk, &desk.path("served"), &["--max-age", ANY_AGE]), (1, vec!["census".to_owned()]));
}

#[test]
fn a_mirror_with_half_written_files_is_taken_up_and_a_damaged_one_is_refused() {
    let log = honest();
    let desk = Desk::of(&log);
    let served = desk.path("served");
    let all = &log.entries()[..newest(&log).0];
    publish(&log, &all[..200], &served);
    assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (0, vec![]));
    // What a kill leaves: entries beyond the checkpoint, a file aside.
    let own = desk.path("own");
    fs::create_dir_all(own.join("tile/entries/000.p")).unwrap();
    fs::write(own.join("tile/entries/000.p/230.new"), b"half").unwrap();
    fs::write(own.join("tile/entries/000.p/230"), b"\x00\x01x").unwrap();
    publish(&log, all, &served);
    assert_eq!(look(&desk, &served, &["--max-age", ANY_AGE]), (0, vec![]));
    assert_eq!(replay(&desk, &own).0.code, 0);
    let bundle = own.join("tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[50] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let (served, own) = (served.display().to_string(), own.display().to_string());
    let ran = audit(&["monitor", "--ledger", &served, "--mirror", &own, "--log-key", &desk.key, "--once"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.err.contains("begin anew"), "{}", ran.err);
}
