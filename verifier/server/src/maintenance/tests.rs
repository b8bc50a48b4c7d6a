#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn window(from: u64, to: u64) -> MaintenanceWindow {
    MaintenanceWindow { from: UnixMillis(from), to: UnixMillis(to), reason: "new fans".to_owned() }
}

fn parsed(window: &MaintenanceWindow) -> Result<MaintenanceWindow, AnnouncementError> {
    parse(&serde_json::to_vec(window).unwrap(), NOW)
}

#[test]
fn each_limit_of_a_window_is_met_exactly() {
    use AnnouncementError as E;
    let now = NOW.0;
    let limit = UnixMillis;
    for (good, bad, error) in [
        ((now, now + 1), (now + 1, now + 1), E::Order { from: limit(now + 1), to: limit(now + 1) }),
        (
            (now, now + MAINTENANCE_MS_MAX),
            (now, now + MAINTENANCE_MS_MAX + 1),
            E::Long { found: MAINTENANCE_MS_MAX + 1 },
        ),
        ((now - 9, now + 1), (now - 9, now), E::Over { to: NOW, now: NOW }),
        (
            (now - PAST_MS_MAX, now + 1),
            (now - PAST_MS_MAX - 1, now + 1),
            E::FarPast { from: limit(now - PAST_MS_MAX - 1), limit: limit(now - PAST_MS_MAX) },
        ),
        (
            (now + AHEAD_MS_MAX, now + AHEAD_MS_MAX + 1),
            (now + AHEAD_MS_MAX + 1, now + AHEAD_MS_MAX + 2),
            E::FarAhead { from: limit(now + AHEAD_MS_MAX + 1), limit: limit(now + AHEAD_MS_MAX) },
        ),
    ] {
        let good = window(good.0, good.1);
        assert_eq!(parsed(&good).unwrap(), good);
        assert_eq!(parsed(&window(bad.0, bad.1)), Err(error));
    }
}

#[test]
fn a_reason_is_asked_for_and_bounded() {
    let with = |reason: String| parsed(&MaintenanceWindow { reason, ..window(NOW.0, NOW.0 + 1) });
    with("x".repeat(REASON_CHARS_MAX)).unwrap();
    for bad in [String::new(), " ".to_owned(), "a\u{1b}[2J".to_owned(), "x".repeat(REASON_CHARS_MAX + 1)] {
        assert!(matches!(with(bad.clone()), Err(AnnouncementError::Reason { .. })), "{bad:?}");
    }
}

#[test]
fn a_body_that_is_no_window_is_refused_with_its_place() {
    for bad in
        ["", "{}", "[]", r#"{"from": -1, "to": 2, "reason": "x"}"#, r#"{"from": 1, "to": 2, "reason": "x", "y": 1}"#]
    {
        assert!(matches!(parse(bad.as_bytes(), NOW), Err(AnnouncementError::Json { .. })), "{bad}");
    }
}

#[test]
fn a_window_that_is_not_over_is_never_displaced_unsaid() {
    let mut windows = Windows::default();
    windows.push(window(NOW.0, NOW.0 + 10));
    assert!(windows.holds(&window(NOW.0, NOW.0 + 10)) && !windows.holds(&window(NOW.0, NOW.0 + 11)));
    assert!(!windows.holds(&MaintenanceWindow { reason: "new disks".to_owned(), ..window(NOW.0, NOW.0 + 10) }));
    for _ in 1..WINDOWS_MAX {
        assert_eq!(windows.displaced(NOW), None);
        windows.push(window(NOW.0, NOW.0 + 20));
    }
    assert_eq!(windows.displaced(NOW), Some(&window(NOW.0, NOW.0 + 10)));
    assert_eq!(windows.displaced(NOW.plus_ms(10)), None, "it is over");
    windows.push(window(NOW.0, NOW.0 + 30));
    assert_eq!(windows.ahead(NOW.plus_ms(10)).len(), WINDOWS_MAX);
    assert_eq!(windows.ahead(NOW.plus_ms(20)), [window(NOW.0, NOW.0 + 30)]);
    windows.clear();
    assert_eq!(windows, Windows::default());
}
