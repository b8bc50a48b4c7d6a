//! X.509 times as seconds since 1970.

use crate::der::{Element, UTC_TIME};

/// Reads `YYMMDDhhmm[ss]Z` (UTCTime) or `YYYYMMDDhhmm[ss]Z` (GeneralizedTime); nothing if it is neither.
pub(super) fn unix_seconds(time: &Element<'_>) -> Option<i64> {
    let text = std::str::from_utf8(time.content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = if time.tag == UTC_TIME {
        let (year, rest) = text.split_at_checked(2)?;
        let year: i64 = year.parse().ok()?;
        // RFC 5280 §4.1.2.5.1.
        (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
    } else {
        let (year, rest) = text.split_at_checked(4)?;
        (year.parse().ok()?, rest)
    };
    let mut fields = rest.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok()?.parse::<i64>().ok());
    let (month, day) = (fields.next()??, fields.next()??);
    let (hour, minute) = (fields.next()??, fields.next()??);
    let second = fields.next().unwrap_or(Some(0))?;
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !in_range || !matches!(rest.len(), 8 | 10) {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The Gregorian calendar, with years counted from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
