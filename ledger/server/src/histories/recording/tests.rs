//! When checkpoints go on record.
#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]
use super::*;

/// A log of which only its own entries make it grow, after `busy` rounds in which others did, seen once in
/// `step`; returns when its checkpoint entries came.
fn recorded(idle: Duration, step: Duration, rounds: u32, busy: u32) -> Vec<Duration> {
    let begin = Instant::now();
    let mut pace = Pace::new(idle, 0, begin);
    let (mut size, mut news) = (2, true);
    let mut times = Vec::new();
    for round in 0..rounds {
        let now = begin + step * round;
        if round < busy {
            (size, news) = (size + 1, true);
        }
        if pace.is_due(size, news, now) {
            pace.recorded(size, now);
            // The entry itself, and the census that follows it.
            (size, news) = (size + 2, false);
            times.push(now.duration_since(begin));
        }
    }
    times
}

#[test]
fn an_idle_log_records_at_most_once_per_interval_whatever_the_pace_of_its_checkpoints() {
    for (idle, step) in [(60_000, 1_000), (60_000, 7), (100, 40), (100, 100), (100, 250), (1, 1)] {
        let (idle, step) = (Duration::from_millis(idle), Duration::from_millis(step));
        let times = recorded(idle, step, 3_000, 0);
        assert_eq!(times[0], Duration::ZERO, "what others have appended goes on record at once");
        for pair in times.array_windows() {
            let [first, second] = pair;
            assert!(*second - *first >= idle, "{first:?} and {second:?} with {idle:?}");
            assert!(*second - *first < idle + step, "and time goes on: {first:?} and {second:?}");
        }
    }
}

#[test]
fn a_busy_log_records_every_checkpoint() {
    let (idle, step) = (Duration::from_secs(60), Duration::from_secs(1));
    let times = recorded(idle, step, 100, 50);
    assert_eq!(times.iter().filter(|time| **time < step * 50).count(), 50);
    assert_eq!(times.len(), 50, "and then waits");
}

#[test]
fn a_checkpoint_that_covers_no_more_is_never_recorded() {
    let begin = Instant::now();
    let mut pace = Pace::new(Duration::ZERO, 5, begin);
    assert!(!pace.is_due(5, true, begin + Duration::from_secs(9)));
    assert!(pace.is_due(6, false, begin));
    pace.recorded(6, begin);
    assert!(!pace.is_due(6, true, begin));
}
