//! Just enough DER to take certificates apart that strict readers refuse.
//!
//! Lenient in what does not change the meaning: SET order, defaults written out, lengths longer than needed. Strict in
//! structure: tags, bounds and nothing left over.

/// Where and how bytes stop being the DER that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedDer {
    /// An element's length is indefinite or does not fit what is around it.
    #[error("{field} at byte {offset} has a length that does not fit, {left} bytes are left")]
    Length {
        /// The element.
        field: &'static str,
        /// Where it starts, from the start of its outermost structure.
        offset: usize,
        /// Bytes left in the structure around it.
        left: usize,
    },
    /// Another element than expected.
    #[error("{field} at byte {offset} has tag {found:?}, expected {expected:#04x}")]
    Tag {
        /// The element expected.
        field: &'static str,
        /// Where it should start.
        offset: usize,
        /// Its tag.
        expected: u8,
        /// The tag found; nothing at the end of the structure.
        found: Option<u8>,
    },
    /// Elements are left over.
    #[error("{count} bytes left over in {field} at byte {offset}")]
    TrailingBytes {
        /// The structure.
        field: &'static str,
        /// Where they start.
        offset: usize,
        /// How many.
        count: usize,
    },
}

/// A cursor over the elements of one structure.
#[derive(Clone)]
pub(crate) struct Der<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// One element.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
    /// Where the content starts.
    offset: usize,
}

impl<'a> Element<'a> {
    /// The elements inside a constructed one.
    pub(crate) const fn inside(&self) -> Der<'a> {
        Der { bytes: self.content, offset: self.offset }
    }
}

impl<'a> Der<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is not read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes read so far, counted from the outermost structure.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self, field: &'static str) -> Result<Element<'a>, MalformedDer> {
        let bad = MalformedDer::Length { field, offset: self.offset, left: self.bytes.len() };
        let (header, length) = header(self.bytes).ok_or_else(|| bad.clone())?;
        let total = header.checked_add(length).ok_or_else(|| bad.clone())?;
        let (whole, rest) = self.bytes.split_at_checked(total).ok_or(bad)?;
        let (tag, content) = (whole.first().copied().unwrap_or_default(), whole.split_at(header).1);
        let element = Element { tag, whole, content, offset: self.offset + header };
        self.bytes = rest;
        self.offset += total;
        Ok(element)
    }

    pub(crate) fn expect(&mut self, field: &'static str, expected: u8) -> Result<Element<'a>, MalformedDer> {
        match self.bytes.first() {
            Some(tag) if *tag == expected => self.any(field),
            found => Err(MalformedDer::Tag { field, offset: self.offset, expected, found: found.copied() }),
        }
    }

    pub(crate) fn optional(&mut self, field: &'static str, tag: u8) -> Result<Option<Element<'a>>, MalformedDer> {
        if self.bytes.first() == Some(&tag) { self.any(field).map(Some) } else { Ok(None) }
    }

    pub(crate) const fn finish(self, field: &'static str) -> Result<(), MalformedDer> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(MalformedDer::TrailingBytes { field, offset: self.offset, count: self.bytes.len() })
    }
}

/// Sizes of an element's header and content; nothing for the indefinite form or a length past 32 bits.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let digits = bytes.get(2..2 + count)?;
    Some((2 + count, digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))))
}

/// `BOOLEAN`.
pub(crate) const BOOLEAN: u8 = 0x01;
/// `INTEGER`.
pub(crate) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(crate) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(crate) const OID: u8 = 0x06;
/// `UTCTime`.
pub(crate) const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// `SEQUENCE`.
pub(crate) const SEQUENCE: u8 = 0x30;
/// `SET`.
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// `[3]`, constructed.
pub(crate) const CONTEXT_3: u8 = 0xa3;
