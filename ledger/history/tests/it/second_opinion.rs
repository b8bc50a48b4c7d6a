//! `tools/interval_proof/verify.py`, written from the specifications alone, says the same of every proof.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use fixtures_histories::alterations::{
    ALTERATIONS, FLEET_ALTERATIONS, FULL_ALTERATIONS, fleet, fleet_proof as made, rich,
};
use fixtures_histories::{BEGIN, ORIGIN, SyntheticLog, scenarios};
use fixtures_tsa::{Authority, Certificate, Dated, Stated};
use ledger_history::fleet::{Selection, verify as verify_fleet};
use ledger_history::interval::{
    IntervalRefused, Request, Stamp, StampedNote, Store as _, Trust, Witnesses, prove, verify,
};
use ledger_protocol::body::VerdictResult;
use ledger_timestamp::Authorities;
use ledger_tlog::key::{KeyName, NoteVerifier, PosixSeconds};
use ledger_tlog::note::Note;
use ledger_tlog::signer::NoteSigner;
use messages::AgentId;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use serde::Serialize;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use crate::alterations::{authorities, authority_token, records};
use crate::beacons::{BEACON_ALTERATIONS, false_stamps, of, of_two, stamped};

/// What the auditor of a case takes from elsewhere.
#[derive(Clone)]
pub(crate) struct Auditor {
    log: NoteVerifier,
    policy: Option<Vec<u8>>,
    roots: Option<Vec<u8>>,
}

impl Auditor {
    pub(crate) fn of(log: &SyntheticLog) -> Self {
        Self { log: log.log_key().clone(), policy: Some(log.keys().policy_file()), roots: None }
    }

    /// Calls `verify` with what is trusted.
    fn ask<T>(&self, verify: impl FnOnce(&Trust<'_>) -> T) -> T {
        let witnesses = self.policy.as_deref().map(|file| Witnesses::parse(file).unwrap());
        let roots = self.roots.as_deref().map(|pem| {
            let mut roots = Authorities::new();
            roots.trust_pem(pem).unwrap();
            roots
        });
        let (witnesses, authorities) = (witnesses.as_ref(), roots.as_ref());
        verify(&Trust { origin: ORIGIN, log: &self.log, witnesses, authorities })
    }
}

/// Cases in a folder, by the command line they are asked with.
pub(crate) struct Opinions {
    folder: tempfile::TempDir,
    cases: BTreeMap<Vec<String>, Vec<(String, PathBuf, Value)>>,
    files: usize,
}

impl Opinions {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), cases: BTreeMap::new(), files: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> PathBuf {
        self.files += 1;
        let path = self.folder.path().join(self.files.to_string());
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Adds a proof of an interval, whatever it says.
    pub(crate) fn interval(&mut self, name: impl Into<String>, agent: &AgentId, auditor: &Auditor, proof: &[u8]) {
        let expected = said(auditor.ask(|trust| verify(proof, agent, trust)));
        let about = ["--agent".to_owned(), agent.to_string()];
        self.add(name.into(), auditor, &about, proof, expected);
    }

    /// Adds a proof of a fleet, whatever it says.
    pub(crate) fn fleet(&mut self, name: impl Into<String>, auditor: &Auditor, proof: &[u8]) {
        let expected = said(auditor.ask(|trust| verify_fleet(proof, trust)));
        self.add(name.into(), auditor, &["--fleet".to_owned()], proof, expected);
    }

    fn add(&mut self, name: String, auditor: &Auditor, about: &[String], proof: &[u8], expected: Value) {
        let mut arguments = about.to_vec();
        arguments.extend(["--origin".into(), ORIGIN.into(), "--log-key".into(), auditor.log.to_string()]);
        for (option, file) in [("--witness-policy", &auditor.policy), ("--tsa-ca", &auditor.roots)] {
            if let Some(bytes) = file {
                // One file for one content, so that the cases of one auditor are asked together.
                let path = self.folder.path().join(hex(&openssl::sha::sha256(bytes)));
                std::fs::write(&path, bytes).unwrap();
                arguments.extend([option.to_owned(), path.to_str().unwrap().to_owned()]);
            }
        }
        let path = self.write(proof);
        self.cases.entry(arguments).or_default().push((name, path, expected));
    }

    /// Asks the program about all of them, and compares.
    pub(crate) fn compare(self) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/interval_proof/verify.py");
        let mut other = Vec::new();
        for (arguments, cases) in &self.cases {
            let mut command = Command::new("python3");
            // -B: no compiled files beside the sources.
            command.args(["-B", program]).args(arguments).args(cases.iter().map(|(_, path, _)| path));
            let output = command.output().expect("python3 cannot be run; scripts/setup installs it");
            let said = String::from_utf8(output.stdout).unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.lines().count(), cases.len(), "{arguments:?}: {errors}");
            for ((name, _, expected), line) in cases.iter().zip(said.lines()) {
                let mut answer: Value = serde_json::from_str(line).unwrap();
                let why = answer.as_object_mut().unwrap().remove("why");
                if answer != *expected {
                    other.push(format!("{name}: {answer} ({why:?}); expected {expected}"));
                }
            }
        }
        assert!(other.is_empty(), "{} disagree:\n{}", other.len(), other.join("\n"));
    }
}

fn said<T: Serialize>(answer: Result<T, IntervalRefused>) -> Value {
    match answer {
        Ok(statement) => serde_json::to_value(statement).unwrap(),
        Err(refused) => json!({ "refused": refused.name() }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn both_state_the_same_of_days_of_every_kind() {
    let mut opinions = Opinions::new();
    for scenario in scenarios::all() {
        let (auditor, agent) = (Auditor::of(&scenario.log), &scenario.request.agent);
        let proof = prove(&scenario.log, &scenario.request).unwrap().encode();
        opinions.interval(scenario.name, agent, &auditor, &proof);
        let alone = Auditor { policy: None, ..auditor.clone() };
        opinions.interval(format!("{}, no witnesses", scenario.name), agent, &alone, &proof);
        let other = Auditor { policy: Some(b"quorum none\n".to_vec()), ..auditor };
        opinions.interval(format!("{}, no quorum", scenario.name), agent, &other, &proof);
        // Other intervals of the same day, full and with every boot.
        for step in 0..8 {
            let from = scenario.request.from - 90 + 37 * step;
            let to = from + 55 * step * step;
            let request = Request { from, to, full: step % 3 == 1, boots: step % 2 == 0, ..scenario.request.clone() };
            if let Ok(proof) = prove(&scenario.log, &request) {
                let name = format!("{} from {from} to {to}", scenario.name);
                opinions.interval(name, agent, &Auditor::of(&scenario.log), &proof.encode());
            }
        }
    }
    opinions.compare();
}

/// What the scenarios leave out: rules that need an odd chain to be seen.
#[test]
fn both_state_the_same_of_odd_chains() {
    let pass = VerdictResult::Pass;
    let mut opinions = Opinions::new();
    let mut ask = |name: &str, log: &SyntheticLog, agent: &AgentId, auditor: &Auditor| {
        for (from, to) in [(100, 200), (100, 330), (290, 700), (310, 5_000), (1, 9_000), (650, 660)] {
            for (boots, full) in [(false, false), (true, true)] {
                let request = Request { boots, full, ..log.request(agent, BEGIN + from, BEGIN + to) };
                if let Ok(proof) = prove(log, &request) {
                    opinions.interval(format!("{name}: {from} to {to}"), agent, auditor, &proof.encode());
                }
            }
        }
    };

    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 300, pass);
    // Announced by what was enrolled then: it counts for nothing afterwards.
    log.maintenance(&agent, BEGIN + 550, BEGIN + 750);
    log.retire(&agent);
    log.run(&[], 100, pass);
    log.enrol("hypervisor-1");
    log.run(&[&agent], 100, pass);
    log.policy(&agent, 0, 5_000);
    log.run(&[&agent], 100, pass);
    log.policy(&agent, 20_000, 1_500);
    log.run(&[], 100, pass);
    ask("enrolled anew without a policy", &log, &agent, &Auditor::of(&log));
    log.retire(&agent);
    log.run(&[], 100, pass);
    ask("and retired", &log, &agent, &Auditor::of(&log));

    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    let silent = log.enrol("silent");
    log.policy(&silent, 10_000, 10_000);
    for number in 0..20 {
        let from = BEGIN + 310 + 15 * number;
        log.maintenance(&agent, from, from + 10 + number);
    }
    log.run(&[&agent], 300, pass);
    log.run(&[], 500, pass);
    log.run(&[&agent], 60, pass);
    ask("more windows than count", &log, &agent, &Auditor::of(&log));
    ask("never a quote", &log, &silent, &Auditor::of(&log));

    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 200, pass);
    log.machine(&agent).restart_count += 1;
    log.run(&[&agent], 50, VerdictResult::Error);
    log.machine(&agent).safe = false;
    log.run(&[&agent], 50, pass);
    log.machine(&agent).ima_entries = 9;
    log.run(&[&agent], 50, pass);
    log.machine(&agent).ima_entries = 8;
    let quote = log.quote_only(&agent);
    log.verdict(&agent, quote, pass);
    log.quote_only(&agent);
    log.run(&[&agent], 300, pass);
    ask("counters and lists", &log, &agent, &Auditor::of(&log));

    let mut log = SyntheticLog::without_policy(3, 2);
    log.checkpoint();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.run(&[&agent], 300, pass);
    log.witness_policy();
    log.run(&[&agent], 400, pass);
    ask("the change to witnesses", &log, &agent, &Auditor::of(&log));
    let policy = Some([log.keys().policy_file(), b"# mine\n".to_vec()].concat());
    ask("another file of the same witnesses", &log, &agent, &Auditor { policy, ..Auditor::of(&log) });
    opinions.compare();
}

#[test]
fn both_refuse_every_altered_part_for_the_same_reason() {
    let (log, _, agent, good, request) = rich();
    let (auditor, mut opinions) = (Auditor::of(&log), Opinions::new());
    opinions.interval("unaltered", &agent, &auditor, &good.encode());
    let full = prove(&log, &Request { full: true, ..request.clone() }).unwrap();
    let all = ALTERATIONS.iter().map(|alteration| (alteration, &good));
    for ((what, _, alter), of) in all.chain(FULL_ALTERATIONS.iter().map(|alteration| (alteration, &full))) {
        let mut proof = of.clone();
        alter(&mut proof);
        opinions.interval(*what, &agent, &auditor, &proof.encode());
    }
    for (at, kind) in records(&good.tree) {
        for offset in (0..[1, 121, 165][usize::from(kind)]).step_by(13) {
            let mut proof = good.clone();
            proof.tree[at + offset] ^= 1;
            opinions.interval(format!("byte {offset} of record {at}"), &agent, &auditor, &proof.encode());
        }
    }
    // Proofs of another agent, under another key, and of another agent under this one's name.
    opinions.interval("another agent", &"hypervisor-2".parse().unwrap(), &auditor, &good.encode());
    let other = Auditor { log: log.keys().witnesses()[0].verifier().clone(), ..auditor.clone() };
    assert_eq!(said(other.ask(|trust| verify(&good.encode(), &agent, trust))), json!({ "refused": "checkpoint" }));
    let stranger = prove(&log, &Request { slot: 1, ..request }).unwrap();
    opinions.interval("another's history", &agent, &auditor, &stranger.encode());
    opinions.compare();
}

#[test]
fn both_say_the_same_of_every_flipped_byte() {
    let (log, _, agent, good, _) = rich();
    let (auditor, mut opinions) = (Auditor::of(&log), Opinions::new());
    let bytes = good.encode();
    for at in (0..bytes.len()).step_by(29) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x04;
        opinions.interval(format!("byte {at} of {}", bytes.len()), &agent, &auditor, &altered);
    }
    for length in (0..bytes.len()).step_by(501) {
        opinions.interval(format!("cut to {length}"), &agent, &auditor, &bytes[..length]);
    }
    opinions.interval("longer", &agent, &auditor, &[bytes.as_slice(), &[0]].concat());
    opinions.compare();
}

#[test]
fn both_know_quorums_of_quorums_and_keys_of_both_kinds() {
    let (log, _, agent, good, _) = rich();
    let (auditor, mut opinions) = (Auditor::of(&log), Opinions::new());
    let keys: Vec<String> = log.keys().witnesses().iter().map(|witness| witness.verifier().to_string()).collect();
    let witnesses =
        format!("witness a {}\nwitness b {}\n\twitness c {} https://c.example\n", keys[0], keys[1], keys[2]);
    for rule in [
        "quorum c\n",
        "group all all a b c\nquorum all\n",
        "group some any a b\ngroup both all some c\nquorum both\n",
        "# groups\ngroup two 2 a b c \nquorum  two\n",
    ] {
        let policy = Some(format!("{witnesses}{rule}").into_bytes());
        let of = Auditor { policy, ..auditor.clone() };
        opinions.interval(rule, &agent, &of, &good.encode());
    }
    // The checkpoints signed anew by a P-256 key, with fewer cosignatures.
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let signer = NoteSigner::new(KeyName::new(ORIGIN).unwrap(), key).unwrap();
    let ecdsa = Auditor { log: signer.verifier().clone(), ..auditor };
    for cosigners in 0..4u64 {
        let mut proof = good.clone();
        let resign = |bytes: &mut ByteBuf| {
            let mut note = Note::new(Note::parse(bytes).unwrap().text().to_owned()).unwrap();
            note.sign(&signer).unwrap();
            for (number, witness) in (0..cosigners).zip(log.keys().witnesses()) {
                note.cosign(witness, PosixSeconds(BEGIN + 700 - 20 * number)).unwrap();
            }
            *bytes = ByteBuf::from(note.to_bytes());
        };
        resign(&mut proof.note);
        resign(&mut proof.end.note);
        resign(&mut proof.start.as_mut().unwrap().note);
        opinions.interval(format!("P-256, {cosigners} cosignatures"), &agent, &ecdsa, &proof.encode());
        let at = proof.note.iter().rposition(|byte| *byte == b' ').unwrap() + 30;
        proof.note[at] = if proof.note[at] == b'A' { b'B' } else { b'A' };
        opinions.interval(format!("P-256, {cosigners} cosignatures, forged"), &agent, &ecdsa, &proof.encode());
    }
    opinions.compare();
}

#[test]
fn both_know_time_stamps() {
    let (log, _, agent, mut proof, _) = rich();
    let authority = Authority::new(&Certificate::default());
    let stranger = Authority::new(&Certificate::default());
    let (_, note) = log.latest_note().unwrap();
    let token = authority_token(&authority, &note);
    let mut opinions = Opinions::new();
    let stamp = |note| Stamp { note, token: ByteBuf::from(token.clone()) };
    let altered = |at: usize| {
        let mut token = token.clone();
        token[at] ^= 1;
        Stamp { note: StampedNote::Last, token: ByteBuf::from(token) }
    };
    for (stamps, what) in [
        (vec![stamp(StampedNote::Last)], "a good one"),
        (vec![stamp(StampedNote::End)], "over another note"),
        (vec![altered(token.len() - 5)], "one with another signature"),
        (vec![altered(token.windows(2).position(|head| head == [0x18, 15]).unwrap() + 15)], "one with another time"),
        (vec![Stamp { note: StampedNote::Last, token: ByteBuf::from(&token[..token.len() - 1]) }], "a cut one"),
    ] {
        proof.stamps = stamps;
        for (roots, whose) in [(None, "nobody"), (Some(&authority), "it"), (Some(&stranger), "another")] {
            let auditor = Auditor { roots: roots.map(|of| of.read("ca.pem")), ..Auditor::of(&log) };
            opinions.interval(format!("{what}, {whose} trusted"), &agent, &auditor, &proof.encode());
        }
    }
    proof.stamps = vec![stamp(StampedNote::Last)];
    let roots = authorities(&authority);
    let trust = Trust { origin: ORIGIN, log: log.log_key(), witnesses: None, authorities: Some(&roots) };
    assert_eq!(verify(&proof.encode(), &agent, &trust).unwrap().committed_by.len(), 2);
    opinions.compare();
}

#[test]
fn both_know_time_stamps_under_beacons() {
    let (authority, stranger) = (Dated::new(1), Dated::new(2));
    let (log, agent) = stamped(&authority);
    let mut opinions = Opinions::new();
    let trusting =
        |log: &SyntheticLog, roots: Option<&Dated>| Auditor { roots: roots.map(Dated::root_pem), ..Auditor::of(log) };
    let auditor = trusting(&log, Some(&authority));
    for (from, to) in [(200, 500), (40, 120), (100, 300), (300, 650), (160, 170), (1, 5_000), (420, 421)] {
        let proof = of(&log, &agent, from, to).encode();
        for (roots, whose) in [(None, "nobody"), (Some(&authority), "it"), (Some(&stranger), "another")] {
            let name = format!("{from} to {to}, {whose} trusted");
            opinions.interval(&name, &agent, &trusting(&log, roots), &proof);
            let alone = Auditor { policy: None, ..trusting(&log, roots) };
            opinions.interval(format!("{name}, no witnesses"), &agent, &alone, &proof);
        }
    }
    let good = of(&log, &agent, 200, 500);
    for (what, _, alter) in BEACON_ALTERATIONS {
        let mut proof = good.clone();
        alter(&mut proof);
        opinions.interval(*what, &agent, &auditor, &proof.encode());
    }
    let bytes = good.encode();
    for at in (0..bytes.len()).step_by(97) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x04;
        opinions.interval(format!("byte {at} of {}", bytes.len()), &agent, &auditor, &altered);
    }
    for (what, _, log, agent) in false_stamps() {
        let proof = of(&log, &agent, 200, 260).encode();
        opinions.interval(what, &agent, &trusting(&log, Some(&authority)), &proof);
    }
    let (log, agent) = of_two(&authority, &stranger);
    let proof = of(&log, &agent, 200, 260).encode();
    for (number, trusted) in [&authority, &stranger, &Dated::new(3)].into_iter().enumerate() {
        opinions.interval(format!("two, of which {number}"), &agent, &trusting(&log, Some(trusted)), &proof);
    }
    for (more_ms, accuracy_ms) in [(0, None), (999, Some(1)), (1_500, Some(501)), (7, Some(0))] {
        let (mut log, agent) = SyntheticLog::with_machine(3, 2);
        log.run(&[&agent], 150, VerdictResult::Pass);
        let stated = Stated { gen_time_ms: log.now() * 1_000 + more_ms, accuracy_ms };
        log.timestamp("tsa", stated.gen_time_ms, |note| authority.stamp(note, stated));
        log.run(&[&agent], 150, VerdictResult::Pass);
        let proof = of(&log, &agent, 200, 260).encode();
        opinions.interval(format!("{stated:?}"), &agent, &trusting(&log, Some(&authority)), &proof);
    }
    opinions.compare();
}

#[test]
fn both_say_the_same_of_fleets() {
    let (log, _) = fleet();
    let (auditor, mut opinions) = (Auditor::of(&log), Opinions::new());
    let labelled = made(&log, Selection::Label("role".into(), "hypervisor".into()));
    opinions.fleet("exceptions", &auditor, &made(&log, Selection::Exceptions).encode());
    opinions.fleet("label", &auditor, &labelled.encode());
    opinions.fleet("no witnesses", &Auditor { policy: None, ..auditor.clone() }, &labelled.encode());
    for (what, _, alter) in FLEET_ALTERATIONS {
        let mut proof = labelled.clone();
        alter(&mut proof);
        opinions.fleet(*what, &auditor, &proof.encode());
    }
    let bytes = labelled.encode();
    for at in (0..bytes.len()).step_by(53) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x04;
        opinions.fleet(format!("byte {at} of {}", bytes.len()), &auditor, &altered);
    }
    opinions.compare();
}

#[test]
fn both_refuse_a_passing_quote_with_another_nonce() {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.machine(&agent).stale = true;
    log.run(&[&agent], 300, VerdictResult::Pass);
    let proof = prove(&log, &log.request(&agent, BEGIN + 100, BEGIN + 200)).unwrap().encode();
    let mut opinions = Opinions::new();
    opinions.interval("stale", &agent, &Auditor::of(&log), &proof);
    opinions.compare();
}
