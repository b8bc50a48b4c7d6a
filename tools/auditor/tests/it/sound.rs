//! True bundles, and what follows from them.

use fixtures_softtpm::{KeyKind, SoftCa};
use ledger_protocol::body::{Miss, MissReason, ReleasePhase, Retire, VerdictResult};
use messages::UnixMillis;
use tools_auditor::{
    report::{CheckName, Conclusion, Outcome},
    statement::MachineState,
    verify::{Question, verify},
};

use crate::{
    log::START,
    machine::{INTERVAL_MS, Round, Story, TOLERANCE_MS, wrong_register},
};

#[test]
fn a_true_bundle_is_verified_and_states_pass_fail_and_unknown_times() {
    let mut story = Story::told();
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    let statement = report.statement.unwrap();
    let states: Vec<_> = statement.periods.iter().map(|p| p.state).collect();
    assert_eq!(states, [MachineState::Unknown, MachineState::Pass, MachineState::Fail]);
    assert_eq!(statement.from, UnixMillis(START));
    assert_eq!(statement.pass_ms, 3 * INTERVAL_MS);
    // The last failure is the last entry: nothing is said about the time after it.
    assert_eq!(statement.fail_ms, INTERVAL_MS);
    assert_eq!(statement.unknown_ms, 1_000);
    assert_eq!((statement.counts.passed, statement.counts.failed, statement.counts.failed_authentic), (3, 2, 2));
    assert_eq!((statement.counts.keys_authorised, statement.counts.keys_delivered), (1, 1));
    assert_eq!(statement.labels, ["role=hypervisor"]);
    assert!(report.not_proven.iter().any(|line| line.contains("clock")));
}

#[test]
fn every_key_kind_is_verified() {
    for kind in [KeyKind::RSA_2048, KeyKind::P256] {
        let mut story = Story::begun(kind);
        story.machine.pass(&mut story.log);
        let report = story.audit();
        assert_eq!(report.conclusion, Conclusion::Verified, "{kind:?}: {:#?}", report.checks);
    }
}

#[test]
fn a_pass_is_not_believed_longer_than_policy_allows() {
    let mut story = Story::begun(KeyKind::P256);
    story.machine.pass(&mut story.log);
    story.log.now += 60_000;
    let due = UnixMillis(story.log.now);
    let miss = Miss { due, reason: MissReason::Unreachable, attempts: 5, text: "no route".into() };
    story.log.append(Some(&story.machine.agent), &miss);
    story.machine.pass(&mut story.log);
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    let statement = report.statement.unwrap();
    assert_eq!(statement.pass_ms, INTERVAL_MS + TOLERANCE_MS);
    assert_eq!(statement.counts.misses, 1);
    assert!(statement.unknown_ms > 50_000);
}

#[test]
fn a_forged_quote_that_was_refused_is_a_true_record_of_a_failure() {
    let mut story = Story::begun(KeyKind::P256);
    story.machine.pass(&mut story.log);
    let mut round = Round { result: VerdictResult::Fail, ..story.machine.challenge(&mut story.log) };
    *round.quote.signature.last_mut().unwrap() ^= 1;
    round.findings = vec![wrong_register()];
    story.machine.record(&mut story.log, &round);
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    let statement = report.statement.unwrap();
    let counts = statement.counts;
    assert_eq!((counts.quotes, counts.quotes_authentic, counts.failed, counts.failed_authentic), (2, 1, 1, 0));
    // Why, in parts.
    let reasons = serde_json::to_value(&statement.reasons).unwrap();
    let reason = reasons.get(0).unwrap();
    for (member, expected) in [
        ("event", "invalid_pcr_15"),
        ("severity", "emergency"),
        ("place", "PCR 15 of bank sha256"),
        ("found", "aa"),
        ("expected", "bb"),
        ("layer", "tpm_policy 00"),
    ] {
        assert_eq!(reason.get(member).unwrap(), expected);
    }
    assert_eq!((statement.reasons.len(), statement.reasons_cut), (1, 0));
}

#[test]
fn a_reboot_between_quotes_is_counted() {
    let mut story = Story::begun(KeyKind::P256);
    story.machine.pass(&mut story.log);
    let payload_key = story.machine.tpm.read(fixtures_softtpm::Hash::Sha256, 16).to_vec();
    story.machine.tpm.reboot();
    let mut round = story.machine.challenge(&mut story.log);
    assert_ne!(round.quote.pcrs[0].values[1].1.as_slice(), payload_key);
    round.result = VerdictResult::Pass;
    story.machine.record(&mut story.log, &round);
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    assert_eq!(report.statement.unwrap().counts.resets, 1);
}

#[test]
fn a_retired_agent_is_not_enrolled_and_can_come_back() {
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, .. } = &mut story;
    machine.pass(log);
    log.append(Some(&machine.agent), &Retire { actor: "admin".into(), reason: "moved".into() });
    log.now += 10_000;
    machine.enrol(log);
    machine.set_policy(log);
    machine.pass(log);
    machine.pass(log);
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    let statement = report.statement.unwrap();
    assert_eq!(statement.not_enrolled_ms, 10_000);
    let states: Vec<_> = statement.periods.iter().map(|p| p.state).collect();
    use MachineState::{NotEnrolled, Pass, Unknown};
    assert_eq!(states, [Unknown, Pass, NotEnrolled, Pass]);
}

#[test]
fn a_later_run_is_verified_with_what_was_in_force_and_says_what_it_leaves_out() {
    let mut story = Story::told();
    let mut chosen = story.log.indices(&story.machine.agent);
    // Without the first round and its key release, and without the second round.
    chosen.drain(2..8);
    story.export_chosen(&chosen);
    let roots = story.roots();
    let log_key = story.log.signer.verifier();
    let from = Some(UnixMillis(START + 1_000 + 2 * INTERVAL_MS));
    let question = Question {
        log_key,
        roots: Some(&roots),
        agent: None,
        from,
        to: None,
        policy_signers: None,
        witnesses: None,
        stamps: None,
    };
    let report = verify(&story.path(), &question);
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    assert!(report.not_proven.iter().any(|line| line.contains("seq 2 to 7")), "{:?}", report.not_proven);
    // The same run does not answer a question about an earlier time.
    let report = verify(&story.path(), &Question { from: Some(UnixMillis(START)), ..question });
    assert_eq!(report.conclusion, Conclusion::NotFullyChecked);
    assert_eq!(report.check(CheckName::Coverage).unwrap().outcome, Outcome::Unchecked);
    let report = verify(&story.path(), &Question { from: None, ..question });
    assert_eq!(report.check(CheckName::Coverage).unwrap().outcome, Outcome::Unchecked);
}

#[test]
fn without_roots_the_identity_is_not_fully_checked() {
    let mut story = Story::told();
    story.export();
    let log_key = story.log.signer.verifier();
    let report = verify(
        &story.path(),
        &Question {
            log_key,
            roots: None,
            agent: None,
            from: None,
            to: None,
            policy_signers: None,
            witnesses: None,
            stamps: None,
        },
    );
    assert_eq!(report.conclusion, Conclusion::NotFullyChecked);
    let check = report.check(CheckName::Identity).unwrap();
    assert_eq!(check.outcome, Outcome::Unchecked);
    assert!(check.problems[0].remedy.contains("--roots"));
    assert!(report.statement.is_some());
}

#[test]
fn an_enrolment_without_certificate_is_not_fully_checked() {
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, .. } = &mut story;
    log.append(Some(&machine.agent), &Retire { actor: "admin".into(), reason: "again".into() });
    machine.binding.ek_certificate = None;
    machine.enrol(log);
    machine.set_policy(log);
    machine.pass(log);
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::NotFullyChecked, "{:#?}", report.checks);
}

#[test]
fn an_ek_certificate_of_another_manufacturer_is_refused() {
    let mut story = Story::told();
    story.export();
    story.ca = SoftCa::root("someone else");
    let report = story.verify();
    assert_eq!(report.conclusion, Conclusion::False);
    assert_eq!(report.check(CheckName::Identity).unwrap().outcome, Outcome::False);
}

#[test]
fn a_pruned_policy_leaves_the_appraisal_unchecked() {
    let mut story = Story::told();
    story.log.blobs.remove(&story.machine.policy);
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::NotFullyChecked, "{:#?}", report.checks);
    assert_eq!(report.check(CheckName::Blobs).unwrap().outcome, Outcome::Unchecked);
    assert_eq!(report.check(CheckName::Appraisal).unwrap().outcome, Outcome::Unchecked);
}

#[test]
fn a_key_that_is_authorised_again_can_be_delivered_again() {
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, .. } = &mut story;
    for _ in 0..2 {
        let verdict = machine.pass(log);
        machine.release(log, ReleasePhase::Authorised, verdict);
        machine.release(log, ReleasePhase::Delivered, verdict);
    }
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
}

#[test]
fn a_delivery_that_becomes_known_after_the_next_verdict_is_true() {
    let mut story = Story::begun(KeyKind::P256);
    let Story { log, machine, .. } = &mut story;
    let verdict = machine.pass(log);
    machine.release(log, ReleasePhase::Authorised, verdict);
    machine.pass(log);
    machine.release(log, ReleasePhase::Delivered, verdict);
    let report = story.audit();
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
}
