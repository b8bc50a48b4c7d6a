use super::*;

fn facts(clock_ms: u64, resets: u32, restarts: u32) -> QuoteFacts {
    let clock = Some(ClockInfo { clock_ms, reset_count: resets, restart_count: restarts, safe: true });
    QuoteFacts { binding: Digest([7; 32]), clock, ima_count: 10, passed: true, not_before: None, not_after: None }
}

fn broken(first: &QuoteFacts, second: &QuoteFacts) -> Vec<Broken> {
    Reading::between(first, second, (0, 0)).broken
}

#[test]
fn one_boot_covers_what_is_measured() {
    let reading = Reading::between(&facts(5, 1, 0), &facts(6, 1, 0), (1, 2));
    assert!(reading.broken.is_empty() && reading.measured);
    assert!(reading.covered().contains("did not reset") && !reading.not_covered().is_empty());
    let blind = QuoteFacts { ima_count: 0, ..facts(6, 1, 0) };
    let reading = Reading::between(&facts(5, 1, 0), &blind, (1, 2));
    assert!(reading.broken.is_empty() && !reading.measured && reading.covered().contains("nothing is said"));
}

#[test]
fn each_condition_breaks_the_reading() {
    let good = facts(5, 1, 0);
    assert_eq!(broken(&good, &facts(6, 2, 0)), [Broken::Reset]);
    assert_eq!(broken(&good, &facts(6, 1, 1)), [Broken::Restarted]);
    assert_eq!(broken(&good, &facts(5, 1, 0)), [Broken::ClockStood]);
    assert_eq!(broken(&good, &QuoteFacts { passed: false, ..facts(6, 1, 0) }), [Broken::Failed]);
    assert_eq!(broken(&good, &QuoteFacts { clock: None, ..good }), [Broken::NoClock]);
    assert_eq!(broken(&good, &QuoteFacts { ima_count: 9, ..facts(6, 1, 0) }), [Broken::ListRestarted]);
    let other = QuoteFacts { binding: Digest([8; 32]), ..facts(6, 1, 0) };
    assert_eq!(broken(&good, &other), [Broken::OtherTpm], "equal counters of two TPMs are no boot");
    let clock = good.clock.map(|clock| ClockInfo { safe: false, clock_ms: 9, ..clock });
    assert_eq!(broken(&good, &QuoteFacts { clock, ..good }), [Broken::Unsafe]);
    assert!(Reading::between(&good, &facts(6, 2, 0), (0, 0)).covered().contains("nothing is covered"));
}

#[test]
fn drift_is_a_finding_beyond_the_tolerance_on_either_side() {
    let first = QuoteFacts { not_before: Some(1_000), not_after: Some(1_005), ..facts(0, 1, 0) };
    let second = |clock_ms| QuoteFacts { not_before: Some(2_000), not_after: Some(2_005), ..facts(clock_ms, 1, 0) };
    let drift = |clock_ms| Reading::between(&first, &second(clock_ms), (0, 0)).drift;
    // Between 995 and 1005 seconds have gone by.
    assert!(drift(995_000).is_none() && drift(1_150_000).is_none() && drift(850_000).is_none());
    assert_eq!(drift(1_160_000).and_then(|drift| drift.at_most_ms), Some(1_005_000));
    assert_eq!(drift(840_000).map(|drift| drift.at_least_ms), Some(995_000));
}
