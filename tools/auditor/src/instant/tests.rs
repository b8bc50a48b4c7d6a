#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

#[test]
fn rfc_3339_now_and_ages_are_understood() {
    assert_eq!(parse("now", NOW).unwrap(), NOW);
    assert_eq!(parse("-1h", NOW).unwrap(), UnixMillis(NOW.0 - 3_600_000));
    assert_eq!(parse("-0s", NOW).unwrap(), NOW);
    assert_eq!(parse("1970-01-01T01:00:01.250+01:00", NOW).unwrap(), UnixMillis(1_250));
    assert_eq!(parse("-999999d", NOW).unwrap(), UnixMillis(0));
}

#[test]
fn other_texts_are_refused_with_the_forms_that_would_do() {
    for text in ["", "-", "-h", "-1", "-1w", "--1h", "-+1h", "1h", "yesterday", "2026-01-31", "1969-12-31T23:59:59Z"] {
        let error = parse(text, NOW).unwrap_err().to_string();
        assert!(error.contains("-15m"), "{text}: {error}");
    }
}

#[test]
fn instants_and_lengths_are_written_for_people() {
    assert_eq!(format(UnixMillis(1_250)), "1970-01-01T00:00:01.250Z");
    assert_eq!(format(UnixMillis(u64::MAX)), "18446744073709551615 ms");
    assert_eq!(format_length(250), "250 ms");
    assert_eq!(format_length(90_061_500), "1 d 1 h 1 min 1.5 s");
}
