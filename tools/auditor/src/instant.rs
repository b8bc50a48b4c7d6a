//! Points in time as a person gives them: RFC 3339, `now`, or an age such as `-1h`.

use chrono::{DateTime, SecondsFormat, Utc};
use messages::UnixMillis;

/// Why a text is no point in time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{found:?} is no time; write 2026-01-31T12:00:00Z, now, or an age such as -90s, -15m, -1h or -7d")]
pub(crate) struct MalformedInstant {
    /// The text.
    pub(crate) found: String,
}

/// Reads a point in time; ages count back from `now`.
///
/// # Errors
/// [`MalformedInstant`] with the forms that are understood.
pub(crate) fn parse(text: &str, now: UnixMillis) -> Result<UnixMillis, MalformedInstant> {
    let error = || MalformedInstant { found: text.to_owned() };
    if text == "now" {
        return Ok(now);
    }
    if let Some(age) = text.strip_prefix('-') {
        let age = age_ms(age).ok_or_else(error)?;
        return Ok(UnixMillis(now.0.saturating_sub(age)));
    }
    let instant = DateTime::parse_from_rfc3339(text).map_err(|_| error())?;
    u64::try_from(instant.timestamp_millis()).map(UnixMillis).map_err(|_| error())
}

/// RFC 3339 in UTC with milliseconds; the number itself past the year 262142.
#[must_use]
pub(crate) fn format(instant: UnixMillis) -> String {
    i64::try_from(instant.0)
        .ok()
        .and_then(DateTime::<Utc>::from_timestamp_millis)
        .map_or_else(|| instant.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// A length of time for a person: `2 h 3 min 4 s`, or `250 ms` below a second.
#[must_use]
pub(crate) fn format_length(ms: u64) -> String {
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    let (days, hours, minutes) = (ms / 86_400_000, ms / 3_600_000 % 24, ms / 60_000 % 60);
    let seconds = format!("{}.{} s", ms / 1_000 % 60, ms / 100 % 10);
    let parts = [(days, "d"), (hours, "h"), (minutes, "min")];
    let mut text: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    text.push(seconds);
    text.join(" ")
}

fn age_ms(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests;
