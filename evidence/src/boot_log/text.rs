//! Text out of bytes that somebody else wrote.

/// UTF-16 in little-endian order up to its first zero; what is not UTF-16 becomes U+FFFD.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// UTF-16 if `bytes` can be nothing else: printable, every second byte zero, at most one zero at the end.
pub(super) fn strict_utf16(bytes: &[u8]) -> Option<String> {
    let (units, odd) = bytes.as_chunks::<2>();
    let units = match units {
        [text @ .., [0, 0]] => text,
        text => text,
    };
    // One odd byte is what boot loaders left that cut their text short.
    if units.is_empty() || odd.len() > 1 {
        return None;
    }
    let ascii = units.iter().filter(|[low, high]| *high == 0 && (0x20..0x7f).contains(low)).count();
    if ascii * 10 < units.len() * 9 {
        return None;
    }
    let text = char::decode_utf16(units.iter().map(|pair| u16::from_le_bytes(*pair))).collect::<Result<String, _>>();
    text.ok().filter(|text| !text.contains('\0'))
}

/// Printable UTF-8 up to the first zero.
pub(super) fn strict_utf8(bytes: &[u8]) -> Option<&str> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    (!text.is_empty() && text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t')).then_some(text)
}

/// `bytes` without the one zero that ends a string in C.
pub(super) fn without_nul(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\0").unwrap_or(bytes)
}
