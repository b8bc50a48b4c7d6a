//! A monitor that is killed at any instant goes on where it was: each alarm is on record once, and the mirror is whole.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use fixtures_histories::SyntheticLog;
use ledger_protocol::{
    Kind,
    body::{Body, CensusBody, VerdictResult},
};
use serde_json::Value;

use crate::{
    intervals::{Desk, audit},
    liar::Liar,
    watched::{ANY_AGE, altered, publish, raised, replay},
};

const KILLS: usize = 40;

#[test]
fn a_monitor_killed_at_random_moments_misses_nothing_and_alarms_once() {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 900, VerdictResult::Pass);
    // The last census is false, and much comes behind it; the log's key has signed all of it.
    let mut entries = altered(&log, Kind::Census, |entry| {
        let mut body = CensusBody::decode(&entry.body).unwrap();
        body.root.0[0] ^= 1;
        entry.body = body.encode();
    });
    let false_census = entries.len() - 1;
    entries.extend_from_slice(&log.entries()[entries.len()..]);
    let desk = Desk::of(&log);
    let liar = Liar::new(desk.path("served"), desk.path("tls"));
    let (url, tls, own) = (liar.url(), liar.tls.display().to_string(), desk.path("own").display().to_string());
    let told = desk.path("told-to-me");
    let command = format!("cat >> {}", told.display());
    let arguments = [
        "monitor",
        "--ledger",
        &url,
        "--tls-dir",
        &tls,
        "--mirror",
        &own,
        "--log-key",
        &desk.key,
        "--without-evidence",
        "--max-age",
        ANY_AGE,
        "--on-alarm",
        &command,
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 1..=KILLS {
        // The log grows between kills; one round shows a lie that ends.
        let size = (entries.len() * round / KILLS).max(10);
        let shown = if round == KILLS / 2 { size / 2 } else { size };
        publish(&log, &entries[..shown], &desk.path("served"));
        let mut monitor = Command::new(env!("CARGO_BIN_EXE_attestry-audit"))
            .args(arguments)
            .args(["--every", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // From before it has read the mirror to when it waits for the next look.
        let until = Instant::now() + Duration::from_millis(seed >> 56) * 2;
        while Instant::now() < until && monitor.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        monitor.kill().unwrap();
        monitor.wait().unwrap();
    }
    publish(&log, &entries, &desk.path("served"));
    let last = audit(&[&arguments[..], &["--once"]].concat());
    assert!([0, 1].contains(&last.code), "{}", last.err);
    let quiet = audit(&[&arguments[..], &["--once"]].concat());
    assert_eq!((quiet.code, quiet.out.as_str()), (0, ""), "{}", quiet.err);

    let recorded = fs::read_to_string(desk.path("own/alarms.jsonl")).unwrap();
    let alarms: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, alarm) in alarms.iter().enumerate() {
        assert_eq!(alarm["number"].as_u64(), Some(number as u64), "{recorded}");
    }
    let checks = raised(&recorded);
    let facts: Vec<_> = alarms.iter().filter(|alarm| !alarm["index"].is_null()).map(|alarm| &alarm["text"]).collect();
    assert!(facts.iter().enumerate().all(|(at, text)| !facts[..at].contains(text)), "each once: {recorded}");
    let of_census: Vec<&Value> = alarms.iter().filter(|alarm| alarm["check"] == "census").collect();
    assert_eq!(of_census.len(), 1, "{recorded}");
    assert_eq!(of_census[0]["index"].as_u64(), Some(false_census as u64));
    // What comes behind it names another entry than it.
    let expected = ["census", "rules", "fork", "rollback", "answer"];
    assert!(checks.iter().all(|check| expected.contains(&check.as_str())), "{recorded}");
    // The operator was told of each at least once.
    let told = fs::read_to_string(told).unwrap();
    assert!(recorded.lines().all(|line| told.lines().any(|told| told == line)), "{recorded}\n{told}");
    let (ran, report) = replay(&desk, &desk.path("own"));
    assert_eq!((ran.code, report["counts"]["entries"].as_u64()), (1, Some(entries.len() as u64)), "{}", ran.out);
    assert_eq!(report["findings"]["false_count"].as_u64(), Some(facts.len() as u64), "{}", ran.out);
    eprintln!("{KILLS} kills; alarms on record: {checks:?}");
}
