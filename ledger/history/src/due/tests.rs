use proptest::prelude::*;

use super::*;

const DEMAND: Option<Demand> = Some(Demand { interval_ms: 10_000, tolerance_ms: 5_000 });

fn windows(spans: &[(u64, u64, u64)]) -> VecDeque<Window> {
    spans.iter().map(|(from_ms, to_ms, seq)| Window { from_ms: *from_ms, to_ms: *to_ms, seq: *seq }).collect()
}

#[test]
fn a_quote_within_interval_and_tolerance_is_not_missed() {
    let none = VecDeque::new();
    assert_eq!(missed(100, 114, DEMAND, &none, 9), 0);
    assert_eq!(missed(100, 115, DEMAND, &none, 9), 1);
    assert_eq!(missed(100, 200, DEMAND, &none, 9), 9);
    assert_eq!(missed(100, 200, None, &none, 9), 0);
    assert_eq!(missed(100, 200, Some(Demand { interval_ms: 0, tolerance_ms: 0 }), &none, 9), 0);
}

#[test]
fn planned_time_counts_once_and_only_if_it_was_announced_before() {
    let overlapping = windows(&[(110_000, 150_000, 3), (140_000, 160_000, 4), (170_000, 180_000, 9)]);
    assert_eq!(planned_ms(100_000, 200_000, &overlapping, 9), 50_000);
    assert_eq!(missed(100, 200, DEMAND, &overlapping, 9), 4);
    assert_eq!(missed(100, 200, DEMAND, &overlapping, 3), 9);
}

proptest! {
    #[test]
    fn a_machine_is_overdue_exactly_when_something_is_missed(
        from in 0..1_000u64, interval_ms in 1..50_000u64, tolerance_ms in 0..50_000u64,
        spans in prop::collection::vec((0..2_000_000u64, 1..300_000u64, 0..10u64), 0..6),
    ) {
        let demand = Some(Demand { interval_ms, tolerance_ms });
        let spans: Vec<_> = spans.into_iter().map(|(from, length, seq)| (from, from + length, seq)).collect();
        let windows = windows(&spans);
        let at = overdue_at(from, demand, &windows, 5);
        prop_assert!(missed(from, at, demand, &windows, 5) >= 1);
        prop_assert!(at <= from || missed(from, at - 1, demand, &windows, 5) == 0);
    }
}
