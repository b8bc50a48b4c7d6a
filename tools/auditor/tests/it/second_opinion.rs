//! What `attestry-audit verify --json` prints of a proof, beside what `tools/interval_proof/verify.py` prints of it.

use std::{collections::BTreeMap, fs, process::Command};

use fixtures_histories::{
    SyntheticLog,
    alterations::{ALTERATIONS, FLEET_ALTERATIONS, FULL_ALTERATIONS, fleet, fleet_proof, rich},
    scenarios,
};
use fixtures_tsa::{Authority, Certificate};
use ledger_history::{
    fleet::Selection,
    interval::{Request, Stamp, StampedNote, Store as _, prove},
};
use ledger_timestamp::{Nonce, TimestampRequest, TimestampResponse};
use serde_bytes::ByteBuf;
use serde_json::Value;

use crate::intervals::{Desk, audit};

/// What is asked of both: the options of each that are alike, and the files.
struct Both<'a> {
    desk: &'a Desk,
    /// By the options they are asked with: names and files.
    cases: BTreeMap<Vec<String>, Vec<(String, String)>>,
    files: usize,
}

impl<'a> Both<'a> {
    fn new(desk: &'a Desk) -> Self {
        Self { desk, cases: BTreeMap::new(), files: 0 }
    }

    fn add(&mut self, name: &str, proof: &[u8], options: &[&str]) {
        self.files += 1;
        let path = self.desk.path(&format!("proof-{}", self.files));
        fs::write(&path, proof).unwrap();
        let mut asked = vec!["--log-key".to_owned(), self.desk.key.clone()];
        asked.extend(options.iter().map(|option| (*option).to_owned()));
        self.cases.entry(asked).or_default().push((name.to_owned(), path.display().to_string()));
    }

    /// Asks both, and compares field by field.
    fn compare(self) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../interval_proof/verify.py");
        let mut wrong = Vec::new();
        for (options, cases) in &self.cases {
            let files = cases.iter().map(|(_, file)| file);
            let output = Command::new("python3").args(["-B", program]).args(options).args(files).output().unwrap();
            let lines = String::from_utf8(output.stdout).unwrap();
            assert_eq!(lines.lines().count(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
            for ((name, file), line) in cases.iter().zip(lines.lines()) {
                let second: Value = serde_json::from_str(line).unwrap();
                let ours: Vec<&str> =
                    options.iter().map(String::as_str).filter(|option| *option != "--fleet").collect();
                let ran = audit(&[&["verify", file, "--json"], ours.as_slice()].concat());
                let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{name}: {}", ran.err));
                wrong.extend(differences(&report, ran.code, &second).into_iter().map(|text| format!("{name}: {text}")));
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// Where the report of the one and the line of the other are not the same.
fn differences(report: &Value, code: i32, second: &Value) -> Vec<String> {
    if let Some(name) = second.get("refused") {
        let same = report["refused"]["check"] == *name && report["statement"].is_null() && code == 1;
        let whys = report["refused"]["why"].as_str().is_some_and(|why| !why.is_empty());
        return if same && whys { vec![] } else { vec![format!("{report}; expected the refusal {name}")] };
    }
    let statement =
        report["statement"].as_object().and_then(|stated| stated.values().next()).cloned().unwrap_or_default();
    let (ours, theirs) = (statement.as_object().cloned().unwrap_or_default(), second.as_object().unwrap());
    let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    let differing = names.filter(|name| ours.get(*name) != theirs.get(*name) || ours.get(*name).is_none());
    let mut found: Vec<String> =
        differing.map(|name| format!("{name} is {:?} and {:?}", ours.get(name), theirs.get(name))).collect();
    let conclusion = report["conclusion"].as_str().unwrap();
    if !matches!((code, conclusion), (0, "verified") | (3, "not-fully-checked")) || !report["refused"].is_null() {
        found.push(format!("exit code {code} with {report}"));
    }
    found
}

#[test]
fn both_print_the_same_of_days_of_every_kind() {
    for scenario in scenarios::all() {
        let desk = Desk::of(&scenario.log);
        let mut both = Both::new(&desk);
        let agent = scenario.request.agent.as_str();
        let proof = prove(&scenario.log, &scenario.request).unwrap().encode();
        both.add(scenario.name, &proof, &["--agent", agent, "--witness-policy", &desk.policy]);
        both.add(scenario.name, &proof, &["--agent", agent]);
        let all = Request { boots: true, full: true, ..scenario.request.clone() };
        let proof = prove(&scenario.log, &all).unwrap().encode();
        both.add(scenario.name, &proof, &["--agent", agent, "--witness-policy", &desk.policy]);
        both.compare();
    }
}

#[test]
fn both_refuse_every_altered_part_under_the_same_name() {
    let (log, _, agent, good, request) = rich();
    let desk = Desk::of(&log);
    let mut both = Both::new(&desk);
    let options = ["--agent", agent.as_str(), "--witness-policy", &desk.policy];
    both.add("unaltered", &good.encode(), &options);
    let full = prove(&log, &Request { full: true, ..request }).unwrap();
    let all = ALTERATIONS.iter().map(|alteration| (alteration, &good));
    for ((what, name, alter), of) in all.chain(FULL_ALTERATIONS.iter().map(|alteration| (alteration, &full))) {
        let mut proof = of.clone();
        alter(&mut proof);
        both.add(&format!("{what}, {name}"), &proof.encode(), &options);
    }
    both.compare();
}

#[test]
fn both_print_the_same_of_time_stamps() {
    let (log, _, agent, mut proof, _) = rich();
    let desk = Desk::of(&log);
    let authority = Authority::new(&Certificate::default());
    let roots = desk.path("roots.pem");
    fs::write(&roots, authority.read("ca.pem")).unwrap();
    let roots = roots.display().to_string();
    let (_, note) = log.latest_note().unwrap();
    let request = TimestampRequest::new(&openssl::sha::sha256(&note), Nonce::new(&[7; 16]));
    let answer = TimestampResponse::parse(&authority.reply(&request.to_der())).unwrap();
    let token = answer.into_token().unwrap().to_der().to_vec();
    let mut both = Both::new(&desk);
    for (note, name) in [(StampedNote::Last, "stamped"), (StampedNote::End, "of another note")] {
        proof.stamps = vec![Stamp { note, token: ByteBuf::from(token.clone()) }];
        both.add(name, &proof.encode(), &["--agent", agent.as_str(), "--tsa-ca", &roots]);
        both.add(name, &proof.encode(), &["--agent", agent.as_str()]);
    }
    both.compare();
}

#[test]
fn both_print_the_same_of_fleets() {
    let (log, _): (SyntheticLog, _) = fleet();
    let desk = Desk::of(&log);
    let mut both = Both::new(&desk);
    let options = ["--fleet", "--witness-policy", &desk.policy];
    let label = Selection::Label("role".into(), "hypervisor".into());
    for selection in [Selection::Exceptions, Selection::All, label.clone()] {
        let proof = fleet_proof(&log, selection.clone()).encode();
        both.add(&format!("{selection:?}"), &proof, &options);
        both.add(&format!("{selection:?}, no witnesses"), &proof, &["--fleet"]);
    }
    let good = fleet_proof(&log, label);
    for (what, name, alter) in FLEET_ALTERATIONS {
        let mut proof = good.clone();
        alter(&mut proof);
        both.add(&format!("{what}, {name}"), &proof.encode(), &options);
    }
    both.compare();
}
