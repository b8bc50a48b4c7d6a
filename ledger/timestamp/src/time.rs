//! Times of tokens and certificates, without a clock.

use std::fmt;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;

use crate::der::MalformedDer;

/// The time a token states, milliseconds since 1970-01-01 UTC; finer digits are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GenTime(pub u64);

impl GenTime {
    /// Seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Reads `YYYYMMDDhhmmss[.f…]Z`. Source: RFC 3161 §2.4.2.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, MalformedDer> {
        let bad = MalformedDer::Value { field: "genTime", expected: "YYYYMMDDhhmmss[.f]Z since 1970" };
        let text = text.strip_suffix(b"Z").ok_or_else(|| bad.clone())?;
        let (whole, fraction) = match text.split_first_chunk::<14>() {
            Some((whole, [])) => (whole, &[][..]),
            // DER: no trailing zeros, so a fraction has at least one digit that is none.
            Some((whole, [b'.', fraction @ ..])) if fraction.last().is_some_and(|last| *last != b'0') => {
                (whole, fraction)
            }
            _ => return Err(bad),
        };
        if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return Err(bad);
        }
        let number = |digits: &[u8]| digits.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        let [y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2] = *whole;
        let (year, month, day) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2]));
        let (hour, minute, second) = (number(&[h1, h2]), number(&[n1, n2]), number(&[s1, s2]));
        if hour > 23 || minute > 59 || second > 59 {
            return Err(bad);
        }
        let days = days_since_epoch(year, month, day).ok_or(bad)?;
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        let millis = [0, 1, 2]
            .iter()
            .fold(0, |millis, at| millis * 10 + fraction.get(*at).map_or(0, |digit| u64::from(digit - b'0')));
        Ok(Self(seconds * 1000 + millis))
    }
}

impl fmt::Display for GenTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s since 1970", self.seconds(), self.0 % 1000)
    }
}

/// Days from 1970-01-01 in the Gregorian calendar; nothing for a date that does not exist or is
/// before.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    let length = *lengths.get(before)?;
    if year < 1970 || day == 0 || day > length {
        return None;
    }
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    Some(years + lengths.iter().take(before).sum::<u64>() + day - 1)
}

/// A certificate's time in seconds since 1970; times before count as 0.
pub(crate) fn unix_seconds(time: &Asn1TimeRef) -> Result<u64, ErrorStack> {
    let difference = Asn1Time::from_unix(0)?.diff(time)?;
    let seconds = i64::from(difference.days) * 86_400 + i64::from(difference.secs);
    Ok(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests;
