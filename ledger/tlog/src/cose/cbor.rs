//! The little CBOR that receipts need: heads out, items in.
//!
//! Source: RFC 8949, definite lengths and shortest heads only.

/// Major type: an unsigned integer.
pub(super) const UNSIGNED: u8 = 0;
/// Major type: a negative integer, −1 − n.
pub(super) const NEGATIVE: u8 = 1;
/// Major type: a byte string.
pub(super) const BYTES: u8 = 2;
/// Major type: a text string.
pub(super) const TEXT: u8 = 3;
/// Major type: an array.
pub(super) const ARRAY: u8 = 4;
/// Major type: a map.
pub(super) const MAP: u8 = 5;
/// Major type: a tag.
pub(super) const TAG: u8 = 6;
/// Major type: a simple value or a float.
const SIMPLE: u8 = 7;
/// The whole item `nil`.
pub(super) const NIL: u8 = 0xf6;

/// How deep items may be nested: headers of others' are seldom deeper than three.
const DEPTH_MAX: u8 = 8;

/// Why bytes are not the CBOR that was expected. Offsets count from where the enclosing byte
/// string starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCbor {
    /// Items are nested too deep.
    #[error("CBOR is nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// A head is of indefinite length, reserved, or longer than it need be.
    #[error("the CBOR head at byte {offset} is not of definite length and shortest form")]
    Head {
        /// Where it is.
        offset: usize,
    },
    /// A number does not fit 64 bits with sign.
    #[error("the number at byte {offset} does not fit a signed 64-bit integer")]
    Number {
        /// Where it is.
        offset: usize,
    },
    /// Bytes follow the item.
    #[error("{count} bytes follow the CBOR item")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The bytes end within an item.
    #[error("CBOR ends within an item")]
    Truncated,
    /// Another type of item.
    #[error("the CBOR item at byte {offset} has major type {found}, expected {expected}")]
    Type {
        /// Where it is.
        offset: usize,
        /// Major type expected.
        expected: u8,
        /// Major type found.
        found: u8,
    },
    /// A text is not UTF-8.
    #[error("the CBOR text at byte {offset} is not UTF-8")]
    Utf8 {
        /// Where it is.
        offset: usize,
    },
}

/// Appends the head of an item in its shortest form.
pub(super) fn push_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    let bytes = value.to_be_bytes();
    let (info, length) = match value {
        0..=0x17 => {
            let [.., value] = bytes;
            return out.push(major | value);
        }
        0x18..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push(major | info);
    out.extend(bytes.iter().skip(bytes.len() - length));
}

/// Appends a byte string.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_head(out, BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A cursor over items.
pub(super) struct Reader<'a> {
    whole: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(whole: &'a [u8]) -> Self {
        Self { whole, offset: 0 }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    /// The bytes of what was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.whole.get(start..self.offset).unwrap_or_default()
    }

    pub(super) fn finish(self) -> Result<(), MalformedCbor> {
        match self.whole.len() - self.offset {
            0 => Ok(()),
            count => Err(MalformedCbor::Trailing { count }),
        }
    }

    /// Major type and argument of the next item.
    fn head(&mut self) -> Result<(u8, u64), MalformedCbor> {
        let offset = self.offset;
        let [first] = *self.take::<1>()?;
        let (major, info) = (first >> 5, first & 0x1f);
        let (value, least) = match info {
            0..=23 => (u64::from(info), 0),
            24 => (u64::from(u8::from_be_bytes(*self.take()?)), 24),
            25 => (u64::from(u16::from_be_bytes(*self.take()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(*self.take()?)), 0x1_0000),
            27 => (u64::from_be_bytes(*self.take()?), 0x1_0000_0000),
            _ => return Err(MalformedCbor::Head { offset }),
        };
        // Floats are told apart by their length: no form of theirs is the shortest for a number.
        if value < least && (major != SIMPLE || info == 24) {
            return Err(MalformedCbor::Head { offset });
        }
        Ok((major, value))
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], MalformedCbor> {
        let rest = self.whole.get(self.offset..).unwrap_or_default();
        let (taken, _) = rest.split_first_chunk().ok_or(MalformedCbor::Truncated)?;
        self.offset += N;
        Ok(taken)
    }

    fn expect(&mut self, expected: u8) -> Result<u64, MalformedCbor> {
        let offset = self.offset;
        match self.head()? {
            (found, value) if found == expected => Ok(value),
            (found, _) => Err(MalformedCbor::Type { offset, expected, found }),
        }
    }

    /// The tag's number; its content is the next item.
    pub(super) fn tag(&mut self) -> Result<u64, MalformedCbor> {
        self.expect(TAG)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, MalformedCbor> {
        self.expect(UNSIGNED)
    }

    /// How many items follow.
    pub(super) fn array(&mut self) -> Result<u64, MalformedCbor> {
        self.expect(ARRAY)
    }

    /// How many pairs of items follow.
    pub(super) fn map(&mut self) -> Result<u64, MalformedCbor> {
        self.expect(MAP)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], MalformedCbor> {
        let length = self.expect(BYTES)?;
        self.content(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, MalformedCbor> {
        let offset = self.offset;
        let length = self.expect(TEXT)?;
        str::from_utf8(self.content(length)?).map_err(|_| MalformedCbor::Utf8 { offset })
    }

    fn content(&mut self, length: u64) -> Result<&'a [u8], MalformedCbor> {
        let rest = self.whole.get(self.offset..).unwrap_or_default();
        let length = usize::try_from(length).map_err(|_| MalformedCbor::Truncated)?;
        let content = rest.get(..length).ok_or(MalformedCbor::Truncated)?;
        self.offset += length;
        Ok(content)
    }

    /// An integer of either sign.
    pub(super) fn integer(&mut self) -> Result<i64, MalformedCbor> {
        let offset = self.offset;
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| MalformedCbor::Number { offset });
        match major {
            UNSIGNED => value,
            NEGATIVE => Ok(-1 - value?),
            found => Err(MalformedCbor::Type { offset, expected: UNSIGNED, found }),
        }
    }

    /// The next item if it is an integer; another item, such as a text, is passed over.
    pub(super) fn integer_or_other(&mut self) -> Result<Option<i64>, MalformedCbor> {
        match self.peek() {
            Some(UNSIGNED | NEGATIVE) => self.integer().map(Some),
            _ => self.skip().map(|()| None),
        }
    }

    /// True, and `nil` passed over, if that is the next item.
    pub(super) fn nil(&mut self) -> bool {
        let is_nil = self.whole.get(self.offset) == Some(&NIL);
        self.offset += usize::from(is_nil);
        is_nil
    }

    /// Passes over one item, whatever it is.
    pub(super) fn skip(&mut self) -> Result<(), MalformedCbor> {
        self.skip_within(DEPTH_MAX)
    }

    fn skip_within(&mut self, depth: u8) -> Result<(), MalformedCbor> {
        let depth = depth.checked_sub(1).ok_or(MalformedCbor::Depth)?;
        let offset = self.offset;
        let (major, value) = self.head()?;
        let items = match major {
            BYTES => {
                self.content(value)?;
                0
            }
            TEXT => {
                self.offset = offset;
                self.text()?;
                0
            }
            ARRAY => value,
            MAP => value.checked_mul(2).ok_or(MalformedCbor::Truncated)?,
            TAG => 1,
            _ => 0,
        };
        (0..items).try_for_each(|_| self.skip_within(depth))
    }

    fn peek(&self) -> Option<u8> {
        self.whole.get(self.offset).map(|byte| byte >> 5)
    }
}
