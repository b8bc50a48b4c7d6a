#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const SETTINGS: Settings =
    Settings { interval_ms: 2_000, tolerance_ms: 8_000, retry_base_ms: 2_000, retries_max: 5, ledger_retry_ms: 500 };
const KEY_A: Digest = Digest([0xa; 32]);
const KEY_B: Digest = Digest([0xb; 32]);
const VERDICT: Digest = Digest([7; 32]);

/// A session with its own clock, one millisecond per input.
struct Bench {
    session: Session,
    now: UnixMillis,
}

impl Bench {
    fn new(has_key: bool) -> Self {
        let (session, effects) =
            Session::resume(Record::new(UnixMillis(1_000), has_key), SETTINGS, 0, UnixMillis(1_000));
        assert_eq!(effects, [Effect::WakeAt(UnixMillis(1_000))]);
        Self { session, now: UnixMillis(1_000) }
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.now = self.now.plus_ms(1);
        self.session.handle(input, self.now)
    }

    /// One round up to the recording; returns the effects of the recording.
    fn round(&mut self, outcome: Outcome, recipient: Digest) -> (Option<KeyStep>, Vec<Effect>) {
        assert_eq!(self.give(Input::Due), [Effect::Challenge]);
        let effects = self.give(arrived(outcome, recipient));
        let [Effect::Record(step)] = effects.as_slice() else { panic!("{effects:?}") };
        (*step, self.give(Input::Recorded(Some(VERDICT))))
    }

    fn pass(&mut self) -> (Option<KeyStep>, Vec<Effect>) {
        self.round(Outcome::Pass, KEY_A)
    }

    /// A pass whose share is taken.
    fn release(&mut self) {
        let (step, effects) = self.pass();
        assert_eq!(step, Some(KeyStep::Authorise { recipient: KEY_A }));
        assert_eq!(effects, [Effect::Persist, Effect::DeliverV]);
        assert_eq!(self.give(Input::Delivered), [Effect::RecordDelivery { recipient: KEY_A }]);
        let effects = self.give(Input::Recorded(None));
        assert!(matches!(effects.as_slice(), [Effect::Persist, Effect::WakeAt(_)]), "{effects:?}");
        assert_eq!(self.session.record().key, KeyState::Released { recipient: KEY_A });
    }

    fn fail(&mut self) -> Option<KeyStep> {
        let (step, effects) = self.round(Outcome::Fail, KEY_A);
        let event = "pcr_validation.invalid_pcr_15".to_owned();
        assert_eq!(effects, [Effect::Persist, Effect::RaiseRevocation { verdict: VERDICT, event }]);
        self.give(Input::Recorded(None));
        step
    }
}

fn arrived(outcome: Outcome, recipient: Digest) -> Input {
    let event = (outcome != Outcome::Pass).then(|| "pcr_validation.invalid_pcr_15".to_owned());
    Input::EvidenceArrived(Judged { event, outcome, recipient: Some(recipient) })
}

fn lost() -> Input {
    Input::EvidenceLost(Loss::Unreachable, "no answer".into())
}

#[test]
fn v_leaves_only_after_a_recorded_pass_and_is_recorded_again() {
    let mut bench = Bench::new(true);
    bench.release();
    let (step, effects) = bench.pass();
    assert_eq!(step, None, "given once");
    assert!(!effects.contains(&Effect::DeliverV));
}

#[test]
fn without_v_nothing_is_delivered() {
    let mut bench = Bench::new(false);
    let (step, effects) = bench.pass();
    assert_eq!(step, None);
    assert!(matches!(effects.as_slice(), [Effect::Persist, Effect::WakeAt(_)]));
    assert!(matches!(bench.session.record().trust, Trust::Passed { .. }));
}

#[test]
fn an_unreachable_ledger_releases_nothing_and_counts_nothing() {
    let mut bench = Bench::new(true);
    bench.give(Input::Due);
    bench.give(arrived(Outcome::Pass, KEY_A));
    let effects = bench.give(Input::LedgerUnavailable("ledger gone".into()));
    assert_eq!(effects, [Effect::WakeAt(bench.now.plus_ms(500))]);
    assert_eq!(bench.session.record().attestation_count, 0);
    assert_eq!(bench.session.record().key, KeyState::Pending);
    assert_eq!(bench.session.trouble(), Some("ledger gone"));
    bench.release();
    assert_eq!(bench.session.trouble(), None, "resumes by itself");
}

#[test]
fn a_conflict_discards_the_evidence_and_asks_again() {
    let mut bench = Bench::new(true);
    bench.give(Input::Due);
    bench.give(arrived(Outcome::Pass, KEY_A));
    assert!(matches!(bench.give(Input::Conflict).as_slice(), [Effect::WakeAt(_)]));
    assert_eq!(bench.session.record().attestation_count, 0);
    bench.release();
}

#[test]
fn a_failure_before_delivery_withholds_and_one_after_revokes_each_once() {
    let mut before = Bench::new(true);
    assert_eq!(before.fail(), Some(KeyStep::Withhold));
    let (step, effects) = before.round(Outcome::Fail, KEY_A);
    assert_eq!((step, effects.len()), (None, 2), "no second withhold, no second revocation: {effects:?}");

    let mut after = Bench::new(true);
    after.release();
    assert_eq!(after.fail(), Some(KeyStep::Revoke { recipient: KEY_A }));
    assert_eq!(after.session.record().key, KeyState::Revoked);
}

#[test]
fn a_failure_stands_through_later_passes_until_reactivated() {
    let mut bench = Bench::new(true);
    bench.fail();
    let (step, _) = bench.pass();
    assert_eq!(step, None, "no key for a failed node");
    assert!(matches!(bench.session.record().trust, Trust::Failed { raised: true, .. }));
    assert_eq!(bench.session.record().attestation_count, 1, "history goes on");
    let effects = bench.give(Input::Reactivate);
    assert_eq!(effects, [Effect::Persist, Effect::WakeAt(bench.now)]);
    assert_eq!(bench.session.record().trust, Trust::Unproven { since: bench.now }, "no trust before a fresh pass");
    bench.release();
}

#[test]
fn an_appraisal_error_changes_no_trust_and_no_key() {
    let mut bench = Bench::new(true);
    bench.release();
    let before = bench.session.record().trust.clone();
    let (step, effects) = bench.round(Outcome::Error, KEY_A);
    assert_eq!(step, None);
    assert_eq!(effects.first(), Some(&Effect::Persist));
    assert_eq!(bench.session.record().trust, before);
    assert_eq!(bench.session.record().attestation_count, 1);
}

#[test]
fn a_new_payload_key_gets_the_share_after_a_pass_of_its_own() {
    let mut bench = Bench::new(true);
    bench.release();
    let (step, effects) = bench.round(Outcome::Pass, KEY_B);
    assert_eq!(step, Some(KeyStep::Authorise { recipient: KEY_B }));
    assert_eq!(effects, [Effect::Persist, Effect::DeliverV]);
}

#[test]
fn a_pass_from_before_a_restart_does_not_count_and_a_failure_does() {
    let mut bench = Bench::new(true);
    bench.release();
    let kept = bench.session.record().clone();
    let Trust::Passed { at } = kept.trust else { panic!("passed") };
    let (session, _) = Session::resume(kept.clone(), SETTINGS, 0, bench.now);
    assert_eq!(session.record().trust, Trust::Unproven { since: at });
    assert_eq!(session.record().key, kept.key, "what was given is not given again without need");

    bench.fail();
    let kept = bench.session.record().clone();
    let (session, _) = Session::resume(kept.clone(), SETTINGS, 0, bench.now);
    assert_eq!(session.record(), &kept);
}

#[test]
fn a_crash_between_authorisation_and_delivery_needs_a_fresh_pass_and_authorises_again() {
    let mut bench = Bench::new(true);
    let (_, effects) = bench.pass();
    assert_eq!(effects, [Effect::Persist, Effect::DeliverV]);
    let (session, effects) = Session::resume(bench.session.record().clone(), SETTINGS, 0, bench.now);
    assert!(matches!(effects.as_slice(), [Effect::WakeAt(_)]), "no delivery without a pass");
    let mut restarted = Bench { session, now: bench.now };
    restarted.release();
}

#[test]
fn timers_are_recomputed_from_the_last_challenge_and_spread() {
    let mut record = Record::new(UnixMillis(0), false);
    let wake = |record: &Record, now: u64| Session::resume(record.clone(), SETTINGS, 700, UnixMillis(now)).1;
    assert_eq!(wake(&record, 10_000), [Effect::WakeAt(UnixMillis(10_000))], "a new agent at once");
    record.last_challenge = Some(UnixMillis(9_500));
    assert_eq!(wake(&record, 10_000), [Effect::WakeAt(UnixMillis(11_500))], "when it is due");
    assert_eq!(wake(&record, 90_000), [Effect::WakeAt(UnixMillis(90_700))], "an overdue one spread");
}

#[test]
fn losses_are_retried_with_keylimes_back_off_and_then_recorded_as_a_miss() {
    let mut bench = Bench::new(true);
    for seconds in [2, 4, 8, 16, 32] {
        assert_eq!(bench.give(Input::Due), [Effect::Challenge]);
        assert_eq!(bench.give(lost()), [Effect::WakeAt(bench.now.plus_ms(seconds * 1_000))]);
    }
    bench.give(Input::Due);
    let effects = bench.give(lost());
    let [Effect::RecordMiss { attempts: 6, loss: Loss::Unreachable, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let effects = bench.give(Input::Recorded(None));
    assert!(matches!(effects.as_slice(), [Effect::Persist, Effect::WakeAt(_)]), "nobody is told of a stranger");
    assert!(bench.session.record().unreachable.is_some());
    assert_eq!(bench.session.record().key, KeyState::Pending, "silence is no verdict");
    bench.release();
    assert_eq!(bench.session.record().unreachable, None);
}

#[test]
fn a_good_agent_that_falls_silent_is_told_of_once() {
    let mut bench = Bench::new(false);
    bench.pass();
    let mut told = 0;
    for _ in 0..12 {
        bench.give(Input::Due);
        if matches!(bench.give(lost()).as_slice(), [Effect::RecordMiss { .. }]) {
            told += bench.give(Input::Recorded(None)).iter().filter(|e| **e == Effect::NotifyUnreachable).count();
        }
    }
    assert_eq!(told, 1);
}

#[test]
fn a_revocation_that_could_not_be_recorded_goes_before_the_next_challenge() {
    let mut bench = Bench::new(false);
    let (_, effects) = bench.round(Outcome::Fail, KEY_A);
    let raise = effects.get(1).unwrap().clone();
    bench.give(Input::LedgerUnavailable("gone".into()));
    assert_eq!(bench.give(Input::Due), std::slice::from_ref(&raise));
    let (session, _) = Session::resume(bench.session.record().clone(), SETTINGS, 0, bench.now);
    let mut restarted = Bench { session, now: bench.now };
    assert_eq!(restarted.give(Input::Due), [raise], "and survives a restart");
    restarted.give(Input::Recorded(None));
    assert_eq!(restarted.give(Input::Due), [Effect::Challenge]);
}

#[test]
fn a_delivery_that_fails_is_tried_again_later_with_a_pass_of_its_own() {
    let mut bench = Bench::new(true);
    bench.pass();
    bench.give(Input::DeliveryFailed("refused".into()));
    assert_eq!(bench.session.trouble(), Some("refused"));
    let (step, _) = bench.pass();
    assert_eq!(step, None, "not at once");
    bench.now = bench.now.plus_ms(2_000);
    bench.release();
}

#[test]
fn a_delivery_that_could_not_be_recorded_is_recorded_before_anything_else() {
    let mut bench = Bench::new(true);
    bench.pass();
    bench.give(Input::Delivered);
    for _ in 0..3 {
        let effects = bench.give(Input::LedgerUnavailable("gone".into()));
        assert_eq!(effects, [Effect::WakeAt(bench.now.plus_ms(500))]);
        assert_eq!(bench.give(Input::Due), [Effect::RecordDelivery { recipient: KEY_A }]);
    }
    bench.give(Input::Recorded(None));
    assert_eq!(bench.session.record().key, KeyState::Released { recipient: KEY_A });
}

#[test]
fn stop_ends_the_asking_in_every_state_and_reactivation_resumes_it() {
    let paths: [&[Input]; 5] = [
        &[],
        &[Input::Due],
        &[Input::Due, arrived(Outcome::Pass, KEY_A)],
        &[Input::Due, arrived(Outcome::Pass, KEY_A), Input::Recorded(Some(VERDICT))],
        &[Input::Due, arrived(Outcome::Pass, KEY_A), Input::Recorded(Some(VERDICT)), Input::Delivered],
    ];
    for path in paths {
        let mut bench = Bench::new(true);
        for input in path {
            bench.give(input.clone());
        }
        assert_eq!(bench.give(Input::Stop), [Effect::Persist]);
        assert_eq!(bench.session.record().trust, Trust::Stopped);
        for late in [Input::Due, arrived(Outcome::Pass, KEY_A), Input::Recorded(Some(VERDICT)), Input::Delivered] {
            assert_eq!(bench.give(late), []);
        }
        let (session, effects) = Session::resume(bench.session.record().clone(), SETTINGS, 0, bench.now);
        assert_eq!((session.record().trust.clone(), effects), (Trust::Stopped, vec![]), "also after a restart");
        bench.give(Input::Reactivate);
        bench.release();
    }
}

#[test]
fn inputs_that_answer_nothing_change_nothing() {
    let stray = [
        Input::Conflict,
        Input::Delivered,
        Input::DeliveryFailed("x".into()),
        arrived(Outcome::Pass, KEY_A),
        lost(),
        Input::Recorded(Some(VERDICT)),
    ];
    let mut bench = Bench::new(true);
    for input in stray {
        let before = bench.session.record().clone();
        assert_eq!(bench.give(input), []);
        assert_eq!(bench.session.record(), &before);
    }
    bench.release();
}

#[test]
fn an_update_takes_new_settings_and_a_new_share() {
    let mut bench = Bench::new(true);
    bench.release();
    bench.fail();
    let settings = Settings { interval_ms: 50, ..SETTINGS };
    bench.give(Input::Update { settings, new_key: true });
    assert_eq!(bench.session.settings(), &settings);
    bench.release();
}

#[test]
fn catching_up_with_the_ledger_finds_a_failure_that_was_not_written_down() {
    let mut bench = Bench::new(true);
    bench.release();
    let mut kept = bench.session.record().clone();
    kept.trust = Trust::Passed { at: bench.now };
    let (mut session, _) = Session::resume(kept, SETTINGS, 0, bench.now);
    let event = "pcr_validation.invalid_pcr_15".to_owned();
    session.replay(Fact::Verdict { at: bench.now, event: event.clone(), outcome: Outcome::Fail, verdict: VERDICT });
    session.replay(Fact::KeyRevoked);
    assert_eq!(session.record().key, KeyState::Revoked);
    let mut restarted = Bench { session, now: bench.now };
    assert_eq!(restarted.give(Input::Due), [Effect::RaiseRevocation { verdict: VERDICT, event }]);
}

#[test]
fn a_share_that_was_sent_without_an_answer_is_revoked_and_not_said_to_be_withheld() {
    let mut bench = Bench::new(true);
    bench.pass();
    bench.give(Input::DeliveryFailed("the connection broke".into()));
    assert_eq!(bench.fail(), Some(KeyStep::Revoke { recipient: KEY_A }));
    assert_eq!(bench.session.record().key, KeyState::Revoked);

    let mut crashed = Bench::new(true);
    crashed.pass();
    let (session, _) = Session::resume(crashed.session.record().clone(), SETTINGS, 0, crashed.now);
    let mut restarted = Bench { session, now: crashed.now };
    assert_eq!(restarted.fail(), Some(KeyStep::Revoke { recipient: KEY_A }), "also when it is not known any more");
}

#[test]
fn a_pass_found_in_the_ledger_makes_nobody_trusted() {
    let mut bench = Bench::new(true);
    bench.pass();
    bench.give(Input::DeliveryFailed("refused".into()));
    let (mut session, _) = Session::resume(bench.session.record().clone(), SETTINGS, 0, bench.now);
    let before = session.record().trust.clone();
    let found = Fact::Verdict { at: bench.now, event: String::new(), outcome: Outcome::Pass, verdict: VERDICT };
    session.replay(found.clone());
    assert_eq!(session.record().trust, before, "no trust before a fresh pass");
    assert_eq!(session.record().attestation_count, 2, "it counts all the same");

    let mut running = Bench::new(false);
    running.pass();
    let before = running.session.record().trust.clone();
    running.session.replay(found);
    assert_eq!(running.session.record().trust, before, "the ledger's clock makes no trust younger");
}

#[test]
fn a_clock_set_back_over_a_restart_delays_no_challenge() {
    let mut record = Record::new(UnixMillis(9_000_000), false);
    record.last_challenge = Some(UnixMillis(9_000_000));
    for trust in [Trust::Passed { at: UnixMillis(9_000_000) }, Trust::Unproven { since: UnixMillis(9_000_000) }] {
        record.trust = trust;
        let (session, effects) = Session::resume(record.clone(), SETTINGS, 700, UnixMillis(10_000));
        assert_eq!(effects, [Effect::WakeAt(UnixMillis(12_000))]);
        assert_eq!(session.record().trust, Trust::Unproven { since: UnixMillis(10_000) }, "and ages from now on");
    }
}
