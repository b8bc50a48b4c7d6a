//! Regular expressions that match a whole text in time linear in it.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::malformed::MalformedPolicy;

/// An anchored pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    text: String,
}

impl Pattern {
    /// Compiles `pattern`, first alone, so that no parenthesis in it can undo the anchors.
    pub(super) fn new(pattern: &str, place: &str) -> Result<Self, MalformedPolicy> {
        let failed = |source| MalformedPolicy::Pattern { place: place.to_owned(), source: Box::new(source) };
        build(pattern).map_err(failed)?;
        let regex = build(&format!(r"\A(?:{pattern})\z")).map_err(failed)?;
        Ok(Self { regex, text: pattern.to_owned() })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// As the policy has it, in quotes.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build()
}

/// A compiled pattern's size: a list of a thousand command lines of a kilobyte each.
const PATTERN_BYTES_MAX: usize = 4 << 20;
