use messages::Digest;

use super::*;
use crate::session::KeyState;

const SETTINGS: Settings =
    Settings { interval_ms: 2_000, tolerance_ms: 8_000, retry_base_ms: 1, retries_max: 1, ledger_retry_ms: 1 };

fn record(trust: Trust) -> Record {
    Record { last_success: Some(UnixMillis(1_000)), trust, ..Record::new(UnixMillis(1_000), false) }
}

fn status(record: &Record, now: u64) -> AttestationStatus {
    standing(record, &SETTINGS, Activity::Attesting, None, UnixMillis(now)).attestation_status
}

#[test]
fn a_pass_counts_until_its_age_passes_the_limit() {
    let passed = record(Trust::Passed { at: UnixMillis(1_000) });
    assert_eq!(status(&passed, 1_000), AttestationStatus::Pass);
    assert_eq!(status(&passed, 11_000), AttestationStatus::Pass);
    assert_eq!(status(&passed, 11_001), AttestationStatus::Timeout, "whatever timers do");
}

#[test]
fn the_unproven_are_pending_and_then_late() {
    let unproven = record(Trust::Unproven { since: UnixMillis(1_000) });
    assert_eq!(status(&unproven, 11_000), AttestationStatus::Pending);
    assert_eq!(status(&unproven, 11_001), AttestationStatus::Timeout);
}

#[test]
fn a_failure_and_a_stop_do_not_age() {
    let event = "a.b".to_owned();
    let failed = record(Trust::Failed { at: UnixMillis(1), event, raised: true, verdict: Digest::ZERO });
    for now in [1_000, 1_000_000] {
        assert_eq!(status(&failed, now), AttestationStatus::Fail);
        assert_eq!(status(&record(Trust::Stopped), now), AttestationStatus::Fail);
    }
    let standing = standing(&failed, &SETTINGS, Activity::Attesting, Some("late"), UnixMillis(1_500));
    assert_eq!(standing.operational_state, OperationalState::InvalidQuote);
    assert_eq!(standing.reason.as_deref(), Some("failed: a.b; late"));
    assert_eq!(standing.quote_age_ms, Some(500));
}

#[test]
fn the_unreachable_are_not_trusted_however_young_their_pass() {
    let mut silent = record(Trust::Passed { at: UnixMillis(1_000) });
    assert_eq!(status(&silent, 1_001), AttestationStatus::Pass);
    silent.unreachable = Some(UnixMillis(1_001));
    assert_eq!(status(&silent, 1_001), AttestationStatus::Timeout);
    let standing = standing(&silent, &SETTINGS, Activity::Retrying, None, UnixMillis(1_001));
    assert_eq!(standing.operational_state, OperationalState::Failed);
}

#[test]
fn the_operational_state_says_what_is_being_done() {
    let state = |trust: Trust, activity| {
        standing(&record(trust), &SETTINGS, activity, None, UnixMillis(1_000)).operational_state
    };
    let unproven = || Trust::Unproven { since: UnixMillis(1_000) };
    assert_eq!(state(unproven(), Activity::Attesting), OperationalState::Start);
    assert_eq!(state(unproven(), Activity::Retrying), OperationalState::GetQuoteRetry);
    let passed = || Trust::Passed { at: UnixMillis(1_000) };
    assert_eq!(state(passed(), Activity::Attesting), OperationalState::GetQuote);
    assert_eq!(state(passed(), Activity::ProvidingV { again: false }), OperationalState::ProvideV);
    assert_eq!(state(passed(), Activity::ProvidingV { again: true }), OperationalState::ProvideVRetry);
    assert_eq!(state(Trust::Stopped, Activity::Attesting), OperationalState::TenantFailed);
}

#[test]
fn key_states_have_the_names_of_the_status() {
    let names = [KeyState::None, KeyState::Pending, KeyState::Withheld, KeyState::Revoked].map(KeyState::name);
    assert_eq!(names, ["none", "pending", "withheld", "revoked"]);
}
