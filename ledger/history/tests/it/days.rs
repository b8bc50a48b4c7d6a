//! What proofs state of days of every kind.

use fixtures_histories::{BEGIN, SyntheticLog};
use ledger_history::census::Status;
use ledger_history::interval::{Strength, TermKind, Witnesses, prove};
use ledger_history::reading::Broken;
use ledger_protocol::body::VerdictResult;

use crate::support::{check, proven, request, run, run_with, witnessed};

#[test]
fn a_clean_day_is_all_passes_without_a_gap() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 1_200);
    let (from, to) = (BEGIN + 300, BEGIN + 900);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, from, to));
    assert_eq!(
        (day.quotes, day.failed, day.missed, day.missed_at_end, day.resets, day.late),
        (60, 0, 0, Some(0), 0, 0)
    );
    assert_eq!((day.max_gap, day.gaps.len(), day.gaps_complete), (10, 0, true));
    assert!(day.before.is_some_and(|before| before < from) && day.after.is_some_and(|after| after > to));
    assert_eq!((day.times, day.until.seconds, day.until.strength), (Strength::Witnessed, to, Strength::Witnessed));
    assert!(matches!(day.terms.last().unwrap().kind, TermKind::Policy(_)));
    assert_eq!(day.at_end, Status::Met);
    assert!(day.start.is_some_and(|(clock, enrolled)| clock.seconds < from && enrolled));
}

#[test]
fn a_failure_and_recovery_are_counted_and_shown() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 300);
    run_with(&mut log, &[&agent], 30, VerdictResult::Fail);
    run(&mut log, &[&agent], 300);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 100, BEGIN + 500));
    assert_eq!((day.failed, day.missed, day.failures.len()), (3, 0, 3));
    assert!(day.failures.iter().all(|at| (BEGIN + 290..BEGIN + 340).contains(at)), "{:?}", day.failures);
}

#[test]
fn an_unreachable_hour_is_missed_quotes_and_a_gap_with_bounds() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 120);
    run(&mut log, &[], 3_600);
    run(&mut log, &[&agent], 120);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 30, BEGIN + 3_800));
    assert_eq!((day.failed, day.gaps.len(), day.late), (0, 1, 0));
    let gap = day.gaps[0];
    assert_eq!((gap.seconds, gap.planned_ms, gap.slack_ms), (3_610, 0, Some(10_000)));
    // (3610 - 10) / 10
    assert_eq!((day.missed, day.max_gap), (360, 3_610));
    assert!(day.missed_at_end.unwrap() <= 1, "{:?}", day.missed_at_end);
}

#[test]
fn silence_at_the_end_is_missed_quotes_too() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 120);
    run(&mut log, &[], 600);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 30, BEGIN + 500));
    assert_eq!((day.missed, day.after, day.at_end), (0, None, Status::Missed));
    assert_eq!((day.gaps.len(), day.gaps[0].to), (1, None));
    assert_eq!(day.until.seconds, BEGIN + 500);
    assert_eq!(day.missed_at_end, Some((BEGIN + 500 - day.last.unwrap() - 10) / 10));
}

#[test]
fn a_maintenance_announced_before_the_gap_is_planned() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    log.maintenance(&agent, BEGIN + 110, BEGIN + 1_330);
    run(&mut log, &[&agent], 120);
    run(&mut log, &[], 1_200);
    run(&mut log, &[&agent], 120);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 30, BEGIN + 1_400));
    assert_eq!((day.missed, day.gaps.len()), (0, 1));
    assert!(day.gaps[0].planned_ms >= 1_200_000, "{:?}", day.gaps);
    assert!(day.terms.iter().any(|term| matches!(term.kind, TermKind::Maintenance(_))));
}

#[test]
fn a_maintenance_announced_within_the_gap_is_not_planned() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 120);
    // As if it had been known all along.
    log.maintenance(&agent, BEGIN + 110, BEGIN + 1_330);
    run(&mut log, &[], 1_200);
    run(&mut log, &[&agent], 120);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 30, BEGIN + 1_400));
    assert_eq!((day.missed, day.gaps[0].planned_ms), (120, 0));
    assert!(day.terms.iter().any(|term| matches!(term.kind, TermKind::Maintenance(_))), "it is on record all the same");
}

#[test]
fn a_reboot_is_a_reset_and_breaks_the_reading_between_two_quotes() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.machine(&agent).ima_entries = 900;
    log.close();
    run(&mut log, &[&agent], 300);
    log.machine(&agent).reboot();
    run(&mut log, &[&agent], 300);
    let mut request = request(&log, &agent, BEGIN + 100, BEGIN + 500);
    request.boots = true;
    let (proof, day) = proven(&log, &witnesses, &request);
    assert_eq!((day.resets, day.failed), (1, 0));
    // Before, first, last of the first boot, first of the second, last, after.
    assert_eq!((proof.evidence.len(), day.readings.len()), (6, 5));
    let broken: Vec<_> = day.readings.iter().map(|reading| reading.broken.clone()).collect();
    assert_eq!(broken, [vec![], vec![], vec![Broken::Reset], vec![], vec![]]);
    assert!(day.readings[1].measured && day.readings.iter().all(|reading| reading.drift.is_none()));
}

#[test]
fn a_clock_that_runs_ahead_is_a_finding() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 300);
    log.machine(&agent).clock_ahead_ms = 600_000;
    run(&mut log, &[&agent], 300);
    let mut request = request(&log, &agent, BEGIN + 100, BEGIN + 500);
    request.boots = true;
    let (_, day) = proven(&log, &witnesses, &request);
    assert!(day.readings.iter().any(|reading| reading.drift.is_some()), "{:?}", day.readings);
}

#[test]
fn another_tpm_stands_in_the_terms() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 300);
    log.retire(&agent);
    run(&mut log, &[], 600);
    log.machine(&agent).replace_tpm();
    log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    run(&mut log, &[&agent], 300);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 100, BEGIN + 1_100));
    let bindings = day.terms.iter().filter_map(|term| match &term.kind {
        TermKind::Enrol(enrol) => Some(enrol.binding),
        _ => None,
    });
    let bindings = bindings.collect::<Vec<_>>();
    assert!(bindings.len() == 2 && bindings[0] != bindings[1]);
    // Nothing was asked of it while it was retired; but the gap is there, and so is the other TPM's counter.
    assert_eq!((day.missed, day.resets, day.gaps.len()), (0, 1, 1));
}

#[test]
fn before_the_enrolment_there_is_nothing_and_the_chain_begins_after() {
    let (mut log, witnesses) = witnessed();
    let other = log.enrol("other");
    log.policy(&other, 10_000, 10_000);
    log.close();
    run(&mut log, &[&other], 300);
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    run(&mut log, &[&agent, &other], 300);
    let (proof, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 100, BEGIN + 200));
    assert_eq!((day.quotes, day.before, day.missed, day.missed_at_end), (0, None, 0, None));
    assert!(day.after.is_some_and(|after| after > BEGIN + 300));
    assert_eq!(day.start.map(|(_, enrolled)| enrolled), Some(false));
    assert!(proof.terms.before == messages::Digest::ZERO && matches!(day.terms[0].kind, TermKind::Enrol(_)));
}

#[test]
fn the_future_is_not_stated() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 300);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 100, BEGIN + 9_000));
    assert!(day.until.seconds < BEGIN + 310 && day.until.strength == Strength::Witnessed, "{:?}", day.until);
    assert_eq!((day.after, day.missed_at_end), (None, Some(0)));
}

#[test]
fn an_interval_between_two_quotes_is_empty() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 300);
    let at = log.leaves(&agent)[10].aggregate.last;
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, at + 2, at + 5));
    assert_eq!((day.quotes, day.before, day.after), (0, Some(at), Some(at + 10)));
    assert_eq!((day.first, day.last, day.gaps.len()), (None, None, 0));
}

#[test]
fn a_full_proof_holds_every_entry() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 600);
    let mut request = request(&log, &agent, BEGIN + 100, BEGIN + 500);
    request.full = true;
    let (_, day) = proven(&log, &witnesses, &request);
    assert_eq!(day.full_entries, 2 * day.quotes);
}

#[test]
fn without_trusted_witnesses_every_time_is_claimed() {
    let (mut log, _) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 600);
    let proof = prove(&log, &request(&log, &agent, BEGIN + 100, BEGIN + 500)).unwrap().encode();
    let day = check(&log, None, &agent, &proof).unwrap();
    assert_eq!((day.times, day.until.strength), (Strength::Claimed, Strength::Claimed));
    assert!(day.committed_by.iter().all(|time| time.strength == Strength::Claimed));
    // Another policy of the same witnesses bounds checkpoints, but is not what the sums rest on.
    let others = Witnesses::parse(&[log.keys().policy_file(), b"# mine\n".to_vec()].concat()).unwrap();
    let day = check(&log, Some(&others), &agent, &proof).unwrap();
    assert_eq!(day.times, Strength::Claimed);
    assert!(day.committed_by.iter().any(|time| time.strength == Strength::Witnessed));
}

#[test]
fn a_log_without_witnesses_claims() {
    let mut log = SyntheticLog::new(0, 0);
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 300);
    let proof = prove(&log, &request(&log, &agent, BEGIN + 100, BEGIN + 200)).unwrap().encode();
    let day = check(&log, None, &agent, &proof).unwrap();
    assert_eq!((day.quotes, day.times, day.until.strength), (10, Strength::Claimed, Strength::Claimed));
}

#[test]
fn an_interval_over_the_change_to_witnesses_is_claimed() {
    let mut log = SyntheticLog::without_policy(3, 2);
    let witnesses = Witnesses::parse(&log.keys().policy_file()).unwrap();
    log.checkpoint();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    run(&mut log, &[&agent], 300);
    log.witness_policy();
    run(&mut log, &[&agent], 600);
    let (_, across) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 100, BEGIN + 500));
    assert_eq!(across.times, Strength::Claimed);
    let (_, after) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 400, BEGIN + 500));
    assert_eq!(after.times, Strength::Witnessed);
}

#[test]
fn without_cosignatures_times_stand_still_and_quotes_are_late() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 300);
    log.unwitnessed = true;
    run(&mut log, &[&agent], 300);
    log.unwitnessed = false;
    run(&mut log, &[&agent], 300);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, BEGIN + 100, BEGIN + 800));
    // Nothing proves when those quotes were made: a gap, and no false times.
    assert_eq!((day.times, day.gaps.len()), (Strength::Witnessed, 1));
    assert!((30..=31).contains(&day.late) && day.max_gap >= 300, "{day:?}");
}
