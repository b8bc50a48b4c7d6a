//! Just enough DER: a strict cursor over elements, and heads to write.

/// Where and how bytes stop being the DER that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedDer {
    /// A value is not in its one form.
    #[error("{field} is not {expected}")]
    Value {
        /// The element.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An element's length is indefinite, longer than it need be, or beyond what is around it.
    #[error("{field} has a length that is not DER or does not fit, {left} bytes are left")]
    Length {
        /// The element.
        field: &'static str,
        /// Bytes left in the structure around it.
        left: usize,
    },
    /// Another element than expected.
    #[error("{field} has the tag {found:?}, expected {expected:#04x}")]
    Tag {
        /// The element expected.
        field: &'static str,
        /// Its tag.
        expected: u8,
        /// The tag found; nothing at the end of the structure.
        found: Option<u8>,
    },
    /// Elements are left over.
    #[error("{count} bytes are left over in {field}")]
    TrailingBytes {
        /// The structure.
        field: &'static str,
        /// How many.
        count: usize,
    },
}

/// `BOOLEAN`.
pub(crate) const BOOLEAN: u8 = 0x01;
/// `INTEGER`.
pub(crate) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(crate) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// `NULL`.
pub(crate) const NULL: u8 = 0x05;
/// `OBJECT IDENTIFIER`.
pub(crate) const OID: u8 = 0x06;
/// `UTF8String`.
pub(crate) const UTF8_STRING: u8 = 0x0c;
/// `GeneralizedTime`.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// `SEQUENCE`.
pub(crate) const SEQUENCE: u8 = 0x30;
/// `SET`.
pub(crate) const SET: u8 = 0x31;
/// `[0]`, primitive.
pub(crate) const PRIMITIVE_0: u8 = 0x80;
/// `[1]`, primitive.
pub(crate) const PRIMITIVE_1: u8 = 0x81;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(crate) const CONTEXT_1: u8 = 0xa1;

/// A cursor over the elements of one structure.
#[derive(Clone, Debug)]
pub(crate) struct Der<'a>(&'a [u8]);

/// One element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements inside a constructed one.
    pub(crate) const fn inside(&self) -> Der<'a> {
        Der(self.content)
    }
}

impl<'a> Der<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self, field: &'static str) -> Result<Element<'a>, MalformedDer> {
        let bad = MalformedDer::Length { field, left: self.0.len() };
        let (header, length) = header(self.0).ok_or_else(|| bad.clone())?;
        let total = header.checked_add(length).ok_or_else(|| bad.clone())?;
        let (whole, rest) = self.0.split_at_checked(total).ok_or(bad)?;
        self.0 = rest;
        Ok(Element { whole, content: whole.get(header..).unwrap_or_default() })
    }

    pub(crate) fn expect(&mut self, field: &'static str, expected: u8) -> Result<Element<'a>, MalformedDer> {
        match self.0.first() {
            Some(tag) if *tag == expected => self.any(field),
            found => Err(MalformedDer::Tag { field, expected, found: found.copied() }),
        }
    }

    pub(crate) fn optional(&mut self, field: &'static str, tag: u8) -> Result<Option<Element<'a>>, MalformedDer> {
        if self.0.first() == Some(&tag) { self.any(field).map(Some) } else { Ok(None) }
    }

    /// The elements of a `SEQUENCE`.
    pub(crate) fn sequence(&mut self, field: &'static str) -> Result<Self, MalformedDer> {
        self.expect(field, SEQUENCE).map(|element| element.inside())
    }

    /// The digits of an `INTEGER` that is not negative, without leading zeros; empty for zero.
    pub(crate) fn unsigned(&mut self, field: &'static str) -> Result<&'a [u8], MalformedDer> {
        let element = self.expect(field, INTEGER)?;
        unsigned(field, element.content)
    }

    /// An `INTEGER` that fits 64 bits.
    pub(crate) fn number(&mut self, field: &'static str) -> Result<u64, MalformedDer> {
        number(field, self.unsigned(field)?)
    }

    pub(crate) const fn finish(self, field: &'static str) -> Result<(), MalformedDer> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(MalformedDer::TrailingBytes { field, count }),
        }
    }
}

/// The digits of an integer's content; see [`Der::unsigned`].
pub(crate) fn unsigned<'a>(field: &'static str, content: &'a [u8]) -> Result<&'a [u8], MalformedDer> {
    let bad = MalformedDer::Value { field, expected: "an unsigned integer in its shortest form" };
    match content {
        [] => Err(bad),
        [0] => Ok(&[]),
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Ok(rest),
        [0, ..] => Err(bad),
        [first, ..] if first & 0x80 != 0 => Err(bad),
        digits => Ok(digits),
    }
}

/// Digits as a number of 64 bits.
pub(crate) fn number(field: &'static str, digits: &[u8]) -> Result<u64, MalformedDer> {
    if digits.len() > 8 {
        return Err(MalformedDer::Value { field, expected: "an integer of at most 64 bits" });
    }
    Ok(digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)))
}

/// Sizes of an element's header and content; nothing if they are not DER's shortest form.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    // Tags above 30 take more bytes and come nowhere in what is read here.
    if bytes.first()? & 0x1f == 0x1f {
        return None;
    }
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let digits = bytes.get(2..2 + count)?;
    let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    (digits.first() != Some(&0) && length >= 0x80).then_some((2 + count, length))
}

/// An element of `tag` around `content`.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|digit| *digit == 0).collect();
    match digits.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // Fits: a length has at most eight digits.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// An `INTEGER` of digits, leading zeros allowed.
pub(crate) fn integer(digits: &[u8]) -> Vec<u8> {
    let start = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
    let digits = digits.get(start..).unwrap_or_default();
    let sign: &[u8] = if digits.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    element(INTEGER, &[sign, digits].concat())
}
