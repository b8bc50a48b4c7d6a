//! Decimal numbers as all text formats of the log write them.

/// Reads an unsigned decimal without sign, spaces or leading zeros (`0` itself is fine).
pub(crate) fn parse(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}
