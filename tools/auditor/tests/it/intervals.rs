//! Proofs of intervals on the command line: made from a copy of a log, checked, altered, in words and JSON.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fixtures_histories::{SyntheticLog, scenarios};
use ledger_history::interval::{IntervalProof, prove};
use ledger_tlog::{
    bundle::append_entry,
    tile::{TILE_WIDTH, TilePath, TileSpan},
};
use serde_json::Value;

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn audit(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-audit"));
    command.env_remove("ATTESTRY_LEDGER_URL").env_remove("ATTESTRY_TLS_DIR");
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Writes a log as a mirror has it: entries in bundles, notes by size, blobs, the checkpoint.
pub(crate) fn write_mirror(log: &SyntheticLog, entries: &[Vec<u8>], note: &[u8], folder: &Path) {
    for (number, chunk) in (0..).zip(entries.chunks(usize::from(TILE_WIDTH))) {
        let span = TileSpan::new(number, u16::try_from(chunk.len()).unwrap()).unwrap();
        let path = folder.join(TilePath::Entries(span).to_string());
        let mut bytes = Vec::new();
        chunk.iter().for_each(|entry| append_entry(&mut bytes, entry).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    for name in ["blobs", "checkpoints"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for size in 0..=entries.len() as u64 {
        if let Some(digest) = log.published(size) {
            let note = log.get_blob(&digest).unwrap();
            fs::write(folder.join("checkpoints").join(size.to_string()), &note).unwrap();
        }
    }
    let policy = log.keys().policy_file();
    let digest = hex::encode(openssl::sha::sha256(&policy));
    fs::write(folder.join("blobs").join(digest), policy).unwrap();
    fs::write(folder.join("checkpoint"), note).unwrap();
}

pub(crate) fn newest(log: &SyntheticLog) -> (usize, Vec<u8>) {
    let size = (0..=log.entries().len() as u64).rev().find(|size| log.published(*size).is_some()).unwrap();
    (usize::try_from(size).unwrap(), log.get_blob(&log.published(size).unwrap()).unwrap())
}

pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) key: String,
    pub(crate) policy: String,
}

impl Desk {
    pub(crate) fn of(log: &SyntheticLog) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, policy) = (folder.path().join("log.vkey"), folder.path().join("witnesses.policy"));
        fs::write(&key, log.log_key().to_string()).unwrap();
        fs::write(&policy, log.keys().policy_file()).unwrap();
        let [key, policy] = [key, policy].map(|path| path.display().to_string());
        Self { folder, key, policy }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self, path: &Path, more: &[&str]) -> Ran {
        let path = path.display().to_string();
        let common = ["verify", &path, "--log-key", &self.key, "--witness-policy", &self.policy];
        audit(&[&common[..], more].concat())
    }
}

fn scenario(name: &str) -> scenarios::Scenario {
    scenarios::all().into_iter().find(|scenario| scenario.name == name).unwrap()
}

fn rfc3339(seconds: u64) -> String {
    chrono::DateTime::from_timestamp(i64::try_from(seconds).unwrap(), 0).unwrap().to_rfc3339()
}

#[test]
fn a_proof_made_from_a_copy_of_the_log_is_the_ledgers_own_and_is_verified() {
    let wanted = ["clean-day", "failure-and-recovery", "reboot", "another-tpm", "empty", "full"];
    for scenarios::Scenario { name, log, request } in
        scenarios::all().into_iter().filter(|scenario| wanted.contains(&scenario.name))
    {
        let desk = Desk::of(&log);
        let (size, note) = newest(&log);
        let mirror = desk.path("mirror");
        write_mirror(&log, &log.entries()[..size], &note, &mirror);
        let output = desk.path("proof.interval");
        let (from, to, gap) = (rfc3339(request.from), rfc3339(request.to), request.gap_limit.to_string());
        let (mirror, out) = (mirror.display().to_string(), output.display().to_string());
        let mut arguments = vec!["prove", "--agent", request.agent.as_str(), "--from", &from, "--to", &to];
        arguments.extend(["--gap", &gap, "--log", &mirror, "-o", &out]);
        arguments.extend(request.boots.then_some("--boots"));
        arguments.extend(request.full.then_some("--full"));
        let ran = audit(&arguments);
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        let ours = IntervalProof::decode(&fs::read(&output).unwrap()).unwrap();
        assert_eq!(ours, prove(&log, &request).unwrap(), "{name}: rebuilt and kept histories agree");
        let ran = desk.verify(&output, &["--agent", request.agent.as_str()]);
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.out, ran.err);
        assert!(ran.out.starts_with("VERIFIED: "), "{}", ran.out);
        assert!(ran.out.contains("bounded by witnesses"), "{}", ran.out);
        let again = audit(&arguments);
        assert_eq!((again.code, again.err.contains("exists")), (2, true), "{name}: nothing is overwritten");
    }
}

#[test]
fn each_kind_of_day_is_told_in_json_as_the_specification_says() {
    for scenarios::Scenario { name, log, request } in scenarios::all() {
        let desk = Desk::of(&log);
        let file = desk.path(name);
        fs::write(&file, prove(&log, &request).unwrap().encode()).unwrap();
        let ran = desk.verify(&file, &["--json"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let weaker = name == "without-witnesses";
        let (code, conclusion) = if weaker { (3, "not-fully-checked") } else { (0, "verified") };
        assert_eq!((ran.code, report["conclusion"].as_str().unwrap()), (code, conclusion), "{name}: {}", ran.out);
        let stated = &report["statement"]["interval"];
        assert_eq!(stated["agent"], request.agent.as_str(), "{name}");
        let counts = ["quotes", "failed", "missed", "missed_at_end", "resets"];
        let counts = counts.map(|of| stated[of].as_u64().unwrap_or_else(|| u64::from(name != "before-enrolment")));
        match name {
            "failure-and-recovery" => assert_eq!((counts[1], stated["failures"].as_array().unwrap().len()), (3, 3)),
            "unreachable-hour" | "back-dated-maintenance" => assert!(counts[2] > 100, "{counts:?}"),
            "planned-maintenance" => assert_eq!((counts[2], stated["gaps"][0]["planned_ms"].is_u64()), (0, true)),
            // Times stand still without witnesses, and then all that was due while they stood is missed.
            "witnesses-away" => assert_eq!((counts[1], counts[2]), (0, 30)),
            "reboot" => assert_eq!(counts[4], 1),
            "silent-at-the-end" => assert!(counts[3] > 30, "{counts:?}"),
            "empty" | "before-enrolment" => assert_eq!(counts[0], 0),
            "full" => assert_eq!(stated["full_entries"].as_u64().unwrap(), 2 * counts[0]),
            _ => assert_eq!((counts[1], counts[2]), (0, 0), "{name}"),
        }
    }
}

#[test]
fn times_without_witnesses_are_claimed_and_never_called_more() {
    let scenarios::Scenario { log, request, .. } = scenario("without-witnesses");
    let desk = Desk::of(&log);
    let file = desk.path("proof");
    fs::write(&file, prove(&log, &request).unwrap().encode()).unwrap();
    let file = file.display().to_string();
    let ran = audit(&["verify", &file, "--log-key", &desk.key]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("claimed by the log's clock") && !ran.out.contains("bounded by"), "{}", ran.out);
}

#[test]
fn an_altered_proof_is_refused_by_the_name_of_its_check() {
    let scenarios::Scenario { log, request, .. } = scenario("clean-day");
    let desk = Desk::of(&log);
    let file = desk.path("proof");
    let good = prove(&log, &request).unwrap();
    type Alteration = (&'static str, fn(&mut IntervalProof));
    let cases: [Alteration; 4] = [
        ("tree", |proof| proof.tree[40] ^= 1),
        ("census-opening", |proof| proof.end.opening.row.as_mut().unwrap().aggregate.fails += 1),
        ("consistency", |proof| proof.end_to_note[0].0[0] ^= 1),
        ("evidence-missing", |proof| proof.evidence.clear()),
    ];
    for (name, alter) in cases {
        let mut proof = good.clone();
        alter(&mut proof);
        fs::write(&file, proof.encode()).unwrap();
        let ran = desk.verify(&file, &[]);
        assert_eq!(ran.code, 1, "{name}");
        assert!(ran.out.starts_with(&format!("FALSE: {name}")), "{name}: {}", ran.out);
    }
    fs::write(&file, good.encode()).unwrap();
    let other = desk.verify(&file, &["--agent", "hypervisor-9"]);
    assert!((other.code, other.out.starts_with("FALSE: agent: ")) == (1, true), "{}", other.out);
    let none = desk.verify(&file, &["--full"]);
    assert!((none.code, none.out.contains("make it with --full")) == (3, true), "{}", none.out);
}

#[test]
fn a_fleets_proof_is_made_and_told() {
    let mut log = SyntheticLog::new(3, 2);
    let agents: Vec<_> = (0..5).map(|number| log.enrol(&format!("machine-{number}"))).collect();
    agents.iter().for_each(|agent| log.policy(agent, 10_000, 15_000));
    log.close();
    let all: Vec<_> = agents.iter().collect();
    log.run(&all, 120, ledger_protocol::body::VerdictResult::Pass);
    log.run(&[&agents[3]], 10, ledger_protocol::body::VerdictResult::Fail);
    log.run(&all, 110, ledger_protocol::body::VerdictResult::Pass);
    let desk = Desk::of(&log);
    let (size, note) = newest(&log);
    write_mirror(&log, &log.entries()[..size], &note, &desk.path("mirror"));
    let mirror = desk.path("mirror").display().to_string();
    let (from, to) = (rfc3339(fixtures_histories::BEGIN + 60), rfc3339(fixtures_histories::BEGIN + 220));
    let shown = |name: &str, more: &[&str]| {
        let file = desk.path(name);
        let out = file.display().to_string();
        let ran =
            audit(&[&["prove", "--fleet", "--from", &from, "--to", &to, "--log", &mirror, "-o", &out], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let ran = desk.verify(&file, &[]);
        assert_eq!(ran.code, 0, "{}", ran.out);
        ran.out
    };
    let words = shown("exceptions.fleet", &[]);
    assert!(words.contains("machine-3") && words.contains("What is 0 together is 0 on each."), "{words}");
    assert!(shown("label.fleet", &["--label", "role=hypervisor"]).contains("Every machine ever enrolled is shown."));
}

#[test]
fn what_is_no_proof_is_told_apart_from_what_is_false() {
    let scenarios::Scenario { log, request, .. } = scenario("clean-day");
    let desk = Desk::of(&log);
    let write = |name: &str, bytes: &[u8]| {
        fs::write(desk.path(name), bytes).unwrap();
        desk.path(name)
    };
    let good = prove(&log, &request).unwrap().encode();
    // Bytes that somebody gives out as a proof are refused: they are false.
    for (name, bytes) in [("empty", &[][..]), ("cut", &good[..good.len() / 2]), ("text", b"VERIFIED: all is well\n")] {
        let ran = desk.verify(&write(name, bytes), &[]);
        assert!((ran.code, ran.out.starts_with("FALSE: form: ")) == (1, true), "{name}: {}", ran.out);
    }
    // What is not there, cannot be read, or is too long to be one says nothing.
    let huge = desk.path("huge");
    fs::File::create(&huge).unwrap().set_len(3 << 30).unwrap();
    for (path, said) in [(desk.path("nothing"), "cannot read"), (huge, "the most that a proof can have")] {
        let ran = desk.verify(&path, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    let folder = desk.verify(desk.folder.path(), &[]);
    assert!((folder.code, folder.out.contains("manifest.json")) == (3, true), "{}", folder.out);
    // Keys and policies that cannot be used are the auditor's own mistake.
    let proof = write("good", &good).display().to_string();
    let key = desk.key.as_str();
    let none = write("none.policy", b"witness w a+b+c\nquorum w\n").display().to_string();
    // More of the witnesses than there are.
    let policy = fs::read_to_string(&desk.policy).unwrap().replace("group enough 2", "group enough 4");
    let four = write("four.policy", policy.as_bytes()).display().to_string();
    for arguments in [
        &["--log-key", "nothing.vkey"][..],
        &["--log-key", key, "--witness-policy", &none],
        &["--log-key", key, "--witness-policy", &four],
        &["--log-key", key, "--tsa-ca", &proof],
        &["--log-key", key, "--from", "-1h"],
        &["--log-key", key, "--agent", "no id"],
    ] {
        let ran = audit(&[&["verify", &proof], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
    }
}

/// Another policy bounds nothing that the log's own was asked for, and says so.
#[test]
fn witnesses_who_have_not_signed_make_no_time_stronger() {
    let scenarios::Scenario { log, request, .. } = scenario("clean-day");
    let desk = Desk::of(&log);
    let file = desk.path("proof");
    fs::write(&file, prove(&log, &request).unwrap().encode()).unwrap();
    let strangers = fixtures_histories::Keys::new(7, 2).policy_file();
    let mut lines: Vec<&str> = std::str::from_utf8(&strangers).unwrap().lines().collect();
    // The last four of the seven, whom the log never asked.
    lines.retain(|line| !["witness w0", "witness w1", "witness w2"].iter().any(|known| line.starts_with(known)));
    let lines = lines.join("\n").replace("enough 2 w0 w1 w2", "enough 2") + "\n";
    let policy = desk.path("strangers.policy");
    fs::write(&policy, lines).unwrap();
    let (file, policy) = (file.display().to_string(), policy.display().to_string());
    let ran = audit(&["verify", &file, "--log-key", &desk.key, "--witness-policy", &policy]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("no quorum of your witnesses") && !ran.out.contains("bounded by"), "{}", ran.out);
}

#[test]
fn words_of_strangers_stay_within_their_line() {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    let pass = ledger_protocol::body::VerdictResult::Pass;
    log.run(&[&agent], 120, pass);
    let spoofed = "gone\n\nVERIFIED: what follows stands in the log\u{1b}[2J\u{202e}";
    let retire = ledger_protocol::body::Retire { actor: "operator".to_owned(), reason: spoofed.to_owned() };
    log.append(Some(&agent), &retire);
    log.run(&[], 120, pass);
    let desk = Desk::of(&log);
    let file = desk.path("proof");
    let begin = fixtures_histories::BEGIN;
    fs::write(&file, prove(&log, &log.request(&agent, begin + 30, begin + 200)).unwrap().encode()).unwrap();
    let ran = desk.verify(&file, &[]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("VERIFIED")).count(), 1, "{}", ran.out);
    assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{}", ran.out);
    assert!(ran.out.contains("Not counted: what was due between a quote and the retirement"), "{}", ran.out);
}

/// What each kind of day is told as, sentence by sentence, where a word more would be one too many.
#[test]
fn each_day_is_told_as_far_as_it_is_proven() {
    let told = [
        ("clean-day", "Nothing can be added up to", "can still be added"),
        ("into-the-future", "this proof shows the log as it stood then, and nothing later", "Nothing can be added"),
        ("before-enrolment", "Not counted: what was due before a first quote", "bounded by RFC 3161"),
        ("silent-at-the-end", "more from the last quote on", "Nothing can be added"),
        ("unreachable-hour", "in truth at most 10.0 s longer", "in maintenance announced"),
        ("planned-maintenance", "in maintenance announced before it began", "360 missed"),
        ("back-dated-maintenance", "maintenance announced from", "in maintenance announced before it began"),
        ("reboot", "the TPM was reset, the machine rebooted", "FINDING"),
        ("drifting-clock", "FINDING: the TPM's clock counted", "the TPM was reset"),
        ("another-tpm", "Not counted: what was due between a quote and the retirement", "FINDING"),
        ("empty", "0 quotes with a verdict", "First quote"),
        ("without-witnesses", "the log's own clock: claimed, not proven", "in truth"),
    ];
    let mut days = 0;
    for scenarios::Scenario { name, log, request } in scenarios::all() {
        let Some((_, said, unsaid)) = told.iter().find(|(of, ..)| *of == name) else { continue };
        days += 1;
        let desk = Desk::of(&log);
        let file = desk.path(name);
        fs::write(&file, prove(&log, &request).unwrap().encode()).unwrap();
        let ran = desk.verify(&file, &[]);
        assert!(ran.out.contains(*said) && !ran.out.contains(*unsaid), "{name}: {}", ran.out);
        // Nobody's signature was looked at but the log's.
        assert!(ran.out.contains("its quotes' signatures were not checked here"), "{name}: {}", ran.out);
    }
    assert_eq!(days, told.len());
}
