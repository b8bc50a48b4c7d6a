//! What witnesses add to a bundle, and what is said when they do not.

use fixtures_softtpm::KeyKind;
use ledger_tlog::{key::KeyName, policy::WitnessQuorum, signer::Cosigner};
use messages::UnixMillis;
use tools_auditor::{
    report::{CheckName, Conclusion, Outcome, Report},
    verify::{Question, verify},
};

use crate::{log::START, machine::Story};

/// When the witnesses begin to cosign, by the log's clock.
const WITNESSED: u64 = START + 1_000_000;

fn cosigner(seed: u8) -> Cosigner {
    Cosigner::from_seed(KeyName::new(&format!("w{seed}.test")).unwrap(), &[seed; 32]).unwrap()
}

/// Two passes, cosigned by witnesses of these seeds, so many seconds later.
fn story(witnesses: &[(u8, u64)]) -> Story {
    let mut story = Story::begun(KeyKind::P256);
    story.log.witnesses = witnesses.iter().map(|(seed, delay)| (cosigner(*seed), *delay)).collect();
    story.log.now = WITNESSED;
    story.machine.pass(&mut story.log);
    story.machine.pass(&mut story.log);
    story.export();
    story
}

fn two_of_three() -> WitnessQuorum {
    WitnessQuorum::of(2, (51..54).map(|seed| cosigner(seed).verifier().clone()).collect()).unwrap()
}

fn audit(story: &Story, witnesses: Option<&WitnessQuorum>) -> Report {
    let (roots, log_key) = (story.roots(), story.log.signer.verifier());
    let question = Question {
        log_key,
        roots: Some(&roots),
        agent: None,
        from: None,
        to: None,
        policy_signers: None,
        witnesses,
        stamps: None,
    };
    verify(&story.path(), &question)
}

fn outcome(report: &Report, name: CheckName) -> Outcome {
    report.checks.iter().find(|check| check.name == name).unwrap().outcome
}

#[test]
fn a_quorum_bounds_the_times_by_the_second_witness_from_either_side() {
    let story = story(&[(51, 1), (52, 2), (53, 5)]);
    let report = audit(&story, Some(&two_of_three()));
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    let statement = report.statement.unwrap();
    let bounds = statement.bounds.unwrap();
    assert_eq!(bounds.first_quote_after, Some(UnixMillis(WITNESSED + 2_000)));
    assert!(bounds.last_quote_after > bounds.first_quote_after, "{bounds:?}");
    assert_eq!(bounds.all_before, UnixMillis(story.log.now / 1_000 * 1_000 + 2_000));
    assert!(statement.clock.contains("witnesses"));
    assert!(report.not_proven.iter().any(|line| line.contains("honest")), "{:?}", report.not_proven);
}

#[test]
fn without_a_quorum_nothing_is_false_but_not_everything_is_checked() {
    let story = story(&[(51, 1)]);
    let report = audit(&story, Some(&two_of_three()));
    assert_eq!(report.conclusion, Conclusion::NotFullyChecked);
    assert_eq!(outcome(&report, CheckName::Checkpoint), Outcome::Unchecked);
    assert_eq!(outcome(&report, CheckName::Beacons), Outcome::Unchecked);
    let statement = report.statement.unwrap();
    assert!(statement.bounds.is_none() && statement.clock.contains("not proven"));
    // Strangers' cosignatures do not count.
    let strangers = WitnessQuorum::of(1, vec![cosigner(60).verifier().clone()]).unwrap();
    assert_eq!(audit(&story, Some(&strangers)).conclusion, Conclusion::NotFullyChecked);
}

#[test]
fn cosignatures_that_nobody_asked_about_change_nothing() {
    let story = story(&[(51, 1), (52, 2)]);
    let report = audit(&story, None);
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    assert!(report.statement.unwrap().bounds.is_none());
    // A policy that asks for no witness proves no time.
    assert!(audit(&story, Some(&WitnessQuorum::none())).statement.unwrap().bounds.is_none());
}

#[test]
fn a_forged_cosignature_of_a_trusted_witness_makes_the_bundle_false() {
    let story = story(&[(51, 1), (52, 2)]);
    let path = story.path().join("checkpoint");
    let genuine = cosigner(53);
    let (name, key_id) = (genuine.verifier().name().clone(), genuine.verifier().id());
    let line = ledger_tlog::note::NoteSignature { name, key_id, signature: vec![7; 72] };
    let note = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{note}{line}\n")).unwrap();
    let report = audit(&story, Some(&two_of_three()));
    assert_eq!(outcome(&report, CheckName::Checkpoint), Outcome::False);
    std::fs::write(&path, note).unwrap();
    assert_eq!(audit(&story, Some(&two_of_three())).conclusion, Conclusion::Verified);
}

/// Runs `attestry-audit verify` with a policy file of this text.
fn verify_with_policy(story: &Story, policy: &str) -> (Option<i32>, String) {
    let folder = story.folder.path();
    let [file, roots] = ["policy", "root.pem"].map(|name| folder.join(name));
    std::fs::write(&file, policy).unwrap();
    std::fs::write(&roots, story.ca.pem()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_attestry-audit"));
    command.arg("verify").arg(story.path()).args(["--log-key", &story.log.vkey()]);
    let ran = command.arg("--roots").arg(roots).arg("--witness-policy").arg(file).output().unwrap();
    let told = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8(told).unwrap())
}

#[test]
fn the_command_takes_a_policy_file_for_this_log_and_no_other() {
    let story = story(&[(51, 1), (52, 2), (53, 5)]);
    let log = story.log.vkey();
    let [one, two] = [51, 52].map(|seed| cosigner(seed).verifier().to_string());
    let lines = format!("witness a {one}\nwitness b {two} https://b.test\ngroup g all a b\nquorum g\n");
    let (code, told) = verify_with_policy(&story, &format!("log {log}\n{lines}"));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("all in the log before") && told.contains("(witnesses)"), "{told}");
    let other = story.log.vkey().replace("log.example/test+", "log.example/test2+");
    for wrong in [format!("log {other}\n{lines}"), "witness a\n".to_owned()] {
        let (code, told) = verify_with_policy(&story, &wrong);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("--witness-policy"), "{told}");
    }
}
