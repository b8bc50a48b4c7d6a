//! What an operator does with a log beside serving it.

pub(crate) mod backup;
pub(crate) mod prune;

use std::time::Duration;

/// Reads `90d`, `12h`, `30m` or `45s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is no duration; expected a number and one of s, m, h, d");
    let (at, unit) = text.char_indices().next_back().ok_or_else(malformed)?;
    let number: u64 = text.get(..at).and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(malformed()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(malformed)
}
