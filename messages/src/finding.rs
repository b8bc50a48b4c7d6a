//! What a finding says: one text in the ledger, four parts for whoever acts on it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a finding's text at most: a place, two SHA-512 digests in hex and the words around them, or a list's begin.
pub const FINDING_TEXT_BYTES_MAX: usize = 512;

/// A finding's text, taken apart: `PLACE: FOUND; expected EXPECTED; layer LAYER`.
///
/// The parts may quote evidence, in double quotes with backslash escapes: untrusted text. What stands between quotes
/// never separates parts, so that no evidence can pass for an expectation or for a policy. Source: docs/spec/entry.md.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct FindingText {
    place: Option<String>,
    found: String,
    expected: Option<String>,
    layer: Option<String>,
}

impl FindingText {
    /// What was found at a place, and what was expected there. What cannot stand in one text is put in other words; parts
    /// that are longer together than [`FINDING_TEXT_BYTES_MAX`] are cut, the longest first.
    #[must_use]
    pub fn new(place: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let found = clean(found.into()).unwrap_or_else(|| NOTHING.to_owned());
        let expected = Some(clean(expected.into()).unwrap_or_else(|| NOTHING.to_owned()));
        Self { place: clean_place(place.into()), found, expected, layer: None }.bounded()
    }

    /// A remark on what a policy let pass at a place, with the policy's name.
    #[must_use]
    pub fn remark(place: impl Into<String>, found: impl Into<String>, layer: impl Into<String>) -> Self {
        let found = clean(found.into()).unwrap_or_else(|| NOTHING.to_owned());
        let layer = Some(clean(layer.into()).unwrap_or_else(|| NOTHING.to_owned()));
        Self { place: clean_place(place.into()), found, expected: None, layer }.bounded()
    }

    /// The same by a rule of this policy.
    #[must_use]
    pub fn of_layer(self, layer: impl Into<String>) -> Self {
        Self { layer: clean(layer.into()), ..self }.bounded()
    }

    /// Takes a text apart; one in another shape is [`found`](Self::found) as a whole. Every text comes out of
    /// [`Display`](fmt::Display) as it went in.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (head, expected) = split(text, EXPECTED);
        let (head, expected, layer) = match expected {
            Some(tail) => {
                let (expected, layer) = split(tail, LAYER);
                (head, Some(expected), layer)
            }
            None => {
                let (head, layer) = split(head, LAYER);
                (head, None, layer)
            }
        };
        // A colon alone makes no place: errors have them too.
        let (place, found) = match split(head, PLACE) {
            (place, Some(found)) if expected.is_some() || layer.is_some() => (Some(place), found),
            _ => (None, head),
        };
        if found.is_empty() || [place, expected, layer].contains(&Some("")) {
            return Self { found: text.to_owned(), ..Self::default() };
        }
        let owned = |part: Option<&str>| part.map(str::to_owned);
        Self { place: owned(place), found: found.to_owned(), expected: owned(expected), layer: owned(layer) }
    }

    /// Where: a register and its bank, an event of the boot log, an entry of IMA's list and its path, a field of the
    /// quote. `None` in a text of another shape.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// What is there.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What should be there; `None` for a remark and in a text of another shape.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// The policies whose rule it breaks, ` + ` between several; `None` if no policy could allow it.
    #[must_use]
    pub fn layer(&self) -> Option<&str> {
        self.layer.as_deref()
    }

    /// Cuts the longest parts to one length, so that all fit.
    fn bounded(mut self) -> Self {
        let separators = [(&self.place, PLACE), (&self.expected, EXPECTED), (&self.layer, LAYER)];
        let separators: usize = separators.iter().filter(|(part, _)| part.is_some()).map(|(_, text)| text.len()).sum();
        let mut room = FINDING_TEXT_BYTES_MAX - separators;
        let mut parts: Vec<&mut String> =
            [&mut self.place, &mut self.expected, &mut self.layer].into_iter().flatten().collect();
        parts.push(&mut self.found);
        parts.sort_unstable_by_key(|part| part.len());
        // The shortest first: what one leaves of its share goes to the longer ones.
        let mut left = parts.len();
        for part in parts {
            cut(part, room / left);
            room -= part.len();
            left -= 1;
        }
        self
    }
}

impl fmt::Display for FindingText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}{PLACE}")?;
        }
        f.write_str(&self.found)?;
        for (separator, part) in [(EXPECTED, &self.expected), (LAYER, &self.layer)] {
            if let Some(part) = part {
                write!(f, "{separator}{part}")?;
            }
        }
        Ok(())
    }
}

/// Reads characters and says which stand between double quotes.
#[derive(Clone, Copy, Default)]
struct Quotes {
    is_open: bool,
    is_escaped: bool,
}

impl Quotes {
    fn take(&mut self, character: char) {
        match character {
            _ if self.is_escaped => self.is_escaped = false,
            '"' => self.is_open = !self.is_open,
            '\\' if self.is_open => self.is_escaped = true,
            _ => {}
        }
    }

    fn after(text: &str) -> Self {
        let mut quotes = Self::default();
        text.chars().for_each(|character| quotes.take(character));
        quotes
    }
}

/// The text before the first separator outside of quotes, and that behind it.
fn split<'t>(text: &'t str, separator: &str) -> (&'t str, Option<&'t str>) {
    let mut quotes = Quotes::default();
    for (at, character) in text.char_indices() {
        if !quotes.is_open
            && let Some((head, tail)) = text.split_at_checked(at)
            && let Some(tail) = tail.strip_prefix(separator)
        {
            return (head, Some(tail));
        }
        quotes.take(character);
    }
    (text, None)
}

/// A part as it can stand among others: quotes come in pairs, nothing outside of them separates, something is there.
fn clean(part: String) -> Option<String> {
    let mut part = part.trim().to_owned();
    if Quotes::after(&part).is_open {
        part = part.replace('"', "'");
    }
    for (separator, instead) in [(EXPECTED, ", expected "), (LAYER, ", layer ")] {
        part = replaced(part, separator, instead);
    }
    Some(part).filter(|part| !part.is_empty())
}

fn clean_place(place: String) -> Option<String> {
    let place = clean(place).map(|place| replaced(place, PLACE, ", "));
    Some(place.unwrap_or_else(|| ANYWHERE.to_owned()))
}

/// `part` with each separator outside of quotes put in other words.
fn replaced(part: String, separator: &str, instead: &str) -> String {
    let mut rest = part.as_str();
    let mut done = String::new();
    while let (head, Some(tail)) = split(rest, separator) {
        done.push_str(head);
        done.push_str(instead);
        rest = tail;
    }
    if done.is_empty() { part } else { done + rest }
}

/// Shortens a part between characters and not within an escape, and closes the quotes it was cut in.
fn cut(part: &mut String, bytes_max: usize) {
    if part.len() <= bytes_max {
        return;
    }
    let mut quotes = Quotes::default();
    let mut end = 0;
    let mut is_open = false;
    for (at, character) in part.char_indices() {
        if at > bytes_max.saturating_sub(CUT.len() + 1 /* closing quote */) {
            break;
        }
        if !quotes.is_escaped {
            (end, is_open) = (at, quotes.is_open);
        }
        quotes.take(character);
    }
    part.truncate(end);
    part.push_str(CUT);
    if is_open {
        part.push('"');
    }
}

const PLACE: &str = ": ";
const EXPECTED: &str = "; expected ";
const LAYER: &str = "; layer ";
/// What stands for an empty place: without one, a colon in what was found would make one.
const ANYWHERE: &str = "evidence";
/// What stands for another empty part.
const NOTHING: &str = "nothing";
/// Without a space, which could end a separator.
const CUT: &str = "…";

#[cfg(test)]
mod tests;
