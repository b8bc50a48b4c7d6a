//! Why bytes are no measurement list: where, what was expected, what was found.

use std::fmt;

/// A measurement list that cannot be read on, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry} at byte {offset}: {problem}")]
pub struct MalformedList {
    /// The entry, counted from 0 at the start of the bytes handed in.
    pub entry: u64,
    /// Where the entry starts, in bytes from the start.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: MalformedEntry,
}

/// What is wrong with one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEntry {
    /// The register's number looks like one of a list written on a big-endian machine without `ima_canonical_fmt`.
    #[error("the list is big-endian; boot the machine with ima_canonical_fmt")]
    BigEndian,
    /// A field's content has not the form it must have.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// The form it must have, in words.
        expected: &'static str,
        /// The content, escaped and cut.
        found: Excerpt,
    },
    /// A field is longer than the kernel makes it.
    #[error("{field} has {found} bytes, at most {max} are allowed")]
    Length {
        /// The field.
        field: &'static str,
        /// The named limit.
        max: usize,
        /// The length found.
        found: usize,
    },
    /// The template is none of the kernel's and no list of known fields.
    #[error("template {found} is unknown")]
    Template {
        /// Its name, escaped and cut.
        found: Excerpt,
    },
    /// Bytes are left over behind the template's last field.
    #[error("{count} bytes left over behind the last field of the template")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The bytes end inside a field.
    #[error("{field} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The field that does not fit.
        field: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
}

impl MalformedEntry {
    pub(super) fn field(field: &'static str, expected: &'static str, found: &[u8]) -> Self {
        Self::Field { field, expected, found: Excerpt::of(found) }
    }
}

/// The first bytes of something untrusted, escaped for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// The excerpt of `bytes`: control characters, quotes, backslashes and bytes that are no UTF-8 escaped, at most 256
    /// bytes taken.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut text = String::new();
        for chunk in bytes.get(..EXCERPT_BYTES_MAX).unwrap_or(bytes).utf8_chunks() {
            text.extend(chunk.valid().chars().flat_map(|c| {
                // Quotes too: the excerpt is shown between them, and what is named by an attacker may not end there.
                let is_escaped = c.is_control() || is_reordering(c) || matches!(c, '"' | '\\');
                let (plain, escaped) = if is_escaped { (None, Some(c.escape_default())) } else { (Some(c), None) };
                plain.into_iter().chain(escaped.into_iter().flatten())
            }));
            text.extend(chunk.invalid().iter().flat_map(|byte| byte.escape_ascii()).map(char::from));
        }
        if bytes.len() > EXCERPT_BYTES_MAX {
            text.push('…');
        }
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Characters that change the order in which others are shown: a path could hide its ending behind them.
const fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A path of ordinary length; a longer one is recognisable by its beginning and the entry's number.
const EXCERPT_BYTES_MAX: usize = 256;
