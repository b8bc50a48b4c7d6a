//! Deterministic CBOR, strictly: the only encoding of anything that is hashed or signed.
//!
//! What is accepted is RFC 8949 §4.2.1 with less: definite lengths, shortest integers,
//! UTF-8 text, map keys in ascending bytewise order without duplicates, no tags, no
//! floats, no simple values but `false`, `true` and `null`. For any accepted input there
//! is exactly one value, and for any value exactly one input.

use std::ops::Range;

use serde::{Serialize, de::DeserializeOwned};

/// Deepest nesting of arrays and maps. The deepest body of ours (quote PCRs) has six levels.
pub const DEPTH_MAX: usize = 16;

/// Why bytes are not deterministic CBOR, or not of the expected shape.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// Arrays and maps nested deeper than [`DEPTH_MAX`].
    #[error("CBOR nests deeper than {DEPTH_MAX} levels at byte {offset}")]
    Depth {
        /// Where.
        offset: usize,
    },
    /// The input ends inside an item.
    #[error("CBOR ends at byte {offset}; expected {expected}")]
    End {
        /// Length of the input.
        offset: usize,
        /// What should follow.
        expected: &'static str,
    },
    /// An item or a form of it that deterministic encoding does not allow.
    #[error("CBOR has {found} at byte {offset}; expected deterministic encoding (RFC 8949 section 4.2.1)")]
    Form {
        /// Where.
        offset: usize,
        /// What was found.
        found: &'static str,
    },
    /// Deterministic, but not the shape asked for.
    #[error("CBOR is not {expected}")]
    Shape {
        /// The type wanted.
        expected: &'static str,
        /// What the decoder said.
        source: serde_cbor::Error,
    },
    /// Bytes follow the item.
    #[error("CBOR item ends at byte {offset}, but the input has {length} bytes")]
    Trailing {
        /// Where the item ends.
        offset: usize,
        /// Length of the input.
        length: usize,
    },
}

/// Encodes `value`; tuples and tuple-shaped structs become arrays.
///
/// # Panics
/// If the type contains floats or maps with string keys out of order, which the types of
/// this workspace do not: the result is checked before it is returned.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = serde_cbor::to_vec(value).expect("invariant: the workspace's types have a CBOR form");
    assert!(check(&bytes).is_ok(), "invariant: the workspace's types encode deterministically");
    bytes
}

/// Decodes one item of type `T` that fills `bytes` and is encoded deterministically.
///
/// # Errors
/// Everything of [`CborError`]; `Shape` if the item is well-formed but no `T`.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    check(bytes)?;
    let expected = std::any::type_name::<T>();
    let value: T = serde_cbor::from_slice(bytes).map_err(|source| CborError::Shape { expected, source })?;
    // A field of a wider type than the wire's would slip through; equality closes that.
    let again = serde_cbor::to_vec(&value).map_err(|source| CborError::Shape { expected, source })?;
    if again != bytes {
        return Err(CborError::Form { offset: 0, found: "an encoding that does not come back" });
    }
    Ok(value)
}

/// Checks that `bytes` is exactly one deterministically encoded item.
///
/// # Errors
/// The first place where it is not.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let end = item_end(bytes, 0)?;
    if end == bytes.len() { Ok(()) } else { Err(CborError::Trailing { offset: end, length: bytes.len() }) }
}

/// The end of the deterministically encoded item that starts at `start`.
///
/// # Errors
/// The first place where it is not well-formed or not deterministic.
pub fn item_end(bytes: &[u8], start: usize) -> Result<usize, CborError> {
    skip(bytes, start, 0)
}

/// Reads an item of a known shape piece by piece, as strictly as [`decode`] and without allocating.
///
/// What it accepts from the first piece to [`Reader::finish`] is deterministic encoding; each piece
/// that is not what was asked for is [`CborError::Form`].
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    at: usize,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { at: 0, bytes }
    }

    /// The head of an array; returns how many items follow.
    ///
    /// # Errors
    /// [`CborError`] if something else is next.
    #[inline]
    pub fn array(&mut self) -> Result<u64, CborError> {
        self.head(ARRAY)
    }

    /// The head of an array of exactly `count` items.
    ///
    /// # Errors
    /// [`CborError`] if something else is next.
    #[inline]
    pub fn array_of(&mut self, count: u64) -> Result<(), CborError> {
        let offset = self.at;
        if self.array()? == count { Ok(()) } else { Err(CborError::Form { offset, found: OTHER_ITEM }) }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// [`CborError`] if something else is next.
    #[inline]
    pub fn unsigned(&mut self) -> Result<u64, CborError> {
        self.head(UNSIGNED)
    }

    /// A byte string.
    ///
    /// # Errors
    /// [`CborError`] if something else is next.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let length = self.head(BYTES)?;
        self.take(length)
    }

    /// A byte string of `N` bytes.
    ///
    /// # Errors
    /// [`CborError`] if something else is next.
    #[inline]
    pub fn bytes_of<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let offset = self.at;
        self.bytes()?.try_into().map_err(|_| CborError::Form { offset, found: "a byte string of another length" })
    }

    /// A text string.
    ///
    /// # Errors
    /// [`CborError`] if something else is next.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let length = self.head(TEXT)?;
        let offset = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|_| CborError::Form { offset, found: "text that is not UTF-8" })
    }

    /// `None` for `null`, else what `read` reads.
    ///
    /// # Errors
    /// What `read` returns.
    pub fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CborError>,
    ) -> Result<Option<T>, CborError> {
        if self.bytes.get(self.at) == Some(&NULL) {
            self.at += 1;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Everything that is left, not looked at.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Everything that is left, which must be exactly one item, nested in `depth` others.
    ///
    /// # Errors
    /// [`CborError`] if it is not one, or not deterministic.
    pub fn last_item(mut self, depth: usize) -> Result<&'a [u8], CborError> {
        let start = self.at;
        self.at = skip(self.bytes, start, depth)?;
        let item = self.bytes.get(start..self.at).unwrap_or_default();
        self.finish().map(|()| item)
    }

    /// The item must end here.
    ///
    /// # Errors
    /// [`CborError::Trailing`] if it does not.
    pub fn finish(self) -> Result<(), CborError> {
        let (offset, length) = (self.at, self.bytes.len());
        if offset == length { Ok(()) } else { Err(CborError::Trailing { offset, length }) }
    }

    #[inline]
    fn head(&mut self, major: u8) -> Result<u64, CborError> {
        let head = head(self.bytes, self.at)?;
        if head.major != major {
            return Err(CborError::Form { offset: self.at, found: OTHER_ITEM });
        }
        self.at = head.end;
        Ok(head.argument)
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(CborError::End { offset: self.bytes.len(), expected: "the rest of a string" })?;
        self.at += taken.len();
        Ok(taken)
    }
}

const OTHER_ITEM: &str = "another item than the one expected";

/// Splits an array of exactly `N` items into the byte ranges of its items.
///
/// # Errors
/// As [`check`], and `Form` if the item is no array of `N` items.
pub fn array_items<const N: usize>(bytes: &[u8]) -> Result<[Range<usize>; N], CborError> {
    let head = head(bytes, 0)?;
    if head.major != ARRAY || head.argument != N as u64 {
        return Err(CborError::Form { offset: 0, found: "another item than the expected array" });
    }
    let mut at = head.end;
    let mut items = std::array::from_fn(|_| 0..0);
    for item in &mut items {
        let end = skip(bytes, at, 1)?;
        *item = at..end;
        at = end;
    }
    if at == bytes.len() { Ok(items) } else { Err(CborError::Trailing { offset: at, length: bytes.len() }) }
}

/// Appends the head of an item: its major type and its argument in the shortest form.
pub fn push_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let be = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | be[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, be[7]]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, be[6], be[7]]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[major | 26, be[4], be[5], be[6], be[7]]),
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&be);
        }
    }
}

/// Major type of an unsigned integer.
pub const UNSIGNED: u8 = 0;
/// Major type of a byte string.
pub const BYTES: u8 = 2;
/// Major type of a text string.
pub const TEXT: u8 = 3;
/// Major type of an array.
pub const ARRAY: u8 = 4;
/// The one-byte item `null`.
pub const NULL: u8 = 0xf6;

const NEGATIVE: u8 = 1;
const MAP: u8 = 5;
const TAG: u8 = 6;

struct Head {
    major: u8,
    argument: u64,
    end: usize,
}

#[inline]
fn head(bytes: &[u8], offset: usize) -> Result<Head, CborError> {
    let end_error = || CborError::End { offset: bytes.len(), expected: "an item" };
    let first = *bytes.get(offset).ok_or_else(end_error)?;
    let (major, low) = (first >> 5, first & 0x1f);
    if major == 7 {
        return match first {
            0xf4..=0xf6 => Ok(Head { major, argument: u64::from(low), end: offset + 1 }),
            _ => Err(CborError::Form { offset, found: "a float or an unassigned simple value" }),
        };
    }
    let width = match low {
        0..=23 => {
            return Ok(Head { major, argument: u64::from(low), end: offset + 1 });
        }
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => {
            return Err(CborError::Form { offset, found: "an indefinite length or a reserved head" });
        }
    };
    let end = offset + 1 + width;
    let raw = bytes.get(offset + 1..end).ok_or_else(end_error)?;
    let argument = raw.iter().fold(0u64, |acc, byte| (acc << 8) | u64::from(*byte));
    let least = match width {
        1 => 24,
        2 => 0x100,
        4 => 0x1_0000,
        _ => 0x1_0000_0000,
    };
    if argument < least {
        return Err(CborError::Form { offset, found: "an integer longer than needed" });
    }
    Ok(Head { major, argument, end })
}

fn skip(bytes: &[u8], offset: usize, depth: usize) -> Result<usize, CborError> {
    let Head { major, argument, end } = head(bytes, offset)?;
    match major {
        UNSIGNED | NEGATIVE | 7 => Ok(end),
        BYTES | TEXT => {
            let string = usize::try_from(argument).ok().and_then(|length| end.checked_add(length));
            let string = string.and_then(|stop| bytes.get(end..stop));
            let string = string.ok_or(CborError::End { offset: bytes.len(), expected: "the rest of a string" })?;
            if major == TEXT && std::str::from_utf8(string).is_err() {
                return Err(CborError::Form { offset: end, found: "text that is not UTF-8" });
            }
            Ok(end + string.len())
        }
        ARRAY | MAP if depth >= DEPTH_MAX => Err(CborError::Depth { offset }),
        // Each item takes at least one byte, so a false count ends at the input's end.
        ARRAY => (0..argument).try_fold(end, |at, _| skip(bytes, at, depth + 1)),
        MAP => skip_map(bytes, end, argument, depth),
        TAG => Err(CborError::Form { offset, found: "a tag" }),
        _ => Err(CborError::Form { offset, found: "an unknown major type" }),
    }
}

fn skip_map(bytes: &[u8], start: usize, pairs: u64, depth: usize) -> Result<usize, CborError> {
    let mut at = start;
    let mut previous: Option<&[u8]> = None;
    for _ in 0..pairs {
        let key_end = skip(bytes, at, depth + 1)?;
        let key = bytes.get(at..key_end);
        if previous.is_some() && previous >= key {
            return Err(CborError::Form { offset: at, found: "a map key out of order" });
        }
        previous = key;
        at = skip(bytes, key_end, depth + 1)?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests;
