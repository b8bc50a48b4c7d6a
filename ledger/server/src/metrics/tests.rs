#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn a_histogram_counts_each_value_in_every_bucket_that_holds_it() {
    let histogram = Histogram::new(&ENTRIES);
    for value in [1, 2, 4, 5, 1_000_000] {
        histogram.observe(value);
    }
    let mut text = Text::default();
    text.histogram("batch", "Entries.\nOf a batch.", 1.0, [([("a", "x\"y\\")].as_slice(), &histogram)]);
    let text = text.into_string();
    assert!(
        text.starts_with(
            "# HELP attestry_ledger_batch Entries.\\nOf a batch.\n# TYPE attestry_ledger_batch histogram\n"
        )
    );
    let line = |rest: &str| text.lines().find(|line| line.contains(rest)).unwrap().to_owned();
    assert_eq!(line("le=\"1\"}"), "attestry_ledger_batch_bucket{a=\"x\\\"y\\\\\",le=\"1\"} 1");
    assert!(line("le=\"4\"}").ends_with(" 3") && line("le=\"16\"}").ends_with(" 4"));
    assert!(line("+Inf").ends_with(" 5") && line("_count").ends_with(" 5") && line("_sum").ends_with(" 1000012"));
}

#[test]
fn entries_wait_for_a_checkpoint_from_the_first_one_it_does_not_cover() {
    let metrics = Metrics::default();
    assert!(metrics.covering().uncovered.is_none());
    metrics.grown();
    let first = metrics.covering().uncovered.unwrap();
    metrics.grown();
    assert_eq!(metrics.covering().uncovered, Some(first), "the oldest counts");
    let taken = Instant::now();
    metrics.published(taken, false, false);
    assert_eq!((metrics.covering().uncovered, metrics.covering().unwitnessed), (Some(taken), Some(first)));
    metrics.published(Instant::now(), true, true);
    assert!(metrics.covering().uncovered.is_none() && metrics.covering().unwitnessed.is_none());
}
