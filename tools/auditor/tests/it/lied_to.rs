//! A monitor beside a server that lies, over TLS: each lie is told by its name and leaves the mirror as it was.

use std::fs;

use fixtures_histories::SyntheticLog;
use fixtures_softtpm::KeyKind;
use ledger_protocol::{
    Kind,
    body::{Body, CensusBody, VerdictResult},
};
use serde_json::Value;

use crate::{
    intervals::{Desk, Ran, audit, newest},
    liar::{Liar, Manner},
    machine::Story,
    watched::{ANY_AGE, altered, publish, raised, replay, write_story},
};

/// A desk whose monitor has followed the first entries of an honest log over TLS.
struct Scene {
    desk: Desk,
    liar: Liar,
    log: SyntheticLog,
    /// Entries under the newest checkpoint.
    all: usize,
    /// Seconds for an answer: a busy machine's, or few where no answer is what a test waits for.
    timeout: &'static str,
}

/// Entries that the mirror has before the lie: more than a bundle.
const EARLY: usize = 300;

impl Scene {
    fn new() -> Self {
        let (mut log, agent) = SyntheticLog::with_machine(3, 2);
        log.run(&[&agent], 900, VerdictResult::Pass);
        let desk = Desk::of(&log);
        let liar = Liar::new(desk.path("served"), desk.path("tls"));
        let scene = Self { desk, liar, all: newest(&log).0, log, timeout: "30" };
        assert!(scene.all > EARLY + 20, "{}", scene.all);
        scene.serve(&scene.log.entries()[..EARLY]);
        assert_eq!(scene.look(&[]), (0, vec![]));
        scene
    }

    fn serve(&self, entries: &[Vec<u8>]) {
        publish(&self.log, entries, &self.desk.path("served"));
        self.liar.write_hashes(entries);
    }

    fn run(&self, more: &[&str]) -> Ran {
        let (url, tls) = (self.liar.url(), self.liar.tls.display().to_string());
        let mirror = self.desk.path("own").display().to_string();
        let common = ["monitor", "--ledger", &url, "--tls-dir", &tls, "--mirror", &mirror, "--log-key", &self.desk.key];
        audit(
            &[&common[..], &["--once", "--without-evidence", "--timeout", self.timeout, "--max-age", ANY_AGE], more]
                .concat(),
        )
    }

    fn look(&self, more: &[&str]) -> (i32, Vec<String>) {
        let ran = self.run(more);
        // On a busy machine it tells how far it is.
        assert!(ran.err.lines().all(|line| line.contains(" entries ")), "{}", ran.err);
        (ran.code, raised(&ran.out))
    }

    /// The honest log is followed as before, and the mirror is a whole log.
    fn goes_on(&self, after: &str) {
        self.liar.behave_well();
        self.serve(&self.log.entries()[..self.all]);
        assert_eq!(self.look(&[]), (0, vec![]), "after {after}");
        let (ran, report) = replay(&self.desk, &self.desk.path("own"));
        assert_eq!(
            (ran.code, report["counts"]["entries"].as_u64()),
            (0, Some(self.all as u64)),
            "{after}: {}",
            ran.out
        );
    }
}

#[test]
fn each_lie_over_tls_raises_its_alarm_once_and_the_mirror_stays_sound() {
    type Lie = (&'static str, i32, &'static str, fn(&Scene));
    let lies: [Lie; 9] = [
        ("another history of the same length", 1, "fork", |scene| {
            let mut forked = scene.log.entries()[..EARLY].to_vec();
            forked[EARLY - 5] = forked[EARLY - 6].clone();
            scene.serve(&forked);
        }),
        ("another history that is longer", 1, "fork", |scene| {
            let mut forked = scene.log.entries()[..scene.all].to_vec();
            forked[EARLY - 5] = forked[EARLY - 6].clone();
            scene.serve(&forked);
        }),
        ("an older checkpoint", 1, "rollback", |scene| scene.serve(&scene.log.entries()[..200])),
        ("another note than was signed", 1, "checkpoint", |scene| scene.liar.behave("/checkpoint", Manner::Other)),
        ("new entries that are not those signed", 1, "root", |scene| {
            scene.serve(&scene.log.entries()[..scene.all]);
            scene.liar.behave(&format!("/tile/entries/001.p/{}", scene.all - 256), Manner::Other);
        }),
        ("old entries that have changed", 1, "changed", |scene| scene.liar.behave("/tile/entries/000", Manner::Other)),
        ("old leaves that have changed", 1, "changed", |scene| scene.liar.behave("/tile/0/000", Manner::Other)),
        ("old entries that are kept back", 3, "withheld", |scene| {
            scene.liar.behave("/tile/entries/000", Manner::Status(404));
        }),
        ("notes that are kept back", 3, "answer", |scene| {
            scene.serve(&scene.log.entries()[..scene.all]);
            scene.liar.behave("/ledger/v1/checkpoints/", Manner::Status(404));
        }),
    ];
    for (name, code, check, lie) in lies {
        let scene = Scene::new();
        lie(&scene);
        let told = scene.look(&[]);
        assert_eq!(told, (code, vec![check.to_owned()]), "{name}");
        assert_eq!(scene.look(&[]), (code, vec![]), "{name}: told once, found again");
        assert_eq!(scene.look(&["--repeat", "0"]), (code, vec![check.to_owned()]), "{name}: and again when it is time");
        scene.goes_on(name);
        let recorded = fs::read_to_string(scene.desk.path("own/alarms.jsonl")).unwrap();
        assert_eq!(raised(&recorded), [check, check], "{name}");
    }
}

#[test]
fn answers_that_are_none_raise_one_alarm_which_ends_when_the_log_answers_again() {
    let manners = [
        Manner::Truncated,
        Manner::WrongLength,
        Manner::Endless,
        Manner::Slow,
        Manner::Status(500),
        Manner::Status(503),
        Manner::Redirect,
        Manner::Gone,
    ];
    for beginning in ["/checkpoint", "/tile/entries/", "/ledger/v1/checkpoints/"] {
        let mut scene = Scene::new();
        scene.serve(&scene.log.entries()[..scene.all]);
        for manner in manners {
            scene.timeout = if matches!(manner, Manner::Slow | Manner::Endless) { "2" } else { "30" };
            scene.liar.behave(beginning, manner);
            let ran = scene.run(&[]);
            let checks = raised(&ran.out);
            // Half a note is no note, but one whose signature is missing.
            let half = beginning == "/checkpoint" && manner == Manner::WrongLength;
            let expected = if half { (1, vec!["checkpoint".to_owned()]) } else { (3, vec!["answer".to_owned()]) };
            assert_eq!((ran.code, checks), expected, "{beginning} {manner:?}: {}{}", ran.out, ran.err);
            assert_eq!(scene.look(&[]).1, Vec::<String>::new(), "{beginning} {manner:?}: once");
            // Nothing was taken over, and the alarm ends with the next answer.
            scene.timeout = "30";
            scene.liar.behave_well();
            scene.serve(&scene.log.entries()[..EARLY]);
            let over: Value = serde_json::from_str(scene.run(&[]).out.lines().next().unwrap_or("{}")).unwrap();
            assert_eq!(
                (half, over["over"].as_bool()),
                (half, (!half).then_some(true)),
                "{beginning} {manner:?}: {over}"
            );
            scene.serve(&scene.log.entries()[..scene.all]);
        }
        scene.goes_on(beginning);
    }
}

#[test]
fn what_a_log_has_signed_falsely_is_told_by_its_entry_and_stays_on_record() {
    let scene = Scene::new();
    let census = altered(&scene.log, Kind::Census, |entry| {
        let mut body = CensusBody::decode(&entry.body).unwrap();
        body.sums[67] ^= 1;
        entry.body = body.encode();
    });
    scene.serve(&census);
    assert_eq!(scene.look(&[]), (1, vec!["census".to_owned()]));
    assert_eq!(scene.look(&[]), (0, vec![]), "it was signed, and is in the mirror");
    let (ran, report) = replay(&scene.desk, &scene.desk.path("own"));
    assert_eq!((ran.code, &report["findings"]["list"][0]["check"]), (1, &Value::from("census")));

    // Epochs left out, and a log that has stood still since.
    let (mut quiet, agent) = SyntheticLog::with_machine(3, 2);
    quiet.run(&[&agent], 60, VerdictResult::Pass);
    for _ in 0..60 {
        quiet.advance_ms(60_000);
        quiet.checkpoint();
    }
    quiet.census();
    let _ = quiet.publish();
    let desk = Desk::of(&quiet);
    let liar = Liar::new(desk.path("served"), desk.path("tls"));
    publish(&quiet, &quiet.entries()[..newest(&quiet).0], &desk.path("served"));
    let (url, tls, own) = (liar.url(), liar.tls.display().to_string(), desk.path("own").display().to_string());
    let arguments = ["monitor", "--ledger", &url, "--tls-dir", &tls, "--mirror", &own, "--log-key", &desk.key];
    let ran = audit(&[&arguments[..], &["--once", "--without-evidence", "--max-age", "900"]].concat());
    assert_eq!((ran.code, raised(&ran.out)), (1, vec!["epoch".to_owned(), "late".to_owned(), "epoch".to_owned()]));
}

#[test]
fn a_verdict_that_does_not_follow_from_its_evidence_is_told_over_tls() {
    let mut lie = Story::begun(KeyKind::P256);
    lie.machine.pass(&mut lie.log);
    lie.machine.tpm.measure(15, b"something unexpected");
    lie.machine.pass(&mut lie.log);
    let size = usize::try_from(lie.log.sign().tree_size).unwrap();
    let desk = Desk::of(&SyntheticLog::new(0, 0));
    let liar = Liar::new(desk.path("served"), desk.path("tls"));
    write_story(&lie, size, &desk.path("served"));
    fs::write(&desk.key, lie.log.vkey()).unwrap();
    let roots = desk.path("root.pem");
    fs::write(&roots, lie.ca.pem()).unwrap();
    let (url, tls, roots) = (liar.url(), liar.tls.display().to_string(), roots.display().to_string());
    let own = desk.path("own").display().to_string();
    let arguments = ["monitor", "--ledger", &url, "--tls-dir", &tls, "--mirror", &own, "--log-key", &desk.key];
    let ran = audit(&[&arguments[..], &["--once", "--roots", &roots, "--max-age", ANY_AGE]].concat());
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(raised(&ran.out).contains(&"appraisal".to_owned()), "{}", ran.out);
}

#[test]
fn a_command_is_run_for_each_alarm_and_again_if_it_failed() {
    let scene = Scene::new();
    scene.serve(&scene.log.entries()[..200]);
    let told = scene.desk.path("told-to-me");
    let ran = scene.run(&["--on-alarm", "exit 7"]);
    assert_eq!((ran.code, raised(&ran.out)), (1, vec!["rollback".to_owned()]));
    assert!(ran.err.contains("told again later"), "{}", ran.err);
    let command = format!("cat >> {}; echo $ATTESTRY_ALARM_CHECK $ATTESTRY_ALARM_NUMBER >> {0}", told.display());
    let ran = scene.run(&["--on-alarm", &command]);
    assert_eq!((ran.code, raised(&ran.out)), (1, vec!["rollback".to_owned()]), "what was not told is told");
    let ran = scene.run(&["--on-alarm", &command]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "once");
    let lines = fs::read_to_string(told).unwrap();
    let recorded = fs::read_to_string(scene.desk.path("own/alarms.jsonl")).unwrap();
    assert_eq!(lines, format!("{recorded}rollback 0\n"));
}

#[test]
fn a_mirror_has_one_monitor_and_no_partial_bundles_that_nothing_needs() {
    let scene = Scene::new();
    let own = scene.desk.path("own");
    let lock = fs::File::open(own.join("lock")).unwrap();
    lock.lock().unwrap();
    let ran = scene.run(&[]);
    assert_eq!((ran.code, ran.err.contains("another monitor")), (3, true), "{}", ran.err);
    drop(lock);
    scene.goes_on("another monitor");
    // Of partial bundles the one that the checkpoint needs is left.
    let partial = fs::read_dir(own.join("tile/entries/001.p")).unwrap().count();
    assert_eq!((partial, own.join("tile/entries/000.p").exists()), (1, false));
}
