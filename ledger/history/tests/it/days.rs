//! What proofs state of days of every kind.

use fixtures_histories::BEGIN;
use ledger_history::census::Status;
use ledger_history::interval::{Strength, TermKind};
use ledger_protocol::body::VerdictResult;

use crate::support::{proven, request, run, run_with, witnessed};

#[test]
fn a_clean_day_is_all_passes_without_a_gap() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    run(&mut log, &[&agent], 1_200);
    let (from, to) = (BEGIN + 300, BEGIN + 900);
    let (_, day) = proven(&log, &witnesses, &request(&log, &agent, from, to));
    assert_eq!((day.quotes, day.failed, day.missed, day.missed_at_end, day.resets, day.late), (60, 0, 0, 0, 0, 0));
    assert_eq!((day.max_gap, day.gaps.len(), day.gaps_complete), (10, 0, true));
    assert!(day.before.is_some_and(|before| before < from) && day.after.is_some_and(|after| after > to));
    assert_eq!((day.times, day.until.seconds, day.until.strength), (Strength::Witnessed, to, Strength::Witnessed));
    assert!(matches!(day.terms.last().unwrap().kind, TermKind::Policy(_)));
    assert_eq!(day.at_end, Status::Met);
    assert!(day.start.is_some_and(|(clock, enrolled)| clock < from && enrolled));
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
